//! Seccomp: which system calls a container may make.
//!
//! A profile ([`LinuxSeccomp`](skiff_oci::runtime::LinuxSeccomp) of the runtime spec) is compiled to a [`Filter`],
//! a program of classic BPF that the child installs as its last step before exec. Profiles come from a `Spec`,
//! from a file in Docker's or the spec's JSON, or are Skiff's own. Everything in here is data in, data out, apart
//! from [`HostnameAgent`], which answers the calls that a filter hands to the monitor.

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
