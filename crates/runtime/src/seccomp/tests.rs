//! The compiler against a naive reading of the profile, by an interpreter of classic BPF.

mod evaluate;
pub mod interpret;
