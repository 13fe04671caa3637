//! The table, on stdout and in `bench/results`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::{CROWD, Samples, contenders::FLOOR};

/// Prints the table and keeps it as `results/DATE.md`.
pub fn write(
    samples: &[Samples],
    absent: &[(&str, String)],
    rounds: usize,
    crowds: usize,
) -> Result<(), String> {
    let floor = samples.iter().find(|one| one.name == FLOOR).ok_or("the floor itself doesn't run here")?;
    let mut text = format!(
        "# Starts of containers, {}\n\n{}\n\n\
         Start, `/bin/true`, clean-up. Medians of {rounds} single starts and {crowds} crowds of {CROWD} started at once; all \
         contenders in turn, in one run. × is the ratio to the floor, which does the kernel's part alone (`bench/floor.c`).\n\n\
         | | one: ms | least | × | {CROWD} at once: ms | per container | × |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        said(&["date", "-u", "+%F %H:%M UTC"]),
        machine(),
    );
    for one in samples {
        let (single, crowd) = (median(&one.single), median(&one.crowd));
        let ratio = |value: f64, base: f64| {
            if base > 0.0 { format!("{:.2}", value / base) } else { "–".to_owned() }
        };
        writeln!(
            text,
            "| {} | {single:.2} | {:.2} | {} | {crowd:.0} | {:.2} | {} |",
            one.name,
            one.single.iter().map(milliseconds).fold(f64::INFINITY, f64::min),
            ratio(single, median(&floor.single)),
            crowd / CROWD as f64,
            ratio(crowd, median(&floor.crowd)),
        )
        .map_err(|error| error.to_string())?;
    }
    for (name, reason) in absent {
        writeln!(text, "| {name} | absent: {reason} | | | | | |").map_err(|error| error.to_string())?;
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("results")
        .join(format!("{}.md", said(&["date", "-u", "+%F"])));
    std::fs::write(&path, text).map_err(|error| format!("write {}: {error}", path.display()))
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor");
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let versions: Vec<String> = [
        &["bwrap", "--version"][..],
        &["crun", "--version"],
        &["runc", "--version"],
        &["podman", "--version"],
        &["docker", "--version"],
    ]
    .iter()
    .map(|words| said(words))
    .filter(|version| !version.is_empty())
    .collect();
    format!(
        "{count} × {model}, Linux {}, cgroups {:?}. {}.",
        said(&["uname", "-r"]),
        skiff_e2e::Lane::current(),
        versions.join("; ")
    )
}

/// The first line that a command says; nothing where it isn't installed.
fn said(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(samples: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().map(milliseconds).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let of =
            |values: &[u64]| median(&values.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>());
        assert_eq!((of(&[]), of(&[3]), of(&[9, 1, 5]), of(&[4, 1, 2, 9])), (0.0, 3.0, 5.0, 3.0));
    }
}
