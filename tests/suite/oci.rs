//! `skiff oci run`: the fields of the OCI runtime specification by their effect.

mod hooks;

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use skiff_e2e::{Command, Deadline, Lane, Output, Skiff, TempCgroup, TestBundle, requires};

/// A bundle that runs `sh -c SCRIPT`, with its configuration changed.
fn bundle(skiff: &Skiff, script: &str, change: impl FnOnce(&mut Value)) -> TestBundle {
    TestBundle::new(skiff, "bundle", &["sh", "-c", script]).with(change)
}

/// `skiff oci run -b BUNDLE ID`
fn command(skiff: &Skiff, bundle: &TestBundle) -> Command {
    skiff.command(["oci", "run", "-b"]).arg(bundle.path()).arg(skiff.tag())
}

/// Runs the script in a bundle with its configuration changed.
fn run(skiff: &Skiff, script: &str, change: impl FnOnce(&mut Value)) -> Output {
    let bundle = bundle(skiff, script, change);
    let output = command(skiff, &bundle).output();
    fs::remove_dir_all(bundle.path()).expect("remove the bundle");
    output
}

/// What the script writes; it must succeed.
#[track_caller]
fn inside(skiff: &Skiff, script: &str, change: impl FnOnce(&mut Value)) -> String {
    run(skiff, script, change).success().text().to_owned()
}

fn push(config: &mut Value, list: &str, entry: Value) {
    let list = config.pointer_mut(list).unwrap_or_else(|| panic!("{list}"));
    list.as_array_mut().expect("a list").push(entry);
}

#[test]
fn a_bundle_runs_on_the_callers_stdio() {
    requires!(Root);
    let skiff = Skiff::new();
    let bundle = bundle(&skiff, "cat; echo err >&2; exit 7", |_| {});
    let output = command(&skiff, &bundle).stdin("in\n").output().code(7);
    assert_eq!((output.stdout(), output.stderr()), ("in\n", "err\n"));
    let from_inside =
        skiff.command(["oci", "run", "here"]).current_dir(bundle.path()).stdin("x").output().code(7);
    from_inside.stdout_is("x");
}

#[test]
fn signals_reach_the_process() {
    requires!(Root);
    let skiff = Skiff::new();
    let bundle =
        bundle(&skiff, "trap 'echo caught; exit 4' TERM; echo up; while :; do sleep 0.05; done", |_| {});
    let mut running = command(&skiff, &bundle).spawn();
    running.stdout_until("up\n");
    running.signal(Signal::TERM);
    running.finish().code(4).stdout_is("up\ncaught\n");
}

#[test]
fn the_template_can_be_run() {
    requires!(Root);
    let skiff = Skiff::new();
    let directory = skiff.scratch().join("template");
    skiff_e2e::busybox_rootfs(&directory.join("rootfs"));
    skiff.command(["oci", "spec", "-b"]).arg(&directory).output().success();
    skiff.command(["oci", "spec", "-b"]).arg(&directory).output().code(125).stderr_has("config.json");
    let mut pty = skiff.command(["oci", "run", "-b"]).arg(&directory).arg("box").pty(80, 24);
    pty.send("hostname; id -u; exit 3\r");
    let (code, text) = pty.wait();
    assert!(code == 3 && text.contains("\nskiff\r\n0\r\n"), "{code} {text}");
}

#[test]
fn a_document_that_means_nothing_is_refused() {
    requires!(Root);
    let skiff = Skiff::new();
    let bundle = bundle(&skiff, "true", |_| {});
    fs::write(bundle.path().join("config.json"), "{").expect("half a document");
    command(&skiff, &bundle).output().code(125).stderr_has("config.json");
    fs::write(bundle.path().join("config.json"), "{\"ociVersion\": \"1.2.0\"}").expect("no process");
    command(&skiff, &bundle).output().code(125).stderr_has("`process`");
    fs::remove_file(bundle.path().join("config.json")).expect("no document");
    command(&skiff, &bundle).output().code(125).stderr_has("config.json");
}

#[test]
fn process_fields() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "pwd; umask; id -u; id -g; id -G; echo $A; ulimit -n; cat /proc/self/oom_score_adj; \
                  grep NoNewPrivs /proc/self/status | cut -f2";
    let text = inside(&skiff, script, |config| {
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["user"] =
            json!({"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [7, 9]});
        push(config, "/process/env", json!("A=b"));
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]);
        config["process"]["oomScoreAdj"] = json!(321);
    });
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["/tmp", "0027", "1000", "1001", "1001 7 9", "b", "77", "321", "1"]
    );
}

#[test]
fn all_five_sets_of_capabilities() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "grep Cap /proc/self/status | cut -f2";
    let text = inside(&skiff, script, |config| {
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        });
        // What root has is everything after exec; the sets of another user are those of the list.
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    // As after any exec of another user: permitted and effective are the ambient set.
    let kill = format!("{:016x}", 1 << 5);
    let bounding = format!("{:016x}", 1 | 1 << 5 | 1 << 13);
    assert_eq!(text.lines().collect::<Vec<_>>(), [&kill, &kill, &kill, &bounding, &kill]);
}

#[test]
fn scheduling() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "cut -d' ' -f19,41 /proc/self/stat; ionice -p $$";
    let text = inside(&skiff, script, |config| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 3});
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "7 3", "{text}");
    assert!(lines[1].contains("prio 3"), "{text}");
}

#[test]
fn personality() {
    requires!(Root);
    let skiff = Skiff::new();
    let text = inside(&skiff, "cat /proc/self/personality", |config| {
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
    });
    assert_eq!(text, "00000008");
}

#[test]
fn names() {
    requires!(Root);
    let skiff = Skiff::new();
    let text = inside(&skiff, "hostname; cat /proc/sys/kernel/domainname", |config| {
        config["hostname"] = json!("box");
        config["domainname"] = json!("example.org");
    });
    assert_eq!(text, "box\nexample.org");
}

#[test]
fn a_read_only_root() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "touch /x 2>/dev/null && echo written; touch /dev/x && echo dev";
    assert_eq!(inside(&skiff, script, |config| config["root"]["readonly"] = json!(true)), "dev");
    assert_eq!(inside(&skiff, script, |_| {}), "written\ndev");
}

#[test]
fn mount_options() {
    requires!(Root);
    let skiff = Skiff::new();
    let options = |words: &[&str]| {
        let text = inside(&skiff, "grep ' /m ' /proc/self/mountinfo", |config| {
            push(
                config,
                "/mounts",
                json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": words}),
            );
        });
        let fields: Vec<String> = text.split(' ').map(str::to_owned).collect();
        (fields[5].clone(), text)
    };
    assert_eq!(options(&["ro", "nosuid", "nodev", "noexec", "noatime"]).0, "ro,nosuid,nodev,noexec,noatime");
    assert_eq!(options(&["nodiratime", "nosymfollow"]).0, "rw,nodiratime,relatime,nosymfollow");
    assert!(options(&["size=4096k", "mode=711"]).1.contains("size=4096k"));
    assert_eq!(options(&["strictatime", "rw", "ro", "rw"]).0, "rw");
    let bogus = run(&skiff, "true", |config| {
        push(
            config,
            "/mounts",
            json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["bogus=1"]}),
        );
    });
    bogus.code(125).stderr_has("/m");
}

#[test]
fn recursive_mount_options() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = skiff.scratch().join("source");
    fs::create_dir_all(source.join("below")).expect("directories");
    Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(source.join("below")).output().success();
    let flags = |words: &[&str]| {
        let script = "grep -E ' /m(/below)? ' /proc/self/mountinfo | cut -d' ' -f6";
        inside(&skiff, script, |config| {
            let mount = json!({"destination": "/m", "type": "bind", "source": source, "options": words});
            push(config, "/mounts", mount);
        })
    };
    let results =
        [flags(&["rbind", "rro", "rnosuid", "rnodev"]), flags(&["rbind", "ro"]), flags(&["bind", "ro"])];
    Command::new("umount").arg(source.join("below")).output().success();
    let all: Vec<Vec<bool>> =
        results.iter().map(|text| text.lines().map(|line| line.starts_with("ro")).collect()).collect();
    assert_eq!(all, [vec![true, true], vec![true, false], vec![true]], "{results:?}");
    assert!(results[0].lines().all(|line| line.contains("nosuid") && line.contains("nodev")), "{results:?}");
}

#[test]
fn idmapped_mounts() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = skiff.scratch().join("owned");
    fs::create_dir_all(&source).expect("a directory");
    std::os::unix::fs::chown(&source, Some(1234), Some(1235)).expect("an owner");
    let output = run(&skiff, "stat -c %u:%g /m", |config| {
        let ids = |from: u32, to: u32| json!([{"containerID": from, "hostID": to, "size": 1}]);
        let mount = json!({"destination": "/m", "type": "bind", "source": source, "options": ["rbind"],
            "uidMappings": ids(1234, 0), "gidMappings": ids(1235, 7)});
        push(config, "/mounts", mount);
    });
    match Lane::current() {
        Lane::V1Hybrid => assert_eq!(output.success().text(), "0:7"),
        // tmpfs can do it since Linux 6.3, and the scratch directory of the other lane is one of an older kernel:
        // the start fails, as a mount without its map would show the wrong owners.
        Lane::V2 => drop(output.code(125).stderr_has("map the owners of")),
    }
}

#[test]
fn masked_and_read_only_paths() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "cat /etc/passwd; ls /etc/hidden; touch /tmp/x 2>/dev/null && echo written; echo end";
    let text = inside(&skiff, script, |config| {
        let rootfs = skiff.scratch().join("bundle/rootfs");
        fs::create_dir_all(rootfs.join("etc/hidden")).expect("a directory");
        fs::write(rootfs.join("etc/hidden/file"), "").expect("a file");
        config["linux"]["maskedPaths"] = json!(["/etc/passwd", "/etc/hidden", "/no/such"]);
        config["linux"]["readonlyPaths"] = json!(["/tmp"]);
    });
    assert_eq!(text, "end");
}

#[test]
fn devices() {
    requires!(Root, Devices);
    let skiff = Skiff::new();
    let script = "ls -l /dev/mine | cut -c1-10; stat -c %u:%g:%t:%T /dev/mine; head -c 1 /dev/mine | wc -c; \
                  head -c 1 /dev/zero | wc -c; mknod /tmp/full c 1 7; echo x 2>/dev/null >/tmp/full || echo refused";
    let text = inside(&skiff, script, |config| {
        let may = json!(["CAP_MKNOD"]);
        config["process"]["capabilities"] = json!({"bounding": may, "permitted": may, "effective": may});
        config["linux"]["devices"] = json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 3, "gid": 4}]);
        config["linux"]["resources"] = json!({"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "access": "m"},
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "r"}]});
    });
    assert_eq!(
        text.lines().map(str::trim).collect::<Vec<_>>(),
        ["crw-r--r--", "3:4:1:5", "1", "1", "refused"]
    );
}

#[test]
fn sysctls_and_time_offsets() {
    requires!(Root, TimeNamespaces);
    let skiff = Skiff::new();
    let text = inside(&skiff, "cat /proc/sys/net/core/somaxconn; cut -d. -f1 /proc/uptime", |config| {
        config["linux"]["sysctl"] = json!({"net.core.somaxconn": "99"});
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 2_000_000}});
        push(config, "/linux/namespaces", json!({"type": "time"}));
    });
    let (sysctl, uptime) = text.split_once('\n').expect("two lines");
    assert_eq!(sysctl, "99");
    assert!(uptime.parse::<u64>().is_ok_and(|seconds| seconds > 2_000_000), "{uptime}");
}

#[test]
fn id_maps() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let bundle =
        bundle(&skiff, "id -u; cat /proc/self/uid_map; stat -c %u /etc/passwd; touch /tmp/made", |config| {
            push(config, "/linux/namespaces", json!({"type": "user"}));
            let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            config["linux"]["uidMappings"] = ids.clone();
            config["linux"]["gidMappings"] = ids;
        });
    Command::new("chown").args(["-R", "100000:100000"]).arg(bundle.rootfs()).output().success();
    let output = command(&skiff, &bundle).output().success();
    assert_eq!(output.text().split_whitespace().collect::<Vec<_>>(), ["0", "0", "100000", "65536", "0"]);
    let made = fs::metadata(bundle.rootfs().join("tmp/made")).expect("made inside");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_000);
}

#[test]
fn namespaces_are_joined_by_path() {
    requires!(Root);
    let skiff = Skiff::new();
    for (kind, name) in
        [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")]
    {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).expect("ours");
        let path = format!("/proc/{}/ns/{name}", std::process::id());
        let text = inside(&skiff, &format!("readlink /proc/self/ns/{name}"), |config| {
            let list = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut).expect("a list");
            list.retain(|namespace| namespace["type"] != kind);
            list.push(json!({"type": kind, "path": path}));
            if kind == "uts" {
                config.as_object_mut().expect("an object").remove("hostname");
            }
        });
        assert_eq!(text, own.to_str().expect("text"), "{kind}");
    }
}

#[test]
fn limits_in_the_named_cgroup() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let parent = TempCgroup::new(&skiff, "oci");
    let path = format!("{}/group", parent.path());
    let file = match Lane::current() {
        Lane::V1Hybrid => "/sys/fs/cgroup/pids/pids.max",
        Lane::V2 => "/sys/fs/cgroup/pids.max",
    };
    let text = inside(&skiff, &format!("cat {file}"), |config| {
        config["linux"]["cgroupsPath"] = json!(path);
        config["linux"]["resources"] = json!({"pids": {"limit": 33}});
        push(
            config,
            "/mounts",
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}),
        );
    });
    assert_eq!(text, "33");
    assert!(!parent.directory("pids").join("group").exists(), "the group is removed at the end");
}

#[test]
fn unified_is_any_file_of_v2() {
    requires!(Root, CgroupV2, Pids);
    let skiff = Skiff::new();
    let parent = TempCgroup::new(&skiff, "unified");
    let text = inside(&skiff, "cat /sys/fs/cgroup/pids.max", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("{}/group", parent.path()));
        config["linux"]["resources"] = json!({"unified": {"pids.max": "44"}});
        push(
            config,
            "/mounts",
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}),
        );
    });
    assert_eq!(text, "44");
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    requires!(Root);
    let skiff = Skiff::new();
    let path = skiff.scratch().join("console");
    let listener = UnixListener::bind(&path).expect("a socket");
    let bundle = bundle(&skiff, "test -t 0 && test -t 1 && test -t 2 && tty", |config| {
        config["process"]["terminal"] = json!(true);
    });
    let running = command(&skiff, &bundle).arg("--console-socket").arg(&path).spawn();
    let (stream, _) = listener.accept().expect("a connection");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut text = [0_u8; 64];
    let mut buffers = [std::io::IoSliceMut::new(&mut text)];
    rustix::net::recvmsg(&stream, &mut buffers, &mut control, rustix::net::RecvFlags::CMSG_CLOEXEC)
        .expect("a message");
    let descriptor = control
        .drain()
        .find_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .expect("a descriptor");
    running.finish().success();
    let mut written = Vec::new();
    // The other end is closed: what was written comes first, then EIO.
    let end = fs::File::from(descriptor).read_to_end(&mut written);
    assert!(end.is_err(), "a terminal");
    assert_eq!(String::from_utf8_lossy(&written), "/dev/pts/0\r\n");
}

#[test]
fn the_pid_file_names_the_init() {
    requires!(Root);
    let skiff = Skiff::new();
    let file = skiff.scratch().join("pid");
    let bundle = bundle(&skiff, "echo up; read x; exit 0", |_| {});
    let mut running = command(&skiff, &bundle).arg("--pid-file").arg(&file).spawn();
    running.stdout_until("up\n");
    // It is written when the process has started, which the process may know first.
    let soon = Deadline::after(Duration::from_secs(10));
    let pid = soon.until(|| fs::read_to_string(&file).ok()).expect("the pid file");
    let comm = fs::read_to_string(Path::new("/proc").join(&pid).join("comm")).expect("the process");
    assert_eq!(comm, "sh\n");
    running.finish().success();
}

#[test]
fn descriptors_are_passed_on_only_on_purpose() {
    requires!(Root);
    let skiff = Skiff::new();
    let bundle = bundle(&skiff, "ls /proc/self/fd | tr '\\n' ' '; cat <&3 2>/dev/null", |_| {});
    let file = skiff.scratch().join("passed");
    fs::write(&file, "passed").expect("a file");
    let shell = format!("exec 3<{} 4</dev/null; exec \"$@\"", file.display());
    let wrapper = ["bash", "-c", &shell, "bash"];
    let none = command(&skiff, &bundle).wrapped(wrapper).output();
    assert!(
        none.stdout().starts_with("0 1 2 3 \n") || none.stdout().starts_with("0 1 2 3 "),
        "ls itself has one: {none}"
    );
    assert!(!none.stdout().contains("passed"), "{none}");
    let one = command(&skiff, &bundle).args(["--preserve-fds", "1"]).wrapped(wrapper).output().success();
    assert!(one.stdout().contains("passed"), "{one}");
}

#[test]
fn propagation_of_the_root() {
    requires!(Root);
    let skiff = Skiff::new();
    let kind = |word: Option<&str>| {
        inside(&skiff, "awk '$5 == \"/\" { print $7 }' /proc/self/mountinfo | cut -d: -f1", |config| {
            if let Some(word) = word {
                config["linux"]["rootfsPropagation"] = json!(word);
            }
        })
    };
    assert_eq!(kind(Some("shared")), "shared");
    assert_eq!(kind(Some("private")), "-");
    assert_eq!(kind(Some("unbindable")), "unbindable");
}

#[test]
fn a_new_file_shows_up_in_a_slave_and_not_in_a_private_mount() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = skiff.scratch().join("shared");
    fs::create_dir_all(source.join("late")).expect("directories");
    Command::new("mount").args(["--bind"]).arg(&source).arg(&source).output().success();
    Command::new("mount").args(["--make-shared"]).arg(&source).output().success();
    let mut seen = Vec::new();
    for word in ["rslave", "rprivate"] {
        let bundle = bundle(
            &skiff,
            "echo up; read x; grep -c ' /m/late ' /proc/self/mountinfo; true",
            |config| {
                let mount = json!({"destination": "/m", "type": "bind", "source": source, "options": ["rbind", word]});
                push(config, "/mounts", mount);
            },
        );
        let mut running = command(&skiff, &bundle).spawn();
        running.stdout_until("up\n");
        Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(source.join("late")).output().success();
        running.write("go\n");
        seen.push(running.finish().success().text().to_owned());
        Command::new("umount").arg(source.join("late")).output().success();
        fs::remove_dir_all(bundle.path()).expect("remove the bundle");
    }
    Command::new("umount").arg(&source).output().success();
    assert_eq!(seen, ["up\n1", "up\n0"]);
}
