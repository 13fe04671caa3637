//! What can go wrong with images.

use crate::archive::ArchiveError;
use crate::escape::Escaped;
use skiff_oci::{Digest, DigestError, Reference};
use skiff_sys::Errno;
use std::io;

/// An operation on images that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] skiff_store::Error),
    /// An archive that was refused while it was read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An entry that an image's layer can't have.
    #[error("archive entry {}: {why}", Escaped(.path))]
    Refused {
        /// The entry's path.
        path: Vec<u8>,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The kernel refused a call for an entry.
    #[error("archive entry {}: {what}", Escaped(.path))]
    Entry {
        /// The entry's path.
        path: Vec<u8>,
        /// What was being done.
        what: &'static str,
        /// Why it went wrong.
        source: Errno,
    },
    /// Too little disk is left for what has to be written.
    #[error("{needed} bytes are needed and {free} are free on the disk of the store, {reserve} of which stay free", reserve = crate::limits::DISK_RESERVE)]
    DiskSpace {
        /// What was to be written.
        needed: u64,
        /// What is there.
        free: u64,
    },
    /// The input could not be read or decompressed.
    #[error("read {what}")]
    Read {
        /// Which input.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Content that isn't what its name says.
    #[error("{what} is {found}, but {expected} was promised")]
    Mismatch {
        /// The digest or size of what.
        what: String,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// A document that breaks the image specification or a limit.
    #[error("{what}: {why}")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A document that isn't the JSON that it should be.
    #[error("{what}")]
    Json {
        /// Which document.
        what: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A digest in a document that can't be used.
    #[error("{what}")]
    Digest {
        /// Which document.
        what: String,
        /// Why.
        source: DigestError,
    },
    /// Content that a document names and that isn't there.
    #[error("{what} {digest} is missing")]
    Missing {
        /// What kind of content.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// An archive of images without one.
    #[error("the archive has neither `manifest.json` nor `index.json`: it is no archive of images")]
    NoImages,
    /// A change that `import` can't make.
    #[error("invalid change {text:?}: {why}")]
    Change {
        /// The change.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// No image has this name.
    #[error("no such image: {0}")]
    NotFound(String),
    /// A short id that belongs to several images.
    #[error("the id {0:?} belongs to more than one image")]
    Ambiguous(String),
    /// An image that can't be removed now.
    #[error("image {name} is used by {users}")]
    InUse {
        /// The image.
        name: String,
        /// By what: containers or other names.
        users: String,
    },
    /// The name of the image that is built in.
    #[error("{} is built in and can't be changed", .0.familiar())]
    BuiltIn(Reference),
}

impl Error {
    pub(crate) fn document(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Document { what: what.into(), why: why.into() }
    }
}
