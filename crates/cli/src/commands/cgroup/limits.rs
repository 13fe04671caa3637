//! `KEY=VALUE` words to [`Resources`]: one syntax for v1 and v2.

use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{major, minor};
use skiff_cgroup::{DeviceNumber, DeviceRule, Idle, Limit, OomKill, Rate, Resources, Throttle};

use crate::error::{CliError, Doing as _};

/// The keys, for `--help`.
pub const HELP: &str = "\
Limits (K, M, G are powers of 1024; `max` takes a limit away):
  cpu=50% | cpu=0.5        CPU time: a part of one CPU, or more than one (200%)
  cpu.quota= cpu.period=   the same in microseconds; also cpu.burst=
  cpu.shares=512           weight against others (1024 is usual)    cpu.idle=1
  cpu.rt-runtime= cpu.rt-period=   real-time budget in microseconds (cgroup v1)
  cpus=0-1,3  mems=0       which CPUs and memory nodes
  memory=256M              kills when it is not enough
  memory.swap=512M         memory and swap together, as with Docker
  memory.reservation=128M  memory.high=200M (cgroup v2)
  memory.swappiness=10  memory.oom-kill=off     (cgroup v1)
  pids=50                  processes and threads
  io.rbps=/dev/sda:10M     bytes read a second; io.wbps=, io.riops=, io.wiops=
  io.weight=500            weight against others; io.weight=/dev/sda:300
  devices=default          the devices of containers; `all` or `none`
  devices.allow='c 10:200 rw'  devices.deny='b 8:* w'    in the order given
  hugetlb.2MB=64M          huge pages
  net.class=10:1           class of packets for tc; net.prio=eth0:5
  v2.FILE=VALUE            any file of cgroup v2, such as v2.memory.low=64M

Example: skiff cgroup create mygroup cpu=50% memory=256M -x";

/// A quota of half a CPU is 50 ms in every 100 ms.
const PERIOD: u64 = 100_000;

/// The shortest quota that the kernel takes.
const LEAST_QUOTA: u64 = 1_000;

/// Limits as they were typed, understood.
#[derive(Debug, Default)]
pub struct Limits {
    resources: Resources,
}

impl Limits {
    /// Understands `words`. Later ones override earlier ones of the same key.
    pub fn parse(words: &[String]) -> Result<Self, CliError> {
        let mut limits = Self::default();
        for word in words {
            limits.word(word).doing(format_args!("limit `{word}`"))?;
        }
        Ok(limits)
    }

    /// What they mean.
    pub const fn resources(&self) -> &Resources {
        &self.resources
    }

    fn word(&mut self, word: &str) -> Result<(), CliError> {
        let Some((key, value)) = word.split_once('=') else {
            return Err(
                CliError::message("it has no `=`").with_hint("a limit is KEY=VALUE, such as `memory=256M`")
            );
        };
        if value.is_empty() {
            return Err(CliError::message(format!("`{key}` has no value")));
        }
        match key.split_once('.') {
            None => self.simple(key, value),
            Some(("cpu", key)) => self.cpu(key, value),
            Some(("memory", key)) => self.memory(key, value),
            Some(("io", key)) => self.io(key, value),
            Some(("devices", key)) => self.device_rule(key, value),
            Some(("net", key)) => self.network(key, value),
            Some(("hugetlb", size)) => {
                let limit = match size_limit(value)? {
                    Limit::At(limit) => limit,
                    // The kernel rounds down to what its counters hold.
                    Limit::Unlimited => i64::MAX.unsigned_abs(),
                };
                self.resources.hugetlb.insert(skiff_cgroup::page_size(size)?, limit);
                Ok(())
            }
            Some(("v2", file)) => {
                self.resources.unified.insert(skiff_cgroup::unified_file(file)?, value.to_owned());
                Ok(())
            }
            Some(_) => Err(unknown(key)),
        }
    }

    fn simple(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let resources = &mut self.resources;
        match key {
            "cpu" => {
                resources.cpu.quota = Some(cpu_time(value)?);
                resources.cpu.period = Some(PERIOD);
            }
            "cpus" => resources.cpuset.cpus = Some(skiff_cgroup::cpu_list("CPU list", value)?),
            "mems" => resources.cpuset.mems = Some(skiff_cgroup::cpu_list("memory node list", value)?),
            "memory" => resources.memory.limit = Some(size_limit(value)?),
            "pids" => resources.pids = Some(count_limit(value)?),
            "devices" => {
                resources.devices = match value {
                    "none" => vec![DeviceRule::DENY_ALL],
                    "default" => [DeviceRule::DENY_ALL].into_iter().chain(DeviceRule::DEFAULTS).collect(),
                    "all" => vec![DeviceRule::ALLOW_ALL],
                    _ => return Err(CliError::message("it is `none`, `default` or `all`")),
                };
            }
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    fn cpu(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let cpu = &mut self.resources.cpu;
        match key {
            "quota" => cpu.quota = Some(count_limit(value)?),
            "period" => cpu.period = Some(number(value)?),
            "burst" => cpu.burst = Some(number(value)?),
            "shares" | "weight" => cpu.shares = Some(number(value)?),
            "rt-runtime" => {
                cpu.realtime_runtime =
                    Some(value.parse().map_err(|_| CliError::message("it is no whole number"))?);
            }
            "rt-period" => cpu.realtime_period = Some(number(value)?),
            "idle" => {
                cpu.idle = Some(match value {
                    "1" => Idle::Idle,
                    "0" => Idle::Normal,
                    _ => return Err(CliError::message("it is 0 or 1")),
                });
            }
            _ => return Err(unknown(&format!("cpu.{key}"))),
        }
        Ok(())
    }

    fn memory(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let memory = &mut self.resources.memory;
        match key {
            "swap" => memory.swap = Some(size_limit(value)?),
            "reservation" => memory.reservation = Some(size_limit(value)?),
            "high" => memory.high = Some(size_limit(value)?),
            "swappiness" => {
                let swappiness = number(value)?;
                if swappiness > 100 {
                    return Err(CliError::message("it is 0 to 100"));
                }
                memory.swappiness = Some(swappiness);
            }
            "oom-kill" => {
                memory.oom_kill = Some(match value {
                    "on" => OomKill::Enabled,
                    "off" => OomKill::Disabled,
                    _ => return Err(CliError::message("it is `on` or `off`")),
                });
            }
            _ => return Err(unknown(&format!("memory.{key}"))),
        }
        Ok(())
    }

    fn io(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let io = &mut self.resources.io;
        let rate = match key {
            "rbps" => Rate::ReadBytes,
            "wbps" => Rate::WriteBytes,
            "riops" => Rate::ReadOperations,
            "wiops" => Rate::WriteOperations,
            "weight" => {
                match value.rsplit_once(':') {
                    None => io.weight = Some(skiff_cgroup::io_weight(small(value)?)?),
                    Some((device, weight)) => {
                        io.weight_device.push((disk(device)?, skiff_cgroup::io_weight(small(weight)?)?));
                    }
                }
                return Ok(());
            }
            _ => return Err(unknown(&format!("io.{key}"))),
        };
        let Some((device, limit)) = value.rsplit_once(':') else {
            return Err(CliError::message("it names no disk")
                .with_hint(format!("such as `io.{key}=/dev/sda:{value}`")));
        };
        let limit = match rate {
            Rate::ReadBytes | Rate::WriteBytes => size_limit(limit)?,
            Rate::ReadOperations | Rate::WriteOperations => count_limit(limit)?,
        };
        if limit == Limit::At(0) {
            return Err(
                CliError::message("nothing at all is no rate").with_hint("`max` takes the limit away")
            );
        }
        io.throttle.push(Throttle { device: disk(device)?, rate, limit });
        Ok(())
    }

    fn device_rule(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let rule: DeviceRule = value.parse()?;
        let allow = match key {
            "allow" => true,
            "deny" => false,
            _ => return Err(unknown(&format!("devices.{key}"))),
        };
        self.resources.devices.push(DeviceRule { allow, ..rule });
        Ok(())
    }

    fn network(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        match key {
            "class" => self.resources.net_class = Some(net_class(value)?),
            "prio" => {
                let Some((interface, priority)) = value.rsplit_once(':') else {
                    return Err(
                        CliError::message("it names no interface").with_hint("such as `net.prio=eth0:5`")
                    );
                };
                let priority =
                    priority.parse().map_err(|_| CliError::message("the priority is no number"))?;
                self.resources
                    .net_priorities
                    .insert(skiff_cgroup::one_word("network interface", interface)?, priority);
            }
            _ => return Err(unknown(&format!("net.{key}"))),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> CliError {
    CliError::message(format!("there is no limit `{key}`"))
        .with_hint("`skiff cgroup set --help` lists them; any file of cgroup v2 is `v2.FILE=VALUE`")
}

/// Microseconds in every [`PERIOD`], from `50%`, `0.5` or `max`.
fn cpu_time(text: &str) -> Result<Limit, CliError> {
    if is_unlimited(text) {
        return Ok(Limit::Unlimited);
    }
    let wrong = || CliError::message("it is a share such as `50%`, or a number of CPUs such as `0.5`");
    // Both as millionths of a CPU.
    let millionths = match text.strip_suffix('%') {
        Some(percent) => decimal(percent, 6).map(|millionths| millionths / 100),
        None => decimal(text, 6),
    };
    let quota =
        millionths.and_then(|millionths| millionths.checked_mul(PERIOD)).ok_or_else(wrong)? / 1_000_000;
    if quota < LEAST_QUOTA {
        return Err(CliError::message("the kernel gives no less than 1% of a CPU"));
    }
    Ok(Limit::At(quota))
}

/// Bytes, with or without a unit.
fn size_limit(text: &str) -> Result<Limit, CliError> {
    if is_unlimited(text) {
        return Ok(Limit::Unlimited);
    }
    let wrong = || CliError::message("it is a size such as `256M`, with K, M, G or T for powers of 1024");
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match digits.as_bytes().last() {
        Some(b'k') => (digits.strip_suffix('k'), 10),
        Some(b'm') => (digits.strip_suffix('m'), 20),
        Some(b'g') => (digits.strip_suffix('g'), 30),
        Some(b't') => (digits.strip_suffix('t'), 40),
        _ => (Some(digits), 0),
    };
    let thousandths = digits.and_then(|digits| decimal(digits, 3)).ok_or_else(wrong)?;
    let bytes = (u128::from(thousandths) << shift) / 1000;
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok()).map(Limit::At).ok_or_else(wrong)
}

fn count_limit(text: &str) -> Result<Limit, CliError> {
    if is_unlimited(text) { Ok(Limit::Unlimited) } else { number(text).map(Limit::At) }
}

fn is_unlimited(text: &str) -> bool {
    matches!(text, "max" | "unlimited" | "-1")
}

fn number(text: &str) -> Result<u64, CliError> {
    let wrong = || CliError::message("it is no whole number");
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

fn small(text: &str) -> Result<u16, CliError> {
    u16::try_from(number(text)?).map_err(|_| CliError::message("the number is too large"))
}

/// A decimal number in units of 10^-`places`; what is finer is cut off.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let padded = format!("{whole}{fraction:0<places$}");
    padded.get(..whole.len() + places)?.parse().ok()
}

/// A disk by its path in /dev, or by its numbers.
fn disk(text: &str) -> Result<DeviceNumber, CliError> {
    if let Some((major, minor)) = text.split_once(':')
        && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
    {
        return Ok(DeviceNumber { major, minor });
    }
    let found = std::fs::metadata(text).doing(format_args!("look at {text}"))?;
    if !found.file_type().is_block_device() {
        return Err(CliError::message(format!("{text} is no disk")).with_hint("`lsblk` lists disks"));
    }
    Ok(DeviceNumber { major: major(found.rdev()), minor: minor(found.rdev()) })
}

/// `10:1` as `tc` writes a class (hexadecimal), or the whole number, `0x100001`.
fn net_class(text: &str) -> Result<u32, CliError> {
    let wrong = || CliError::message("it is a class such as `10:1`, or a number such as `0x100001`");
    let hexadecimal = |text: &str| u16::from_str_radix(text, 16).ok();
    if let Some((major, minor)) = text.split_once(':') {
        let (major, minor) = hexadecimal(major).zip(hexadecimal(minor)).ok_or_else(wrong)?;
        return Ok(u32::from(major) << 16 | u32::from(minor));
    }
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).map_err(|_| wrong()),
        None => text.parse().map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Resources {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Limits::parse(&words).unwrap().resources
    }

    fn refused(word: &str) -> bool {
        Limits::parse(&[word.to_owned()]).is_err()
    }

    #[test]
    fn half_a_cpu_has_three_spellings() {
        for word in ["cpu=50%", "cpu=0.5", "cpu=.5"] {
            let cpu = parsed(&[word]).cpu;
            assert_eq!((cpu.quota, cpu.period), (Some(Limit::At(50_000)), Some(100_000)), "{word}");
        }
        assert_eq!(parsed(&["cpu=250%"]).cpu.quota, Some(Limit::At(250_000)));
        assert_eq!(parsed(&["cpu=12.5%"]).cpu.quota, Some(Limit::At(12_500)));
        assert_eq!(parsed(&["cpu=max"]).cpu.quota, Some(Limit::Unlimited));
        let quota = parsed(&["cpu.quota=50000", "cpu.period=100000"]).cpu;
        assert_eq!((quota.quota, quota.period), (Some(Limit::At(50_000)), Some(100_000)));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let limit = |text: &str| parsed(&[&format!("memory={text}")]).memory.limit.unwrap();
        assert_eq!(limit("256M"), Limit::At(256 << 20));
        assert_eq!(limit("256MiB"), Limit::At(256 << 20));
        assert_eq!(limit("10mb"), Limit::At(10 << 20));
        assert_eq!(limit("1.5G"), Limit::At(3 << 29));
        assert_eq!(limit("4096"), Limit::At(4096));
        assert_eq!(limit("max"), Limit::Unlimited);
    }

    #[test]
    fn every_key_reaches_its_limit() {
        let resources = parsed(&[
            "cpu.shares=512",
            "cpus=0-1",
            "mems=0",
            "memory.swap=1G",
            "memory.oom-kill=off",
            "pids=50",
            "io.rbps=8:0:10M",
            "io.wiops=8:16:100",
            "io.weight=500",
            "io.weight=8:0:300",
            "devices=none",
            "devices.allow=c 1:3 rw",
            "hugetlb.2MB=64M",
            "net.class=10:1",
            "net.prio=eth0:5",
            "v2.memory.low=1M",
        ]);
        assert_eq!(resources.cpu.shares, Some(512));
        assert_eq!(resources.cpuset.cpus.as_deref(), Some("0-1"));
        assert_eq!(resources.memory.oom_kill, Some(OomKill::Disabled));
        assert_eq!(resources.pids, Some(Limit::At(50)));
        let disk = DeviceNumber { major: 8, minor: 16 };
        assert_eq!(
            resources.io.throttle[1],
            Throttle { device: disk, rate: Rate::WriteOperations, limit: Limit::At(100) }
        );
        assert_eq!(resources.io.weight_device.len(), 1);
        assert_eq!(resources.devices.len(), 2);
        assert!(!resources.devices[0].allow && resources.devices[1].allow);
        assert_eq!(resources.hugetlb["2MB"], 64 << 20);
        assert_eq!(resources.net_class, Some(0x10_0001));
        assert_eq!(resources.net_priorities["eth0"], 5);
        assert_eq!(resources.unified["memory.low"], "1M");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for word in [
            "cpu",
            "cpu=",
            "cpu=0",
            "cpu=0.001",
            "cpu=half",
            "cpu=-1%",
            "cpus=x",
            "memory=1X",
            "memory=99999999T",
            "memroy=1M",
            "pids=1.5",
            "pids=-5",
            "io.rbps=10M",
            "io.rbps=/dev/null:10M",
            "io.rbps=/nowhere:10M",
            "io.rbps=8:0:0",
            "io.weight=5",
            "devices=some",
            "devices.allow=x",
            "hugetlb.../x=1M",
            "v2.../x=1",
            "net.class=10:x",
            "net.prio=eth0",
        ] {
            assert!(refused(word), "{word}");
        }
    }
}
