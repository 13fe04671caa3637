//! Deadlines, and waiting for descriptors until one: no test sleeps.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A point in time after which a wait is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `after` from now.
    pub fn after(after: Duration) -> Self {
        Self(Instant::now() + after)
    }

    /// How long there is left; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Asks `condition` again and again until it answers or the deadline passes.
    ///
    /// For facts that the kernel has no event for (a cgroup that becomes removable, a state in `/proc`). Where
    /// there is a pidfd or another descriptor, wait on that.
    pub fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = condition() {
                return Some(found);
            }
            if self.is_over() {
                return None;
            }
            pause(Duration::from_millis(2).min(self.left()));
        }
    }

    /// Waits until one of `fds` is readable (or hung up), or the deadline passes; says which are.
    pub fn readable(&self, fds: &[BorrowedFd<'_>]) -> Vec<bool> {
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        loop {
            match poll(&mut polled, Some(&timespec(self.left()))) {
                Ok(_) => return polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => panic!("poll: {errno}"),
            }
        }
    }
}

fn pause(time: Duration) {
    // An empty poll instead of a sleep: it only ever runs inside `until`, which re-checks its condition.
    if let Err(errno) = poll(&mut [], Some(&timespec(time))) {
        assert_eq!(errno, rustix::io::Errno::INTR, "poll");
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).expect("a test's deadline fits a timespec")
}
