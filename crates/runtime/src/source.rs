//! Trees of the host that are mounted in the container: opened by the parent, detached, with every
//! attribute set before anybody can see them (R3).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, PROC_SUPER_MAGIC};
use rustix::mount::{OpenTreeFlags, open_tree};
use skiff_oci::runtime::LinuxIdMapping;
use skiff_sys::Errno;
use skiff_sys::mount::{Change, Depth, Propagation, set_idmap, setattr};

use crate::LaunchError;
use crate::mount_options::Parameter;

/// A tree to clone.
#[derive(Debug, Clone)]
pub struct Source {
    /// What is cloned.
    pub what: What,
    /// This mount, or all below it too.
    pub depth: Depth,
    /// Attributes of the mount.
    pub attributes: Change,
    /// Attributes of the mount and all below it.
    pub recursive_attributes: Change,
    /// Its propagation.
    pub propagation: (Propagation, Depth),
    /// Whose owners it shows.
    pub owners: Owners,
    /// What it must be.
    pub expected: Expected,
}

/// What becomes a tree of the container.
#[derive(Debug, Clone)]
pub enum What {
    /// A path of the host.
    Path(PathBuf),
    /// A tmpfs that starts with a copy of what the root filesystem has at `below`.
    CopyUp {
        /// Where in the root filesystem.
        below: CString,
        /// Parameters of the tmpfs.
        parameters: Vec<Parameter>,
    },
}

impl What {
    /// The source as people know it.
    pub fn shown(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::CopyUp { .. } => PathBuf::from("tmpfs"),
        }
    }
}

/// How the owners of files are seen through the mount.
#[derive(Debug, Clone, Default)]
pub enum Owners {
    /// As they are on disk.
    #[default]
    AsOnDisk,
    /// By the id maps of the container's user namespace.
    Container(Depth),
    /// By maps of its own.
    Mapped(Depth, Vec<LinuxIdMapping>, Vec<LinuxIdMapping>),
}

/// What the source must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A file or a directory.
    Anything,
    /// A device node of this type and number (R6).
    Device(FileType, u64),
    /// A procfs, as nothing else may be at `/proc` (R5).
    Procfs,
}

/// A source that has been opened.
#[derive(Debug)]
pub struct Tree {
    /// The detached mount.
    pub mount: OwnedFd,
    /// What its root is.
    pub kind: FileType,
}

impl Source {
    /// A private bind of `path` with the attributes `attributes`.
    pub fn bind(path: PathBuf, attributes: Change) -> Self {
        Self {
            what: What::Path(path),
            depth: Depth::One,
            attributes,
            recursive_attributes: Change::default(),
            propagation: (Propagation::Private, Depth::One),
            owners: Owners::AsOnDisk,
            expected: Expected::Anything,
        }
    }

    /// The root filesystem of a bundle: the directory with everything mounted below it.
    pub fn root(path: PathBuf) -> Self {
        Self { depth: Depth::Recursive, ..Self::bind(path, Change::default()) }
    }

    /// Makes the detached tree and gives it its attributes; `rootfs` is for [`What::CopyUp`]. Its owners
    /// are mapped later, when the maps are known.
    ///
    /// # Errors
    /// [`LaunchError::Source`] with the path.
    pub fn open(&self, rootfs: Option<BorrowedFd<'_>>) -> Result<Tree, LaunchError> {
        let error = |doing: &str| LaunchError::host(format!("{doing} {}", self.what.shown().display()));
        let mount = match &self.what {
            What::Path(path) => {
                let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                if self.depth == Depth::Recursive {
                    flags |= OpenTreeFlags::AT_RECURSIVE;
                }
                open_tree(CWD, path, flags)
                    .map_err(|source| LaunchError::Source { path: path.clone(), source })?
            }
            What::CopyUp { below, parameters } => crate::copy_up::filled_tmpfs(rootfs, below, parameters)
                .map_err(LaunchError::host(format!("copy {} into a tmpfs", below.to_string_lossy())))?,
        };
        let stat = rustix::fs::fstat(&mount).map_err(error("look at the mount source"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match self.expected {
            Expected::Device(wanted, rdev) if kind != wanted || stat.st_rdev != rdev => {
                return Err(error("use the device")(Errno::NXIO));
            }
            Expected::Procfs => {
                let is_procfs = rustix::fs::fstatfs(&mount).map(|fs| fs.f_type == PROC_SUPER_MAGIC);
                if !is_procfs.map_err(error("look at the mount source"))? {
                    return Err(error("find a procfs at")(Errno::INVAL));
                }
            }
            Expected::Anything | Expected::Device(..) => {}
        }
        self.set_attributes(mount.as_fd()).map_err(error("set the mount options of"))?;
        Ok(Tree { mount, kind })
    }

    /// One call where one is enough: the propagation goes along with the attributes of the same depth.
    fn set_attributes(&self, mount: BorrowedFd<'_>) -> Result<(), Errno> {
        let (propagation, depth) = self.propagation;
        let mut one = self.attributes;
        let mut all = self.recursive_attributes;
        match (depth, self.depth) {
            (Depth::Recursive, Depth::Recursive) => all.propagation = Some(propagation),
            _ => one.propagation = Some(propagation),
        }
        if all != Change::default() {
            setattr(mount, all, Depth::Recursive)?;
        }
        if one != Change::default() {
            setattr(mount, one, Depth::One)?;
        }
        Ok(())
    }
}

impl Tree {
    /// Maps the owners of the detached tree by the user namespace `userns`.
    ///
    /// # Errors
    /// As [`set_idmap`].
    pub fn map_owners(&self, userns: BorrowedFd<'_>, depth: Depth) -> Result<(), Errno> {
        set_idmap(self.mount.as_fd(), userns, depth)
    }
}
