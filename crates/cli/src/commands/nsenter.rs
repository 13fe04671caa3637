//! `skiff nsenter`: a program in the namespaces of another process, as util-linux's `nsenter` runs it.
//!
//! All that names the target is opened before the first namespace is joined: after that, paths mean other things.

mod flags;
mod target;

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};
use skiff_sys::ns::{self, Kind};

use crate::commands::program::{self, Family};
use crate::context::Context;
use crate::error::{CliError, Doing as _};

pub use flags::{Args, prepare};
use target::Entrance;

/// Joins the namespaces and becomes the program, or runs it as a child.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let entrance = target::open(&args, context)?;
    let enters_pid = entrance.namespaces.iter().any(|(kind, _)| *kind == Kind::Pid);
    let enters_user = entrance.namespaces.iter().any(|(kind, _)| *kind == Kind::User);
    let identity = Identity::of(&args, enters_user);
    // Additional groups can be dropped by whoever has the right to: here, or in the user namespace.
    let dropped_before = match identity.drops_groups {
        true => rustix::thread::set_thread_groups(&[]),
        false => Ok(()),
    };
    enter(entrance, &args)?;
    // Only children are in a pid namespace that was joined.
    let family = if enters_pid && !args.no_fork { program::fork_waited_for()? } else { Family::Child };
    if let Family::Parent(waiting) = family {
        return waiting.mirror();
    }
    if identity.drops_groups {
        rustix::thread::set_thread_groups(&[]).or(dropped_before).doing("drop additional groups")?;
    }
    identity.apply()?;
    Err(program::become_program(&program::or_shell(args.program)))
}

/// Joins the namespaces, then changes the root and the working directory.
fn enter(entrance: Entrance, args: &Args) -> Result<(), CliError> {
    let Entrance { namespaces, root, mut directory, label } = entrance;
    join_all(namespaces)?;
    if root.is_some() && directory.is_none() && args.wdns.is_none() {
        // The working directory stays what it was, although the new root may not reach it.
        directory = Some(open_directory(".").doing("open the working directory")?);
    }
    if let Some(root) = root {
        rustix::process::fchdir(&root).doing("change the root directory")?;
        rustix::process::chroot(".").doing("change the root directory")?;
    }
    if let Some(path) = &args.wdns {
        directory = Some(
            open_directory(path.as_path())
                .doing(format_args!("change the working directory to {} in there", path.display()))?,
        );
    }
    if let Some(directory) = directory {
        rustix::process::fchdir(&directory).doing("change the working directory")?;
    }
    label.map_or(Ok(()), |label| target::follow(&label))
}

/// Joins the namespaces in two rounds. Joining a user namespace gives the rights over what it owns and takes those over
/// all else: what can be joined without it is joined before, the rest after.
fn join_all(namespaces: Vec<(Kind, OwnedFd)>) -> Result<(), CliError> {
    let mut waiting = Vec::new();
    for (kind, file) in namespaces {
        if kind == Kind::User || ns::join(file.as_fd(), kind).is_err() {
            waiting.push((kind, file));
        }
    }
    for (kind, file) in waiting {
        ns::join(file.as_fd(), kind).doing(format_args!("join the {kind} namespace"))?;
    }
    Ok(())
}

fn open_directory<P: rustix::path::Arg>(path: P) -> Result<OwnedFd, skiff_sys::Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Who the program is, in the namespaces.
struct Identity {
    uid: Option<u32>,
    gid: Option<u32>,
    drops_groups: bool,
}

impl Identity {
    /// In another user namespace the caller's ids may mean nobody, so the default there is root.
    fn of(args: &Args, enters_user: bool) -> Self {
        let becomes_root = enters_user && !args.preserve_credentials;
        let default = becomes_root.then_some(0);
        let (uid, gid) = (args.setuid.or(default), args.setgid.or(default));
        Self { uid, gid, drops_groups: gid.is_some() }
    }

    fn apply(&self) -> Result<(), CliError> {
        if let Some(gid) = self.gid.map(Gid::from_raw) {
            rustix::thread::set_thread_res_gid(gid, gid, gid).doing("set the group")?;
        }
        if let Some(uid) = self.uid.map(Uid::from_raw) {
            rustix::thread::set_thread_res_uid(uid, uid, uid).doing("set the user")?;
        }
        Ok(())
    }
}
