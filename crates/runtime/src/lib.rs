//! The OCI runtime: a bundle in, a process out.

pub mod seccomp;
