//! The values of `run`'s flags: pure functions from the text to what it means.
//!
//! They follow Docker's spellings, sizes after its `go-units`: `64m` is 64 MiB, with or without `b` or `ib` after
//! the letter, and fractions are allowed.

use std::path::PathBuf;

use skiff_engine::request::{
    CapabilityWish, ClockOffset, DeviceNode, DeviceRate, DeviceRule, DeviceWeight, InterfacePriority,
    IpcMode, PidsLimit, Sharing, Swap, Ulimit,
};

/// Why a value means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a size.
    #[error("a size is a number with b, k, m, g or t behind it, such as 64m")]
    Size,
    /// Larger than anything.
    #[error("the number is too large")]
    TooLarge,
    /// Not a number.
    #[error("a whole number is needed")]
    Number,
    /// Neither yes nor no.
    #[error("it is `true` or `false`")]
    Truth,
    /// Not a number of processes.
    #[error("a number of processes is needed, or -1 for no limit")]
    Processes,
    /// Not a number of processors.
    #[error("a number of processors such as 0.5 is needed, with at most nine decimals")]
    Cpus,
    /// Not a duration.
    #[error("a duration is a number of seconds, or one with units, such as 90, -3600 or 1h30m")]
    Duration,
    /// Not `name=value`.
    #[error("NAME=VALUE is needed")]
    Pair,
    /// Not a ulimit.
    #[error("NAME=SOFT[:HARD] is needed, such as nofile=1024:2048; -1 is no limit")]
    Ulimit,
    /// Not a device and its limit.
    #[error("a device and its limit are needed, such as {0}")]
    DeviceLimit(&'static str),
    /// Not a device.
    #[error("HOST[:CONTAINER[:rwm]] is needed, such as /dev/fuse or /dev/sda:/dev/disk:r")]
    Device,
    /// A name of the Container Device Interface.
    #[error("device names of the Container Device Interface can't be used yet; give a path below /dev")]
    DeviceInterface,
    /// Not a device rule.
    #[error("TYPE MAJOR:MINOR ACCESS is needed, such as \"c 189:* rmw\"")]
    DeviceRule,
    /// Not a class of packets.
    #[error("a class is a number such as 0x100001, or two hexadecimal ones such as 10:1")]
    NetClass,
    /// Not an interface and its priority.
    #[error("INTERFACE:PRIORITY is needed, such as eth0:5")]
    NetPriority,
    /// Not a mode of a namespace.
    #[error("{0} is needed")]
    Sharing(&'static str),
    /// Another container's namespace.
    #[error("namespaces of other containers can't be joined yet: use ns:/proc/PID/ns/{0}")]
    JoinContainer(&'static str),
    /// A network that isn't there.
    #[error("there are no networks yet: `none`, `host` or `ns:PATH` is needed")]
    NoNetworks,
    /// A relative path of a namespace.
    #[error("the path after `ns:` must be absolute")]
    RelativeNamespace,
}

/// A number, in the words of this module where it is none.
pub fn whole<T: std::str::FromStr>(text: &str) -> Result<T, ValueError> {
    text.parse().map_err(|_| ValueError::Number)
}

/// Go's booleans.
pub fn truth(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::Truth),
    }
}

/// Bytes: `1048576`, `10m`, `1.5g`, `2 GiB`.
pub fn bytes(text: &str) -> Result<u64, ValueError> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let endings = ["ib", "b", "i"];
    let letter = endings.iter().find_map(|ending| unit.strip_suffix(ending)).unwrap_or(&unit);
    let shift = match letter {
        "" if unit.is_empty() || unit == "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(ValueError::Size),
    };
    scaled(number, 1_u128 << shift).ok_or(ValueError::Size)?.try_into().map_err(|_| ValueError::TooLarge)
}

/// `number`, whole or decimal, times `unit`, rounded down.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 18 {
        return None;
    }
    let tenths = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = fraction.parse::<u128>().ok()?.checked_mul(unit)? / tenths;
    whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(parts)
}

/// `--memory-swap`: bytes, or `-1`.
pub fn swap(text: &str) -> Result<Swap, ValueError> {
    if text == "-1" { Ok(Swap::Unlimited) } else { bytes(text).map(Swap::Bytes) }
}

/// `--memory-swappiness`: -1 leaves it to the system.
pub fn swappiness(text: &str) -> Result<i64, ValueError> {
    let value: i64 = text.parse().map_err(|_| ValueError::Number)?;
    if value < -1 { Err(ValueError::Number) } else { Ok(value) }
}

/// `--cpus`, in billionths.
pub fn cpus(text: &str) -> Result<u64, ValueError> {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals > 9 {
        return Err(ValueError::Cpus);
    }
    let number = if text.starts_with('.') { format!("0{text}") } else { text.to_owned() };
    let nanos = scaled(&number, 1_000_000_000).ok_or(ValueError::Cpus)?;
    nanos.try_into().map_err(|_| ValueError::TooLarge)
}

/// `--pids-limit`: 0 and -1 mean none.
pub fn pids(text: &str) -> Result<PidsLimit, ValueError> {
    match text.parse::<i64>().map_err(|_| ValueError::Processes)? {
        -1 | 0 => Ok(PidsLimit::Unlimited),
        limit => limit.try_into().map(PidsLimit::Processes).map_err(|_| ValueError::Processes),
    }
}

/// Seconds with decimals, or a Go duration such as `-1h30m`.
pub fn offset(text: &str) -> Result<ClockOffset, ValueError> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = match scaled(rest, NANOS) {
        Some(nanos) => nanos,
        None => duration(rest).ok_or(ValueError::Duration)?,
    };
    let nanos = i128::try_from(nanos).map_err(|_| ValueError::TooLarge)?;
    let nanos = if negative { -nanos } else { nanos };
    let second = i128::try_from(NANOS).map_err(|_| ValueError::TooLarge)?;
    let seconds = i64::try_from(nanos.div_euclid(second)).map_err(|_| ValueError::TooLarge)?;
    let nanoseconds = u32::try_from(nanos.rem_euclid(second)).map_err(|_| ValueError::TooLarge)?;
    Ok(ClockOffset { seconds, nanoseconds })
}

/// Nanoseconds in a second.
const NANOS: u128 = 1_000_000_000;

/// Numbers with units, one after the other: `1h30m`, `1.5s`.
fn duration(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut total = 0_u128;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters =
            after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3600 * NANOS,
            "d" => 86_400 * NANOS,
            _ => return None,
        };
        total = total.checked_add(scaled(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// `NAME=VALUE`; a name alone has an empty value.
pub fn label(text: &str) -> Result<(String, String), ValueError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() { Err(ValueError::Pair) } else { Ok((name.to_owned(), value.to_owned())) }
}

/// `NAME=VALUE`, both of them.
pub fn pair(text: &str) -> Result<(String, String), ValueError> {
    if text.contains('=') { label(text) } else { Err(ValueError::Pair) }
}

/// `nofile=1024:2048`.
pub fn ulimit(text: &str) -> Result<Ulimit, ValueError> {
    let (name, limits) = text.split_once('=').ok_or(ValueError::Ulimit)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        number => number.parse().map(Some).map_err(|_| ValueError::Ulimit),
    };
    Ok(Ulimit { name: name.to_owned(), soft: limit(soft)?, hard: limit(hard)? })
}

/// `/dev/sda:10mb`: bytes a second.
pub fn byte_rate(text: &str) -> Result<DeviceRate, ValueError> {
    let (device, rate) = device_limit(text, "/dev/sda:10mb")?;
    Ok(DeviceRate { device, rate: bytes(rate)? })
}

/// `/dev/sda:1000`: operations a second.
pub fn operation_rate(text: &str) -> Result<DeviceRate, ValueError> {
    let (device, rate) = device_limit(text, "/dev/sda:1000")?;
    Ok(DeviceRate { device, rate: rate.parse().map_err(|_| ValueError::Number)? })
}

/// `/dev/sda:500`: a share of the disk's time.
pub fn device_weight(text: &str) -> Result<DeviceWeight, ValueError> {
    let (device, weight) = device_limit(text, "/dev/sda:500")?;
    Ok(DeviceWeight { device, weight: weight.parse().map_err(|_| ValueError::Number)? })
}

fn device_limit<'a>(text: &'a str, example: &'static str) -> Result<(PathBuf, &'a str), ValueError> {
    match text.rsplit_once(':') {
        Some((device, limit)) if device.starts_with('/') && !limit.is_empty() => {
            Ok((PathBuf::from(device), limit))
        }
        _ => Err(ValueError::DeviceLimit(example)),
    }
}

/// `/dev/fuse`, `/dev/sda:/dev/disk`, `/dev/sda:r`, `/dev/sda:/dev/disk:r`.
pub fn device(text: &str) -> Result<DeviceNode, ValueError> {
    if !text.starts_with('/') {
        let is_cdi = text.contains('=') && text.contains('/');
        return Err(if is_cdi { ValueError::DeviceInterface } else { ValueError::Device });
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] if target.starts_with('/') => (*source, *target, "rwm"),
        [source, access] => (*source, *source, *access),
        [source, target, access] => (*source, *target, *access),
        _ => return Err(ValueError::Device),
    };
    let is_access = !access.is_empty() && access.chars().all(|letter| "rwm".contains(letter));
    if source.is_empty() || !target.starts_with('/') || !is_access {
        return Err(ValueError::Device);
    }
    Ok(DeviceNode { source: PathBuf::from(source), target: target.to_owned(), access: access.to_owned() })
}

/// `c 189:* rmw`.
pub fn device_rule(text: &str) -> Result<DeviceRule, ValueError> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = parts.as_slice() else { return Err(ValueError::DeviceRule) };
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| ValueError::DeviceRule),
    };
    let (major, minor) = numbers.split_once(':').ok_or(ValueError::DeviceRule)?;
    let is_access =
        !access.is_empty() && access.len() <= 3 && access.chars().all(|letter| "rwm".contains(letter));
    match kind.chars().next() {
        Some(letter @ ('a' | 'b' | 'c')) if kind.len() == 1 && is_access => Ok(DeviceRule {
            kind: letter,
            major: number(major)?,
            minor: number(minor)?,
            access: (*access).to_owned(),
        }),
        _ => Err(ValueError::DeviceRule),
    }
}

/// `ALL`, `NET_ADMIN`, `CAP_NET_ADMIN`; names are checked when the container is planned.
pub fn capability(text: &str) -> Result<CapabilityWish, ValueError> {
    Ok(if text.eq_ignore_ascii_case("ALL") {
        CapabilityWish::All
    } else {
        CapabilityWish::Named(text.to_owned())
    })
}

/// `0x100001`, `1048577`, or `10:1` as `tc` writes it.
pub fn net_class(text: &str) -> Result<u32, ValueError> {
    let hex = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| ValueError::NetClass);
    match (text.split_once(':'), text.strip_prefix("0x")) {
        (Some((major, minor)), _) => match (hex(major)?, hex(minor)?) {
            (major @ 0..=0xffff, minor @ 0..=0xffff) => Ok(major << 16 | minor),
            _ => Err(ValueError::NetClass),
        },
        (None, Some(digits)) => hex(digits),
        (None, None) => text.parse().map_err(|_| ValueError::NetClass),
    }
}

/// `eth0:5`.
pub fn net_priority(text: &str) -> Result<InterfacePriority, ValueError> {
    let (interface, priority) = text.rsplit_once(':').ok_or(ValueError::NetPriority)?;
    if interface.is_empty() || interface.contains(char::is_whitespace) {
        return Err(ValueError::NetPriority);
    }
    let priority = priority.parse().map_err(|_| ValueError::NetPriority)?;
    Ok(InterfacePriority { interface: interface.to_owned(), priority })
}

/// A namespace that can be new, the host's, or one by path.
pub fn sharing(text: &str, kind: &'static str) -> Result<Sharing, ValueError> {
    match text {
        "" | "private" => Ok(Sharing::Private),
        "host" => Ok(Sharing::Host),
        _ => joined(text, kind)?
            .map(Sharing::Path)
            .ok_or(ValueError::Sharing("`private`, `host` or `ns:PATH`")),
    }
}

/// `--network`: the word for an empty namespace of one's own is `none`.
pub fn network(text: &str) -> Result<Sharing, ValueError> {
    match text {
        "none" | "private" => Ok(Sharing::Private),
        "host" => Ok(Sharing::Host),
        _ => joined(text, "net")?.map(Sharing::Path).ok_or(ValueError::NoNetworks),
    }
}

/// `--ipc`.
pub fn ipc(text: &str) -> Result<IpcMode, ValueError> {
    match text {
        "" | "shareable" => Ok(IpcMode::Shareable),
        "private" => Ok(IpcMode::Private),
        "none" => Ok(IpcMode::None),
        "host" => Ok(IpcMode::Host),
        _ => {
            let expected = ValueError::Sharing("`private`, `shareable`, `none`, `host` or `ns:PATH`");
            joined(text, "ipc")?.map(IpcMode::Path).ok_or(expected)
        }
    }
}

/// The path of `ns:PATH`; nothing where the text is something else.
pub fn joined(text: &str, kind: &'static str) -> Result<Option<PathBuf>, ValueError> {
    if text.starts_with("container:") {
        return Err(ValueError::JoinContainer(kind));
    }
    match text.strip_prefix("ns:") {
        Some(path) if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        Some(_) => Err(ValueError::RelativeNamespace),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
