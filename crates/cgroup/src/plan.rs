//! From limits to files: which file of which hierarchy gets which value, in the order that the kernel accepts.
//!
//! Nothing in here touches the machine: the layout and what must be known of the group come in as values, so
//! the decisions for v1 and v2 are tested anywhere.

mod v1;
mod v2;

use std::borrow::Cow;
use std::fmt;

use skiff_sys::bpf::Instruction;

use crate::controller::Controller;
use crate::devices::{self, DeviceRule};
use crate::error::Error;
use crate::layout::{Hierarchy, Layout, Version};
use crate::resources::{Limit, Rdma, Resources};

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Index of the hierarchy in the layout.
    pub hierarchy: usize,
    /// Name of the file in the group's directory.
    pub file: Cow<'static, str>,
    /// What is written.
    pub value: String,
    /// What to do where the kernel has no such file.
    pub if_missing: IfMissing,
}

/// What it means that a file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// The limit can't hold: fail.
    Fail,
    /// It makes no difference.
    Ignore,
    /// The limit is left out, and the user told.
    Warn(Warning),
    /// Another file does the same.
    Instead(Box<Write>),
}

/// Something that was asked for and does not hold here, where Docker too goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// v2 has no swappiness.
    Swappiness,
    /// v2 has no such switch.
    OomKillDisable,
    /// Kernel memory has had no limit of its own since Linux 5.16.
    KernelMemory,
    /// v2 counts TCP buffers as memory.
    KernelTcpMemory,
    /// The kernel does not count swap.
    SwapAccounting,
    /// No weights in the kernel.
    BlockWeight,
    /// Weights that no disk's scheduler looks at.
    BlockWeightWithoutEffect,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swappiness => "memory swappiness is ignored: cgroup v2 has none",
            Self::OomKillDisable => "the OOM killer stays on: cgroup v2 can't switch it off",
            Self::KernelMemory => "the kernel memory limit is ignored: kernels have none of its own any more",
            Self::KernelTcpMemory => "the TCP memory limit is ignored: cgroup v2 counts it as memory",
            Self::SwapAccounting => "memory is limited without swap: this kernel does not count swap",
            Self::BlockWeight => "the block I/O weight is ignored: this kernel has none (no BFQ)",
            Self::BlockWeightWithoutEffect => {
                "the block I/O weight has no effect: no disk here uses the BFQ scheduler or `io.cost`"
            }
        })
    }
}

/// What has to be done to give a group its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub writes: Vec<Write>,
    /// What of the limits will not hold.
    pub warnings: Vec<Warning>,
    /// The device filter to attach to the group in the v2 tree.
    pub filter: Option<Vec<Instruction>>,
}

/// What the plan must know of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Current {
    /// It was just made: everything unlimited.
    Fresh,
    /// It has limits.
    Existing {
        /// Its memory limit, if that matters.
        memory: Limit,
        /// Its CPU quota, if that matters.
        quota: Limit,
        /// Its CPU period, if that matters.
        period: u64,
        /// Its CPU burst, if that matters.
        burst: u64,
    },
}

impl Current {
    /// The kernel's period when nothing was said.
    pub(crate) const DEFAULT_PERIOD: u64 = 100_000;

    const fn memory(self) -> Limit {
        match self {
            Self::Fresh => Limit::Unlimited,
            Self::Existing { memory, .. } => memory,
        }
    }

    const fn quota(self) -> Limit {
        match self {
            Self::Fresh => Limit::Unlimited,
            Self::Existing { quota, .. } => quota,
        }
    }

    const fn period(self) -> u64 {
        match self {
            Self::Fresh => Self::DEFAULT_PERIOD,
            Self::Existing { period, .. } => period,
        }
    }

    const fn burst(self) -> u64 {
        match self {
            Self::Fresh => 0,
            Self::Existing { burst, .. } => burst,
        }
    }

    /// True when `limit` need not be written, because a new group has none anyway.
    fn is_default(self, limit: Limit) -> bool {
        self == Self::Fresh && limit == Limit::Unlimited
    }
}

/// The writes that give a group `resources` on `layout`, where it is `current` now.
///
/// # Errors
/// A limit that can't hold here, or that contradicts another.
pub fn plan(layout: &Layout, resources: &Resources, current: Current) -> Result<Plan, Error> {
    let mut planner = Planner { layout, current, plan: Plan::default() };
    planner.cpuset(resources)?;
    planner.by_version(Controller::Cpu, "CPU time", &resources.cpu, v1::cpu, v2::cpu)?;
    planner.by_version(Controller::Memory, "memory", &resources.memory, v1::memory, v2::memory)?;
    planner.by_version(Controller::Blkio, "block I/O", &resources.io, v1::io, v2::io)?;
    planner.pids(resources)?;
    planner.hugetlb(resources)?;
    planner.rdma(resources)?;
    planner.network(resources)?;
    planner.devices(&resources.devices)?;
    planner.unified(resources)?;
    Ok(planner.plan)
}

/// A plan while it is made.
struct Planner<'a> {
    layout: &'a Layout,
    current: Current,
    plan: Plan,
}

/// Where the writes of one controller go.
struct Target<'a> {
    hierarchy: usize,
    current: Current,
    plan: &'a mut Plan,
}

impl Target<'_> {
    /// A write that must succeed.
    fn set(&mut self, file: impl Into<Cow<'static, str>>, value: impl ToString) {
        self.set_or(file, value, IfMissing::Fail);
    }

    /// A write to a file that may be missing.
    fn set_or(&mut self, file: impl Into<Cow<'static, str>>, value: impl ToString, if_missing: IfMissing) {
        let write = self.write(file, value, if_missing);
        self.plan.writes.push(write);
    }

    fn write(
        &self,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        if_missing: IfMissing,
    ) -> Write {
        Write { hierarchy: self.hierarchy, file: file.into(), value: value.to_string(), if_missing }
    }

    fn warn(&mut self, warning: Warning) {
        self.plan.warnings.push(warning);
    }
}

impl Planner<'_> {
    /// The hierarchy of `controller`, or the error that `limit` can't hold.
    fn target(
        &mut self,
        controller: Controller,
        limit: &'static str,
    ) -> Result<(Target<'_>, Version), Error> {
        let (hierarchy, found) =
            self.layout.hierarchy_of(controller).ok_or(Error::Missing { limit, controller })?;
        Ok((Target { hierarchy, current: self.current, plan: &mut self.plan }, found.version()))
    }

    /// Plans a part that v1 and v2 do differently.
    fn by_version<T: Default + PartialEq>(
        &mut self,
        controller: Controller,
        limit: &'static str,
        part: &T,
        v1: fn(&mut Target<'_>, &T) -> Result<(), Error>,
        v2: fn(&mut Target<'_>, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if *part == T::default() {
            return Ok(());
        }
        let (mut target, version) = self.target(controller, limit)?;
        match version {
            Version::V1 => v1(&mut target, part),
            Version::V2 => v2(&mut target, part),
        }
    }

    /// Both versions have the same two files.
    fn cpuset(&mut self, resources: &Resources) -> Result<(), Error> {
        let parts = [("cpuset.cpus", &resources.cpuset.cpus), ("cpuset.mems", &resources.cpuset.mems)];
        for (file, value) in parts {
            if let Some(value) = value {
                self.target(Controller::Cpuset, "the choice of CPUs")?.0.set(file, value);
            }
        }
        Ok(())
    }

    fn pids(&mut self, resources: &Resources) -> Result<(), Error> {
        match resources.pids {
            Some(limit) if !self.current.is_default(limit) => {
                self.target(Controller::Pids, "the number of processes")?.0.set("pids.max", max(limit));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hugetlb(&mut self, resources: &Resources) -> Result<(), Error> {
        for (size, limit) in &resources.hugetlb {
            let (mut target, version) = self.target(Controller::Hugetlb, "huge pages")?;
            let file = if version == Version::V1 { "limit_in_bytes" } else { "max" };
            target.set(format!("hugetlb.{size}.{file}"), limit);
            // Reservations (Linux 5.7): without this a mapping succeeds and its first touch is SIGBUS.
            target.set_or(format!("hugetlb.{size}.rsvd.{file}"), limit, IfMissing::Ignore);
        }
        Ok(())
    }

    fn rdma(&mut self, resources: &Resources) -> Result<(), Error> {
        for (device, Rdma { handles, objects }) in &resources.rdma {
            let handles = handles.map(|count| format!(" hca_handle={count}")).unwrap_or_default();
            let objects = objects.map(|count| format!(" hca_object={count}")).unwrap_or_default();
            let (mut target, _) = self.target(Controller::Rdma, "RDMA resources")?;
            target.set("rdma.max", format!("{device}{handles}{objects}"));
        }
        Ok(())
    }

    fn network(&mut self, resources: &Resources) -> Result<(), Error> {
        if let Some(class) = resources.net_class {
            self.target(Controller::NetCls, "network class")?.0.set("net_cls.classid", class);
        }
        for (interface, priority) in &resources.net_priorities {
            let (mut target, _) = self.target(Controller::NetPrio, "network priority")?;
            target.set("net_prio.ifpriomap", format!("{interface} {priority}"));
        }
        Ok(())
    }

    fn devices(&mut self, rules: &[DeviceRule]) -> Result<(), Error> {
        if rules.is_empty() {
            return Ok(());
        }
        if let Ok((mut target, Version::V1)) = self.target(Controller::Devices, "device access") {
            let writes = devices::list_writes(rules)?;
            // A new group may use what its parent may, and asking for everything would fail below a parent
            // that may not.
            let allows_all = matches!(&*writes, [only] if only.file == "devices.allow");
            if !(target.current == Current::Fresh && allows_all) {
                writes.into_iter().for_each(|write| target.set(write.file, write.line));
            }
            return Ok(());
        }
        if self.layout.unified().is_none() {
            return Err(Error::Missing { limit: "device access", controller: Controller::Devices });
        }
        self.plan.filter = Some(devices::compile(rules));
        Ok(())
    }

    fn unified(&mut self, resources: &Resources) -> Result<(), Error> {
        for (file, value) in &resources.unified {
            let prefix = file.split_once('.').map_or("", |(prefix, _)| prefix);
            let has = |hierarchy: &Hierarchy| {
                Controller::from_name(prefix).is_some_and(|controller| hierarchy.has(controller))
                    || prefix == "cgroup"
            };
            let Some((hierarchy, _)) = self.layout.unified().filter(|(_, hierarchy)| has(hierarchy)) else {
                return Err(Error::Unsupported {
                    limit: format!("`{file}`"),
                    why: "it is a file of cgroup v2, and that controller is not in a v2 tree here",
                });
            };
            let mut target = Target { hierarchy, current: self.current, plan: &mut self.plan };
            target.set(file.clone(), value);
        }
        Ok(())
    }
}

/// A limit as v2 and `pids.max` write it.
fn max(limit: Limit) -> String {
    match limit {
        Limit::At(limit) => limit.to_string(),
        Limit::Unlimited => "max".to_owned(),
    }
}

/// A limit as v1 writes it.
fn minus_one(limit: Limit) -> String {
    match limit {
        Limit::At(limit) => limit.to_string(),
        Limit::Unlimited => "-1".to_owned(),
    }
}

#[cfg(test)]
mod tests;
