//! Owner, mode, extended attributes and times, always by descriptor.

use super::failed;
use crate::Error;
use crate::archive::{Entry, Timestamp};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use skiff_sys::Errno;

/// Sets all but the times of something that is open; returns how many extended attributes were left out.
pub(super) fn set(fd: BorrowedFd<'_>, entry: &Entry) -> Result<u64, Error> {
    let failed = |what| failed(&entry.path, what);
    let (owner, group) = owners(entry);
    rustix::fs::fchown(fd, Some(owner), Some(group)).map_err(failed("set owner"))?;
    // After the owner, whose change clears the set-id bits.
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(failed("set mode"))?;
    // After the owner as well: its change removes file capabilities.
    each_xattr(entry, |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()))
}

/// The same, and the times, for a node behind an `O_PATH` descriptor.
pub(super) fn set_by_path(node: &OwnedFd, kind: FileType, entry: &Entry) -> Result<u64, Error> {
    let failed = |what| failed(&entry.path, what);
    let (owner, group) = owners(entry);
    rustix::fs::chownat(node, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH)
        .map_err(failed("set owner"))?;
    let path = skiff_sys::root::descriptor_path(node.as_fd());
    if kind != FileType::Symlink {
        // A mode by descriptor alone is Linux 6.6 (`fchmodat2`); the magic link leads to the same object.
        rustix::fs::chmod(&path, Mode::from_raw_mode(entry.mode)).map_err(failed("set mode"))?;
    }
    let dropped = if kind == FileType::Symlink {
        // A link has no attributes of the allowed kinds, and the magic link would not lead to it.
        entry.xattrs.len() as u64
    } else {
        each_xattr(entry, |name, value| rustix::fs::setxattr(&path, name, value, XattrFlags::empty()))?
    };
    let times = timestamps(entry.mtime);
    rustix::fs::utimensat(node, c"", &times, AtFlags::EMPTY_PATH).map_err(failed("set times"))?;
    Ok(dropped)
}

/// Sets the times of something that is open.
pub(super) fn set_time(fd: &OwnedFd, time: Timestamp) -> Result<(), Errno> {
    rustix::fs::futimens(fd, &timestamps(time))
}

fn owners(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

fn timestamps(time: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// What to do with an extended attribute (R20).
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Set,
    /// It describes the machine it comes from: labels, integrity. Every engine leaves these out.
    Drop,
    /// It would steer overlayfs.
    Refuse,
}

fn rule(name: &[u8]) -> Rule {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => Rule::Set,
        _ if name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.") => Rule::Refuse,
        _ if name.starts_with(b"user.") => Rule::Set,
        _ => Rule::Drop,
    }
}

fn each_xattr(entry: &Entry, set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<u64, Error> {
    let mut dropped = 0;
    for (name, value) in &entry.xattrs {
        match rule(name) {
            Rule::Set => match set(name, value) {
                // Notes of users; some file systems (tmpfs before Linux 6.6) have no place for them.
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => dropped += 1,
                done => done.map_err(failed(&entry.path, "set extended attribute"))?,
            },
            Rule::Drop => dropped += 1,
            Rule::Refuse => {
                return Err(super::refused(&entry.path, "an extended attribute that would steer overlayfs"));
            }
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r20_only_attributes_of_the_list_are_taken() {
        for name in
            ["user.comment", "security.capability", "system.posix_acl_access", "system.posix_acl_default"]
        {
            assert_eq!(rule(name.as_bytes()), Rule::Set, "{name}");
        }
        for name in ["security.selinux", "security.ima", "security.evm", "com.apple.quarantine", "system.x"] {
            assert_eq!(rule(name.as_bytes()), Rule::Drop, "{name}");
        }
        for name in
            ["trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.x", "user.overlay.metacopy"]
        {
            assert_eq!(rule(name.as_bytes()), Rule::Refuse, "{name}");
        }
    }
}
