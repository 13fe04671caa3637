//! `skiff cgroup`, and the labs of the seed that use it: B1 to B6. What is said of a group is read from the kernel's own files.

use std::fs;
use std::time::{Duration, Instant};

use skiff_e2e::lane::{Lane, controllers_v1};
use skiff_e2e::{Command, Deadline, Running, Skiff, requires};

/// A group of the test's own, that goes with it.
struct Group<'a> {
    skiff: &'a Skiff,
    name: String,
}

impl<'a> Group<'a> {
    /// Makes it with `skiff cgroup create`.
    #[track_caller]
    fn new(skiff: &'a Skiff, name: &str, limits: &[&str]) -> Self {
        let name = format!("{}-{name}", skiff.tag());
        let group = Self { skiff, name };
        group.cgroup("create", limits).success().stderr_is("");
        group
    }

    /// `skiff cgroup COMMAND GROUP ARGUMENTS…`
    #[must_use]
    #[track_caller]
    fn cgroup(&self, command: &str, arguments: &[&str]) -> skiff_e2e::Output {
        let words = ["cgroup", command, &self.name].into_iter().chain(arguments.iter().copied());
        self.skiff.command(words).output()
    }

    /// One of its files, where `controller` is.
    fn file(&self, controller: &str, file: &str) -> String {
        format!("{}/{}/{file}", root_of(controller), self.name)
    }

    fn read(&self, controller: &str, file: &str) -> String {
        let path = self.file(controller, file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path}: {error}"))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let left = self.cgroup("rm", &["--kill"]);
        if !left.status.success() && !std::thread::panicking() {
            panic!("{left}");
        }
    }
}

/// The root of the hierarchy that `controller` is in.
fn root_of(controller: &str) -> String {
    match Lane::current() {
        Lane::V1Hybrid => {
            let found = controllers_v1().find(|(name, _)| name == controller);
            found.unwrap_or_else(|| panic!("{controller} is mounted")).1
        }
        Lane::V2 => "/sys/fs/cgroup".to_owned(),
    }
}

/// The value for this lane.
fn by_lane<T>(v1: T, v2: T) -> T {
    if Lane::current() == Lane::V2 { v2 } else { v1 }
}

/// A process that does nothing but use a CPU.
fn busy() -> Running {
    Command::new("sh").args(["-c", "while :; do :; done"]).spawn()
}

/// User time that process `pid` has used, in ticks of 10 ms.
fn ticks(pid: rustix::process::Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("the process lives");
    let fields = stat.rsplit_once(')').expect("a stat line").1;
    fields.split_ascii_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).expect("utime")
}

#[test]
fn b1_ls_shows_where_each_controller_is_mounted() {
    requires!(Root, Cpu, Memory);
    let skiff = Skiff::new();
    let output = skiff.run(["cgroup", "ls"]).success();
    let mounted = Command::new("sh").args(["-c", "mount | grep cgroup"]).output().success();
    for line in mounted.stdout().lines().filter(|line| line.contains(" type cgroup")) {
        let at = line.split(' ').nth(2).expect("a mount point");
        assert!(output.stdout().lines().any(|shown| shown.contains(at)), "{at} is not in\n{output}");
    }
    output.stdout_has(by_lane("hybrid", "cgroup v2: one tree"));
}

#[test]
fn b2_create_is_a_mkdir_in_each_hierarchy() {
    requires!(Root, Cpu, Memory, Pids);
    let skiff = Skiff::new();
    let name = format!("{}-mygroup", skiff.tag());
    let output = skiff.run(["cgroup", "create", &name, "--explain"]).success();
    for controller in ["cpu", "memory", "pids"] {
        let directory = format!("{}/{name}", root_of(controller));
        output.stdout().lines().find(|line| *line == format!("mkdir {directory}")).expect("the line says so");
        assert!(fs::exists(format!("{directory}/cgroup.procs")).expect("look"), "{directory}");
    }
    skiff.run(["cgroup", "create", &name]).code(125).stderr_has("exists");
    skiff.run(["cgroup", "rm", &name]).success();
    skiff.run(["cgroup", "rm", &name]).code(125).stderr_has(&format!("no cgroup /{name}"));
}

#[test]
fn b3_half_a_cpu_prints_the_very_lines_of_this_layout() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    let group = Group::new(&skiff, "mygroup", &[]);
    let quota = group.file("cpu", "cpu.cfs_quota_us");
    let period = group.file("cpu", "cpu.cfs_period_us");
    let max = group.file("cpu", "cpu.max");
    let expected = by_lane(
        format!("echo 50000 > {quota}\necho 100000 > {period}\n"),
        format!("echo '50000 100000' > {max}\n"),
    );
    group.cgroup("set", &["cpu=50%", "-x"]).success().stdout_is(&expected);
    // The lines do what they say: typed in a shell, they set the same limit again.
    group.cgroup("set", &["cpu=max"]).success();
    Command::new("sh").args(["-c", &expected]).output().success();
    group.cgroup("stat", &[]).success().stdout_has("at most 50% of a CPU: 50 ms in every 100 ms");
}

#[test]
fn b4_a_process_is_added_to_every_hierarchy() {
    requires!(Root, Cpu, Memory, Pids);
    let skiff = Skiff::new();
    let group = Group::new(&skiff, "mygroup", &[]);
    let bash = Command::new("bash").args(["-c", "read line"]).spawn();
    let pid = bash.pid().as_raw_nonzero().to_string();
    group.cgroup("add", &[&pid]).success();
    for controller in ["cpu", "memory", "pids"] {
        assert_eq!(group.read(controller, "cgroup.procs"), format!("{pid}\n"));
    }
    group.cgroup("add", &["999999999"]).code(125);
    group.cgroup("rm", &[]).code(125).stderr_has("has 1 process in it");
}

#[test]
fn b5_stat_says_in_words_how_long_a_process_was_held_back() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    // Little enough to be held back on a machine that is busy with other things as well.
    let group = Group::new(&skiff, "mygroup", &["cpu=10%"]);
    let process = busy();
    group.cgroup("add", &[&process.pid().as_raw_nonzero().to_string()]).success();
    let deadline = Deadline::after(Duration::from_secs(20));
    let throttled = deadline.until(|| {
        let json = group.cgroup("stat", &["--json"]).success().json();
        (json["cpu"]["throttled_periods"].as_u64()? > 3).then_some(())
    });
    assert!(throttled.is_some(), "it was never held back");
    group.cgroup("stat", &[]).success().stdout_has("held back for ");
}

#[test]
fn b6_network_packets_carry_the_class_of_their_group() {
    requires!(Root, NetCls);
    let skiff = Skiff::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    // In a network of its own: nftables counts what carries the class.
    let script = r#"
        ip link set lo up
        nft 'add table inet t; add chain inet t out { type filter hook output priority 0; }; add rule inet t out meta cgroup 0x100001 counter'
        eval "$0" || exit
        nft list chain inet t out"#;
    let count = |limit: &str| {
        let send = ["cgroup", "run", limit, "--", "bash", "-c", "echo hello >/dev/udp/127.0.0.1/9"];
        let arguments = ["unshare", "--net", "bash", "-c", script, &skiff.command(send).line()];
        let output = skiff.run(arguments).success();
        output.stdout().split_once("counter packets ").expect("a counter").1.starts_with('1')
    };
    assert!(count("net.class=10:1"), "the packet carries the class");
    assert!(!count("net.class=10:2"), "the control: another class is not counted");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"), mounts);
}

#[test]
fn run_returns_what_the_program_returns_and_removes_the_group() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    skiff.run(["cgroup", "run", "pids=20", "--", "sh", "-c", "echo in; exit 7"]).code(7).stdout_is("in\n");
    skiff.run(["cgroup", "run", "--", "sh", "-c", "kill -9 $$"]).code(137);
    skiff.run(["cgroup", "run", "--", "/nonexistent"]).code(127);
    // Those that the program leaves behind go with the group.
    let name = format!("{}-run", skiff.tag());
    let script = format!("sleep 1000 & cat /proc/self/cgroup | grep -c {name}");
    let words = ["cgroup", "run", "--name", &name, "--", "sh", "-c", &script];
    skiff.run(words).success().stdout_has("\n");
    skiff.run(["cgroup", "stat", &name]).code(125).stderr_has("no cgroup");
}

#[test]
fn a_frozen_group_makes_no_progress() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    let group = Group::new(&skiff, "frozen", &[]);
    let process = busy();
    group.cgroup("add", &[&process.pid().as_raw_nonzero().to_string()]).success();
    group.cgroup("freeze", &[]).success();
    let before = ticks(process.pid());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ticks(process.pid()), before, "it ran while it was frozen");
    group.cgroup("thaw", &[]).success();
    let went_on =
        Deadline::after(Duration::from_secs(20)).until(|| (ticks(process.pid()) > before).then_some(()));
    assert!(went_on.is_some(), "it goes on after the thaw");
}

#[test]
fn f25_a_fork_bomb_ends_in_time_and_the_host_forks_freely() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let group = Group::new(&skiff, "bomb", &["pids=100"]);
    let script = "read go; b() { b | b & }; while :; do b; done";
    let mut bomb = Command::new("sh").args(["-c", script]).spawn();
    group.cgroup("add", &[&bomb.pid().as_raw_nonzero().to_string()]).success();
    bomb.write("go\n");
    let refused = Deadline::after(Duration::from_secs(30)).until(|| {
        let json = group.cgroup("stat", &["--json"]).success().json();
        (json["pids"]["refused"].as_u64()? > 0).then_some(())
    });
    assert!(refused.is_some(), "no fork was refused");
    Command::new("sh").args(["-c", "for i in 1 2 3 4 5; do sleep 0 & done; wait"]).output().success();
    let start = Instant::now();
    group.cgroup("rm", &["--kill"]).success();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    group.skiff.run(["cgroup", "create", &group.name]).success();
}

#[test]
fn f26_frozen_processes_and_groups_inside_do_not_keep_a_group() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    let outer = Group::new(&skiff, "outer", &[]);
    let inner = format!("{}/a/b", outer.name);
    skiff.run(["cgroup", "create", &inner]).success();
    let process = busy();
    skiff.run(["cgroup", "add", &inner, &process.pid().as_raw_nonzero().to_string()]).success();
    skiff.run(["cgroup", "freeze", &inner]).success();
    outer.cgroup("freeze", &[]).success();
    outer.cgroup("rm", &["--kill"]).success();
    skiff.run(["cgroup", "stat", &inner]).code(125).stderr_has("no cgroup");
    outer.skiff.run(["cgroup", "create", &outer.name]).success();
}

#[test]
fn f26_a_group_whose_last_process_is_dying_is_removed() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    for round in 0..20 {
        let words = ["cgroup", "run", "--", "sh", "-c", "sleep 1000 & sleep 1000 & kill -9 $!; exit 0"];
        skiff.run(words).success().stderr_is("");
        assert_eq!(skiff.left(), [""; 0], "round {round}");
    }
}

#[test]
fn a_refused_limit_is_one_sentence_and_leaves_no_group() {
    requires!(Root, Cpu, Memory);
    let skiff = Skiff::new();
    let name = format!("{}-refused", skiff.tag());
    let cases = [
        ("memroy=1M", "there is no limit `memroy`"),
        ("cpu=0.001", "no less than 1%"),
        ("cpu.period=5", "cpu"),
        ("memory.swap=1M", "memory"),
        ("io.rbps=10M", "names no disk"),
        ("io.rbps=/dev/null:10M", "/dev/null is no disk"),
        ("v2.nothing.here=1", "nothing.here"),
        ("hugetlb.7KB=1M", "huge"),
    ];
    for (limit, expected) in cases {
        // A limit of memory and swap together alone is fine on v1 where memory is unlimited: it must be refused.
        let output = skiff.run(["cgroup", "create", &name, limit]).code(125);
        output.stdout_is("").stderr_has("skiff: ").stderr_has(expected);
        skiff.run(["cgroup", "stat", &name]).code(125).stderr_has("no cgroup");
    }
}

#[test]
fn a_limit_that_comes_later_gets_its_controller() {
    requires!(Root, Cpuset);
    let skiff = Skiff::new();
    let outer = Group::new(&skiff, "outer", &[]);
    let inner = format!("{}/inner", outer.name);
    skiff.run(["cgroup", "create", &inner]).success();
    // On v2 no ancestor has handed this one on before.
    skiff.run(["cgroup", "set", &inner, "cpus=0"]).success();
    let process = busy();
    skiff.run(["cgroup", "add", &inner, &process.pid().as_raw_nonzero().to_string()]).success();
    let status =
        fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero())).expect("it lives");
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
}

#[test]
fn on_v2_a_group_with_processes_has_children_without_limits() {
    requires!(Root, CgroupV2, Pids);
    let skiff = Skiff::new();
    let outer = Group::new(&skiff, "outer", &[]);
    let process = busy();
    outer.cgroup("add", &[&process.pid().as_raw_nonzero().to_string()]).success();
    let inner = format!("{}/inner", outer.name);
    let refused = skiff.run(["cgroup", "create", &inner, "pids=5"]).code(125);
    refused.stderr_has("hint: on cgroup v2 a group with processes in it can't give controllers");
    skiff.run(["cgroup", "create", &inner]).success();
}

#[test]
fn r25_names_that_lead_elsewhere_are_refused() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let canary = skiff.scratch().join("canary");
    let elsewhere = format!("{}{}", "../".repeat(8), canary.display());
    for name in [&elsewhere, "a/../../b", "cgroup.procs", "a b", ".", "x//y"] {
        skiff.run(["cgroup", "create", name]).failure();
        skiff.run(["cgroup", "rm", name]).failure();
    }
    assert!(!canary.exists());
    // The control: joined to the hierarchy's root without the check, the name makes a directory outside.
    fs::create_dir(format!("{}/{elsewhere}", root_of("pids"))).expect("the attack works");
    assert!(canary.is_dir());
}
