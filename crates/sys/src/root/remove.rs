//! Removal of a tree by descriptor.
//!
//! Invariant: nothing outside the tree is touched. No link is followed, no mount is crossed (the kernel
//! compares them: `RESOLVE_NO_XDEV`), and a name is only used together with the descriptor of its directory.

use super::open_resolved;
use crate::Errno;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Directories open at once. What lies deeper is moved up to the top of the tree and removed from there, so
/// that no archive can make a tree that is too deep for the limit of descriptors.
const DEPTH_MAX: u32 = 32;

/// As many leftovers as are named one by one.
const NAMED_MAX: usize = 8;

/// An entry that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its path, beginning with the name of the tree.
    pub path: PathBuf,
    /// Why: `EXDEV` and `EBUSY` mean that something is mounted there.
    pub errno: Errno,
}

/// What [`remove_tree`] had to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveError {
    /// The first of them, at most eight.
    pub left: Vec<Left>,
    /// How many more there were.
    pub more: usize,
}

impl std::error::Error for RemoveError {}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, left) in self.left.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let path = left.path.display();
            match left.errno {
                Errno::XDEV | Errno::BUSY => write!(f, "{separator}{path}: something is mounted there")?,
                errno => write!(f, "{separator}{path}: {errno}")?,
            }
        }
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// Removes `name` in `parent` and, if it is a directory, all that is below it.
///
/// A name that isn't there counts as removed. After an error the removal goes on with the next entry.
///
/// # Errors
/// What was left, and why: a mount, an immutable file, a missing right.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), RemoveError> {
    let mut removal = Removal::default();
    let top = Level { above: None, name };
    if matches!(name.to_bytes(), b"" | b"." | b"..") || name.to_bytes().contains(&b'/') {
        removal.leave(&top, Errno::INVAL);
    } else {
        removal.remove(parent, &top, FileType::Unknown, None, 0);
    }
    if removal.left.is_empty() { Ok(()) } else { Err(RemoveError { left: removal.left, more: removal.more }) }
}

/// A name and the directories above it, for messages only.
struct Level<'a> {
    above: Option<&'a Level<'a>>,
    name: &'a CStr,
}

impl Level<'_> {
    fn path(&self) -> PathBuf {
        let mut path = self.above.map(Level::path).unwrap_or_default();
        path.push(OsStr::from_bytes(self.name.to_bytes()));
        path
    }
}

#[derive(Default)]
struct Removal {
    left: Vec<Left>,
    more: usize,
    /// Names given to directories that were moved up.
    moved: u64,
}

impl Removal {
    fn leave(&mut self, level: &Level<'_>, errno: Errno) {
        if self.left.len() < NAMED_MAX {
            self.left.push(Left { path: level.path(), errno });
        } else {
            self.more += 1;
        }
    }

    /// Removes one entry; `top` is the directory that takes what is too deep. Says whether it is gone.
    fn remove(
        &mut self,
        dir: BorrowedFd<'_>,
        level: &Level<'_>,
        kind: FileType,
        top: Option<BorrowedFd<'_>>,
        depth: u32,
    ) -> bool {
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            return self.unlink(dir, level, AtFlags::empty());
        }
        // Most directories of a container are empty places for mounts: one call instead of five.
        if kind == FileType::Directory
            && matches!(rustix::fs::unlinkat(dir, level.name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
        {
            return true;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        match open_resolved(dir, level.name, flags, Mode::empty(), resolve) {
            Ok(opened) => {
                if let Some(top) = top
                    && depth >= DEPTH_MAX
                {
                    return self.move_up(dir, level, top);
                }
                self.remove_directory(dir, &opened, level, top, depth)
            }
            Err(Errno::NOENT) => true,
            Err(Errno::NOTDIR | Errno::LOOP) => self.unlink(dir, level, AtFlags::empty()),
            Err(errno) => {
                self.leave(level, errno);
                false
            }
        }
    }

    fn unlink(&mut self, dir: BorrowedFd<'_>, level: &Level<'_>, flags: AtFlags) -> bool {
        match rustix::fs::unlinkat(dir, level.name, flags) {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(errno) => {
                self.leave(level, errno);
                false
            }
        }
    }

    /// Removes the directory `opened`, which is `level.name` in `dir`, with all its entries.
    fn remove_directory(
        &mut self,
        dir: BorrowedFd<'_>,
        opened: &OwnedFd,
        level: &Level<'_>,
        top: Option<BorrowedFd<'_>>,
        depth: u32,
    ) -> bool {
        loop {
            let pass = self.empty(opened.as_fd(), level, top.unwrap_or(opened.as_fd()), depth);
            if pass.kept > 0 {
                return false;
            }
            // A file system may skip entries while others are being removed, and deep directories may have
            // been moved in here: as long as a pass finds something, look again.
            let again = match rustix::fs::unlinkat(dir, level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return true,
                Err(Errno::NOTEMPTY) if pass.removed > 0 => rustix::fs::seek(opened, SeekFrom::Start(0)),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = again {
                self.leave(level, errno);
                return false;
            }
        }
    }

    fn empty(&mut self, opened: BorrowedFd<'_>, level: &Level<'_>, top: BorrowedFd<'_>, depth: u32) -> Pass {
        let mut pass = Pass::default();
        let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(opened, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // Somebody else removed the directory meanwhile.
                Err(Errno::NOENT) => break,
                Err(errno) => {
                    self.leave(level, errno);
                    pass.kept += 1;
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let below = Level { above: Some(level), name };
            let gone = self.remove(opened, &below, entry.file_type(), Some(top), depth + 1);
            if gone {
                pass.removed += 1;
            } else {
                pass.kept += 1;
            }
            // All that was read is gone: asking whether that was all is as cheap as reading on, and usually it was.
            if pass.kept == 0 && entries.is_buffer_empty() {
                break;
            }
        }
        pass
    }

    /// Moves a directory that lies too deep to the top of the tree, where a later pass meets it.
    fn move_up(&mut self, dir: BorrowedFd<'_>, level: &Level<'_>, top: BorrowedFd<'_>) -> bool {
        loop {
            self.moved += 1;
            let Ok(name) = CString::new(format!(".skiff-deep-{}", self.moved)) else { return false };
            match rustix::fs::renameat_with(dir, level.name, top, &name, RenameFlags::NOREPLACE) {
                Ok(()) => return true,
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    self.leave(level, errno);
                    return false;
                }
            }
        }
    }
}

/// What one reading of a directory did.
#[derive(Default)]
struct Pass {
    removed: u64,
    kept: u64,
}
