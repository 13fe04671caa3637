//! Text from outside, made safe to show on a terminal (R25).

use std::fmt;

/// Bytes that print in quotes, with everything but printable text escaped, and cut when they are long.
pub(crate) struct Escaped<'a>(pub &'a [u8]);

/// As many bytes of a name as a message shows.
const SHOWN: usize = 300;

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(SHOWN));
        f.write_str("\"")?;
        for chunk in shown.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str(if rest.is_empty() { "\"" } else { "…\"" })
    }
}
