//! R15, R16: limits that hold or stop the start, devices, and kernel parameters.

use std::fs;

use skiff_e2e::{Command, Skiff, TestBundle, requires};

use super::{naive, refused};

#[test]
fn r15_a_device_that_is_not_on_the_list_cannot_be_opened_whatever_the_rights() {
    requires!(Root, Overlay, Devices);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    // /dev/kmsg: any root may open it. The node can be made, as CAP_MKNOD is one of the fourteen.
    let attack =
        "mknod /x c 1 11 && echo made; (: </x) 2>/dev/null && echo opened; : </dev/null && echo null";
    for flags in [&[][..], &["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"]] {
        let program = ["box", "sh", "-c", attack];
        let words = ["run", "--rm"].iter().chain(flags).chain(&program);
        skiff.run(words).success().stdout_is("made\nnull\n");
    }
    // The control, and the door that says what it is.
    let words = ["run", "--rm", "--privileged", "box", "sh", "-c", attack];
    skiff.run(words).success().stdout_is("made\nopened\nnull\n");
    let here = skiff.scratch().join("x");
    naive(&format!("mknod {0} c 1 11; : <{0}", here.display())).output().success();
}

#[test]
fn r15_a_limit_that_cannot_hold_stops_the_start() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let cases: &[&[&str]] = &[
        &["--cpuset-cpus", "4000"],
        &["--cpuset-mems", "900"],
        &["--cpus", "100000"],
        &["--memory", "1k"],
        &["--memory", "1g", "--memory-swap", "1m"],
        &["--device-read-bps", "/dev/null:1m"],
        &["--device-read-bps", "/no/such:1m"],
        &["--pids-limit", "1x"],
        &["--ulimit", "nofile=10:5"],
        &["--ulimit", "nothing=1"],
    ];
    for flags in cases {
        let words = ["run", "--rm"].iter().chain(*flags).chain(&["box", "true"]);
        refused(skiff.run(words));
        assert_eq!(skiff.left(), Vec::<String>::new(), "{flags:?}");
    }
}

#[test]
fn r15_control_a_limit_that_is_written_and_not_checked_is_no_limit() {
    requires!(Root);
    // `ulimit` of a shell that doesn't look at its result goes on without.
    let output =
        Command::new("sh").args(["-c", "ulimit -S -n 99999999999 2>/dev/null || :; echo started"]).output();
    output.success().stdout_is("started\n");
}

#[test]
fn r15_the_init_is_in_its_cgroup_before_anything_runs() {
    requires!(Root, Overlay, Pids, Memory, Cpu);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let groups = |output: skiff_e2e::Output| output.success().stdout().to_owned();
    let cat = ["box", "cat", "/proc/self/cgroup"];
    // In the host's cgroup namespace the real paths are seen, hierarchy by hierarchy.
    let limits = ["run", "--rm", "--cgroupns=host", "--memory=64m", "--pids-limit=50", "--cpus=0.5"];
    let seen = groups(skiff.run(limits.iter().chain(&cat)));
    for controller in ["memory", "pids", "cpu", "devices"] {
        let is_of = |line: &&str| {
            line.split(':').nth(1).is_some_and(|list| list.split(',').any(|one| one == controller))
        };
        let on_v1 = seen.lines().find(is_of);
        let line = on_v1.or_else(|| seen.lines().find(|line| line.starts_with("0::"))).expect("a hierarchy");
        assert!(line.contains("skiff-"), "{controller}: {seen}");
    }
    // And in a namespace of its own nothing of the host's tree is.
    let seen = groups(skiff.run(["run", "--rm"].iter().chain(&cat)));
    assert!(seen.lines().all(|line| line.ends_with(":/")), "{seen}");
}

/// Names and values that would reach the host, or something else than a parameter.
const FOREIGN: [&str; 14] = [
    "kernel.panic=1",
    "vm.swappiness=1",
    "fs.file-max=1",
    "kernel.core_pattern=|/bin/sh",
    "kernel.modprobe=/evil",
    "net/../kernel/panic=1",
    "net/ipv4/../../vm/swappiness=1",
    "net..ipv4=1",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_forward=1\n2",
    "../kernel/panic=1",
    "/proc/sys/vm/swappiness=1",
    "net.ipv4.ip_forward\n=1",
    "kernel.shm*=1",
];

#[test]
fn r16_parameters_of_the_host_stay_as_they_are() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let names = [
        "kernel/panic",
        "vm/swappiness",
        "fs/file-max",
        "kernel/core_pattern",
        "kernel/modprobe",
        "net/ipv4/ip_forward",
    ];
    let values = || names.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok());
    let before = values();
    for parameter in FOREIGN {
        refused(skiff.run(["run", "--rm", "--sysctl", parameter, "box", "true"]));
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let bundle = TestBundle::new(&skiff, "bundle", &["true"]).with(|config| {
            config["linux"]["sysctl"] = serde_json::json!({ name: value });
        });
        let output = skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output();
        refused(output);
        fs::remove_dir_all(bundle.path()).unwrap();
    }
    // Namespaced, but the namespace isn't the container's own.
    refused(skiff.run(["run", "--rm", "--net=host", "--sysctl", "net.ipv4.ip_forward=1", "box", "true"]));
    refused(skiff.run(["run", "--rm", "--ipc=host", "--sysctl", "kernel.msgmax=1024", "box", "true"]));
    refused(skiff.run(["run", "--rm", "--uts=host", "--sysctl", "kernel.domainname=x", "box", "true"]));
    assert_eq!(values(), before);
    // Inside, they can't be changed either.
    let attack = "for f in /proc/sys/kernel/panic /proc/sys/vm/swappiness /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger; do \
        (echo 1 >$f) 2>/dev/null && echo wrote $f; done; mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; echo end";
    skiff.run(["run", "--rm", "box", "sh", "-c", attack]).success().stdout_is("end\n");
    assert_eq!(values(), before);
}

#[test]
fn r16_control_a_plain_unshare_writes_the_hosts_parameters() {
    requires!(Root);
    // The same value again: the attack succeeds, and changes nothing.
    let script = "cat /proc/sys/vm/swappiness >/tmp/skiff-swappiness; cat /tmp/skiff-swappiness >/proc/sys/vm/swappiness; rm /tmp/skiff-swappiness";
    Command::new("unshare")
        .args(["--mount", "--pid", "--net", "--fork", "sh", "-ec", script])
        .output()
        .success();
}
