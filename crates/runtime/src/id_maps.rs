//! The id maps of user namespaces (`user_namespaces(7)`).

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use skiff_oci::runtime::LinuxIdMapping;
use skiff_sys::Errno;
use skiff_sys::clone::{Cloned, Parent, clone3, exit_now, wait_for};
use skiff_sys::ns::{self, Kind};

use crate::LaunchError;

/// Writes both id maps of the user namespace that the process `pid` is the first in.
///
/// # Errors
/// [`LaunchError::Host`] with the file; `EPERM` when the maps are written already or the caller may not map
/// those ids, `EINVAL` for maps that overlap.
pub fn write(pid: Pid, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<(), LaunchError> {
    for (name, maps) in [("uid_map", uids), ("gid_map", gids)] {
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        write_file(&path, text(maps).as_bytes()).map_err(LaunchError::host(format!("write {path}")))?;
    }
    Ok(())
}

/// One line a range: first id inside, first id outside, how many.
fn text(maps: &[LinuxIdMapping]) -> String {
    let mut text = String::new();
    for map in maps {
        // Writing to a String can't fail.
        if writeln!(text, "{} {} {}", map.container_id(), map.host_id(), map.size()).is_err() {
            break;
        }
    }
    text
}

/// Writes `content` to a file of procfs in one call, as its files want it.
///
/// # Errors
/// Those of `open(2)` and `write(2)`.
pub fn write_file(path: &str, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, content).map(|_| ())
}

/// A user namespace with these maps that no process is in: mounts can be id-mapped by it.
///
/// # Errors
/// As [`write()`], and [`LaunchError::Host`] when the namespace can't be made.
pub fn user_namespace(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<OwnedFd, LaunchError> {
    let failed = |doing: &'static str| LaunchError::host(format!("{doing} for an id-mapped mount"));
    let flags = u64::from(Kind::User.flag().unsigned_abs());
    let parent = rustix::process::getpid();
    match clone3(flags, None, Parent::Caller).map_err(failed("make a user namespace"))? {
        Cloned::Child => hold(parent),
        Cloned::Parent { pid, pidfd } => {
            let written = write(pid, uids, gids);
            let namespace = ns::open_of(pid, Kind::User).map_err(failed("open the user namespace"));
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL)
                .map_err(failed("end the holder of a user namespace"))?;
            wait_for(pidfd.as_fd()).map_err(failed("wait for the holder of a user namespace"))?;
            written?;
            namespace
        }
    }
}

/// Holds the namespace until the parent has a descriptor of it: SIGKILL ends it, from the parent or at the
/// parent's death.
fn hold(parent: Pid) -> ! {
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    // A parent that died before that has left this process to another one.
    if tied.is_err() || getppid() != Some(parent) {
        exit_now(1);
    }
    loop {
        if rustix::event::poll(&mut [], None).is_err_and(|errno| errno != Errno::INTR) {
            exit_now(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::LinuxIdMappingBuilder;

    #[test]
    fn maps_are_lines_of_inside_outside_count() {
        let map = |inside: u32, outside: u32, size: u32| {
            LinuxIdMappingBuilder::default().container_id(inside).host_id(outside).size(size).build().unwrap()
        };
        assert_eq!(text(&[map(0, 100_000, 1000), map(1000, 5, 1)]), "0 100000 1000\n1000 5 1\n");
    }
}
