//! `skiff lsns`: the namespaces of the machine, as util-linux's `lsns` lists them, and their containers.

mod columns;
mod netnsid;
mod show;
mod tree;

use std::process::ExitCode;

use rustix::process::Pid;
use skiff_sys::ns::{Inode, Kind};

use crate::commands::containers::Containers;
use crate::commands::namespaces::{Namespace, Scan};
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use columns::{Column, Facts};
use show::{Format, Layout};
use tree::{Node, Relation};

/// List namespaces
///
/// With NAMESPACE (its inode number), list the processes in it. Namespaces that a bind mount keeps without any process
/// are listed too.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skiff lsns [OPTIONS] [NAMESPACE]",
    infer_long_args = true,
    args_override_self = true,
    after_help = columns::HELP
)]
pub struct Args {
    /// Print JSON
    #[arg(short = 'J', long)]
    json: bool,
    /// Print a list, without the lines of a tree
    #[arg(short = 'l', long)]
    list: bool,
    /// Print no headings
    #[arg(short = 'n', long)]
    noheadings: bool,
    /// Columns to print; with a plus before the first, in addition
    #[arg(short = 'o', long, value_name = "LIST")]
    output: Option<String>,
    /// Print all columns
    #[arg(long)]
    output_all: bool,
    /// Only the namespaces of this process
    #[arg(short = 'p', long, value_name = "PID")]
    task: Option<Pid32>,
    /// Print fields separated by one space, and blanks in them as \x20
    #[arg(short = 'r', long)]
    raw: bool,
    /// Only this kind: mnt, net, ipc, user, pid, uts, cgroup or time (repeatable)
    #[arg(short = 't', long = "type", value_name = "KIND", action = clap::ArgAction::Append)]
    kinds: Vec<String>,
    /// Print a tree of who owns whom; or by `parent` or `process`
    #[arg(short = 'T', long, value_name = "REL", num_args = 0..=1, require_equals = true)]
    tree: Option<Option<String>>,
    /// Do not cut lines to the width of the terminal
    #[arg(short = 'u', long)]
    notruncate: bool,
    /// Print several values of a cell on one line
    #[arg(short = 'W', long)]
    nowrap: bool,
    /// The namespace whose processes are listed
    #[arg(value_name = "NAMESPACE")]
    namespace: Option<u64>,
}

/// A process number as an argument.
#[derive(Debug, Clone, Copy)]
struct Pid32(Pid);

impl std::str::FromStr for Pid32 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Pid::from_raw).map(Self).ok_or("not a process number")
    }
}

/// Gives clap what getopt's `-Tparent` means.
pub fn prepare(words: &[std::ffi::OsString]) -> Vec<std::ffi::OsString> {
    let glued = |word: &std::ffi::OsString| {
        let relation = word.to_str().and_then(|word| word.strip_prefix("-T")).filter(|rest| !rest.is_empty());
        relation
            .filter(|rest| Relation::ALL.iter().any(|(name, _)| name == rest))
            .map(|rest| format!("--tree={rest}"))
    };
    words.iter().map(|word| glued(word).map_or_else(|| word.clone(), Into::into)).collect()
}

/// Prints the list.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let relation = relation(&args)?;
    let kinds = kinds(&args.kinds)?;
    let mut scan = Scan::new()?;
    let facts = Facts::new(Containers::if_readable(context));
    if let Some(inode) = args.namespace {
        return processes(&args, &scan, &facts, Inode(inode));
    }
    scan.add_relations();
    let shown = shown(&args, &kinds, &scan, relation);
    let has_containers = shown.iter().any(|namespace| facts.container_of(namespace).is_some());
    let columns = columns(&args, columns::default_set(&kinds, has_containers))?;
    let nodes = tree::arrange(&scan, &shown, relation);
    let cells = |node: &Node<'_>| columns.iter().map(|column| column.of(node.namespace, &facts)).collect();
    let layout = layout(&args, relation, &columns);
    output::show(&show::render(&columns, &tree::map(&nodes, &cells), &layout))
}

/// Lists the processes of one namespace, as a tree.
fn processes(args: &Args, scan: &Scan, facts: &Facts, inode: Inode) -> Result<ExitCode, CliError> {
    let Some(namespace) = scan.namespaces.get(&inode) else {
        return Err(CliError::message(format!("no namespace {inode}"))
            .with_hint("`skiff lsns` lists them; processes of others are seen as root only"));
    };
    let columns = columns(args, columns::OF_PROCESSES.to_vec())?;
    let relation = if args.list { None } else { Some(Relation::Process) };
    let layout = layout(args, relation, &columns);
    let rows = tree::of_processes(scan, namespace, &|pid| {
        columns.iter().map(|column| column.of_process(pid, namespace, facts)).collect()
    });
    output::show(&show::render(&columns, &rows, &layout))
}

/// The namespaces that are asked for. Those without a process or a mount only join them together in a tree.
fn shown<'a>(args: &Args, kinds: &[Kind], scan: &'a Scan, relation: Option<Relation>) -> Vec<&'a Namespace> {
    let joins = matches!(relation, Some(Relation::Owner | Relation::Parent));
    let is_asked_for = |namespace: &&Namespace| {
        let held = !namespace.pids.is_empty() || !namespace.mounts.is_empty();
        let of_task = args.task.is_none_or(|Pid32(pid)| namespace.pids.contains(&pid));
        let of_kind = kinds.is_empty() || kinds.contains(&namespace.kind);
        (held || joins) && of_task && of_kind
    };
    scan.namespaces.values().filter(is_asked_for).collect()
}

fn relation(args: &Args) -> Result<Option<Relation>, CliError> {
    match &args.tree {
        _ if args.list => Ok(None),
        Some(None) => Ok(Some(Relation::Owner)),
        Some(Some(name)) => {
            let found = Relation::ALL.iter().find(|(known, _)| known == name).map(|(_, relation)| *relation);
            let unknown = || {
                CliError::message(format!("unknown tree `{name}`"))
                    .with_hint("it is `owner`, `parent` or `process`")
            };
            found.map(Some).ok_or_else(unknown)
        }
        None if args.json || args.raw => Ok(None),
        None => Ok(Some(Relation::Process)),
    }
}

fn kinds(names: &[String]) -> Result<Vec<Kind>, CliError> {
    let kind = |name: &String| {
        Kind::from_file_name(name).ok_or_else(|| {
            CliError::message(format!("unknown kind of namespace `{name}`"))
                .with_hint("it is mnt, net, ipc, user, pid, uts, cgroup or time")
        })
    };
    names.iter().map(kind).collect()
}

/// The columns to print: `default`, unless others were asked for.
fn columns(args: &Args, default: Vec<Column>) -> Result<Vec<Column>, CliError> {
    if args.output_all {
        return Ok(Column::ALL.to_vec());
    }
    let Some(list) = &args.output else { return Ok(default) };
    let (mut columns, list) = match list.strip_prefix('+') {
        Some(list) => (default, list),
        None => (Vec::new(), list.as_str()),
    };
    for name in list.split(',') {
        let unknown = || {
            CliError::message(format!("unknown column `{name}`")).with_hint("`skiff lsns --help` lists them")
        };
        columns.push(Column::from_name(name.trim()).ok_or_else(unknown)?);
    }
    Ok(columns)
}

fn layout(args: &Args, relation: Option<Relation>, columns: &[Column]) -> Layout {
    let format = match (args.json, args.raw) {
        (true, _) => Format::Json,
        (false, true) => Format::Raw,
        (false, false) => Format::Table,
    };
    // A tree by process is drawn before the commands, the others before the numbers of the namespaces.
    let drawn = match relation {
        Some(Relation::Process) => columns.iter().position(|column| *column == Column::Command),
        Some(_) => columns.iter().position(|column| *column == Column::Ns),
        None => None,
    };
    let width = if args.notruncate { None } else { output::terminal_width() };
    Layout { format, tree_column: drawn, headings: !args.noheadings, one_line: args.nowrap, width }
}
