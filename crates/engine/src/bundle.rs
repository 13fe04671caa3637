//! An OCI bundle run in the foreground: for other engines' bundles, and for the runtime's own tests.
//!
//! There is no container of ours around it: no directory, no record, no monitor unless a terminal needs one. The
//! process has the caller's own stdio, as `runc run` gives it.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use skiff_cgroup::{CgroupPath, Layout};
use skiff_monitor::{SignalProxy, Stdin};
use skiff_oci::runtime::{LinuxResources, Spec};
use skiff_runtime::{Bundle, Init, LaunchPlan, Options, Rootfs, Stdio, launch};
use skiff_sys::clone::wait_for;
use skiff_sys::root::open_regular;
use skiff_sys::signal::{self, SignalSet};
use skiff_sys::{Errno, scm_rights};

use crate::EngineError;

/// The bytes of a `config.json`: what is longer isn't read to its end, and so is no document.
const LONGEST_CONFIG: u64 = 8 << 20;

/// A bundle to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRun {
    /// The container's id.
    pub id: String,
    /// The directory with `config.json`.
    pub directory: PathBuf,
    /// Gets the process id of the init once it has started.
    pub pid_file: Option<PathBuf>,
    /// A unix socket that gets the other end of the process's terminal.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors after 2 the process inherits.
    pub preserved_fds: u32,
}

/// Runs the bundle and returns its exit code, 128 + the signal's number if it was killed.
///
/// # Errors
/// When it can't be started; nothing of it is left then.
pub fn run_bundle(run: &BundleRun) -> Result<u8, EngineError> {
    if !is_id(&run.id) {
        return Err(EngineError::BundleId { id: run.id.clone() });
    }
    let directory = std::path::absolute(&run.directory)
        .map_err(|error| failed("find the bundle", Errno::from_io_error(&error).unwrap_or(Errno::NOENT)))?;
    let mut spec = read_config(&directory)?;
    place_in_cgroup(&mut spec, &run.id);
    let rootfs = spec.root().as_ref().map_or(Rootfs::Joined, |root| Rootfs::Dir(directory.join(root.path())));
    let cgroup = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let options = Options { preserved_fds: run.preserved_fds, ..Options::default() };
    let bundle = Bundle { id: run.id.clone(), dir: directory, spec, rootfs };
    let plan = LaunchPlan::new(bundle, &options, Some(&Layout::detect()?))?;
    if plan.has_terminal() && run.console_socket.is_none() {
        return on_our_terminal(plan, cgroup.as_deref());
    }
    on_our_stdio(run, plan)
}

/// What runc takes for an id; it becomes part of a cgroup's name.
fn is_id(id: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    !id.is_empty() && id.len() <= 128 && id != "." && id != ".." && id.chars().all(is_letter)
}

/// A process with limits, or with a view of its cgroup, needs one of its own, named or not.
fn place_in_cgroup(spec: &mut Spec, id: &str) {
    let sees_it = spec
        .mounts()
        .iter()
        .flatten()
        .any(|mount| mount.typ().as_deref().is_some_and(|kind| kind == "cgroup" || kind == "cgroup2"));
    let Some(linux) = spec.linux_mut() else { return };
    let has_limits = linux.resources().as_ref().is_some_and(|limits| *limits != LinuxResources::default());
    if linux.cgroups_path().is_none() && (sees_it || has_limits) {
        linux.set_cgroups_path(Some(PathBuf::from(format!("/skiff-{id}"))));
    }
}

/// The document of a bundle.
fn read_config(directory: &Path) -> Result<Spec, EngineError> {
    let path = directory.join("config.json");
    let found = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let file = found
        .and_then(|found| open_regular(found.as_fd()))
        .map_err(|source| EngineError::Look { path: path.clone(), source })?;
    serde_json::from_reader(BufReader::new(File::from(file).take(LONGEST_CONFIG)))
        .map_err(|source| EngineError::Config { path, source })
}

/// A pty between the process and our terminal: the monitor's business, as in `run -it`.
fn on_our_terminal(plan: LaunchPlan, cgroup: Option<&Path>) -> Result<u8, EngineError> {
    let cgroup = cgroup.and_then(Path::to_str).and_then(|path| path.parse::<CgroupPath>().ok());
    let request =
        skiff_monitor::Request { plan, stdin: Stdin::Open, signals: SignalProxy::On, cgroup, custody: None };
    Ok(skiff_monitor::run(request)?.code())
}

/// The process has our stdin, stdout and stderr, and we only wait for its end.
fn on_our_stdio(run: &BundleRun, mut plan: LaunchPlan) -> Result<u8, EngineError> {
    let signals = catch_signals().map_err(|source| failed("take the signals", source))?;
    let mut init = launch(&mut plan, Stdio::Inherit)?;
    let served = introduce(run, &mut init).and_then(|()| serve(&init, signals.as_fd()));
    let ended = if served.is_err() { end(&init) } else { Ok(()) };
    // With the host's pid namespace, its children outlive it.
    let killed = init.cgroup.as_ref().map_or(Ok(()), |cgroup| match cgroup.procs()?.is_empty() {
        true => Ok(()),
        false => cgroup.kill(),
    });
    let deleted = init.delete(&plan);
    let code = served?;
    ended?;
    killed?;
    deleted?;
    Ok(code)
}

/// Says who the process is to those who asked.
fn introduce(run: &BundleRun, init: &mut Init) -> Result<(), EngineError> {
    if let (Some(socket), Some(master)) = (&run.console_socket, init.terminal.take()) {
        // As runc does it: the descriptor with a byte or more of text.
        scm_rights::send_to(socket, b"/dev/ptmx", master.as_fd())
            .map_err(|source| failed("send the terminal to the console socket", source))?;
    }
    if let Some(path) = &run.pid_file {
        write_pid(path, init).map_err(|source| failed("write the pid file", source))?;
    }
    Ok(())
}

/// A reader that waits for the file sees the whole number: it gets its name when it is complete.
fn write_pid(path: &Path, init: &Init) -> Result<(), Errno> {
    let mut name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o644))?;
    let named = rustix::io::write(&file, init.pid.as_raw_nonzero().to_string().as_bytes())
        .and_then(|_| rustix::fs::rename(&temporary, path));
    if named.is_err() {
        // What it is named after says more than why it can't be taken away.
        let _left_behind = rustix::fs::unlink(&temporary);
    }
    named
}

/// From here on, signals wait in the descriptor instead of ending us.
fn catch_signals() -> Result<OwnedFd, Errno> {
    let own = [Signal::CHILD, Signal::URG, Signal::TTIN, Signal::TTOU];
    let set = own.into_iter().fold(SignalSet::FULL, |set, signal| set.without(signal.as_raw()));
    // Ignored, it would make the kernel reap the process, and its exit code with it.
    signal::set_default(Signal::CHILD.as_raw())?;
    signal::set_mask(set)?;
    signal::signalfd(set)
}

/// Passes signals on until the process has ended.
fn serve(init: &Init, signals: BorrowedFd<'_>) -> Result<u8, EngineError> {
    let waiting = |source| failed("wait for the process", source);
    loop {
        let mut ready =
            [PollFd::new(&init.pidfd, PollFlags::IN), PollFd::from_borrowed_fd(signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            other => other.map_err(waiting)?,
        };
        let (has_ended, has_signal) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if has_ended {
            let code = wait_for(init.pidfd.as_fd()).map_err(waiting)?;
            return Ok(u8::try_from(code).unwrap_or(u8::MAX));
        }
        if has_signal {
            while let Some(received) = signal::receive(signals).map_err(waiting)? {
                match signal::send(&init.pidfd, received.signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(source) => return Err(failed("pass a signal on", source)),
                }
            }
        }
    }
}

/// Ends the process and waits for that.
fn end(init: &Init) -> Result<(), EngineError> {
    match signal::send(&init.pidfd, Signal::KILL.as_raw()) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(source) => return Err(failed("end the process", source)),
    }
    match wait_for(init.pidfd.as_fd()) {
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(source) => Err(failed("wait for the process", source)),
    }
}

fn failed(doing: &'static str, source: Errno) -> EngineError {
    EngineError::Foreground { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn r25_an_id_is_one_word_without_slashes() {
        for id in ["x", "a_b+c-d.e", "..."] {
            assert!(is_id(id), "{id:?}");
        }
        for id in ["", ".", "..", "a/b", "a b", "a\nb", &"x".repeat(129)] {
            assert!(!is_id(id), "{id:?}");
        }
    }

    #[test]
    fn a_bundle_that_is_not_there_is_named() {
        let error = read_config(Path::new("/no/bundle")).unwrap_err();
        assert_eq!(error.to_string(), "look at /no/bundle/config.json");
        assert!(error.hint().is_some_and(|hint| hint.contains("skiff oci spec")));
    }

    #[test]
    fn r21_a_document_is_a_regular_file_of_at_most_8_mib() {
        let directory = PathBuf::from(format!("/tmp/skiff-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("config.json");
        let spec = |padding: usize| format!(r#"{{"ociVersion":"1.2.0"{}}}"#, " ".repeat(padding));
        std::fs::write(&path, spec(5)).unwrap();
        assert_eq!(read_config(&directory).unwrap().version(), "1.2.0");
        std::fs::write(&path, spec(8 << 20)).unwrap();
        assert!(matches!(read_config(&directory), Err(EngineError::Config { .. })));
        std::fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(matches!(read_config(&directory), Err(EngineError::Look { source: Errno::INVAL, .. })));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
