//! A strict reader of tar archives: one meaning, or an error.
//!
//! Formats: POSIX pax, ustar, GNU (long names, base-256 numbers, old sparse files) and the v7 header. Security rule
//! R19: what other readers might take for another list of entries refuses the *whole* archive. So duplicate,
//! malformed or contradictory records, unknown entry types, and anything but zeros after the end are errors, and
//! nothing is skipped. Nothing is allocated by the size that a field claims.

mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;

pub use reader::Archive;
pub use sparse::SparseMap;

use crate::escape::Escaped;
use std::fmt;
use std::io;

/// One object of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// The twelve permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was last modified.
    pub mtime: Timestamp,
    /// Extended attributes, in the order of the archive.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of data that follow in the archive.
    pub size: u64,
    /// Where that data belongs in the file, when the file has holes.
    pub sparse: Option<SparseMap>,
}

/// The kinds of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// Another name of the object with this path.
    HardLink(Vec<u8>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Twelve bits.
    pub major: u32,
    /// Twenty bits.
    pub minor: u32,
}

/// A point in time, with nanoseconds that always count forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Less than 10⁹.
    pub nanoseconds: u32,
}

/// Why an archive was refused, and at which entry.
#[derive(Debug)]
pub struct ArchiveError {
    /// Where its header begins.
    pub position: u64,
    /// Its path, as far as it is known.
    pub path: Vec<u8>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The bytes could not be read or decompressed.
    #[error("read")]
    Read(#[source] io::Error),
    /// The data of an entry could not be taken.
    #[error("write")]
    Write(#[source] io::Error),
    /// It ends in the middle of something.
    #[error("the archive is cut off")]
    Truncated,
    /// A block that is no header of a tar archive.
    #[error("this is no tar archive, or it is damaged here (checksum)")]
    Checksum,
    /// A header of a format that is not read.
    #[error("{0} archives are not supported")]
    Format(&'static str),
    /// A field that is not a number or is out of range.
    #[error("the field `{0}` is malformed or out of range")]
    Field(&'static str),
    /// An entry type that is not known.
    #[error("entries of type {0:?} are not supported")]
    Type(char),
    /// A record of an extended header that breaks the rules.
    #[error("malformed extended header: {0}")]
    Pax(&'static str),
    /// Two statements that different readers would resolve differently.
    #[error("ambiguous: {0}")]
    Ambiguous(&'static str),
    /// A sparse file whose map makes no sense.
    #[error("malformed sparse file: {0}")]
    Sparse(&'static str),
    /// More than is read.
    #[error("more than {limit} {what}; larger archives are not read")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "archive, byte {}: {}", self.position, self.problem)
        } else {
            write!(f, "archive entry {}: {}", Escaped(&self.path), self.problem)
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}
