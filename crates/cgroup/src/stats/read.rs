//! Reading [`Stats`]: the files of each version, and their formats as functions of text.

use std::collections::BTreeMap;

use super::{CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Stats};
use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::error::Error;
use crate::file::Dir;
use crate::layout::Version;
use crate::limits;
use crate::resources::{DeviceNumber, Limit};

impl Cgroup {
    /// The counters of the group.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stats(&self) -> Result<Stats, Error> {
        let read = |controller, v1: Part, v2: Part, stats: &mut Stats| match self.dir_of(controller) {
            None => Ok(()),
            Some(dir) => match dir.hierarchy().version() {
                Version::V1 => v1(dir, stats),
                Version::V2 => v2(dir, stats),
            },
        };
        let mut stats = Stats::default();
        read(Controller::Cpu, cpu_v1, cpu_v2, &mut stats)?;
        read(Controller::Cpuacct, cpuacct, cpuacct, &mut stats)?;
        read(Controller::Memory, memory_v1, memory_v2, &mut stats)?;
        read(Controller::Blkio, blkio, io, &mut stats)?;
        read(Controller::Pids, pids, pids, &mut stats)?;
        read(Controller::Hugetlb, hugetlb_v1, hugetlb_v2, &mut stats)?;
        Ok(stats)
    }
}

/// Reads one part of the counters from a directory.
type Part = fn(&Dir, &mut Stats) -> Result<(), Error>;

fn cpu_v1(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let text = dir.read("cpu.stat")?;
    let cpu = stats.cpu.get_or_insert_default();
    cpu.periods = keyed(&text, "nr_periods");
    cpu.throttled_periods = keyed(&text, "nr_throttled");
    cpu.throttled = keyed(&text, "throttled_time");
    (cpu.quota, cpu.period) = quota(dir)?;
    Ok(())
}

fn cpuacct(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let usage = number(dir, "cpuacct.usage")?;
    // Since Linux 4.6; cpuacct.stat counts ticks of ten milliseconds only.
    let user = optional(dir, "cpuacct.usage_user")?.unwrap_or_default();
    let system = optional(dir, "cpuacct.usage_sys")?.unwrap_or_default();
    *stats.cpu.get_or_insert_default() = CpuStats { usage, user, system, ..stats.cpu.unwrap_or_default() };
    Ok(())
}

fn cpu_v2(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let text = dir.read("cpu.stat")?;
    let nanoseconds = |key| keyed(&text, key).saturating_mul(1000);
    let (quota, period) = quota(dir)?;
    stats.cpu = Some(CpuStats {
        usage: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        system: nanoseconds("system_usec"),
        periods: keyed(&text, "nr_periods"),
        throttled_periods: keyed(&text, "nr_throttled"),
        throttled: nanoseconds("throttled_usec"),
        quota,
        period,
    });
    Ok(())
}

/// Quota and period in nanoseconds. The root has none.
fn quota(dir: &Dir) -> Result<(Option<u64>, u64), Error> {
    if dir.below().is_empty() {
        return Ok((None, 0));
    }
    let (quota, period, _) = limits::cpu(dir)?;
    let quota = match quota {
        Limit::At(quota) => Some(quota.saturating_mul(1000)),
        Limit::Unlimited => None,
    };
    Ok((quota, period.saturating_mul(1000)))
}

fn memory_v1(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let usage = number(dir, "memory.usage_in_bytes")?;
    let details = dir.read("memory.stat")?;
    stats.memory = Some(MemoryStats {
        usage,
        working_set: usage.saturating_sub(keyed(&details, "total_inactive_file")),
        peak: optional(dir, "memory.max_usage_in_bytes")?,
        limit: limit(dir, "memory.limit_in_bytes")?,
        limit_hits: number(dir, "memory.failcnt")?,
        swap: optional(dir, "memory.memsw.usage_in_bytes")?.map(|both| both.saturating_sub(usage)),
        oom_kills: keyed(&dir.read("memory.oom_control")?, "oom_kill"),
    });
    Ok(())
}

fn memory_v2(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    // The root has none of these.
    let Some(usage) = optional(dir, "memory.current")? else { return Ok(()) };
    let events = dir.read("memory.events")?;
    stats.memory = Some(MemoryStats {
        usage,
        working_set: usage.saturating_sub(keyed(&dir.read("memory.stat")?, "inactive_file")),
        // Since Linux 5.19.
        peak: optional(dir, "memory.peak")?,
        limit: limit(dir, "memory.max")?,
        limit_hits: keyed(&events, "max"),
        swap: optional(dir, "memory.swap.current")?,
        oom_kills: keyed(&events, "oom_kill"),
    });
    Ok(())
}

fn blkio(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    // The throttling layer counts whatever the disk's scheduler is; without it BFQ may.
    for family in ["blkio.throttle", "blkio.bfq"] {
        let bytes = dir.read_if_there(&format!("{family}.io_service_bytes_recursive"))?.unwrap_or_default();
        let operations = dir.read_if_there(&format!("{family}.io_serviced_recursive"))?.unwrap_or_default();
        service_table(&bytes, &mut stats.io, |io| (&mut io.read_bytes, &mut io.write_bytes));
        service_table(&operations, &mut stats.io, |io| (&mut io.read_operations, &mut io.write_operations));
        if !stats.io.is_empty() {
            break;
        }
    }
    Ok(())
}

fn io(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    stats.io = io_stat(&dir.read_if_there("io.stat")?.unwrap_or_default());
    Ok(())
}

fn pids(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let Some(current) = optional(dir, "pids.current")? else { return Ok(()) };
    let refused = dir.read_if_there("pids.events")?.map_or(0, |text| keyed(&text, "max"));
    stats.pids = Some(PidsStats { current, limit: limit(dir, "pids.max")?, refused });
    Ok(())
}

fn hugetlb_v1(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    for size in page_sizes(dir, ".usage_in_bytes")? {
        let counters = HugetlbStats {
            usage: number(dir, &format!("hugetlb.{size}.usage_in_bytes"))?,
            limit: limit(dir, &format!("hugetlb.{size}.limit_in_bytes"))?,
            limit_hits: number(dir, &format!("hugetlb.{size}.failcnt"))?,
        };
        stats.hugetlb.insert(size, counters);
    }
    Ok(())
}

fn hugetlb_v2(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    for size in page_sizes(dir, ".current")? {
        let counters = HugetlbStats {
            usage: number(dir, &format!("hugetlb.{size}.current"))?,
            limit: limit(dir, &format!("hugetlb.{size}.max"))?,
            limit_hits: keyed(&dir.read(&format!("hugetlb.{size}.events"))?, "max"),
        };
        stats.hugetlb.insert(size, counters);
    }
    Ok(())
}

/// The huge page sizes that have a file `hugetlb.SIZE` + `suffix`.
fn page_sizes(dir: &Dir, suffix: &str) -> Result<Vec<String>, Error> {
    let files = dir.files()?;
    Ok(files
        .iter()
        .filter_map(|file| file.strip_prefix("hugetlb.")?.strip_suffix(suffix))
        .filter(|size| !size.contains('.'))
        .map(str::to_owned)
        .collect())
}

fn number(dir: &Dir, file: &str) -> Result<u64, Error> {
    parse(dir, file, &dir.read(file)?)
}

fn optional(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    dir.read_if_there(file)?.map(|text| parse(dir, file, &text)).transpose()
}

fn limit(dir: &Dir, file: &str) -> Result<Option<u64>, Error> {
    match Limit::from_file(&dir.read(file)?) {
        Some(Limit::At(limit)) => Ok(Some(limit)),
        _ => Ok(None),
    }
}

fn parse(dir: &Dir, file: &str, text: &str) -> Result<u64, Error> {
    let text = text.trim_end();
    text.parse().map_err(|_| Error::Content {
        path: dir.shown_file(file),
        found: text.to_owned(),
        expected: "number",
    })
}

/// The number after `key` in lines of `key number`; 0 where it is missing, as older kernels leave lines out.
fn keyed(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(found, _)| *found == key)
        .and_then(|(_, number)| number.trim().parse().ok())
        .unwrap_or(0)
}

/// Adds the lines `8:0 Read 4096` of a v1 table to `io`; totals and other kinds are passed over.
fn service_table(
    text: &str,
    io: &mut BTreeMap<DeviceNumber, IoStats>,
    fields: fn(&mut IoStats) -> (&mut u64, &mut u64),
) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(device), Some(kind), Some(count)) =
            (words.next().and_then(device), words.next(), words.next())
        else {
            continue;
        };
        let count = count.parse().unwrap_or(0);
        let (read, write) = fields(io.entry(device).or_default());
        match kind {
            "Read" => *read = count,
            "Write" => *write = count,
            _ => {}
        }
    }
}

/// Reads `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
fn io_stat(text: &str) -> BTreeMap<DeviceNumber, IoStats> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let device = device(words.next()?)?;
        let mut io = IoStats::default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => io.read_bytes = value,
                "wbytes" => io.write_bytes = value,
                "rios" => io.read_operations = value,
                "wios" => io.write_operations = value,
                _ => {}
            }
        }
        Some((device, io))
    };
    text.lines().filter_map(line).collect()
}

fn device(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DISK: DeviceNumber = DeviceNumber { major: 254, minor: 0 };

    #[test]
    fn keyed_lines_are_found_by_their_whole_key() {
        let text = "oom 1\noom_kill 3\nmax 2\n";
        assert_eq!((keyed(text, "oom_kill"), keyed(text, "max"), keyed(text, "low")), (3, 2, 0));
    }

    #[test]
    fn both_versions_of_block_io_give_the_same() {
        let mut v1 = BTreeMap::new();
        let bytes = "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Total 12288\nTotal 12288\n";
        service_table(bytes, &mut v1, |io| (&mut io.read_bytes, &mut io.write_bytes));
        let operations = "254:0 Read 1\n254:0 Write 2\nTotal 3\n";
        service_table(operations, &mut v1, |io| (&mut io.read_operations, &mut io.write_operations));
        let v2 = io_stat("254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:0 \n");
        assert_eq!(v1[&DISK], v2[&DISK]);
        assert_eq!(v1[&DISK].write_bytes, 8192);
    }

    proptest! {
        #[test]
        fn z10_no_text_makes_the_readers_panic(text in "[ -~\n]{0,200}") {
            let mut io = BTreeMap::new();
            service_table(&text, &mut io, |io| (&mut io.read_bytes, &mut io.write_bytes));
            io_stat(&text);
            keyed(&text, "max");
        }
    }
}
