//! Privileges, given and taken away.

use super::*;

#[test]
fn privileged() {
    requires!(Root);
    let skiff = Skiff::new();
    let bounding = "grep CapBnd /proc/self/status | cut -f2";
    let ours = fs::read_to_string("/proc/self/status").expect("status");
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).expect("capabilities");
    assert_eq!(inside(&skiff, &["--privileged"], bounding), ours);
    assert_eq!(inside(&skiff, &[], bounding), "00000000a80425fb");
    let script = "grep Seccomp: /proc/self/status | cut -f2; mount -t tmpfs tmpfs /mnt && echo mounted; \
                  grep -c -E ' /(proc|sys)/(kcore|bus|firmware) ' /proc/self/mountinfo; test -e /dev/kmsg && echo kmsg";
    assert_eq!(inside(&skiff, &["--privileged"], script), "0\nmounted\n0\nkmsg");
    let sys = "touch /sys/fs/cgroup/*/cgroup.procs 2>/dev/null; grep ' /sys ' /proc/self/mounts | cut -d' ' -f4 | cut -d, -f1";
    assert_eq!(
        (inside(&skiff, &["--privileged"], sys), inside(&skiff, &[], sys)),
        ("rw".to_owned(), "ro".to_owned())
    );
}

#[test]
fn r13_capabilities() {
    requires!(Root);
    let skiff = Skiff::new();
    let change =
        "chown 1 /tmp 2>/dev/null && echo chown; ip link set lo mtu 1400 2>/dev/null && echo link; true";
    assert_eq!(inside(&skiff, &[], change), "chown");
    assert_eq!(inside(&skiff, &["--cap-drop", "chown"], change), "");
    assert_eq!(inside(&skiff, &["--cap-add", "NET_ADMIN"], change), "chown\nlink");
    assert_eq!(inside(&skiff, &["--cap-drop", "ALL", "--cap-add", "CAP_NET_ADMIN"], change), "link");
    let sets = "grep -E 'CapInh|CapAmb' /proc/self/status | cut -f2";
    assert_eq!(inside(&skiff, &["--cap-add", "ALL"], sets), "0000000000000000\n0000000000000000");
}

#[test]
fn security_options() {
    requires!(Root, Seccomp);
    let skiff = Skiff::new();
    let status = |field: &str| format!("grep -w {field} /proc/self/status | cut -f2");
    let option = |option: &str, script: &str| inside(&skiff, &["--security-opt", option], script);
    assert_eq!(inside(&skiff, &[], &status("NoNewPrivs")), "0");
    assert_eq!(option("no-new-privileges", &status("NoNewPrivs")), "1");
    assert_eq!(option("no-new-privileges=false", &status("NoNewPrivs")), "0");
    assert_eq!(inside(&skiff, &[], &status("Seccomp")), "2");
    assert_eq!(option("seccomp=unconfined", &status("Seccomp")), "0");
    assert_eq!(option("seccomp=builtin", &status("Seccomp")), "2");
    let masks = "grep -c -E ' /proc/(keys|bus|timer_list) ' /proc/self/mountinfo; true";
    assert_eq!(
        (inside(&skiff, &[], masks).as_str(), option("systempaths=unconfined", masks).as_str()),
        ("3", "0")
    );
    let profile = skiff.scratch().join("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}"#;
    fs::write(&profile, text).expect("a profile");
    let seccomp = format!("seccomp={}", profile.display());
    assert!(option(&seccomp, "mkdir /tmp/x 2>&1; true").contains("Read-only file system"));
    fs::write(&profile, "{}").expect("no profile");
    shell(&skiff, &["--security-opt", &seccomp], "true")
        .code(125)
        .stderr_has("`--security-opt seccomp=…`: read seccomp profile");
    shell(&skiff, &["--security-opt", "label=type:x"], "true").code(125).stderr_has("SELinux");
    option("label=disable", "true");
    option("apparmor=unconfined", "true");
}

#[test]
fn strict_is_every_safeguard() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let script = "grep -w NoNewPrivs /proc/self/status | cut -f2; grep CapBnd /proc/self/status | cut -f2; \
                  touch /x 2>/dev/null || echo read-only; touch /tmp/x /run/x && echo writable; cut -c1-11 /proc/self/uid_map";
    if Lane::current() == Lane::V2 {
        shell(&skiff, &["--security-opt", "strict"], script).code(125).stderr_has("Linux 6.15");
        return;
    }
    let text = inside(&skiff, &["--security-opt", "strict"], script);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["1", "00000000000004fb", "read-only", "writable"], "{text}");
    assert_eq!(lines[4].trim(), "0", "{text}");
}
