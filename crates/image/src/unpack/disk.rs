//! Output is limited by the free disk, less what stays free for everybody else.

use crate::{Error, limits};
use rustix::fd::BorrowedFd;
use skiff_sys::Errno;

/// Bytes after which the disk is asked again: others write too.
const STEP: u64 = 64 << 20;

/// What may still be written.
pub(super) struct Budget<'a> {
    directory: BorrowedFd<'a>,
    /// Of this step.
    left: u64,
}

impl<'a> Budget<'a> {
    pub fn new(directory: BorrowedFd<'a>) -> Result<Self, Error> {
        let mut budget = Self { directory, left: 0 };
        budget.ask(0)?;
        Ok(budget)
    }

    /// Allows `bytes` more.
    pub fn spend(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > self.left {
            self.ask(bytes)?;
        }
        self.left = self.left.saturating_sub(bytes);
        Ok(())
    }

    fn ask(&mut self, needed: u64) -> Result<(), Error> {
        let free = free(self.directory)
            .map_err(|source| Error::Read { what: "free disk space".into(), source: source.into() })?;
        let usable = free.saturating_sub(limits::DISK_RESERVE);
        if needed > usable || usable == 0 {
            return Err(Error::DiskSpace { needed, free });
        }
        self.left = usable.min(needed.saturating_add(STEP));
        Ok(())
    }
}

fn free(directory: BorrowedFd<'_>) -> Result<u64, Errno> {
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
