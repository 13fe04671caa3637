//! How much of the machine a container may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Every limit. A field that is `None` or empty was not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Processor time.
    pub cpu: CpuLimits,
    /// Memory and swap.
    pub memory: MemoryLimits,
    /// Number of processes.
    pub pids: PidsLimit,
    /// Reading and writing of block devices.
    pub blkio: BlkioLimits,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--net-classid`: the mark that packets carry for `tc` and netfilter.
    pub net_class: Option<u32>,
    /// `--net-prio`: the priority of packets by the interface that they leave through.
    pub net_priorities: Vec<InterfacePriority>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuLimits {
    /// `--cpus`, in billionths of a processor.
    pub nanos: Option<u64>,
    /// `--cpu-shares`.
    pub shares: Option<u64>,
    /// `--cpu-quota` in microseconds; -1 is no limit.
    pub quota: Option<i64>,
    /// `--cpu-period` in microseconds.
    pub period: Option<u64>,
    /// `--cpu-rt-runtime` in microseconds.
    pub realtime_runtime: Option<i64>,
    /// `--cpu-rt-period` in microseconds.
    pub realtime_period: Option<u64>,
    /// `--cpuset-cpus`: `0-2,4`.
    pub cpus: Option<String>,
    /// `--cpuset-mems`.
    pub mems: Option<String>,
}

/// Memory and swap, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryLimits {
    /// `--memory`.
    pub limit: Option<u64>,
    /// `--memory-swap`: memory and swap together.
    pub swap: Option<Swap>,
    /// `--memory-reservation`.
    pub reservation: Option<u64>,
    /// `--memory-swappiness`, 0 to 100.
    pub swappiness: Option<u64>,
    /// `--oom-kill-disable`: processes wait for memory instead of dying.
    pub oom_kill_disable: bool,
}

/// How much memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// As much swap as there is (`-1`).
    Unlimited,
    /// This many bytes, memory included.
    Bytes(u64),
}

/// Number of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PidsLimit {
    /// The engine's own limit.
    #[default]
    Default,
    /// None (`--pids-limit -1` or `0`).
    Unlimited,
    /// This many.
    Processes(u32),
}

/// Reading and writing of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioLimits {
    /// `--blkio-weight`, 10 to 1000.
    pub weight: Option<u16>,
    /// `--blkio-weight-device`.
    pub weight_devices: Vec<DeviceWeight>,
    /// `--device-read-bps`.
    pub read_bps: Vec<DeviceRate>,
    /// `--device-write-bps`.
    pub write_bps: Vec<DeviceRate>,
    /// `--device-read-iops`.
    pub read_iops: Vec<DeviceRate>,
    /// `--device-write-iops`.
    pub write_iops: Vec<DeviceRate>,
}

/// A block device and how fast it may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Its node on the host.
    pub device: PathBuf,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A block device and the share of its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Its node on the host.
    pub device: PathBuf,
    /// 10 to 1000.
    pub weight: u16,
}

/// A limit of `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's word for it: `nofile`, `core`.
    pub name: String,
    /// The limit in force; `None` is no limit.
    pub soft: Option<u64>,
    /// How far a process may raise it; `None` is no limit.
    pub hard: Option<u64>,
}

/// The priority of packets that leave through an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePriority {
    /// The interface's name.
    pub interface: String,
    /// The priority.
    pub priority: u32,
}
