//! The 512 bytes of a tar header, as fields.

use super::{Device, Problem, Timestamp};

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// The format, by the magic of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
}

/// A header whose checksum is right.
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub format: Format,
}

impl<'a> Header<'a> {
    /// Checks the checksum and tells the format.
    pub fn new(block: &'a [u8; BLOCK]) -> Result<Self, Problem> {
        let said = octal(&block[148..156]).ok_or(Problem::Checksum)?;
        let is_sum = |byte_value: fn(u8) -> i64| {
            let sum: i64 = block
                .iter()
                .enumerate()
                .map(|(index, &byte)| byte_value(if (148..156).contains(&index) { b' ' } else { byte }))
                .sum();
            u64::try_from(sum) == Ok(said)
        };
        // Some old writers summed signed characters.
        if !is_sum(i64::from) && !is_sum(|byte| i64::from(byte.cast_signed())) {
            return Err(Problem::Checksum);
        }
        let format = match &block[257..265] {
            b"ustar\x0000" if &block[508..512] == b"tar\0" => return Err(Problem::Format("star")),
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar") => return Err(Problem::Format("unknown ustar")),
            _ => Format::V7,
        };
        Ok(Self { block, format })
    }

    pub const fn kind(&self) -> u8 {
        self.block[156]
    }

    /// The path of the header alone, without any extension.
    pub fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.block[0..100]);
        let prefix = if self.format == Format::Ustar { until_nul(&self.block[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_vec()
    }

    pub fn mode(&self) -> Result<u32, Problem> {
        // The bits above the permissions repeat the type in some writers' headers.
        let mode = self.number("mode", 100, 108)?;
        u32::try_from(mode & 0o7777).map_err(|_| Problem::Field("mode"))
    }

    pub fn uid(&self) -> Result<u64, Problem> {
        self.number("uid", 108, 116)
    }

    pub fn gid(&self) -> Result<u64, Problem> {
        self.number("gid", 116, 124)
    }

    pub fn size(&self) -> Result<u64, Problem> {
        self.number("size", 124, 136)
    }

    pub fn mtime(&self) -> Result<Timestamp, Problem> {
        let seconds = self.signed("mtime", 136, 148)?;
        Ok(Timestamp { seconds, nanoseconds: 0 })
    }

    pub fn device(&self) -> Result<Device, Problem> {
        let narrow = |number: u64, bits: u32| u32::try_from(number).ok().filter(|number| number >> bits == 0);
        let major = narrow(self.number("devmajor", 329, 337)?, 12).ok_or(Problem::Field("devmajor"))?;
        let minor = narrow(self.number("devminor", 337, 345)?, 20).ok_or(Problem::Field("devminor"))?;
        Ok(Device { major, minor })
    }

    /// The part of an old GNU header that describes a sparse file: map, "more follows", real size.
    pub fn gnu_sparse(&self) -> Result<(&'a [u8], bool, u64), Problem> {
        let real_size = self.number("realsize", 483, 495)?;
        Ok((&self.block[386..482], self.block[482] != 0, real_size))
    }

    fn number(&self, name: &'static str, start: usize, end: usize) -> Result<u64, Problem> {
        u64::try_from(self.signed(name, start, end)?).map_err(|_| Problem::Field(name))
    }

    fn signed(&self, name: &'static str, start: usize, end: usize) -> Result<i64, Problem> {
        number(&self.block[start..end]).ok_or(Problem::Field(name))
    }
}

/// A numeric field: octal digits, or GNU's base-256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first()? {
        0x80 | 0xff => base256(field),
        first if first & 0x80 != 0 => None,
        _ => octal(field).and_then(|number| i64::try_from(number).ok()),
    }
}

/// Spaces, octal digits, then only spaces and NULs; an empty field is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let length = digits.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let is_padding = digits[length..].iter().all(|&byte| byte == b' ' || byte == 0);
    if !is_padding {
        return None;
    }
    digits[..length]
        .iter()
        .try_fold(0_u64, |value, &digit| value.checked_mul(8)?.checked_add(u64::from(digit - b'0')))
}

/// Two's complement, big endian; the first byte is 0x80 or 0xff and counts as sign only.
fn base256(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    let start: i64 = if first == 0xff { -1 } else { 0 };
    rest.iter().try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)))
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}
