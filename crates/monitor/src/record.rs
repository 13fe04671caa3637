//! What is written down about the end of a container that stays.

use serde::{Deserialize, Serialize};
use skiff_cgroup::Stats;
use skiff_sys::signal::Received;

use crate::End;

/// How a container ended, in its own directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The exit code; nothing when the monitor was killed, so that nobody knows it.
    pub exit_code: Option<u8>,
    /// The signal that killed its init.
    pub signal: Option<i32>,
    /// Why it could not be started, if so.
    pub error: Option<String>,
    /// What its cgroup had counted by then.
    pub counters: Option<Counters>,
    /// Nanoseconds since 1970.
    pub finished_at: u64,
    /// The last signal that was passed to it.
    pub last_signal: Option<LastSignal>,
}

/// The counters of a cgroup that tell why a container ended as it did. A number is missing where its
/// controller is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The most memory that it ever had, in bytes.
    pub memory_peak: Option<u64>,
    /// How often its CPU quota ran out.
    pub throttled_periods: Option<u64>,
    /// How long it was held back by the quota, in nanoseconds.
    pub throttled_nanoseconds: Option<u64>,
    /// How often a fork was refused by the limit of processes.
    pub forks_refused: Option<u64>,
}

impl From<&Stats> for Counters {
    fn from(stats: &Stats) -> Self {
        Self {
            oom_kills: stats.memory.map(|memory| memory.oom_kills),
            memory_peak: stats.memory.and_then(|memory| memory.peak),
            throttled_periods: stats.cpu.map(|cpu| cpu.throttled_periods),
            throttled_nanoseconds: stats.cpu.map(|cpu| cpu.throttled),
            forks_refused: stats.pids.map(|pids| pids.refused),
        }
    }
}

/// A signal and its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSignal {
    /// Its number.
    pub signal: i32,
    /// The sender's process id, 0 for the kernel (a key on a terminal).
    pub pid: i32,
    /// The sender's user.
    pub uid: u32,
}

impl ExitRecord {
    /// The record of an end at this moment.
    pub(crate) fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self {
            finished_at: seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
            ..Self::default()
        }
    }

    /// True when the kernel killed one of its processes for want of memory.
    pub fn oom_killed(&self) -> bool {
        self.counters.and_then(|counters| counters.oom_kills).is_some_and(|kills| kills > 0)
    }

    /// The same with how its init ended.
    pub(crate) fn with_end(mut self, end: End, last_signal: Option<Received>) -> Self {
        self.exit_code = Some(end.code());
        self.signal = match end {
            End::Exited(_) => None,
            End::Signalled(signal) => Some(signal),
        };
        self.last_signal =
            last_signal.map(|last| LastSignal { signal: last.signal, pid: last.pid, uid: last.uid });
        self
    }
}
