//! Containers as users mean them: names, requests, states, and the Spec that the runtime gets.
//!
//! A [`RunRequest`] says what was meant. [`facts::gather`] asks the machine what it must know, [`spec::build`]
//! turns both into the `Spec` of the OCI runtime specification, and nothing in between touches the kernel.

pub mod facts;
pub mod request;
pub mod spec;
mod user;

pub use request::RunRequest;
pub use user::{Identity, identify};
