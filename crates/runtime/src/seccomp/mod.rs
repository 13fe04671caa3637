//! Seccomp: which system calls a container may make.
//!
//! A profile ([`LinuxSeccomp`](skiff_oci::runtime::LinuxSeccomp) of the runtime spec) is compiled to a [`Filter`],
//! a program of classic BPF that the child installs as its last step before exec. Profiles come from a `Spec`,
//! from a file in Docker's JSON or the spec's, or are Skiff's own. Everything in here is data in, data out.
//!
//! ```
//! use skiff_runtime::seccomp::{compile, default_profile, with_hostname_notify};
//!
//! let profile = with_hostname_notify(default_profile(&Default::default()));
//! let filter = compile(&profile)?;
//! assert!(filter.program.len() < 500 && filter.needs_listener());
//! # Ok::<(), skiff_runtime::seccomp::Error>(())
//! ```

mod abi;
mod assembler;
mod compile;
mod default;
mod emit;
mod error;
mod filter;
mod profile;

pub use abi::Machine;
pub use compile::{compile, compile_for};
pub use default::{default_profile, with_hostname_notify};
pub use error::Error;
pub use filter::Filter;
pub use profile::{KernelVersion, parse_profile};

#[cfg(test)]
mod tests;
