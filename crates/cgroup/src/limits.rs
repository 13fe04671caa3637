//! The limits that a group has now, as far as a change must know them.

use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::error::Error;
use crate::file::Dir;
use crate::layout::Version;
use crate::plan::Current;
use crate::resources::{Limit, Resources};

/// What a plan for `resources` has to know of `group`. Nothing else is read.
pub(crate) fn current(group: &Cgroup, resources: &Resources) -> Result<Current, Error> {
    let mut memory = Limit::Unlimited;
    if resources.memory.limit.is_some() || resources.memory.swap.is_some() {
        memory = number(group, "memory.limit_in_bytes", "memory.max")?;
    }
    let (mut quota, mut period, mut burst) = (Limit::Unlimited, Current::DEFAULT_PERIOD, 0);
    let asked = &resources.cpu;
    let changes_time = asked.quota.is_some() || asked.period.is_some() || asked.burst.is_some();
    if let Some(dir) = group.dir_of(Controller::Cpu).filter(|_| changes_time) {
        (quota, period, burst) = cpu(dir)?;
    }
    Ok(Current::Existing { memory, quota, period, burst })
}

/// OCI's `checkBeforeUpdate`: v2 would kill to get below a new memory limit.
pub(crate) fn check_usage(group: &Cgroup, resources: &Resources) -> Result<(), Error> {
    let (true, Some(Limit::At(limit))) = (resources.memory.check_before_update, resources.memory.limit)
    else {
        return Ok(());
    };
    match number(group, "memory.usage_in_bytes", "memory.current")? {
        Limit::At(usage) if usage > limit => Err(Error::Invalid {
            what: "memory limit",
            value: limit.to_string(),
            why: "the group uses more than that already",
        }),
        _ => Ok(()),
    }
}

/// Quota, period and burst of a group, in microseconds.
pub(crate) fn cpu(dir: &Dir) -> Result<(Limit, u64, u64), Error> {
    let (quota, period, burst) = match dir.hierarchy().version() {
        Version::V1 => (
            dir.read("cpu.cfs_quota_us")?,
            dir.read("cpu.cfs_period_us")?,
            dir.read_if_there("cpu.cfs_burst_us")?,
        ),
        Version::V2 => {
            let both = dir.read("cpu.max")?;
            let (quota, period) = both.trim_end().split_once(' ').unwrap_or((&both, "100000"));
            (quota.to_owned(), period.to_owned(), dir.read_if_there("cpu.max.burst")?)
        }
    };
    let number = |text: &str| text.trim_end().parse().ok();
    Ok((
        number(&quota).map_or(Limit::Unlimited, Limit::At),
        number(&period).unwrap_or(Current::DEFAULT_PERIOD),
        burst.and_then(|burst| number(&burst)).unwrap_or(0),
    ))
}

/// A number of the memory controller; a group without it has no limit.
fn number(group: &Cgroup, v1: &str, v2: &str) -> Result<Limit, Error> {
    let Some(dir) = group.dir_of(Controller::Memory) else { return Ok(Limit::Unlimited) };
    let file = if dir.hierarchy().version() == Version::V1 { v1 } else { v2 };
    Ok(Limit::from_file(&dir.read(file)?).unwrap_or(Limit::Unlimited))
}
