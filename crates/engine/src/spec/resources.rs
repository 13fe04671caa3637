//! Limits, checked against each other and against the machine.

use skiff_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxInterfacePriority, LinuxMemory, LinuxNetwork, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use super::RequestError;
use super::error::built;
use crate::facts::HostFacts;
use crate::request::{BlkioLimits, CpuLimits, DeviceRate, MemoryLimits, PidsLimit, Resources, Swap};

/// Docker's: below it nothing starts.
const MEMORY_MINIMUM: u64 = 6 << 20;
/// Processes of a container when no limit is asked for; a fork bomb ends here.
const PIDS_DEFAULT: i64 = 4096;
/// The kernel's period of the CPU bandwidth controller, in microseconds.
const PERIOD: u64 = 100_000;
/// The kernel's period of real-time scheduling, in microseconds.
const REALTIME_PERIOD: u64 = 1_000_000;
const NANOS: u64 = 1_000_000_000;

/// The limits of the `Spec`; device rules are not in here.
pub(super) fn limits(
    wishes: &Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, RequestError> {
    let mut resources = LinuxResources::default();
    resources
        .set_cpu(cpu(&wishes.cpu, host)?)
        .set_memory(memory(&wishes.memory, warnings)?)
        .set_pids(Some(pids(wishes.pids)))
        .set_block_io(blkio(&wishes.blkio, host)?)
        .set_network(network(wishes));
    Ok(resources)
}

fn cpu(wishes: &CpuLimits, host: &HostFacts) -> Result<Option<LinuxCpu>, RequestError> {
    if *wishes == CpuLimits::default() {
        return Ok(None);
    }
    let mut cpu = LinuxCpu::default();
    let (quota, period) = bandwidth(wishes, host)?;
    for (flag, list) in [("--cpuset-cpus", &wishes.cpus), ("--cpuset-mems", &wishes.mems)] {
        if let Some(list) = list {
            check_list(flag, list)?;
        }
    }
    if let Some(asked) = &wishes.cpus
        && let Some(missing) = numbers(asked).into_iter().flatten().find(|cpu| !host.is_online(*cpu))
    {
        return Err(RequestError::CpuMissing { cpu: missing, online: host.online_cpus.clone() });
    }
    if let Some(asked) = &wishes.mems
        && let Some(missing) = numbers(asked).into_iter().flatten().find(|node| !host.has_node(*node))
    {
        return Err(RequestError::NodeMissing { node: missing, online: host.memory_nodes.clone() });
    }
    let whole = wishes.realtime_period.unwrap_or(REALTIME_PERIOD);
    if let Some(runtime) = wishes.realtime_runtime
        && u64::try_from(runtime).is_ok_and(|runtime| runtime > whole)
    {
        return Err(RequestError::RealtimeAbovePeriod { runtime, period: whole });
    }
    cpu.set_quota(quota)
        .set_period(period)
        .set_shares(wishes.shares)
        .set_realtime_runtime(wishes.realtime_runtime)
        .set_realtime_period(wishes.realtime_period)
        .set_cpus(wishes.cpus.clone())
        .set_mems(wishes.mems.clone());
    Ok(Some(cpu))
}

/// Quota and period, from `--cpus` or from themselves.
fn bandwidth(wishes: &CpuLimits, host: &HostFacts) -> Result<(Option<i64>, Option<u64>), RequestError> {
    if let Some(period) = wishes.period
        && !(1_000..=1_000_000).contains(&period)
    {
        return Err(RequestError::CpuPeriod { period });
    }
    if let Some(quota) = wishes.quota
        && quota != -1
        && quota < 1_000
    {
        return Err(RequestError::CpuQuota { quota });
    }
    let Some(nanos) = wishes.nanos else {
        return Ok((wishes.quota, wishes.period));
    };
    if wishes.quota.is_some() || wishes.period.is_some() {
        let flag = if wishes.quota.is_some() { "--cpu-quota" } else { "--cpu-period" };
        return Err(RequestError::CpusAndQuota { flag });
    }
    if nanos < NANOS / 100 || nanos > u64::from(host.processors) * NANOS {
        return Err(RequestError::CpusRange { processors: host.processors });
    }
    let quota = i64::try_from(nanos / (NANOS / PERIOD))
        .map_err(|_| RequestError::CpusRange { processors: host.processors })?;
    Ok((Some(quota), Some(PERIOD)))
}

/// The numbers of `0-2,4`; `None` where it isn't such a list.
pub(crate) fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > 8191 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

fn check_list(flag: &'static str, list: &str) -> Result<(), RequestError> {
    match numbers(list) {
        Some(_) => Ok(()),
        None => Err(RequestError::CpuList { flag, list: list.to_owned() }),
    }
}

fn memory(wishes: &MemoryLimits, warnings: &mut Vec<String>) -> Result<Option<LinuxMemory>, RequestError> {
    if *wishes == MemoryLimits::default() {
        return Ok(None);
    }
    for (flag, bytes) in [("--memory", wishes.limit), ("--memory-reservation", wishes.reservation)] {
        if bytes.is_some_and(|bytes| bytes < MEMORY_MINIMUM) {
            return Err(RequestError::MemoryMinimum { flag });
        }
    }
    if let (Some(limit), Some(reservation)) = (wishes.limit, wishes.reservation)
        && reservation > limit
    {
        return Err(RequestError::ReservationAboveLimit);
    }
    if wishes.swappiness.is_some_and(|swappiness| swappiness > 100) {
        return Err(RequestError::Swappiness);
    }
    if wishes.oom_kill_disable && wishes.limit.is_none() {
        warnings.push(
            "without `--memory`, `--oom-kill-disable` can stall the whole machine when memory runs out"
                .to_owned(),
        );
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(wishes.limit.map(signed))
        .set_swap(swap(wishes)?)
        .set_reservation(wishes.reservation.map(signed))
        .set_swappiness(wishes.swappiness)
        .set_disable_oom_killer(wishes.oom_kill_disable.then_some(true));
    Ok(Some(memory))
}

/// Memory and swap together; as much swap as memory when only memory is limited.
fn swap(wishes: &MemoryLimits) -> Result<Option<i64>, RequestError> {
    match (wishes.limit, wishes.swap) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(RequestError::SwapWithoutMemory),
        (Some(limit), None) => Ok(Some(signed(limit.saturating_mul(2)))),
        (Some(_), Some(Swap::Unlimited)) => Ok(Some(-1)),
        (Some(limit), Some(Swap::Bytes(bytes))) if bytes < limit => Err(RequestError::SwapBelowMemory),
        (Some(_), Some(Swap::Bytes(bytes))) => Ok(Some(signed(bytes))),
    }
}

/// No machine has as much as the type can't hold.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn pids(wish: PidsLimit) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(match wish {
        PidsLimit::Default => PIDS_DEFAULT,
        PidsLimit::Unlimited => -1,
        PidsLimit::Processes(limit) => i64::from(limit),
    });
    pids
}

fn blkio(wishes: &BlkioLimits, host: &HostFacts) -> Result<Option<LinuxBlockIo>, RequestError> {
    if *wishes == BlkioLimits::default() {
        return Ok(None);
    }
    let weights = wishes.weight_devices.iter().map(|device| device.weight).chain(wishes.weight);
    if let Some(weight) = weights.into_iter().find(|weight| !(10..=1000).contains(weight)) {
        return Err(RequestError::BlkioWeight { weight });
    }
    let rates = |wishes: &[DeviceRate]| -> Result<Option<Vec<LinuxThrottleDevice>>, RequestError> {
        let rates = wishes.iter().map(|wish| {
            let (major, minor) = host.block_device_at(&wish.device)?;
            built(LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(wish.rate).build())
        });
        let rates = rates.collect::<Result<Vec<_>, RequestError>>()?;
        Ok((!rates.is_empty()).then_some(rates))
    };
    let mut weight_devices = Vec::with_capacity(wishes.weight_devices.len());
    for wish in &wishes.weight_devices {
        let (major, minor) = host.block_device_at(&wish.device)?;
        let device = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(wish.weight);
        weight_devices.push(built(device.build())?);
    }
    let mut block_io = LinuxBlockIo::default();
    block_io
        .set_weight(wishes.weight)
        .set_weight_device((!weight_devices.is_empty()).then_some(weight_devices))
        .set_throttle_read_bps_device(rates(&wishes.read_bps)?)
        .set_throttle_write_bps_device(rates(&wishes.write_bps)?)
        .set_throttle_read_iops_device(rates(&wishes.read_iops)?)
        .set_throttle_write_iops_device(rates(&wishes.write_iops)?);
    Ok(Some(block_io))
}

fn network(wishes: &Resources) -> Option<LinuxNetwork> {
    if wishes.net_class.is_none() && wishes.net_priorities.is_empty() {
        return None;
    }
    let priorities = wishes.net_priorities.iter().map(|wish| {
        let mut priority = LinuxInterfacePriority::default();
        priority.set_name(wish.interface.clone()).set_priority(wish.priority);
        priority
    });
    let priorities: Vec<_> = priorities.collect();
    let mut network = LinuxNetwork::default();
    network.set_class_id(wishes.net_class).set_priorities((!priorities.is_empty()).then_some(priorities));
    Some(network)
}

#[cfg(test)]
mod tests;
