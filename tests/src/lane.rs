//! The lanes: which layout of cgroups this machine has, and what each lane promises.
//!
//! A lane that promises a capability fails a test that doesn't find it; only what `PROMISES` says a lane
//! lacks may be skipped, with the reason that stands there. This table is the only place where lanes differ.

use std::fs;
use std::io::Write;
use std::path::Path;

/// One of the machines that the suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The machine as it is: cgroup v1 controllers, with or without a v2 tree beside them.
    V1Hybrid,
    /// Pure cgroup v2 (in User-Mode Linux).
    V2,
}

impl Lane {
    /// The lane that this machine is, by what is mounted at `/sys/fs/cgroup`.
    ///
    /// `SKIFF_LANE=v1|v2` is the promise of whoever started the tests; another machine than promised is a failure.
    pub fn current() -> Self {
        let found =
            if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { Self::V2 } else { Self::V1Hybrid };
        let promised = match std::env::var("SKIFF_LANE").ok().as_deref() {
            Some("v1") => Self::V1Hybrid,
            Some("v2") => Self::V2,
            Some(other) => panic!("SKIFF_LANE={other}: the lanes are `v1` and `v2`"),
            None => found,
        };
        assert_eq!(found, promised, "SKIFF_LANE promises another layout of cgroups than is mounted");
        found
    }
}

/// Something that a test needs and that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// User id 0 with all capabilities.
    Root,
    /// cgroup v1 controllers.
    CgroupV1,
    /// A pure cgroup v2 tree.
    CgroupV2,
    /// The controller `cpu`.
    Cpu,
    /// The controller `cpuset`.
    Cpuset,
    /// The controller `memory`.
    Memory,
    /// The controller `pids`.
    Pids,
    /// The controller `io` (v1: `blkio`) with throttling.
    IoThrottle,
    /// Limits on devices: the v1 controller, or an eBPF program on v2.
    Devices,
    /// The controller `hugetlb`.
    Hugetlb,
    /// The v1 controllers `net_cls` and `net_prio`, mounted or mountable.
    NetCls,
    /// overlayfs.
    Overlay,
    /// User namespaces.
    UserNamespaces,
    /// Time namespaces.
    TimeNamespaces,
    /// Idmapped mounts of the file system that holds the scratch directory.
    IdmappedMounts,
    /// seccomp filters, with `USER_NOTIF`.
    Seccomp,
    /// Loop devices, for a block device of the test's own.
    LoopDevices,
    /// Two processors or more.
    TwoCpus,
    /// Times that mean something: a machine, not an emulation of one.
    HonestClock,
    /// Programs for the 32-bit ABI run (`int 0x80`).
    Ia32,
}

/// What a lane says about a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It is there; not to find it is a failure.
    Has,
    /// It isn't there, for this reason.
    Lacks(&'static str),
}
use Promise::{Has, Lacks};

/// What the lanes promise: capability, the machine as it is, User-Mode Linux with cgroup v2.
const PROMISES: &[(Capability, Promise, Promise)] = &[
    (Capability::Root, Has, Has),
    (Capability::CgroupV1, Has, Lacks("this lane is pure cgroup v2")),
    (Capability::CgroupV2, Lacks("this lane has cgroup v1 controllers"), Has),
    (Capability::Cpu, Has, Has),
    (Capability::Cpuset, Has, Lacks("User-Mode Linux has one processor and no cpuset controller")),
    (Capability::Memory, Has, Has),
    (Capability::Pids, Has, Has),
    (Capability::IoThrottle, Has, Has),
    (Capability::Devices, Has, Has),
    (Capability::Hugetlb, Has, Lacks("User-Mode Linux has no huge pages")),
    (Capability::NetCls, Has, Lacks("net_cls and net_prio are cgroup v1 controllers")),
    (Capability::Overlay, Has, Has),
    (Capability::UserNamespaces, Has, Has),
    (Capability::TimeNamespaces, Has, Lacks("User-Mode Linux has no time namespaces (CONFIG_TIME_NS)")),
    (
        Capability::IdmappedMounts,
        Has,
        Lacks("User-Mode Linux's 6.1 can't idmap a tmpfs, which its scratch directories are (Linux 6.3)"),
    ),
    (Capability::Seccomp, Has, Has),
    (Capability::LoopDevices, Has, Has),
    (Capability::TwoCpus, Has, Lacks("User-Mode Linux has one processor")),
    (Capability::HonestClock, Has, Lacks("User-Mode Linux traces each system call: its times mean little")),
    (Capability::Ia32, Has, Lacks("User-Mode Linux runs 64-bit programs only")),
];

/// Checks a test's needs; the reason to skip it when this lane legitimately lacks one of them.
///
/// The macro [`requires!`](crate::requires) calls this and returns from the test. A skip is written to the file
/// `SKIFF_SKIPS` for the summary of the run, so that none is silent.
///
/// # Panics
/// When the lane promises the capability and it isn't there.
pub fn lacking(test: &str, needs: &[Capability]) -> Option<&'static str> {
    let lane = Lane::current();
    for need in needs {
        let (_, v1, v2) = PROMISES
            .iter()
            .find(|(capability, ..)| capability == need)
            .unwrap_or_else(|| panic!("{need:?} has no row in PROMISES"));
        match if lane == Lane::V1Hybrid { v1 } else { v2 } {
            Has => assert!(is_there(*need), "the lane {lane:?} promises {need:?}, and it isn't there"),
            Lacks(reason) => {
                report(test, *need, reason);
                return Some(reason);
            }
        }
    }
    None
}

/// What this machine's lane promises.
pub fn promised() -> Vec<Capability> {
    let lane = Lane::current();
    let of = |(_, v1, v2): &(Capability, Promise, Promise)| if lane == Lane::V1Hybrid { *v1 } else { *v2 };
    PROMISES.iter().filter(|row| of(row) == Has).map(|(capability, ..)| *capability).collect()
}

fn report(test: &str, need: Capability, reason: &str) {
    let lane = if Lane::current() == Lane::V2 { "v2" } else { "v1" };
    eprintln!("skipped {test}: needs {need:?}: {reason}");
    if let Some(list) = std::env::var_os("SKIFF_SKIPS") {
        let mut list = fs::OpenOptions::new().append(true).create(true).open(list).expect("open SKIFF_SKIPS");
        writeln!(list, "{lane} {test}: needs {need:?}: {reason}").expect("append to SKIFF_SKIPS");
    }
}

/// Looks for the thing itself, not for the lane's name.
fn is_there(capability: Capability) -> bool {
    match capability {
        Capability::Root => rustix::process::geteuid().is_root(),
        Capability::CgroupV1 => controllers_v1().next().is_some(),
        Capability::CgroupV2 => Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        Capability::Cpu => has_controller("cpu"),
        Capability::Cpuset => has_controller("cpuset"),
        Capability::Memory => has_controller("memory"),
        Capability::Pids => has_controller("pids"),
        Capability::IoThrottle => has_controller("io") || has_controller("blkio"),
        Capability::Devices => Lane::current() == Lane::V2 || has_controller("devices"),
        Capability::Hugetlb => Path::new("/sys/kernel/mm/hugepages").exists(),
        Capability::NetCls => read("/proc/cgroups").contains("net_cls\t"),
        Capability::Overlay => read("/proc/filesystems").contains("\toverlay\n"),
        Capability::UserNamespaces => Path::new("/proc/self/ns/user").exists(),
        Capability::TimeNamespaces => Path::new("/proc/self/ns/time").exists(),
        // Linux 5.12, for the disk's ext4; the promise of the lane that has it.
        Capability::IdmappedMounts => Lane::current() == Lane::V1Hybrid,
        Capability::Seccomp => read("/proc/sys/kernel/seccomp/actions_avail").contains("user_notif"),
        Capability::LoopDevices => Path::new("/dev/loop-control").exists(),
        Capability::TwoCpus => std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() >= 2),
        Capability::HonestClock => Lane::current() == Lane::V1Hybrid,
        Capability::Ia32 => Path::new("/proc/sys/abi/vsyscall32").exists(),
    }
}

/// Whether `controller` is mounted (v1) or enabled at the root (v2).
pub fn has_controller(controller: &str) -> bool {
    controllers_v1().any(|(name, _)| name == controller)
        || read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().any(|name| name == controller)
}

/// The mounted v1 controllers with their mount points.
pub fn controllers_v1() -> impl Iterator<Item = (String, String)> {
    let mounts = read("/proc/self/mounts");
    let controllers: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup").then(|| (at.to_owned(), options.to_owned()))
        })
        .flat_map(|(at, options)| {
            let names: Vec<String> = options.split(',').map(str::to_owned).collect();
            names.into_iter().map(move |name| (name, at.clone()))
        })
        .collect();
    controllers.into_iter()
}

/// The text of a file in `/proc` or `/sys`; empty when there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// States what a test needs: `requires!(Root, Memory)` as its first line.
///
/// Where this lane lacks one by the table of [`lane`](crate::lane), the test returns and the skip is listed in
/// the run's summary with its reason. Where the lane promises it and it is missing, the test fails.
#[macro_export]
macro_rules! requires {
    ($($capability:ident),+ $(,)?) => {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        if $crate::lane::lacking(&test, &[$($crate::Capability::$capability),+]).is_some() {
            return;
        }
    };
}
