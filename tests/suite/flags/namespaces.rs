//! Namespaces, and what belongs to one.

use super::*;

#[test]
fn names() {
    requires!(Root);
    let skiff = Skiff::new();
    let names = "hostname; domainname; cat /etc/hostname; grep -c box /etc/hosts; echo $HOSTNAME";
    let flags = ["--hostname", "box", "--domainname", "example.org"];
    assert_eq!(inside(&skiff, &flags, names), "box\nexample.org\nbox\n1\nbox");
    let own = inside(&skiff, &[], "hostname; cat /etc/hostname; echo $HOSTNAME");
    let lines: Vec<&str> = own.lines().collect();
    assert!(lines[0].len() == 12 && lines.iter().all(|line| *line == lines[0]), "{own}");
}

#[test]
fn sysctls() {
    requires!(Root);
    let skiff = Skiff::new();
    let show = "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax";
    let flags = ["--sysctl", "net.core.somaxconn=77", "--sysctl", "kernel.msgmax=4321"];
    assert_eq!(inside(&skiff, &flags, show), "77\n4321");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/msgmax").expect("the host's").trim(), "4321");
    shell(&skiff, &["--net=host", "--sysctl", "net.core.somaxconn=77"], "true")
        .code(125)
        .stderr_has("isn't the container's own");
}

#[test]
fn cgroup_parents_and_namespaces() {
    requires!(Root);
    let skiff = Skiff::new();
    let parent = TempCgroup::new(&skiff, "parent");
    let path = parent.path();
    let own = "grep -E '^0::|:pids:|:cpu' /proc/self/cgroup | head -n 1 | cut -d: -f3";
    assert_eq!(inside(&skiff, &["--cgroup-parent", &path], own), "/");
    let seen = inside(&skiff, &["--cgroup-parent", &path, "--cgroupns", "host"], own);
    assert!(seen.starts_with(&format!("{path}/skiff-")), "{seen}");
    shell(&skiff, &["--cgroup-parent", "../x"], "true").code(125).stderr_has("`--cgroup-parent`");
}

#[test]
fn networks() {
    requires!(Root);
    let skiff = Skiff::new();
    let links = "ls /sys/class/net | tr '\\n' ' '";
    assert_eq!(inside(&skiff, &[], links), "lo");
    assert_eq!(
        inside(&skiff, &["--network", "none"], "cat /sys/class/net/lo/operstate"),
        "unknown",
        "lo is up"
    );
    let own = fs::read_link("/proc/self/ns/net").expect("ours");
    let own = own.to_str().expect("text");
    assert_eq!(inside(&skiff, &["--net=host"], "readlink /proc/self/ns/net"), own);
    let path = format!("ns:/proc/{}/ns/net", std::process::id());
    assert_eq!(inside(&skiff, &["--network", &path], "readlink /proc/self/ns/net"), own);
}

#[test]
fn ipc() {
    requires!(Root);
    let skiff = Skiff::new();
    let own = fs::read_link("/proc/self/ns/ipc").expect("ours");
    let own = own.to_str().expect("text");
    let script = "readlink /proc/self/ns/ipc; stat -f -c %T /dev/shm 2>/dev/null || echo none";
    for (mode, is_ours) in [("private", false), ("shareable", false), ("host", true)] {
        let text = inside(&skiff, &["--ipc", mode], script);
        assert_eq!(text.starts_with(own), is_ours, "{mode}: {text}");
    }
    assert!(
        !inside(&skiff, &["--ipc", "none"], "grep ' /dev/shm ' /proc/self/mountinfo; true").contains("shm")
    );
    // What a container puts into the host's shared memory is there.
    let name = format!("/dev/shm/{}", skiff.tag());
    inside(&skiff, &["--ipc", "host"], &format!("echo here >{name}"));
    let shared = fs::read_to_string(&name);
    fs::remove_file(&name).expect("the host's file");
    assert_eq!(shared.expect("written inside"), "here\n");
}

#[test]
fn uts_and_pid() {
    requires!(Root);
    let skiff = Skiff::new();
    for (flag, kind) in [("--uts", "uts"), ("--pid", "pid"), ("--cgroupns", "cgroup")] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).expect("ours");
        let own = own.to_str().expect("text");
        let script = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(inside(&skiff, &[flag, "host"], &script), own);
        assert_ne!(inside(&skiff, &[flag, "private"], &script), own);
        let path = format!("ns:/proc/{}/ns/{kind}", std::process::id());
        assert_eq!(inside(&skiff, &[flag, &path], &script), own);
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    assert_eq!(inside(&skiff, &["--uts=host"], "hostname"), host.trim());
}

#[test]
fn a_mount_namespace_can_be_joined() {
    requires!(Root);
    let skiff = Skiff::new();
    let path = format!("--mount=ns:/proc/{}/ns/mnt", std::process::id());
    let own = fs::read_link("/proc/self/ns/mnt").expect("ours");
    assert_eq!(inside(&skiff, &[&path], "readlink /proc/self/ns/mnt"), own.to_str().expect("text"));
    shell(&skiff, &[&path, "--tmpfs", "/t"], "true").code(125).stderr_has("isn't its own");
}

#[test]
fn user_namespaces() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let script = "id -u; cat /proc/self/uid_map; touch /made && stat -c %u /made";
    if Lane::current() == Lane::V2 {
        // The kernel of this lane is older: there the start fails, and says which step couldn't be done.
        shell(&skiff, &["--userns", "private"], script).code(125).stderr_has("Linux 6.15");
        return;
    }
    let text = inside(&skiff, &["--userns", "private"], script);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3], words[4]), ("0", "0", "65536", "0"), "{text}");
    assert!(words[2].parse::<u32>().is_ok_and(|first| first >= 0x7000_0000), "{text}");
    // Beside the host's processes, where it can mount no procfs of its own.
    let processes = inside(&skiff, &["--userns=private", "--pid=host"], "ls /proc | grep -c '^[0-9]'");
    assert!(processes.parse::<u32>().is_ok_and(|count| count > 2), "{processes}");
    let own = fs::read_link("/proc/self/ns/user").expect("ours");
    assert_eq!(
        inside(&skiff, &["--userns=host"], "readlink /proc/self/ns/user"),
        own.to_str().expect("text")
    );
}

#[test]
fn clocks_since_boot() {
    requires!(Root, TimeNamespaces);
    let skiff = Skiff::new();
    let uptime = inside(&skiff, &["--boottime", "1000000", "--monotonic", "1h"], "cut -d. -f1 /proc/uptime");
    assert!(uptime.parse::<u64>().is_ok_and(|seconds| seconds > 1_000_000), "{uptime}");
    let offsets =
        inside(&skiff, &["--boottime", "1000000", "--monotonic", "1h"], "cat /proc/self/timens_offsets");
    assert_eq!(
        offsets.split_whitespace().collect::<Vec<_>>(),
        ["monotonic", "3600", "0", "boottime", "1000000", "0"]
    );
    let own = fs::read_link("/proc/self/ns/time").expect("ours");
    assert_eq!(inside(&skiff, &[], "readlink /proc/self/ns/time"), own.to_str().expect("text"));
    assert_ne!(
        inside(&skiff, &["--time", "private"], "readlink /proc/self/ns/time"),
        own.to_str().expect("text")
    );
}
