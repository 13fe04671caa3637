//! What [`crate::run()`] is asked to do.

use std::time::Duration;

use skiff_cgroup::{Cgroup, CgroupPath, Layout};
use skiff_runtime::LaunchPlan;
use skiff_store::{Container, ContainerId, Durability, Patience, Store};
use skiff_sys::fail;

use crate::error::in_one_line;
use crate::{ExitRecord, SignalProxy};

/// How long the front waits for a container's init to go after its monitor was killed.
const INIT_GOES: Duration = Duration::from_secs(2);

/// A container to run in the foreground.
#[derive(Debug)]
pub struct Request {
    /// The launch. Whether the container has a terminal is said there.
    pub plan: LaunchPlan,
    /// Whether the container reads what the caller's stdin has (`-i`).
    pub stdin: Stdin,
    /// Whether signals to the caller's process reach the container (`--sig-proxy`).
    pub signals: SignalProxy,
    /// The cgroup of the plan, for cleaning up should the monitor be killed.
    pub cgroup: Option<CgroupPath>,
    /// The container's directories, if it has any, and what becomes of them.
    pub custody: Option<Custody>,
}

/// Whether a container reads what the caller's stdin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Its stdin is the caller's, byte for byte, to the end of it.
    Open,
    /// Its stdin is at its end from the beginning.
    Empty,
}

/// The directories of a container, held by their lock, and what becomes of them when it ends.
#[derive(Debug)]
pub struct Custody {
    /// Where they are.
    pub store: Store,
    /// The directories and the lock.
    pub container: Container,
    /// What becomes of them.
    pub fate: Fate,
}

/// What becomes of a container's directories when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They are removed, and this name of it with them (`--rm`).
    Removed {
        /// The name that the user gave or got.
        name: Option<String>,
    },
    /// They stay, with an [`crate::ExitRecord`] in this file.
    Kept {
        /// A file name in the directory of its data.
        record: String,
    },
}

/// What is left of a container besides its directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Its cgroup, which could not be removed.
    Cgroup,
}

/// What the front keeps of a [`Custody`]: enough to take it over from a monitor that was killed. The lock is
/// not part of it, as it tells everybody whether the monitor lives.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) store: Store,
    pub(crate) id: ContainerId,
    pub(crate) fate: Fate,
}

impl Custody {
    /// Lets go of the lock, which the monitor holds from now on.
    pub(crate) fn release(self) -> Watch {
        let Self { store, container, fate } = self;
        Watch { store, id: container.id().clone(), fate }
    }

    /// Removes the directories, or writes `record` into them. Returns what is left, a sentence each.
    ///
    /// The directories are the mark by which a later command finds what else is left (R34): they go last, or
    /// stay with it.
    pub(crate) fn end(self, record: &ExitRecord, rest: Rest) -> Vec<String> {
        let Self { store, container, fate } = self;
        if rest == Rest::Cgroup && matches!(fate, Fate::Removed { .. }) {
            return Vec::new();
        }
        let done = fail::point("monitor.custody").map_err(in_one_line_of).and_then(|()| match fate {
            Fate::Removed { name } => {
                store.remove_container(container, name.as_deref()).map_err(in_one_line_of)
            }
            Fate::Kept { record: file } => {
                let text = serde_json::to_vec_pretty(record).map_err(in_one_line_of)?;
                container.data().replace(&file, &text, Durability::None).map_err(in_one_line_of)
            }
        });
        done.err().into_iter().collect()
    }
}

impl Watch {
    /// Does the monitor's part after its death: its container is dead too, as the kernel kills its init with
    /// it. Returns what is left, a sentence each.
    pub(crate) fn take_over(self, rest: Rest) -> Vec<String> {
        let Self { store, id, fate } = self;
        // The init dies after the monitor, not with it, and has a copy of the lock until then.
        match store.hold(&id, Patience::For(INIT_GOES)) {
            // A sweeper was faster, and has finished it.
            Ok(None) => Vec::new(),
            Ok(Some(container)) => Custody { store, container, fate }.end(&ExitRecord::now(), rest),
            Err(error) => vec![in_one_line(&error)],
        }
    }
}

/// Kills what is in the cgroup `path` and removes it. Returns what is left, a sentence each.
pub(crate) fn sweep(path: &CgroupPath) -> Vec<String> {
    let swept = Layout::detect().and_then(|layout| match Cgroup::open(&layout, path) {
        // The monitor had got as far as that.
        Err(skiff_cgroup::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(cgroup) => {
            cgroup.kill()?;
            cgroup.remove()
        }
    });
    swept.err().map(|error| in_one_line(&error)).into_iter().collect()
}

fn in_one_line_of(error: impl std::error::Error) -> String {
    in_one_line(&error)
}
