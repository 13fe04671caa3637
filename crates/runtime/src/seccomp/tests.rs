//! The compiler against a naive reading of the profile and against libseccomp, by an interpreter of classic BPF.

mod evaluate;
pub mod interpret;
mod libseccomp;
mod meaning;
