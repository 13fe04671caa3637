//! The plan as data: no test here touches the kernel.

use serde_json::{Value, json};
use skiff_cgroup::Layout;

use super::*;

/// mountinfo of a machine with every controller on v1, and of one with a v2 tree only.
const V1: &str = "30 1 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  32 1 0:28 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n";
const V2: &str = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

fn layout(mountinfo: &str) -> Layout {
    Layout::from_mountinfo(mountinfo.as_bytes()).unwrap().with_unified_controllers("cpu io memory pids")
}

/// A small configuration, changed by `change`.
fn spec(change: impl FnOnce(&mut Value)) -> Spec {
    let mut config = json!({
        "ociVersion": "1.2.0",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["sh"], "env": ["PATH=/bin:/usr/bin"], "cwd": "/" },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": {
            "cgroupsPath": "/box",
            "namespaces": [{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "cgroup" }],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    });
    change(&mut config);
    serde_json::from_value(config).unwrap()
}

fn plan_on(mountinfo: &str, spec: Spec, rootfs: Rootfs) -> Result<LaunchPlan, LaunchError> {
    let bundle = Bundle { id: "box".into(), dir: "/bundle".into(), spec, rootfs };
    LaunchPlan::new(bundle, &Options::default(), Some(&layout(mountinfo)))
}

fn plan(change: impl FnOnce(&mut Value)) -> Result<LaunchPlan, LaunchError> {
    plan_on(V1, spec(change), Rootfs::Dir("/bundle/rootfs".into()))
}

fn names(plan: &LaunchPlan) -> Vec<String> {
    plan.steps().collect()
}

/// The index of the first step whose name starts with `start`.
fn at(names: &[String], start: &str) -> usize {
    names
        .iter()
        .position(|name| name.starts_with(start))
        .unwrap_or_else(|| panic!("no step `{start}` in {names:#?}"))
}

#[test]
fn r07_mounts_devices_pivot_masks_limits_identity_capabilities_seccomp_exec() {
    let plan = plan(|config| {
        config["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 10, "hard": 10 },
            { "type": "RLIMIT_NPROC", "soft": 10, "hard": 10 },
        ]);
        config["process"]["noNewPrivileges"] = json!(true);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    })
    .unwrap();
    let names = names(&plan);
    let order = [
        "tie the process",
        "join the cgroup",
        "wait for the parent",
        "cut the propagation",
        "attach the root",
        "mount proc",
        "make the device /dev/null",
        "pivot",
        "mask",
        "make /proc/sys read-only",
        "set the limit nproc",
        "drop capabilities",
        "become user",
        "set the capabilities",
        "find the program",
        "forbid new privileges",
        "close the host's descriptors",
        "set the limit nofile",
        "install the seccomp filter",
        "exec sh",
    ];
    let places: Vec<_> = order.iter().map(|start| at(&names, start)).collect();
    assert!(places.is_sorted(), "{names:#?}");
    assert_eq!(places.last(), Some(&(names.len() - 1)));
}

#[test]
fn the_cgroup_is_seen_in_the_layout_of_the_host() {
    let with_cgroup = |config: &mut Value| {
        let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    };
    let rootfs = || Rootfs::Dir("/bundle/rootfs".into());
    let v1 = names(&plan_on(V1, spec(with_cgroup), rootfs()).unwrap());
    at(&v1, "mount tmpfs at /sys/fs/cgroup");
    at(&v1, "mount /sys/fs/cgroup/memory/box at /sys/fs/cgroup/memory");
    at(&v1, "make the link /sys/fs/cgroup/cpuacct");
    let v2 = names(&plan_on(V2, spec(with_cgroup), rootfs()).unwrap());
    at(&v2, "mount /sys/fs/cgroup/box at /sys/fs/cgroup");
    assert!(!v2.iter().any(|name| name.contains("tmpfs at /sys/fs/cgroup")), "{v2:#?}");
}

#[test]
fn the_default_devices_may_be_used_when_there_are_rules_at_all() {
    let plan = plan(|config| {
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    })
    .unwrap();
    let (_, _, resources) = plan.cgroup.unwrap();
    assert_eq!(resources.devices.len(), 1 + DeviceRule::DEFAULTS.len());
}

#[test]
fn programs_are_looked_for_in_the_container_s_path() {
    let plan = plan(|_| ()).unwrap();
    let candidates: Vec<_> = plan.program.candidates.iter().map(|c| c.to_str().unwrap()).collect();
    assert_eq!(candidates, ["/bin/sh", "/usr/bin/sh"]);
}

#[test]
fn sys_admin_stays_for_a_filter_unless_new_privileges_are_forbidden() {
    let kept = |no_new_privileges: bool| {
        let plan = plan(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        })
        .unwrap();
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Capabilities(sets) if sets.permitted & identity::SYS_ADMIN != 0))
    };
    assert!(kept(false));
    assert!(!kept(true));
}

#[test]
fn a_joined_mount_namespace_has_no_root_filesystem_of_ours() {
    let join = |config: &mut Value| {
        config["linux"]["namespaces"] = json!([{ "type": "mount", "path": "/proc/1/ns/mnt" }]);
        config.as_object_mut().unwrap().remove("hostname");
    };
    let names = names(&plan_on(V1, spec(join), Rootfs::Joined).unwrap());
    at(&names, "join the mnt namespace");
    assert!(!names.iter().any(|name| name.starts_with("pivot") || name.starts_with("mask")), "{names:#?}");
    assert!(plan_on(V1, spec(join), Rootfs::Dir("/x".into())).is_err());
}

#[test]
fn hooks_are_awaited_where_they_belong() {
    let hook = json!([{ "path": "/bin/true" }]);
    let plan = plan(|config| {
        config["hooks"] = json!({ "createRuntime": hook, "createContainer": hook, "startContainer": hook });
    })
    .unwrap();
    let names = names(&plan);
    let pivot = at(&names, "pivot");
    assert!(at(&names, "wait for the createRuntime hooks") < pivot);
    assert!(at(&names, "wait for the createContainer hooks") < pivot);
    assert!(at(&names, "wait for the startContainer hooks") > pivot);
}

#[test]
fn what_can_t_be_meant_is_refused_by_field() {
    type Change = fn(&mut Value);
    let refused = |change: Change| plan(change).unwrap_err().to_string();
    let cases: [(&str, Change); 7] = [
        ("process.args", |config| config["process"]["args"] = json!([])),
        ("process.cwd", |config| config["process"]["cwd"] = json!("tmp")),
        ("hostname", |config| config["linux"]["namespaces"] = json!([{ "type": "mount" }])),
        ("linux.uidMappings", |config| {
            config["linux"]["namespaces"] =
                json!([{ "type": "mount" }, { "type": "uts" }, { "type": "user" }]);
        }),
        ("linux.timeOffsets", |config| {
            config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1 } });
        }),
        ("linux.rootfsPropagation", |config| config["linux"]["rootfsPropagation"] = json!("upwards")),
        ("linux.cgroupsPath", |config| config["linux"]["cgroupsPath"] = json!("/a/../b")),
    ];
    for (field, change) in cases {
        let message = refused(change);
        assert!(message.contains(field), "{field}: {message}");
    }
}

#[test]
fn in_a_user_namespace_devices_are_bound_and_the_child_becomes_root() {
    let plan = plan(|config| {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    })
    .unwrap();
    let names = names(&plan);
    at(&names, "become root of the user namespace");
    at(&names, "mount /dev/null at /dev/null");
    assert!(plan.id_maps.is_some());
}

#[test]
fn r14_a_label_that_would_not_be_applied_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 4] = [
        ("process.apparmorProfile", |config| config["process"]["apparmorProfile"] = json!("mine")),
        ("process.selinuxLabel", |config| config["process"]["selinuxLabel"] = json!("a:b:c")),
        ("linux.mountLabel", |config| config["linux"]["mountLabel"] = json!("a:b:c")),
        ("linux.intelRdt", |config| config["linux"]["intelRdt"] = json!({ "closID": "x" })),
    ];
    for (field, change) in cases {
        assert!(plan(change).unwrap_err().to_string().contains(field));
    }
    plan(|config| config["process"]["apparmorProfile"] = json!("")).unwrap();
}
