//! Skiff's own init (`--init`): the first process of the container, which starts the program, forwards
//! signals to it and reaps whatever the kernel hands to process 1.
//!
//! It runs from a detached read-only clone of the binary's mount, so that no process of the container can
//! write to the program that the host runs (R8, CVE-2019-5736).

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open};
use skiff_sys::clone::exit_now;
use skiff_sys::fork::{Forked, fork};
use skiff_sys::process::{ExecStrings, execve, reset_signals};
use skiff_sys::signal::{self, SignalSet};
use skiff_sys::{Errno, own_binary};

use crate::{LaunchError, LaunchPlan};

/// What the binary is called when it is an init; `main` looks for it.
pub const NAME: &str = "skiff-init";

/// The binary, ready to be executed as an init.
#[derive(Debug)]
pub struct Binary {
    mount: OwnedFd,
    argv: ExecStrings,
}

impl Binary {
    /// Opens the running binary on a read-only mount.
    ///
    /// # Errors
    /// [`LaunchError::Host`] when the binary can't be opened or cloned.
    pub fn open(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        let failed = || LaunchError::host("make a read-only clone of skiff for `--init`");
        let mount = own_binary::read_only().map_err(failed())?;
        let name = CString::new(NAME).map_err(|_| failed()(Errno::INVAL))?;
        let argv = std::iter::once(name).chain(plan.program.argv.as_slice().iter().cloned()).collect();
        Ok(Self { mount, argv: ExecStrings::new(argv) })
    }

    /// The descriptor to execute and the arguments to give.
    pub fn parts(&self) -> (BorrowedFd<'_>, &ExecStrings) {
        (self.mount.as_fd(), &self.argv)
    }
}

/// The life of the init: `args` is its own name, then the program with its arguments. Returns the exit code
/// of the container.
pub fn main(args: Vec<OsString>) -> u8 {
    match serve(args) {
        Ok(code) => code,
        Err(errno) if errno == Errno::NOENT => 127,
        Err(_) => 126,
    }
}

fn serve(args: Vec<OsString>) -> Result<u8, Errno> {
    let argv: Vec<CString> = args
        .into_iter()
        .skip(1)
        .map(|arg| CString::new(arg.into_vec()).map_err(|_| Errno::INVAL))
        .collect::<Result<_, _>>()?;
    signal::set_mask(SignalSet::FULL)?;
    let signals = signal::signalfd(SignalSet::FULL)?;
    // Not by clone3: the container's seccomp filter, which holds here too, answers it with ENOSYS.
    let child = match fork()? {
        Forked::Child => exit_now(execute(argv)),
        Forked::Parent(pid) => pid,
    };
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        let Some(received) = signal::receive(signals.as_fd())? else {
            wait_readable(&signals)?;
            continue;
        };
        if received.signal != Signal::CHILD.as_raw() {
            match signal::send(&pidfd, received.signal) {
                // The program has just ended and is about to be reaped, or it is another user's by now (a
                // set-user-id program) and not ours to signal.
                Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
            continue;
        }
        // One SIGCHLD can stand for many children.
        while let Some((pid, status)) = reap()? {
            if pid == child {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|n| 128 + n));
                return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255));
            }
        }
    }
}

fn wait_readable(signals: &OwnedFd) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn reap() -> Result<Option<(Pid, rustix::process::WaitStatus)>, Errno> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Err(Errno::CHILD) => Ok(None),
        other => other,
    }
}

/// Executes the program as `execvp(3)` would; returns the exit code that says why it could not.
fn execute(argv: Vec<CString>) -> i32 {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            CString::new(entry).ok()
        })
        .collect();
    let path = std::env::var_os("PATH").map_or_else(|| b"/bin:/usr/bin".to_vec(), OsString::into_vec);
    let Some(program) = argv.first().cloned() else { return 127 };
    let (argv, envp) = (ExecStrings::new(argv), ExecStrings::new(environment));
    // The terminal's foreground is the program's, in a group of its own, so that Ctrl-C reaches it alone.
    // It is taken while SIGTTOU is still blocked, as this group is not in the foreground yet.
    let ready = own_group().and_then(|()| reset_signals());
    if ready.is_err() {
        return 126;
    }
    let mut verdict = Errno::NOENT;
    if program.as_bytes().contains(&b'/') {
        verdict = execve(&program, &argv, &envp);
    } else {
        for dir in path.split(|byte| *byte == b':') {
            let dir = if dir.is_empty() { b".".as_slice() } else { dir };
            let Ok(candidate) = CString::new([dir, b"/", program.as_bytes()].concat()) else { continue };
            match execve(&candidate, &argv, &envp) {
                Errno::NOENT | Errno::NOTDIR => {}
                errno => verdict = errno,
            }
        }
    }
    if verdict == Errno::NOENT { 127 } else { 126 }
}

/// Leads a process group of its own, in the foreground where there is a terminal.
fn own_group() -> Result<(), Errno> {
    rustix::process::setpgid(None, None)?;
    let stdin = rustix::stdio::stdin();
    if !rustix::termios::isatty(stdin) {
        return Ok(());
    }
    match rustix::termios::tcsetpgrp(stdin, rustix::process::getpid()) {
        // A terminal that isn't the controlling one.
        Err(Errno::NOTTY) => Ok(()),
        other => other,
    }
}
