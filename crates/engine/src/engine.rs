//! The engine on one machine: its directories, and what is done to containers as a whole.

use std::path::PathBuf;

use rustix::fs::AtFlags;
use skiff_cgroup::{Cgroup, CgroupPath, Layout};
use skiff_monitor::ExitRecord;
use skiff_store::{Container, ContainerId, Directory, Patience, Store};
use skiff_sys::Errno;

use crate::EngineError;
use crate::record::{self, Record};
use crate::spec::{Place, cgroup_path};

/// How long `rm -f` waits for the monitor of a container that it has killed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What survives a reboot: images, layers, containers.
    pub root: PathBuf,
    /// What dies with the boot: locks, names.
    pub state: PathBuf,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) store: Store,
    unswept: Vec<EngineError>,
}

/// A container, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: ContainerId,
    /// Which container it is.
    pub record: Record,
    /// How it ended; nothing while it runs.
    pub exit: Option<ExitRecord>,
}

/// Whether a running container may be killed to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It may not.
    No,
    /// It may.
    Kill,
}

impl Engine {
    /// Opens the engine whose data is at `roots`, and finishes what crashes have left behind.
    ///
    /// # Errors
    /// When the directories can't be made, or belong to others too.
    pub fn open(roots: &Roots) -> Result<Self, EngineError> {
        let mut engine = Self { store: Store::open(&roots.root, &roots.state)?, unswept: Vec::new() };
        engine.sweep()?;
        Ok(engine)
    }

    /// Hands over why [`Engine::open`] could not finish what crashes have left behind, an error for each.
    pub fn take_unswept(&mut self) -> Vec<EngineError> {
        std::mem::take(&mut self.unswept)
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn containers(&self) -> Result<Vec<Summary>, EngineError> {
        let mut all = Vec::new();
        for id in self.store.container_ids()? {
            let view = self.store.view(&id)?;
            if let Some(record) = record::read_state(&view)? {
                all.push(Summary { exit: record::read_exit(&view)?, id, record });
            }
        }
        all.sort_by_key(|summary| std::cmp::Reverse(summary.record.created_at));
        Ok(all)
    }

    /// Removes the container that `name` names: its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// When there is none or more than one, or when it runs and `force` doesn't allow to kill it.
    pub fn remove(&self, name: &str, force: Force) -> Result<ContainerId, EngineError> {
        let id = self.find(name)?;
        let mut held = self.store.try_hold(&id)?;
        if held.is_none() && self.store.container_ids()?.contains(&id) {
            if force == Force::No {
                return Err(EngineError::Running { name: name.to_owned() });
            }
            self.kill(&id)?;
            held = self.wait_for(&id, name)?;
        }
        if let Some(container) = held {
            discard(&self.store, container)?;
        }
        Ok(id)
    }

    fn find(&self, name: &str) -> Result<ContainerId, EngineError> {
        if let Some(id) = self.store.find_name(name)? {
            return Ok(id);
        }
        let mut matching = self.store.container_ids()?.into_iter().filter(|id| id.as_str().starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(id), None) if !name.is_empty() => Ok(id),
            (Some(_), Some(_)) if !name.is_empty() => Err(EngineError::Ambiguous { name: name.to_owned() }),
            _ => Err(EngineError::NoContainer { name: name.to_owned() }),
        }
    }

    /// Kills every process of a container; its monitor then does the rest.
    fn kill(&self, id: &ContainerId) -> Result<(), EngineError> {
        let view = self.store.view(id)?;
        let record = record::read_state(&view)?;
        let Some(cgroup) = existing_cgroup(id, record.as_ref())? else { return Ok(()) };
        match cgroup.kill() {
            // The monitor was faster, and has removed the group meanwhile.
            Err(_) if existing_cgroup(id, record.as_ref())?.is_none() => Ok(()),
            killed => Ok(killed?),
        }
    }

    /// The container, once its monitor has let go of it; nothing when the monitor has removed it.
    fn wait_for(&self, id: &ContainerId, name: &str) -> Result<Option<Container>, EngineError> {
        match self.store.hold(id, Patience::For(PATIENCE))? {
            None if self.store.container_ids()?.contains(id) => {
                Err(EngineError::Stuck { name: name.to_owned() })
            }
            held => Ok(held),
        }
    }

    /// Finishes the removal or the end of containers whose processes of ours are gone, and gives those back their
    /// names that a reboot took away. Two questions to the kernel for each container that stays. What can't be
    /// finished is no reason to refuse another container, and is tried again by the next command (R34).
    fn sweep(&mut self) -> Result<(), EngineError> {
        for id in self.store.container_ids()? {
            let swept = self.sweep_one(&id);
            self.unswept.extend(swept.err());
        }
        let emptied = self.store.empty_trash();
        self.unswept.extend(emptied.err().map(EngineError::from));
        Ok(())
    }

    fn sweep_one(&self, id: &ContainerId) -> Result<(), EngineError> {
        if exists(self.store.root(), id, record::EXIT)? {
            return if exists(self.store.state(), id, "")? { Ok(()) } else { self.revive(id) };
        }
        let Some(container) = self.store.try_hold(id)? else { return Ok(()) };
        // It may have ended properly between the look and the lock.
        match record::read_exit(&self.store.view(id)?)? {
            Some(_) => Ok(()),
            None => discard(&self.store, container),
        }
    }

    /// Makes what died with the boot of a container that had ended before: its state, and its name.
    fn revive(&self, id: &ContainerId) -> Result<(), EngineError> {
        let Some(_held) = self.store.try_hold(id)? else { return Ok(()) };
        let Some(record) = record::read_state(&self.store.view(id)?)? else { return Ok(()) };
        match self.store.claim_name(&record.name, id) {
            // A container that was made since then has it; this one is still found by its id.
            Ok(()) | Err(skiff_store::Error::NameTaken { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Removes all of a container that nobody else holds: processes, cgroup, directories, name.
pub(crate) fn discard(store: &Store, container: Container) -> Result<(), EngineError> {
    let record = record::read_state(&store.view(container.id())?)?;
    if let Some(cgroup) = existing_cgroup(container.id(), record.as_ref())? {
        cgroup.kill()?;
        cgroup.remove()?;
    }
    let id = container.id();
    // A container that was left behind before its record was written may have a name all the same.
    let name = match record {
        Some(record) => Some(record.name),
        None => store.container_names()?.into_iter().find(|(_, owner)| owner == id).map(|(name, _)| name),
    };
    Ok(store.remove_container(container, name.as_deref())?)
}

/// Whether the container has the file `name` in `place`, or with an empty name, its directory.
fn exists(place: &Directory, id: &ContainerId, name: &str) -> Result<bool, EngineError> {
    let path = format!("containers/{id}/{name}");
    match rustix::fs::statat(place.fd(), &path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(source) => Err(EngineError::Look { path: place.path().join(path), source }),
    }
}

/// The cgroup of a container, where it has one.
fn existing_cgroup(id: &ContainerId, record: Option<&Record>) -> Result<Option<Cgroup>, EngineError> {
    let recorded = record.and_then(|record| record.cgroup.parse::<CgroupPath>().ok());
    let path = match recorded {
        Some(path) => path,
        // The record is written before the group is made, so without one there is at most the default's.
        None => cgroup_path(None, &Place { id: id.to_string(), directory: PathBuf::new() })?,
    };
    match Cgroup::open(&Layout::detect()?, &path) {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(skiff_cgroup::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
