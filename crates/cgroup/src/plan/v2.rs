//! The files of cgroup v2, with the values converted from v1's.

use std::collections::BTreeMap;

use super::{Current, IfMissing, Target, Warning, max};
use crate::convert;
use crate::error::Error;
use crate::resources::{Cpu, DeviceNumber, Idle, Io, Limit, Memory, OomKill, Rate};

/// Writes of the `cpu` controller.
pub(super) fn cpu(target: &mut Target<'_>, cpu: &Cpu) -> Result<(), Error> {
    if cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some() {
        return Err(Error::Unsupported {
            limit: "real-time CPU time".to_owned(),
            why: "cgroup v2 has no budget for real-time scheduling",
        });
    }
    // An idle group refuses a weight: leave idle before, enter it after.
    if cpu.idle == Some(Idle::Normal) {
        target.set("cpu.idle", 0);
    }
    if let Some(shares) = cpu.shares {
        target.set("cpu.weight", convert::cpu_weight(shares));
    }
    if cpu.idle == Some(Idle::Idle) {
        target.set("cpu.idle", 1);
    }
    // A burst may never be above the quota.
    let lowers_burst = cpu.burst.is_some_and(|burst| burst < target.current.burst());
    if let Some(burst) = cpu.burst.filter(|_| lowers_burst) {
        target.set("cpu.max.burst", burst);
    }
    match (cpu.quota, cpu.period) {
        (None, None) => {}
        (Some(quota), None) if target.current.is_default(quota) => {}
        // The kernel keeps the period when only the first word is given, but has no way to keep the quota.
        (Some(quota), None) => target.set("cpu.max", max(quota)),
        (quota, Some(period)) => {
            let quota = quota.unwrap_or(target.current.quota());
            target.set("cpu.max", format!("{} {period}", max(quota)));
        }
    }
    if let Some(burst) = cpu.burst.filter(|_| !lowers_burst) {
        target.set("cpu.max.burst", burst);
    }
    Ok(())
}

/// Writes of the `memory` controller.
pub(super) fn memory(target: &mut Target<'_>, memory: &Memory) -> Result<(), Error> {
    // The limit that the swap limit was meant with: the new one, or the one that the group has.
    let known = match target.current {
        Current::Existing { memory: Limit::At(limit), .. } => Some(Limit::At(limit)),
        _ => None,
    };
    if let Some(swap) = convert::swap_alone(memory.swap, memory.limit.or(known))?
        && !target.current.is_default(swap)
    {
        // Without swap accounting no group can swap more than it may: `max` and 0 hold by themselves.
        let missing = match swap {
            Limit::Unlimited | Limit::At(0) => IfMissing::Ignore,
            Limit::At(_) => IfMissing::Warn(Warning::SwapAccounting),
        };
        target.set_or("memory.swap.max", max(swap), missing);
    }
    if let Some(limit) = memory.limit.filter(|limit| !target.current.is_default(*limit)) {
        target.set("memory.max", max(limit));
    }
    if let Some(high) = memory.high {
        target.set("memory.high", max(high));
    }
    if let Some(reservation) = memory.reservation {
        target.set("memory.low", max(reservation));
    }
    if memory.swappiness.is_some() {
        target.warn(Warning::Swappiness);
    }
    if memory.oom_kill == Some(OomKill::Disabled) {
        target.warn(Warning::OomKillDisable);
    }
    if memory.kernel.is_some() {
        target.warn(Warning::KernelMemory);
    }
    if memory.kernel_tcp.is_some() {
        target.warn(Warning::KernelTcpMemory);
    }
    Ok(())
}

/// Writes of the `io` controller. BFQ takes v1's weights as they are; `io.weight` has a range of its own.
pub(super) fn io(target: &mut Target<'_>, io: &Io) -> Result<(), Error> {
    let weight = |target: &mut Target<'_>, bfq: String, converted: String| {
        let io_weight = target.write("io.weight", converted, IfMissing::Warn(Warning::BlockWeight));
        target.set_or("io.bfq.weight", bfq, IfMissing::Instead(Box::new(io_weight)));
    };
    if let Some(value) = io.weight {
        weight(target, value.to_string(), convert::io_weight(value).to_string());
    }
    for (device, value) in &io.weight_device {
        let converted = convert::io_weight(*value);
        weight(target, format!("{device} {value}"), format!("{device} {converted}"));
    }
    // One line a disk: what it does not name stays as it is.
    let mut lines: BTreeMap<DeviceNumber, String> = BTreeMap::new();
    for throttle in &io.throttle {
        let key = match throttle.rate {
            Rate::ReadBytes => "rbps",
            Rate::WriteBytes => "wbps",
            Rate::ReadOperations => "riops",
            Rate::WriteOperations => "wiops",
        };
        let line = lines.entry(throttle.device).or_insert_with(|| throttle.device.to_string());
        line.push_str(&format!(" {key}={}", max(throttle.limit)));
    }
    lines.into_values().for_each(|line| target.set("io.max", line));
    Ok(())
}
