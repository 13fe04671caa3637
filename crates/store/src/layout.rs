//! The two directories of a store.
//!
//! Invariant (R26): each belongs to the user who runs this and lets nobody else in, checked at every start.

use crate::{Directory, Error};
use rustix::fs::{Mode, OFlags};
use skiff_sys::Errno;
use std::path::{Path, PathBuf};

/// The data and the state directory of one Skiff.
#[derive(Debug)]
pub struct Store {
    root: Directory,
    state: Directory,
}

impl Store {
    /// Opens the store with its data in `root` and its state in `state`, which are made if they are not there.
    ///
    /// # Errors
    /// [`Error::Mode`] and [`Error::Owner`] for directories that others can enter or own, [`Error::File`].
    pub fn open(root: &Path, state: &Path) -> Result<Self, Error> {
        Ok(Self { root: open_own(root)?, state: open_own(state)? })
    }

    /// What survives a reboot.
    pub const fn root(&self) -> &Directory {
        &self.root
    }

    /// What dies with the boot.
    pub const fn state(&self) -> &Directory {
        &self.state
    }
}

fn open_own(path: &Path) -> Result<Directory, Error> {
    let path = std::path::absolute(path)
        .map_err(|error| Error::file("find", path)(Errno::from_io_error(&error).unwrap_or(Errno::NOENT)))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            create_with_parents(&path, Mode::RWXU)?;
            rustix::fs::open(&path, flags, Mode::empty())
        }
        opened => opened,
    }
    .map_err(Error::file("open", &path))?;
    check_private(&fd, &path)?;
    Ok(Directory::new(fd, path))
}

fn check_private(fd: &rustix::fd::OwnedFd, path: &PathBuf) -> Result<(), Error> {
    let there = rustix::fs::fstat(fd).map_err(Error::file("stat", path))?;
    let user = rustix::process::geteuid().as_raw();
    if there.st_uid != user {
        return Err(Error::Owner { path: path.clone(), owner: there.st_uid, user });
    }
    if there.st_mode & 0o077 != 0 {
        return Err(Error::Mode { path: path.clone(), mode: there.st_mode & 0o7777 });
    }
    Ok(())
}

/// Makes `path` with `mode`; what is missing above it gets mode 755.
fn create_with_parents(path: &Path, mode: Mode) -> Result<(), Error> {
    match (rustix::fs::mkdir(path, mode), path.parent()) {
        (Ok(()) | Err(Errno::EXIST), _) => Ok(()),
        (Err(Errno::NOENT), Some(parent)) => {
            create_with_parents(parent, Mode::from_raw_mode(0o755))?;
            match rustix::fs::mkdir(path, mode) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(Error::file("create directory", path)(errno)),
            }
        }
        (Err(errno), _) => Err(Error::file("create directory", path)(errno)),
    }
}
