//! Which signals the front passes on to the container.

use rustix::fd::OwnedFd;
use skiff_sys::Errno;
use skiff_sys::signal::{self, SignalSet};

/// Whether signals to `skiff` reach the container, as `--sig-proxy` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalProxy {
    /// Every signal that can be caught is passed on.
    On,
    /// Signals act on `skiff` itself; the container lives on without it.
    Off,
}

/// Signals that a shell may have set to be ignored on purpose: `nohup`, and background jobs of a script.
const MAYBE_IGNORED: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];

/// The signals that are read from the descriptor of [`catch`].
///
/// Docker's client passes on everything but SIGCHLD, SIGPIPE and SIGURG, with a terminal or without.
/// SIGTTIN and SIGTTOU stay what they are for every program: a background job that wants the terminal stops.
/// 32 and 33 are glibc's own.
fn caught(proxy: SignalProxy, ignored: SignalSet) -> SignalSet {
    match proxy {
        // The window's size and the return from a stop concern the front itself.
        SignalProxy::Off => SignalSet::EMPTY.with(libc::SIGWINCH).with(libc::SIGCONT),
        SignalProxy::On => {
            let never = [
                libc::SIGKILL,
                libc::SIGSTOP,
                libc::SIGCHLD,
                libc::SIGPIPE,
                libc::SIGURG,
                libc::SIGTTIN,
                libc::SIGTTOU,
                32,
                33,
            ];
            let set = never.into_iter().fold(SignalSet::FULL, SignalSet::without);
            let ignored = MAYBE_IGNORED.into_iter().filter(|signal| ignored.has(*signal));
            ignored.fold(set, SignalSet::without)
        }
    }
}

/// Makes the calling process the front: the signals that it handles wait in the returned descriptor, and the
/// others have their default effect, whatever the caller's shell had set.
///
/// The mask stays as it is to the end of the process: a signal that arrives after the container's end must
/// not change the exit code any more.
///
/// # Errors
/// Those of `signalfd(2)`.
pub(crate) fn catch(proxy: SignalProxy) -> Result<OwnedFd, Errno> {
    let mut ignored = SignalSet::EMPTY;
    for signal in MAYBE_IGNORED {
        if signal::is_ignored(signal)? {
            ignored = ignored.with(signal);
        }
    }
    // SIGCHLD ignored would make the kernel reap our children, and their exit status with them.
    for signal in [libc::SIGCHLD, libc::SIGTTIN, libc::SIGTTOU] {
        signal::set_default(signal)?;
    }
    let caught = caught(proxy, ignored);
    // A reader of ours that has gone is an EPIPE, not our end.
    signal::set_mask(caught.with(libc::SIGPIPE))?;
    signal::signalfd(caught)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_passed_on_that_docker_passes_on() {
        let set = caught(SignalProxy::On, SignalSet::EMPTY);
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGTSTP]
        {
            assert!(set.has(signal), "{signal}");
        }
        assert!(set.has(libc::SIGCONT) && set.has(libc::SIGWINCH) && set.has(34) && set.has(64));
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGPIPE, libc::SIGURG] {
            assert!(!set.has(signal), "{signal}");
        }
        assert!(!set.has(libc::SIGTTIN) && !set.has(libc::SIGTTOU) && !set.has(32) && !set.has(33));
    }

    #[test]
    fn what_nohup_ignores_stays_ignored() {
        let set = caught(SignalProxy::On, SignalSet::EMPTY.with(libc::SIGHUP).with(libc::SIGTERM));
        assert!(!set.has(libc::SIGHUP));
        assert!(set.has(libc::SIGTERM) && set.has(libc::SIGINT));
    }

    #[test]
    fn without_the_proxy_the_front_dies_of_its_signals() {
        let set = caught(SignalProxy::Off, SignalSet::EMPTY);
        assert!(!set.has(libc::SIGTERM) && !set.has(libc::SIGINT) && !set.has(libc::SIGHUP));
        assert!(set.has(libc::SIGWINCH) && set.has(libc::SIGCONT));
    }
}
