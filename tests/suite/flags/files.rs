//! Mounts, devices and the root filesystem.

use super::*;

#[test]
fn read_only() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "touch /x 2>/dev/null && echo root; touch /etc/hosts 2>/dev/null && echo hosts; touch /dev/shm/x && echo shm";
    assert_eq!(inside(&skiff, &["--read-only"], script), "shm");
    assert_eq!(inside(&skiff, &[], script), "root\nhosts\nshm");
}

#[test]
fn tmpfs() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "stat -f -c %T /memory; df -k --output=size /memory | tail -n 1; stat -c %a /memory";
    let flags = ["--tmpfs", "/memory:size=4m,mode=700"];
    assert_eq!(
        inside(&skiff, &flags, script).split_whitespace().collect::<Vec<_>>(),
        ["tmpfs", "4096", "700"]
    );
    let flags = ["--mount", "type=tmpfs,target=/memory,tmpfs-size=8m,tmpfs-mode=0711"];
    assert_eq!(
        inside(&skiff, &flags, script).split_whitespace().collect::<Vec<_>>(),
        ["tmpfs", "8192", "711"]
    );
    let program = "cp /bin/true /memory/true && /memory/true 2>/dev/null; echo $?";
    assert_eq!(inside(&skiff, &["--tmpfs", "/memory"], program), "126", "noexec unless asked");
    assert_eq!(inside(&skiff, &["--tmpfs", "/memory:exec"], program), "0");
}

#[test]
fn bind_mounts() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = directory(&skiff, "data");
    let at = |options: &str| format!("{}:/data{options}", source.display());
    assert_eq!(inside(&skiff, &["-v", &at("")], "cat /data/file; echo new >/data/new"), "content");
    assert_eq!(fs::read_to_string(source.join("new")).expect("written from inside"), "new\n");
    let write = "echo no >/data/file 2>/dev/null && echo written; cat /data/file";
    assert_eq!(inside(&skiff, &["-v", &at(":ro")], write), "content");
    let long = format!("type=bind,source={},target=/data,readonly", source.display());
    assert_eq!(inside(&skiff, &["--mount", &long], write), "content");
    let file = format!("{}:/one", source.join("file").display());
    assert_eq!(inside(&skiff, &["-v", &file], "cat /one"), "content");
    let relative = skiff.command(["run", "--rm", "-v", "./data:/data", "host", "cat", "/data/file"]);
    relative.current_dir(skiff.scratch()).output().success().stdout_is("content\n");
}

#[test]
fn read_only_binds_are_read_only_all_the_way_down() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = directory(&skiff, "tree");
    let below = source.join("below");
    fs::create_dir(&below).expect("a directory");
    Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&below).output().success();
    let write = "touch /tree/below/x 2>/dev/null && echo written; rm -f /tree/below/x; true";
    let plain = format!("{}:/tree:ro", source.display());
    let with = |recursive: &str| {
        format!("type=bind,source={},target=/tree,readonly,bind-recursive={recursive}", source.display())
    };
    let results = [
        inside(&skiff, &["-v", &plain], write),
        inside(&skiff, &["--mount", &with("readonly")], write),
        inside(&skiff, &["--mount", &with("writable")], write),
    ];
    let listed = inside(&skiff, &["--mount", &with("disabled")], "grep -c ' /tree' /proc/self/mountinfo");
    Command::new("umount").arg(&below).output().success();
    assert_eq!(results, ["", "", "written"]);
    assert_eq!(listed, "1");
}

#[test]
fn idmapped_binds_keep_the_owner() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = directory(&skiff, "owned");
    for path in [source.clone(), source.join("file")] {
        std::os::unix::fs::chown(path, Some(4321), Some(4322)).expect("change the owner");
    }
    let at = |options: &str| format!("{}:/owned:{options}", source.display());
    let script = "stat -c %u:%g /owned/file; touch /owned/made";
    if Lane::current() == Lane::V2 {
        // tmpfs can do it since Linux 6.3, and the scratch directory of this lane is one of an older kernel.
        shell(&skiff, &["-v", &at("idmap")], script).code(125).stderr_has("map the owners of");
        return;
    }
    assert_eq!(inside(&skiff, &["-v", &at("idmap")], script), "0:0");
    let made = std::os::unix::fs::MetadataExt::uid(&fs::metadata(source.join("made")).expect("made inside"));
    assert_eq!(made, 4321, "what root makes in there is the owner's outside");
    assert_eq!(inside(&skiff, &["-v", &at("idmap=7:8")], "stat -c %u:%g /owned/file"), "7:8");
    assert_eq!(inside(&skiff, &["-v", &at("rw")], "stat -c %u:%g /owned/file"), "4321:4322");
}

#[test]
fn devices() {
    requires!(Root, Devices);
    let skiff = Skiff::new();
    // The kernel's log can be read by whoever has the capability, and may open the device.
    let kmsg = "dd if=/dev/kmsg bs=9000 count=1 >/dev/null 2>&1 && echo open; true";
    let inside = |skiff: &Skiff, flags: &[&str], script: &str| {
        let all: Vec<&str> = ["--cap-add=SYSLOG"].iter().chain(flags).copied().collect();
        inside(skiff, &all, script)
    };
    assert_eq!(inside(&skiff, &[], &format!("mknod /dev/kmsg c 1 11; {kmsg}")), "", "a node opens nothing");
    assert_eq!(inside(&skiff, &["--device", "/dev/kmsg"], kmsg), "open");
    assert_eq!(
        inside(
            &skiff,
            &["--device", "/dev/kmsg:/dev/log:r"],
            "dd if=/dev/log bs=9000 count=1 >/dev/null 2>&1 && echo open"
        ),
        "open"
    );
    let read_only = "echo x >/dev/kmsg 2>/dev/null && echo written; true";
    assert_eq!(inside(&skiff, &["--device", "/dev/kmsg:r"], read_only), "");
    let rule = ["--device-cgroup-rule", "c 1:11 r"];
    assert_eq!(inside(&skiff, &rule, &format!("mknod /dev/kmsg c 1 11; {kmsg}")), "open");
    // What every container has.
    let own = "for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done; head -c 1 /dev/zero | wc -c";
    assert_eq!(inside(&skiff, &[], own), "1");
}

#[test]
fn shm_size() {
    requires!(Root);
    let skiff = Skiff::new();
    let size = |flags: &[&str]| inside(&skiff, flags, "df -k --output=size /dev/shm | tail -n 1");
    assert_eq!((size(&[]).as_str(), size(&["--shm-size", "8m"]).as_str()), ("65536", "8192"));
}

#[test]
fn a_relative_source_in_a_removed_directory_is_nowhere() {
    requires!(Root);
    let skiff = Skiff::new();
    let gone = skiff.scratch().join("gone");
    let script = r#"mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@""#;
    let in_gone = |words: &[&str]| {
        let command = skiff.command(["run", "--rm"].iter().chain(words));
        command
            .wrapped([std::ffi::OsStr::new("sh"), "-c".as_ref(), script.as_ref(), gone.as_os_str()])
            .output()
    };
    // `/etc` of the host is not meant.
    in_gone(&["-v", "./etc:/x", "host", "true"])
        .code(125)
        .stderr_has("can't be used: no such file or directory");
    in_gone(&["host", "true"]).success();
}
