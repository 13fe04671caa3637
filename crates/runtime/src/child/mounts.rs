//! The child's steps that attach mounts: root filesystem, mounts of the configuration, masks, pivot.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use skiff_sys::Errno;
use skiff_sys::mount::{self, Change, Depth, Propagation, setattr};
use skiff_sys::root::{create_dirs_in_root, create_file_in_root, open_in_root};

use super::Child;
use crate::mount_options::Parameter;
use crate::step::{Mount, Place, What};

/// The mode of directories that are made for mounts.
const DIR_MODE: Mode = Mode::from_raw_mode(0o755);
/// The mode of files that are made for mounts.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// Lets no mount or unmount below reach the host; the other way stays open, so that an unmount on the host
/// does not meet a busy copy here.
pub fn cut_propagation() -> Result<(), Errno> {
    let root = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let change = Change { propagation: Some(Propagation::Slave), ..Change::default() };
    setattr(root.as_fd(), change, Depth::Recursive)
}

impl Child<'_> {
    pub(super) fn attach_rootfs(&mut self, place: &CStr) -> Result<(), Errno> {
        let rootfs = match self.state.sent_rootfs.take() {
            Some(sent) => sent,
            None => rustix::io::fcntl_dupfd_cloexec(self.state.rootfs.ok_or(Errno::BADF)?, 3)?,
        };
        let private = Change { propagation: Some(Propagation::Private), ..Change::default() };
        attach(rootfs.as_fd(), CWD, place)?;
        setattr(rootfs.as_fd(), private, Depth::One)?;
        self.state.root = Some(rootfs);
        Ok(())
    }

    /// The container's root directory: its root filesystem, or what `/` is in a joined mount namespace.
    pub(super) fn root(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        if self.state.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.state.root = Some(rustix::fs::openat(CWD, c"/", flags, Mode::empty())?);
        }
        self.state.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    pub(super) fn mount(&mut self, mount: &Mount) -> Result<(), Errno> {
        match &mount.what {
            What::Tree(index, _) => {
                let tree = self.trees.get(*index).ok_or(Errno::BADF)?;
                let root = self.root()?;
                let target = if tree.kind == FileType::Directory {
                    directory(root, &mount.target, mount.place)?
                } else {
                    create_file_in_root(root, &mount.target, FILE_MODE)?
                };
                attach(tree.mount.as_fd(), target.as_fd(), c"")
            }
            What::Filesystem { fstype, source, parameters, attributes, propagation } => {
                let target = directory(self.root()?, &mount.target, mount.place)?;
                let made = new_filesystem(fstype, source, parameters, *attributes)?;
                if propagation.is_some() {
                    let change = Change { propagation: *propagation, ..Change::default() };
                    setattr(made.as_fd(), change, Depth::One)?;
                }
                attach(made.as_fd(), target.as_fd(), c"")?;
                if fstype.as_c_str() == c"devpts" {
                    self.state.devpts = Some(made);
                }
                Ok(())
            }
        }
    }

    pub(super) fn remount(&mut self, target: &CStr, change: Change) -> Result<(), Errno> {
        let mount = open_in_root(self.root()?, target, OFlags::PATH, Mode::empty())?;
        setattr(mount.as_fd(), change, Depth::One)
    }

    pub(super) fn read_only_rootfs(&mut self) -> Result<(), Errno> {
        let change = Change { set: mount::RDONLY, ..Change::default() };
        setattr(self.root()?, change, Depth::One)
    }

    pub(super) fn root_propagation(&mut self, propagation: Propagation) -> Result<(), Errno> {
        let change = Change { propagation: Some(propagation), ..Change::default() };
        setattr(self.root()?, change, Depth::One)
    }

    /// `pivot_root(".", ".")` stacks the old root on the new one, so that no directory is needed for it
    /// (`pivot_root(2)`, NOTES); then the old root is let go of.
    pub(super) fn pivot(&mut self) -> Result<(), Errno> {
        rustix::process::fchdir(self.root()?)?;
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    /// Hides a path: a directory below one empty read-only tmpfs that all share, anything else below the
    /// null device of our own `/dev` (R6). A path that isn't there needs no mask.
    pub(super) fn mask(&mut self, path: &CStr) -> Result<(), Errno> {
        let target = match open_in_root(self.root()?, path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode);
        if kind != FileType::Directory {
            return self.mask_file(target.as_fd());
        }
        match &self.state.empty_dir {
            Some(mounted) => {
                let copy = clone_tree(mounted.as_fd(), Depth::One)?;
                attach(copy.as_fd(), target.as_fd(), c"")
            }
            None => {
                let change = Change { set: mount::RDONLY | crate::mounts::NO_PROGRAMS, ..Change::default() };
                let empty = new_filesystem(c"tmpfs", c"tmpfs", &[], change)?;
                attach(empty.as_fd(), target.as_fd(), c"")?;
                self.state.empty_dir = Some(empty);
                Ok(())
            }
        }
    }

    fn mask_file(&mut self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        let null = open_in_root(self.root()?, c"/dev/null", OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = rustix::fs::fstat(&null)?;
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3);
        if !is_null {
            return Err(Errno::NXIO);
        }
        let copy = clone_tree(null.as_fd(), Depth::One)?;
        attach(copy.as_fd(), target, c"")
    }

    /// Covers a path with a read-only copy of itself; one that isn't there needs nothing.
    pub(super) fn read_only_path(&mut self, path: &CStr) -> Result<(), Errno> {
        let target = match open_in_root(self.root()?, path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let copy = clone_tree(target.as_fd(), Depth::Recursive)?;
        setattr(copy.as_fd(), Change { set: mount::RDONLY, ..Change::default() }, Depth::Recursive)?;
        attach(copy.as_fd(), target.as_fd(), c"")
    }
}

/// Makes a detached instance of a filesystem.
pub fn new_filesystem(
    fstype: &CStr,
    source: &CStr,
    parameters: &[Parameter],
    attributes: Change,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", source)?;
    for Parameter { key, value } in parameters {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_c_str(), value.as_c_str())?,
            None => fsconfig_set_flag(&context, key.as_c_str())?,
        }
    }
    fsconfig_create(&context)?;
    let set = MountAttrFlags::from_bits_retain(u32::try_from(attributes.set).map_err(|_| Errno::INVAL)?);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, set)
}

fn clone_tree(tree: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(tree, c"", flags)
}

/// Attaches the detached tree `tree` to `at`, or to `path` below it.
fn attach(tree: BorrowedFd<'_>, at: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(tree, c"", at, path, flags)
}

/// The directory at `path`, made if it is missing. At a reserved place no link may have led there: what is
/// mounted at `/proc` must be at `/proc` (R5).
fn directory(root: BorrowedFd<'_>, path: &CStr, place: Place) -> Result<OwnedFd, Errno> {
    if place == Place::Free {
        return create_dirs_in_root(root, path, DIR_MODE);
    }
    let open = || {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
    };
    match open() {
        Err(Errno::NOENT) => {
            create_dirs_in_root(root, path, DIR_MODE)?;
            open()
        }
        result => result,
    }
}
