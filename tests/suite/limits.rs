//! Limits, proven by what happens and not by reading them back: C1 to C5 of the seed, and the others.
//!
//! Each limit is tried at both doors: `skiff cgroup run LIMIT` and `skiff run FLAG`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use skiff_e2e::lane::Lane;
use skiff_e2e::{Command, Output, Running, Skiff, TempCgroup, requires};

/// The two ways to run a script under limits.
#[derive(Debug, Clone, Copy)]
enum Door<'a> {
    /// `skiff cgroup run` with these limits.
    Cgroup(&'a [&'a str]),
    /// `skiff run` with these flags.
    Run(&'a [&'a str]),
}

impl Door<'_> {
    /// The command that runs `program` under the limits.
    fn command(self, skiff: &Skiff, program: &[&str]) -> Command {
        match self {
            Self::Cgroup(limits) => skiff.command(["cgroup", "run"]).args(limits).args(["--"]).args(program),
            Self::Run(flags) => skiff.command(["run", "--rm"]).args(flags).args(["host"]).args(program),
        }
    }

    #[track_caller]
    fn script(self, skiff: &Skiff, script: &str) -> Output {
        self.command(skiff, &["sh", "-c", script]).output()
    }
}

/// A disk of the test's own: a loop device on a file.
struct Disk(String);

impl Disk {
    fn new(skiff: &Skiff) -> Self {
        let file: PathBuf = skiff.scratch().join("disk");
        fs::File::create(&file).and_then(|disk| disk.set_len(64 << 20)).expect("make the disk's file");
        let made = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().success();
        Self(made.stdout().trim().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = Command::new("losetup").args(["--detach", &self.0]).output();
        if !detached.status.success() && !std::thread::panicking() {
            panic!("{detached}");
        }
    }
}

/// Two loops for two seconds; prints the CPU time that they took.
const BUSY: &str =
    "timeout 2 sh -c 'while :; do :; done' & timeout 2 sh -c 'while :; do :; done'; wait; times";

/// Seconds of CPU time by the second line that the shell's `times` printed: user and system, of its children.
fn children_seconds(output: &Output) -> f64 {
    let line = output.stdout().lines().nth(1).unwrap_or_else(|| panic!("no times: {output}"));
    line.split(' ')
        .filter_map(|time| time.trim_end_matches('s').split_once('m'))
        .filter_map(|(minutes, seconds)| {
            Some(60.0 * minutes.parse::<f64>().ok()? + seconds.parse::<f64>().ok()?)
        })
        .sum()
}

/// Half a CPU for two seconds is a second; two loops could take four, and without a limit take more than that.
#[track_caller]
fn is_half_a_cpu(skiff: &Skiff, door: Door<'_>) {
    let begun = Instant::now();
    let output = door.script(skiff, BUSY);
    let used = children_seconds(&output) / begun.elapsed().as_secs_f64();
    assert!(used < 0.65, "{door:?} used {used} CPUs");
    assert!(used > 0.15, "{door:?} used {used} CPUs only");
}

#[test]
fn c1_half_a_cpu_is_half_a_cpu() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    is_half_a_cpu(&skiff, Door::Cgroup(&["cpu=50%"]));
    is_half_a_cpu(&skiff, Door::Run(&["--cpus=0.5"]));
    // With a weight that leaves the rest of a busy machine behind.
    let free = children_seconds(&Door::Run(&["--cpu-shares=200000"]).script(&skiff, BUSY));
    assert!(free > 1.4, "the control: without a limit they take {free} s");
}

#[test]
fn c3_quota_and_period_are_half_a_cpu_as_well_but_not_both_at_once() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    is_half_a_cpu(&skiff, Door::Cgroup(&["cpu.quota=50000", "cpu.period=100000"]));
    is_half_a_cpu(&skiff, Door::Run(&["--cpu-quota=50000", "--cpu-period=100000"]));
    let both = Door::Run(&["--cpus=0.5", "--cpu-quota=50000"]);
    both.script(&skiff, "true").code(125).stderr_has("cpu");
}

/// Lets two doors compete for one CPU, and returns how much more the second one got.
#[track_caller]
fn ratio(skiff: &Skiff, first: Door<'_>, second: Door<'_>) -> f64 {
    let script = "exec taskset -c 0 timeout 3 sh -c 'while :; do :; done'";
    let start = |door: Door<'_>| -> Running {
        door.command(skiff, &["sh", "-c", &format!("sh -c \"{script}\"; times")]).spawn()
    };
    let (first, second) = (start(first), start(second));
    let (first, second) = (first.finish(), second.finish());
    children_seconds(&second) / children_seconds(&first)
}

#[test]
fn c2_shares_are_a_weight_against_each_other() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    // v2 gets the weights 59 and 100 by the formula of runc and crun.
    let expected = if Lane::current() == Lane::V2 { 1.3..2.3 } else { 1.5..2.6 };
    let by_cgroup = ratio(&skiff, Door::Cgroup(&["cpu.shares=512"]), Door::Cgroup(&["cpu.shares=1024"]));
    assert!(expected.contains(&by_cgroup), "skiff cgroup run: {by_cgroup}");
    let by_run = ratio(&skiff, Door::Run(&["--cpu-shares=512"]), Door::Run(&[]));
    assert!(expected.contains(&by_run), "skiff run: {by_run}");
}

#[test]
fn c4_the_fork_that_is_one_too_many_is_refused() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let script =
        "i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); echo $i; done; kill $(jobs -p); echo all";
    for door in [Door::Cgroup(&["pids=50"]), Door::Run(&["--pids-limit=50"])] {
        let output = door.script(&skiff, script).failure().stderr_has("fork");
        let forks: u32 =
            output.stdout().lines().last().unwrap().parse().unwrap_or_else(|_| panic!("{output}"));
        assert!((45..50).contains(&forks), "{door:?}: {output}");
    }
    for door in [Door::Cgroup(&[]), Door::Run(&["--pids-limit=-1"])] {
        door.script(&skiff, script).success().stdout_has("all");
    }
}

#[test]
fn c5_memory_kills_what_needs_more_and_nobody_else() {
    requires!(Root, Memory);
    let skiff = Skiff::new();
    // 24 MiB, in one variable.
    let script = "x=$(head -c 24M /dev/zero | tr '\\0' x); echo ${#x}";
    for door in
        [Door::Cgroup(&["memory=16M", "memory.swap=16M"]), Door::Run(&["--memory=16m", "--memory-swap=16m"])]
    {
        door.command(&skiff, &["sh", "-c", script]).output().code(137).stdout_is("");
    }
    for door in [Door::Cgroup(&["memory=512M"]), Door::Run(&["--memory=512m"])] {
        door.script(&skiff, script).success().stdout_is("25165824\n");
    }
}

#[test]
fn c5_a_rate_slows_direct_reads_and_writes() {
    requires!(Root, IoThrottle, LoopDevices);
    let skiff = Skiff::new();
    let disk = Disk::new(&skiff);
    let device = disk.0.as_str();
    let read = format!("dd if={device} of=/dev/null bs=64k count=48 iflag=direct 2>/dev/null");
    let write = format!("dd if=/dev/zero of={device} bs=64k count=48 oflag=direct 2>/dev/null");
    let seconds = |door: Door<'_>, script: &str| {
        let begun = Instant::now();
        door.script(&skiff, script).success();
        begun.elapsed().as_secs_f64()
    };
    // 3 MiB at 2 MiB a second.
    let give = format!("--device={device}");
    for (script, key, flag) in
        [(&read, "io.rbps", "--device-read-bps"), (&write, "io.wbps", "--device-write-bps")]
    {
        let limited = seconds(Door::Cgroup(&[&format!("{key}={device}:2M")]), script);
        assert!(limited > 1.0, "{key}: {limited} s");
        let limited = seconds(Door::Run(&[&give, &format!("{flag}={device}:2mb")]), script);
        assert!(limited > 1.0, "{flag}: {limited} s");
        let free = seconds(Door::Run(&[&give]), script);
        assert!(free < 1.0, "the control: without {flag} it takes {free} s");
    }
    // 48 operations at 30 a second.
    for (script, key, flag) in
        [(&read, "io.riops", "--device-read-iops"), (&write, "io.wiops", "--device-write-iops")]
    {
        let limited = seconds(Door::Cgroup(&[&format!("{key}={device}:30")]), script);
        assert!(limited > 1.0, "{key}: {limited} s");
        let limited = seconds(Door::Run(&[&give, &format!("{flag}={device}:30")]), script);
        assert!(limited > 1.0, "{flag}: {limited} s");
    }
}

#[test]
fn a_cpuset_is_the_cpus_that_a_program_can_use() {
    requires!(Root, Cpuset, TwoCpus);
    let skiff = Skiff::new();
    for cpu in ["0", "1"] {
        let script = "nproc; taskset -cp $$ | sed 's/.*: //'";
        let expected = format!("1\n{cpu}\n");
        Door::Cgroup(&[&format!("cpus={cpu}")]).script(&skiff, script).success().stdout_is(&expected);
        Door::Run(&["--cpuset-cpus", cpu]).script(&skiff, script).success().stdout_is(&expected);
    }
    Door::Run(&["--cpuset-cpus", "4000"]).script(&skiff, "true").code(125).stderr_has("4000");
}

#[test]
fn r15_a_device_that_is_not_allowed_cannot_be_opened() {
    requires!(Root, Devices, LoopDevices);
    let skiff = Skiff::new();
    // The node can be made, as Docker lets it; what it stands for can't be reached. In the container it is made
    // in the root directory: `/tmp` is mounted without devices.
    let on_host = skiff.scratch().join("loop-control").display().to_string();
    let attack = |door: Door<'_>| {
        let node = if matches!(door, Door::Cgroup(_)) { &on_host } else { "/loop-control" };
        let script = "mknod $0 c 10 237 || exit 9; dd if=$0 of=/dev/null count=0; code=$?; rm $0; exit $code";
        door.command(&skiff, &["sh", "-c", script, node]).output()
    };
    for door in [Door::Cgroup(&["devices=default"]), Door::Run(&[])] {
        attack(door).code(1).stderr_has("Operation not permitted");
        door.script(&skiff, "cat /dev/null && head -c 1 /dev/zero >/dev/null").success();
    }
    // The control: without the rules it opens.
    for door in [
        Door::Cgroup(&[]),
        Door::Cgroup(&["devices=default", "devices.allow=c 10:237 r"]),
        Door::Run(&["--privileged"]),
        Door::Run(&["--device-cgroup-rule=c 10:237 r"]),
    ] {
        attack(door).success();
    }
}

#[test]
fn r15_a_limit_that_cannot_hold_stops_the_start() {
    requires!(Root, Memory, Cpu);
    let skiff = Skiff::new();
    let marker = skiff.scratch().join("started");
    let script = format!("touch {}", marker.display());
    let mount = format!("{0}:{0}", skiff.scratch().display());
    let cases: [(&[&str], &str); 3] = [
        (&["--memory=64m", "--memory-swap=32m"], "memory"),
        (&["--device-read-bps=/dev/null:1mb"], "/dev/null"),
        (&["--cpu-quota=1"], "cpu"),
    ];
    for (flags, expected) in cases {
        let flags: Vec<&str> = flags.iter().copied().chain(["-v", &mount]).collect();
        Door::Run(&flags).script(&skiff, &script).code(125).stderr_has(expected);
        assert!(!marker.exists(), "{flags:?} was started without its limit");
        assert_eq!(skiff.left(), [""; 0], "{flags:?}");
    }
    Door::Run(&["-v", &mount, "--memory=64m"]).script(&skiff, &script).success();
    assert!(marker.exists(), "the control");
}

#[test]
fn what_v2_does_not_have_is_a_warning_and_what_v1_has_is_set() {
    requires!(Root, Memory);
    let skiff = Skiff::new();
    let output = Door::Cgroup(&["memory=64M", "memory.oom-kill=off"]).script(&skiff, "true").success();
    match Lane::current() {
        Lane::V1Hybrid => output.stderr_is(""),
        Lane::V2 => output.stderr_has("the OOM killer stays on"),
    };
    let real_time = Door::Cgroup(&["cpu.rt-period=1000000", "cpu.rt-runtime=1000"]).script(&skiff, "true");
    match Lane::current() {
        Lane::V1Hybrid => real_time.success(),
        Lane::V2 => real_time.code(125).stderr_has("cgroup v2 has no budget for real-time"),
    };
}

#[test]
fn a_container_lives_below_the_parent_that_is_asked_for() {
    requires!(Root, Pids, Memory);
    let skiff = Skiff::new();
    let parent = TempCgroup::new(&skiff, "parent");
    // Its parent's limit holds for it too.
    parent.write("pids", "pids.max", "20");
    let flags = ["--cgroup-parent", &parent.path()];
    let script = "i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); done";
    Door::Run(&flags).script(&skiff, script).failure().stderr_has("fork");
    assert_eq!(parent.read("pids", "cgroup.procs"), "");
    drop(parent);
    // A parent that is not there is made, and goes with the container.
    let made = format!("/{}-new/inner", skiff.tag());
    Door::Run(&["--cgroup-parent", &made]).script(&skiff, "true").success();
    assert_eq!(skiff.left(), [""; 0]);
    Door::Run(&["--cgroup-parent", "../x"]).script(&skiff, "true").code(125);
}

#[test]
fn a_throttled_disk_shows_in_what_stat_counts() {
    requires!(Root, IoThrottle, LoopDevices);
    let skiff = Skiff::new();
    let disk = Disk::new(&skiff);
    let name = format!("{}-io", skiff.tag());
    let script = format!(
        "dd if={} of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null; {}",
        disk.0,
        skiff.command(["cgroup", "stat", &name, "--json"]).line()
    );
    // On v1 the kernel counts for disks that have a rate, even one that is never reached.
    let rate = format!("io.rbps={}:1G", disk.0);
    let words = ["cgroup", "run", "--name", &name, &rate, "--", "sh", "-c", &script];
    let stats = skiff.run(words).success().json();
    let disks = stats["io"].as_object().expect("disks");
    assert!(disks.values().any(|disk| disk["read_bytes"].as_u64() >= Some(1 << 20)), "{stats}");
}
