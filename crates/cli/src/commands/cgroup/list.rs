//! `skiff cgroup ls` and `tree`: which hierarchies and groups there are.

use std::process::ExitCode;

use skiff_cgroup::{Cgroup, CgroupPath, Controllers, Kind, Layout, Version};

use super::stat::counted;
use super::{found, told};
use crate::error::CliError;
use crate::output::{self, Align, Palette, Table};

/// What `ls` takes.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// List the groups in this one; `/` for the root
    group: Option<CgroupPath>,
}

/// What `tree` takes.
#[derive(Debug, clap::Args)]
pub struct TreeArgs {
    /// The group at the top
    #[arg(default_value = "/")]
    group: CgroupPath,
}

/// Lists hierarchies, or the groups in one.
pub fn ls(args: &LsArgs) -> Result<ExitCode, CliError> {
    match &args.group {
        Some(path) => {
            let names = found_or_root(path)?.children().map_err(told)?;
            output::show(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
        }
        None => output::show(&hierarchies(&Layout::detect().map_err(told)?)?),
    }
}

/// Shows groups as a tree.
pub fn tree(args: &TreeArgs) -> Result<ExitCode, CliError> {
    let top = found_or_root(&args.group)?;
    let mut text = format!("{}\n", line(&args.group.to_string(), &top)?);
    branch(top, "", &mut text)?;
    output::show(&text)
}

/// One line for each hierarchy, and what the kernel has besides.
fn hierarchies(layout: &Layout) -> Result<String, CliError> {
    let mut table = Table::new(&[
        ("CONTROLLERS", Align::Left),
        ("VERSION", Align::Left),
        ("DIRECTORY", Align::Left),
        ("GROUPS", Align::Right),
    ]);
    for hierarchy in layout.hierarchies() {
        let version = match hierarchy.version() {
            Version::V1 => "1",
            Version::V2 => "2",
        };
        let controllers = match (hierarchy.version(), hierarchy.controllers()) {
            (Version::V1, Controllers::NONE) => hierarchy.label().into_owned(),
            (Version::V2, Controllers::NONE) => "-".to_owned(),
            (Version::V2, controllers) => {
                controllers.iter().map(|one| one.unified_name()).collect::<Vec<_>>().join(",")
            }
            (Version::V1, controllers) => controllers.to_string(),
        };
        let directory = hierarchy.mount_point().map(|path| path.display().to_string());
        let groups = hierarchy.group_count().map_err(told)?;
        table.row([controllers, version.to_owned(), directory.unwrap_or_default(), groups.to_string()]);
    }
    let layout_line = match layout.kind() {
        Kind::V1 => "cgroup v1: every controller has a tree of its own",
        Kind::Hybrid => "hybrid: controllers in cgroup v1 trees, and a v2 tree with what is left",
        Kind::V2 => "cgroup v2: one tree with all controllers",
    };
    let palette = Palette::stdout();
    let mut text = format!("{}\n{}", palette.dim(layout_line), table.render());
    let unmounted = layout.unmounted().map_err(told)?;
    if !unmounted.is_empty() {
        let line = format!(
            "not mounted: {unmounted} (Skiff mounts net_cls and net_prio for itself when they are wanted)"
        );
        text.push_str(&format!("{}\n", palette.dim(&line)));
    }
    Ok(text)
}

/// The groups below `group`, with the lines of a tree.
fn branch(group: Cgroup, indent: &str, text: &mut String) -> Result<(), CliError> {
    let names = group.children().map_err(told)?;
    let last = names.len().saturating_sub(1);
    for (position, name) in names.iter().enumerate() {
        let (knot, below) = if position == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        // A group can go away between the two looks at it.
        let Ok(child) = Cgroup::open(group.layout(), &group.path().join(name)?) else { continue };
        text.push_str(&format!("{indent}{knot}{}\n", line(name, &child)?));
        branch(child, &format!("{indent}{below}"), text)?;
    }
    Ok(())
}

/// `name  3 processes`, and where the group is when it is not everywhere.
fn line(name: &str, group: &Cgroup) -> Result<String, CliError> {
    let palette = Palette::stdout();
    let count = group.procs().map_err(told)?.len();
    let count = if count == 0 { String::new() } else { format!("  {}", counted(count as u64, "process")) };
    let all = group.layout().hierarchies().len();
    let labels: Vec<String> = group.labels().collect();
    let place = if labels.len() == all { String::new() } else { format!("  [{}]", labels.join(" ")) };
    Ok(format!("{name}{count}{}", palette.dim(&place)))
}

/// The group, where the root counts as one.
fn found_or_root(path: &CgroupPath) -> Result<Cgroup, CliError> {
    if path.is_root() {
        let layout = Layout::detect().map_err(told)?;
        return Cgroup::open(&layout, path).map_err(told);
    }
    found(path)
}
