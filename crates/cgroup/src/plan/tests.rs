//! Every limit on the hybrid layout of the test machines and on v2, as the lines that would be written.

use super::*;
use crate::layout::tests::{hybrid, v2};
use crate::resources::{Cpu, Cpuset, DeviceNumber, Idle, Io, Memory, OomKill, Rate, Throttle};

/// `file=value` for each write; a fallback follows after `|`.
fn lines(plan: &Plan) -> Vec<String> {
    fn line(write: &Write) -> String {
        let own = format!("{}={}", write.file, write.value);
        match &write.if_missing {
            IfMissing::Instead(other) => format!("{own}|{}", line(other)),
            _ => own,
        }
    }
    plan.writes.iter().map(line).collect()
}

fn on(layout: &Layout, resources: &Resources) -> Vec<String> {
    lines(&plan(layout, resources, Current::Fresh).expect("it can hold"))
}

fn existing(memory: Limit, quota: Limit, period: u64, burst: u64) -> Current {
    Current::Existing { memory, quota, period, burst }
}

fn updated(layout: &Layout, resources: &Resources, current: Current) -> Vec<String> {
    lines(&plan(layout, resources, current).expect("it can hold"))
}

fn cpu(cpu: Cpu) -> Resources {
    Resources { cpu, ..Resources::default() }
}

fn memory(memory: Memory) -> Resources {
    Resources { memory, ..Resources::default() }
}

const MIB: u64 = 1 << 20;

#[test]
fn nothing_asked_is_nothing_written() {
    for layout in [hybrid(), v2()] {
        assert_eq!(plan(&layout, &Resources::default(), Current::Fresh).expect("nothing"), Plan::default());
    }
}

#[test]
fn half_a_cpu_is_quota_and_period() {
    let half = cpu(Cpu { quota: Some(Limit::At(50_000)), period: Some(100_000), ..Cpu::default() });
    assert_eq!(on(&hybrid(), &half), ["cpu.cfs_quota_us=50000", "cpu.cfs_period_us=100000"]);
    assert_eq!(on(&v2(), &half), ["cpu.max=50000 100000"]);
}

#[test]
fn a_quota_alone_keeps_the_period_and_a_period_alone_the_quota() {
    let current = existing(Limit::Unlimited, Limit::At(20_000), 50_000, 0);
    let quota = cpu(Cpu { quota: Some(Limit::At(10_000)), ..Cpu::default() });
    assert_eq!(updated(&v2(), &quota, current), ["cpu.max=10000"]);
    let period = cpu(Cpu { period: Some(40_000), ..Cpu::default() });
    assert_eq!(updated(&v2(), &period, current), ["cpu.max=20000 40000"]);
    let none = cpu(Cpu { quota: Some(Limit::Unlimited), ..Cpu::default() });
    assert_eq!(updated(&v2(), &none, current), ["cpu.max=max"]);
    assert_eq!(updated(&hybrid(), &none, current), ["cpu.cfs_quota_us=-1"]);
}

#[test]
fn the_quota_is_never_above_old_and_new_in_between() {
    let new =
        |quota, period| cpu(Cpu { quota: Some(Limit::At(quota)), period: Some(period), ..Cpu::default() });
    let current = existing(Limit::Unlimited, Limit::At(50_000), 100_000, 0);
    assert_eq!(
        updated(&hybrid(), &new(5_000, 10_000), current),
        ["cpu.cfs_quota_us=5000", "cpu.cfs_period_us=10000"]
    );
    let longer = updated(&hybrid(), &new(200_000, 400_000), current);
    assert_eq!(longer, ["cpu.cfs_period_us=400000", "cpu.cfs_quota_us=200000"]);
}

#[test]
fn a_burst_is_lowered_before_and_raised_after_the_quota() {
    let new = |burst| cpu(Cpu { quota: Some(Limit::At(30_000)), burst: Some(burst), ..Cpu::default() });
    let current = existing(Limit::Unlimited, Limit::At(50_000), 100_000, 40_000);
    let files = |lines: Vec<String>| {
        lines.iter().map(|line| line.split('=').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(files(updated(&hybrid(), &new(10_000), current)), ["cpu.cfs_burst_us", "cpu.cfs_quota_us"]);
    assert_eq!(files(updated(&v2(), &new(10_000), current)), ["cpu.max.burst", "cpu.max"]);
    assert_eq!(files(on(&hybrid(), &new(10_000))), ["cpu.cfs_quota_us", "cpu.cfs_burst_us"]);
    assert_eq!(files(on(&v2(), &new(10_000))), ["cpu.max", "cpu.max.burst"]);
}

#[test]
fn shares_become_a_weight_on_v2() {
    let half = cpu(Cpu { shares: Some(1024), ..Cpu::default() });
    assert_eq!(on(&hybrid(), &half), ["cpu.shares=1024"]);
    assert_eq!(on(&v2(), &half), ["cpu.weight=100"]);
    let idle = cpu(Cpu { shares: Some(2), idle: Some(Idle::Idle), ..Cpu::default() });
    assert_eq!(on(&hybrid(), &idle), ["cpu.shares=2", "cpu.idle=1"]);
    let busy = cpu(Cpu { shares: Some(2), idle: Some(Idle::Normal), ..Cpu::default() });
    assert_eq!(on(&v2(), &busy), ["cpu.idle=0", "cpu.weight=1"]);
}

#[test]
fn real_time_is_refused_on_v2() {
    let budget =
        cpu(Cpu { realtime_runtime: Some(950_000), realtime_period: Some(1_000_000), ..Cpu::default() });
    assert_eq!(on(&hybrid(), &budget), ["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"]);
    assert!(matches!(plan(&v2(), &budget, Current::Fresh), Err(Error::Unsupported { .. })));
}

#[test]
fn swap_is_counted_with_memory_on_v1_and_alone_on_v2() {
    let both = memory(Memory {
        limit: Some(Limit::At(100 * MIB)),
        swap: Some(Limit::At(150 * MIB)),
        ..Memory::default()
    });
    let v1_lines = ["memory.limit_in_bytes=104857600", "memory.memsw.limit_in_bytes=157286400"];
    assert_eq!(on(&hybrid(), &both), v1_lines);
    assert_eq!(on(&v2(), &both), ["memory.swap.max=52428800", "memory.max=104857600"]);
}

#[test]
fn the_swap_limit_goes_first_when_it_stays_above_the_old_memory_limit() {
    let to = |limit, swap| memory(Memory { limit: Some(limit), swap: Some(swap), ..Memory::default() });
    let current = existing(Limit::At(100), Limit::Unlimited, 0, 0);
    let raised = updated(&hybrid(), &to(Limit::At(200), Limit::At(300)), current);
    assert_eq!(raised, ["memory.memsw.limit_in_bytes=300", "memory.limit_in_bytes=200"]);
    let lowered = updated(&hybrid(), &to(Limit::At(50), Limit::At(60)), current);
    assert_eq!(lowered, ["memory.limit_in_bytes=50", "memory.memsw.limit_in_bytes=60"]);
    let freed =
        updated(&hybrid(), &memory(Memory { limit: Some(Limit::Unlimited), ..Memory::default() }), current);
    assert_eq!(freed, ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"]);
    let unlimited = to(Limit::Unlimited, Limit::Unlimited);
    assert_eq!(on(&hybrid(), &unlimited), [""; 0]);
    assert_eq!(updated(&v2(), &unlimited, current), ["memory.swap.max=max", "memory.max=max"]);
}

#[test]
fn a_swap_limit_below_memory_is_refused_on_both() {
    let wrong =
        memory(Memory { limit: Some(Limit::At(100)), swap: Some(Limit::At(50)), ..Memory::default() });
    for layout in [hybrid(), v2()] {
        assert!(matches!(plan(&layout, &wrong, Current::Fresh), Err(Error::Invalid { .. })));
    }
}

#[test]
fn a_new_swap_limit_on_v2_is_taken_with_the_memory_limit_that_is_there() {
    let swap = memory(Memory { swap: Some(Limit::At(300)), ..Memory::default() });
    let current = existing(Limit::At(100), Limit::Unlimited, 0, 0);
    assert_eq!(updated(&v2(), &swap, current), ["memory.swap.max=200"]);
    assert!(plan(&v2(), &swap, Current::Fresh).is_err());
}

#[test]
fn what_v2_has_not_is_a_warning_as_with_docker() {
    let asked = memory(Memory {
        reservation: Some(Limit::At(10)),
        swappiness: Some(60),
        oom_kill: Some(OomKill::Disabled),
        ..Memory::default()
    });
    assert_eq!(
        on(&hybrid(), &asked),
        ["memory.soft_limit_in_bytes=10", "memory.swappiness=60", "memory.oom_control=1"]
    );
    let on_v2 = plan(&v2(), &asked, Current::Fresh).expect("warnings only");
    assert_eq!(lines(&on_v2), ["memory.low=10"]);
    assert_eq!(on_v2.warnings, [Warning::Swappiness, Warning::OomKillDisable]);
}

#[test]
fn memory_high_exists_on_v2_only() {
    let high = memory(Memory { high: Some(Limit::At(10)), ..Memory::default() });
    assert_eq!(on(&v2(), &high), ["memory.high=10"]);
    assert!(matches!(plan(&hybrid(), &high, Current::Fresh), Err(Error::Unsupported { .. })));
}

#[test]
fn block_io_weights_try_bfq_and_then_the_other_file() {
    let disk = DeviceNumber { major: 8, minor: 16 };
    let io = Io { weight: Some(500), weight_device: vec![(disk, 10)], throttle: Vec::new() };
    let asked = Resources { io, ..Resources::default() };
    assert_eq!(
        on(&hybrid(), &asked),
        [
            "blkio.bfq.weight=500|blkio.weight=500",
            "blkio.bfq.weight_device=8:16 10|blkio.weight_device=8:16 10"
        ]
    );
    assert_eq!(
        on(&v2(), &asked),
        ["io.bfq.weight=500|io.weight=4950", "io.bfq.weight=8:16 10|io.weight=8:16 1"]
    );
}

#[test]
fn rates_are_a_file_each_on_v1_and_a_line_a_disk_on_v2() {
    let disk = DeviceNumber { major: 8, minor: 16 };
    let rate = |rate, limit| Throttle { device: disk, rate, limit };
    let throttle = vec![
        rate(Rate::ReadBytes, Limit::At(1000)),
        rate(Rate::WriteBytes, Limit::At(2000)),
        rate(Rate::ReadOperations, Limit::At(30)),
        rate(Rate::WriteOperations, Limit::Unlimited),
    ];
    let asked = Resources { io: Io { throttle, ..Io::default() }, ..Resources::default() };
    assert_eq!(
        on(&hybrid(), &asked),
        [
            "blkio.throttle.read_bps_device=8:16 1000",
            "blkio.throttle.write_bps_device=8:16 2000",
            "blkio.throttle.read_iops_device=8:16 30",
            "blkio.throttle.write_iops_device=8:16 0",
        ]
    );
    assert_eq!(on(&v2(), &asked), ["io.max=8:16 rbps=1000 wbps=2000 riops=30 wiops=max"]);
}

#[test]
fn simple_numbers_have_their_files() {
    let asked = Resources {
        cpuset: Cpuset { cpus: Some("0-1".to_owned()), mems: Some("0".to_owned()) },
        pids: Some(Limit::At(50)),
        ..Resources::default()
    };
    for layout in [hybrid(), v2()] {
        assert_eq!(on(&layout, &asked), ["cpuset.cpus=0-1", "cpuset.mems=0", "pids.max=50"]);
    }
    let free = Resources { pids: Some(Limit::Unlimited), ..Resources::default() };
    assert_eq!(on(&v2(), &free), [""; 0]);
    assert_eq!(updated(&v2(), &free, existing(Limit::Unlimited, Limit::Unlimited, 0, 0)), ["pids.max=max"]);
}

#[test]
fn huge_pages_are_limited_where_their_controller_is() {
    let asked = Resources { hugetlb: [("2MB".to_owned(), 4096)].into(), ..Resources::default() };
    // On the hybrid machine the controller is in the v2 tree.
    let expected = ["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"];
    assert_eq!(on(&hybrid(), &asked), expected);
    let planned = plan(&hybrid(), &asked, Current::Fresh).expect("valid");
    assert_eq!(hybrid().hierarchies()[planned.writes[0].hierarchy].label(), "unified");
    let without = v2().with_unified_controllers("cpu");
    assert!(matches!(plan(&without, &asked, Current::Fresh), Err(Error::Missing { .. })));
}

#[test]
fn rdma_and_network_have_their_lines() {
    let rdma = Rdma { handles: Some(3), objects: None };
    let asked = Resources { rdma: [("mlx5_0".to_owned(), rdma)].into(), ..Resources::default() };
    assert_eq!(on(&v2(), &asked), ["rdma.max=mlx5_0 hca_handle=3"]);
    let network = Resources {
        net_class: Some(0x10_0001),
        net_priorities: [("eth0".to_owned(), 5)].into(),
        ..Resources::default()
    };
    assert!(matches!(plan(&hybrid(), &network, Current::Fresh), Err(Error::Missing { .. })));
    let text = "1 1 0:1 / /cg/net rw - cgroup cgroup rw,net_cls,net_prio\n";
    let layout = Layout::from_mountinfo(text.as_bytes()).expect("valid");
    assert_eq!(on(&layout, &network), ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
}

#[test]
fn devices_are_lines_on_v1_and_a_program_on_v2() {
    let rules = vec![DeviceRule::DENY_ALL, "c 1:3 rwm".parse().expect("valid")];
    let asked = Resources { devices: rules, ..Resources::default() };
    assert_eq!(on(&hybrid(), &asked), ["devices.deny=a", "devices.allow=c 1:3 rwm"]);
    let on_v2 = plan(&v2(), &asked, Current::Fresh).expect("valid");
    assert!(on_v2.writes.is_empty() && on_v2.filter.is_some());
    let all = Resources { devices: vec![DeviceRule::ALLOW_ALL], ..Resources::default() };
    assert_eq!(on(&hybrid(), &all), [""; 0]);
    assert_eq!(
        updated(&hybrid(), &all, existing(Limit::Unlimited, Limit::Unlimited, 0, 0)),
        ["devices.allow=a"]
    );
}

#[test]
fn raw_files_go_to_a_v2_tree_that_has_their_controller() {
    let asked = |file: &str| Resources {
        unified: [(file.to_owned(), "7".to_owned())].into(),
        ..Resources::default()
    };
    assert_eq!(on(&v2(), &asked("memory.high")), ["memory.high=7"]);
    assert_eq!(on(&hybrid(), &asked("cgroup.max.depth")), ["cgroup.max.depth=7"]);
    assert_eq!(on(&hybrid(), &asked("hugetlb.2MB.max")), ["hugetlb.2MB.max=7"]);
    assert!(matches!(plan(&hybrid(), &asked("memory.high"), Current::Fresh), Err(Error::Unsupported { .. })));
}
