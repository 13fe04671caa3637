//! Signals as data: blocked, read from a descriptor, and sent to a process that can't be mistaken for another.
//!
//! The raw calls are used because glibc hides its two internal signals (32, 33) from its own interface, and
//! because the kernel's set is one machine word. See `signalfd(2)`, `sigprocmask(2)`, `sigaction(2)`,
//! `pidfd_send_signal(2)`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::Errno;
use crate::process::check;

/// The highest signal number of Linux (`SIGRTMAX`).
pub const LAST: i32 = 64;

/// The size of the kernel's signal set.
const SET_BYTES: usize = size_of::<u64>();

/// A set of signals; bit n−1 stands for signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Every signal. The kernel itself leaves SIGKILL and SIGSTOP out of a mask.
    pub const FULL: Self = Self(u64::MAX);

    /// The set with `signal` in it; a number that is no signal changes nothing.
    #[must_use]
    pub const fn with(self, signal: i32) -> Self {
        Self(self.0 | bit(signal))
    }

    /// The set without `signal`.
    #[must_use]
    pub const fn without(self, signal: i32) -> Self {
        Self(self.0 & !bit(signal))
    }

    /// True when `signal` is in the set.
    pub const fn has(self, signal: i32) -> bool {
        self.0 & bit(signal) != 0
    }
}

const fn bit(signal: i32) -> u64 {
    if signal < 1 || signal > LAST { 0 } else { 1 << (signal - 1) }
}

/// Blocks exactly `set` in the calling thread and returns what was blocked before.
///
/// # Errors
/// None for valid memory; kept so that nothing is dropped.
pub fn set_mask(set: SignalSet) -> Result<SignalSet, Errno> {
    let mut old = 0u64;
    // SAFETY: both sets are SET_BYTES long, as the last argument says; the new one is only read and the
    // old one is writable, and both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set.0, &raw mut old, SET_BYTES)
    };
    check(result).map(|_| SignalSet(old))
}

/// A descriptor that becomes readable when a signal of `set` arrives; close on exec and non-blocking.
///
/// The signals must be blocked ([`set_mask`]), or they take their usual effect instead. A blocked signal is
/// queued even when its disposition is to ignore it (`sig_ignored()` of `kernel/signal.c`).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM` as `signalfd(2)` says.
pub fn signalfd(set: SignalSet) -> Result<OwnedFd, Errno> {
    // SAFETY: the set is SET_BYTES long, as the third argument says, and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const set.0,
            SET_BYTES,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    let fd = RawFd::try_from(check(result)?).map_err(|_| Errno::BADF)?;
    // SAFETY: signalfd4 returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal that arrived, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
    /// Why it was sent: `SI_USER` (0) by `kill(2)`, `SI_KERNEL` (0x80) and others of `sigaction(2)`.
    pub code: i32,
    /// The sender's process id, 0 when it is outside this pid namespace or the kernel itself.
    pub pid: i32,
    /// The sender's real user id.
    pub uid: u32,
}

/// The next signal that waits in `fd`, a [`signalfd`]; `None` when there is none.
///
/// # Errors
/// What `read(2)` lists; `EAGAIN` is `None`, `EINTR` is retried.
pub fn receive(fd: BorrowedFd<'_>) -> Result<Option<Received>, Errno> {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(_) => return Ok(Some(parse(&buffer))),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads `struct signalfd_siginfo`: signo, errno and code are words 0 to 2, pid and uid words 3 and 4.
fn parse(buffer: &[u8; 128]) -> Received {
    let word = |index: usize| -> [u8; 4] {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(buffer.iter().skip(index * 4)) {
            *to = *from;
        }
        bytes
    };
    Received {
        signal: i32::from_ne_bytes(word(0)),
        code: i32::from_ne_bytes(word(2)),
        pid: i32::from_ne_bytes(word(3)),
        uid: u32::from_ne_bytes(word(4)),
    }
}

/// The kernel's own `struct sigaction`: handler, flags, restorer, mask (all of one word on 64-bit machines).
#[repr(C)]
struct KernelAction([u64; 4]);

/// Gives `signal` its default action.
///
/// # Errors
/// `EINVAL` for SIGKILL, SIGSTOP and numbers that are no signals.
pub fn set_default(signal: i32) -> Result<(), Errno> {
    let default = KernelAction([0; 4]);
    // SAFETY: `default` is as large as the kernel's sigaction and only read; the old action isn't asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            std::ptr::null_mut::<KernelAction>(),
            SET_BYTES,
        )
    };
    check(result).map(|_| ())
}

/// True when the calling process ignores `signal`, as after `nohup` or in a shell's background job.
///
/// # Errors
/// `EINVAL` for numbers that are no signals.
pub fn is_ignored(signal: i32) -> Result<bool, Errno> {
    const SIG_IGN: u64 = 1;
    let mut current = KernelAction([0; 4]);
    // SAFETY: no new action is given; `current` is as large as the kernel's sigaction and writable.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<KernelAction>(),
            &raw mut current,
            SET_BYTES,
        )
    };
    check(result)?;
    let KernelAction([handler, ..]) = current;
    Ok(handler == SIG_IGN)
}

/// Sends `signal` to the process of `pidfd`; real-time signals included, unlike `rustix`'s wrapper.
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL`, `EPERM` as `pidfd_send_signal(2)` says.
pub fn send(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    // SAFETY: a null siginfo asks the kernel to fill it in as kill(2) would; nothing else is a pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_no_number_that_is_no_signal() {
        let set = SignalSet::EMPTY.with(libc::SIGTERM).with(64).with(0).with(-1).with(65);
        assert!(set.has(libc::SIGTERM) && set.has(64));
        assert!(!set.has(libc::SIGINT) && !set.has(0) && !set.has(65));
        assert_eq!(set.without(libc::SIGTERM).without(64), SignalSet::EMPTY);
    }

    #[test]
    fn a_blocked_signal_is_read_from_the_descriptor_with_its_sender() {
        // Process-per-test of nextest, and a thread-directed signal: no other test can take it.
        let before = set_mask(SignalSet::EMPTY.with(libc::SIGUSR1)).unwrap();
        let fd = signalfd(SignalSet::EMPTY.with(libc::SIGUSR1)).unwrap();
        assert_eq!(receive(fd.as_fd()).unwrap(), None);
        let (process, thread) = (rustix::process::getpid(), rustix::thread::gettid());
        let numbers = (process.as_raw_nonzero().get(), thread.as_raw_nonzero().get());
        // SAFETY: tgkill takes three numbers and no memory.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, numbers.0, numbers.1, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        let received = receive(fd.as_fd()).unwrap().unwrap();
        assert_eq!(received.signal, libc::SIGUSR1);
        assert_eq!(u32::try_from(received.pid).unwrap(), std::process::id());
        assert_eq!(received.uid, rustix::process::getuid().as_raw());
        assert_eq!(receive(fd.as_fd()).unwrap(), None);
        set_mask(before).unwrap();
    }

    #[test]
    fn dispositions_are_seen_and_reset() {
        // The Rust runtime ignores SIGPIPE in test binaries.
        assert!(is_ignored(libc::SIGPIPE).unwrap());
        set_default(libc::SIGPIPE).unwrap();
        assert!(!is_ignored(libc::SIGPIPE).unwrap());
        assert_eq!(set_default(libc::SIGKILL), Err(Errno::INVAL));
    }

    #[test]
    fn a_signal_to_an_ended_process_says_so() {
        let pid = rustix::process::getpid();
        let own = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        assert_eq!(send(&own, 0), Ok(()));
        assert_eq!(send(&own, 99), Err(Errno::INVAL));
    }
}
