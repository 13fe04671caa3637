//! `skiff cgroup`: groups of processes and their limits, in one syntax on cgroup v1 and v2.

mod explain;
mod limits;
mod list;
mod run;
mod stat;

use std::process::ExitCode;

use rustix::process::Pid;
use skiff_cgroup::{Cgroup, CgroupPath, Error, Layout};

use crate::commands::process::ProcessName;
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use explain::Explanation;
use limits::Limits;

/// Limit and count what processes use
///
/// A GROUP is named by its path below the root of the cgroup hierarchies: `mygroup`, `system.slice/web`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the hierarchies of this machine, or the groups in GROUP
    Ls(list::LsArgs),
    /// Show groups as a tree, with how many processes are in each
    Tree(list::TreeArgs),
    /// Make a group
    #[command(after_help = limits::HELP)]
    Create(CreateArgs),
    /// Change the limits of a group
    #[command(after_help = limits::HELP)]
    Set(SetArgs),
    /// Move processes into a group
    Add(AddArgs),
    /// Run a program in a new group that goes with it
    #[command(after_help = limits::HELP)]
    Run(run::Args),
    /// Show what a group has used, in words
    Stat(stat::Args),
    /// Stop all processes of a group
    Freeze(GroupArgs),
    /// Let the processes of a group go on
    Thaw(GroupArgs),
    /// Remove groups, with the groups in them
    Rm(RmArgs),
}

/// What `create` takes.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Print every file that is written, and with what
    #[arg(short = 'x', long)]
    explain: bool,
    /// The new group
    group: CgroupPath,
    /// Limits, such as `cpu=50%` and `memory=256M`
    #[arg(value_name = "LIMIT")]
    limits: Vec<String>,
}

/// What `set` takes.
#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Print every file that is written, and with what
    #[arg(short = 'x', long)]
    explain: bool,
    /// The group
    group: CgroupPath,
    /// Limits, such as `cpu=50%` and `memory=256M`
    #[arg(value_name = "LIMIT", required = true)]
    limits: Vec<String>,
}

/// What `add` takes.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Print every file that is written, and with what
    #[arg(short = 'x', long)]
    explain: bool,
    /// The group
    group: CgroupPath,
    /// The processes, by number or as the container that they are the first process of
    #[arg(value_name = "PID", required = true)]
    processes: Vec<ProcessName>,
}

/// What `freeze` and `thaw` take.
#[derive(Debug, clap::Args)]
struct GroupArgs {
    /// The group
    group: CgroupPath,
}

/// What `rm` takes.
#[derive(Debug, clap::Args)]
struct RmArgs {
    /// Print every directory that is removed
    #[arg(short = 'x', long)]
    explain: bool,
    /// Kill the processes in the group first
    #[arg(short, long)]
    kill: bool,
    /// The groups
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<CgroupPath>,
}

/// Runs the subcommand.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Ls(args) => list::ls(&args),
        Command::Tree(args) => list::tree(&args),
        Command::Create(args) => create(&args),
        Command::Set(args) => set(&args),
        Command::Add(args) => add(&args, context),
        Command::Run(args) => run::run(args),
        Command::Stat(args) => stat::run(&args),
        Command::Freeze(args) => found(&args.group)?.freeze().map_err(told).map(|()| ExitCode::SUCCESS),
        Command::Thaw(args) => found(&args.group)?.thaw().map_err(told).map(|()| ExitCode::SUCCESS),
        Command::Rm(args) => rm(&args),
    }
}

fn create(args: &CreateArgs) -> Result<ExitCode, CliError> {
    let limits = Limits::parse(&args.limits)?;
    let group = named(&args.group)?;
    let layout = Layout::detect().map_err(told)?;
    if Cgroup::open(&layout, group).is_ok() {
        return Err(CliError::message(format!("cgroup {group} exists"))
            .with_hint(format!("`skiff cgroup set {} …` changes its limits", group.as_str())));
    }
    let (made, applied) = Cgroup::create(&layout, group, limits.resources()).map_err(told)?;
    let mut explanation = Explanation::new(args.explain);
    explanation.made(&made);
    explanation.applied(&made, &applied);
    output::show(explanation.text())
}

fn set(args: &SetArgs) -> Result<ExitCode, CliError> {
    let limits = Limits::parse(&args.limits)?;
    let mut group = found(&args.group)?;
    let applied = group.apply(limits.resources()).map_err(told)?;
    let mut explanation = Explanation::new(args.explain);
    explanation.applied(&group, &applied);
    output::show(explanation.text())
}

fn add(args: &AddArgs, context: &Context) -> Result<ExitCode, CliError> {
    let group = found(&args.group)?;
    let processes: Vec<Pid> =
        args.processes.iter().map(|name| name.find(context)).collect::<Result<_, CliError>>()?;
    let mut explanation = Explanation::new(args.explain);
    for pid in processes {
        group.add(pid).map_err(told)?;
        explanation.joined(&group, pid);
    }
    output::show(explanation.text())
}

fn rm(args: &RmArgs) -> Result<ExitCode, CliError> {
    let mut explanation = Explanation::new(args.explain);
    for path in &args.groups {
        let group = found(path)?;
        let members = group.procs().map_err(told)?;
        if args.kill {
            group.kill().map_err(told)?;
        } else if let Some(first) = members.first() {
            let (count, first) = (stat::counted(members.len() as u64, "process"), first.as_raw_nonzero());
            return Err(CliError::message(format!("cgroup {path} has {count} in it, such as {first}"))
                .with_hint("`--kill` kills them first"));
        }
        explanation.removed(&group);
        group.remove().map_err(told)?;
    }
    output::show(explanation.text())
}

/// A group of this machine that is there.
fn found(path: &CgroupPath) -> Result<Cgroup, CliError> {
    let layout = Layout::detect().map_err(told)?;
    match Cgroup::open(&layout, named(path)?) {
        Err(Error::NotFound { path }) => Err(CliError::message(format!("no cgroup {path}"))
            .with_hint("`skiff cgroup tree` shows those that there are")),
        other => other.map_err(told),
    }
}

/// A group that is not the root, which nobody makes, limits or removes.
fn named(path: &CgroupPath) -> Result<&CgroupPath, CliError> {
    if path.is_root() {
        Err(CliError::message("the root of the hierarchies is the whole machine: name a group below it"))
    } else {
        Ok(path)
    }
}

/// The error with its hint, if it has one.
fn told(error: Error) -> CliError {
    match error.hint() {
        Some(hint) => CliError::from(error).with_hint(hint),
        None => error.into(),
    }
}
