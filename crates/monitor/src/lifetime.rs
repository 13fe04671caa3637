//! A container's life as its monitor sees it: launch, serve, wait, clean up, report.
//!
//! Invariant: whatever fails, every later stage of the cleaning up is still tried, and what is left behind is
//! in the report.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, Uid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdout};
use skiff_runtime::{Init, LaunchError, LaunchPlan, Stdio, launch};
use skiff_sys::signal::{self, SignalSet};
use skiff_sys::{Errno, fail};

use crate::caller::Caller;
use crate::channel::{Channel, Report, Size};
use crate::error::in_one_line;
use crate::hostname::Listener;
use crate::pump::{Fd, Pump};
use crate::request::{Custody, Fate, Rest};
use crate::supervise::{Streams, Supervisor, Terminal};
use crate::{Counters, End, ExitRecord, ExitStatus, Failure};

/// What the monitor gets from the process that forked it.
#[derive(Debug)]
pub(crate) struct Lifetime {
    pub(crate) plan: LaunchPlan,
    pub(crate) custody: Option<Custody>,
    pub(crate) channel: Channel,
    pub(crate) caller: Caller,
    /// Where the container's stdin comes from, if anywhere.
    pub(crate) stdin: Option<Fd>,
    /// The size of the caller's window.
    pub(crate) size: Option<Size>,
}

/// Why the monitor could not do its part.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("{doing}")]
    Host { doing: &'static str, source: Errno },
}

impl Trouble {
    fn host(doing: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Host { doing, source }
    }

    fn to_failure(&self) -> Failure {
        match self {
            Self::Launch(error) => Failure::new(error, error.exit_code(), error.hint()),
            trouble @ Self::Host { .. } => Failure::new(trouble, 125, None),
        }
    }
}

impl Lifetime {
    /// All of it. The process has nothing to do afterwards.
    pub(crate) fn live(self) {
        let Self { mut plan, custody, channel, caller, stdin, size } = self;
        let begun = settle()
            .map_err(Trouble::host("set up the monitor process"))
            .and_then(|()| begin(&mut plan, stdin, size));
        match begun {
            Err(trouble) => {
                let mut failure = trouble.to_failure();
                let record = ExitRecord {
                    exit_code: Some(failure.exit_code),
                    error: Some(failure.to_string()),
                    ..ExitRecord::now()
                };
                let rest = match &trouble {
                    Trouble::Launch(LaunchError::Leftover { .. }) => Rest::Cgroup,
                    _ => Rest::Nothing,
                };
                failure.left = custody.map_or_else(Vec::new, |custody| custody.end(&record, rest));
                tell(&channel, &Report::Failed(failure));
            }
            Ok((init, streams)) => serve(&plan, init, streams, custody, channel, caller),
        }
    }
}

/// Makes this process the monitor: out of reach of the caller's terminal and job, and of its signals.
fn settle() -> Result<(), Errno> {
    fail::point("monitor.settle")?;
    signal::set_mask(SignalSet::FULL)?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::chdir("/")?;
    // A session of its own: what kills the shell's job, or closes the terminal, leaves the monitor to clean up.
    rustix::process::setsid().map(|_| ())
}

/// Launches the container and connects its stdio. After an error nothing of the container is left.
fn begin(plan: &mut LaunchPlan, stdin: Option<Fd>, size: Option<Size>) -> Result<(Init, Streams), Trouble> {
    fail::point("monitor.stdio").map_err(Trouble::host("make the pipes of the container"))?;
    if !plan.has_terminal() {
        let (stdio, streams) =
            pipes(stdin, plan.stdio_owner()).map_err(Trouble::host("make the pipes of the container"))?;
        return Ok((launch(plan, stdio)?, streams));
    }
    if let Some(size) = size {
        plan.set_window(size.columns, size.rows);
    }
    let mut init = launch(plan, Stdio::Inherit)?;
    let master = init.terminal.take().ok_or(Errno::NODEV);
    match master.and_then(|master| terminal_streams(master, stdin)) {
        Ok(streams) => Ok((init, streams)),
        Err(source) => {
            end(&init).map_err(Trouble::host("end the container"))?;
            init.delete(plan)?;
            Err(Trouble::Host { doing: "connect the terminal", source })
        }
    }
}

/// The container's ends of three pipes that belong to `owner`, and the pumps at the other ends.
fn pipes(stdin: Option<Fd>, owner: Option<u32>) -> Result<(Stdio, Streams), Errno> {
    let (input, stdin) = match stdin {
        None => (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None),
        Some(source) => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (read, Some(Pump::open(source, Fd::own(write))?))
        }
    };
    let (from_output, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (from_error, error) = pipe_with(PipeFlags::CLOEXEC)?;
    // Pipes are ours when they are made, and the program may open its own anew by `/dev/stdin` and the like.
    if let Some(owner) = owner.map(Uid::from_raw).filter(|owner| *owner != rustix::process::geteuid()) {
        for end in [&output, &error].into_iter().chain(stdin.is_some().then_some(&input)) {
            rustix::fs::fchown(end, Some(owner), None)?;
        }
    }
    let streams = Streams {
        stdin,
        stdout: Some(Pump::open(Fd::own(from_output), Fd::Inherited(stdout()))?),
        stderr: Some(Pump::open(Fd::own(from_error), Fd::Inherited(stderr()))?),
        terminal: None,
    };
    Ok((Stdio::Files([input, output, error]), streams))
}

/// The pumps of the container's terminal `master`.
fn terminal_streams(master: OwnedFd, stdin: Option<Fd>) -> Result<Streams, Errno> {
    let terminal = Terminal::open(master)?;
    Ok(Streams {
        stdin: stdin.map(|source| Pump::open_copying(source, terminal.master())).transpose()?,
        stdout: Some(Pump::open_copying(terminal.master(), Fd::Inherited(stdout()))?),
        stderr: None,
        terminal: Some(terminal),
    })
}

/// Serves the container to its end, takes it away, and reports.
fn serve(
    plan: &LaunchPlan,
    mut init: Init,
    streams: Streams,
    custody: Option<Custody>,
    channel: Channel,
    caller: Caller,
) {
    let mut left = Vec::new();
    if let Err(errno) = protect_from_oom() {
        left.push(format!("set the oom score of the monitor: {errno}"));
    }
    let listener = init.notify.take().map(|fd| Listener::new(fd, init.pid));
    let timings = std::mem::take(&mut init.timings);
    let warnings = init.applied.warnings.iter().map(ToString::to_string).collect();
    let mut supervisor = Supervisor::new(streams, channel, caller, listener);
    let served = supervisor.until_end(init.pidfd.as_fd());
    let ended = match served {
        Ok(end) => Ok(end),
        // Not expected of a kernel in order. The container can't be served any more, so it ends here.
        Err(errno) => end(&init).map(|()| End::Signalled(libc::SIGKILL)).and(Err(errno)),
    };
    let counters = ended.as_ref().ok().and_then(|end| counters(&init, *end, custody.as_ref(), &mut left));
    let rest = take_away(plan, init, &mut left);
    if let Err(errno) = supervisor.deliver_rest() {
        left.push(format!("the rest of its output: {errno}"));
    }
    let (channel, last_signal) = supervisor.into_front();
    let record = ExitRecord { counters, ..ExitRecord::now() };
    let record = match &ended {
        Ok(end) => record.with_end(*end, last_signal),
        Err(errno) => ExitRecord { error: Some(format!("serve the container: {errno}")), ..record },
    };
    left.extend(custody.map_or_else(Vec::new, |custody| custody.end(&record, rest)));
    let report = match ended {
        Ok(end) => Report::Ended(ExitStatus {
            end,
            oom_killed: record.oom_killed(),
            last_signal,
            timings,
            warnings,
            left,
        }),
        Err(source) => {
            let trouble = Trouble::Host { doing: "serve the container", source };
            Report::Failed(Failure { left, ..trouble.to_failure() })
        }
    };
    if let Some(channel) = channel {
        tell(&channel, &report);
    }
}

/// Kills init, and with it every process of its pid namespace, and reaps it.
fn end(init: &Init) -> Result<(), Errno> {
    match signal::send(&init.pidfd, libc::SIGKILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno),
    }
    match skiff_sys::clone::wait_for(init.pidfd.as_fd()) {
        // Somebody has waited for it already.
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What the cgroup has counted, where somebody will want to know: a dozen files are read for it.
fn counters(init: &Init, end: End, custody: Option<&Custody>, left: &mut Vec<String>) -> Option<Counters> {
    let is_kept = custody.is_some_and(|custody| matches!(custody.fate, Fate::Kept { .. }));
    if !is_kept && end != End::Signalled(libc::SIGKILL) {
        return None;
    }
    match init.cgroup.as_ref()?.stats() {
        Ok(stats) => Some(Counters::from(&stats)),
        Err(error) => {
            left.push(format!("its counters: {error}"));
            None
        }
    }
}

/// Ends what the container's init didn't take along (processes in the host's pid namespace, say), removes the
/// cgroup and runs the last hooks. What could not be done goes to `left`, a sentence each.
fn take_away(plan: &LaunchPlan, init: Init, left: &mut Vec<String>) -> Rest {
    if let Some(cgroup) = &init.cgroup {
        let killed = cgroup.procs().and_then(|procs| if procs.is_empty() { Ok(()) } else { cgroup.kill() });
        left.extend(killed.err().map(|error| in_one_line(&error)));
    }
    let Err(error) = init.delete(plan) else { return Rest::Nothing };
    left.push(in_one_line(&error));
    // Otherwise it was a hook that failed.
    match error {
        LaunchError::Hook { .. } => Rest::Nothing,
        _ => Rest::Cgroup,
    }
}

/// The kernel's out-of-memory killer shall take anything but the monitor, where we may say so: the container's
/// init has its own score by then.
fn protect_from_oom() -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty())?;
    match rustix::io::write(&file, b"-999") {
        // Without CAP_SYS_RESOURCE nobody may lower a score.
        Ok(_) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sends the last report. A front that has died meanwhile misses nothing.
fn tell(channel: &Channel, report: &Report) {
    match channel.send_report(report) {
        Ok(()) | Err(Errno::PIPE) => {}
        // There is nobody else to tell; the front sees the end of the channel and says so.
        Err(errno) => debug_assert_eq!(errno, Errno::PIPE, "the channel to the front"),
    }
}
