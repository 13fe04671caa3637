//! What can go wrong with cgroups.

use skiff_sys::Errno;
use skiff_sys::mountinfo::Malformed;

use crate::controller::Controller;
use crate::path::PathError;

/// What went wrong while a cgroup was planned, made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup filesystem is mounted.
    #[error("no cgroup hierarchy is mounted")]
    NoHierarchy,
    /// mountinfo is not as the kernel writes it.
    #[error("read the cgroup hierarchies")]
    Mountinfo(#[from] Malformed),
    /// The name of a group is not valid.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// Whole path, or `(controller)/…` in a private hierarchy.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A file of the kernel holds something else than it should.
    #[error("{path} holds `{found}`, which is no {expected}")]
    Content {
        /// Whole path.
        path: String,
        /// What was there.
        found: String,
        /// What should have been.
        expected: &'static str,
    },
    /// The kernel refused a value.
    #[error("write `{value}` to {path}")]
    Write {
        /// Whole path.
        path: String,
        /// What was written.
        value: String,
        /// Why it was refused.
        source: Errno,
    },
    /// A group could not be made.
    #[error("create cgroup {path}")]
    Create {
        /// Whole path of its directory.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A group could not be opened.
    #[error("open cgroup {path}")]
    Open {
        /// Whole path of its directory or file.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A group could not be removed in the time that was given to it.
    #[error("remove cgroup {path}")]
    Remove {
        /// Whole path of its directory.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A group of that name exists and is used.
    #[error("cgroup {path} exists and has processes or groups in it")]
    InUse {
        /// Whole path of its directory.
        path: String,
    },
    /// The group is in no hierarchy.
    #[error("no cgroup {path}")]
    NotFound {
        /// The group.
        path: String,
    },
    /// A hierarchy could not be mounted for this process.
    #[error("mount the {controller} hierarchy")]
    Mount {
        /// Its controller.
        controller: Controller,
        /// Why.
        source: Errno,
    },
    /// A limit was asked for, and no hierarchy of this machine has the controller that enforces it.
    #[error("{limit} can't be limited: the {controller} controller is not available here")]
    Missing {
        /// What should have been limited.
        limit: &'static str,
        /// The controller that does it.
        controller: Controller,
    },
    /// A limit was asked for that this cgroup version or kernel does not have.
    #[error("{limit} can't be set: {why}")]
    Unsupported {
        /// What was asked for.
        limit: String,
        /// Why it can't hold here.
        why: &'static str,
    },
    /// A value that no kernel would take.
    #[error("{what} {value}: {why}")]
    Invalid {
        /// Which limit.
        what: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        why: &'static str,
    },
    /// The device filter could not be loaded, attached or replaced.
    #[error("{action} the device filter of {path}")]
    DeviceFilter {
        /// `load`, `attach`, `list` or `detach`.
        action: &'static str,
        /// Whole path of the group.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A process is not where it was put.
    #[error("process {pid} is in cgroup {found} of {hierarchy}, not in {expected}")]
    Elsewhere {
        /// The process.
        pid: i32,
        /// Which hierarchy.
        hierarchy: String,
        /// Where it is.
        found: String,
        /// Where it should be.
        expected: String,
    },
    /// A process could not be signalled.
    #[error("kill process {pid}")]
    Kill {
        /// The process.
        pid: i32,
        /// Why.
        source: Errno,
    },
    /// The processes of a group did not come to rest in time.
    #[error("cgroup {path} did not {what} within {milliseconds} ms")]
    TimedOut {
        /// Whole path of its directory.
        path: String,
        /// `freeze`, `thaw`, or `die`.
        what: &'static str,
        /// How long was waited.
        milliseconds: u64,
    },
    /// A failure whose undoing failed too; the first one is the source.
    #[error("left behind: {}", .left.join(", "))]
    LeftBehind {
        /// The groups that are still there.
        left: Vec<String>,
        /// What had failed first.
        source: Box<Error>,
    },
}

impl Error {
    /// The kernel's reason, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Create { source, .. }
            | Self::Open { source, .. }
            | Self::Remove { source, .. }
            | Self::Mount { source, .. }
            | Self::Kill { source, .. }
            | Self::DeviceFilter { source, .. } => Some(*source),
            Self::LeftBehind { source, .. } => source.errno(),
            _ => None,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Write { path, source, value } => write_hint(path, value, *source),
            Self::Create { source: Errno::ROFS, .. } => {
                Some("the cgroup filesystem is read-only here, as in most containers")
            }
            Self::Create { source: Errno::ACCESS | Errno::PERM, .. } => {
                Some("cgroups of the whole machine belong to root")
            }
            Self::Create { source: Errno::AGAIN, .. } => {
                Some("an ancestor allows no more descendants (cgroup.max.descendants, cgroup.max.depth)")
            }
            Self::Missing { .. } => Some("`skiff cgroup ls` shows which controllers this machine has"),
            Self::LeftBehind { source, .. } => source.hint(),
            _ => None,
        }
    }
}

fn write_hint(path: &str, value: &str, source: Errno) -> Option<&'static str> {
    let file = path.rsplit('/').next().unwrap_or(path);
    Some(match (file, source) {
        ("memory.limit_in_bytes", Errno::BUSY) => "the group uses more memory than that already",
        ("memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", Errno::INVAL) => {
            "memory and swap together can't be less than memory alone"
        }
        ("cgroup.subtree_control", Errno::BUSY) => {
            "on cgroup v2 a group with processes in it can't give controllers to its children: move them to a child first"
        }
        ("cgroup.procs" | "tasks", Errno::NOSPC) => "the group's cpuset has no CPUs or no memory nodes",
        ("cgroup.procs", Errno::BUSY) => {
            "on cgroup v2 processes can only be in groups that give no controllers to their children"
        }
        ("cpuset.cpus" | "cpuset.mems", Errno::INVAL | Errno::ACCESS | Errno::RANGE) => {
            "the CPUs or nodes must exist, and the parent group must have them"
        }
        ("cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max", Errno::INVAL) => {
            "a period is 1 ms to 1 s, a quota at least 1 ms, and no more than the parent group has"
        }
        ("cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::INVAL) => {
            "the parent group has less real-time budget than that"
        }
        ("cpu.shares" | "cpu.weight", Errno::INVAL) => "an idle group has no weight",
        ("blkio.bfq.weight_device" | "io.bfq.weight", Errno::OPNOTSUPP) if value.contains(':') => {
            "that disk isn't scheduled by BFQ: `echo bfq > /sys/block/DISK/queue/scheduler` changes it"
        }
        ("io.max", Errno::NODEV) => "limits are for whole disks: there is none of that number",
        (file, Errno::NODEV | Errno::INVAL) if file.starts_with("blkio.throttle.") && value.contains(':') => {
            "limits are for whole disks: there is none of that number"
        }
        (_, Errno::PERM | Errno::ACCESS) => "cgroups of the whole machine belong to root",
        ("net_prio.ifpriomap", Errno::NODEV) => "there is no network interface of that name",
        _ => return None,
    })
}
