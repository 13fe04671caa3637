//! Groups on the machine's own layout, as root: what the kernel really does with them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use skiff_cgroup::{Cgroup, CgroupPath, Cpu, DeviceRule, Error, Layout, Limit, Memory, Resources};

/// A group that is removed at the end, whatever happens.
struct Temporary(Option<Cgroup>);

impl Temporary {
    fn new(name: &str, resources: &Resources) -> Self {
        let (group, applied) = Cgroup::create(&Layout::detect().unwrap(), &path(name), resources).unwrap();
        assert_eq!(applied.warnings, []);
        Self(Some(group))
    }

    fn group(&mut self) -> &mut Cgroup {
        self.0.as_mut().unwrap()
    }

    fn remove(mut self) -> Result<(), Error> {
        self.0.take().unwrap().remove()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            group.kill().unwrap();
            group.remove().unwrap();
        }
    }
}

/// A shell that runs its command once it is in its group. It is reaped at the end.
struct Process(Child);

impl Process {
    /// Starts the shell; the command waits for [`Process::go`].
    fn start(command: &str) -> Self {
        let script = format!("read go; {command}");
        let shell =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
        Self(shell.unwrap())
    }

    /// Starts the command in `group`.
    fn start_in(group: &Cgroup, command: &str) -> Self {
        let mut process = Self::start(command);
        group.add(process.pid()).unwrap();
        process.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        process
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// The exit code, if the command has ended by itself within `milliseconds`.
    fn exit_within(&mut self, milliseconds: u64) -> Option<i32> {
        for _ in 0..milliseconds / 10 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

fn path(name: &str) -> CgroupPath {
    format!("skiff-test-{}-{name}", std::process::id()).parse().unwrap()
}

fn directories_left(name: &str) -> Vec<String> {
    match Cgroup::open(&Layout::detect().unwrap(), &path(name)) {
        Ok(group) => group.directories().collect(),
        Err(Error::NotFound { .. }) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_process_is_added_proven_counted_and_killed() {
    let resources = Resources { pids: Some(Limit::At(20)), ..Resources::default() };
    let mut temporary = Temporary::new("life", &resources);
    let outside = Process::start("true");
    let group = temporary.group();
    assert!(matches!(group.verify(outside.pid()), Err(Error::Elsewhere { .. })));
    let process = Process::start_in(group, "while :; do :; done");
    group.verify(process.pid()).unwrap();
    assert_eq!(group.procs().unwrap(), [process.pid()]);
    let stats = group.stats().unwrap();
    assert_eq!(stats.pids.unwrap().limit, Some(20));
    assert_eq!(stats.pids.unwrap().current, 1);
    assert!(stats.memory.is_some() && stats.cpu.is_some());
    group.kill().unwrap();
    assert_eq!(group.procs().unwrap(), []);
    drop(process);
    temporary.remove().unwrap();
    assert_eq!(directories_left("life"), [""; 0]);
}

#[test]
fn a_frozen_process_makes_no_progress_until_it_is_thawed() {
    let mut temporary = Temporary::new("freeze", &Resources::default());
    let group = temporary.group();
    let process = Process::start_in(group, "while :; do :; done");
    group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.0.id())).unwrap();
        stat.split(' ').nth(13).unwrap().parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(), before);
    group.thaw().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(ticks() > before);
}

#[test]
fn f26_a_group_with_frozen_processes_and_groups_of_its_own_is_killed_and_removed() {
    let mut temporary = Temporary::new("nested", &Resources::default());
    let layout = Layout::detect().unwrap();
    let inside = path("nested").join("in/side").unwrap();
    let (inner, _) = match Cgroup::create(&layout, &inside, &Resources::default()) {
        Ok(made) => made,
        Err(error) => panic!("{error}: {:?}", error.errno()),
    };
    let inner_process = Process::start_in(&inner, "sleep 1000 & sleep 1000");
    inner.freeze().unwrap();
    temporary.group().freeze().unwrap();
    temporary.group().kill().unwrap();
    drop(inner_process);
    temporary.remove().unwrap();
    assert_eq!(directories_left("nested"), [""; 0]);
}

#[test]
fn f25_a_fork_bomb_under_a_pids_limit_is_over_in_time() {
    let resources = Resources { pids: Some(Limit::At(200)), ..Resources::default() };
    let mut temporary = Temporary::new("bomb", &resources);
    let process = Process::start_in(temporary.group(), "b() { b | b & }; while :; do b; done");
    let start = Instant::now();
    while temporary.group().stats().unwrap().pids.unwrap().refused == 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "it never reached the limit");
        std::thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    temporary.group().kill().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(process);
    temporary.remove().unwrap();
    assert_eq!(directories_left("bomb"), [""; 0]);
}

#[test]
fn an_empty_group_and_one_with_processes_are_both_taken_away() {
    let layout = Layout::detect().unwrap();
    let (empty, _) = Cgroup::create(&layout, &path("empty"), &Resources::default()).unwrap();
    empty.kill_and_remove().unwrap();
    assert_eq!(directories_left("empty"), [""; 0]);
    let (full, _) = Cgroup::create(&layout, &path("full"), &Resources::default()).unwrap();
    let mut process = Process::start_in(&full, "sleep 1000 & sleep 1000");
    // A zombie holds its group until it is reaped, as the container's init is before this is called.
    let reaper = std::thread::spawn(move || {
        process.0.wait().unwrap();
        process
    });
    full.kill_and_remove().unwrap();
    drop(reaper.join().unwrap());
    assert_eq!(directories_left("full"), [""; 0]);
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    // No machine has that many CPUs.
    let cpuset = skiff_cgroup::Cpuset { cpus: Some("65535".to_owned()), mems: None };
    let resources = Resources { cpuset, ..Resources::default() };
    let parent = path("parent");
    let error =
        Cgroup::create(&Layout::detect().unwrap(), &parent.join("a/b").unwrap(), &resources).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(directories_left("parent"), [""; 0]);
}

#[test]
fn ancestors_that_were_made_go_with_the_last_group() {
    let layout = Layout::detect().unwrap();
    let inner = path("ancestors").join("a").unwrap();
    let cpuset = skiff_cgroup::Cpuset { cpus: Some("0".to_owned()), mems: None };
    let (group, _) = Cgroup::create(&layout, &inner, &Resources { cpuset, ..Resources::default() }).unwrap();
    assert!(!directories_left("ancestors").is_empty());
    group.remove().unwrap();
    assert_eq!(directories_left("ancestors"), [""; 0]);
}

#[test]
fn an_existing_group_is_taken_over_when_it_is_empty_and_refused_when_not() {
    let layout = Layout::detect().unwrap();
    let mut temporary = Temporary::new("existing", &Resources::default());
    Cgroup::create(&layout, &path("existing"), &Resources::default()).unwrap();
    let _process = Process::start_in(temporary.group(), "exec sleep 1000");
    let refused = Cgroup::create(&layout, &path("existing"), &Resources::default());
    assert!(matches!(refused, Err(Error::InUse { .. })));
}

#[test]
fn limits_are_raised_and_lowered_in_an_order_that_the_kernel_takes() {
    let memory = |limit: u64, swap: u64| Resources {
        memory: Memory {
            limit: Some(Limit::At(limit << 20)),
            swap: Some(Limit::At(swap << 20)),
            ..Memory::default()
        },
        ..Resources::default()
    };
    let cpu = |quota, period, burst| Resources {
        cpu: Cpu {
            quota: Some(Limit::At(quota)),
            period: Some(period),
            burst: Some(burst),
            ..Cpu::default()
        },
        ..Resources::default()
    };
    let mut temporary = Temporary::new("update", &memory(100, 150));
    for (limit, swap) in [(200, 300), (50, 60), (50, 50), (400, 400), (60, 400)] {
        temporary.group().apply(&memory(limit, swap)).unwrap();
        let now = temporary.group().stats().unwrap().memory.unwrap().limit;
        assert_eq!(now, Some(limit << 20));
    }
    for (quota, period, burst) in
        [(50_000, 100_000, 0), (5_000, 10_000, 5_000), (200_000, 400_000, 100_000), (1_000, 1_000, 0)]
    {
        temporary.group().apply(&cpu(quota, period, burst)).unwrap();
    }
    let free = Resources {
        memory: Memory { limit: Some(Limit::Unlimited), ..Memory::default() },
        cpu: Cpu { quota: Some(Limit::Unlimited), ..Cpu::default() },
        pids: Some(Limit::Unlimited),
        ..Resources::default()
    };
    temporary.group().apply(&free).unwrap();
    assert_eq!(temporary.group().stats().unwrap().memory.unwrap().limit, None);
}

#[test]
fn a_new_controller_takes_the_processes_that_are_there() {
    let mut temporary = Temporary::new("later", &Resources::default());
    let process = Process::start_in(temporary.group(), "exec sleep 1000");
    let cpuset = skiff_cgroup::Cpuset { cpus: Some("0".to_owned()), mems: None };
    temporary.group().apply(&Resources { cpuset, ..Resources::default() }).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
}

#[test]
fn network_classes_need_no_mount_on_the_host() {
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let layout = Layout::detect().unwrap();
    let resources = Resources { net_class: Some(0x10_0001), ..Resources::default() };
    let (group, _) = Cgroup::create(&layout, &path("net"), &resources).unwrap();
    let process = Process::start_in(&group, "exec sleep 1000");
    group.verify(process.pid()).unwrap();
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    // Another process finds it again, and takes it away.
    drop(group);
    let group = Cgroup::open(&layout, &path("net")).unwrap();
    assert!(group.directories().any(|directory| directory.starts_with("(net_cls)/")));
    group.kill().unwrap();
    drop(process);
    group.remove().unwrap();
    assert_eq!(directories_left("net"), [""; 0]);
}

#[test]
fn devices_are_what_the_rules_say() {
    const TRY: &str = "(: </dev/null) || exit 1; (: </dev/kmsg) && exit 2; exit 3";
    let rules: Vec<DeviceRule> = [DeviceRule::DENY_ALL].into_iter().chain(DeviceRule::DEFAULTS).collect();
    let mut temporary = Temporary::new("devices", &Resources { devices: rules, ..Resources::default() });
    let mut restricted = Process::start_in(temporary.group(), TRY);
    assert_eq!(restricted.exit_within(5000), Some(3), "null opens and kmsg does not");
    let all = Resources { devices: vec![DeviceRule::ALLOW_ALL], ..Resources::default() };
    temporary.group().apply(&all).unwrap();
    let mut free = Process::start_in(temporary.group(), TRY);
    assert_eq!(free.exit_within(5000), Some(2), "the control: without rules kmsg opens");
}

/// The v2 tree of this machine alone, also where the controllers are on v1.
fn unified_only() -> Layout {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines: String =
        text.lines().filter(|line| line.contains(" - cgroup2 ")).map(|line| format!("{line}\n")).collect();
    Layout::from_mountinfo(lines.as_bytes()).unwrap()
}

#[test]
fn the_device_filter_of_v2_is_taken_by_the_kernel_enforced_and_replaced() {
    const TRY: &str = "(: </dev/null) || exit 1; (: </dev/kmsg) && exit 2; exit 3";
    let devices =
        |last: DeviceRule| Resources { devices: vec![DeviceRule::DENY_ALL, last], ..Resources::default() };
    let only_null = devices("c 1:3 rw".parse().unwrap());
    let (mut group, _) = Cgroup::create(&unified_only(), &path("filter"), &only_null).unwrap();
    let mut restricted = Process::start_in(&group, TRY);
    assert_eq!(restricted.exit_within(5000), Some(3));
    group.apply(&devices("c 1:* r".parse().unwrap())).unwrap();
    let mut wider = Process::start_in(&group, TRY);
    assert_eq!(wider.exit_within(5000), Some(2), "the old filter is gone");
    group.apply(&devices("c 1:11 r".parse().unwrap())).unwrap();
    let mut other = Process::start_in(&group, TRY);
    assert_eq!(other.exit_within(5000), Some(1));
    group.kill().unwrap();
    drop((restricted, wider, other));
    group.remove().unwrap();
}

#[test]
fn groups_of_v2_freeze_and_die_as_those_of_v1() {
    let (group, _) = Cgroup::create(&unified_only(), &path("unified"), &Resources::default()).unwrap();
    let process = Process::start_in(&group, "sleep 1000 & sleep 1000");
    group.verify(process.pid()).unwrap();
    group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    group.kill().unwrap();
    assert_eq!(group.procs().unwrap(), []);
    drop(process);
    group.remove().unwrap();
}

#[test]
fn groups_of_v2_die_with_the_threaded_groups_below_them() {
    let (group, _) = Cgroup::create(&unified_only(), &path("threaded"), &Resources::default()).unwrap();
    let directory = group.directories().next().unwrap();
    let below = format!("{directory}/threaded");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(format!("{below}/cgroup.type"), "threaded").unwrap();
    let process = Process::start_in(&group, "exec sleep 1000");
    std::fs::write(format!("{below}/cgroup.threads"), process.pid().as_raw_nonzero().to_string()).unwrap();
    assert_eq!(group.procs().unwrap(), [process.pid()]);
    group.kill().unwrap();
    assert_eq!(group.procs().unwrap(), []);
    drop(process);
    group.remove().unwrap();
}
