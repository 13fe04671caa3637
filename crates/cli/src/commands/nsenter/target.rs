//! What `skiff nsenter` opens before it enters anything.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use skiff_sys::Errno;
use skiff_sys::ns::{self, Kind};

use super::flags::Args;
use super::open_directory;
use crate::context::Context;
use crate::error::{CliError, Doing as _};

/// The order in which namespaces are joined; see `join_all` for the user namespace.
const ORDER: [Kind; 8] =
    [Kind::User, Kind::Cgroup, Kind::Ipc, Kind::Uts, Kind::Net, Kind::Pid, Kind::Mount, Kind::Time];

/// Everything that is needed to go in, open.
pub struct Entrance {
    /// In the order to join them.
    pub namespaces: Vec<(Kind, OwnedFd)>,
    /// The new root directory.
    pub root: Option<OwnedFd>,
    /// The new working directory.
    pub directory: Option<OwnedFd>,
    /// The SELinux context for the program.
    pub label: Option<Vec<u8>>,
}

/// Opens it.
pub fn open(args: &Args, context: &Context) -> Result<Entrance, CliError> {
    let pid = args.target.as_ref().map(|target| target.find(context)).transpose()?;
    let mut namespaces = Vec::new();
    for kind in ORDER {
        if let Some(file) = namespace(args, kind, pid)? {
            namespaces.push((kind, file));
        }
    }
    let place = |flag: &Option<Option<std::path::PathBuf>>, link: &'static str| match flag {
        None => Ok(None),
        Some(Some(path)) => {
            open_directory(path.as_path()).map(Some).doing(format_args!("open {}", path.display()))
        }
        Some(None) => {
            let path = format!("/proc/{}/{link}", needed(pid, link)?.as_raw_nonzero());
            open_directory(path.as_str()).map(Some).doing(format_args!("open {path}"))
        }
    };
    Ok(Entrance {
        namespaces,
        root: place(&args.root, "root")?,
        directory: place(&args.wd, "cwd")?,
        label: args.follow_context.then(|| label(pid)).transpose()?,
    })
}

/// Opens the namespace of `kind`, if it is to be entered.
fn namespace(args: &Args, kind: Kind, pid: Option<Pid>) -> Result<Option<OwnedFd>, CliError> {
    match (args.of(kind), args.all) {
        (Some(Some(path)), _) => opened(kind, path).map(Some),
        (Some(None), _) => of_target(kind, needed(pid, kind.file_name())?).map(Some),
        (None, true) => of_target_unless_own(kind, needed(pid, kind.file_name())?),
        (None, false) => Ok(None),
    }
}

/// Opens the target's namespace for `--all`: none of a kind that this kernel doesn't have, and not the user namespace
/// that the caller is in already: joining that is an error, and must not give capabilities back that were dropped.
fn of_target_unless_own(kind: Kind, pid: Pid) -> Result<Option<OwnedFd>, CliError> {
    let own = match ns::inode_of(rustix::process::getpid(), kind) {
        Err(Errno::NOENT) => return Ok(None),
        own => own.doing(format_args!("read the own {kind} namespace"))?,
    };
    let file = of_target(kind, pid)?;
    let is_own = kind == Kind::User && ns::inode(file.as_fd())? == own;
    Ok((!is_own).then_some(file))
}

/// Opens a namespace by its file.
fn opened(kind: Kind, path: &Path) -> Result<OwnedFd, CliError> {
    let doing = format!("open the {kind} namespace {}", path.display());
    let file = match ns::open(path) {
        Err(Errno::INVAL) => {
            return Err(CliError::message("it is not a namespace").doing(doing).with_hint(
                "a namespace is a file below /proc/PID/ns, or one that `unshare --net=FILE` or `ip netns` made",
            ));
        }
        opened => opened.doing(&doing)?,
    };
    match ns::kind(file.as_fd())? {
        found if found == kind => Ok(file),
        found => Err(CliError::message(format!("it is a {found} namespace")).doing(doing)),
    }
}

fn of_target(kind: Kind, pid: Pid) -> Result<OwnedFd, CliError> {
    let error = match ns::open_of(pid, kind) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    let number = pid.as_raw_nonzero();
    let failure = CliError::from(error).doing(format_args!("open the {kind} namespace of process {number}"));
    Err(match error {
        Errno::NOENT if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) => {
            CliError::message(format!("there is no process {number}"))
        }
        Errno::ACCESS => failure.with_hint("it takes the right to trace that process: try as root"),
        _ => failure,
    })
}

fn needed(pid: Option<Pid>, what: &str) -> Result<Pid, CliError> {
    pid.ok_or_else(|| {
        CliError::message(format!("neither a file nor a target process was given for `{what}`"))
            .with_hint("`--target PID`")
    })
}

/// The SELinux context of the target.
fn label(pid: Option<Pid>) -> Result<Vec<u8>, CliError> {
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(CliError::message("`--follow-context`: SELinux is not in use on this machine"));
    }
    skiff_sys::procfs::read(needed(pid, "context")?, "attr/current").doing("read the SELinux context")
}

/// Has the next exec use `label`.
pub fn follow(label: &[u8]) -> Result<(), CliError> {
    let path = "/proc/thread-self/attr/exec";
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    file.and_then(|file| rustix::io::write(file, label)).map(|_count| ()).doing("set the SELinux context")
}
