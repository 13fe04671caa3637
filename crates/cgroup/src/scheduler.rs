//! Whether block I/O weights mean anything here: they do where a disk's scheduler looks at them.

use rustix::fs::{CWD, Dir as Listing, Mode, OFlags, openat};
use skiff_sys::Errno;

use crate::error::Error;
use crate::file;

/// True when some disk of this machine uses BFQ.
pub(crate) fn is_bfq_in_use() -> Result<bool, Error> {
    const DISKS: &str = "/sys/block";
    let failed = |source| Error::Read { path: DISKS.to_owned(), source };
    let disks = openat(CWD, DISKS, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    for disk in Listing::read_from(disks.map_err(failed)?).map_err(failed)? {
        let disk = disk.map_err(failed)?;
        let path = format!("{DISKS}/{}/queue/scheduler", disk.file_name().to_string_lossy());
        match file::read_proc(&path) {
            Ok(schedulers) if schedulers.contains("[bfq]") => return Ok(true),
            // A disk without a queue, or one that has just gone; `.` and `..`.
            Ok(_) | Err(Error::Read { source: Errno::NOENT | Errno::NODEV, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
