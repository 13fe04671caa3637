//! Images: content by digest, unpacking of layers, import and load.
//!
//! An [`ImageStore`] looks images up by name or id, makes them from archives, lists and removes them. Everything
//! from outside is hostile here: an archive is read by one strict reader, a blob gets its name after its digest
//! was found right, and a layer is unpacked below one descriptor. On disk, below the store's root:
//!
//! ```text
//! content/blobs/sha256/<hex>      configurations, manifests, packed layers: verified, never changed
//! content/images/<hex>            what is known of an image besides; the hex is its configuration's digest
//! content/refs/<name>/_tags/<tag> which image a name means
//! content/ingest/, drafts/        what is being written; swept when nobody holds content/lock
//! layers/<chain id>/diff          layers, unpacked once
//! ```

mod archive;
mod blob;
mod change;
mod compression;
mod content;
mod document;
mod error;
mod escape;
#[cfg(test)]
mod fixture;
mod hashing;
pub mod host;
mod images;
mod import;
mod layer;
mod limits;
mod load;
mod names;
mod pipeline;
mod remove;
mod unpack;

pub use error::Error;
pub use images::{Image, ImageKind, ImageStore, Summary};
pub use import::ImportOptions;
pub use load::Loaded;
pub use remove::{Force, Removed};

#[cfg(test)]
mod tests;
