//! From one process two: the front, which returns, and the monitor, which doesn't.

use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use rustix::stdio::stdin;
use skiff_sys::fork::{Forked, fork};
use skiff_sys::{Errno, clone, fail, tty};

use crate::caller::{self, Caller};
use crate::channel::{self, Channel, Report};
use crate::front::{self, Front, Outcome, Window};
use crate::lifetime::Lifetime;
use crate::pump::Fd;
use crate::request::{self, Custody, Request, Rest, Stdin};
use crate::{ExitRecord, ExitStatus, Failure, MonitorError, signals};

/// Runs a container in the foreground and waits for its end.
///
/// The calling process must have one thread, and is good for nothing but to exit afterwards: its signals stay
/// blocked, so that one that comes late doesn't change the exit code.
///
/// # Errors
/// [`MonitorError::Launch`] when the container could not be started; the other variants for the rest. Nothing of
/// the container is left then, but for [`MonitorError::Output`], after which it lives on.
pub fn run(request: Request) -> Result<ExitStatus, MonitorError> {
    let mut ready = match prepare(&request) {
        Ok(ready) => ready,
        Err(error) => return Err(undo(request, error)),
    };
    match fail::point("monitor.fork").and_then(|()| fork()) {
        Err(errno) => {
            let error = undo(request, MonitorError::Start(errno));
            restored(ready.front.caller, Err(error))
        }
        Ok(Forked::Child) => {
            ready.into_lifetime(request).live();
            clone::exit_now(0)
        }
        Ok(Forked::Parent(monitor)) => {
            let Request { plan, cgroup, custody, .. } = request;
            // The container's mounts and its lock are the monitor's from here on.
            drop(plan);
            let watch = custody.map(Custody::release);
            drop((ready.monitor_end, ready.keys));
            let outcome = pidfd_open(monitor, PidfdFlags::empty())
                .and_then(|monitor| ready.front.attend(monitor.as_fd()));
            // First of all the terminal: what follows may take a moment, or print something.
            let result = restored(ready.front.caller, Ok(()));
            let status = conclude(outcome, monitor, || {
                let mut left = cgroup.as_ref().map_or_else(Vec::new, request::sweep);
                let rest = if left.is_empty() { Rest::Nothing } else { Rest::Cgroup };
                left.extend(watch.map_or_else(Vec::new, |watch| watch.take_over(rest)));
                left
            });
            status.and_then(|status| result.map(|()| status))
        }
    }
}

/// Restores the terminal on the way to returning `result`, whose error is the first one.
fn restored<T>(mut caller: Caller, result: Result<T, MonitorError>) -> Result<T, MonitorError> {
    match caller.restore() {
        // EIO: the terminal is closed, there is nothing to restore.
        Ok(()) | Err(Errno::IO) => result,
        Err(errno) => result.and(Err(MonitorError::RawMode(errno))),
    }
}

/// Everything that is made before the fork.
#[derive(Debug)]
struct Ready {
    front: Front,
    monitor_end: Channel,
    /// The monitor's end of the pipe in which the front puts what is typed.
    keys: Option<Fd>,
}

fn prepare(request: &Request) -> Result<Ready, MonitorError> {
    let has_terminal = request.plan.has_terminal();
    let is_typed = request.stdin == Stdin::Open && tty::is_terminal(stdin());
    if has_terminal && request.stdin == Stdin::Open && !is_typed {
        return Err(MonitorError::NotATerminal);
    }
    let start = MonitorError::Start;
    fail::point("monitor.prepare").map_err(start)?;
    let (channel, monitor_end) = channel::pair().map_err(start)?;
    let signals = signals::catch(request.signals).map_err(start)?;
    let (keyboard, keys) = is_typed.then(front::keyboard).transpose().map_err(start)?.unzip();
    // Last of all, so that nothing can fail any more before somebody is there who restores it.
    let caller = if has_terminal && is_typed {
        Caller::enter_raw().map_err(MonitorError::RawMode)?
    } else {
        Caller::as_it_is()
    };
    let window = if has_terminal { Window::Followed } else { Window::Unknown };
    let front = Front { channel, signals, proxy: request.signals, caller, keyboard, window, demands: 0 };
    Ok(Ready { front, monitor_end, keys: keys.map(Fd::own) })
}

impl Ready {
    /// The child's part of it. The front's descriptors are closed here, or the monitor would not see its end.
    fn into_lifetime(self, request: Request) -> Lifetime {
        let Self { front, monitor_end, keys } = self;
        let size = if front.window == Window::Followed { caller::window_size() } else { None };
        let stdin = keys.or_else(|| match request.stdin {
            Stdin::Open => Some(Fd::Inherited(stdin())),
            Stdin::Empty => None,
        });
        Lifetime {
            plan: request.plan,
            custody: request.custody,
            channel: monitor_end,
            caller: front.caller,
            stdin,
            size,
        }
    }
}

/// What the front makes of the outcome; `clean_up` is what the monitor would have done.
fn conclude(
    outcome: Result<Outcome, Errno>,
    monitor: Pid,
    clean_up: impl FnOnce() -> Vec<String>,
) -> Result<ExitStatus, MonitorError> {
    match outcome.map_err(MonitorError::Wait)? {
        // Nothing more comes of it; the container and its monitor live on.
        Outcome::Report(Report::Broken(errno)) => Err(MonitorError::Output(Errno::from_raw_os_error(errno))),
        Outcome::Insisted => Err(MonitorError::Insisted),
        Outcome::Report(Report::Failed(failure)) => reap(monitor).and(Err(MonitorError::Launch(failure))),
        Outcome::Report(Report::Ended(status)) => reap(monitor).map(|()| status),
        Outcome::MonitorDied => {
            reap(monitor)?;
            Err(MonitorError::Killed { left: clean_up() })
        }
    }
}

/// Waits until the monitor is gone: when we return nothing of the container shall be there, nor of ourselves.
fn reap(monitor: Pid) -> Result<(), MonitorError> {
    loop {
        match waitpid(Some(monitor), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            other => return other.map(|_| ()).map_err(MonitorError::Wait),
        }
    }
}

/// Takes the container's directories away again after `error`, before there was a monitor.
fn undo(request: Request, error: MonitorError) -> MonitorError {
    let record = ExitRecord {
        exit_code: Some(error.exit_code()),
        error: Some(error.to_string()),
        ..ExitRecord::now()
    };
    let left = request.custody.map_or_else(Vec::new, |custody| custody.end(&record, Rest::Nothing));
    if left.is_empty() {
        return error;
    }
    let hint = error.hint().map(ToOwned::to_owned);
    MonitorError::Launch(Failure { left, ..Failure::new(&error, error.exit_code(), hint) })
}
