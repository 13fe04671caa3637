//! Limits, each by what it stops.

use super::*;

#[test]
fn cpuset() {
    requires!(Root, Cpuset, TwoCpus);
    let skiff = Skiff::new();
    assert_eq!(
        inside(&skiff, &["--cpuset-cpus", "1"], "nproc; grep Cpus_allowed_list /proc/self/status"),
        "1\nCpus_allowed_list:\t1"
    );
    assert_eq!(
        inside(&skiff, &["--cpuset-mems", "0"], "grep Mems_allowed_list /proc/self/status"),
        "Mems_allowed_list:\t0"
    );
    shell(&skiff, &["--cpuset-cpus", "4000"], "true").code(125).stderr_has("processor 4000 isn't there");
}

#[test]
fn memory_fields() {
    requires!(Root, Memory);
    let skiff = Skiff::new();
    let soft = cgroup_file("memory", "memory.soft_limit_in_bytes", "memory.low");
    let flags = ["--memory", "64m", "--memory-reservation", "32m"];
    assert_eq!(inside(&skiff, &flags, &format!("cat {soft}")), "33554432");
    let hard = cgroup_file("memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(inside(&skiff, &flags, &format!("cat {hard}")), "67108864");
}

#[test]
fn memory_fields_of_v1() {
    requires!(Root, Memory, CgroupV1);
    let skiff = Skiff::new();
    let file = |name: &str| format!("cat /sys/fs/cgroup/memory/{name}");
    let flags = ["--memory", "64m", "--memory-swappiness", "7"];
    assert_eq!(inside(&skiff, &flags, &file("memory.swappiness")), "7");
    let flags = ["--memory", "64m", "--oom-kill-disable"];
    assert!(inside(&skiff, &flags, &file("memory.oom_control")).starts_with("oom_kill_disable 1"));
}

#[test]
fn real_time() {
    requires!(Root, Cpu);
    let skiff = Skiff::new();
    // Few kernels have CONFIG_RT_GROUP_SCHED; without it, and on v2, the limit can't hold.
    let output = shell(&skiff, &["--cpu-rt-period", "1000000", "--cpu-rt-runtime", "1000"], "true");
    let can_hold = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    if can_hold {
        output.success();
    } else {
        let output = output.code(125);
        assert!(output.stderr().contains("real-time") || output.stderr().contains("rt"), "{output}");
    }
}

#[test]
fn disks_are_throttled() {
    requires!(Root, IoThrottle, LoopDevices);
    let skiff = Skiff::new();
    let disk = LoopDevice::new(&skiff);
    let work = |flags: &[&str], script: &str| {
        let device = ["--device", disk.0.as_str()];
        let all: Vec<&str> = device.iter().chain(flags).copied().collect();
        let output = shell(&skiff, &all, script).success();
        output.elapsed
    };
    let write = format!("dd if=/dev/zero of={} bs=256k count=8 oflag=direct 2>/dev/null", disk.0);
    let read = format!("dd if={} of=/dev/null bs=256k count=8 iflag=direct 2>/dev/null", disk.0);
    let rate = |rate: &str| format!("{}:{rate}", disk.0);
    let slow = Duration::from_millis(900);
    for (flag, limit, script) in [
        ("--device-write-bps", rate("1mb"), &write),
        ("--device-read-bps", rate("1mb"), &read),
        ("--device-write-iops", rate("4"), &write),
        ("--device-read-iops", rate("4"), &read),
    ] {
        let elapsed = work(&[flag, &limit], script);
        assert!(elapsed > slow, "{flag}: {elapsed:?}");
    }
    // The control.
    let free = work(&[], &write);
    assert!(free < slow, "{free:?}");
}

#[test]
fn block_weights_hold_or_are_refused() {
    requires!(Root, IoThrottle);
    let skiff = Skiff::new();
    let file = cgroup_file("blkio", "blkio.bfq.weight", "io.bfq.weight");
    let output = shell(&skiff, &["--blkio-weight", "300"], &format!("cat {file} 2>/dev/null; true"));
    // Without BFQ there is no weight; then it is a warning as in Docker, or an error, and never silence.
    let output = output.success();
    let holds = output.stdout().contains("300") && some_disk_is_weighed();
    assert!(output.stderr().matches("weight").count() <= 1, "said twice: {output}");
    assert!(holds || output.stderr().contains("weight"), "{output}");
    shell(&skiff, &["--blkio-weight", "5"], "true").code(125).stderr_has("between 10 and 1000");
}

/// Whether a disk is scheduled by BFQ, the only scheduler that looks at weights.
fn some_disk_is_weighed() -> bool {
    let disks = std::fs::read_dir("/sys/block").expect("the disks");
    let schedulers = disks.flatten().map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")));
    schedulers.flatten().any(|schedulers| schedulers.contains("[bfq]"))
}

#[test]
fn ulimits() {
    requires!(Root);
    let skiff = Skiff::new();
    assert_eq!(inside(&skiff, &["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn"), "100\n200");
    assert_eq!(inside(&skiff, &["--ulimit", "core=0"], "ulimit -c"), "0");
    let above = format!("nofile={}", i64::MAX);
    let can_raise = inside(&skiff, &[], "true").is_empty() && has_capability(24);
    if !can_raise {
        shell(&skiff, &["--ulimit", &above], "true").code(125).stderr_has("CAP_SYS_RESOURCE");
    }
    shell(&skiff, &["--ulimit", "bogus=1"], "true").code(125).stderr_has("no ulimit `bogus`");
}

/// Whether this test has the capability with this number.
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(line.trim(), 16).expect("a mask") >> number & 1 == 1
}

#[test]
fn oom_score() {
    requires!(Root);
    let skiff = Skiff::new();
    assert_eq!(inside(&skiff, &["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500");
    assert_eq!(inside(&skiff, &[], "cat /proc/self/oom_score_adj"), "0");
    if !has_capability(24) {
        shell(&skiff, &["--oom-score-adj", "-500"], "true").code(125).stderr_has("CAP_SYS_RESOURCE");
    }
}

#[test]
fn network_classes() {
    requires!(Root, NetCls);
    let skiff = Skiff::new();
    let groups = "grep -E 'net_cls|net_prio' /proc/self/cgroup | cut -d: -f2; true";
    let flags = ["--net-classid", "10:1", "--net-prio", "lo:5"];
    let text = inside(&skiff, &flags, groups);
    assert!(text.contains("net_cls") && text.contains("net_prio"), "{text}");
}
