//! The OCI runtime: a bundle in, a process out.
//!
//! [`LaunchPlan::new`] turns a [`Bundle`] into data: the cgroup's limits, the sources of mounts, the
//! compiled filter, and the list of steps that the child takes between `clone3` and `execve`. [`launch()`]
//! performs the plan and gives an [`Init`], which its caller waits for and then deletes. Nothing here knows
//! images, networks or the names that users give to containers.

mod bundle;
mod cgroup_view;
mod child;
mod copy_up;
mod devices;
mod error;
mod hooks;
mod id_maps;
pub mod identity;
pub mod init;
mod launch;
mod limits;
mod listener;
mod mount_options;
mod mounts;
mod namespaces;
mod numa;
mod plan;
mod scheduling;
pub mod seccomp;
mod source;
mod spawn;
mod stdio;
mod step;
mod sysctl;

pub use bundle::{Bundle, InitProcess, Options, Orphan, Rootfs};
pub use error::{HookError, LaunchError};
pub use launch::{Init, Stdio, launch};
pub use mounts::COVERABLE;
pub use plan::LaunchPlan;
pub use sysctl::owner as sysctl_owner;

/// The version of the OCI runtime specification that this crate implements.
pub const OCI_VERSION: &str = "1.2.0";
