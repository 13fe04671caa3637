//! The directories that entries are made in.

use super::path::{EntryPath, c_string};
use super::{failed, refused};
use crate::Error;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use skiff_sys::Errno;
use skiff_sys::root::open_in_root;
use std::rc::Rc;

/// Opens parents, and keeps the last one: most entries lie beside the one before.
pub(super) struct Parents<'a> {
    root: BorrowedFd<'a>,
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl<'a> Parents<'a> {
    pub const fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, last: None }
    }

    /// Drops what is kept. To be called before anything that exists is removed: a kept descriptor is of what a
    /// path *was*, and adding objects alone can't change that.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The directory above `path`. What is missing is made and its path added to `implied`.
    pub fn open(&mut self, path: &EntryPath, implied: &mut Vec<Vec<u8>>) -> Result<Rc<OwnedFd>, Error> {
        let parent = path.parent();
        if let Some((last, fd)) = &self.last
            && last == parent
        {
            return Ok(Rc::clone(fd));
        }
        let fd = Rc::new(self.open_or_make(parent, implied)?);
        self.last = Some((parent.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    fn open_or_make(&self, parent: &[u8], implied: &mut Vec<Vec<u8>>) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = |path: &[u8]| {
            let path = c_string(if path.is_empty() { b"." } else { path })?;
            match open_in_root(self.root, &path, flags, Mode::empty()) {
                Ok(fd) => Ok(Some(fd)),
                Err(Errno::NOENT) => Ok(None),
                Err(Errno::NOTDIR) => Err(refused(parent, "something above it is not a directory")),
                Err(errno) => Err(failed(parent, "open directory")(errno)),
            }
        };
        if let Some(fd) = open(parent)? {
            return Ok(fd);
        }
        let slashes = parent.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(index, _)| index);
        let mut above = open(b"")?.ok_or_else(|| refused(parent, "the root is gone"))?;
        let mut start = 0;
        for end in slashes.chain([parent.len()]) {
            let prefix = &parent[..end];
            above = match open(prefix)? {
                Some(fd) => fd,
                None => {
                    let made = make(&above, &parent[start..end]).map_err(|errno| match errno {
                        Errno::EXIST => refused(parent, "above it is a link that leads nowhere"),
                        errno => failed(parent, "create directory")(errno),
                    })?;
                    implied.push(prefix.to_vec());
                    made
                }
            };
            start = end + 1;
        }
        Ok(above)
    }
}

/// Makes a directory that no entry describes. A link that leads nowhere is not followed: it is `EEXIST`.
fn make(above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(above, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(above, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
    Ok(made)
}
