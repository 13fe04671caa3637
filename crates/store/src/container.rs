//! The directories of containers.
//!
//! Invariant: a container's directories are made and removed by who holds its lock, and the lock is held as long
//! as a process of ours answers for the container. A free lock therefore means: finished, or left behind by a
//! crash; which of them, the records in the directory say. Doing any step of a removal twice is harmless.

use crate::{ContainerId, Directory, Error, Kind, Lock, Overlay, Patience, Store};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use skiff_sys::{Errno, fail};
use std::collections::BTreeSet;
use std::path::PathBuf;

const CONTAINERS: &str = "containers";
const TRASH: &str = "trash";
const LOCK: &str = "lock";

/// As many times as a new container may lose its directory to a sweeper before that is an error.
const CREATE_ATTEMPTS: u32 = 16;

/// A container whose lock is held by this process.
#[derive(Debug)]
pub struct Container {
    id: ContainerId,
    data: Directory,
    state: Directory,
    lock: Lock,
}

/// A container to read about; nobody is locked out, so any of it may vanish at any time.
#[derive(Debug)]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// What survives a reboot.
    pub data: Option<Directory>,
    /// What dies with the boot.
    pub state: Option<Directory>,
}

impl Container {
    /// Its id.
    pub const fn id(&self) -> &ContainerId {
        &self.id
    }

    /// What survives a reboot: records and the writable layer.
    pub const fn data(&self) -> &Directory {
        &self.data
    }

    /// What dies with the boot: the lock, sockets.
    pub const fn state(&self) -> &Directory {
        &self.state
    }

    /// Makes the writable layer on top of `lowers` (lowest first); the container's `/` gets owner and mode of
    /// the topmost of them.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn create_overlay(&self, lowers: Vec<PathBuf>) -> Result<Overlay, Error> {
        let path = |name: &str| self.data.path().join(name);
        fail::point("store.overlay-dirs").map_err(Error::file("create directory", path("upper")))?;
        for name in ["upper", "work"] {
            rustix::fs::mkdirat(self.data.fd(), name, Mode::RWXU)
                .map_err(Error::file("create directory", path(name)))?;
        }
        let (owner, group, mode) = match lowers.last() {
            Some(top) => {
                let like = rustix::fs::stat(top).map_err(Error::file("stat layer", top))?;
                (like.st_uid, like.st_gid, like.st_mode & 0o7777)
            }
            None => (0, 0, 0o755),
        };
        if owner != rustix::process::geteuid().as_raw() || group != rustix::process::getegid().as_raw() {
            let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
            rustix::fs::chownat(self.data.fd(), "upper", Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::file("change owner of", path("upper")))?;
        }
        // After the owner, which clears set-id bits; and not by `mkdirat`, which is subject to the umask.
        rustix::fs::chmodat(self.data.fd(), "upper", Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(Error::file("change mode of", path("upper")))?;
        Ok(Overlay { lowers, upper: path("upper"), work: path("work") })
    }
}

impl Store {
    /// Makes the directories of a new container and takes its lock.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn create_container(&self) -> Result<Container, Error> {
        for _ in 0..CREATE_ATTEMPTS {
            if let Some(container) = self.try_create(ContainerId::random()?)? {
                return Ok(container);
            }
        }
        Err(Error::file("create", self.state().path().join(CONTAINERS))(Errno::BUSY))
    }

    /// One attempt; nothing when a sweeper took the directory before its lock was ours.
    fn try_create(&self, id: ContainerId) -> Result<Option<Container>, Error> {
        fail::point("store.create-container").map_err(Error::file("create", self.state().path()))?;
        let state = match self.make(self.state(), &id)? {
            Made::New(state) => state,
            Made::Lost => return Ok(None),
        };
        let lock = match Lock::acquire(&state, LOCK, Kind::Exclusive, Patience::Never) {
            Ok(lock) => lock,
            Err(Error::Locked { .. } | Error::File { source: Errno::NOENT, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        fail::point("store.create-data").map_err(Error::file("create", self.root().path()))?;
        match self.make(self.root(), &id)? {
            Made::New(data) => Ok(Some(Container { id, data, state, lock })),
            Made::Lost => Ok(None),
        }
    }

    fn make(&self, place: &Directory, id: &ContainerId) -> Result<Made, Error> {
        let path = format!("{CONTAINERS}/{id}");
        let mut made = rustix::fs::mkdirat(place.fd(), &path, Mode::RWXU);
        if made == Err(Errno::NOENT) {
            place.subdirectory(CONTAINERS)?;
            made = rustix::fs::mkdirat(place.fd(), &path, Mode::RWXU);
        }
        made.map_err(Error::file("create directory", place.path().join(&path)))?;
        Ok(open(place, &path)?.map_or(Made::Lost, Made::New))
    }

    /// The ids of all containers that have a directory, whole or not.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn container_ids(&self) -> Result<BTreeSet<ContainerId>, Error> {
        let mut ids = BTreeSet::new();
        for place in [self.state(), self.root()] {
            if let Some(containers) = place.existing_subdirectory(CONTAINERS)? {
                ids.extend(containers.names()?.iter().filter_map(|name| name.parse().ok()));
            }
        }
        Ok(ids)
    }

    /// The directories of a container, for reading.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn view(&self, id: &ContainerId) -> Result<ContainerView, Error> {
        let path = format!("{CONTAINERS}/{id}");
        Ok(ContainerView {
            id: id.clone(),
            data: open(self.root(), &path)?,
            state: open(self.state(), &path)?,
        })
    }

    /// Takes the lock of a container that exists, if it is free.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn try_hold(&self, id: &ContainerId) -> Result<Option<Container>, Error> {
        self.hold(id, Patience::Never)
    }

    /// Takes the lock of a container that exists; nothing when patience ends before it is free, or the container
    /// before that.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn hold(&self, id: &ContainerId, patience: Patience) -> Result<Option<Container>, Error> {
        let path = format!("{CONTAINERS}/{id}");
        let view = self.view(id)?;
        if view.data.is_none() && view.state.is_none() {
            return Ok(None);
        }
        // Either may be missing: the state after a reboot, the data after half a creation or removal.
        let state = match view.state {
            Some(state) => state,
            None => self.state().subdirectory(CONTAINERS)?.subdirectory(id.as_str())?,
        };
        let lock = match Lock::acquire(&state, LOCK, Kind::Exclusive, patience) {
            Ok(lock) => lock,
            Err(Error::Locked { .. } | Error::File { source: Errno::NOENT, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = match open(self.root(), &path)? {
            Some(data) => data,
            None => self.root().subdirectory(CONTAINERS)?.subdirectory(id.as_str())?,
        };
        Ok(Some(Container { id: id.clone(), data, state, lock }))
    }

    /// Removes a container: its data, its names, and last its state with the lock.
    ///
    /// The data goes to the trash first, so that nobody ever meets half of it as a container.
    ///
    /// # Errors
    /// [`Error::Remove`] names what was left; a later [`Store::empty_trash`] tries it again.
    pub fn remove_container(&self, container: Container, name: Option<&str>) -> Result<(), Error> {
        let Container { id, data, state, lock } = container;
        drop(data);
        drop(state);
        fail::point("store.trash").map_err(Error::file("remove", self.root().path()))?;
        let trashed = self.to_trash(&id)?;
        if let Some(name) = name {
            self.release_name(name, &id)?;
        }
        let data_gone = remove_below(self.root(), TRASH, &trashed);
        fail::point("store.remove-state").map_err(Error::file("remove", self.state().path()))?;
        let state_gone = remove_below(self.state(), CONTAINERS, id.as_str());
        drop(lock);
        data_gone.and(state_gone)
    }

    /// Removes what removals left behind. Where the state of a container is still there its removal is going on,
    /// or is finished by whoever sweeps that container.
    ///
    /// # Errors
    /// [`Error::Remove`] for the first thing that can't be removed now; the others are gone.
    pub fn empty_trash(&self) -> Result<(), Error> {
        let Some(trash) = self.root().existing_subdirectory(TRASH)? else { return Ok(()) };
        let mut results = Vec::new();
        for name in trash.names()? {
            let id = name.split_once('.').map_or(name.as_str(), |(id, _)| id);
            if open(self.state(), &format!("{CONTAINERS}/{id}"))?.is_none() {
                results.push(trash.remove_tree(&name));
            }
        }
        results.into_iter().collect()
    }

    /// Moves the data of a container to the trash and returns its name there.
    fn to_trash(&self, id: &ContainerId) -> Result<String, Error> {
        let from = format!("{CONTAINERS}/{id}");
        let root = self.root();
        let mut name = id.to_string();
        loop {
            match rustix::fs::renameat(root.fd(), &from, root.fd(), format!("{TRASH}/{name}")) {
                Ok(()) => return Ok(name),
                // The first container of all has no trash yet.
                Err(Errno::NOENT) if root.existing_subdirectory(TRASH)?.is_none() => {
                    root.subdirectory(TRASH)?;
                }
                // An earlier removal got as far as this.
                Err(Errno::NOENT) => return Ok(name),
                // It left something in the trash that could not be removed then.
                Err(Errno::NOTEMPTY | Errno::EXIST) => name = format!("{id}.{}", crate::random_hex::<8>()?),
                Err(errno) => return Err(Error::file("remove", root.path().join(&from))(errno)),
            }
        }
    }
}

fn remove_below(place: &Directory, parent: &str, name: &str) -> Result<(), Error> {
    match place.existing_subdirectory(parent)? {
        Some(parent) => parent.remove_tree(name),
        None => Ok(()),
    }
}

enum Made {
    New(Directory),
    /// It was made and somebody removed it.
    Lost,
}

fn open(place: &Directory, path: &str) -> Result<Option<Directory>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let full = place.path().join(path);
    match rustix::fs::openat(place.fd(), path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(Directory::new(fd, full))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::file("open", full)(errno)),
    }
}
