//! Which namespaces a container has to itself, and which it shares.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whose namespace of one kind the container lives in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// A new one of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// The one that this file of nsfs stands for (`ns:PATH`).
    Path(PathBuf),
}

/// Whose System V and POSIX message queues, semaphores and shared memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpcMode {
    /// A new namespace, which other containers may join.
    #[default]
    Shareable,
    /// A new namespace, which no other container may join.
    Private,
    /// A new namespace, and no `/dev/shm`.
    None,
    /// The host's, with its `/dev/shm`.
    Host,
    /// The one that this file of nsfs stands for (`ns:PATH`).
    Path(PathBuf),
}

/// The eight kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Process numbers.
    pub pid: Sharing,
    /// Network devices and ports; `Private` is an empty one with only `lo`.
    pub net: Sharing,
    /// Queues and shared memory.
    pub ipc: IpcMode,
    /// Host and domain name.
    pub uts: Sharing,
    /// User and group numbers; `Private` maps a range of unused numbers of the host. `None`: the engine chooses.
    pub user: Option<Sharing>,
    /// The visible part of the cgroup tree.
    pub cgroup: Sharing,
    /// Mounts; never the host's.
    pub mount: Sharing,
    /// The clocks that count from boot. The wall clock is in no namespace.
    pub time: Sharing,
    /// How far those clocks are moved in a new time namespace.
    pub offsets: TimeOffsets,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            pid: Sharing::Private,
            net: Sharing::Private,
            ipc: IpcMode::Shareable,
            uts: Sharing::Private,
            user: None,
            cgroup: Sharing::Private,
            mount: Sharing::Private,
            time: Sharing::Host,
            offsets: TimeOffsets::default(),
        }
    }
}

/// What a new time namespace adds to the clocks of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffsets {
    /// To `CLOCK_MONOTONIC`.
    pub monotonic: Option<ClockOffset>,
    /// To `CLOCK_BOOTTIME`.
    pub boottime: Option<ClockOffset>,
}

/// Seconds, maybe negative, plus nanoseconds, as the kernel's `timens_offsets` takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999 on top.
    pub nanoseconds: u32,
}
