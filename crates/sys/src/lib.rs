//! Thin, safe, documented wrappers of kernel interfaces, and the only `unsafe` code of the workspace.
//!
//! Each module covers one theme and says which man page or kernel file it follows. Nothing in here decides
//! anything: policy lives in the crates above. Descriptors are owned and close on exec from birth.

// The workspace denies unsafe code; this crate is the one place where it lives.
#![allow(unsafe_code)]

pub mod bpf;
pub mod clone;
pub mod fail;
pub mod fork;
pub mod mount;
pub mod mountinfo;
pub mod net;
pub mod ns;
pub mod own_binary;
pub mod private_mount;
pub mod process;
pub mod procfs;
pub mod report;
pub mod root;
pub mod scm_rights;
pub mod seccomp;
pub mod signal;
pub mod signal_name;
pub mod tty;
pub mod users;

pub use rustix::io::Errno;
