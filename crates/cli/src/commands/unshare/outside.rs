//! The process that stays outside.
//!
//! Two things can't be done from inside new namespaces: writing an id map of more than the caller's own id (it takes
//! privileges in the parent user namespace), and bind-mounting a namespace to where it outlives the program (a mount
//! in the new mount namespace would die with it). A fork made before `unshare(2)` does both when it is asked.
//!
//! ```text
//! unshare ── b'm' ──▶ outside     write the id maps of the process
//!         ◀─ answer ──
//!         ── b'k' ──▶             bind-mount the namespaces of the process
//!         ◀─ answer ──            empty, or what went wrong
//!         ── EOF ───▶             ends
//! ```

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::{Pid, WaitOptions};
use skiff_sys::fork::{Forked, fork};
use skiff_sys::ns::Kind;

use super::maps::{self, Range};
use super::plan::{OutsideMaps, Plan};
use crate::error::{CliError, Doing as _};

/// Asks for the id maps.
const MAP: u8 = b'm';
/// Asks for the namespaces to be kept.
const KEEP: u8 = b'k';
/// More than any answer has.
const ANSWER_LIMIT: usize = 4096;

/// The inside end of the conversation.
pub struct Outside {
    socket: UnixStream,
    child: Pid,
    keeps: bool,
}

impl Outside {
    /// Forks the process, if the plan has work for it.
    pub fn start_if_needed(plan: &Plan) -> Result<Option<Self>, CliError> {
        let keeps = !plan.persistent.is_empty();
        if !keeps && plan.outside == OutsideMaps::default() {
            return Ok(None);
        }
        let target = super::own_pid();
        let (socket, other) = UnixStream::pair().doing("make a socket pair")?;
        match fork().doing("fork")? {
            Forked::Parent(child) => Ok(Some(Self { socket, child, keeps })),
            Forked::Child => {
                drop(socket);
                let served = serve(other, target, &plan.outside, &plan.persistent);
                // An error of the conversation itself: the other side has gone, and nobody is left to hear of it.
                skiff_sys::clone::exit_now(i32::from(served.is_err()))
            }
        }
    }

    /// Has the id maps written.
    pub fn map_ids(&mut self) -> Result<(), CliError> {
        self.ask(MAP)
    }

    /// Has the namespaces mounted at their files, and ends the process.
    pub fn keep_namespaces(mut self) -> Result<(), CliError> {
        let kept = if self.keeps { self.ask(KEEP) } else { Ok(()) };
        let Self { socket, child, .. } = self;
        drop(socket);
        rustix::process::waitpid(Some(child), WaitOptions::empty()).doing("wait for the process outside")?;
        kept
    }

    fn ask(&mut self, question: u8) -> Result<(), CliError> {
        self.socket.write_all(&[question]).doing("ask the process outside")?;
        let mut answer = [0; ANSWER_LIMIT];
        let length = self.socket.read(&mut answer).doing("hear from the process outside")?;
        match answer.get(..length).and_then(|answer| answer.split_first()) {
            Some((0, [])) => Ok(()),
            Some((_, reason)) => Err(CliError::message(String::from_utf8_lossy(reason))),
            None => Err(CliError::message("the process outside has died")),
        }
    }
}

/// The outside end: answers until the other side has gone.
fn serve(
    mut socket: UnixStream,
    target: Pid,
    ids: &OutsideMaps,
    namespaces: &[(Kind, PathBuf)],
) -> std::io::Result<()> {
    let mut question = [0];
    while socket.read(&mut question)? > 0 {
        let done = match question {
            [MAP] => write_maps(target, ids),
            _ => keep(target, namespaces),
        };
        let answer = match done {
            Ok(()) => vec![0],
            Err(error) => {
                let mut answer = [&[1], error.sentence().as_bytes()].concat();
                answer.truncate(ANSWER_LIMIT);
                answer
            }
        };
        socket.write_all(&answer)?;
    }
    Ok(())
}

fn write_maps(target: Pid, ids: &OutsideMaps) -> Result<(), CliError> {
    write_map(target, "uid_map", "newuidmap", &ids.users)?;
    write_map(target, "gid_map", "newgidmap", &ids.groups)
}

/// Writes one map: directly as root, else by the program with the right to do it.
fn write_map(target: Pid, file: &str, program: &str, ranges: &[Range]) -> Result<(), CliError> {
    if ranges.is_empty() {
        return Ok(());
    }
    let target = target.as_raw_nonzero();
    if rustix::process::geteuid().is_root() {
        let path = format!("/proc/{target}/{file}");
        return std::fs::write(&path, maps::text(ranges)).doing(format_args!("write {path}"));
    }
    let numbers = ranges.iter().flat_map(|range| [range.inner, range.outer, range.count]);
    let status = std::process::Command::new(program)
        .arg(target.to_string())
        .args(numbers.map(|number| number.to_string()))
        .status()
        .doing(format_args!("run `{program}` (package uidmap)"))?;
    if status.success() { Ok(()) } else { Err(CliError::message(format!("`{program}` refused the map"))) }
}

fn keep(target: Pid, namespaces: &[(Kind, PathBuf)]) -> Result<(), CliError> {
    for (kind, file) in namespaces {
        let source = format!("/proc/{}/ns/{}", target.as_raw_nonzero(), kind.for_children_file_name());
        rustix::mount::mount_bind(source.as_str(), file.as_path())
            .doing(format_args!("keep the {kind} namespace at {}", file.display()))?;
    }
    Ok(())
}
