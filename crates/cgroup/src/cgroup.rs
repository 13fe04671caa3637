//! One group, in all hierarchies that it needs: made, limited, joined, looked at.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;
use skiff_sys::Errno;
use skiff_sys::bpf::{DeviceProgram, Instruction};

use crate::controller::{Controller, Controllers};
use crate::error::Error;
use crate::file::{self, Dir};
use crate::layout::{Hierarchy, Layout, Version};
use crate::limits;
use crate::path::CgroupPath;
use crate::plan::{Current, IfMissing, Plan, Warning, Write, plan};
use crate::populate::{self, Surroundings};
use crate::resources::Resources;
use crate::scheduler;

/// Controllers that every group gets where they exist: those that count, stop and restrict. A cpuset costs as
/// much as all others together (the kernel rebuilds its scheduling domains), so it comes with its limit only.
const ALWAYS: Controllers = Controllers::of(&[
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Memory,
    Controller::Devices,
    Controller::Freezer,
    Controller::Blkio,
    Controller::Pids,
]);

/// A group of processes: one directory in every hierarchy that it has a part in.
///
/// Dropping it removes nothing; [`Cgroup::remove`] does.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) layout: Layout,
    path: CgroupPath,
    pub(crate) nodes: Vec<Node>,
    /// What was made around it; ancestors go when they are empty.
    pub(crate) around: Surroundings,
}

/// The group's part in one hierarchy.
#[derive(Debug)]
pub(crate) struct Node {
    /// Index in the layout.
    hierarchy: usize,
    pub(crate) dir: Dir,
    /// Whether this value made the directory, and so may take it away after a failure.
    made: bool,
}

/// What was done to a group.
#[derive(Debug, Default)]
pub struct Applied {
    /// What was asked for and does not hold here.
    pub warnings: Vec<Warning>,
    /// Files that had to be written before, in the group and above it, by path and value: cpusets start
    /// empty, and on v2 every ancestor has to hand its controllers on.
    pub prepared: Vec<(String, String)>,
    /// True when a device filter was attached, which has no file.
    pub has_filter: bool,
    /// What was written, in order. A file that was not there is left out, or its replacement stands for it.
    pub writes: Vec<Write>,
}

impl Cgroup {
    /// Makes the group `path` with `resources`.
    ///
    /// A group that exists already is taken over when it is empty, as runc does, so that its creator's limits
    /// stay; one with processes or groups in it is refused. Missing ancestors are made. After an error
    /// everything that was made here is gone again.
    ///
    /// # Errors
    /// A limit that can't hold here, or what the kernel says.
    pub fn create(
        layout: &Layout,
        path: &CgroupPath,
        resources: &Resources,
    ) -> Result<(Self, Applied), Error> {
        let layout = layout.clone().with_private(resources.controllers())?;
        let planned = plan(&layout, resources, Current::Fresh)?;
        let hierarchies = hierarchies_for(&layout, resources, ALWAYS);
        let mut group =
            Self { layout, path: path.clone(), nodes: Vec::new(), around: Surroundings::default() };
        match group.fill(&hierarchies, resources, planned) {
            Ok(applied) => Ok((group, applied)),
            Err(error) => Err(group.undo(error)),
        }
    }

    /// The group `path` as it is on this machine.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no hierarchy has it.
    pub fn open(layout: &Layout, path: &CgroupPath) -> Result<Self, Error> {
        let layout = populate::with_hidden(layout)?;
        let mut nodes = Vec::new();
        for (index, hierarchy) in layout.hierarchies().iter().enumerate() {
            let dir = Dir::new(hierarchy, path.as_str());
            if dir.is_there()? {
                nodes.push(Node { hierarchy: index, dir, made: false });
            }
        }
        if nodes.is_empty() {
            return Err(Error::NotFound { path: path.to_string() });
        }
        Ok(Self { layout, path: path.clone(), nodes, around: Surroundings::default() })
    }

    /// The hierarchies in which [`Cgroup::create`] makes a group with `resources`: for those who must know its
    /// directories before it is there. Private hierarchies (see [`Layout::with_private`]) are not among them.
    pub fn hierarchies<'a>(layout: &'a Layout, resources: &Resources) -> Vec<&'a Hierarchy> {
        let indices = hierarchies_for(layout, resources, ALWAYS);
        indices.iter().filter_map(|index| layout.hierarchies().get(*index)).collect()
    }

    /// Its path below the root of each hierarchy.
    pub const fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The layout it lives in.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its directories, one for each hierarchy that it is in.
    pub fn directories(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| node.dir.shown())
    }

    /// The names of the hierarchies that it is in.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| node.dir.hierarchy().label().into_owned())
    }

    /// The names of the groups in it, in any hierarchy.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn children(&self) -> Result<Vec<String>, Error> {
        let mut names = std::collections::BTreeSet::new();
        for node in &self.nodes {
            names.extend(node.dir.children()?.iter().map(|child| child.name().to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    /// The whole path of the file that `write` is for.
    pub fn shown_file(&self, write: &Write) -> String {
        self.node(write.hierarchy)
            .map_or_else(|| write.file.to_string(), |node| node.dir.shown_file(&write.file))
    }

    /// Changes the limits of the group.
    ///
    /// # Errors
    /// A limit that can't hold here, or what the kernel says; limits before the refused one are set then.
    pub fn apply(&mut self, resources: &Resources) -> Result<Applied, Error> {
        self.layout = self.layout.clone().with_private(resources.controllers())?;
        let current = limits::current(self, resources)?;
        let planned = plan(&self.layout, resources, current)?;
        limits::check_usage(self, resources)?;
        let hierarchies = hierarchies_for(&self.layout, resources, Controllers::NONE);
        let new = hierarchies.iter().any(|hierarchy| self.node(*hierarchy).is_none());
        let members = if new { self.procs()? } else { Vec::new() };
        let applied = self.fill(&hierarchies, resources, planned)?;
        // Processes that are in the group already belong in its new part as well.
        for pid in members {
            self.add(pid)?;
        }
        Ok(applied)
    }

    /// Moves the process `pid` with all its threads into the group.
    ///
    /// The kernel waits for an RCU grace period here (milliseconds). A process that starts should join by
    /// [`Cgroup::join_files`] instead.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, pid: Pid) -> Result<(), Error> {
        let value = pid.as_raw_nonzero().to_string();
        for node in &self.nodes {
            node.dir
                .write("cgroup.procs", &value)
                .map_err(|source| node.dir.refused("cgroup.procs", &value, source))?;
        }
        Ok(())
    }

    /// Files through which a single-threaded process puts itself into the group's v1 hierarchies: it writes
    /// [`Cgroup::JOIN`] to each of them.
    ///
    /// A thread that moves itself needs no lock against its own exit or exec, so the kernel skips the grace
    /// period that moving another process waits for: 5 µs a hierarchy instead of 2 to 5 ms. For the v2 tree,
    /// where that does not exist, there is [`Cgroup::dir_fd`] with `CLONE_INTO_CGROUP`.
    ///
    /// # Errors
    /// When a file can't be opened.
    pub fn join_files(&self) -> Result<Vec<OwnedFd>, Error> {
        self.nodes
            .iter()
            .filter(|node| node.dir.hierarchy().version() == Version::V1)
            .map(|node| {
                node.dir
                    .open_to_write("tasks")
                    .map_err(|source| Error::Open { path: node.dir.shown_file("tasks"), source })
            })
            .collect()
    }

    /// What is written to a join file: "the thread that writes".
    pub const JOIN: &'static [u8] = b"0";

    /// Puts the calling process, which must have one thread only, into the group.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn join(&self) -> Result<(), Error> {
        for node in &self.nodes {
            let file = match node.dir.hierarchy().version() {
                Version::V1 => "tasks",
                Version::V2 => "cgroup.procs",
            };
            node.dir.write(file, "0").map_err(|source| node.dir.refused(file, "0", source))?;
        }
        Ok(())
    }

    /// The group's directory in the v2 tree, for `CLONE_INTO_CGROUP`; `None` when it has no part there.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn dir_fd(&self) -> Result<Option<OwnedFd>, Error> {
        self.unified().map(Dir::open_dir).transpose()
    }

    /// Proves that the process `pid` is in the group, hierarchy by hierarchy.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] names the first hierarchy where it is not.
    pub fn verify(&self, pid: Pid) -> Result<(), Error> {
        let text = file::read_proc(&format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
        for node in &self.nodes {
            let hierarchy = node.dir.hierarchy();
            let expected = hierarchy.shown_path(node.dir.below());
            let found = crate::membership::path_in(&text, hierarchy).unwrap_or("nothing");
            if found != expected {
                return Err(Error::Elsewhere {
                    pid: pid.as_raw_nonzero().get(),
                    hierarchy: hierarchy.label().into_owned(),
                    found: found.to_owned(),
                    expected,
                });
            }
        }
        Ok(())
    }

    /// The processes in the group itself, as this process's pid namespace numbers them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn procs(&self) -> Result<Vec<Pid>, Error> {
        let mut pids = Vec::new();
        for node in &self.nodes {
            pids.extend(procs_of(&node.dir)?);
        }
        pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        pids.dedup();
        Ok(pids)
    }

    /// The group's directory in the v2 tree.
    pub(crate) fn unified(&self) -> Option<&Dir> {
        self.nodes.iter().map(|node| &node.dir).find(|dir| dir.hierarchy().version() == Version::V2)
    }

    /// The group's directory where `controller` is.
    pub(crate) fn dir_of(&self, controller: Controller) -> Option<&Dir> {
        self.nodes.iter().map(|node| &node.dir).find(|dir| dir.hierarchy().has(controller))
    }

    fn node(&self, hierarchy: usize) -> Option<&Node> {
        self.nodes.iter().find(|node| node.hierarchy == hierarchy)
    }

    /// Makes the directories that are missing and does what is planned.
    fn fill(
        &mut self,
        hierarchies: &[usize],
        resources: &Resources,
        planned: Plan,
    ) -> Result<Applied, Error> {
        for &index in hierarchies {
            let Some(hierarchy) = self.layout.hierarchies().get(index) else { continue };
            let dir = Dir::new(hierarchy, self.path.as_str());
            if hierarchy.version() == Version::V2 {
                populate::enable_controllers(&dir, resources.controllers(), &mut self.around)?;
            }
            if self.node(index).is_some() {
                continue;
            }
            let made = make(&dir, &mut self.around)?;
            let populates = hierarchy.version() == Version::V1 && hierarchy.has(Controller::Cpuset);
            self.nodes.push(Node { hierarchy: index, dir: dir.clone(), made });
            if populates {
                populate::copy_cpuset(&dir, &resources.cpuset, &mut self.around)?;
            }
        }
        let mut applied = self.perform(planned)?;
        applied.prepared = std::mem::take(&mut self.around.written);
        let has_weight = resources.io.weight.is_some() || !resources.io.weight_device.is_empty();
        if has_weight
            && !applied.warnings.contains(&Warning::BlockWeight)
            && !scheduler::has_weights(&self.layout)?
        {
            applied.warnings.push(Warning::BlockWeightWithoutEffect);
        }
        Ok(applied)
    }

    /// Writes what is planned, and attaches the device filter.
    fn perform(&self, planned: Plan) -> Result<Applied, Error> {
        let mut applied = Applied {
            warnings: planned.warnings,
            prepared: Vec::new(),
            has_filter: planned.filter.is_some(),
            writes: Vec::with_capacity(planned.writes.len()),
        };
        // Device lists are many lines for one file; it is opened once.
        let mut open: Option<(usize, Cow<'static, str>, OwnedFd)> = None;
        for write in planned.writes {
            self.write(write, &mut open, &mut applied)?;
        }
        if let Some(filter) = planned.filter {
            self.attach_filter(&filter)?;
        }
        Ok(applied)
    }

    fn write(
        &self,
        write: Write,
        open: &mut Option<(usize, Cow<'static, str>, OwnedFd)>,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let Some(Node { dir, .. }) = self.node(write.hierarchy) else {
            return Err(Error::NotFound { path: self.path.to_string() });
        };
        let is_open =
            open.as_ref().is_some_and(|(at, file, _)| (*at, file) == (write.hierarchy, &write.file));
        if !is_open {
            match dir.open_to_write(&write.file) {
                Ok(fd) => *open = Some((write.hierarchy, write.file.clone(), fd)),
                Err(Errno::NOENT) => match write.if_missing {
                    IfMissing::Ignore => return Ok(()),
                    IfMissing::Warn(warning) => {
                        applied.warnings.push(warning);
                        return Ok(());
                    }
                    IfMissing::Instead(other) => return self.write(*other, open, applied),
                    IfMissing::Fail => return Err(dir.refused(&write.file, &write.value, Errno::NOENT)),
                },
                Err(source) => return Err(dir.refused(&write.file, &write.value, source)),
            }
        }
        let Some((_, _, fd)) = open else { return Ok(()) };
        skiff_sys::fail::point("cgroup.write")
            .and_then(|()| file::write_all(fd, &write.value))
            .map_err(|source| dir.refused(&write.file, &write.value, source))?;
        applied.writes.push(write);
        Ok(())
    }

    /// Loads and attaches a device filter in the place of those that are there.
    fn attach_filter(&self, program: &[Instruction]) -> Result<(), Error> {
        let Some(dir) = self.unified() else {
            return Err(Error::Missing { limit: "device access", controller: Controller::Devices });
        };
        let failed = |action| move |source| Error::DeviceFilter { action, path: dir.shown(), source };
        skiff_sys::fail::point("cgroup.device-filter").map_err(failed("load"))?;
        let fd = dir.open_dir()?;
        let old = DeviceProgram::attached(fd.as_fd()).map_err(failed("list"))?;
        let new = DeviceProgram::load(program).map_err(failed("load"))?;
        // The new one first: between the two calls both must allow an access, and none is allowed that the
        // new rules deny.
        new.attach(fd.as_fd()).map_err(failed("attach"))?;
        old.iter().try_for_each(|program| program.detach(fd.as_fd())).map_err(failed("detach"))
    }

    /// Takes away what was made here, and returns `error`, with what could not be taken away.
    fn undo(self, error: Error) -> Error {
        let dirs = self.nodes.iter().filter(|node| node.made).map(|node| &node.dir);
        let left: Vec<String> = dirs
            .chain(self.around.made.iter().rev())
            .filter(|dir| !matches!(dir.unmake(), Ok(()) | Err(Errno::NOENT)))
            .map(Dir::shown)
            .collect();
        if left.is_empty() { error } else { Error::LeftBehind { left, source: Box::new(error) } }
    }
}

/// The processes of one directory. Those of other pid namespaces read as 0 and can't be named; those with threads
/// in a threaded group of v2 are listed by the group above, and not by that one (`EOPNOTSUPP`).
pub(crate) fn procs_of(dir: &Dir) -> Result<Vec<Pid>, Error> {
    let text = match dir.read_if_there("cgroup.procs") {
        Err(Error::Read { source: Errno::OPNOTSUPP, .. }) => None,
        other => other?,
    }
    .unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect())
}

/// The hierarchies that a group with these limits has a part in, and those of `besides`.
fn hierarchies_for(layout: &Layout, resources: &Resources, besides: Controllers) -> Vec<usize> {
    let wanted = besides.union(resources.controllers());
    let mut hierarchies: Vec<usize> = (0..layout.hierarchies().len())
        .filter(|&index| {
            let hierarchy = layout.hierarchies().get(index);
            hierarchy.is_some_and(|found| !found.controllers().intersection(wanted).is_empty())
        })
        .collect();
    let has_filter = !resources.devices.is_empty() && layout.hierarchy_of(Controller::Devices).is_none();
    let has_core_file = resources.unified.keys().any(|file| file.starts_with("cgroup."));
    let needs_unified = has_filter || has_core_file || (hierarchies.is_empty() && !besides.is_empty());
    if let Some((unified, _)) =
        layout.unified().filter(|(index, _)| needs_unified && !hierarchies.contains(index))
    {
        hierarchies.push(unified);
    }
    hierarchies
}

/// Makes the directory, with its ancestors if need be. False: it was there, and is empty.
fn make(dir: &Dir, around: &mut Surroundings) -> Result<bool, Error> {
    let failed = |source| Error::Create { path: dir.shown(), source };
    match dir.make() {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => {
            populate::make_ancestors(dir, around)?;
            dir.make().map(|()| true).map_err(failed)
        }
        Err(Errno::EXIST) => {
            let is_used = !procs_of(dir)?.is_empty() || !dir.children()?.is_empty();
            if is_used { Err(Error::InUse { path: dir.shown() }) } else { Ok(false) }
        }
        Err(source) => Err(failed(source)),
    }
}
