//! `clone3(2)`: a new process in new namespaces, in its cgroup from birth.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use crate::Errno;
use crate::process::{check, raw};

/// Which of the two processes returned from [`clone3`].
#[derive(Debug)]
pub enum Cloned {
    /// The caller: `pid` is the child's number in the caller's pid namespace.
    Parent {
        /// The child's process id.
        pid: Pid,
        /// A pidfd of the child, close on exec.
        pidfd: OwnedFd,
    },
    /// The new process. It must not allocate, lock, or return to general code: see [`clone3`].
    Child,
}

/// Who becomes the parent of the new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The calling process.
    Caller,
    /// The caller's own parent (`CLONE_PARENT`): the new process is a sibling of the caller.
    Grandparent,
}

/// True when the calling process has one thread only.
///
/// `unshare(2)`: `CLONE_THREAD` may be given by a single-threaded caller and then does nothing; otherwise
/// the call fails with `EINVAL`. It is the cheapest question to the kernel that has this answer. Below a
/// seccomp filter that forbids it, the number of threads is read from `proc(5)`: `/proc/self/task` has a link
/// for each beside its own two.
pub fn is_single_threaded() -> bool {
    // SAFETY: unshare(CLONE_THREAD) takes no pointer and changes nothing in any case (unshare(2)).
    let result = unsafe { libc::unshare(libc::CLONE_THREAD) };
    match check(result.into()) {
        Ok(_) => true,
        Err(Errno::PERM | Errno::NOSYS) => {
            rustix::fs::stat(c"/proc/self/task").is_ok_and(|task| task.st_nlink == 3)
        }
        Err(_) => false,
    }
}

/// `clone3(2)` without shared memory, as `fork(2)` does it, with the `CLONE_NEW*` flags `namespaces`, into
/// the cgroup v2 directory `cgroup` if there is one (`CLONE_INTO_CGROUP`, Linux 5.7).
///
/// The child has a copy of the caller's memory and descriptors. glibc does not know of it: its cached
/// thread id is the parent's. The child must therefore use raw calls only, which `rustix` makes.
///
/// # Errors
/// `EDEADLK` when the process has more than one thread (another thread could hold a lock that would stay
/// locked in the child for ever); otherwise what `clone3(2)` lists.
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>, parent: Parent) -> Result<Cloned, Errno> {
    if !is_single_threaded() {
        return Err(Errno::DEADLK);
    }
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces | constant(libc::CLONE_PIDFD),
        pidfd: (&raw mut pidfd).addr() as u64,
        // With CLONE_PARENT the kernel takes the caller's exit signal and wants none here.
        exit_signal: match parent {
            Parent::Caller => constant(libc::SIGCHLD),
            Parent::Grandparent => 0,
        },
        ..CloneArgs::default()
    };
    if parent == Parent::Grandparent {
        args.flags |= constant(libc::CLONE_PARENT);
    }
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(dir.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a valid clone_args of the size given, and `pidfd` outlives the call. Without
    // CLONE_VM and CLONE_THREAD the child is a copy of this process, which is single-threaded (checked
    // above), so no other thread can hold the allocator's or any other lock in the copy.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match check(result)? {
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
            // SAFETY: CLONE_PIDFD made the kernel store a new descriptor in `pidfd`, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// `fork(2)` by [`clone3`], so that the parent gets a pidfd.
///
/// # Errors
/// As [`clone3`].
pub fn fork() -> Result<Cloned, Errno> {
    clone3(0, None, Parent::Caller)
}

/// Ends the calling process at once, without running destructors or exit handlers (`_exit(2)`).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: glibc's _exit is the bare exit_group call; it has no preconditions and runs nothing.
    unsafe { libc::_exit(code) }
}

/// `struct clone_args` of `linux/sched.h`, as of Linux 5.7.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP` of `linux/sched.h`: it doesn't fit the `c_int` that libc gives the others.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn constant(value: libc::c_int) -> u64 {
    u64::from(value.unsigned_abs())
}

/// Waits for the end of the child `pidfd` and returns its exit code, 128 + the signal's number if it was
/// killed.
///
/// # Errors
/// What `waitid(2)` lists; `EINTR` is retried.
pub fn wait_for(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let status = loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other?.ok_or(Errno::CHILD)?,
        }
    };
    Ok(status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255))
}

/// Closes every descriptor from `first` on but those in `kept`, which must be sorted (`close_range(2)`, Linux 5.9).
/// For a process that is about to execute another program: whoever owns one of them must not use or drop it.
/// Allocates nothing.
///
/// # Errors
/// What `close_range(2)` lists.
pub fn close_all_from(first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let close = |from: u32, to: u32| raw(libc::SYS_close_range, [from.into(), to.into(), 0, 0, 0]);
    let mut from = first;
    for kept in kept {
        let kept = kept.as_raw_fd().unsigned_abs();
        if kept > from {
            close(from, kept - 1)?;
        }
        from = from.max(kept.saturating_add(1));
    }
    close(from, u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn clone3_refuses_a_process_with_threads() {
        // The test harness itself runs this test in a second thread.
        assert!(!is_single_threaded());
        assert!(matches!(fork(), Err(Errno::DEADLK)));
        let stdin = std::io::stdin();
        assert!(matches!(clone3(0, Some(stdin.as_fd()), Parent::Caller), Err(Errno::DEADLK)));
    }
}
