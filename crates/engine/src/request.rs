//! What was meant by `run`: every wish as a typed value, before anything was looked up or decided.
//!
//! A request is plain data and is kept on disk as it is, beside what was typed and beside the `Spec` that was
//! made of it. It says nothing about the machine: the same request can be planned for cgroup v1 and v2.

mod mounts;
mod namespaces;
mod resources;
mod security;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use mounts::{Access, BindMount, IdMapWish, MountRequest, Propagation, Recursion, TmpfsMount};
pub use namespaces::{ClockOffset, IpcMode, Namespaces, Sharing, TimeOffsets};
pub use resources::{
    BlkioLimits, CpuLimits, DeviceRate, DeviceWeight, InterfacePriority, MemoryLimits, PidsLimit, Resources,
    Swap, Ulimit,
};
pub use security::{CapabilityWish, DeviceNode, DeviceRule, SeccompChoice, Security, SystemPaths};

/// Everything that one `run` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// The image, as the user named it.
    pub image: String,
    /// The words after the image; empty means the image's own command.
    pub command: Vec<String>,
    /// `--entrypoint`: `Some("")` takes the image's entry point away.
    pub entrypoint: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--rm`: nothing of the container stays when it has ended.
    pub remove: bool,
    /// `-i`: standard input reaches the process.
    pub interactive: bool,
    /// `-t`: the process has a terminal.
    pub terminal: bool,
    /// Variables in order: `K=V` sets one, a bare `K` takes the image's away.
    pub environment: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`: `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--domainname`.
    pub domainname: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--annotation`: these reach the `Spec`, labels do not.
    pub annotations: BTreeMap<String, String>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--init`: a small init of ours is process 1, forwards signals and reaps.
    pub init: bool,
    /// `--read-only`: the root filesystem can't be written.
    pub read_only: bool,
    /// Bind mounts and tmpfs, in the order they were given.
    pub mounts: Vec<MountRequest>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Namespaces: new, the host's, or someone else's.
    pub namespaces: Namespaces,
    /// What the process may do.
    pub security: Security,
    /// How much it may use.
    pub resources: Resources,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--oom-score-adj`.
    pub oom_score_adj: Option<i32>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
}
