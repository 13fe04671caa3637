//! What a group has used, in one form for every layout.

mod read;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::resources::DeviceNumber;

/// The counters of a group. A part is `None` where its controller is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Block I/O by disk.
    pub io: BTreeMap<DeviceNumber, IoStats>,
    /// Processes.
    pub pids: Option<PidsStats>,
    /// Huge pages by size.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CpuStats {
    /// All of it.
    pub usage: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods in which the group wanted to run and had a quota.
    pub periods: u64,
    /// Those of them in which the quota ran out.
    pub throttled_periods: u64,
    /// How long it was held back.
    pub throttled: u64,
    /// What it may use of every period; `None` is no limit.
    pub quota: Option<u64>,
    /// How long a period is; 0 where the kernel does not say.
    pub period: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStats {
    /// All that is charged to the group, page cache included.
    pub usage: u64,
    /// Usage without file pages that nobody has touched for long: what `docker stats` shows.
    pub working_set: u64,
    /// The most there ever was, where the kernel knows.
    pub peak: Option<u64>,
    /// The limit; `None` is no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub limit_hits: u64,
    /// Swap used, where it is counted.
    pub swap: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
}

/// Block I/O of one disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IoStats {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub read_operations: u64,
    /// Write operations.
    pub write_operations: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` is no limit.
    pub limit: Option<u64>,
    /// How often a fork was refused.
    pub refused: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HugetlbStats {
    /// In use.
    pub usage: u64,
    /// The limit; `None` is no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub limit_hits: u64,
}
