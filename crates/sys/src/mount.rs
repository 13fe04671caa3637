//! Mount attributes of detached trees: `mount_setattr(2)`, which `rustix` lacks.
//!
//! The constants are those of `linux/mount.h`; everything else of the mount API comes from `rustix::mount`.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Errno;
use crate::process::check;

/// `MOUNT_ATTR_RDONLY`
pub const RDONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`
pub const NOSUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`
pub const NODEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`
pub const NOEXEC: u64 = 0x8;
/// `MOUNT_ATTR__ATIME`: the mask of the access-time field.
pub const ATIME_MASK: u64 = 0x70;
/// `MOUNT_ATTR_RELATIME`, which is zero.
pub const RELATIME: u64 = 0x0;
/// `MOUNT_ATTR_NOATIME`
pub const NOATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`
pub const STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_NODIRATIME`
pub const NODIRATIME: u64 = 0x80;
/// `MOUNT_ATTR_IDMAP`
pub const IDMAP: u64 = 0x0010_0000;
/// `MOUNT_ATTR_NOSYMFOLLOW`
pub const NOSYMFOLLOW: u64 = 0x0020_0000;

/// How mounts and unmounts travel between copies of a mount (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `MS_PRIVATE`: neither way.
    Private,
    /// `MS_SLAVE`: from the peer group to here.
    Slave,
    /// `MS_SHARED`: both ways.
    Shared,
    /// `MS_UNBINDABLE`: private, and can't be bind mounted.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Unbindable => 1 << 17,
            Self::Private => 1 << 18,
            Self::Slave => 1 << 19,
            Self::Shared => 1 << 20,
        }
    }
}

/// Whether a change covers one mount or the whole tree below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// This mount alone.
    One,
    /// This mount and all below it (`AT_RECURSIVE`).
    Recursive,
}

/// The change that `mount_setattr(2)` makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear; [`ATIME_MASK`] must be here whenever the access-time mode is set.
    pub clear: u64,
    /// The new propagation, if it changes.
    pub propagation: Option<Propagation>,
}

/// `mount_setattr(2)` (Linux 5.12) on the mount behind the descriptor `mount`. Allocates nothing.
///
/// # Errors
/// What the man page lists; `EPERM` when the mount is locked or belongs to another user namespace.
pub fn setattr(mount: BorrowedFd<'_>, change: Change, depth: Depth) -> Result<(), Errno> {
    call(mount, change, 0, depth)
}

/// Maps the owners of the detached tree `mount` by the id maps of the user namespace `userns`
/// (`MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// `EINVAL` when the filesystem can't be id-mapped or the mount is attached or mapped already, `EPERM`
/// without CAP_SYS_ADMIN in the filesystem's user namespace.
pub fn set_idmap(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, depth: Depth) -> Result<(), Errno> {
    let userns = u64::from(userns.as_raw_fd().unsigned_abs());
    call(mount, Change { set: IDMAP, ..Change::default() }, userns, depth)
}

fn call(mount: BorrowedFd<'_>, change: Change, userns: u64, depth: Depth) -> Result<(), Errno> {
    /// `struct mount_attr` of `linux/mount.h`.
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let attr = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: userns,
    };
    let flags = libc::AT_EMPTY_PATH | if depth == Depth::Recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a mount_attr of the size given and is only read,
    // and the descriptors in it are open for the whole call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(|_| ())
}
