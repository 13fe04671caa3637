//! `tmpcopyup`: a tmpfs that starts with what the image has at its place.
//!
//! The parent fills it while it is detached, so that the child has one tree to attach.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use skiff_sys::Errno;
use skiff_sys::mount::Change;
use skiff_sys::root::open_in_root;

use crate::child::new_filesystem;
use crate::mount_options::Parameter;

/// How deep a directory tree may be: each level holds two descriptors.
const DEPTH_MAX: u32 = 128;

/// A detached tmpfs with a copy of the directory `below` of `rootfs`, or an empty one if there is none.
pub fn filled_tmpfs(
    rootfs: Option<BorrowedFd<'_>>,
    below: &CStr,
    parameters: &[Parameter],
) -> Result<OwnedFd, Errno> {
    let tmpfs = new_filesystem(c"tmpfs", c"tmpfs", parameters, Change::default())?;
    let Some(rootfs) = rootfs else { return Ok(tmpfs) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match open_in_root(rootfs, below, flags, Mode::empty()) {
        Ok(from) => {
            let to = rustix::fs::openat(&tmpfs, c".", flags | OFlags::CLOEXEC, Mode::empty())?;
            copy_directory(from.as_fd(), to.as_fd(), 0)?;
            if !parameters.iter().any(|parameter| parameter.key.as_c_str() == c"mode") {
                copy_attributes(&from, &to)?;
            }
            Ok(tmpfs)
        }
        Err(Errno::NOENT) => Ok(tmpfs),
        Err(errno) => Err(errno),
    }
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let source = rustix::fs::openat(from, name, read | OFlags::DIRECTORY, Mode::empty())?;
            let copy = rustix::fs::openat(to, name, read | OFlags::DIRECTORY, Mode::empty())?;
            copy_directory(source.as_fd(), copy.as_fd(), depth + 1)?;
            copy_attributes(&source, &copy)
        }
        FileType::RegularFile => {
            // O_NONBLOCK: another type may have come in its place since the look.
            let source = rustix::fs::openat(from, name, read | OFlags::NONBLOCK, Mode::empty())?;
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, create, mode)?;
            let mut left = u64::try_from(stat.st_size).unwrap_or(0);
            while left > 0 {
                let wanted = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
                match rustix::fs::sendfile(&copy, &source, None, wanted)? {
                    0 => break,
                    sent => left = left.saturating_sub(sent as u64),
                }
            }
            copy_attributes(&source, &copy)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

/// Owner, then mode, as a change of owner clears the set-user-id bit; then the times.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::futimens(to, &times)
}
