//! The kernel's resource controllers by name, and sets of them.

use std::fmt;

/// A resource controller. Where v1 and v2 have different names for one thing, this is one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// CPU time: quota and weight.
    Cpu,
    /// CPU time used; part of `cpu` on v2.
    Cpuacct,
    /// Which CPUs and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Block I/O: `blkio` on v1, `io` on v2.
    Blkio,
    /// How many processes.
    Pids,
    /// Which devices; an eBPF program on v2.
    Devices,
    /// Stopping and continuing all processes; part of every group on v2.
    Freezer,
    /// Huge pages.
    Hugetlb,
    /// RDMA handles and objects.
    Rdma,
    /// Tags of network packets; v1 only.
    NetCls,
    /// Priority of network packets; v1 only.
    NetPrio,
    /// Grouping for `perf`.
    PerfEvent,
    /// Other countable things.
    Misc,
}

impl Controller {
    /// All controllers.
    pub const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Blkio,
        Self::Pids,
        Self::Devices,
        Self::Freezer,
        Self::Hugetlb,
        Self::Rdma,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Misc,
    ];

    /// The name in `/proc/cgroups` and in the options of a v1 mount.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Blkio => "blkio",
            Self::Pids => "pids",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Hugetlb => "hugetlb",
            Self::Rdma => "rdma",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Misc => "misc",
        }
    }

    /// The name in `cgroup.controllers`, for those that have one.
    pub const fn unified_name(self) -> &'static str {
        match self {
            Self::Blkio => "io",
            other => other.name(),
        }
    }

    /// The controller that v1 or v2 calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|controller| controller.name() == name || controller.unified_name() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controllers(u16);

impl Controllers {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of these.
    pub const fn of(controllers: &[Controller]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < controllers.len() {
            bits |= 1 << controllers[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// The controllers among the words of `text` (`cgroup.controllers`, mount options); other words are not ours.
    pub fn named_in(text: &str) -> Self {
        text.split([' ', ',', '\n']).filter_map(Controller::from_name).collect()
    }

    /// True when `controller` is in the set.
    pub const fn contains(self, controller: Controller) -> bool {
        self.0 & (1 << controller as u16) != 0
    }

    /// True when nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds `controller`.
    pub const fn insert(&mut self, controller: Controller) {
        self.0 |= 1 << controller as u16;
    }

    /// Those that are in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in this set and not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL.into_iter().filter(move |controller| self.contains(*controller))
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(controllers: I) -> Self {
        let mut set = Self::NONE;
        for controller in controllers {
            set.insert(controller);
        }
        set
    }
}

impl fmt::Display for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, controller) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{controller}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_block_io_are_one_controller() {
        assert_eq!(Controllers::named_in("rw,blkio"), Controllers::named_in("io\n"));
    }

    #[test]
    fn a_set_prints_its_members_with_commas() {
        let set = Controllers::of(&[Controller::Cpuacct, Controller::Cpu]);
        assert_eq!(set.to_string(), "cpu,cpuacct");
        assert!(!set.contains(Controller::Memory));
        assert_eq!(set.without(Controllers::of(&[Controller::Cpu])).to_string(), "cpuacct");
    }
}
