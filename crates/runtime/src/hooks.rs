//! Hooks: programs of the bundle's author that run at fixed points of a container's life
//! (`config.md`, "POSIX-platform Hooks").
//!
//! Each gets the container's state as JSON on its stdin. Hooks of the container's namespaces are started
//! by joining the init process, which waits meanwhile.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, pidfd_send_signal};
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
    Ok(start(place, &path, &argv, &envp)
        .map_err(HookError::Start)
        .and_then(|started| started.finish(state, hook.timeout())))
}

/// A hook that is running.
struct Started {
    pidfd: OwnedFd,
    stdin: OwnedFd,
    output: OwnedFd,
}

fn start(
    place: Place<'_>,
    path: &std::ffi::CStr,
    argv: &ExecStrings,
    envp: &ExecStrings,
) -> Result<Started, Errno> {
    let (stdin_read, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, output_write) = pipe_with(PipeFlags::CLOEXEC)?;
    match fork()? {
        Cloned::Parent { pidfd, .. } => Ok(Started { pidfd, stdin, output }),
        Cloned::Child => {
            // The process that waits below would keep the pipe open that the hook reads to its end.
            drop((stdin, output));
            let run = || -> Result<i32, Errno> {
                rustix::stdio::dup2_stdin(&stdin_read)?;
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
                    }
                }
                Err(execve(path, argv, envp))
            };
            exit_now(run().unwrap_or(127))
        }
    }
}

impl Started {
    /// Feeds the state, collects the output, and waits for the end, for at most `timeout` seconds.
    fn finish(self, state: &[u8], timeout: Option<i64>) -> Result<(), HookError> {
        let deadline = timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| now().saturating_add(seconds.saturating_mul(1_000_000_000)));
        // A state is far below the pipe's 64 KiB; a hook that doesn't read it is no error.
        match rustix::io::write(&self.stdin, state) {
            Ok(_) | Err(Errno::PIPE) => {}
            Err(errno) => return Err(HookError::Start(errno)),
        }
        drop(self.stdin);
        let mut shown = Vec::new();
        let mut open = true;
        loop {
            let mut waited = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            if open {
                waited.push(PollFd::new(&self.output, PollFlags::IN));
            }
            let left = deadline.map(|deadline| deadline.saturating_sub(now()));
            let limit = left.map(|left| Timespec {
                tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
            });
            match poll(&mut waited, limit.as_ref()) {
                Ok(0) => {
                    pidfd_send_signal(&self.pidfd, Signal::KILL).map_err(HookError::Start)?;
                    wait_for(self.pidfd.as_fd()).map_err(HookError::Start)?;
                    return Err(HookError::Timeout(timeout.unwrap_or_default()));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(HookError::Start(errno)),
            }
            let ended = waited.first().is_some_and(|fd| !fd.revents().is_empty());
            let readable = waited.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if readable {
                open = collect(&self.output, &mut shown).map_err(HookError::Start)?;
            } else if ended {
                break;
            }
        }
        match wait_for(self.pidfd.as_fd()).map_err(HookError::Start)? {
            0 => Ok(()),
            status => {
                let text = String::from_utf8_lossy(&shown);
                let text = text.trim();
                let output = if text.is_empty() { String::new() } else { format!(": {text}") };
                Err(HookError::Status { status, output })
            }
        }
    }
}

/// Reads what is there; false at the end of the output.
fn collect(output: &OwnedFd, shown: &mut Vec<u8>) -> Result<bool, Errno> {
    let mut buffer = [0u8; 4096];
    let read = rustix::io::read(output, &mut buffer)?;
    let room = OUTPUT_MAX.saturating_sub(shown.len());
    shown.extend(buffer.iter().take(read.min(room)));
    Ok(read > 0)
}
