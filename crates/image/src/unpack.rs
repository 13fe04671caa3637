//! From the archive of a layer to a directory that overlayfs can use.
//!
//! Invariant (R1, R2, R18): whatever the archive says, only objects below the root directory are touched. Every
//! path is resolved by the kernel inside of it, every object is made with `O_EXCL` or its like and finished by
//! descriptor, nothing is followed on the last step, and what is in the way is unlinked. The directory belongs to
//! nobody else while it is filled.
//!
//! What deletes in an archive (`.wh.NAME`, `.wh..wh..opq`) becomes what deletes in overlayfs: a character device
//! 0:0 and the attribute `trusted.overlay.opaque`.

mod attributes;
mod disk;
mod parents;
mod path;
mod whiteout;

use crate::archive::{Archive, ArchiveError, Device, Entry, EntryKind, Problem, Timestamp};
use crate::{Error, limits};
use disk::Budget;
use parents::Parents;
use path::EntryPath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use skiff_sys::root::open_in_root;
use skiff_sys::{Errno, fail};
use std::ffi::CString;
use std::io::BufRead;
use std::rc::Rc;
use whiteout::Whiteout;

/// Where a layer lies in its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Below it is nothing that could be deleted.
    Lowest,
    /// On top of others.
    Above,
}

/// What unpacking did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files.
    pub size: u64,
    /// Directories that the archive did not list and that were made for what is in them.
    pub implied: Vec<Vec<u8>>,
    /// Extended attributes that were left out: labels of the machine that they came from, and notes of users on a
    /// file system that can't hold them.
    pub dropped_xattrs: u64,
}

/// Unpacks all of `archive` into the empty directory `root`.
///
/// # Errors
/// The first entry that is malformed, breaks a rule or can't be made. What was made until then stays: the caller
/// throws the whole directory away.
pub fn unpack<R: BufRead>(
    archive: &mut Archive<R>,
    root: BorrowedFd<'_>,
    position: Position,
) -> Result<Unpacked, Error> {
    let mut unpacker = Unpacker {
        root,
        position,
        parents: Parents::new(root),
        budget: Budget::new(root)?,
        directory_times: Vec::new(),
        memory: Memory { left: limits::KEPT_NAMES },
        done: Unpacked::default(),
    };
    while let Some(entry) = archive.next_entry()? {
        fail::point("image.unpack-entry").map_err(failed(&entry.path, "fail point"))?;
        unpacker.entry(archive, &entry)?;
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    position: Position,
    parents: Parents<'a>,
    budget: Budget<'a>,
    /// Set at the end, because every entry in a directory changes its time.
    directory_times: Vec<(EntryPath, Timestamp)>,
    /// For the names in the list above and in `done`.
    memory: Memory,
    done: Unpacked,
}

/// How much may still be kept in memory until the end of an archive: a few compressed bytes can name very many
/// directories.
struct Memory {
    left: usize,
}

impl Memory {
    /// Allows a name of `bytes` more.
    fn keep(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes.saturating_add(NAME_OVERHEAD))?;
        Some(())
    }
}

/// What a list needs for a name beside its bytes.
const NAME_OVERHEAD: usize = 64;

/// Why an archive of nothing but directories is refused.
const TOO_MANY: &str = "the names of the directories up to here take more memory than the limit of 256 MiB";

/// The error of a call for the entry `path`.
fn failed<'a>(path: &'a [u8], what: &'static str) -> impl FnOnce(Errno) -> Error + 'a {
    move |source| Error::Entry { path: path.to_vec(), what, source }
}

fn refused(path: &[u8], why: &'static str) -> Error {
    Error::Refused { path: path.to_vec(), why }
}

impl Unpacker<'_> {
    fn entry<R: BufRead>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<(), Error> {
        let Some(path) = EntryPath::parse(&entry.path)? else {
            return self.root_entry(entry);
        };
        if let Some(whiteout) = Whiteout::parse(&path, entry)? {
            return self.whiteout(&path, whiteout);
        }
        let parent = self.parent(&path)?;
        let place = Place { parent: parent.as_fd(), name: path.name()?, path: &entry.path };
        match &entry.kind {
            EntryKind::Directory => self.directory(&place, entry, path),
            EntryKind::File => self.file(archive, &place, entry),
            EntryKind::Symlink(target) => self.symlink(&place, entry, target),
            EntryKind::HardLink(target) => self.hard_link(&place, target),
            EntryKind::Char(Device { major: 0, minor: 0 }) => {
                Err(refused(&entry.path, "a character device 0:0 would delete what is below"))
            }
            EntryKind::Char(device) => self.node(&place, entry, FileType::CharacterDevice, *device),
            EntryKind::Block(device) => self.node(&place, entry, FileType::BlockDevice, *device),
            EntryKind::Fifo => self.node(&place, entry, FileType::Fifo, Device { major: 0, minor: 0 }),
        }
    }

    /// The directory that `path` is made in.
    fn parent(&mut self, path: &EntryPath) -> Result<Rc<OwnedFd>, Error> {
        let known = self.done.implied.len();
        let parent = self.parents.open(path, &mut self.done.implied)?;
        let mut made = self.done.implied.iter().skip(known);
        match made.try_for_each(|name| self.memory.keep(name.len())) {
            Some(()) => Ok(parent),
            None => Err(refused(path.bytes(), TOO_MANY)),
        }
    }

    fn set_time_later(&mut self, path: EntryPath, time: Timestamp) -> Result<(), Error> {
        self.memory.keep(path.bytes().len()).ok_or_else(|| refused(path.bytes(), TOO_MANY))?;
        self.directory_times.push((path, time));
        Ok(())
    }

    /// The entry for the root itself: it can only be a directory, and only its attributes count.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(&entry.path, "the root can only be a directory"));
        }
        self.set_time_later(EntryPath::root(), entry.mtime)?;
        self.done.dropped_xattrs += attributes::set(self.root, entry)?;
        Ok(())
    }

    fn directory(&mut self, place: &Place<'_>, entry: &Entry, path: EntryPath) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(place.parent, &place.name, flags, Mode::empty());
        let mut was_deleted = false;
        let opened = match rustix::fs::mkdirat(place.parent, &place.name, Mode::RWXU) {
            Ok(()) => open(),
            Err(Errno::EXIST) => match open() {
                Ok(there) => Ok(there),
                // Something else, a link perhaps: it goes, and is not followed.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {
                    was_deleted = whiteout::is_at(place)?;
                    self.make_way(place)?;
                    rustix::fs::mkdirat(place.parent, &place.name, Mode::RWXU).and_then(|()| open())
                }
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        }
        .map_err(failed(place.path, "create directory"))?;
        if was_deleted {
            whiteout::make_opaque(opened.as_fd()).map_err(failed(place.path, "make opaque"))?;
        }
        self.set_time_later(path, entry.mtime)?;
        self.done.dropped_xattrs += attributes::set(opened.as_fd(), entry)?;
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        archive: &mut Archive<R>,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            self.make(place, "create file", || rustix::fs::openat(place.parent, &place.name, flags, mode))?;
        self.budget.spend(entry.size)?;
        match &entry.sparse {
            None => archive.data(|bytes| write_all(&file, bytes))?,
            Some(map) => write_sparse(archive, &file, map)?,
        }
        self.done.size += entry.sparse.as_ref().map_or(entry.size, |map| map.real_size);
        self.done.dropped_xattrs += attributes::set(file.as_fd(), entry)?;
        attributes::set_time(&file, entry.mtime).map_err(failed(place.path, "set times"))
    }

    fn symlink(&mut self, place: &Place<'_>, entry: &Entry, target: &[u8]) -> Result<(), Error> {
        let target = CString::new(target).map_err(|_| refused(place.path, "a NUL in the link's text"))?;
        self.make(place, "create link", || rustix::fs::symlinkat(&target, place.parent, &place.name))?;
        self.finish_node(place, entry, FileType::Symlink)
    }

    /// Another name for something of this layer. The target is found by the kernel, inside the root, and linked by
    /// its descriptor, so nothing can come in between.
    fn hard_link(&mut self, place: &Place<'_>, target: &[u8]) -> Result<(), Error> {
        let Some(target) = EntryPath::parse(target)? else {
            return Err(refused(place.path, "a hard link to the root"));
        };
        let source = open_in_root(self.root, &target.to_c()?, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|errno| match errno {
                Errno::NOENT => refused(place.path, "the target of the hard link is not in this layer"),
                errno => failed(place.path, "open target of hard link")(errno),
            })?;
        let there = rustix::fs::fstat(&source).map_err(failed(place.path, "stat target of hard link"))?;
        match FileType::from_raw_mode(there.st_mode) {
            FileType::Directory => return Err(refused(place.path, "a hard link to a directory")),
            FileType::CharacterDevice if there.st_rdev == 0 => {
                return Err(refused(place.path, "the target of the hard link is deleted in this layer"));
            }
            _ => {}
        }
        match rustix::fs::statat(place.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            // A link to itself is already what it should be.
            Ok(same) if (same.st_dev, same.st_ino) == (there.st_dev, there.st_ino) => return Ok(()),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(place.path, "stat")(errno)),
        }
        self.make(place, "create hard link", || {
            rustix::fs::linkat(&source, c"", place.parent, &place.name, AtFlags::EMPTY_PATH)
        })
    }

    fn node(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
        kind: FileType,
        device: Device,
    ) -> Result<(), Error> {
        let device = rustix::fs::makedev(device.major, device.minor);
        let mode = Mode::RUSR | Mode::WUSR;
        self.make(place, "create node", || {
            rustix::fs::mknodat(place.parent, &place.name, kind, mode, device)
        })?;
        self.finish_node(place, entry, kind)
    }

    /// Gives its attributes to what can't be opened: by an `O_PATH` descriptor, after a look at what it is.
    fn finish_node(&mut self, place: &Place<'_>, entry: &Entry, kind: FileType) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(place.parent, &place.name, flags, Mode::empty())
            .map_err(failed(place.path, "open"))?;
        let there = rustix::fs::fstat(&node).map_err(failed(place.path, "stat"))?;
        if FileType::from_raw_mode(there.st_mode) != kind {
            return Err(refused(place.path, "it was replaced while it was made"));
        }
        self.done.dropped_xattrs += attributes::set_by_path(&node, kind, entry)?;
        Ok(())
    }

    /// Calls `create`, and if something bears the name already, removes that and calls it again.
    fn make<T>(
        &mut self,
        place: &Place<'_>,
        what: &'static str,
        create: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        match create() {
            Err(Errno::EXIST) => {
                self.make_way(place)?;
                create()
            }
            done => done,
        }
        .map_err(failed(place.path, what))
    }

    /// Removes what bears the name, with all below it.
    fn make_way(&mut self, place: &Place<'_>) -> Result<(), Error> {
        // Descriptors that are kept for later may be of directories that go now.
        self.parents.forget();
        skiff_sys::root::remove_tree(place.parent, &place.name).map_err(|error| {
            let errno = error.left.first().map_or(Errno::NOTEMPTY, |left| left.errno);
            failed(place.path, "replace")(errno)
        })
    }

    fn whiteout(&mut self, path: &EntryPath, whiteout: Whiteout) -> Result<(), Error> {
        let parent = self.parent(path)?;
        match (self.position, whiteout) {
            // Nothing is below, so there is nothing to delete.
            (Position::Lowest, _) => Ok(()),
            (Position::Above, Whiteout::Opaque) => {
                whiteout::make_opaque(parent.as_fd()).map_err(failed(path.bytes(), "make opaque"))
            }
            (Position::Above, Whiteout::Of(name)) => whiteout::create(parent.as_fd(), &name, path.bytes()),
        }
    }

    /// Sets the times of directories, deepest changes included.
    fn finish(self) -> Result<Unpacked, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        for (path, time) in self.directory_times {
            match open_in_root(self.root, &path.to_c()?, flags, Mode::empty()) {
                Ok(directory) => {
                    attributes::set_time(&directory, time).map_err(failed(path.bytes(), "set times"))?;
                }
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed(path.bytes(), "open directory")(errno)),
            }
        }
        Ok(self.done)
    }
}

/// Where an entry is made.
struct Place<'a> {
    parent: BorrowedFd<'a>,
    name: CString,
    /// As the archive has it, for messages.
    path: &'a [u8],
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Writes the pieces of a file with holes where they belong.
fn write_sparse<R: BufRead>(
    archive: &mut Archive<R>,
    file: &OwnedFd,
    map: &crate::archive::SparseMap,
) -> Result<(), ArchiveError> {
    let mut regions = map.regions.iter().copied();
    let mut region = (0_u64, 0_u64);
    archive.data(|mut bytes| {
        while !bytes.is_empty() {
            if region.1 == 0 {
                region = regions.next().ok_or(std::io::ErrorKind::InvalidData)?;
            }
            let length = bytes.len().min(usize::try_from(region.1).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(length);
            let written = match rustix::io::pwrite(file, now, region.0) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            region = (region.0 + written as u64, region.1 - written as u64);
            bytes = if written == length { later } else { &bytes[written..] };
        }
        Ok(())
    })?;
    rustix::fs::ftruncate(file, map.real_size).map_err(|errno| archive.error(Problem::Write(errno.into())))
}

#[cfg(test)]
mod tests;
