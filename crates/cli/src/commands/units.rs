//! Sizes and times in the words of Docker's tables.

use jiff::Timestamp;

/// A size in decimal units with four significant digits: `13.3kB`, `1.02GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while unit + 1 < UNITS.len() && bytes / divisor >= 1000 {
        divisor *= 1000;
        unit += 1;
    }
    // Go prints `%.4g`: four digits, without zeros at the end of the fraction.
    let whole = bytes / divisor;
    let digits = match whole {
        0..=9 => 3,
        10..=99 => 2,
        _ => 1,
    };
    let scale = 10_u64.pow(digits);
    let rounded = (u128::from(bytes) * u128::from(scale) + u128::from(divisor / 2)) / u128::from(divisor);
    let (whole, fraction) = (rounded / u128::from(scale), rounded % u128::from(scale));
    let fraction = format!("{fraction:0width$}", width = digits as usize);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{}", UNITS[unit]),
        fraction => format!("{whole}.{fraction}{}", UNITS[unit]),
    }
}

/// How long ago `then` was: `About an hour ago`, `3 weeks ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    format!("{} ago", span(u64::try_from(seconds).unwrap_or(0)))
}

/// A time span: `HumanDuration` of go-units.
pub fn span(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds.saturating_add(1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_docker() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (13_256, "13.26kB"),
            (1_840_000, "1.84MB"),
            (77_800_000, "77.8MB"),
            (123_456_789, "123.5MB"),
            (1_015_000_000, "1.015GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_those_of_docker() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        for (seconds, text) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (180, "3 minutes ago"),
            (3600, "About an hour ago"),
            (7200, "2 hours ago"),
            (3 * 86_400, "3 days ago"),
            (15 * 86_400, "2 weeks ago"),
            (70 * 86_400, "2 months ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            let then = Timestamp::from_second(2_000_000_000 - seconds).unwrap();
            assert_eq!(ago(then, now), text, "{seconds}");
        }
        let future = Timestamp::from_second(2_000_000_100).unwrap();
        assert_eq!(ago(future, now), "Less than a second ago");
    }
}
