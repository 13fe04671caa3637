//! Numbers and texts as bytes, and back: checked, bounded, without a format to negotiate, as both ends are
//! one binary.

/// A text is cut to this length, so that every message fits a packet.
const TEXT_BYTES: usize = 4 << 10;

/// A name is cut to this length.
const NAME_BYTES: usize = 192;

/// Collects fields.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// A text, cut at a character's border if it is too long.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.text_within(text, TEXT_BYTES)
    }

    /// A short text, of which there may be many in one message.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.text_within(name, NAME_BYTES)
    }

    fn text_within(&mut self, text: &str, limit: usize) -> &mut Self {
        let text = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
        // Both limits fit; the fallback can't be reached and would only shorten.
        let (length, text) = u16::try_from(text.len()).map_or((0, ""), |length| (length, text));
        self.u16(length).bytes(text.as_bytes())
    }

    /// Nothing, or `value` as `encode` writes it.
    pub(crate) fn option<V>(
        &mut self,
        value: Option<V>,
        encode: impl FnOnce(&mut Self, V) -> &mut Self,
    ) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(value) => encode(self.u8(1), value),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Takes fields from the front of a message. Everything is `None` once the message was too short.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// What [`Writer::option`] wrote; the outer `None` is a message that is too short or wrong.
    pub(crate) fn option<V>(&mut self, decode: impl FnOnce(&mut Self) -> Option<V>) -> Option<Option<V>> {
        match self.u8()? {
            0 => Some(None),
            1 => decode(self).map(Some),
            _ => None,
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut writer = Writer::default();
        writer.u8(1).u16(2).u32(3).i32(-4).u64(5).text("sechs").option(None::<u8>, Writer::u8);
        writer.option(Some(7), Writer::u8);
        let message = writer.finish();
        let mut reader = Reader::new(&message);
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Some(1), Some(2), Some(3)));
        assert_eq!(
            (reader.i32(), reader.u64(), reader.text()),
            (Some(-4), Some(5), Some("sechs".to_owned()))
        );
        assert_eq!((reader.option(Reader::u8), reader.option(Reader::u8)), (Some(None), Some(Some(7))));
        assert!(reader.is_at_end());
    }

    #[test]
    fn a_message_cut_anywhere_is_refused_and_never_read_beyond() {
        let mut writer = Writer::default();
        writer.text("abc").u64(9);
        let message = writer.finish();
        for length in 0..message.len() {
            let mut reader = Reader::new(&message[..length]);
            assert_eq!(reader.text().and_then(|_| reader.u64()), None, "{length} bytes");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut writer = Writer::default();
        writer.text(&"ä".repeat(5000));
        let message = writer.finish();
        assert_eq!(Reader::new(&message).text().map(|text| text.len()), Some(TEXT_BYTES));
    }
}
