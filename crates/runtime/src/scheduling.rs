//! What a container must not inherit from the shell that started it, as far as the parent has to set it:
//! nice value, scheduler, io priority, affinity and timer slack (R10).
//!
//! The parent sets them for itself and the child inherits them, because a process in a user namespace may
//! not raise its own priority.

use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};
use skiff_sys::Errno;
use skiff_sys::process::{SchedAttr, set_io_priority, set_scheduler};

/// The kernel's default (`init/init_task.c`).
const TIMER_SLACK_NANOSECONDS: u64 = 50_000;

/// Sets all of them to what a fresh boot has.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE when the caller runs at a low priority.
pub fn reset() -> Result<(), Errno> {
    set_scheduler(&SchedAttr::default())?;
    set_io_priority(0, 0)?;
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::MAX_CPU {
        all.set(cpu);
    }
    sched_setaffinity(None, &all)?;
    set_current_timer_slack(std::num::NonZeroU64::new(TIMER_SLACK_NANOSECONDS))
}
