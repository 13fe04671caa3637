//! Signals by name: `SIGTERM`, `term`, `15`, `RTMIN+3`. See `signal(7)`.

/// The signals of x86-64 and aarch64, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for some of them.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first real-time signal that programs may use: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;

/// The last one.
const RTMAX: i32 = crate::signal::LAST;

/// The number of the signal that is written as `text`.
pub fn parse(text: &str) -> Option<i32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (1..=RTMAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = (1..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number);
    let alias = || ALIASES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number.or_else(alias).or_else(|| parse_real_time(name))
}

fn parse_real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i32>().ok(),
        Some(_) => None,
        None => rest.is_empty().then_some(0),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (None, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?)?,
        (None, None) => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// The name of signal `number`, without `SIG`; real-time signals and numbers that are no signals have none.
pub fn name(number: i32) -> Option<&'static str> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    NAMES.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_aliases_are_understood() {
        for (text, number) in [("SIGKILL", 9), ("kill", 9), ("9", 9), ("sigio", 29), ("POLL", 29), ("64", 64)]
        {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for (text, number) in [("RTMIN", 34), ("SIGRTMIN+3", 37), ("rtmax-1", 63), ("RTMAX", 64)] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIG", "SIGFOO", "-9", "RTMIN-1", "RTMIN+99", "RTMAX-", "RTMIN+x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_table_agrees_with_the_c_library() {
        for (number, name) in
            [(libc::SIGHUP, "HUP"), (libc::SIGTERM, "TERM"), (libc::SIGCHLD, "CHLD"), (libc::SIGSYS, "SYS")]
        {
            assert_eq!(super::name(number), Some(name));
            assert_eq!(parse(name), Some(number));
        }
        assert_eq!((name(0), name(32), name(i32::MIN)), (None, None, None));
    }
}
