//! The program that a tool runs: in the tool's place, or below it with the tool ending as the program did.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use skiff_sys::Errno;
use skiff_sys::fork::{Forked, fork};
use skiff_sys::signal::{SignalSet, set_default, set_mask};

use crate::error::{CliError, Doing as _, NOT_EXECUTABLE, NOT_FOUND};

/// The user's shell, where no program was named.
pub fn shell() -> OsString {
    std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}

/// `words`, or the user's shell without arguments.
pub fn or_shell(words: Vec<OsString>) -> Vec<OsString> {
    if words.is_empty() { vec![shell()] } else { words }
}

/// Becomes the program `words`, found in PATH. Returns only if that failed, with 127 or 126 as a shell has them.
pub fn become_program(words: &[OsString]) -> CliError {
    let Some((program, arguments)) = words.split_first() else {
        return CliError::message("no program to run");
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let code = if missing { NOT_FOUND } else { NOT_EXECUTABLE };
    CliError::from(error).doing(format_args!("execute `{}`", program.display())).with_code(code)
}

/// Which of the two processes returned from [`fork_waited_for`].
pub enum Family {
    /// The tool, with what it needs to wait for the program.
    Parent(Waiting),
    /// The process that shall become the program.
    Child,
}

/// A child that will be the program, until it has ended.
pub struct Waiting {
    child: Pid,
}

/// Forks. The parent no longer ends on SIGINT and SIGTERM: both also reach the program from the terminal, and the
/// parent has to say how it ended.
pub fn fork_waited_for() -> Result<Family, CliError> {
    let blocked = [Signal::INT, Signal::TERM]
        .into_iter()
        .fold(current_mask()?, |set, signal| set.with(signal.as_raw()));
    let mask = set_mask(blocked)?;
    match fork() {
        Ok(Forked::Child) => {
            set_mask(mask)?;
            Ok(Family::Child)
        }
        Ok(Forked::Parent(child)) => Ok(Family::Parent(Waiting { child })),
        Err(Errno::NOMEM) => Err(CliError::from(Errno::NOMEM).doing("fork").with_hint(
            "the pid namespace for children has no PID 1 any more; it needs a new one (`--fork`)",
        )),
        Err(error) => Err(CliError::from(error).doing("fork")),
    }
}

/// The signals that are blocked now. Nothing changes: the set is put back as it was.
fn current_mask() -> Result<SignalSet, Errno> {
    let mask = set_mask(SignalSet::FULL)?;
    set_mask(mask)?;
    Ok(mask)
}

impl Waiting {
    /// The number of the child.
    pub fn child(&self) -> Pid {
        self.child
    }

    /// Waits for the end of the program and ends the same way: with its exit code, or by the same signal, so that
    /// whoever waits for this process sees no difference.
    pub fn mirror(self) -> Result<ExitCode, CliError> {
        // SIGINT and SIGTERM stay blocked: one that came meanwhile was meant for the program, which has dealt with it.
        ended(self.wait()?)
    }

    /// Waits for the end of the program. Stops and continues with it.
    pub fn wait(self) -> Result<WaitStatus, CliError> {
        loop {
            let options = WaitOptions::UNTRACED;
            let status = match rustix::process::waitpid(Some(self.child), options) {
                Ok(Some((_pid, status))) => status,
                Ok(None) | Err(Errno::INTR) => continue,
                Err(error) => return Err(error).doing("wait for the program"),
            };
            if status.stopped() {
                rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)?;
                rustix::process::kill_process(self.child, Signal::CONT)?;
                continue;
            }
            return Ok(status);
        }
    }
}

/// Ends as a process with `status` ended; the code is what is left if a signal didn't end this process.
fn ended(status: WaitStatus) -> Result<ExitCode, CliError> {
    if let Some(code) = status.exit_status() {
        return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
    }
    let Some(number) = status.terminating_signal() else {
        return Err(CliError::message("the program ended in a way that the kernel didn't say"));
    };
    if let Some(signal) = Signal::from_named_raw(number) {
        // KILL can't be set to its default, as it always has it.
        if signal != Signal::KILL {
            set_default(number)?;
            set_mask(current_mask()?.without(number))?;
        }
        rustix::process::kill_process(rustix::process::getpid(), signal)?;
    }
    Ok(ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX)))
}
