//! A cgroup of the test's own, made without skiff.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lane::{self, Lane};
use crate::{Deadline, Skiff};

/// One cgroup in every hierarchy, below the root, named after the test. Removed on drop.
#[derive(Debug)]
pub struct TempCgroup {
    name: String,
    /// Controller and directory; on v2 one directory with the controller `""`.
    directories: Vec<(String, PathBuf)>,
}

impl TempCgroup {
    /// Makes it.
    pub fn new(skiff: &Skiff, name: &str) -> Self {
        let name = format!("{}-{name}", skiff.tag());
        let roots: Vec<(String, PathBuf)> = match Lane::current() {
            Lane::V1Hybrid => lane::controllers_v1()
                .filter(|(controller, _)| is_controller(controller))
                .map(|(controller, at)| (controller, at.into()))
                .collect(),
            Lane::V2 => vec![(String::new(), "/sys/fs/cgroup".into())],
        };
        let directories: Vec<_> =
            roots.into_iter().map(|(controller, root)| (controller, root.join(&name))).collect();
        for (_, directory) in &directories {
            if !directory.exists() {
                fs::create_dir(directory).expect("make a cgroup");
            }
        }
        Self { name, directories }
    }

    /// Its path from the root of each hierarchy, as `--cgroup-parent` takes it.
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Its directory for `controller` (on v2 the same for all).
    pub fn directory(&self, controller: &str) -> &Path {
        let found = self.directories.iter().find(|(name, _)| name.is_empty() || name == controller);
        &found.unwrap_or_else(|| panic!("the controller {controller} isn't mounted")).1
    }

    /// Reads one of its files.
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.directory(controller).join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }

    /// Writes one of its files.
    pub fn write(&self, controller: &str, file: &str, value: &str) {
        let path = self.directory(controller).join(file);
        fs::write(&path, value)
            .unwrap_or_else(|error| panic!("write {value:?} to {}: {error}", path.display()));
    }
}

impl Drop for TempCgroup {
    fn drop(&mut self) {
        let deadline = Deadline::after(Duration::from_secs(5));
        for (_, directory) in &self.directories {
            // The last member's exit is seen by the cgroup a moment after it is seen by its parent.
            let removed = deadline.until(|| (remove(directory) || !directory.exists()).then_some(()));
            if removed.is_none() {
                eprintln!("the cgroup {} can't be removed", directory.display());
            }
        }
    }
}

/// Kills what is in it and removes it from the bottom up; false when it is still busy.
pub(crate) fn remove(directory: &Path) -> bool {
    for child in subdirectories(directory) {
        remove(&child);
    }
    let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
        // It may have ended since the list was read.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    fs::remove_dir(directory).is_ok()
}

pub(crate) fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn is_controller(option: &str) -> bool {
    const CONTROLLERS: &[&str] = &[
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
        "misc",
    ];
    CONTROLLERS.contains(&option)
}
