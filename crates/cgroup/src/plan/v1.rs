//! The files of cgroup v1.

use super::{IfMissing, Target, Warning, minus_one};
use crate::error::Error;
use crate::resources::{Cpu, Idle, Io, Limit, Memory, OomKill, Rate};

/// Writes of the `cpu` hierarchy.
///
/// The kernel checks quota over period after every write against the parent's. The period goes first when it
/// gets longer, and last otherwise: then the ratio in between is never above both the old and the new one. A
/// burst may never be above the quota.
pub(super) fn cpu(target: &mut Target<'_>, cpu: &Cpu) -> Result<(), Error> {
    // An idle group refuses a weight: leave idle before, enter it after.
    if cpu.idle == Some(Idle::Normal) {
        target.set("cpu.idle", 0);
    }
    if let Some(shares) = cpu.shares {
        target.set("cpu.shares", shares);
    }
    if cpu.idle == Some(Idle::Idle) {
        target.set("cpu.idle", 1);
    }
    let lowers_burst = cpu.burst.is_some_and(|burst| burst < target.current.burst());
    if let Some(burst) = cpu.burst.filter(|_| lowers_burst) {
        target.set("cpu.cfs_burst_us", burst);
    }
    let quota = cpu.quota.filter(|quota| !target.current.is_default(*quota));
    let period_last = cpu.period.is_some_and(|period| period <= target.current.period());
    if let Some(period) = cpu.period.filter(|_| !period_last) {
        target.set("cpu.cfs_period_us", period);
    }
    if let Some(quota) = quota {
        target.set("cpu.cfs_quota_us", minus_one(quota));
    }
    if let Some(period) = cpu.period.filter(|_| period_last) {
        target.set("cpu.cfs_period_us", period);
    }
    if let Some(burst) = cpu.burst.filter(|_| !lowers_burst) {
        target.set("cpu.cfs_burst_us", burst);
    }
    // The runtime must fit into the period, so the period goes first.
    if let Some(period) = cpu.realtime_period {
        target.set("cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime {
        target.set("cpu.rt_runtime_us", runtime);
    }
    Ok(())
}

/// Writes of the `memory` hierarchy.
///
/// `memory.memsw.limit_in_bytes` may never be below `memory.limit_in_bytes` (`EINVAL`), so it goes first when
/// its new value is at or above the old memory limit, and last otherwise.
pub(super) fn memory(target: &mut Target<'_>, memory: &Memory) -> Result<(), Error> {
    if memory.high.is_some() {
        return Err(Error::Unsupported {
            limit: "`memory.high`".to_owned(),
            why: "cgroup v1 has no limit that slows down instead of killing",
        });
    }
    // Memory can't be unlimited while both together are limited.
    let swap = match (memory.swap, memory.limit) {
        (None, Some(Limit::Unlimited)) => Some(Limit::Unlimited),
        (Some(Limit::At(both)), Some(Limit::At(limit))) if both < limit => {
            return Err(Error::Invalid {
                what: "memory and swap limit",
                value: both.to_string(),
                why: "it includes memory, so it can't be below the memory limit",
            });
        }
        (swap, _) => swap,
    };
    let limit = memory.limit.filter(|limit| !target.current.is_default(*limit));
    let swap = swap.filter(|swap| !target.current.is_default(*swap));
    let swap_first = match (swap, target.current.memory()) {
        (Some(Limit::Unlimited), _) => true,
        (Some(Limit::At(new)), Limit::At(old)) => new >= old,
        (Some(Limit::At(_)), Limit::Unlimited) | (None, _) => false,
    };
    let set_swap = |target: &mut Target<'_>, swap: Limit| {
        let missing = IfMissing::Warn(Warning::SwapAccounting);
        target.set_or("memory.memsw.limit_in_bytes", minus_one(swap), missing);
    };
    if let Some(swap) = swap.filter(|_| swap_first) {
        set_swap(target, swap);
    }
    if let Some(limit) = limit {
        target.set("memory.limit_in_bytes", minus_one(limit));
    }
    if let Some(swap) = swap.filter(|_| !swap_first) {
        set_swap(target, swap);
    }
    if let Some(reservation) = memory.reservation {
        target.set("memory.soft_limit_in_bytes", minus_one(reservation));
    }
    if let Some(kernel_tcp) = memory.kernel_tcp {
        target.set("memory.kmem.tcp.limit_in_bytes", minus_one(kernel_tcp));
    }
    if memory.kernel.is_some() {
        target.warn(Warning::KernelMemory);
    }
    if let Some(swappiness) = memory.swappiness {
        target.set("memory.swappiness", swappiness);
    }
    match memory.oom_kill {
        Some(OomKill::Disabled) => target.set("memory.oom_control", 1),
        Some(OomKill::Enabled) => target.set("memory.oom_control", 0),
        None => {}
    }
    Ok(())
}

/// Writes of the `blkio` hierarchy. Weights exist with BFQ, or in kernels before 5.0 with CFQ.
pub(super) fn io(target: &mut Target<'_>, io: &Io) -> Result<(), Error> {
    let weight = |target: &mut Target<'_>, bfq: &'static str, cfq: &'static str, value: String| {
        let cfq = target.write(cfq, &value, IfMissing::Warn(Warning::BlockWeight));
        target.set_or(bfq, value, IfMissing::Instead(Box::new(cfq)));
    };
    if let Some(value) = io.weight {
        weight(target, "blkio.bfq.weight", "blkio.weight", value.to_string());
    }
    for (device, value) in &io.weight_device {
        weight(target, "blkio.bfq.weight_device", "blkio.weight_device", format!("{device} {value}"));
    }
    for throttle in &io.throttle {
        let file = match throttle.rate {
            Rate::ReadBytes => "blkio.throttle.read_bps_device",
            Rate::WriteBytes => "blkio.throttle.write_bps_device",
            Rate::ReadOperations => "blkio.throttle.read_iops_device",
            Rate::WriteOperations => "blkio.throttle.write_iops_device",
        };
        let rate = match throttle.limit {
            Limit::At(rate) => rate,
            Limit::Unlimited => 0,
        };
        target.set(file, format!("{} {rate}", throttle.device));
    }
    Ok(())
}
