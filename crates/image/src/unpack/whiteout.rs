//! Deletions: how archives write them, and how overlayfs does.

use super::path::{EntryPath, c_string};
use super::{Place, failed, refused};
use crate::Error;
use crate::archive::{Entry, EntryKind};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use skiff_sys::Errno;
use std::ffi::{CStr, CString};

const PREFIX: &[u8] = b".wh.";
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// Of this name in the lower layers.
    Of(CString),
    /// Of everything that lower layers have in the directory.
    Opaque,
}

impl Whiteout {
    /// The deletion that an entry stands for, if it is one.
    ///
    /// # Errors
    /// Names with the prefix that are none: they would be files for one reader and deletions for another.
    pub fn parse(path: &EntryPath, entry: &Entry) -> Result<Option<Self>, Error> {
        let has_prefix = |component: &[u8]| component.starts_with(PREFIX);
        if path.parent().split(|&byte| byte == b'/').any(has_prefix) {
            return Err(refused(&entry.path, "something below a deletion"));
        }
        let Some(name) = path.last().strip_prefix(PREFIX) else { return Ok(None) };
        if entry.kind != EntryKind::File || entry.size != 0 {
            return Err(refused(&entry.path, "a deletion that is no empty file"));
        }
        match name {
            _ if path.last() == OPAQUE => Ok(Some(Self::Opaque)),
            _ if path.last().starts_with(META_PREFIX) => {
                Err(refused(&entry.path, "a deletion of a kind that is not known"))
            }
            b"" | b"." | b".." => Err(refused(&entry.path, "a deletion of nothing")),
            name => Ok(Some(Self::Of(c_string(name)?))),
        }
    }
}

/// Deletes `name` of the lower layers. What this layer itself has under that name stays: a directory of it then
/// begins empty, anything else hides the lower one anyway.
pub(super) fn create(parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<(), Error> {
    match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(parent, name, flags, Mode::empty()) {
                Ok(directory) => {
                    use rustix::fd::AsFd;
                    make_opaque(directory.as_fd()).map_err(failed(path, "make opaque"))
                }
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(failed(path, "delete")(errno)),
            }
        }
        Err(errno) => Err(failed(path, "delete")(errno)),
    }
}

/// Whether a deletion of this layer is what bears the name.
pub(super) fn is_at(place: &Place<'_>) -> Result<bool, Error> {
    let there = rustix::fs::statat(place.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed(place.path, "stat"))?;
    Ok(FileType::from_raw_mode(there.st_mode) == FileType::CharacterDevice && there.st_rdev == 0)
}

/// Hides what lower layers have in the directory.
pub(super) fn make_opaque(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, c"trusted.overlay.opaque", b"y", XattrFlags::empty())
}
