//! Paths below a root that somebody else controls: resolved, created and removed by descriptor.
//!
//! Invariant: a path is resolved once, by the kernel, and never leaves its root. Links are followed as a
//! process with that root would follow them, magic links never. See `openat2(2)`.
//!
//! [`open_in_root`], [`create_dirs_in_root`] and [`create_file_in_root`] allocate nothing and take no lock,
//! because the child of `clone3` calls them. [`remove_tree`] may allocate.

use crate::Errno;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::ffi::CStr;

mod remove;
pub use remove::{Left, RemoveError, remove_tree};

/// The longest path that Linux takes, with its NUL.
const PATH_MAX: usize = 4096;

/// As many links as the kernel follows in one resolution.
const LINKS_MAX: u32 = 40;

/// How long a resolution is tried again while renames on the system make the kernel answer `EAGAIN`.
const RETRY_NANOSECONDS: i128 = 2_000_000;

/// Opens `path` as a process whose root directory is `root` would; an absolute path begins at `root` too.
///
/// `mode` counts only with `O_CREAT` or `O_TMPFILE` and is subject to the umask.
///
/// # Errors
/// Those of `openat2(2)`; `EAGAIN` only after two milliseconds of trying, `ELOOP` for magic links.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    open_resolved(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens the regular file at `path` for reading, found as [`open_in_root`] finds it.
///
/// # Errors
/// Those of [`open_in_root`] and [`open_regular`].
pub fn open_regular_in_root(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_regular(open_in_root(root, path, OFlags::PATH, Mode::empty())?.as_fd())
}

/// Opens for reading what the `O_PATH` descriptor `found` stands for, if it is a regular file.
///
/// Anything else stays closed: a driver starts to act when its device is opened, and whoever made the tree
/// has chosen which driver that is (R12).
///
/// # Errors
/// `EINVAL` for what is no regular file, and those of `open(2)`.
pub fn open_regular(found: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    if FileType::from_raw_mode(rustix::fs::fstat(found)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(descriptor_path(found), flags, Mode::empty())
}

/// `openat2` with close-on-exec, tried again while the kernel can't tell whether `..` left the root.
fn open_resolved(
    at: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut deadline = None;
    loop {
        match rustix::fs::openat2(at, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) => {
                let now = monotonic_nanoseconds();
                if now > *deadline.get_or_insert(now + RETRY_NANOSECONDS) {
                    return Err(Errno::AGAIN);
                }
            }
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

fn monotonic_nanoseconds() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// Creates the directories of `path` that are missing and returns an `O_PATH` descriptor of the last one.
///
/// Links on the way resolve inside `root`, and what a dangling link names is created, as `mkdir -p` in a
/// chroot does. `mode` is for the directories that are made here and is subject to the umask.
///
/// # Errors
/// `ENOTDIR` where something that is not a directory is in the way, `ELOOP` after forty dangling links,
/// `ENAMETOOLONG`, and those of `openat2(2)` and `mkdirat(2)`.
pub fn create_dirs_in_root(root: BorrowedFd<'_>, path: &CStr, mode: Mode) -> Result<OwnedFd, Errno> {
    // The usual case, one call: it is there.
    match open_directory(root, path) {
        Err(Errno::NOENT) => create(root, path, mode, Last::Directory),
        done => done,
    }
}

/// Opens `path`, creating an empty regular file, and the directories above it, where nothing is.
///
/// The descriptor is `O_PATH` when the file was there already. Links resolve inside `root`, and what a
/// dangling link names is created. Made directories get `mode` plus the search bits that its read bits imply.
///
/// # Errors
/// `EISDIR` when a directory is there, and the errors of [`create_dirs_in_root`].
pub fn create_file_in_root(root: BorrowedFd<'_>, path: &CStr, mode: Mode) -> Result<OwnedFd, Errno> {
    match open_in_root(root, path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => create(root, path, mode, Last::File),
        Ok(found) => not_a_directory(found),
        failed => failed,
    }
}

fn not_a_directory(found: OwnedFd) -> Result<OwnedFd, Errno> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
    if kind == FileType::Directory { Err(Errno::ISDIR) } else { Ok(found) }
}

fn open_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
}

/// What the last component of a created path becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Directory,
    File,
}

/// Walks `path` one component at a time and makes what is missing.
///
/// Each prefix is resolved from `root` again, so that a link in it means what it means to the kernel; the
/// new entry itself is made and opened below the parent's descriptor, without following anything.
fn create(root: BorrowedFd<'_>, path: &CStr, mode: Mode, last: Last) -> Result<OwnedFd, Errno> {
    let dir_mode = if last == Last::File { with_search_bits(mode) } else { mode };
    let mut route = Route::new(path)?;
    let mut links = 0;
    let mut parent = open_directory(root, c".")?;
    let mut done = 0;
    while let Some(name) = route.next_component(done) {
        let wanted = if route.is_last(name.end) { last } else { Last::Directory };
        let found = route.with_prefix(name.end, |prefix| open_wanted(root, prefix, wanted));
        match found {
            Ok(opened) => parent = opened,
            Err(Errno::NOENT) => {
                let this_mode = if wanted == Last::File { mode } else { dir_mode };
                let made =
                    route.with_component(name, |entry| make_entry(parent.as_fd(), entry, this_mode, wanted));
                match made {
                    Ok(opened) => parent = opened,
                    Err(Errno::LOOP) if links < LINKS_MAX => {
                        links += 1;
                        done = route.splice_link(parent.as_fd(), name)?;
                        if done == 0 {
                            parent = open_directory(root, c".")?;
                        }
                        continue;
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
        done = name.end;
    }
    Ok(parent)
}

/// Search permission for everybody who may read.
fn with_search_bits(mode: Mode) -> Mode {
    mode | Mode::from_raw_mode((mode.as_raw_mode() & 0o444) >> 2)
}

fn open_wanted(root: BorrowedFd<'_>, prefix: &CStr, wanted: Last) -> Result<OwnedFd, Errno> {
    match wanted {
        Last::Directory => open_directory(root, prefix),
        Last::File => open_in_root(root, prefix, OFlags::PATH, Mode::empty()).and_then(not_a_directory),
    }
}

/// Makes `entry` in `parent`; `ELOOP` says that a dangling link bears this name.
fn make_entry(parent: BorrowedFd<'_>, entry: &CStr, mode: Mode, wanted: Last) -> Result<OwnedFd, Errno> {
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match wanted {
        Last::File => {
            let flags = nofollow | OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY;
            match rustix::fs::openat(parent, entry, flags, mode) {
                Err(Errno::EXIST) => Err(exists_because(parent, entry)?),
                done => done,
            }
        }
        Last::Directory => {
            match rustix::fs::mkdirat(parent, entry, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let flags = nofollow | OFlags::PATH | OFlags::DIRECTORY;
            match rustix::fs::openat(parent, entry, flags, Mode::empty()) {
                Err(Errno::NOTDIR) => Err(exists_because(parent, entry)?),
                done => done,
            }
        }
    }
}

/// Why `entry` could not be made: `ELOOP` for a link, `EEXIST` for anything that appeared meanwhile.
fn exists_because(parent: BorrowedFd<'_>, entry: &CStr) -> Result<Errno, Errno> {
    let there = rustix::fs::statat(parent, entry, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    let is_link = FileType::from_raw_mode(there.st_mode) == FileType::Symlink;
    Ok(if is_link { Errno::LOOP } else { Errno::EXIST })
}

/// Where a component lies in a [`Route`].
#[derive(Clone, Copy)]
struct Component {
    start: usize,
    end: usize,
}

/// A path in a buffer of fixed size, cut into components by writing NULs in the place of slashes.
struct Route {
    bytes: [u8; PATH_MAX],
    /// Without the final NUL, which is always there.
    len: usize,
}

impl Route {
    fn new(path: &CStr) -> Result<Self, Errno> {
        let mut route = Self { bytes: [0; PATH_MAX], len: 0 };
        route.append(path.to_bytes())?;
        Ok(route)
    }

    fn append(&mut self, text: &[u8]) -> Result<(), Errno> {
        let end = self.len + text.len();
        // One byte stays for the NUL.
        let free = self.bytes[..PATH_MAX - 1].get_mut(self.len..end).ok_or(Errno::NAMETOOLONG)?;
        free.copy_from_slice(text);
        self.len = end;
        self.bytes[end] = 0;
        Ok(())
    }

    /// The next component at or after `from`.
    fn next_component(&self, from: usize) -> Option<Component> {
        let rest = self.bytes.get(from..self.len)?;
        let start = from + rest.iter().position(|&byte| byte != b'/')?;
        let length = self.bytes[start..self.len].iter().position(|&byte| byte == b'/');
        Some(Component { start, end: length.map_or(self.len, |length| start + length) })
    }

    fn is_last(&self, end: usize) -> bool {
        self.next_component(end).is_none()
    }

    /// Calls `act` with the path up to `end`.
    fn with_prefix<T>(
        &mut self,
        end: usize,
        act: impl FnOnce(&CStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.with_component(Component { start: 0, end }, act)
    }

    fn with_component<T>(
        &mut self,
        part: Component,
        act: impl FnOnce(&CStr) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let saved = std::mem::replace(&mut self.bytes[part.end], 0);
        let text = CStr::from_bytes_with_nul(&self.bytes[part.start..=part.end]);
        let result = text.map_err(|_| Errno::INVAL).and_then(act);
        self.bytes[part.end] = saved;
        result
    }

    /// Puts the target of the link `name`, which lies in `parent`, in its place, and returns where to go on.
    fn splice_link(&mut self, parent: BorrowedFd<'_>, name: Component) -> Result<usize, Errno> {
        let mut target = [0_u8; PATH_MAX];
        let length =
            self.with_component(name, |link| rustix::fs::readlinkat_raw(parent, link, &mut target[..]))?;
        let mut rest = [0_u8; PATH_MAX];
        let rest_len = self.len - name.end;
        rest[..rest_len].copy_from_slice(&self.bytes[name.end..self.len]);

        let is_absolute = target[0] == b'/';
        self.len = if is_absolute { 0 } else { name.start };
        let resume = self.len;
        self.append(&target[..length])?;
        self.append(&rest[..rest_len])?;
        Ok(resume)
    }
}

/// The path by which the kernel reaches what `fd` has open, for interfaces that take nothing but a path.
///
/// Use it at once and only for a descriptor that is known to be of the right kind: the path follows a magic
/// link of this process's `/proc`.
pub fn descriptor_path(fd: BorrowedFd<'_>) -> std::path::PathBuf {
    use rustix::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

#[cfg(test)]
mod tests;
