//! Reading and writing the files of one group, with as few calls as the kernel allows.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir as Listing, FileType, Mode, OFlags, mkdirat, openat, unlinkat};
use skiff_sys::Errno;

use crate::error::Error;
use crate::layout::Hierarchy;

/// One group in one hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    hierarchy: Hierarchy,
    below: String,
}

impl Dir {
    /// The group at `below` under the root of `hierarchy`; does no I/O.
    pub(crate) fn new(hierarchy: &Hierarchy, below: &str) -> Self {
        Self { hierarchy: hierarchy.clone(), below: below.to_owned() }
    }

    pub(crate) const fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// The path below the root of the hierarchy.
    pub(crate) fn below(&self) -> &str {
        &self.below
    }

    /// The last component of its path.
    pub(crate) fn name(&self) -> &str {
        self.below.rsplit('/').next().unwrap_or_default()
    }

    /// The group `name` in this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        let below = if self.below.is_empty() { name.to_owned() } else { format!("{}/{name}", self.below) };
        Self { hierarchy: self.hierarchy.clone(), below }
    }

    /// The group that this one is in.
    pub(crate) fn parent(&self) -> Option<Self> {
        if self.below.is_empty() {
            return None;
        }
        let below = self.below.rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(Self { hierarchy: self.hierarchy.clone(), below: below.to_owned() })
    }

    /// The directory's path for messages.
    pub(crate) fn shown(&self) -> String {
        match self.hierarchy.mount_point() {
            Some(root) if self.below.is_empty() => root.display().to_string(),
            Some(root) => format!("{}/{}", root.display(), self.below),
            None => format!("({})/{}", self.hierarchy.label(), self.below),
        }
    }

    /// A file's path for messages.
    pub(crate) fn shown_file(&self, file: &str) -> String {
        format!("{}/{file}", self.shown())
    }

    /// `mkdir(2)`.
    pub(crate) fn make(&self) -> Result<(), Errno> {
        skiff_sys::fail::point("cgroup.create")?;
        mkdirat(self.hierarchy.dir(), self.hierarchy.path_of(&self.below), Mode::from_raw_mode(0o755))
    }

    /// `rmdir(2)`.
    pub(crate) fn unmake(&self) -> Result<(), Errno> {
        skiff_sys::fail::point("cgroup.remove")?;
        unlinkat(self.hierarchy.dir(), self.hierarchy.path_of(&self.below), AtFlags::REMOVEDIR)
    }

    /// Opens the directory itself.
    pub(crate) fn open_dir(&self) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.hierarchy.dir(), self.hierarchy.path_of(&self.below), flags, Mode::empty())
            .map_err(|source| Error::Open { path: self.shown(), source })
    }

    /// True when the group is there.
    pub(crate) fn is_there(&self) -> Result<bool, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(self.hierarchy.dir(), self.hierarchy.path_of(&self.below), flags, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(source) => Err(Error::Open { path: self.shown(), source }),
        }
    }

    /// Opens `file` for writing.
    pub(crate) fn open_to_write(&self, file: &str) -> Result<OwnedFd, Errno> {
        let path = self.hierarchy.path_of(&join(&self.below, file));
        openat(self.hierarchy.dir(), path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Writes `value` to `file`.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        skiff_sys::fail::point("cgroup.write")?;
        write_all(&self.open_to_write(file)?, value)
    }

    /// Reads all of `file`.
    pub(crate) fn read(&self, file: &str) -> Result<String, Error> {
        let path = self.hierarchy.path_of(&join(&self.below, file));
        match read_at(self.hierarchy.dir(), &path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            // The path in a private hierarchy is relative, and would say nothing.
            Err(Error::Read { source, .. }) => Err(Error::Read { path: self.shown_file(file), source }),
            Err(other) => Err(other),
        }
    }

    /// Reads `file` if the group has it.
    pub(crate) fn read_if_there(&self, file: &str) -> Result<Option<String>, Error> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Error::Read { source: Errno::NOENT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the files and groups in the directory; none when it is gone.
    pub(crate) fn files(&self) -> Result<Vec<String>, Error> {
        self.entries().map(|entries| entries.into_iter().map(|(name, _)| name).collect())
    }

    /// The groups in this one; none when it is gone.
    pub(crate) fn children(&self) -> Result<Vec<Self>, Error> {
        let entries = self.entries()?.into_iter();
        Ok(entries
            .filter(|(_, kind)| *kind == FileType::Directory)
            .map(|(name, _)| self.child(&name))
            .collect())
    }

    fn entries(&self) -> Result<Vec<(String, FileType)>, Error> {
        let failed = |source| Error::Read { path: self.shown(), source };
        let fd = match self.open_dir() {
            Ok(fd) => fd,
            Err(Error::Open { source: Errno::NOENT, .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries = Vec::new();
        for entry in Listing::new(fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                entries.push((name.into_owned(), entry.file_type()));
            }
        }
        Ok(entries)
    }

    /// The error of a refused write.
    pub(crate) fn refused(&self, file: &str, value: &str, source: Errno) -> Error {
        Error::Write { path: self.shown_file(file), value: value.to_owned(), source }
    }
}

fn join(group: &str, file: &str) -> String {
    if group.is_empty() { file.to_owned() } else { format!("{group}/{file}") }
}

/// Writes `value` in one call, as kernel files need it.
pub(crate) fn write_all(fd: &OwnedFd, value: &str) -> Result<(), Errno> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes()))?;
    if written == value.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Reads all of the file `path` relative to `dir`.
pub(crate) fn read_at(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.display().to_string(), source };
    let fd = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        bytes.reserve(4096);
        let count =
            rustix::io::retry_on_intr(|| rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)))
                .map_err(failed)?;
        if count == 0 {
            return Ok(bytes);
        }
    }
}

/// Reads a file of `/proc` that belongs to the whole machine or to one process, by its path.
pub(crate) fn read_proc(path: &str) -> Result<String, Error> {
    read_at(CWD, Path::new(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
