//! Whole files: written so that a reader meets the old or the new content, and read with a limit.

use crate::Error;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use skiff_sys::{Errno, fail};
use std::ffi::{CStr, CString};
use std::path::PathBuf;

/// What a file must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of any process: on the path of `run` nothing waits for a disk.
    None,
    /// A power cut: the content is on the disk before the name is, and the name before this returns.
    Fsync,
}

/// A directory that is ours, and where it is, for messages.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// The directory that `fd` has open for reading, at `path`.
    pub const fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        use rustix::fd::AsFd;
        self.fd.as_fd()
    }

    /// Where it is.
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The directory `name` in here, made with mode 700 when it is not there.
    ///
    /// # Errors
    /// [`Error::File`], also when something else bears the name.
    pub fn subdirectory(&self, name: &str) -> Result<Self, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        if matches!(opened, Err(Errno::NOENT)) {
            match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::file("create directory", path)(errno)),
            }
            opened = rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        }
        Ok(Self { fd: opened.map_err(Error::file("open", &path))?, path })
    }

    /// The directory `name` in here, if it is there.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn existing_subdirectory(&self, name: &str) -> Result<Option<Self>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::file("open", path)(errno)),
        }
    }

    /// Writes a file that is not there yet: no reader knows the directory, so nothing needs to be atomic.
    ///
    /// # Errors
    /// [`Error::File`], `EEXIST` included.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        fail::point("store.write-new").map_err(Error::file("create", self.path.join(name)))?;
        let file = self.create_new(name)?;
        write_all(&file, bytes).map_err(Error::file("write", self.path.join(name)))
    }

    /// Puts `bytes` in the place of the file `name`, or makes it: readers see all or nothing of it.
    ///
    /// # Errors
    /// [`Error::File`]; the old content is then still there, and the first failed `fsync` is final.
    pub fn replace(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), Error> {
        let temporary = format!(".{name}.{}", crate::random_hex::<8>()?);
        let file = self.create_new(&temporary)?;
        let path = self.path.join(name);
        let written = fail::point("store.replace")
            .and_then(|()| write_all(&file, bytes))
            .and_then(|()| if durability == Durability::Fsync { rustix::fs::fsync(&file) } else { Ok(()) })
            .and_then(|()| fail::point("store.rename"))
            .and_then(|()| rustix::fs::renameat(&self.fd, &temporary, &self.fd, name));
        if let Err(errno) = written {
            self.unlink(&temporary)?;
            return Err(Error::file("write", path)(errno));
        }
        if durability == Durability::Fsync { self.sync() } else { Ok(()) }
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.fd).map_err(Error::file("sync", &self.path))
    }

    /// A new file for writing, mode 600.
    ///
    /// # Errors
    /// [`Error::File`], `EEXIST` included.
    pub fn create_new(&self, name: &str) -> Result<OwnedFd, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(Error::file("create", self.path.join(name)))
    }

    /// The content of the file `name`, or nothing when there is none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `limit` bytes, [`Error::File`] otherwise, also for what isn't a file.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::file("open", path)(errno)),
        };
        let size = rustix::fs::fstat(&file).map_err(Error::file("stat", &path))?.st_size.unsigned_abs();
        if size > limit {
            return Err(Error::TooLarge { path, limit });
        }
        // The file may grow while it is read: one byte more than the limit shows that.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        loop {
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => return Ok(Some(bytes)),
                Ok(_) if bytes.len() as u64 > limit => return Err(Error::TooLarge { path, limit }),
                Ok(_) => bytes.reserve(4096),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::file("read", path)(errno)),
            }
        }
    }

    /// Removes the file `name`; that it isn't there is success.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn unlink(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::file("remove", self.path.join(name))(errno)),
        }
    }

    /// Removes `name` and all below it; that it isn't there is success.
    ///
    /// # Errors
    /// [`Error::Remove`] says what was left.
    pub fn remove_tree(&self, name: &str) -> Result<(), Error> {
        let failed = |source| Error::Remove { path: self.path.clone(), source };
        let Ok(name) = CString::new(name) else { return Err(Error::file("remove", name)(Errno::INVAL)) };
        skiff_sys::root::remove_tree(self.fd(), &name).map_err(failed)
    }

    /// The names in here that are valid UTF-8, which all of ours are, and don't begin with a dot.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let failed = || Error::file("read directory", &self.path);
        // A descriptor of its own: the position in the directory must not be shared between calls.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fresh = rustix::fs::openat(&self.fd, c".", flags, Mode::empty()).map_err(failed())?;
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = rustix::fs::RawDir::new(fresh, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            if let Some(name) = visible(entry.map_err(failed())?.file_name()) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

fn visible(name: &CStr) -> Option<String> {
    name.to_str().ok().filter(|name| !name.starts_with('.')).map(str::to_owned)
}

/// Writes all of `bytes`.
fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
