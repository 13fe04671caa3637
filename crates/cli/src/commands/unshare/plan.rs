//! From flags to steps: what `skiff unshare` will do, in the order in which it must be done. No effects here.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;
use rustix::process::Signal;
use skiff_sys::ns::Kind;
use skiff_sys::users::{self, NameOrId};

use super::flags::Args;
use super::maps::{self, Block, Range};
use crate::error::CliError;

/// Where a new process's view of processes is mounted.
const PROC: &str = "/proc";

/// Who calls, and what the account files of the machine say.
#[derive(Debug, Default)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The text of `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// The text of `/etc/group`.
    pub group: Vec<u8>,
    /// The text of `/etc/subuid`.
    pub subuid: Vec<u8>,
    /// The text of `/etc/subgid`.
    pub subgid: Vec<u8>,
}

/// Why the program runs as a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// It doesn't: it takes this process's place.
    No,
    /// The user wants it.
    Asked,
    /// A new pid namespace needs it.
    Implied,
}

/// One thing to do, in words and as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the namespaces.
    Unshare(Vec<Kind>),
    /// Let the process that stayed outside write the id maps.
    MapFromOutside,
    /// Write a file of `/proc/self`.
    Write {
        /// Its name.
        file: &'static str,
        /// What is written.
        text: String,
    },
    /// Change how mounts propagate, recursively.
    Propagate(MountPropagationFlags),
    /// Change the root directory.
    Root(PathBuf),
    /// Change the working directory.
    WorkingDirectory(PathBuf),
    /// Keep the mount that the next step makes from being propagated.
    PrivateMount(PathBuf),
    /// Mount a fresh proc file system.
    MountProc(PathBuf),
    /// The same, and no failure if it can't be: nobody asked for it.
    MountProcIfPossible(PathBuf),
    /// Drop additional groups and change the group.
    Group(u32),
    /// Change the user.
    User(u32),
    /// Keep the capabilities over exec.
    KeepCapabilities,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unshare(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.file_name()).collect();
                write!(formatter, "make new namespaces ({})", names.join(", "))
            }
            Self::MapFromOutside => write!(formatter, "map ids"),
            Self::Write { file, text } => {
                write!(formatter, "write `{}` to /proc/self/{file}", text.trim_end())
            }
            Self::Propagate(_) => write!(formatter, "change the propagation of mounts"),
            Self::Root(directory) => {
                write!(formatter, "change the root directory to {}", directory.display())
            }
            Self::WorkingDirectory(directory) => {
                write!(formatter, "change the working directory to {}", directory.display())
            }
            Self::PrivateMount(directory) => {
                write!(formatter, "make the mount {} private", directory.display())
            }
            Self::MountProc(directory) | Self::MountProcIfPossible(directory) => {
                write!(formatter, "mount proc at {}", directory.display())
            }
            Self::Group(gid) => write!(formatter, "change the group to {gid}"),
            Self::User(uid) => write!(formatter, "change the user to {uid}"),
            Self::KeepCapabilities => write!(formatter, "keep capabilities"),
        }
    }
}

/// Id maps that a process outside the new user namespace has to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutsideMaps {
    /// `uid_map`; empty for none.
    pub users: Vec<Range>,
    /// `gid_map`; empty for none.
    pub groups: Vec<Range>,
}

/// All that will happen.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Done before the fork, if there is one.
    pub before: Vec<Step>,
    /// Whether there is one.
    pub fork: Fork,
    /// The signal that the child gets when this process dies.
    pub kill_child: Option<Signal>,
    /// Namespaces to keep, and at which files.
    pub persistent: Vec<(Kind, PathBuf)>,
    /// Done by a process that stays outside, at [`Step::MapFromOutside`].
    pub outside: OutsideMaps,
    /// Done in the process that becomes the program.
    pub inside: Vec<Step>,
    /// The program.
    pub program: Vec<OsString>,
}

/// Plans what `args` ask for.
pub fn plan(args: Args, caller: &Caller) -> Result<Plan, CliError> {
    let kinds = kinds(&args);
    let outside = outside_maps(&args, caller)?;
    let persistent = Kind::ALL
        .into_iter()
        .filter_map(|kind| args.of(kind).flatten().map(|file| (kind, file.clone())))
        .collect();
    let kill_child = kill_child(&args)?;
    let fork = match () {
        () if args.fork || kill_child.is_some() => Fork::Asked,
        () if args.no_fork || !kinds.contains(&Kind::Pid) => Fork::No,
        () => Fork::Implied,
    };
    Ok(Plan {
        before: before(&args, kinds.clone(), &outside, caller)?,
        fork,
        kill_child,
        persistent,
        outside,
        inside: inside(&args, &kinds)?,
        program: args.program,
    })
}

/// The namespaces to make: those with a flag of their own, and those that other flags imply.
fn kinds(args: &Args) -> Vec<Kind> {
    let implied = |kind| match kind {
        Kind::User => args.maps_ids(),
        Kind::Mount => args.mount_proc.is_some(),
        _ => false,
    };
    Kind::ALL.into_iter().filter(|kind| args.of(*kind).is_some() || implied(*kind)).collect()
}

fn kill_child(args: &Args) -> Result<Option<Signal>, CliError> {
    let Some(name) = &args.kill_child else { return Ok(None) };
    let name = name.as_deref().unwrap_or("KILL");
    let signal = skiff_sys::signal_name::parse(name).and_then(Signal::from_named_raw);
    signal.map(Some).ok_or_else(|| {
        CliError::message(format!("unknown signal `{name}` for `--kill-child`"))
            .with_hint("`kill -l` lists the names; real-time signals can't be used here")
    })
}

/// The steps up to the fork: the namespaces, and what makes the user and the time namespace usable.
fn before(
    args: &Args,
    kinds: Vec<Kind>,
    outside: &OutsideMaps,
    caller: &Caller,
) -> Result<Vec<Step>, CliError> {
    let has_user_namespace = kinds.contains(&Kind::User);
    if (args.monotonic.is_some() || args.boottime.is_some()) && !kinds.contains(&Kind::Time) {
        return Err(CliError::message("`--monotonic` and `--boottime` need a time namespace of their own")
            .with_hint("add `--time`"));
    }
    let mut steps = vec![Step::Unshare(kinds)];
    if *outside != OutsideMaps::default() {
        steps.push(Step::MapFromOutside);
    }
    let (user, group) = (single_user(args, caller)?, single_group(args, caller)?);
    if let (Some(range), true) = (user, outside.users.is_empty()) {
        steps.push(Step::Write { file: "uid_map", text: maps::text(&[range]) });
    }
    let own_group = group.filter(|_range| outside.groups.is_empty());
    // Linux 3.19: without privileges, the gid map can be written only after setgroups(2) was denied for good.
    if let Some(text) = setgroups(args, own_group.is_some(), has_user_namespace)? {
        steps.push(Step::Write { file: "setgroups", text });
    }
    if let Some(range) = own_group {
        steps.push(Step::Write { file: "gid_map", text: maps::text(&[range]) });
    }
    let offsets = [("monotonic", args.monotonic), ("boottime", args.boottime)];
    for (clock, offset) in offsets {
        if let Some(seconds) = offset {
            steps.push(Step::Write { file: "timens_offsets", text: format!("{clock} {seconds} 0\n") });
        }
    }
    Ok(steps)
}

/// What to write to `/proc/self/setgroups`, if anything.
fn setgroups(args: &Args, maps_group: bool, has_user_namespace: bool) -> Result<Option<String>, CliError> {
    match args.setgroups.as_deref() {
        Some("allow") if maps_group => {
            Err(CliError::message("`--setgroups=allow` can't be had together with a mapped group")
                .with_hint("`--map-groups` maps a range with privileges, and allows it"))
        }
        Some("allow" | "deny") if !has_user_namespace => {
            Err(CliError::message("`--setgroups` needs a user namespace of its own")
                .with_hint("add `--user`"))
        }
        Some(word @ ("allow" | "deny")) => Ok(Some(word.to_owned())),
        Some(word) => Err(CliError::message(format!("`--setgroups` is `allow` or `deny`, not `{word}`"))),
        None if maps_group => Ok(Some("deny".to_owned())),
        None => Ok(None),
    }
}

/// The single user that is mapped, if any.
fn single_user(args: &Args, caller: &Caller) -> Result<Option<Range>, CliError> {
    let inner = match &args.map_user {
        Some(text) => match text.parse::<NameOrId>()? {
            NameOrId::Id(id) => Some(id),
            NameOrId::Name(name) => {
                let user = users::users(&caller.passwd)?.find(|user| user.name == name);
                Some(user.ok_or(users::UserError::NoUser(name))?.uid)
            }
        },
        None => id_from_switches(args, caller.uid),
    };
    Ok(inner.map(|inner| Range { inner, outer: caller.uid, count: 1 }))
}

/// The single group that is mapped, if any.
fn single_group(args: &Args, caller: &Caller) -> Result<Option<Range>, CliError> {
    let inner = match &args.map_group {
        Some(text) => Some(users::resolve_group(&text.parse()?, &caller.group)?),
        None => id_from_switches(args, caller.gid),
    };
    Ok(inner.map(|inner| Range { inner, outer: caller.gid, count: 1 }))
}

fn id_from_switches(args: &Args, own: u32) -> Option<u32> {
    match (args.map_root_user, args.map_current_user) {
        (true, _) => Some(0),
        (false, true) => Some(own),
        (false, false) => None,
    }
}

/// The maps of more than one id, which only a privileged process outside can write.
fn outside_maps(args: &Args, caller: &Caller) -> Result<OutsideMaps, CliError> {
    let auto = args.map_auto.then_some(Block::Auto);
    let block = |flag: &Option<Block>| flag.clone().or_else(|| auto.clone());
    let users = match block(&args.map_users) {
        Some(block) => {
            with(range_of(block, &caller.subuid, "/etc/subuid", caller)?, single_user(args, caller)?)
        }
        None => Vec::new(),
    };
    let groups = match block(&args.map_groups) {
        Some(block) => {
            with(range_of(block, &caller.subgid, "/etc/subgid", caller)?, single_group(args, caller)?)
        }
        None => Vec::new(),
    };
    Ok(OutsideMaps { users, groups })
}

fn with(block: Range, single: Option<Range>) -> Vec<Range> {
    single.map_or_else(|| vec![block], |single| maps::with_single(block, single))
}

fn range_of(block: Block, text: &[u8], file: &str, caller: &Caller) -> Result<Range, CliError> {
    if let Block::Given(range) = block {
        return Ok(range);
    }
    let name = users::users(&caller.passwd)?.find(|user| user.uid == caller.uid).map(|user| user.name);
    maps::first_of(users::subordinate_ranges(text)?, name.as_deref(), caller.uid).ok_or_else(|| {
        let who = name.clone().unwrap_or_else(|| caller.uid.to_string());
        CliError::message(format!("{file} has no range for `{who}`"))
            .with_hint(format!("as root: `echo {who}:100000:65536 >> {file}`"))
    })
}

/// The steps in the process that becomes the program.
fn inside(args: &Args, kinds: &[Kind]) -> Result<Vec<Step>, CliError> {
    let mut steps = Vec::new();
    let propagation = propagation(args)?;
    let has_mount_namespace = kinds.contains(&Kind::Mount);
    if let (Some(flags), true) = (propagation, has_mount_namespace) {
        steps.push(Step::Propagate(flags));
    }
    steps.extend(args.root.clone().map(Step::Root));
    let directory = args.wd.clone().or_else(|| args.root.as_ref().map(|_root| PathBuf::from("/")));
    steps.extend(directory.map(Step::WorkingDirectory));
    if let Some((proc, wanted)) = proc_mount(args, kinds) {
        // Without a change of root, the recursive change above has already reached the mount below.
        let already_private =
            args.root.is_none() && propagation == Some(recursive(MountPropagationFlags::PRIVATE));
        if !already_private {
            steps.push(Step::PrivateMount(proc.clone()));
        }
        steps.push(if wanted { Step::MountProc(proc) } else { Step::MountProcIfPossible(proc) });
    }
    steps.extend(args.setgid.map(Step::Group));
    steps.extend(args.setuid.map(Step::User));
    if args.keep_caps && kinds.contains(&Kind::User) {
        steps.push(Step::KeepCapabilities);
    }
    Ok(steps)
}

/// Where proc is mounted, and whether the user asked for it.
fn proc_mount(args: &Args, kinds: &[Kind]) -> Option<(PathBuf, bool)> {
    let default = || Path::new(PROC).to_owned();
    match &args.mount_proc {
        Some(directory) => Some((directory.clone().unwrap_or_else(default), true)),
        None if args.no_mount_proc || args.no_fork => None,
        None if kinds.contains(&Kind::Pid) && kinds.contains(&Kind::Mount) => Some((default(), false)),
        None => None,
    }
}

fn recursive(flag: MountPropagationFlags) -> MountPropagationFlags {
    flag | MountPropagationFlags::REC
}

fn propagation(args: &Args) -> Result<Option<MountPropagationFlags>, CliError> {
    let flag = match args.propagation.as_deref() {
        None | Some("private") => MountPropagationFlags::PRIVATE,
        Some("slave") => MountPropagationFlags::DOWNSTREAM,
        Some("shared") => MountPropagationFlags::SHARED,
        Some("unchanged") => return Ok(None),
        Some(word) => {
            return Err(CliError::message(format!("unknown propagation `{word}`"))
                .with_hint("it is `slave`, `shared`, `private` or `unchanged`"));
        }
    };
    Ok(Some(recursive(flag)))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
