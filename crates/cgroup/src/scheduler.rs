//! Whether block I/O weights mean anything here: they do where a disk's scheduler or `io.cost` looks at them.

use rustix::fs::{CWD, Dir as Listing, Mode, OFlags, openat};
use skiff_sys::Errno;

use crate::error::Error;
use crate::file;
use crate::layout::Layout;

/// True when some disk of this machine looks at weights.
pub(crate) fn has_weights(layout: &Layout) -> Result<bool, Error> {
    Ok(is_bfq_in_use()? || is_io_cost_on(layout)?)
}

/// True when `io.cost` (v2) is on for some disk; its file is in the root only.
fn is_io_cost_on(layout: &Layout) -> Result<bool, Error> {
    let Some((_, root)) = layout.unified() else { return Ok(false) };
    let settings = file::Dir::new(root, "").read_if_there("io.cost.qos")?;
    Ok(settings.is_some_and(|settings| settings.contains("enable=1")))
}

/// True when some disk of this machine uses BFQ.
fn is_bfq_in_use() -> Result<bool, Error> {
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
