//! Namespaces: their kinds, the files that stand for them, and how to make and join them.
//!
//! See `namespaces(7)`, `unshare(2)`, `setns(2)`, `ioctl_ns(2)`. A namespace is held by a descriptor; its name for
//! people is the inode number that `ls -l /proc/PID/ns/` shows.

use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use crate::Errno;

/// The eight kinds of namespaces that Linux has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Mount points.
    Mount,
    /// Host and domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network devices, addresses, routes, ports.
    Net,
    /// Process numbers.
    Pid,
    /// User and group numbers, and capabilities.
    User,
    /// The root of the visible cgroup tree.
    Cgroup,
    /// Offsets of the monotonic and the boot clock.
    Time,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Mount, Self::Uts, Self::Ipc, Self::Net, Self::Pid, Self::User, Self::Cgroup, Self::Time];

    /// The name of its file in `/proc/PID/ns`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The file of the namespace that the process's children will be in, where that may differ from its own.
    pub const fn for_children_file_name(self) -> &'static str {
        match self {
            Self::Pid => "pid_for_children",
            Self::Time => "time_for_children",
            other => other.file_name(),
        }
    }

    /// The kind whose file in `/proc/PID/ns` is called `name`.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.file_name() == name)
    }

    /// Its `CLONE_NEW…` flag.
    pub const fn flag(self) -> c_int {
        match self {
            Self::Mount => libc::CLONE_NEWNS,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Net => libc::CLONE_NEWNET,
            Self::Pid => libc::CLONE_NEWPID,
            Self::User => libc::CLONE_NEWUSER,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => libc::CLONE_NEWTIME,
        }
    }

    /// The kind with the `CLONE_NEW…` flag `flag`.
    pub fn from_flag(flag: c_int) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.flag() == flag)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.file_name())
    }
}

/// Which namespace it is: the inode of its file. Two descriptors of one namespace have the same.
///
/// The device is always that of nsfs, so it is not kept; see `ioctl_ns(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode(pub u64);

impl fmt::Display for Inode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Opens a file that stands for a namespace: `/proc/PID/ns/…` or a bind mount of one.
///
/// # Errors
/// `EINVAL` if the file is something else; otherwise those of `open(2)`.
pub fn open(path: &Path) -> Result<OwnedFd, Errno> {
    // Non-blocking: a user's path may be a FIFO, and opening that must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    kind(file.as_fd()).map(|_kind| file)
}

/// The file that stands for the namespace of `kind` that the process `pid` is in.
pub fn path_of(pid: Pid, kind: Kind) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/{}", pid.as_raw_nonzero(), kind.file_name()))
}

/// Opens the namespace of `kind` that the process `pid` is in.
///
/// # Errors
/// `ENOENT` when there is no such process or kind, `EACCES` without ptrace rights over the process.
pub fn open_of(pid: Pid, kind: Kind) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path_of(pid, kind), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Which namespace of `kind` the process `pid` is in, without opening it.
///
/// # Errors
/// As [`open_of`].
pub fn inode_of(pid: Pid, kind: Kind) -> Result<Inode, Errno> {
    inode_at(pid, kind.file_name())
}

/// Which namespace the link `name` in `/proc/PID/ns` leads to.
///
/// # Errors
/// As [`open_of`].
pub fn inode_at(pid: Pid, name: &str) -> Result<Inode, Errno> {
    let link = rustix::fs::readlink(format!("/proc/{}/ns/{name}", pid.as_raw_nonzero()), Vec::new())?;
    parse_link(link.as_bytes()).map(|(_, inode)| inode).ok_or(Errno::INVAL)
}

/// What a link in `/proc/PID/ns` says, like `mnt:[4026531841]`.
pub fn parse_link(text: &[u8]) -> Option<(Kind, Inode)> {
    let text = std::str::from_utf8(text).ok()?;
    let (name, rest) = text.split_once(":[")?;
    // `pid_for_children` links to `pid:[…]`: the text has the kind, not the file's name.
    let inode = rest.strip_suffix(']')?.parse().ok()?;
    Some((Kind::from_file_name(name)?, Inode(inode)))
}

/// Which namespace `file` stands for.
///
/// # Errors
/// Those of `fstat(2)`.
pub fn inode(file: BorrowedFd<'_>) -> Result<Inode, Errno> {
    rustix::fs::fstat(file).map(|stat| Inode(stat.st_ino))
}

/// What kind of namespace `file` stands for (`NS_GET_NSTYPE`).
///
/// # Errors
/// `EINVAL` when it stands for none.
pub fn kind(file: BorrowedFd<'_>) -> Result<Kind, Errno> {
    match ns_ioctl(file, libc::NS_GET_NSTYPE) {
        Ok(flag) => Kind::from_flag(flag).ok_or(Errno::INVAL),
        // What other files answer to an ioctl that they don't know.
        Err(Errno::NOTTY | Errno::NOSYS | Errno::BADF) => Err(Errno::INVAL),
        Err(error) => Err(error),
    }
}

/// The user namespace that owns the namespace `file` (`NS_GET_USERNS`).
///
/// # Errors
/// `EPERM` when the owner is outside the caller's user namespace.
pub fn owner(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ns_ioctl(file, libc::NS_GET_USERNS).map(own)
}

/// The parent of the pid or user namespace `file` (`NS_GET_PARENT`).
///
/// # Errors
/// `EPERM` when the parent is outside the caller's namespace, `EINVAL` for kinds without parents.
pub fn parent(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ns_ioctl(file, libc::NS_GET_PARENT).map(own)
}

/// The user who made the user namespace `file`, as a number in the caller's user namespace (`NS_GET_OWNER_UID`).
///
/// # Errors
/// `EINVAL` when it is no user namespace.
pub fn owner_uid(file: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: NS_GET_OWNER_UID writes one uid_t to the pointer (ioctl_ns(2)); `uid` is one and lives past the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_OWNER_UID, &raw mut uid) };
    crate::process::check(result.into()).map(|_zero| uid)
}

/// Joins the namespace `file`, which must be of `kind` (`setns(2)`).
///
/// # Errors
/// `EINVAL` for a file of another kind, for the caller's own user namespace, and for a time namespace while there
/// are threads; `EPERM` without the capabilities that `setns(2)` lists.
pub fn join(file: BorrowedFd<'_>, kind: Kind) -> Result<(), Errno> {
    // SAFETY: setns(2) takes any descriptor and any number and checks both itself; no memory is passed.
    let result = unsafe { libc::setns(file.as_raw_fd(), kind.flag()) };
    crate::process::check(result.into()).map(|_zero| ())
}

/// Moves the caller into new namespaces of `kinds`: pid and time only for its future children (`unshare(2)`).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN unless a user namespace is among them, `ENOSPC` at a limit of `/proc/sys/user`,
/// `EUSERS` at the nesting limit.
pub fn unshare(kinds: &[Kind]) -> Result<(), Errno> {
    let flags = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
    // SAFETY: unshare(2) with CLONE_NEW… flags passes no memory and, unlike CLONE_FILES, leaves the descriptors and
    // the address space of the process as they are.
    let result = unsafe { libc::unshare(flags) };
    crate::process::check(result.into()).map(|_zero| ())
}

/// An ioctl of `ioctl_ns(2)` that takes no argument.
fn ns_ioctl(file: BorrowedFd<'_>, request: libc::Ioctl) -> Result<c_int, Errno> {
    // SAFETY: the callers pass NS_GET_NSTYPE, NS_GET_USERNS and NS_GET_PARENT, which take no third argument; on a
    // file that is no namespace the kernel answers ENOTTY.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request) };
    crate::process::check(result.into()).map(|_checked| result)
}

/// Takes a descriptor that the kernel has just made.
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: from_raw_fd requires an open descriptor that nobody else owns. `raw` is the result of a successful
    // NS_GET_USERNS or NS_GET_PARENT, which return a new close-on-exec descriptor (ioctl_ns(2)).
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_pid() -> Pid {
        rustix::process::getpid()
    }

    #[test]
    fn flags_and_file_names_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_flag(kind.flag()), Some(kind));
            assert_eq!(Kind::from_file_name(kind.file_name()), Some(kind));
        }
    }

    #[test]
    fn links_say_kind_and_inode() {
        assert_eq!(parse_link(b"pid:[4026531836]"), Some((Kind::Pid, Inode(4_026_531_836))));
        for wrong in [&b"pid:4026531836"[..], b"pid:[x]", b"dog:[1]", b"", b"pid:[1] "] {
            assert_eq!(parse_link(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_descriptor_and_the_link_name_the_same_namespace() {
        for kind in [Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Net, Kind::Pid, Kind::User, Kind::Cgroup] {
            let file = open_of(own_pid(), kind).unwrap();
            assert_eq!(self::kind(file.as_fd()).unwrap(), kind);
            assert_eq!(inode(file.as_fd()).unwrap(), inode_of(own_pid(), kind).unwrap());
        }
    }

    #[test]
    fn every_namespace_is_owned_by_a_user_namespace() {
        let file = open_of(own_pid(), Kind::Uts).unwrap();
        let owner = owner(file.as_fd()).unwrap();
        assert_eq!(kind(owner.as_fd()).unwrap(), Kind::User);
        assert!(owner_uid(owner.as_fd()).is_ok());
        assert_eq!(owner_uid(file.as_fd()), Err(Errno::INVAL));
    }

    #[test]
    fn a_file_that_is_no_namespace_is_refused() {
        assert_eq!(open(Path::new("/dev/null")).unwrap_err(), Errno::INVAL);
        assert_eq!(open(Path::new("/etc/passwd")).unwrap_err(), Errno::INVAL);
        assert_eq!(open(Path::new("/")).unwrap_err(), Errno::INVAL);
    }
}
