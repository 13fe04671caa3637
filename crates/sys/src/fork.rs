//! A plain `fork(2)` for tools that go on as ordinary programs in the child.

use crate::Errno;
use rustix::process::Pid;

/// Which of the two processes returned from [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The caller; the child has this number.
    Parent(Pid),
    /// The new process.
    Child,
}

/// `fork(2)` with glibc's own bookkeeping, so that the child may allocate and call anything.
///
/// # Errors
/// `EDEADLK` when the process has more than one thread: another thread could hold a lock that nobody would
/// release in the child. Otherwise what `fork(2)` lists; `ENOMEM` also when the caller's next pid namespace has
/// lost its init.
pub fn fork() -> Result<Forked, Errno> {
    if !crate::clone::is_single_threaded() {
        return Err(Errno::DEADLK);
    }
    // SAFETY: fork(2) restricts the child to async-signal-safe functions only if the process has other threads;
    // the check above says that it has none.
    let pid = unsafe { libc::fork() };
    let pid = crate::process::check(pid.into())?;
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(child) => Ok(Forked::Parent(child)),
        None => Ok(Forked::Child),
    }
}
