//! What a process in a container may do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Privileges, added and taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// `--privileged`: every capability and device, no filter, nothing masked.
    pub privileged: bool,
    /// `--security-opt strict`: every safeguard that an ordinary program survives.
    pub strict: bool,
    /// `--cap-add`.
    pub cap_add: Vec<CapabilityWish>,
    /// `--cap-drop`.
    pub cap_drop: Vec<CapabilityWish>,
    /// The filter of system calls.
    pub seccomp: SeccompChoice,
    /// A program can't gain privileges by executing a file.
    pub no_new_privileges: bool,
    /// Whether the dangerous parts of `/proc` and `/sys` are hidden.
    pub system_paths: SystemPaths,
    /// `--security-opt apparmor=PROFILE`.
    pub apparmor: Option<String>,
    /// `--security-opt label=…`, as given.
    pub labels: Vec<String>,
    /// `--device`.
    pub devices: Vec<DeviceNode>,
    /// `--device-cgroup-rule`.
    pub device_rules: Vec<DeviceRule>,
}

/// One value of `--cap-add` or `--cap-drop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapabilityWish {
    /// Every one.
    All,
    /// This one, in the kernel's spelling: `CAP_NET_ADMIN`.
    Named(String),
}

/// Which system calls are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeccompChoice {
    /// The built-in profile.
    #[default]
    Builtin,
    /// All.
    Unconfined,
    /// What this text says: a profile in Docker's format, read when the request was made.
    Profile(String),
}

/// Whether the dangerous parts of `/proc` and `/sys` are hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemPaths {
    /// Hidden, or read-only.
    #[default]
    Masked,
    /// As the kernel shows them.
    Unconfined,
}

/// A device of the host that the container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Its node, or a directory of nodes, on the host.
    pub source: PathBuf,
    /// Where it appears in the container.
    pub target: String,
    /// Some of `r`, `w` and `m`.
    pub access: String,
}

/// A rule for devices that may appear later: `c 189:* rmw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// `None` is `*`.
    pub major: Option<u32>,
    /// `None` is `*`.
    pub minor: Option<u32>,
    /// Some of `r`, `w` and `m`.
    pub access: String,
}
