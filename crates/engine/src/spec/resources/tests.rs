use super::*;
use crate::request::{DeviceWeight, InterfacePriority};
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

fn host() -> HostFacts {
    HostFacts {
        processors: 2,
        online_cpus: "0-1".to_owned(),
        block_devices: [(PathBuf::from("/dev/sda"), (8, 0))].into(),
        ..HostFacts::default()
    }
}

/// What the resources come to, as the JSON of the `Spec`.
fn json(wishes: &Resources) -> Result<serde_json::Value, RequestError> {
    let limits = limits(wishes, &host(), &mut Vec::new())?;
    Ok(serde_json::to_value(limits).unwrap())
}

fn cpu_of(cpu: CpuLimits) -> Result<serde_json::Value, RequestError> {
    json(&Resources { cpu, ..Resources::default() }).map(|mut json| json["cpu"].take())
}

fn memory_of(memory: MemoryLimits) -> Result<serde_json::Value, RequestError> {
    json(&Resources { memory, ..Resources::default() }).map(|mut json| json["memory"].take())
}

#[test]
fn without_wishes_only_processes_are_counted() {
    assert_eq!(json(&Resources::default()).unwrap(), serde_json::json!({"pids": {"limit": 4096}}));
}

#[test]
fn pids_can_be_limited_and_unlimited() {
    let limit = |pids| json(&Resources { pids, ..Resources::default() }).unwrap()["pids"]["limit"].clone();
    assert_eq!(limit(PidsLimit::Processes(50)), 50);
    assert_eq!(limit(PidsLimit::Unlimited), -1);
}

#[test]
fn cpus_are_a_quota() {
    let half = cpu_of(CpuLimits { nanos: Some(500_000_000), ..CpuLimits::default() }).unwrap();
    assert_eq!(half, serde_json::json!({"quota": 50_000, "period": 100_000}));
    for nanos in [0, 9_999_999, 2_000_000_001] {
        let refused = cpu_of(CpuLimits { nanos: Some(nanos), ..CpuLimits::default() });
        assert_eq!(refused, Err(RequestError::CpusRange { processors: 2 }));
    }
    assert!(cpu_of(CpuLimits { nanos: Some(2_000_000_000), ..CpuLimits::default() }).is_ok());
}

#[test]
fn cpus_exclude_quota_and_period() {
    let both = CpuLimits { nanos: Some(500_000_000), quota: Some(50_000), ..CpuLimits::default() };
    assert_eq!(cpu_of(both), Err(RequestError::CpusAndQuota { flag: "--cpu-quota" }));
    let both = CpuLimits { nanos: Some(500_000_000), period: Some(50_000), ..CpuLimits::default() };
    assert_eq!(cpu_of(both), Err(RequestError::CpusAndQuota { flag: "--cpu-period" }));
}

#[test]
fn cpu_times_have_ranges() {
    assert!(cpu_of(CpuLimits { quota: Some(-1), ..CpuLimits::default() }).is_ok());
    for quota in [999, 0, -2] {
        assert_eq!(
            cpu_of(CpuLimits { quota: Some(quota), ..CpuLimits::default() }),
            Err(RequestError::CpuQuota { quota })
        );
    }
    for period in [999, 1_000_001] {
        let refused = cpu_of(CpuLimits { period: Some(period), ..CpuLimits::default() });
        assert_eq!(refused, Err(RequestError::CpuPeriod { period }));
    }
}

#[test]
fn every_cpu_field_is_carried() {
    let all = CpuLimits {
        nanos: None,
        shares: Some(512),
        quota: Some(50_000),
        period: Some(100_000),
        realtime_runtime: Some(950_000),
        realtime_period: Some(1_000_000),
        cpus: Some("0-1".to_owned()),
        mems: Some("0".to_owned()),
    };
    assert_eq!(
        cpu_of(all).unwrap(),
        serde_json::json!({
            "shares": 512, "quota": 50_000, "period": 100_000, "realtimeRuntime": 950_000,
            "realtimePeriod": 1_000_000, "cpus": "0-1", "mems": "0"
        })
    );
}

#[test]
fn processors_must_be_there() {
    let on = |list: &str| cpu_of(CpuLimits { cpus: Some(list.to_owned()), ..CpuLimits::default() });
    assert!(on("1").is_ok());
    assert_eq!(on("0-2"), Err(RequestError::CpuMissing { cpu: 2, online: "0-1".to_owned() }));
    for list in ["", "a", "1-", "2-1", "0,,1", "0-99999999"] {
        assert!(matches!(on(list), Err(RequestError::CpuList { .. })), "{list:?}");
    }
}

#[test]
fn swap_doubles_memory_unless_said_otherwise() {
    let limit = Some(64 * MIB);
    let with = |swap| memory_of(MemoryLimits { limit, swap, ..MemoryLimits::default() });
    assert_eq!(with(None).unwrap(), serde_json::json!({"limit": 64 * MIB, "swap": 128 * MIB}));
    assert_eq!(with(Some(Swap::Unlimited)).unwrap()["swap"], -1);
    assert_eq!(with(Some(Swap::Bytes(64 * MIB))).unwrap()["swap"], 64 * MIB);
    assert_eq!(with(Some(Swap::Bytes(63 * MIB))), Err(RequestError::SwapBelowMemory));
    let alone = MemoryLimits { swap: Some(Swap::Unlimited), ..MemoryLimits::default() };
    assert_eq!(memory_of(alone), Err(RequestError::SwapWithoutMemory));
}

#[test]
fn memory_has_a_minimum() {
    let refused = memory_of(MemoryLimits { limit: Some(6 * MIB - 1), ..MemoryLimits::default() });
    assert_eq!(refused, Err(RequestError::MemoryMinimum { flag: "--memory" }));
    let refused = memory_of(MemoryLimits { reservation: Some(1), ..MemoryLimits::default() });
    assert_eq!(refused, Err(RequestError::MemoryMinimum { flag: "--memory-reservation" }));
    assert!(memory_of(MemoryLimits { limit: Some(6 * MIB), ..MemoryLimits::default() }).is_ok());
}

#[test]
fn other_memory_fields_are_carried_and_checked() {
    let all = MemoryLimits {
        limit: Some(64 * MIB),
        swap: None,
        reservation: Some(32 * MIB),
        swappiness: Some(0),
        oom_kill_disable: true,
    };
    let json = memory_of(all.clone()).unwrap();
    assert_eq!(json["reservation"], 32 * MIB);
    assert_eq!(json["swappiness"], 0);
    assert_eq!(json["disableOOMKiller"], true);
    let above = MemoryLimits { reservation: Some(65 * MIB), ..all.clone() };
    assert_eq!(memory_of(above), Err(RequestError::ReservationAboveLimit));
    assert_eq!(memory_of(MemoryLimits { swappiness: Some(101), ..all }), Err(RequestError::Swappiness));
}

#[test]
fn disabling_the_oom_killer_without_a_limit_is_warned_about() {
    let memory = MemoryLimits { oom_kill_disable: true, ..MemoryLimits::default() };
    let mut warnings = Vec::new();
    limits(&Resources { memory, ..Resources::default() }, &host(), &mut warnings).unwrap();
    assert_eq!(warnings.len(), 1);
}

#[test]
fn block_devices_are_named_by_number() {
    let rate = |rate| vec![DeviceRate { device: "/dev/sda".into(), rate }];
    let blkio = BlkioLimits {
        weight: Some(500),
        weight_devices: vec![DeviceWeight { device: "/dev/sda".into(), weight: 10 }],
        read_bps: rate(1),
        write_bps: rate(2),
        read_iops: rate(3),
        write_iops: rate(4),
    };
    let json = json(&Resources { blkio, ..Resources::default() }).unwrap();
    assert_eq!(
        json["blockIO"],
        serde_json::json!({
            "weight": 500,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}],
        })
    );
}

#[test]
fn block_weights_have_a_range() {
    for weight in [0, 9, 1001] {
        let blkio = BlkioLimits { weight: Some(weight), ..BlkioLimits::default() };
        assert_eq!(
            json(&Resources { blkio, ..Resources::default() }),
            Err(RequestError::BlkioWeight { weight })
        );
    }
}

#[test]
fn packets_are_classed() {
    let wishes = Resources {
        net_class: Some(0x10001),
        net_priorities: vec![InterfacePriority { interface: "lo".to_owned(), priority: 5 }],
        ..Resources::default()
    };
    let network = json(&wishes).unwrap()["network"].take();
    assert_eq!(network, serde_json::json!({"classID": 65537, "priorities": [{"name": "lo", "priority": 5}]}));
}

#[test]
fn memory_nodes_must_be_there() {
    let on = |list: &str| cpu_of(CpuLimits { mems: Some(list.to_owned()), ..CpuLimits::default() });
    assert!(on("0").is_ok());
    assert_eq!(on("0-1"), Err(RequestError::NodeMissing { node: 1, online: "0".to_owned() }));
}

#[test]
fn real_time_fits_into_its_period() {
    let asked = |runtime, period| {
        cpu_of(CpuLimits { realtime_runtime: Some(runtime), realtime_period: period, ..CpuLimits::default() })
    };
    assert!(asked(950_000, None).is_ok() && asked(100, Some(100)).is_ok() && asked(-1, Some(100)).is_ok());
    let above = |runtime, period| Err(RequestError::RealtimeAbovePeriod { runtime, period });
    assert_eq!(asked(200, Some(100)), above(200, 100));
    assert_eq!(asked(1_000_001, None), above(1_000_001, 1_000_000));
}
