//! Thin, safe, documented wrappers of kernel interfaces, and the only `unsafe` code of the workspace.
//!
//! Each module covers one theme and says which man page or kernel file it follows. Nothing in here decides
//! anything: policy lives in the crates above. Descriptors are owned and close on exec from birth.

pub mod fail;
pub mod root;
pub mod sigpipe;

pub use rustix::io::Errno;
