//! Waiting for the kernel where it has nothing to wait on: v1 tells nobody when a group is empty or frozen.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The first pause; a process that is dying needs about as long.
const FIRST_NANOSECONDS: i64 = 50_000;
/// The longest pause.
const LAST_NANOSECONDS: i64 = 10_000_000;

/// Pauses that get longer, up to a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    until: i128,
    pause: i64,
}

impl Backoff {
    /// Pauses for at most `milliseconds` altogether.
    pub(crate) fn new(milliseconds: u64) -> Self {
        Self { until: now() + i128::from(milliseconds) * 1_000_000, pause: FIRST_NANOSECONDS }
    }

    /// Pauses once; false when the time is over.
    pub(crate) fn pause(&mut self) -> bool {
        if now() >= self.until {
            return false;
        }
        // Woken early or not, the caller looks again; the deadline is checked by the clock.
        let _early_or_not = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: self.pause });
        self.pause = (self.pause * 2).min(LAST_NANOSECONDS);
        true
    }
}

/// Nanoseconds of the clock that nobody sets.
fn now() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_at_the_deadline() {
        let mut backoff = Backoff::new(20);
        let pauses = std::iter::from_fn(|| backoff.pause().then_some(())).count();
        assert!((3..100).contains(&pauses), "{pauses}");
    }
}
