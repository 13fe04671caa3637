//! How much of anything is read (security rule R21).
//!
//! They are far above what real images have, and low enough that no input takes the machine down. Output is limited
//! by the free disk instead: see `unpack`.

/// Bytes of one extended header (pax records, GNU long names).
pub(crate) const EXTENDED_HEADER: u64 = 1 << 20;
/// Bytes of a path or of a link's text.
pub(crate) const PATH: usize = 4096;
/// Entries of one archive.
pub(crate) const ENTRIES: u64 = 4_000_000;
/// Regions of one sparse file.
pub(crate) const SPARSE_REGIONS: usize = 100_000;
/// Extended attributes of one entry.
pub(crate) const XATTRS: usize = 256;
/// Bytes of one extended attribute; the kernel has the same limit.
pub(crate) const XATTR_VALUE: usize = 65_536;
/// Bytes of the names of directories that are kept until an archive's end.
pub(crate) const KEPT_NAMES: usize = 256 << 20;
/// Zeros after the end of an archive: `tar -b` allows records of this size and more.
pub(crate) const TRAILING_ZEROS: u64 = 64 << 20;
/// Bytes of the window that a decoder keeps, as a power of two: 128 MiB.
pub(crate) const WINDOW_LOG: u32 = 27;
/// Bytes of a manifest or index.
pub(crate) const MANIFEST: u64 = 4 << 20;
/// Bytes of an image configuration.
pub(crate) const CONFIG: u64 = 8 << 20;
/// Layers of an image.
pub(crate) const LAYERS: usize = 127;
/// Depth of brackets in JSON.
pub(crate) const JSON_DEPTH: usize = 64;
/// Indexes above a manifest.
pub(crate) const INDEX_DEPTH: u32 = 2;
/// Entries of an index.
pub(crate) const INDEX_ENTRIES: usize = 10_000;
/// Members of an archive of images.
pub(crate) const MEMBERS: usize = 100_000;
/// Disk that stays free for everybody else.
pub(crate) const DISK_RESERVE: u64 = 64 << 20;
