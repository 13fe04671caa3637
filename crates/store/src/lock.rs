//! Locks between processes: `flock(2)` on a file that says who took it.
//!
//! Invariant: a [`Lock`] that was given out is on a file that still has its name, so no two processes hold
//! "the same" lock on different files. It ends with the last process that has the descriptor; it is closed on
//! exec, and a fork shares it.

use crate::{Directory, Error};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::time::{ClockId, Timespec};
use skiff_sys::Errno;
use std::fmt;
use std::time::Duration;

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

/// How a lock is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With nobody.
    Exclusive,
    /// With others who ask for it shared.
    Shared,
}

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    Never,
    /// So long, and then [`Error::Locked`] names the holder: a command waits two seconds, tells the user
    /// who keeps it waiting, and comes back with [`Patience::Forever`].
    For(Duration),
    /// Until it is free.
    Forever,
}

/// Who holds a lock, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process that wrote itself into the file, and its name.
    pub process: Option<(u32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "process {pid} ({})", name.escape_debug()),
            None => f.write_str("another process"),
        }
    }
}

impl Lock {
    /// Takes the lock file `name` in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Locked`] when patience ends, [`Error::File`].
    pub fn acquire(dir: &Directory, name: &str, kind: Kind, patience: Patience) -> Result<Self, Error> {
        let failed = |what| Error::file(what, dir.path().join(name));
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir.fd(), name, flags, Mode::RUSR | Mode::WUSR)
                .map_err(failed("open lock"))?;
            if !take(&file, kind, patience).map_err(failed("lock"))? {
                return Err(Error::Locked { path: dir.path().join(name), holder: holder(&file) });
            }
            // Between opening and locking, the last holder may have removed the file and all around it.
            if rustix::fs::fstat(&file).map_err(failed("stat"))?.st_nlink > 0 {
                sign(&file).map_err(failed("write"))?;
                return Ok(Self { _file: file });
            }
        }
    }

    /// The lock that this descriptor holds already, for a process that got it from its parent.
    pub const fn from_held(file: OwnedFd) -> Self {
        Self { _file: file }
    }
}

/// Whether the lock was got in time.
fn take(file: &OwnedFd, kind: Kind, patience: Patience) -> Result<bool, Errno> {
    let (now, later) = match kind {
        Kind::Exclusive => (FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive),
        Kind::Shared => (FlockOperation::NonBlockingLockShared, FlockOperation::LockShared),
    };
    if patience == Patience::Forever {
        return retry_interrupted(|| rustix::fs::flock(file, later)).map(|()| true);
    }
    let limit = if let Patience::For(limit) = patience { limit } else { Duration::ZERO };
    let start = elapsed();
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::fs::flock(file, now) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        let waited = elapsed().saturating_sub(start);
        if waited >= limit {
            return Ok(false);
        }
        // `flock` has no timeout, so the wait with an end is a poll that gets slower; it is off every fast path.
        sleep(pause.min(limit.saturating_sub(waited)));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn retry_interrupted(mut call: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

fn elapsed() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn sleep(time: Duration) {
    let wait = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // Interrupted or not, the caller looks at the clock next.
    let _rest = rustix::thread::nanosleep(&wait);
}

/// Says in the file who holds it: a number and a newline, always of the same length.
fn sign(file: &OwnedFd) -> Result<(), Errno> {
    let text = format!("{:<10}\n", rustix::process::getpid().as_raw_nonzero());
    retry_interrupted(|| rustix::io::pwrite(file, text.as_bytes(), 0).map(|_| ()))
}

fn holder(file: &OwnedFd) -> Holder {
    let mut bytes = [0_u8; 32];
    let signed = rustix::io::pread(file, &mut bytes, 0).ok().and_then(|length| {
        let pid: u32 = std::str::from_utf8(&bytes[..length]).ok()?.trim().parse().ok()?;
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        let name = skiff_sys::procfs::read(process, "comm").ok()?;
        Some((pid, String::from_utf8_lossy(&name).trim_end().to_owned()))
    });
    Holder { process: signed }
}
