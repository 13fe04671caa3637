//! The program that is running, seen from inside of containers: by way of a read-only mount only (R8).
//!
//! A process of ours that is in a container's namespaces shows its program there, as `/proc/PID/exe`, and a
//! program of the container can even be started by that name (`#!/proc/self/exe`). Through the file's
//! ordinary mount root in the container could write to it, and so to what the host runs next
//! (CVE-2019-5736). A clone of the mount that is attached nowhere and read-only can't be written through,
//! whatever the container's rights; making it costs a fraction of what a copy of the program would.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::Errno;
use crate::mount::{Change, Depth, RDONLY, setattr};
use crate::process::{ExecStrings, fexecve};

/// A descriptor of the running program on a read-only mount: the mount that it was started from if that is
/// one, else a clone of it.
///
/// # Errors
/// What `open_tree(2)` and `mount_setattr(2)` list; `EPERM` without CAP_SYS_ADMIN.
pub fn read_only() -> Result<OwnedFd, Errno> {
    let running = running()?;
    if is_mounted_read_only(&running)? {
        return Ok(running);
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(&running, c"", flags)?;
    setattr(clone.as_fd(), Change { set: RDONLY, ..Change::default() }, Depth::One)?;
    Ok(clone)
}

/// Executes the running program again, from a read-only mount. Returns only if that failed, with the reason: as
/// [`read_only`], and what `execveat(2)` lists.
pub fn execute_read_only(argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    match read_only() {
        Ok(program) => fexecve(program.as_fd(), argv, envp),
        Err(errno) => errno,
    }
}

/// True when the running program is on a read-only mount.
///
/// # Errors
/// Those of opening `/proc/self/exe`.
pub fn is_read_only() -> Result<bool, Errno> {
    is_mounted_read_only(&running()?)
}

fn running() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn is_mounted_read_only(program: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatvfs(program)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}
