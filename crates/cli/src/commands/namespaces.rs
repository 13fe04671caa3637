//! The namespaces that can be seen, and the processes in them: one pass over `/proc`.
//!
//! Processes come and go meanwhile. One that ends during the pass is left out; one that may not be looked at counts
//! only where its namespaces are readable.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::process::Pid;
use skiff_sys::Errno;
use skiff_sys::mountinfo;
use skiff_sys::ns::{self, Inode, Kind};
use skiff_sys::procfs;

use crate::error::{CliError, Doing as _};

/// A process with what matters here.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its parent's number; 0 for none.
    pub parent: i32,
    /// Its namespaces, as far as they are readable.
    pub namespaces: BTreeMap<Kind, Inode>,
}

/// A namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its kind.
    pub kind: Kind,
    /// Which one it is.
    pub inode: Inode,
    /// Numbers of the processes in it, ascending; none where only a mount or a child keeps it.
    pub pids: Vec<Pid>,
    /// Files that it is mounted at, in this mount namespace.
    pub mounts: Vec<PathBuf>,
    /// The user namespace that owns it; for a user namespace its parent.
    pub owner: Option<Inode>,
    /// The namespace around it; only user and pid namespaces have one.
    pub parent: Option<Inode>,
}

/// What one pass found.
#[derive(Debug, Default)]
pub struct Scan {
    /// By number.
    pub processes: BTreeMap<i32, Process>,
    /// By inode: numbers of namespaces are unique over all kinds.
    pub namespaces: BTreeMap<Inode, Namespace>,
}

impl Scan {
    /// Looks at all processes and mounts.
    pub fn new() -> Result<Self, CliError> {
        let mut scan = Self::default();
        for pid in procfs::pids().doing("read /proc")? {
            let Ok(stat) = procfs::stat(pid) else { continue };
            scan.add_process(Process { pid, parent: stat.parent, namespaces: namespaces_of(pid) });
        }
        scan.add_mounts()?;
        Ok(scan)
    }

    fn add_process(&mut self, process: Process) {
        for (kind, inode) in &process.namespaces {
            self.namespace(*kind, *inode).pids.push(process.pid);
        }
        self.processes.insert(process.pid.as_raw_nonzero().get(), process);
    }

    fn namespace(&mut self, kind: Kind, inode: Inode) -> &mut Namespace {
        let (pids, mounts) = (Vec::new(), Vec::new());
        let new = Namespace { kind, inode, pids, mounts, owner: None, parent: None };
        self.namespaces.entry(inode).or_insert(new)
    }

    /// Adds the namespaces that are kept by a bind mount.
    fn add_mounts(&mut self) -> Result<(), CliError> {
        let text = procfs::read(rustix::process::getpid(), "mountinfo")?;
        for mount in mountinfo::parse(&text) {
            let mount = mount?;
            if mount.fs_type != b"nsfs" {
                continue;
            }
            if let Some((kind, inode)) = ns::parse_link(&mountinfo::unescape(mount.root)) {
                let path = mountinfo::unescape(mount.mount_point);
                self.namespace(kind, inode).mounts.push(PathBuf::from(OsStr::from_bytes(&path)));
            }
        }
        Ok(())
    }

    /// Finds out owners and parents, and adds those of them that have no process: they live by their children.
    pub fn add_relations(&mut self) {
        let known: Vec<Inode> = self.namespaces.keys().copied().collect();
        for inode in known {
            let file = self.namespaces.get(&inode).and_then(|namespace| namespace.open().ok());
            if let Some(file) = file {
                self.relate(inode, &file);
            }
        }
    }

    fn relate(&mut self, inode: Inode, file: &OwnedFd) {
        // EPERM: outside of what this process may see. EINVAL: this kind has none. Either way there is none to show.
        let owner = ns::owner(file.as_fd()).ok().and_then(|owner| self.add_related(Kind::User, owner));
        let kind = self.namespaces.get(&inode).map(|namespace| namespace.kind);
        let parent = match kind {
            Some(kind @ (Kind::Pid | Kind::User)) => {
                ns::parent(file.as_fd()).ok().and_then(|parent| self.add_related(kind, parent))
            }
            _ => None,
        };
        if let Some(namespace) = self.namespaces.get_mut(&inode) {
            (namespace.owner, namespace.parent) = (owner, parent);
        }
    }

    /// Adds the namespace `file` if it is new, and says which it is.
    fn add_related(&mut self, kind: Kind, file: OwnedFd) -> Option<Inode> {
        let inode = ns::inode(file.as_fd()).ok()?;
        if !self.namespaces.contains_key(&inode) {
            self.namespace(kind, inode);
            self.relate(inode, &file);
        }
        Some(inode)
    }

    /// The namespace of the same kind that the nearest ancestor process outside `namespace` is in.
    pub fn around(&self, namespace: &Namespace) -> Option<Inode> {
        let mut process = self.processes.get(&namespace.pids.first()?.as_raw_nonzero().get())?;
        // As many steps as there are processes: the parents may have changed during the pass.
        for _ in 0..self.processes.len() {
            process = self.processes.get(&process.parent)?;
            match process.namespaces.get(&namespace.kind) {
                Some(inode) if *inode != namespace.inode => return Some(*inode),
                _ => {}
            }
        }
        None
    }
}

impl Namespace {
    /// The file that stands for it.
    pub fn path(&self) -> Option<PathBuf> {
        let process = self.pids.first().map(|pid| ns::path_of(*pid, self.kind));
        process.or_else(|| self.mounts.first().cloned())
    }

    /// Opens it.
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        let file = ns::open(&self.path().ok_or(Errno::NOENT)?)?;
        // The process may have moved on, or another file may be mounted there now.
        if ns::inode(file.as_fd())? == self.inode { Ok(file) } else { Err(Errno::SRCH) }
    }
}

/// The namespaces of a process, as far as they are readable.
pub fn namespaces_of(pid: Pid) -> BTreeMap<Kind, Inode> {
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, ns::inode_of(pid, kind).ok()?))).collect()
}

/// The command line of a process on one line; its own name for kernel threads.
pub fn command_of(pid: Pid) -> String {
    let words = procfs::cmdline(pid).unwrap_or_default();
    if words.is_empty() {
        let comm = procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default();
        return crate::output::one_line(&comm);
    }
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    crate::output::one_line(&words.join(&b' '))
}
