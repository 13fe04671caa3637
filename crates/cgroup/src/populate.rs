//! What a new group needs around it before it can be used: ancestors, a cpuset with something in it, and on v2
//! the controllers that its ancestors must give away.

use skiff_sys::Errno;

use crate::controller::{Controller, Controllers};
use crate::error::Error;
use crate::file::{self, Dir};
use crate::layout::{Layout, Version};
use crate::private;
use crate::resources::Cpuset;

/// What groups on v2 get besides what was asked for, where it is there to be had: what `stats` counts.
const COUNTED: Controllers =
    Controllers::of(&[Controller::Cpu, Controller::Memory, Controller::Blkio, Controller::Pids]);

/// What was done around a group.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Ancestors that were not there before, outermost first.
    pub(crate) made: Vec<Dir>,
    /// Files that were written, and with what.
    pub(crate) written: Vec<(String, String)>,
}

impl Surroundings {
    fn write(&mut self, dir: &Dir, file: &str, value: &str) -> Result<(), Error> {
        dir.write(file, value).map_err(|source| dir.refused(file, value, source))?;
        self.written.push((dir.shown_file(file), value.to_owned()));
        Ok(())
    }
}

/// Makes the ancestors of `dir` that are missing.
pub(crate) fn make_ancestors(dir: &Dir, around: &mut Surroundings) -> Result<(), Error> {
    let Some(parent) = dir.parent().filter(|parent| !parent.below().is_empty()) else { return Ok(()) };
    match parent.make() {
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            make_ancestors(&parent, around)?;
            parent.make().map_err(|source| Error::Create { path: parent.shown(), source })?;
        }
        Err(source) => return Err(Error::Create { path: parent.shown(), source }),
        Ok(()) => {}
    }
    let is_cpuset = parent.hierarchy().has(Controller::Cpuset) && parent.hierarchy().version() == Version::V1;
    around.made.push(parent.clone());
    if is_cpuset { copy_cpuset(&parent, &Cpuset::default(), around) } else { Ok(()) }
}

/// Gives a new v1 cpuset its parent's CPUs and nodes, where `own` has none of its own: it starts with none,
/// and takes no process then (`ENOSPC`).
pub(crate) fn copy_cpuset(dir: &Dir, own: &Cpuset, around: &mut Surroundings) -> Result<(), Error> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    for (file, own) in [("cpuset.cpus", &own.cpus), ("cpuset.mems", &own.mems)] {
        if own.is_some() {
            continue;
        }
        let text = parent.read(file)?;
        around.write(dir, file, text.trim_end())?;
    }
    Ok(())
}

/// Makes sure that the parent of `dir`, a group in the v2 tree, has `required` to give: every ancestor hands its
/// controllers on by `cgroup.subtree_control`. Those that only count are taken where they are to be had.
pub(crate) fn enable_controllers(
    dir: &Dir,
    required: Controllers,
    around: &mut Surroundings,
) -> Result<(), Error> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    let wanted = required.union(COUNTED).intersection(dir.hierarchy().controllers());
    if let Some(given) = parent.read_if_there("cgroup.subtree_control")?
        && wanted.without(Controllers::named_in(&given)).is_empty()
    {
        return Ok(());
    }
    make_ancestors(dir, around)?;
    let mut lineage: Vec<Dir> = std::iter::successors(Some(parent), Dir::parent).collect();
    lineage.reverse();
    lineage.iter().try_for_each(|ancestor| hand_on(ancestor, wanted, required, around))
}

/// Has `group` give `wanted` to its children, or at least `required`.
fn hand_on(
    group: &Dir,
    wanted: Controllers,
    required: Controllers,
    around: &mut Surroundings,
) -> Result<(), Error> {
    const FILE: &str = "cgroup.subtree_control";
    let missing = wanted.without(Controllers::named_in(&group.read(FILE)?));
    if missing.is_empty() {
        return Ok(());
    }
    let needed = missing.intersection(required);
    match around.write(group, FILE, &plus(missing)) {
        // There are processes in the group, or its own parent gives it less. Nobody asked for these.
        Err(Error::Write { source: Errno::BUSY | Errno::NOENT, .. }) if needed.is_empty() => Ok(()),
        // Not after EBUSY: `pids` and `cpu` alone would be accepted beside processes, and make a threaded group,
        // whose children take threads only.
        Err(Error::Write { source: Errno::NOENT, .. }) if needed != missing => {
            around.write(group, FILE, &plus(needed))
        }
        other => other,
    }
}

/// `+cpu +io`.
fn plus(controllers: Controllers) -> String {
    let words: Vec<String> =
        controllers.iter().map(|controller| format!("+{}", controller.unified_name())).collect();
    words.join(" ")
}

/// The layout with the v1 hierarchies that are mounted nowhere we can see: made by [`private::mount`], here or
/// in another Skiff, and kept alive by the groups in them.
pub(crate) fn with_hidden(layout: &Layout) -> Result<Layout, Error> {
    let mut layout = layout.clone();
    for controller in active(&controller_table()?).intersection(private::MOUNTABLE).iter() {
        match layout.clone().with_private(Controllers::of(&[controller])) {
            Ok(more) => layout = more,
            // In a hierarchy with others, in another mount namespace: no group of ours can be there.
            Err(Error::Mount { source: Errno::BUSY, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(layout)
}

/// The controllers that this kernel has switched on.
pub(crate) fn enabled_controllers() -> Result<Controllers, Error> {
    Ok(listed(&controller_table()?, |words| words.get(3) == Some(&"1")))
}

/// `/proc/cgroups`; empty in kernels without v1, which need not have it.
fn controller_table() -> Result<String, Error> {
    match file::read_proc("/proc/cgroups") {
        Err(Error::Read { source: Errno::NOENT, .. }) => Ok(String::new()),
        other => other,
    }
}

/// The controllers that `/proc/cgroups` shows in a v1 hierarchy: those whose hierarchy is not 0, the v2 tree.
fn active(text: &str) -> Controllers {
    listed(text, |words| words.get(1).is_some_and(|hierarchy| *hierarchy != "0"))
}

fn listed(text: &str, is_wanted: impl Fn(&[&str]) -> bool) -> Controllers {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let controller = words.first().and_then(|name| Controller::from_name(name))?;
            is_wanted(&words).then_some(controller)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_in_a_hierarchy_are_those_with_a_number() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nnet_cls\t10\t2\t1\nhugetlb\t0\t1\t1\n";
        assert_eq!(active(text).to_string(), "cpu,net_cls");
    }
}
