//! One model of limits and counters over cgroup v1, hybrid and v2.
//!
//! [`Layout`] says which hierarchies the machine has. [`Resources`] is what a group may use, [`plan()`] turns it
//! into a list of [`Write`]s for that layout without touching anything, and [`Cgroup`] performs such a plan and
//! is the group afterwards: it is joined, frozen, killed, counted ([`Stats`]) and removed.
//!
//! Groups of containers lie flat under their parent, without a directory of Skiff's own around them, so that
//! one `mkdir` a hierarchy makes them and nothing is left when they go.

mod cgroup;
mod controller;
mod convert;
mod devices;
mod error;
mod file;
mod freeze;
mod layout;
mod limits;
mod membership;
mod path;
mod plan;
mod populate;
mod private;
mod remove;
mod resources;
mod scheduler;
mod stats;
mod wait;

pub use cgroup::{Applied, Cgroup};
pub use controller::{Controller, Controllers};
pub use devices::{Access, DeviceKind, DeviceRule, is_allowed};
pub use error::Error;
pub use layout::{Hierarchy, Kind, Layout, Version};
pub use path::{CgroupPath, PathError};
pub use plan::{Current, IfMissing, Plan, Warning, Write, plan};
pub use resources::check::{cpu_list, io_weight, one_word, page_size, unified_file};
pub use resources::{
    Cpu, Cpuset, DeviceNumber, Idle, Io, Limit, Memory, OomKill, Rate, Rdma, Resources, Throttle,
};
pub use stats::{CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Stats};
