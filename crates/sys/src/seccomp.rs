//! Seccomp filters and their notifications: `seccomp(2)` and `seccomp_unotify(2)`.
//!
//! [`install`] allocates nothing and takes no lock, so a child may call it between clone and exec. What a
//! filter says is decided above; here it is a slice of instructions that the kernel checks itself.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Errno;
use crate::process::check;

/// One instruction of a classic BPF program: `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation, `BPF_*` bits.
    pub code: u16,
    /// How many instructions a conditional jump skips when its test holds.
    pub jump_true: u8,
    /// How many it skips when the test does not hold.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());

/// Flags of a filter, `SECCOMP_FILTER_FLAG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// All threads of the process get the filter (Linux 3.17).
    pub const TSYNC: Self = Self(1 << 0);
    /// Every action but allow is logged (Linux 4.14).
    pub const LOG: Self = Self(1 << 1);
    /// No mitigation against speculative store bypass (Linux 4.17).
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// [`install`] returns a descriptor for notifications (Linux 5.0).
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// A thread that can't take the filter is `ESRCH` and no thread id, so that a descriptor can be returned
    /// together with [`Flags::TSYNC`] (Linux 5.7).
    pub const TSYNC_ESRCH: Self = Self(1 << 4);
    /// Only a fatal signal interrupts a call that a listener has received (Linux 5.19).
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// Both sets of flags together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits as the kernel takes them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// Installs `program` as a seccomp filter of the calling thread: `seccomp(SECCOMP_SET_MODE_FILTER)`.
///
/// Returns the listener if `flags` has [`Flags::NEW_LISTENER`]; it closes on exec. The caller needs
/// no-new-privileges or CAP_SYS_ADMIN in its user namespace. Allocates nothing.
///
/// # Errors
/// `EACCES` without the right, `EINVAL` for a program or a flag that this kernel doesn't take, `EBUSY` when a
/// listener exists already, `ENOMEM` when the filters of the thread get too long.
pub fn install(program: &[Instruction], flags: Flags) -> Result<Option<OwnedFd>, Errno> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        // The kernel only reads the program, in spite of the pointer's type.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `header` describes exactly the instructions of `program`, which has the layout of sock_filter and
    // is borrowed during the call; the kernel copies it before it returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.bits(), &raw const header)
    };
    let result = check(result)?;
    if !flags.contains(Flags::NEW_LISTENER) {
        // With TSYNC alone a positive result is the thread that could not be synchronised.
        return if result == 0 { Ok(None) } else { Err(Errno::SRCH) };
    }
    let listener = i32::try_from(result).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: with NEW_LISTENER (and TSYNC_ESRCH where TSYNC is) a result that is no error is a new
    // descriptor, and nobody else knows it yet.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

/// Whether the kernel knows the action `action` (`SECCOMP_RET_*` without data).
///
/// # Errors
/// What `seccomp(2)` says beside "not supported", such as `ENOSYS` for a kernel without seccomp.
pub fn is_action_available(action: u32) -> Result<bool, Errno> {
    // SAFETY: the kernel reads one u32 behind the pointer, which is valid for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    match check(result) {
        Ok(_) => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the kernel knows all of `flags`.
///
/// # Errors
/// What `seccomp(2)` says beside "not known", such as `ENOSYS` for a kernel without seccomp.
pub fn are_flags_available(flags: Flags) -> Result<bool, Errno> {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the flags are checked first, then the null pointer is refused with EFAULT: no filter can come
    // of this call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.bits(), nothing) };
    match check(result) {
        Err(Errno::FAULT) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::IO),
    }
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Names the call in [`respond`] and [`is_waiting`].
    pub id: u64,
    /// The calling thread, as a number in the pid namespace of the process that reads; 0 if it isn't seen
    /// from there.
    pub thread: u32,
    /// The number of the system call, in the table of `arch`.
    pub number: i32,
    /// The ABI of the call, `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The arguments, as they were in the registers.
    pub args: [u64; 6],
}

/// What the caller of a notified system call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call returns this value.
    Value(i64),
    /// The call fails with this error.
    Error(Errno),
    /// The kernel does the call as if there were no filter. The arguments in memory may have changed since
    /// they were looked at, so this decides nothing (`seccomp_unotify(2)`).
    Continue,
}

/// Takes the next notification; waits until there is one.
///
/// # Errors
/// `ENOENT` when the caller was killed or interrupted in between: there is nothing to answer then.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // The kernel wants zeroes, so that it may give meaning to them later.
    // SAFETY: seccomp_notif consists of integers, for which zeroes are valid.
    let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request number contains the size of the structure that the kernel writes, which is the size
    // of `raw`: a kernel with a larger one has another number and says EINVAL.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut raw) };
    check(result.into())?;
    Ok(Notification {
        id: raw.id,
        thread: raw.pid,
        number: raw.data.nr,
        arch: raw.data.arch,
        args: raw.data.args,
    })
}

/// Answers the notification `id`.
///
/// # Errors
/// `ENOENT` when the caller no longer waits.
pub fn respond(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<(), Errno> {
    const CONTINUE: u32 = 1;
    let (val, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        // The kernel takes the error with its sign, as a system call returns it.
        Answer::Error(errno) => (0, errno.raw_os_error().wrapping_neg(), 0),
        Answer::Continue => (0, 0, CONTINUE),
    };
    let mut raw = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the request number contains the size of the structure, and `raw` is one.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut raw) };
    check(result.into()).map(|_| ())
}

/// Whether the caller of notification `id` still waits. What was read about a thread by its number is about
/// the caller only if this is true *afterwards*; the number may have gone to another process otherwise.
///
/// # Errors
/// What `ioctl(2)` says beside "no longer there".
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> Result<bool, Errno> {
    // SAFETY: the kernel reads one u64 behind the pointer, as the request number says.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
    match check(result.into()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads `buffer.len()` bytes at `address` of the memory of thread `thread`: `process_vm_readv(2)`.
///
/// # Errors
/// `EFAULT` when not all of it can be read, `ESRCH` when the thread is gone, `EPERM` without the right to
/// trace it.
pub fn read_memory(thread: u32, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let length = buffer.len();
    let thread = i32::try_from(thread).map_err(|_| Errno::SRCH)?;
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let here = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: length };
    let there = libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(address), iov_len: length };
    // SAFETY: `here` describes `buffer`, which is borrowed mutably for the call; `there` is an address in the
    // other process and never followed in this one.
    let result = unsafe { libc::process_vm_readv(thread, &raw const here, 1, &raw const there, 1, 0) };
    let read = check(i64::try_from(result).map_err(|_| Errno::OVERFLOW)?)?;
    if usize::try_from(read) == Ok(length) { Ok(()) } else { Err(Errno::FAULT) }
}

#[cfg(test)]
mod tests;
