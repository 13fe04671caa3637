//! The clone itself, and what must be true of the parent at that moment: namespaces that count only for
//! processes that are made afterwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open};
use skiff_oci::runtime::LinuxNamespaceType;
use skiff_sys::Errno;
use skiff_sys::clone::{Cloned, Parent, clone3, exit_now, wait_for};
use skiff_sys::ns::{self, Kind};
use skiff_sys::report::Report;

use crate::namespaces::Origin;
use crate::{LaunchError, LaunchPlan, id_maps};

/// True when the process is made by way of another one that has joined the container's user namespace.
pub fn is_staged(plan: &LaunchPlan) -> bool {
    matches!(plan.namespaces.origin(LinuxNamespaceType::User), Origin::Join(_))
}

/// Makes the process with its new namespaces, in the joined pid, time and user namespaces, and on v2 in the
/// cgroup behind `cgroup`.
///
/// # Errors
/// [`LaunchError::Host`] with what was being done.
pub fn spawn(
    plan: &LaunchPlan,
    cgroup: Option<BorrowedFd<'_>>,
    report: &Report,
) -> Result<Cloned, LaunchError> {
    // Until it executes the program, the child is a copy of this process: nobody in a namespace that it joins
    // may look into its memory or take its descriptors (R8). exec makes it ordinary again.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(LaunchError::host("forbid others to look into the process"))?;
    let clock = ForChildren::time(plan)?;
    let cloned = ForChildren::pid(plan).and_then(|numbers| {
        let cloned = clone_now(plan, cgroup, report);
        numbers.restore_in_parent(cloned)
    });
    clock.restore_in_parent(cloned)
}

/// The clone, in the namespaces that were chosen for it.
fn clone_now(
    plan: &LaunchPlan,
    cgroup: Option<BorrowedFd<'_>>,
    report: &Report,
) -> Result<Cloned, LaunchError> {
    let flags = plan.namespaces.clone_flags();
    match plan.namespaces.origin(LinuxNamespaceType::User) {
        Origin::Join(path) => {
            let doing = format!("open the user namespace {}", path.display());
            let users = ns::open(path).map_err(LaunchError::host(doing))?;
            staged(&users, flags, report)
        }
        _ => clone3(flags, cgroup, Parent::Caller)
            .map_err(LaunchError::host("make the process and its namespaces")),
    }
}

/// A namespace that the parent is in, or would give its children, only for the moment of the clone.
struct ForChildren(Option<(OwnedFd, Kind)>);

impl ForChildren {
    /// A new time namespace with its offsets, which can't change once somebody is inside; or a joined one.
    fn time(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        match plan.namespaces.origin(LinuxNamespaceType::Time) {
            Origin::Host => Ok(Self(None)),
            Origin::Join(path) => Self::joined(path, Kind::Time),
            Origin::New => {
                let before = own(Kind::Time)?;
                ns::unshare(&[Kind::Time]).map_err(LaunchError::host("make the time namespace"))?;
                let mut text = String::new();
                for (clock, offset) in &plan.time_offsets {
                    let (seconds, nanoseconds) = (offset.secs(), offset.nanosecs());
                    let line = format!("{clock} {} {}\n", seconds.unwrap_or(0), nanoseconds.unwrap_or(0));
                    text.push_str(&line);
                }
                let this = Self(Some((before, Kind::Time)));
                if !text.is_empty()
                    && let Err(errno) = id_maps::write_file("/proc/self/timens_offsets", text.as_bytes())
                {
                    this.restore()?;
                    return Err(LaunchError::host("set the offsets of the clocks")(errno));
                }
                Ok(this)
            }
        }
    }

    fn pid(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        match plan.namespaces.origin(LinuxNamespaceType::Pid) {
            Origin::Join(path) => Self::joined(path, Kind::Pid),
            Origin::Host | Origin::New => Ok(Self(None)),
        }
    }

    fn joined(path: &std::path::Path, kind: Kind) -> Result<Self, LaunchError> {
        let doing = || format!("join the {kind} namespace {}", path.display());
        let before = own(kind)?;
        let namespace = ns::open(path).map_err(LaunchError::host(doing()))?;
        ns::join(namespace.as_fd(), kind).map_err(LaunchError::host(doing()))?;
        Ok(Self(Some((before, kind))))
    }

    /// Undoes it in the parent, whatever came of the clone; the child stays where it is.
    fn restore_in_parent(self, cloned: Result<Cloned, LaunchError>) -> Result<Cloned, LaunchError> {
        if !matches!(cloned, Ok(Cloned::Child)) {
            self.restore()?;
        }
        cloned
    }

    fn restore(self) -> Result<(), LaunchError> {
        let Some((before, kind)) = self.0 else { return Ok(()) };
        ns::join(before.as_fd(), kind)
            .map_err(LaunchError::host(format!("return to the {kind} namespace of the host")))
    }
}

fn own(kind: Kind) -> Result<OwnedFd, LaunchError> {
    ns::open_of(rustix::process::getpid(), kind)
        .map_err(LaunchError::host(format!("open the {kind} namespace of the host")))
}

/// Makes the process from inside the user namespace `users`, so that its new namespaces belong to it; the
/// caller is its parent all the same (`CLONE_PARENT`).
fn staged(users: &OwnedFd, flags: u64, report: &Report) -> Result<Cloned, LaunchError> {
    let failed = || LaunchError::host("make the process in the joined user namespace");
    match clone3(0, None, Parent::Caller).map_err(failed())? {
        Cloned::Child => {
            let made =
                ns::join(users.as_fd(), Kind::User).and_then(|()| clone3(flags, None, Parent::Grandparent));
            match made {
                Ok(Cloned::Child) => Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, .. }) => {
                    report.set_pid(pid);
                    exit_now(0)
                }
                Err(errno) => {
                    report.fail(errno);
                    exit_now(1)
                }
            }
        }
        Cloned::Parent { pidfd, .. } => {
            wait_for(pidfd.as_fd()).map_err(failed())?;
            if let Some(errno) = report.failure() {
                return Err(failed()(errno));
            }
            let pid: Pid = report.pid().ok_or_else(|| failed()(Errno::CHILD))?;
            // It is our child and has not been waited for, so its number can't be another's.
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed())?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}
