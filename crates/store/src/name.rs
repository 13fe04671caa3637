//! Names of containers.
//!
//! A name is a symbolic link in `names/` whose text leads to the container's directory: the kernel makes it
//! whole or not at all, and exactly one of many makers wins. A name whose container has no directory any more
//! was left behind by a crash, and whoever wants it may take it.

use crate::{ContainerId, Directory, Error, Kind, Lock, Patience, Store};
use rustix::fs::AtFlags;
use skiff_sys::{Errno, fail};

const TARGET: &str = "../containers/";

impl Store {
    /// Gives the name to the container `id`, whose directory must be there already.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::NameSyntax`], [`Error::File`].
    pub fn claim_name(&self, name: &str, id: &ContainerId) -> Result<(), Error> {
        check_name(name)?;
        let names = self.state().subdirectory("names")?;
        fail::point("store.claim-name").map_err(Error::file("create name", names.path().join(name)))?;
        match link(&names, name, id) {
            Err(Errno::EXIST) => self.take_over(&names, name, id),
            done => done.map_err(Error::file("create name", names.path().join(name))),
        }
    }

    /// The container of this name.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn find_name(&self, name: &str) -> Result<Option<ContainerId>, Error> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        match self.state().existing_subdirectory("names")? {
            Some(names) => target(&names, name),
            None => Ok(None),
        }
    }

    /// All names and whose they are.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn container_names(&self) -> Result<Vec<(String, ContainerId)>, Error> {
        let Some(names) = self.state().existing_subdirectory("names")? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in names.names()? {
            if let Some(id) = target(&names, &name)? {
                found.push((name, id));
            }
        }
        Ok(found)
    }

    /// Takes the name away from the container `id`; if it isn't its name, nothing happens.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn release_name(&self, name: &str, id: &ContainerId) -> Result<(), Error> {
        let Some(names) = self.state().existing_subdirectory("names")? else { return Ok(()) };
        if target(&names, name)?.as_ref() == Some(id) { names.unlink(name) } else { Ok(()) }
    }

    /// Takes a name that was left behind; the lock lets only one process at a time decide that it was.
    fn take_over(&self, names: &Directory, name: &str, id: &ContainerId) -> Result<(), Error> {
        let _lock = Lock::acquire(self.state(), "names.lock", Kind::Exclusive, Patience::Forever)?;
        let failed = || Error::file("create name", names.path().join(name));
        if let Some(owner) = target(names, name)? {
            if self.has_container(&owner)? {
                return Err(Error::NameTaken { name: name.to_owned(), id: owner });
            }
            names.unlink(name)?;
        }
        match link(names, name, id) {
            // Somebody who did not need the lock was faster.
            Err(Errno::EXIST) => match target(names, name)? {
                Some(owner) => Err(Error::NameTaken { name: name.to_owned(), id: owner }),
                None => Err(failed()(Errno::EXIST)),
            },
            done => done.map_err(failed()),
        }
    }

    /// Whether there is a directory of this container, whole or not.
    fn has_container(&self, id: &ContainerId) -> Result<bool, Error> {
        for place in [self.state(), self.root()] {
            let path = format!("containers/{id}");
            match rustix::fs::statat(place.fd(), &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok(true),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::file("stat", place.path().join(path))(errno)),
            }
        }
        Ok(false)
    }
}

fn link(names: &Directory, name: &str, id: &ContainerId) -> Result<(), Errno> {
    rustix::fs::symlinkat(format!("{TARGET}{id}"), names.fd(), name)
}

fn target(names: &Directory, name: &str) -> Result<Option<ContainerId>, Error> {
    match rustix::fs::readlinkat(names.fd(), name, Vec::new()) {
        Ok(text) => {
            let id =
                text.to_str().ok().and_then(|text| text.strip_prefix(TARGET)).and_then(|id| id.parse().ok());
            Ok(id)
        }
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(Error::file("read name", names.path().join(name))(errno)),
    }
}

/// Docker's grammar: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn check_name(name: &str) -> Result<(), Error> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    let is_valid = (2..=255).contains(&name.len())
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|byte| is_word(byte) || b"_.-".contains(&byte));
    if is_valid { Ok(()) } else { Err(Error::NameSyntax(name.chars().take(300).collect())) }
}
