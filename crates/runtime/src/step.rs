//! The steps that the child takes between `clone3` and `execve`, as data.
//!
//! Everything that a step needs is made before the clone: C strings, descriptors, compiled filters. The
//! child walks the list and performs each (`child.rs`); the parent, who holds the same list, names the one
//! that failed. `Display` is that name.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use rustix::process::Resource;
use skiff_sys::mount::{Change, Propagation};
use skiff_sys::ns::Kind;
use skiff_sys::process::SchedAttr;

use crate::mount_options::Parameter;

/// One thing that the child does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Asks the kernel to kill this process when its parent dies; undone before exec unless asked for.
    DieWithParent,
    /// Enters the cgroups of the container.
    JoinCgroup,
    /// Waits until the parent has written the id maps and seen the child in its cgroup.
    AwaitParent,
    /// Puts the container's stdin, stdout and stderr in the place of the parent's.
    FillStdio,
    /// Starts a new session, with no controlling terminal.
    NewSession,
    /// Joins a new session keyring.
    NewKeyring,
    /// Enters an existing namespace.
    Join {
        /// Its kind.
        kind: Kind,
        /// Which of the plan's namespace files it is.
        file: usize,
    },
    /// Makes a new namespace that `clone3` could not make: see `Namespaces::clone_flags`.
    Unshare(Kind),
    /// Becomes user and group 0 of the user namespace.
    BecomeRoot,
    /// Cuts the propagation of every mount, so that nothing that follows reaches the host.
    CutPropagation,
    /// Puts the root filesystem somewhere in the mount namespace.
    AttachRootfs(CString),
    /// Mounts something below the root filesystem.
    Mount(Mount),
    /// Changes the attributes of a mount that is there.
    Remount {
        /// Where, from the container's root.
        target: CString,
        /// What changes.
        change: Change,
    },
    /// Makes a device node.
    Device(Device),
    /// Makes a symbolic link unless something is there.
    Link {
        /// Where, from the container's root.
        path: CString,
        /// What it says.
        target: CString,
    },
    /// Opens a pty of the container's own devpts, makes it the controlling terminal and stdio, and hands
    /// its other end to the parent.
    Terminal(Terminal),
    /// Waits while the parent runs the hooks that belong here.
    AwaitHooks(&'static str),
    /// Makes the working directory if it isn't there.
    CreateWorkdir(CString),
    /// Makes the root filesystem read-only.
    ReadOnlyRootfs,
    /// Makes the root filesystem the root, and lets go of the old one.
    Pivot,
    /// Sets the propagation of the root.
    RootPropagation(Propagation),
    /// Sets the host name.
    Hostname(CString),
    /// Sets the NIS domain name.
    Domainname(CString),
    /// Brings the loopback interface up.
    LoopbackUp,
    /// Writes a kernel parameter through a private procfs.
    Sysctl {
        /// Below `/proc`, for example `sys/net/ipv4/ip_forward`.
        path: CString,
        /// What is written.
        value: CString,
    },
    /// Hides a file or directory if it is there.
    Mask(CString),
    /// Makes a path read-only if it is there.
    ReadOnlyPath(CString),
    /// Sets a resource limit.
    Rlimit {
        /// The name without `RLIMIT_`, in lower case.
        name: &'static str,
        /// Which.
        resource: Resource,
        /// Soft and hard limit; `None` is unlimited.
        limits: (Option<u64>, Option<u64>),
    },
    /// Sets the default soft limit of descriptors.
    DescriptorLimit,
    /// Sets the scheduler.
    Scheduler(SchedAttr),
    /// Sets the io priority: class and level of `ioprio_set(2)`.
    IoPriority(u16, u16),
    /// Sets the NUMA memory policy: mode with flags, and the nodes.
    MemoryPolicy(u32, Vec<u64>),
    /// Sets the execution domain.
    Personality(u64),
    /// Resets signal dispositions and the signal mask.
    ResetSignals,
    /// Enters the working directory.
    Workdir(CString),
    /// Removes capabilities from the bounding set: the mask of those that stay.
    BoundingSet(u64),
    /// Sets user, group and the group list.
    Identity(Identity),
    /// Sets the permitted, effective, inheritable and ambient capabilities.
    Capabilities(CapabilitySets),
    /// Sets the file mode creation mask.
    Umask(u32),
    /// Finds the program, as it will be executed.
    FindProgram,
    /// Promises that no program gains privileges any more.
    NoNewPrivileges,
    /// Closes every descriptor that isn't passed on purpose: from this one on.
    CloseDescriptors(u32),
    /// Decides whether the process outlives its parent.
    ParentDeath(Survive),
    /// Installs the seccomp filter.
    Seccomp,
    /// Executes the program. It is the last step.
    Exec(PathBuf),
}

/// Whether the container's init outlives the process that launched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survive {
    /// It lives on.
    Yes,
    /// It is killed.
    No,
}

/// A mount below the root filesystem.
#[derive(Debug, Clone)]
pub struct Mount {
    /// What is mounted.
    pub what: What,
    /// Where, from the container's root.
    pub target: CString,
    /// Whether links in the target may be followed.
    pub place: Place,
}

/// What is mounted.
#[derive(Debug, Clone)]
pub enum What {
    /// A new instance of a filesystem.
    Filesystem {
        /// Its type, for example `proc`.
        fstype: CString,
        /// What `/proc/mounts` shows as its source.
        source: CString,
        /// Its parameters.
        parameters: Vec<Parameter>,
        /// Attributes of the mount.
        attributes: Change,
        /// Its propagation, if the configuration names one.
        propagation: Option<Propagation>,
    },
    /// A detached tree that the parent opened: which of the plan's sources, and its path for people.
    Tree(usize, PathBuf),
}

/// Whether the target of a mount may lead through links of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It may; they resolve inside the root.
    Free,
    /// It is one of the places that the kernel's interfaces are expected at, which must be real (R5).
    Reserved,
}

/// A device node.
#[derive(Debug, Clone)]
pub struct Device {
    /// Where, from the container's root.
    pub path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: rustix::fs::FileType,
    /// Major and minor number as one.
    pub rdev: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The terminal of a container.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Its size in characters, if known.
    pub size: Option<(u16, u16)>,
    /// Who owns it.
    pub uid: u32,
    /// Whether `/dev/console` is bound to it: not in the mount namespace of another container.
    pub console: Console,
}

/// Whether `/dev/console` becomes the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// The slave is bind mounted there.
    Bind,
    /// It is left alone.
    Leave,
}

/// Who the process is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User id inside the user namespace.
    pub uid: u32,
    /// Group id inside the user namespace.
    pub gid: u32,
    /// The whole group list; it contains `gid`.
    pub groups: Vec<rustix::process::Gid>,
}

/// Capability sets as bit masks (`capabilities(7)`; bit `n` is capability number `n`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
    /// Ambient.
    pub ambient: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithParent => write!(f, "tie the process to its parent"),
            Self::JoinCgroup => write!(f, "join the cgroup"),
            Self::AwaitParent => write!(f, "wait for the parent"),
            Self::FillStdio => write!(f, "take over stdin, stdout and stderr"),
            Self::NewSession => write!(f, "start a session"),
            Self::NewKeyring => write!(f, "join a new session keyring"),
            Self::Join { kind, .. } => write!(f, "join the {kind} namespace"),
            Self::Unshare(kind) => write!(f, "make the {kind} namespace"),
            Self::BecomeRoot => write!(f, "become root of the user namespace"),
            Self::CutPropagation => write!(f, "cut the propagation of mounts"),
            Self::AttachRootfs(_) => write!(f, "attach the root filesystem"),
            Self::Mount(mount) => write!(f, "mount {} at {}", mount.what, mount.target.to_string_lossy()),
            Self::Remount { target, .. } => write!(f, "change the mount at {}", target.to_string_lossy()),
            Self::Device(device) => write!(f, "make the device {}", device.path.to_string_lossy()),
            Self::Link { path, .. } => write!(f, "make the link {}", path.to_string_lossy()),
            Self::Terminal(_) => write!(f, "open the terminal"),
            Self::AwaitHooks(kind) => write!(f, "wait for the {kind} hooks"),
            Self::CreateWorkdir(path) => write!(f, "make the working directory {}", path.to_string_lossy()),
            Self::ReadOnlyRootfs => write!(f, "make the root filesystem read-only"),
            Self::Pivot => write!(f, "pivot to the root filesystem"),
            Self::RootPropagation(_) => write!(f, "set the propagation of the root"),
            Self::Hostname(name) => write!(f, "set the host name to {}", name.to_string_lossy()),
            Self::Domainname(name) => write!(f, "set the domain name to {}", name.to_string_lossy()),
            Self::LoopbackUp => write!(f, "bring up the loopback interface"),
            Self::Sysctl { path, .. } => {
                let path = path.to_string_lossy();
                let name = path.strip_prefix("sys/").unwrap_or(&path);
                // A dot within a part, as in `net/ipv4/conf/eth0.1`: slashes stay, as sysctl(8) has it.
                let name = if name.contains('.') { name.to_owned() } else { name.replace('/', ".") };
                write!(f, "set the sysctl {name}")
            }
            Self::Mask(path) => write!(f, "mask {}", path.to_string_lossy()),
            Self::ReadOnlyPath(path) => write!(f, "make {} read-only", path.to_string_lossy()),
            Self::Rlimit { name, .. } => write!(f, "set the limit {name}"),
            Self::DescriptorLimit => write!(f, "set the default limit of descriptors"),
            Self::Scheduler(_) => write!(f, "set the scheduler"),
            Self::IoPriority(..) => write!(f, "set the io priority"),
            Self::MemoryPolicy(..) => write!(f, "set the memory policy"),
            Self::Personality(_) => write!(f, "set the personality"),
            Self::ResetSignals => write!(f, "reset the signals"),
            Self::Workdir(path) => write!(f, "enter the working directory {}", path.to_string_lossy()),
            Self::BoundingSet(_) => write!(f, "drop capabilities from the bounding set"),
            Self::Identity(identity) => write!(f, "become user {}:{}", identity.uid, identity.gid),
            Self::Capabilities(_) => write!(f, "set the capabilities"),
            Self::Umask(mask) => write!(f, "set the umask to {mask:04o}"),
            Self::FindProgram => write!(f, "find the program"),
            Self::NoNewPrivileges => write!(f, "forbid new privileges"),
            Self::CloseDescriptors(_) => write!(f, "close the host's descriptors"),
            Self::ParentDeath(_) => write!(f, "decide about the parent's death"),
            Self::Seccomp => write!(f, "install the seccomp filter"),
            Self::Exec(program) => write!(f, "exec {}", program.display()),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem { fstype, .. } => write!(f, "{}", fstype.to_string_lossy()),
            Self::Tree(_, path) => write!(f, "{}", path.display()),
        }
    }
}

impl Step {
    /// The step's name for fail points and tables: `Display` in one word.
    pub fn slug(&self) -> String {
        self.to_string().replace([' ', '=', ','], "-")
    }
}
