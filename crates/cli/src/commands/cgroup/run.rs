//! `skiff cgroup run`: a program in a group that lives as long as it does.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use rustix::process::{WaitStatus, getpid};
use skiff_cgroup::{Cgroup, CgroupPath, Layout};

use super::explain::Explanation;
use super::limits::Limits;
use super::{named, told};
use crate::commands::program::{self, Family};
use crate::error::CliError;

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(override_usage = "skiff cgroup run [OPTIONS] [LIMIT...] -- PROGRAM [ARG...]")]
pub struct Args {
    /// Print every file that is written, and with what, on stderr
    #[arg(short = 'x', long)]
    explain: bool,
    /// Name of the group [run-PID]
    #[arg(short, long, value_name = "GROUP")]
    name: Option<CgroupPath>,
    /// Limits, such as `cpu=50%` and `memory=256M`
    #[arg(value_name = "LIMIT")]
    limits: Vec<String>,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", last = true, required = true)]
    program: Vec<OsString>,
}

/// Makes the group, runs the program in it, and takes the group away with whatever is left in it.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let limits = Limits::parse(&args.limits)?;
    let path = match &args.name {
        Some(path) => named(path)?.clone(),
        None => format!("run-{}", getpid().as_raw_nonzero()).parse()?,
    };
    let layout = Layout::detect().map_err(told)?;
    let (group, applied) = Cgroup::create(&layout, &path, limits.resources()).map_err(told)?;
    let mut explanation = Explanation::new(args.explain);
    explanation.made(&group);
    explanation.applied(&group, &applied);
    let code = match program::fork_waited_for() {
        Ok(Family::Child) => {
            group.join().map_err(told)?;
            explanation.joined(&group, getpid());
            // On stderr, because stdout is the program's; a closed one leaves nobody to tell.
            drop(std::io::stderr().write_all(explanation.text().as_bytes()));
            return Err(program::become_program(&args.program));
        }
        Ok(Family::Parent(waiting)) => waiting.wait().map(|status| ExitCode::from(as_shell(status))),
        Err(error) => Err(error),
    };
    // The program may have left others behind it, and a group with processes can't be removed.
    group.kill_and_remove().map_err(told)?;
    code
}

/// How the program ended, as a shell says it.
fn as_shell(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
