//! `skiff cgroup stat`: the counters of a group, in words.

use std::process::ExitCode;

use skiff_cgroup::{CgroupPath, CpuStats, HugetlbStats, IoStats, MemoryStats, PidsStats, Stats};

use super::{found, told};
use crate::error::{CliError, Doing as _};
use crate::output::{self, Align, Table};

/// What `stat` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the numbers as JSON: times in nanoseconds, sizes in bytes
    #[arg(long)]
    json: bool,
    /// The group
    group: CgroupPath,
}

/// Prints the counters.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let stats = found(&args.group)?.stats().map_err(told)?;
    if args.json {
        let json = serde_json::to_string_pretty(&stats).doing("write JSON")?;
        return output::show(&format!("{json}\n"));
    }
    output::show(&words(&stats))
}

/// A table of what is counted and what that means.
fn words(stats: &Stats) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]).without_heading();
    let mut part = |name: &str, lines: Vec<String>| {
        for (position, line) in lines.into_iter().enumerate() {
            table.row([if position == 0 { name.to_owned() } else { String::new() }, line]);
        }
    };
    if let Some(cpu) = &stats.cpu {
        part("cpu", cpu_lines(cpu));
    }
    if let Some(memory) = &stats.memory {
        part("memory", memory_lines(memory));
    }
    if let Some(pids) = &stats.pids {
        part("pids", pids_lines(pids));
    }
    for (device, io) in &stats.io {
        part("io", vec![io_line(&device.to_string(), io)]);
    }
    for (size, pages) in stats.hugetlb.iter().filter(|(_, pages)| **pages != HugetlbStats::default()) {
        part("hugetlb", vec![hugetlb_line(size, pages)]);
    }
    table.render()
}

fn cpu_lines(cpu: &CpuStats) -> Vec<String> {
    let mut lines = vec![format!(
        "{} used, {} of it in programs and {} in the kernel",
        time(cpu.usage),
        time(cpu.user),
        time(cpu.system)
    )];
    match cpu.quota.zip((cpu.period > 0).then_some(cpu.period)) {
        Some((quota, period)) => {
            let share = percent(quota, period);
            lines.push(format!("at most {share} of a CPU: {} in every {}", time(quota), time(period)));
            lines.push(if cpu.throttled_periods == 0 {
                format!("never held back, in {}", counted(cpu.periods, "period"))
            } else {
                let share = percent(cpu.throttled_periods, cpu.periods);
                let (times, periods) = (cpu.throttled_periods, counted(cpu.periods, "period"));
                format!("held back for {}, in {times} of {periods} ({share})", time(cpu.throttled))
            });
        }
        None => lines.push("no limit".to_owned()),
    }
    lines
}

fn memory_lines(memory: &MemoryStats) -> Vec<String> {
    let peak = memory.peak.map(|peak| format!(", {} at most so far", size(peak))).unwrap_or_default();
    let mut lines = vec![format!(
        "{} used{peak}, {} of it file cache that can go",
        size(memory.usage),
        size(memory.usage.saturating_sub(memory.working_set)),
    )];
    lines.push(match memory.limit {
        Some(limit) if memory.limit_hits == 0 => format!("at most {}, never reached", size(limit)),
        Some(limit) => format!("at most {}, reached {}", size(limit), counted(memory.limit_hits, "time")),
        None => "no limit".to_owned(),
    });
    if memory.oom_kills > 0 {
        let killed = counted(memory.oom_kills, "process");
        lines.push(format!("the kernel killed {killed} for want of memory"));
    }
    if let Some(swap) = memory.swap.filter(|swap| *swap > 0) {
        lines.push(format!("{} swapped out", size(swap)));
    }
    lines
}

fn pids_lines(pids: &PidsStats) -> Vec<String> {
    let limit = pids.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {limit}"));
    let mut lines = vec![format!("{}, {limit}", counted(pids.current, "process"))];
    if pids.refused > 0 {
        lines.push(format!("{} refused", counted(pids.refused, "fork")));
    }
    lines
}

fn io_line(device: &str, io: &IoStats) -> String {
    format!(
        "{device}: {} read in {}, {} written in {}",
        size(io.read_bytes),
        counted(io.read_operations, "operation"),
        size(io.write_bytes),
        counted(io.write_operations, "operation"),
    )
}

fn hugetlb_line(page: &str, pages: &HugetlbStats) -> String {
    let limit = pages.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("at most {}", size(limit)));
    format!(
        "{page} pages: {} used, {limit}, refused {}",
        size(pages.usage),
        counted(pages.limit_hits, "time")
    )
}

/// `1 process`, `2 processes`.
pub fn counted(count: u64, noun: &str) -> String {
    let ending = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {noun}{ending}")
}

/// A time in the unit that people would use, to three digits or so.
fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0 => "0 s".to_owned(),
        1..1_000_000 => format!("{} µs", tenths(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => format!("{} ms", tenths(nanoseconds, 1_000_000)),
        1_000_000_000..120_000_000_000 => format!("{} s", tenths(nanoseconds, 1_000_000_000)),
        more => format!("{} min {} s", more / 60_000_000_000, more / 1_000_000_000 % 60),
    }
}

/// A size in binary units.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{} {unit}", tenths(bytes, 1 << shift)),
        None => format!("{bytes} B"),
    }
}

/// `value / unit` with one digit after the point, unless that is 0.
fn tenths(value: u64, unit: u64) -> String {
    let tenths = u128::from(value) * 10 / u128::from(unit);
    if tenths.is_multiple_of(10) {
        format!("{}", tenths / 10)
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0%".to_owned();
    }
    format!("{}%", (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_group_says_so_in_words() {
        let cpu = CpuStats {
            usage: 1_500_000_000,
            user: 1_400_000_000,
            system: 100_000_000,
            periods: 30,
            throttled_periods: 29,
            throttled: 1_450_000_000,
            quota: Some(50_000_000),
            period: 100_000_000,
        };
        let memory = MemoryStats {
            usage: 200 << 20,
            working_set: 150 << 20,
            peak: Some(256 << 20),
            limit: Some(256 << 20),
            limit_hits: 3,
            swap: Some(0),
            oom_kills: 1,
        };
        let pids = PidsStats { current: 1, limit: Some(50), refused: 2 };
        let stats = Stats { cpu: Some(cpu), memory: Some(memory), pids: Some(pids), ..Stats::default() };
        assert_eq!(
            words(&stats),
            "\
cpu      1.5 s used, 1.4 s of it in programs and 100 ms in the kernel
         at most 50% of a CPU: 50 ms in every 100 ms
         held back for 1.4 s, in 29 of 30 periods (97%)
memory   200 MiB used, 256 MiB at most so far, 50 MiB of it file cache that can go
         at most 256 MiB, reached 3 times
         the kernel killed 1 process for want of memory
pids     1 process, at most 50
         2 forks refused
"
        );
    }

    #[test]
    fn an_unlimited_group_says_that_too() {
        let stats = Stats { cpu: Some(CpuStats::default()), ..Stats::default() };
        assert_eq!(
            words(&stats),
            "cpu   0 s used, 0 s of it in programs and 0 s in the kernel\n      no limit\n"
        );
    }

    #[test]
    fn times_and_sizes_have_units_that_people_use() {
        assert_eq!([time(1_500), time(2_500_000), time(150_000_000_000)], ["1.5 µs", "2.5 ms", "2 min 30 s"]);
        assert_eq!(
            [size(0), size(1023), size(1536), size(u64::MAX)],
            ["0 B", "1023 B", "1.5 KiB", "16777215.9 TiB"]
        );
    }
}
