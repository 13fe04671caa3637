//! Hooks: programs of the bundle's author that run at fixed points of a container's life
//! (`config.md`, "POSIX-platform Hooks").
//!
//! Each gets the container's state as JSON on its stdin. Hooks of the container's namespaces are started
//! by joining the init process, which waits meanwhile.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, pidfd_send_signal, set_parent_process_death_signal};
use rustix::time::Timespec;
use serde::Serialize;
use skiff_oci::runtime::Hook;
use skiff_sys::Errno;
use skiff_sys::clone::{Cloned, exit_now, fork, wait_for};
use skiff_sys::ns::Kind;
use skiff_sys::process::{ExecStrings, execve, join_process};
use skiff_sys::report::now;

use crate::error::{HookError, c_string};
use crate::{LaunchError, OCI_VERSION};

/// As much of a hook's output as an error shows.
const OUTPUT_MAX: usize = 1024;

/// The state of a container, as `runtime.md` of the specification defines it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    /// The version of the specification.
    pub oci_version: &'static str,
    /// The container's id.
    pub id: &'a str,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: &'static str,
    /// The init process as the host numbers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The bundle's directory.
    pub bundle: &'a PathBuf,
    /// The annotations of the configuration.
    pub annotations: &'a HashMap<String, String>,
}

impl<'a> State<'a> {
    /// The state of `plan`'s container.
    pub fn new(plan: &'a crate::LaunchPlan, status: &'static str, pid: Option<Pid>) -> Self {
        Self {
            oci_version: OCI_VERSION,
            id: &plan.id,
            status,
            pid: pid.map(|pid| pid.as_raw_nonzero().get()),
            bundle: &plan.bundle,
            annotations: &plan.annotations,
        }
    }
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In the namespaces of the calling process.
    Host,
    /// In the mount namespace of the process behind this pidfd.
    Mounts(BorrowedFd<'a>),
    /// In all namespaces of the process behind this pidfd.
    Container(BorrowedFd<'a>),
}

/// Runs `hooks` one after the other.
///
/// # Errors
/// [`LaunchError::Hook`] for the first that fails; the rest are not run.
pub fn run(
    kind: &'static str,
    hooks: &[Hook],
    place: Place<'_>,
    state: &State<'_>,
) -> Result<(), LaunchError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(state)
        .map_err(|error| LaunchError::spec("annotations", format!("can't be JSON: {error}")))?;
    for hook in hooks {
        run_one(hook, place, &state)?.map_err(|source| LaunchError::Hook {
            kind,
            program: hook.path().clone(),
            source,
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, place: Place<'_>, state: &[u8]) -> Result<Result<(), HookError>, LaunchError> {
    let path = c_string("hooks.path", hook.path().as_os_str().as_encoded_bytes())?;
    let strings = |values: &Option<Vec<String>>| {
        let values = values.as_deref().unwrap_or_default();
        values.iter().map(|value| c_string("hooks", value.as_str())).collect::<Result<Vec<_>, _>>()
    };
    let mut argv = strings(hook.args())?;
    if argv.is_empty() {
        argv.push(path.clone());
    }
    let (argv, envp) = (ExecStrings::new(argv), ExecStrings::new(strings(hook.env())?));
    let deadline = hook
        .timeout()
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(|seconds| now().saturating_add(seconds.saturating_mul(1_000_000_000)));
    let started = stdin_of(state).and_then(|stdin| start(place, &stdin, &path, &argv, &envp));
    Ok(started.map_err(HookError::Start).and_then(|started| match started.watch(deadline) {
        Ok(Watched::Ended { status: 0, .. }) => Ok(()),
        Ok(Watched::Ended { status, output }) => Err(HookError::Status { status, output: shown(&output) }),
        Ok(Watched::Late) => {
            started.kill().map_err(HookError::Start)?;
            Err(HookError::Timeout(hook.timeout().unwrap_or_default()))
        }
        Err(errno) => {
            started.kill().map_err(HookError::Start)?;
            Err(HookError::Start(errno))
        }
    }))
}

/// A file in memory that holds the state, from its beginning: a hook may read it or not, at any time, and a
/// state that is larger than a pipe makes nobody wait.
fn stdin_of(state: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    let mut rest = state;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

/// What a hook wrote, as an error shows it.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// A hook that is running.
struct Started {
    pidfd: OwnedFd,
    output: OwnedFd,
}

/// What came of waiting for a hook.
enum Watched {
    /// It ended; `status` is its exit code, 128 + the signal's number if it was killed.
    Ended { status: i32, output: Vec<u8> },
    /// It runs longer than it may.
    Late,
}

fn start(
    place: Place<'_>,
    stdin: &OwnedFd,
    path: &std::ffi::CStr,
    argv: &ExecStrings,
    envp: &ExecStrings,
) -> Result<Started, Errno> {
    let (output, output_write) = pipe_with(PipeFlags::CLOEXEC)?;
    match fork()? {
        Cloned::Parent { pidfd, .. } => Ok(Started { pidfd, output }),
        Cloned::Child => {
            let run = || -> Result<i32, Errno> {
                rustix::stdio::dup2_stdin(stdin)?;
                rustix::stdio::dup2_stdout(&output_write)?;
                rustix::stdio::dup2_stderr(&output_write)?;
                skiff_sys::process::reset_signals()?;
                match place {
                    Place::Host => {}
                    Place::Mounts(pidfd) => join_process(pidfd, &[Kind::Mount])?,
                    Place::Container(pidfd) => {
                        join_process(pidfd, &Kind::ALL)?;
                        // A joined pid namespace counts for children only.
                        if let Cloned::Parent { pidfd, .. } = fork()? {
                            return wait_for(pidfd.as_fd());
                        }
                        // Who kills a late hook knows the process that waits above, not this one.
                        set_parent_process_death_signal(Some(Signal::KILL))?;
                    }
                }
                Err(execve(path, argv, envp))
            };
            exit_now(run().unwrap_or(127))
        }
    }
}

impl Started {
    /// Collects the output and waits for the end.
    fn watch(&self, deadline: Option<u64>) -> Result<Watched, Errno> {
        let mut output = Vec::new();
        let mut open = true;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(now()));
            // Not by the result of `poll`, which tells the time only of a hook that writes nothing.
            if left == Some(0) {
                return Ok(Watched::Late);
            }
            let mut waited = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            if open {
                waited.push(PollFd::new(&self.output, PollFlags::IN));
            }
            let limit = left.map(|left| Timespec {
                tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
            });
            match poll(&mut waited, limit.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let ended = waited.first().is_some_and(|fd| !fd.revents().is_empty());
            let readable = waited.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if readable {
                open = collect(&self.output, &mut output)?;
            } else if ended {
                return Ok(Watched::Ended { status: wait_for(self.pidfd.as_fd())?, output });
            }
        }
    }

    /// Ends the hook and reaps it.
    fn kill(&self) -> Result<(), Errno> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
        match wait_for(self.pidfd.as_fd()) {
            // It was reaped already.
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Reads what is there; false at the end of the output.
fn collect(output: &OwnedFd, shown: &mut Vec<u8>) -> Result<bool, Errno> {
    let mut buffer = [0u8; 4096];
    let read = match rustix::io::read(output, &mut buffer) {
        Err(Errno::INTR) => return Ok(true),
        other => other?,
    };
    let room = OUTPUT_MAX.saturating_sub(shown.len());
    shown.extend(buffer.iter().take(read.min(room)));
    Ok(read > 0)
}
