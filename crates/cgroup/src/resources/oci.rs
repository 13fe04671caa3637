//! [`Resources`] from OCI's `linux.resources`. Numbers that no kernel takes are refused here; what a layout
//! can't do is the plan's business.

use std::collections::BTreeMap;

use skiff_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
};

use super::check::{cpu_list, invalid, io_weight, one_word, page_size, unified_file};
use super::{Cpu, Cpuset, DeviceNumber, Idle, Io, Limit, Memory, OomKill, Rate, Rdma, Resources, Throttle};
use crate::devices::{Access, DeviceKind, DeviceRule};
use crate::error::Error;

impl TryFrom<&LinuxResources> for Resources {
    type Error = Error;

    fn try_from(oci: &LinuxResources) -> Result<Self, Error> {
        let cpu = oci.cpu().as_ref();
        let network = oci.network().as_ref();
        Ok(Self {
            cpu: cpu.map(cpu_of).transpose()?.unwrap_or_default(),
            cpuset: cpu.map(cpuset_of).transpose()?.unwrap_or_default(),
            memory: oci.memory().as_ref().map(memory_of).transpose()?.unwrap_or_default(),
            io: oci.block_io().as_ref().map(io_of).transpose()?.unwrap_or_default(),
            pids: oci.pids().as_ref().map(|pids| pids_limit(pids.limit())),
            devices: each(oci.devices(), device_rule)?,
            hugetlb: each(oci.hugepage_limits(), |page| {
                Ok((page_size(page.page_size())?, unsigned("huge page limit", page.limit())?))
            })?
            .into_iter()
            .collect(),
            rdma: oci
                .rdma()
                .iter()
                .flatten()
                .map(|(device, limit)| {
                    let limit = Rdma { handles: limit.hca_handles(), objects: limit.hca_objects() };
                    Ok((one_word("RDMA device", device)?, limit))
                })
                .collect::<Result<_, Error>>()?,
            net_class: network.and_then(|network| network.class_id()),
            net_priorities: match network {
                Some(network) => each(network.priorities(), |entry| {
                    Ok((one_word("network interface", entry.name())?, entry.priority()))
                })?
                .into_iter()
                .collect(),
                None => BTreeMap::new(),
            },
            unified: oci
                .unified()
                .iter()
                .flatten()
                .map(|(file, value)| Ok((unified_file(file)?, value.clone())))
                .collect::<Result<_, Error>>()?,
        })
    }
}

fn each<T, U>(list: &Option<Vec<T>>, convert: impl Fn(&T) -> Result<U, Error>) -> Result<Vec<U>, Error> {
    list.iter().flatten().map(convert).collect()
}

fn cpu_of(cpu: &LinuxCpu) -> Result<Cpu, Error> {
    Ok(Cpu {
        // 0 is Docker's and runc's "not set" in all of these.
        shares: cpu.shares().filter(|shares| *shares != 0),
        quota: match cpu.quota() {
            None | Some(0) => None,
            Some(quota) => Some(u64::try_from(quota).map_or(Limit::Unlimited, Limit::At)),
        },
        period: cpu.period().filter(|period| *period != 0),
        burst: cpu.burst(),
        idle: match cpu.idle() {
            None => None,
            Some(0) => Some(Idle::Normal),
            Some(1) => Some(Idle::Idle),
            Some(other) => return Err(invalid("cpu idle", other, "it is 0 or 1")),
        },
        realtime_runtime: cpu.realtime_runtime().filter(|runtime| *runtime != 0),
        realtime_period: cpu.realtime_period().filter(|period| *period != 0),
    })
}

fn cpuset_of(cpu: &LinuxCpu) -> Result<Cpuset, Error> {
    let list = |what, list: &Option<String>| match list.as_deref() {
        None | Some("") => Ok(None),
        Some(list) => cpu_list(what, list).map(Some),
    };
    Ok(Cpuset { cpus: list("CPU list", cpu.cpus())?, mems: list("memory node list", cpu.mems())? })
}

fn memory_of(memory: &LinuxMemory) -> Result<Memory, Error> {
    let limit = |value: Option<i64>| value.filter(|value| *value != 0).map(signed_limit);
    if let Some(swappiness) = memory.swappiness().filter(|swappiness| *swappiness > 100) {
        return Err(invalid("memory swappiness", swappiness, "it is 0 to 100"));
    }
    Ok(Memory {
        limit: limit(memory.limit()),
        swap: limit(memory.swap()),
        reservation: limit(memory.reservation()),
        high: None,
        swappiness: memory.swappiness(),
        oom_kill: memory
            .disable_oom_killer()
            .map(|disabled| if disabled { OomKill::Disabled } else { OomKill::Enabled }),
        kernel_tcp: limit(memory.kernel_tcp()),
        #[allow(deprecated, reason = "still accepted, so that its absence can be said")]
        kernel: limit(memory.kernel()),
        check_before_update: memory.check_before_update().unwrap_or(false),
    })
}

/// −1 (and, as runc has it, any negative number) is no limit.
fn signed_limit(value: i64) -> Limit {
    u64::try_from(value).map_or(Limit::Unlimited, Limit::At)
}

/// 0 and −1 are no limit, as with Docker.
fn pids_limit(limit: i64) -> Limit {
    match signed_limit(limit) {
        Limit::At(0) => Limit::Unlimited,
        limit => limit,
    }
}

fn io_of(io: &LinuxBlockIo) -> Result<Io, Error> {
    let mut weight_device = Vec::new();
    for entry in io.weight_device().iter().flatten() {
        if let Some(weight) = entry.weight().filter(|weight| *weight != 0) {
            weight_device.push((device_number(entry.major(), entry.minor())?, io_weight(weight)?));
        }
    }
    let lists = [
        (Rate::ReadBytes, io.throttle_read_bps_device()),
        (Rate::WriteBytes, io.throttle_write_bps_device()),
        (Rate::ReadOperations, io.throttle_read_iops_device()),
        (Rate::WriteOperations, io.throttle_write_iops_device()),
    ];
    let mut throttle = Vec::new();
    for (rate, list) in lists {
        for entry in list.iter().flatten() {
            let device = device_number(entry.major(), entry.minor())?;
            // 0 takes a limit away, on v1 by itself and on v2 as `max`.
            let limit = if entry.rate() == 0 { Limit::Unlimited } else { Limit::At(entry.rate()) };
            throttle.push(Throttle { device, rate, limit });
        }
    }
    let weight = io.weight().filter(|weight| *weight != 0).map(io_weight).transpose()?;
    Ok(Io { weight, weight_device, throttle })
}

fn device_number(major: i64, minor: i64) -> Result<DeviceNumber, Error> {
    Ok(DeviceNumber { major: device_major(major)?, minor: device_minor(minor)? })
}

// dev_t has 12 and 20 bits; the kernel would silently cut a larger number down to another device's.

fn device_major(value: i64) -> Result<u32, Error> {
    device_part("device major number", value, 0xfff)
}

fn device_minor(value: i64) -> Result<u32, Error> {
    device_part("device minor number", value, 0xf_ffff)
}

fn device_part(what: &'static str, value: i64, largest: u32) -> Result<u32, Error> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= largest)
        .ok_or_else(|| invalid(what, value, "no device has that number"))
}

fn device_rule(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Error> {
    // runc and Docker write -1 for "any".
    let one = |value: Option<i64>| value.filter(|value| *value != -1);
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::Any,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Character,
        Some(LinuxDeviceType::P) => return Err(invalid("device type", "p", "a FIFO is no device")),
    };
    let access = match rule.access().as_deref() {
        // The OCI schema lets it be left out; runc then takes the rule for all three.
        None | Some("") => Access::ALL,
        Some(text) => text.parse()?,
    };
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: one(rule.major()).map(device_major).transpose()?,
        minor: one(rule.minor()).map(device_minor).transpose()?,
        access,
    })
}

fn unsigned(what: &'static str, value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| invalid(what, value, "it can't be negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Resources, Error> {
        let oci: LinuxResources = serde_json::from_str(json).expect("valid OCI JSON");
        Resources::try_from(&oci)
    }

    #[test]
    fn every_part_of_linux_resources_arrives() {
        let resources = parse(
            r#"{
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 10, "idle": 1,
                    "realtimeRuntime": 950, "realtimePeriod": 1000, "cpus": "0-1", "mems": "0"},
            "memory": {"limit": 1000, "swap": -1, "reservation": 500, "swappiness": 0,
                       "disableOOMKiller": true, "checkBeforeUpdate": true},
            "blockIO": {"weight": 300, "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
                        "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 600}],
                        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]},
            "pids": {"limit": 50},
            "devices": [{"allow": false, "access": "rwm"},
                        {"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"}],
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
            "unified": {"memory.high": "1000"}
        }"#,
        )
        .expect("valid");
        assert_eq!(resources.cpu.quota, Some(Limit::At(50000)));
        assert_eq!(resources.cpu.idle, Some(Idle::Idle));
        assert_eq!(resources.cpuset.cpus.as_deref(), Some("0-1"));
        assert_eq!(resources.memory.swap, Some(Limit::Unlimited));
        assert_eq!(resources.memory.swappiness, Some(0));
        assert_eq!(resources.memory.oom_kill, Some(OomKill::Disabled));
        assert_eq!(resources.io.throttle.len(), 2);
        assert_eq!(resources.io.throttle[1].limit, Limit::Unlimited);
        assert_eq!(resources.devices[0].access, Access::ALL);
        assert_eq!(resources.devices[1].minor, None);
        assert_eq!(resources.net_class, Some(0x10_0001));
        let named = "cpu,cpuset,memory,blkio,pids,devices,hugetlb,rdma,net_cls,net_prio";
        assert_eq!(resources.controllers().to_string(), named);
    }

    #[test]
    fn zero_means_not_set_or_unlimited_as_with_docker() {
        let resources = parse(
            r#"{"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": ""}, "pids": {"limit": 0},
                "memory": {"limit": 0, "swap": 0}, "blockIO": {"weight": 0}}"#,
        )
        .expect("valid");
        assert_eq!(resources, Resources { pids: Some(Limit::Unlimited), ..Resources::default() });
        let unlimited = parse(r#"{"pids": {"limit": -1}, "cpu": {"quota": -1}}"#).expect("valid");
        assert_eq!(unlimited.pids, Some(Limit::Unlimited));
        assert_eq!(unlimited.cpu.quota, Some(Limit::Unlimited));
    }

    #[test]
    fn r25_what_would_become_a_file_name_or_another_device_is_refused() {
        for json in [
            r#"{"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}"#,
            r#"{"hugepageLimits": [{"pageSize": "02MB", "limit": 1}]}"#,
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}"#,
            r#"{"unified": {"../cgroup.procs": "1"}}"#,
            r#"{"unified": {"memory": "1"}}"#,
            r#"{"rdma": {"a b": {"hcaHandles": 3}}}"#,
            r#"{"network": {"priorities": [{"name": "eth0\n", "priority": 5}]}}"#,
            r#"{"cpu": {"cpus": "0-3,x"}}"#,
            r#"{"cpu": {"cpus": "3-0"}}"#,
            r#"{"cpu": {"idle": 2}}"#,
            r#"{"memory": {"swappiness": 101}}"#,
            r#"{"blockIO": {"weight": 9}}"#,
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 4096, "minor": 0, "rate": 1}]}}"#,
            r#"{"devices": [{"allow": true, "type": "c", "major": -2}]}"#,
            r#"{"devices": [{"allow": true, "type": "c", "major": 1, "minor": 1048576}]}"#,
            r#"{"devices": [{"allow": true, "type": "p"}]}"#,
            r#"{"devices": [{"allow": true, "access": "rx"}]}"#,
        ] {
            assert!(matches!(parse(json), Err(Error::Invalid { .. })), "{json}");
        }
    }
}
