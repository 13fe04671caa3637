//! What a group may use, in one form for every layout. `None` and empty lists mean "as it is".

pub mod check;
mod oci;

use std::collections::BTreeMap;

use crate::controller::{Controller, Controllers};
use crate::devices::DeviceRule;

/// Limits of one group: OCI's `linux.resources`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU time.
    pub cpu: Cpu,
    /// Which CPUs and memory nodes.
    pub cpuset: Cpuset,
    /// Memory and swap.
    pub memory: Memory,
    /// Block I/O.
    pub io: Io,
    /// How many processes.
    pub pids: Option<Limit>,
    /// Which devices, last match wins; empty: no change.
    pub devices: Vec<DeviceRule>,
    /// Huge pages, by page size as the kernel writes it (`2MB`).
    pub hugetlb: BTreeMap<String, u64>,
    /// RDMA limits by device.
    pub rdma: BTreeMap<String, Rdma>,
    /// Class of network packets (`net_cls.classid`).
    pub net_class: Option<u32>,
    /// Priority of network packets by interface.
    pub net_priorities: BTreeMap<String, u32>,
    /// Files of cgroup v2 and what to write to them, as they stand.
    pub unified: BTreeMap<String, String>,
}

/// A number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most this.
    At(u64),
    /// No limit.
    Unlimited,
}

impl Limit {
    /// Reads a limit as the kernel writes it: a number, `max`, `-1`, or on v1 the largest number of pages there is.
    pub(crate) fn from_file(text: &str) -> Option<Self> {
        // PAGE_COUNTER_MAX in bytes, for pages of up to 64 KiB.
        const LARGEST: u64 = i64::MAX.unsigned_abs() - 0xffff;
        match text.trim_end() {
            "max" | "-1" => Some(Self::Unlimited),
            number => match number.parse() {
                Ok(number) if number < LARGEST => Some(Self::At(number)),
                Ok(_) => Some(Self::Unlimited),
                Err(_) => None,
            },
        }
    }
}

/// CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Relative weight as v1 counts it: 2 to 262,144, usually 1,024.
    pub shares: Option<u64>,
    /// Microseconds a period.
    pub quota: Option<Limit>,
    /// Length of a period in microseconds.
    pub period: Option<u64>,
    /// Microseconds of unused quota that may be saved for later.
    pub burst: Option<u64>,
    /// Run only when nobody else wants to.
    pub idle: Option<Idle>,
    /// Microseconds a period for real-time scheduling; −1 is no limit.
    pub realtime_runtime: Option<i64>,
    /// Length of a real-time period in microseconds.
    pub realtime_period: Option<u64>,
}

/// `cpu.idle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// 1: `SCHED_IDLE` for the whole group.
    Idle,
    /// 0: as usual.
    Normal,
}

/// Where a group may run and take memory from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpuset {
    /// CPUs, such as `0-3,6`.
    pub cpus: Option<String>,
    /// Memory nodes.
    pub mems: Option<String>,
}

/// Memory and swap, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<Limit>,
    /// Limit of memory and swap together, as v1 counts it.
    pub swap: Option<Limit>,
    /// v1: what is left to the group when memory is short; v2: what is protected.
    pub reservation: Option<Limit>,
    /// Throttle above this (v2).
    pub high: Option<Limit>,
    /// 0 to 100; v1 only.
    pub swappiness: Option<u64>,
    /// Wait for memory instead of being killed; v1 only.
    pub oom_kill: Option<OomKill>,
    /// TCP buffers; v1 only.
    pub kernel_tcp: Option<Limit>,
    /// Kernel memory: no kernel of today limits it.
    pub kernel: Option<Limit>,
    /// Refuse a limit below what is used now.
    pub check_before_update: bool,
}

/// What happens at the memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomKill {
    /// The kernel kills.
    Enabled,
    /// Processes wait.
    Disabled,
}

/// Block I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// Relative weight as v1 counts it: 10 to 1,000.
    pub weight: Option<u16>,
    /// Weight for one disk.
    pub weight_device: Vec<(DeviceNumber, u16)>,
    /// Rates, by disk and kind.
    pub throttle: Vec<Throttle>,
}

/// A device by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl serde::Serialize for DeviceNumber {
    /// As `8:0`, so that it can be a key.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// One rate of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// The disk.
    pub device: DeviceNumber,
    /// What is counted.
    pub rate: Rate,
    /// How many a second.
    pub limit: Limit,
}

/// What a throttle counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Read operations.
    ReadOperations,
    /// Write operations.
    WriteOperations,
}

/// RDMA limits of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rdma {
    /// `hca_handle`.
    pub handles: Option<u32>,
    /// `hca_object`.
    pub objects: Option<u32>,
}

impl Resources {
    /// The controllers that these limits need.
    pub fn controllers(&self) -> Controllers {
        let wanted = [
            (Controller::Cpu, self.cpu != Cpu::default()),
            (Controller::Cpuset, self.cpuset != Cpuset::default()),
            (Controller::Memory, self.memory != Memory::default()),
            (Controller::Blkio, self.io != Io::default()),
            (Controller::Pids, self.pids.is_some()),
            (Controller::Devices, !self.devices.is_empty()),
            (Controller::Hugetlb, !self.hugetlb.is_empty()),
            (Controller::Rdma, !self.rdma.is_empty()),
            (Controller::NetCls, self.net_class.is_some()),
            (Controller::NetPrio, !self.net_priorities.is_empty()),
        ];
        let named = wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(controller, _)| controller);
        // `memory.high` needs the memory controller, `cgroup.max.depth` none.
        let files = self.unified.keys().filter_map(|file| file.split_once('.'));
        named.chain(files.filter_map(|(prefix, _)| Controller::from_name(prefix))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_many_spellings() {
        for text in ["max\n", "-1\n", "9223372036854771712\n"] {
            assert_eq!(Limit::from_file(text), Some(Limit::Unlimited), "{text}");
        }
        assert_eq!(Limit::from_file("4096\n"), Some(Limit::At(4096)));
        assert_eq!(Limit::from_file("x"), None);
    }
}
