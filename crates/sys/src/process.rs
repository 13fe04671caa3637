//! What a process is before it runs a program: its attributes, and `execve(2)` itself.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Errno;
use crate::signal::{self, SignalSet};

/// The result of a raw system call as a `Result`.
///
/// # Errors
/// The calling thread's `errno` when `result` is −1.
pub(crate) fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        // `last_os_error` only reads errno; it does not allocate.
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(result)
}

/// A system call whose arguments are all plain numbers.
pub(crate) fn raw(number: libc::c_long, args: [u64; 5]) -> Result<(), Errno> {
    let [a, b, c, d, e] = args;
    // SAFETY: the callers in this crate pass numbers of calls that take no pointers, so that the kernel
    // reads and writes none of this process's memory.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    check(result).map(|_| ())
}

/// A list of C strings with the null-terminated pointer table that `execve(2)` wants, made before a fork.
#[derive(Debug)]
pub struct ExecStrings {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl ExecStrings {
    /// Takes `strings` in their order.
    pub fn new(strings: Vec<CString>) -> Self {
        // A CString's bytes live on the heap, so the pointers stay valid when the vector moves.
        let pointers =
            strings.iter().map(|string| string.as_ptr()).chain(std::iter::once(std::ptr::null())).collect();
        Self { strings, pointers }
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }
}

/// `execve(2)`. Returns only if it failed, with the reason. Allocates nothing.
pub fn execve(path: &CStr, argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    // SAFETY: `path` is a C string; both tables are null-terminated arrays of pointers to C strings that
    // `ExecStrings` owns and never changes.
    let result = unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    check(result.into()).err().unwrap_or(Errno::IO)
}

/// `execveat(2)` of the program behind the descriptor `program` itself (`AT_EMPTY_PATH`). Returns only if
/// it failed, with the reason. Allocates nothing.
pub fn fexecve(program: BorrowedFd<'_>, argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    // SAFETY: the path is an empty C string; both tables are null-terminated arrays of pointers to C
    // strings that `ExecStrings` owns and never changes; the descriptor is open for the whole call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::IO)
}

/// Joins a new, anonymous session keyring, so that the caller's keys stay out of reach (`keyctl(2)`,
/// `KEYCTL_JOIN_SESSION_KEYRING`).
///
/// # Errors
/// `ENOSYS` on kernels without keyrings, `EDQUOT` when the user has too many.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: u64 = 1;
    raw(libc::SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0])
}

/// `personality(2)`.
///
/// # Errors
/// `EINVAL` when the kernel refuses the change.
pub fn set_personality(persona: u64) -> Result<(), Errno> {
    raw(libc::SYS_personality, [persona, 0, 0, 0, 0])
}

/// `ioprio_set(2)` for the calling process; `class` and `priority` are those of `ioprio_set(2)`.
///
/// # Errors
/// `EPERM` for the real-time class without CAP_SYS_ADMIN, `EINVAL` for values out of range.
pub fn set_io_priority(class: u16, priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: u64 = 1;
    const IOPRIO_CLASS_SHIFT: u64 = 13;
    let value = u64::from(class) << IOPRIO_CLASS_SHIFT | u64::from(priority);
    raw(libc::SYS_ioprio_set, [IOPRIO_WHO_PROCESS, 0, value, 0, 0])
}

/// The scheduling attributes of `sched_setattr(2)`, with its units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_OTHER` 0, `SCHED_FIFO` 1, `SCHED_RR` 2, `SCHED_BATCH` 3, `SCHED_IDLE` 5, `SCHED_DEADLINE` 6.
    pub policy: u32,
    /// `SCHED_FLAG_*` of `linux/sched.h`.
    pub flags: u64,
    /// Nice value, −20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Priority 1 to 99 for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// `sched_setattr(2)` for the calling thread.
///
/// # Errors
/// `EPERM`, `EINVAL`, `EBUSY` as the man page lists them.
pub fn set_scheduler(attr: &SchedAttr) -> Result<(), Errno> {
    /// `struct sched_attr`, version 0 (48 bytes).
    #[repr(C)]
    struct Raw {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let raw = Raw {
        size: 48,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: `raw` is a sched_attr of the size that it states; the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) };
    check(result).map(|_| ())
}

/// `set_mempolicy(2)` for the calling thread: `mode` with its `MPOL_F_*` flags, `nodes` as a bit mask.
///
/// # Errors
/// `EINVAL` when the mode is unknown or no node of the mask is allowed.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // SAFETY: the mask is `nodes.len() * 64` bits long, which is what the length argument says (the
    // kernel reads one bit less than it); the kernel only reads it.
    let result = unsafe {
        libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), nodes.len().saturating_mul(64) + 1)
    };
    check(result).map(|_| ())
}

/// Sets every signal to its default action and unblocks all of them, as `execve(2)` keeps ignored and
/// blocked signals of the caller.
///
/// # Errors
/// None that the kernel can return for valid signal numbers; kept so that nothing is dropped.
pub fn reset_signals() -> Result<(), Errno> {
    for number in 1..=signal::LAST {
        if number != libc::SIGKILL && number != libc::SIGSTOP {
            signal::set_default(number)?;
        }
    }
    signal::set_mask(SignalSet::EMPTY).map(|_| ())
}

/// `setsid(2)` and nothing of the old session: the caller becomes the leader of a new one.
///
/// # Errors
/// `EPERM` when the caller already leads a process group.
pub fn new_session() -> Result<(), Errno> {
    rustix::process::setsid().map(|_| ())
}

/// Enters those namespaces of the process behind `pidfd` that are of `kinds` and not the caller's own
/// already (`setns(2)` with a pidfd, Linux 5.8).
///
/// # Errors
/// Those of `setns(2)`.
pub fn join_process(pidfd: BorrowedFd<'_>, kinds: &[crate::ns::Kind]) -> Result<(), Errno> {
    // One kind at a time: the user namespace first, for the capabilities in the others, and with it an
    // error for the caller's own (EINVAL), which all others take. For the time namespace, EINVAL is a kernel
    // without any (CONFIG_TIME_NS).
    let user_first = kinds.iter().filter(|kind| **kind == crate::ns::Kind::User);
    let rest = kinds.iter().filter(|kind| **kind != crate::ns::Kind::User);
    for kind in user_first.chain(rest) {
        // SAFETY: setns(2) takes a descriptor and flags and checks both itself; no memory is passed.
        let result = unsafe { libc::setns(pidfd.as_raw_fd(), kind.flag()) };
        match check(result.into()) {
            Err(Errno::INVAL) if matches!(kind, crate::ns::Kind::User | crate::ns::Kind::Time) => {}
            other => other.map(|_| ())?,
        }
    }
    Ok(())
}

/// How many supplementary groups the process has (`getgroups(2)` with no room for them). Allocates nothing.
///
/// # Errors
/// None that the kernel can return for a size of zero; kept so that nothing is dropped.
pub fn group_count() -> Result<usize, Errno> {
    // SAFETY: with a size of zero the kernel writes nothing and only counts (getgroups(2)).
    let result = unsafe { libc::syscall(libc::SYS_getgroups, 0, std::ptr::null_mut::<libc::gid_t>()) };
    check(result).and_then(|count| usize::try_from(count).map_err(|_| Errno::RANGE))
}

/// True when the working directory can be reached from the root directory: the raw `getcwd(2)` gives an
/// absolute path then, and `(unreachable)…` otherwise. Allocates nothing.
///
/// # Errors
/// `ENOENT` when the directory was removed, `ERANGE` when its path is longer than `PATH_MAX`.
pub fn is_working_directory_reachable() -> Result<bool, Errno> {
    let mut path = [0u8; 4096];
    // SAFETY: the kernel writes at most `path.len()` bytes to `path`.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    check(result).map(|_| path.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_strings_keep_their_order_and_end_with_null() {
        let strings = ExecStrings::new(vec![c"a".to_owned(), c"b".to_owned()]);
        assert_eq!(strings.as_slice().len(), 2);
        assert_eq!(strings.pointers.len(), 3);
        assert!(strings.pointers[2].is_null());
    }

    #[test]
    fn execve_of_nothing_says_enoent() {
        let none = ExecStrings::new(Vec::new());
        assert_eq!(execve(c"/nonexistent", &none, &none), Errno::NOENT);
    }
}
