//! Compressed input: told by its first bytes, decoded with bounded memory.

use crate::limits;
use std::io::{self, BufRead, Chain, Cursor, Read};

/// How some bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// The `.xz` format, any number of streams.
    Xz,
}

/// Compressed formats that are known by name only.
const UNSUPPORTED: [(&[u8], &str); 4] =
    [(b"BZh", "bzip2"), (b"\x04\x22\x4d\x18", "lz4"), (b"LZIP", "lzip"), (b"PK\x03\x04", "zip")];

impl Compression {
    /// The compression of bytes that begin like this.
    ///
    /// # Errors
    /// `Unsupported` for formats that are not read.
    pub fn of(start: &[u8]) -> io::Result<Self> {
        if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| start.starts_with(magic)) {
            let text = format!("{name} is not supported, only gzip, zstd and xz are");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A zstd frame, or one that is passed over before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        })
    }

    /// The word for it in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }
}

/// The input again, after its first bytes were looked at.
pub type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// Tells how `input` is compressed, and gives it back whole.
///
/// # Errors
/// Those of reading, and of [`Compression::of`].
pub fn sniff<R: Read>(mut input: R) -> io::Result<(Compression, Whole<R>)> {
    let mut start = Vec::with_capacity(8);
    input.by_ref().take(8).read_to_end(&mut start)?;
    let compression = Compression::of(&start)?;
    Ok((compression, Cursor::new(start).chain(input)))
}

/// The decoded bytes of `input`.
///
/// Windows are limited: a decoder takes 128 MiB at most, whatever the input says. Bytes after the end of the
/// compressed data are an error, as other readers would see something else there.
///
/// # Errors
/// When the decoder can't be made.
pub fn decode<'a, R: BufRead + Send + 'a>(
    input: R,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(limits::WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)),
    })
}

/// The window and what the decoder needs besides.
const XZ_MEMORY_KIB: u32 = (1 << (limits::WINDOW_LOG - 10)) + 4096;
