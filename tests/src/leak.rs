//! The leak check: after an end-to-end test the machine is as it was before it.
//!
//! Compared are mounts, cgroups of all hierarchies, network links, nftables rules, processes, and files, both in
//! the test's own root and state and in the places where programs like to leave some. Namespaces need no list
//! of their own: one lives by a process (compared), by a bind mount (compared), or by a descriptor that a process holds.
//!
//! The test's process is made a subreaper, so every process that descends from it still does when its parents
//! have died; nothing can daemonise out of sight.
//!
//! Some things end a moment after the command that ended them has returned: a monitor exits after it has reported, the
//! kernel takes a dead network namespace's links away in a work queue, a cgroup is busy until its last zombie is
//! reaped. So what is left is looked at until [`PATIENCE`] is over, and only what stays is a leak.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid,
};

use crate::cgroup;
use crate::lane::Lane;
use crate::wait::Deadline;

/// How long things may take that the kernel or an exiting process does on its own.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A picture of what tests could leave behind.
#[derive(Debug, Default)]
pub struct Snapshot {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    links: BTreeSet<String>,
    rules: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
}

impl Snapshot {
    /// Takes the picture.
    pub fn take() -> Self {
        let processes = descendants().into_iter().map(|process| process.pid).collect();
        Self {
            mounts: mounts(),
            cgroups: cgroups(),
            links: links(),
            rules: rules(),
            files: files(),
            processes,
        }
    }
}

/// Compares on drop, cleans up what was left, and fails the test.
#[derive(Debug)]
pub struct LeakCheck {
    before: Snapshot,
    scratch: PathBuf,
    patience: Duration,
}

impl LeakCheck {
    /// From now on, every process that descends from this one stays a descendant; `scratch` is the test's own.
    pub fn new(before: Snapshot, scratch: PathBuf, patience: Duration) -> Self {
        set_child_subreaper(Some(getpid())).expect("become a subreaper");
        Self { before, scratch, patience }
    }

    /// What is left, a line each, as soon as it is nothing or the patience is over.
    pub fn settled(&self) -> Vec<String> {
        let clean = Deadline::after(self.patience).until(|| self.left().is_empty().then_some(()));
        if clean.is_some() { Vec::new() } else { self.left() }
    }

    /// What is left at this moment, a line each.
    fn left(&self) -> Vec<String> {
        reap();
        let mut left = Vec::new();
        for process in descendants() {
            if !self.before.processes.contains(&process.pid) {
                left.push(format!("process {} ({})", process.pid, process.describe()));
            }
        }
        left.extend(new(&mounts(), &self.before.mounts).map(|line| format!("mount {line}")));
        left.extend(new(&cgroups(), &self.before.cgroups).map(|path| format!("cgroup {}", path.display())));
        left.extend(new(&links(), &self.before.links).map(|name| format!("network link {name}")));
        left.extend(new(&files(), &self.before.files).map(|path| format!("file {}", path.display())));
        left.extend(self.own_files().into_iter().map(|path| format!("file {}", path.display())));
        left
    }

    /// What must be empty in each root and state when all containers are gone.
    fn own_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for home in cgroup::subdirectories(&self.scratch) {
            for place in ["root/containers", "root/trash", "root/tmp", "state/containers", "state/names"] {
                found.extend(entries(&home.join(place)));
            }
        }
        found
    }

    /// Makes the next test's start clean, whatever this one did.
    pub fn clean(&self) {
        for process in descendants() {
            if let (false, Some(pid)) =
                (self.before.processes.contains(&process.pid), Pid::from_raw(process.pid))
            {
                // It may have ended by itself since.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        Deadline::after(PATIENCE).until(|| {
            reap();
            descendants().iter().all(|process| self.before.processes.contains(&process.pid)).then_some(())
        });
        for line in new(&mounts(), &self.before.mounts) {
            if let Some(target) = line.split(' ').nth(4) {
                rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).ok();
            }
        }
        for path in new(&cgroups(), &self.before.cgroups) {
            cgroup::remove(path);
        }
    }
}

impl Drop for LeakCheck {
    fn drop(&mut self) {
        let mut left = self.settled();
        left.extend(new(&rules(), &self.before.rules).map(|rule| format!("nftables {rule}")));
        if left.is_empty() {
            return;
        }
        self.clean();
        let report = format!("left behind by this test:\n  {}", left.join("\n  "));
        if std::thread::panicking() {
            eprintln!("{report}");
        } else {
            panic!("{report}");
        }
    }
}

fn new<'a, T: Ord>(now: &'a BTreeSet<T>, before: &'a BTreeSet<T>) -> impl Iterator<Item = &'a T> {
    now.difference(before)
}

fn mounts() -> BTreeSet<String> {
    fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo").lines().map(str::to_owned).collect()
}

/// All cgroups of all mounted hierarchies, but for those that somebody else is using: a populated one whose
/// processes don't descend from this test.
fn cgroups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for line in mounts() {
        let Some((places, types)) = line.split_once(" - ") else { continue };
        let is_cgroup = types.starts_with("cgroup ") || types.starts_with("cgroup2 ");
        if let (true, Some(root)) = (is_cgroup, places.split(' ').nth(4)) {
            walk_cgroups(Path::new(root), &mut found);
        }
    }
    let ours: BTreeSet<i32> = descendants().into_iter().map(|process| process.pid).collect();
    found.retain(|path| {
        let members = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        members.lines().filter_map(|pid| pid.parse().ok()).all(|pid: i32| ours.contains(&pid))
    });
    found
}

fn walk_cgroups(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for child in cgroup::subdirectories(directory) {
        walk_cgroups(&child, found);
        found.insert(child);
    }
}

fn links() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// The ruleset without counters. In a kernel that has nf_tables as a module there are no rules before it is loaded.
fn rules() -> BTreeSet<String> {
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    if !Path::new("/usr/sbin/nft").exists() || (!modules.is_empty() && !modules.contains("nf_tables ")) {
        return BTreeSet::new();
    }
    let listed =
        std::process::Command::new("/usr/sbin/nft").args(["--stateless", "list", "ruleset"]).output();
    let listed = listed.expect("run nft");
    String::from_utf8_lossy(&listed.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

/// What lies at the top of the usual dumping grounds.
///
/// User-Mode Linux is the tests' own, so everything counts there. The machine may have other users, so there
/// only what is called after skiff does. Scratch directories are guards of their own.
fn files() -> BTreeSet<PathBuf> {
    let places = ["/tmp", "/run", "/var/tmp", "/var/lib", "/var/run", "/dev/shm", "/dev/mqueue", "/run/lock"];
    let machine_is_ours = Lane::current() == Lane::V2;
    places
        .iter()
        .flat_map(|place| entries(Path::new(place)))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with("skiff-e2e") && (machine_is_ours || name.contains("skiff"))
        })
        .collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// A process below this one.
#[derive(Debug)]
struct Process {
    pid: i32,
    parent: i32,
    state: char,
    name: String,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may itself contain parentheses: its end is the last one.
        let (start, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, state, name: start.split_once('(')?.1.to_owned() })
    }

    fn describe(&self) -> String {
        let command = fs::read_to_string(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        format!(
            "{}, state {}, parent {}: {}",
            self.name,
            self.state,
            self.parent,
            command.replace('\0', " ").trim()
        )
    }
}

/// All processes below this one, zombies included.
fn descendants() -> Vec<Process> {
    let all: Vec<Process> = entries(Path::new("/proc"))
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect();
    let mut below = BTreeSet::from([getpid().as_raw_nonzero().get()]);
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|process| below.contains(&process.parent) && !below.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        below.extend(more);
    }
    let me = getpid().as_raw_nonzero().get();
    all.into_iter().filter(|process| process.pid != me && below.contains(&process.pid)).collect()
}

/// Takes the exit of orphans that have become our children. The guards of the test wait for their own.
fn reap() {
    let me = getpid().as_raw_nonzero().get();
    for process in descendants() {
        let is_ours_to_take = process.state == 'Z' && process.parent == me;
        if let (true, Some(pid)) = (is_ours_to_take, Pid::from_raw(process.pid)) {
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).ok();
        }
    }
}
