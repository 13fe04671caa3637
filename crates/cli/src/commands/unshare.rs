//! `skiff unshare`: a program in namespaces of its own, as util-linux's `unshare` makes them.
//!
//! Flags become a [`plan::Plan`]; this file carries it out. Up to three processes take part: this one, the program
//! when it is forked, and one that stays outside ([`outside`]) where id maps or kept namespaces need it.

mod flags;
mod maps;
mod outside;
mod plan;

use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Gid, Pid, PidfdFlags, Uid};
use skiff_sys::{Errno, ns};

use crate::commands::program::{self, Family};
use crate::context::Context;
use crate::error::{CliError, Doing as _};
use crate::output::aside;

pub use flags::Args;
use outside::Outside;
use plan::{Caller, Fork, Plan, Step};

/// Runs the program, or becomes it.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let caller = if args.maps_ids() { caller()? } else { Caller::default() };
    let plan = plan::plan(args, &caller)?;
    let mut outside = Outside::start_if_needed(&plan)?;
    for step in &plan.before {
        match step {
            Step::MapFromOutside => outside.as_mut().map_or(Ok(()), Outside::map_ids)?,
            other => timed(other, context).doing(other).map_err(|error| explained(error, other))?,
        }
    }
    match plan.fork {
        Fork::No => {
            outside.map_or(Ok(()), Outside::keep_namespaces)?;
            Err(inside(plan, context))
        }
        Fork::Asked | Fork::Implied => forked(plan, outside, context),
    }
}

/// Forks, and waits for the program. It starts when the namespaces that shall outlive it are kept.
fn forked(plan: Plan, outside: Option<Outside>, context: &Context) -> Result<ExitCode, CliError> {
    if plan.fork == Fork::Implied {
        aside("forked, to be process 1 of the new pid namespace (`--no-fork` doesn't)");
    }
    let this = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let (ready, go) = std::io::pipe().doing("make a pipe")?;
    match program::fork_waited_for()? {
        Family::Parent(waiting) => {
            drop(ready);
            let kept = outside.map_or(Ok(()), Outside::keep_namespaces);
            if let Err(error) = kept {
                rustix::process::kill_process(waiting.child(), rustix::process::Signal::KILL)?;
                return Err(error);
            }
            drop(go);
            waiting.mirror()
        }
        Family::Child => {
            drop((go, outside));
            if let Some(signal) = plan.kill_child {
                rustix::process::set_parent_process_death_signal(Some(signal))?;
                // A parent that died before the line above sends nothing any more.
                let mut parent = [rustix::event::PollFd::new(&this, rustix::event::PollFlags::IN)];
                if rustix::event::poll(&mut parent, Some(&rustix::time::Timespec::default()))? > 0 {
                    return Err(CliError::message("the process that waits for the program has died"));
                }
            }
            // Ends with end-of-file: the parent closes its side, by dying at the latest.
            std::io::copy(&mut &ready, &mut std::io::sink()).doing("wait for the parent")?;
            Err(inside(plan, context))
        }
    }
}

/// The last steps, and the program. Returns only if one of them failed.
fn inside(plan: Plan, context: &Context) -> CliError {
    for step in &plan.inside {
        let done = timed(step, context);
        if let (Step::MountProcIfPossible(directory), Err(error)) = (step, &done) {
            aside(&format!(
                "no fresh proc at {}, so `ps` shows processes outside: {error}",
                directory.display()
            ));
            continue;
        }
        if let Step::MountProcIfPossible(directory) = step {
            aside(&format!("mounted a fresh proc at {} (`--no-mount-proc` doesn't)", directory.display()));
        }
        if let Err(error) = done.doing(step) {
            return explained(error, step);
        }
    }
    program::become_program(&program::or_shell(plan.program))
}

/// Does one step, and with `--debug` says how long it took.
fn timed(step: &Step, context: &Context) -> Result<(), Errno> {
    let start = std::time::Instant::now();
    let done = perform(step);
    if context.debug {
        aside(&format!("{step} ({} µs)", start.elapsed().as_micros()));
    }
    done
}

/// Does one step.
fn perform(step: &Step) -> Result<(), Errno> {
    match step {
        Step::Unshare(kinds) => ns::unshare(kinds),
        // The caller has the process that does it.
        Step::MapFromOutside => Ok(()),
        Step::Write { file, text } => write_own(file, text),
        Step::Propagate(flags) => rustix::mount::mount_change("/", *flags),
        Step::Root(directory) => rustix::process::chroot(directory.as_path()),
        Step::WorkingDirectory(directory) => rustix::process::chdir(directory.as_path()),
        Step::PrivateMount(directory) => make_private(directory),
        Step::MountProc(directory) | Step::MountProcIfPossible(directory) => mount_proc(directory),
        Step::Group(gid) => {
            let gid = Gid::from_raw(*gid);
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)
        }
        Step::User(uid) => {
            let uid = Uid::from_raw(*uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)
        }
        Step::KeepCapabilities => keep_capabilities(),
    }
}

/// What to do about a step's failure, where that isn't obvious.
fn explained(error: CliError, step: &Step) -> CliError {
    let unprivileged = !rustix::process::geteuid().is_root();
    match step {
        Step::Unshare(kinds) if unprivileged && !kinds.contains(&ns::Kind::User) => error.with_hint(
            "only root may make these; `--map-root-user` adds a user namespace, in which you are root",
        ),
        Step::MountProc(_) => {
            error.with_hint("proc needs a pid namespace that the user namespace owns: add `--pid`")
        }
        _ => error,
    }
}

fn write_own(file: &str, text: &str) -> Result<(), Errno> {
    let path = format!("/proc/self/{file}");
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel takes these files in one write or not at all.
    rustix::io::write(file, text.as_bytes()).map(|_count| ())
}

fn make_private(directory: &Path) -> Result<(), Errno> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    match rustix::mount::mount_change(directory, flags) {
        // Nothing is mounted there, so there is nothing to make private.
        Err(Errno::INVAL) => Ok(()),
        done => done,
    }
}

fn mount_proc(directory: &Path) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    rustix::mount::mount("proc", directory, "proc", flags, None)
}

/// Makes the permitted capabilities inheritable and ambient, so that exec keeps them for a user other than 0.
fn keep_capabilities() -> Result<(), Errno> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    sets.permitted
        .iter()
        .try_for_each(|capability| rustix::thread::configure_capability_in_ambient_set(capability, true))
}

fn caller() -> Result<Caller, CliError> {
    let read = |path: &str| match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        done => done.doing(format_args!("read {path}")),
    };
    Ok(Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
        subuid: read("/etc/subuid")?,
        subgid: read("/etc/subgid")?,
    })
}

/// This process's number as others see it in `/proc`.
fn own_pid() -> Pid {
    rustix::process::getpid()
}
