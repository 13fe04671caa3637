//! R25, R26, R28, R29, R34: names, directories, processes and locks of the engine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use rustix::process::{Signal, kill_process, test_kill_process};
use skiff_e2e::{Command, Deadline, Skiff, requires};
use std::time::Duration;

use super::{Canary, refused};
use crate::family::{init_of, monitor_of};

/// Names that are paths, flags, or something else than a name.
const NOT_NAMES: [&str; 11] =
    ["../x", "a/b", "/x", "..", ".", "-x", "a\nb", "a b", "\u{1b}[2J", "ä", "x/../../../canary"];

#[test]
fn r25_names_are_checked_before_they_become_files() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    for name in NOT_NAMES {
        refused(skiff.run(["run", "--rm", &format!("--name={name}"), "box", "true"]));
        let output = skiff.run(["rm", "--", name]);
        assert!(matches!(output.status.code(), Some(1 | 2 | 125)), "{name:?}: {output}");
    }
    for image in ["../../etc", "/etc", "", ".", "box/../box", "a\nb", "-x"] {
        let output = skiff.run(["run", "--rm", "--", image, "true"]);
        assert!(matches!(output.status.code(), Some(125)), "{image:?}: {output}");
        let output = skiff.run(["rmi", "--", image]);
        assert!(matches!(output.status.code(), Some(1 | 2 | 125)), "{image:?}: {output}");
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for parent in ["../..", "/../../x", "a/../../b", "x/./..", "a\nb"] {
        refused(skiff.run(["run", "--rm", "--cgroup-parent", parent, "box", "true"]));
    }
    assert_eq!(fs::read_to_string("/proc/self/cgroup").unwrap(), own);
    canary.assert_untouched();
    skiff.run(["ps", "--all", "--quiet"]).success().stdout_is("");
}

#[test]
fn r25_control_a_joined_name_is_a_path() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    fs::create_dir(skiff.scratch().join("names")).unwrap();
    fs::write(skiff.scratch().join("names").join("../canary/a/name"), "").unwrap();
    assert!(!canary.is_untouched());
}

#[test]
fn r26_directories_of_others_are_refused() {
    requires!(Root, Overlay);
    type Change = fn(&Path);
    let cases: [(&str, Change); 5] = [
        ("open to all", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap()),
        ("open to the group", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap()),
        ("somebody else's", |path| chown(path, Some(1000), Some(1000)).unwrap()),
        ("a link", |path| {
            let real = path.with_extension("real");
            fs::rename(path, &real).unwrap();
            chown(&real, Some(1000), Some(1000)).unwrap();
            symlink(&real, path).unwrap();
        }),
        ("a file", |path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, "").unwrap();
        }),
    ];
    let skiff = Skiff::new();
    for (name, change) in cases {
        for place in ["root", "state"] {
            let other = skiff.another();
            other.run(["run", "--rm", "host", "true"]).success();
            change(if place == "root" { other.root() } else { other.state() });
            eprintln!("{name}: {place}");
            refused(other.run(["run", "--rm", "host", "true"]));
            assert_ne!(other.run(["ps"]).status.code(), Some(0));
        }
    }
}

#[test]
fn r26_what_the_engine_writes_is_for_its_owner_alone() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let flags = ["run", "--rm", "-i", "--name", "named", "box", "sh", "-c", "echo up; read x; true"];
    let open = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    let mut running = skiff.command(flags).wrapped(open).spawn();
    running.stdout_until("up\n");
    for root in [skiff.root(), skiff.state()] {
        let meta = fs::metadata(root).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o700, 0), "{}", root.display());
    }
    // Nobody else reads or lists anything, and no socket is in the abstract namespace.
    for place in [skiff.root(), skiff.state()] {
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        Command::new("ls").arg(place).wrapped(nobody).output().failure();
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!sockets.lines().any(|line| line.contains('@') && line.contains("skiff")), "{sockets}");
    running.finish().success();
    // The control: a directory that is made the usual way under that umask.
    let plain = skiff.scratch().join("plain");
    Command::new("mkdir").arg(&plain).wrapped(open).output().success();
    assert_eq!(fs::metadata(&plain).unwrap().mode() & 0o777, 0o777);
}

/// A process with the number of its argument, which `clone3(2)` lets root choose; its parent says how it ends.
const TAKE: &str = "
import ctypes, os, struct, sys
number = ctypes.c_int(int(sys.argv[1]))
arguments = struct.pack('<11Q', 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(number), 1, 0)
child = ctypes.CDLL(None, use_errno=True).syscall(435, arguments, len(arguments))
if child == 0:
    os.execvp('sleep', ['sleep', '100'])
if child < 0:
    sys.exit('clone3: ' + os.strerror(ctypes.get_errno()))
print('up', flush=True)
print('signal', os.WTERMSIG(os.waitpid(child, 0)[1]))
";

#[test]
fn r28_a_number_that_has_a_new_owner_is_not_the_container() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let kept = ["run", "-i", "--name", "kept", "box", "sh", "-c", "echo up; read x; true"];
    for owner in [init_of, monitor_of] {
        let mut running = skiff.command(kept).spawn();
        running.stdout_until("up\n");
        let number = owner(running.pid());
        running.finish().success();
        let taken = number.as_raw_nonzero().to_string();
        let mut innocent = Command::new("python3").args(["-c", TAKE, &taken]).spawn();
        innocent.stdout_until("up\n");
        skiff.run(["ps", "--all"]).success();
        skiff.run(["nsenter", "--target", "kept", "--uts", "true"]).failure();
        skiff.run(["rm", "--force", "kept"]).success();
        assert_eq!(test_kill_process(number), Ok(()), "it lives");
        // The control: a number in a file, as others keep it, kills whoever has it.
        Command::new("kill").arg(&taken).output().success();
        innocent.finish().success().stdout_is("up\nsignal 15\n");
    }
}

#[test]
fn r29_a_container_holds_no_lock_and_keeps_nobody_waiting() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let flags = ["run", "--rm", "-i", "--name", "held", "box", "sh", "-c", "echo up; read x; true"];
    let mut running = skiff.command(flags).spawn();
    running.stdout_until("up\n");
    let init = init_of(running.pid()).as_raw_nonzero();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    assert!(!locks.lines().any(|line| line.split_whitespace().nth(4) == Some(&init.to_string())), "{locks}");
    let open = fs::read_dir(format!("/proc/{init}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    assert!(!open.into_iter().any(|path| path.starts_with(skiff.scratch())));
    // Others are told at once, and the container's name stays its own.
    let again =
        skiff.command(["run", "--rm", "--name", "held", "box", "true"]).time_limit(Duration::from_secs(20));
    refused(again.output()).stderr_has("held");
    running.finish().success();
}

#[test]
fn r34_what_a_killed_engine_leaves_is_swept_by_whoever_comes_next() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let mut running =
        skiff.command(["run", "--name", "half", "-i", "box", "sh", "-c", "echo up; read x; true"]).spawn();
    running.stdout_until("up\n");
    let (monitor, front) = (monitor_of(running.pid()), running.pid());
    let containers = skiff.root().join("containers");
    // Both at once: a monitor that sees its front go would let the container end as it should.
    kill_process(monitor, Signal::STOP).unwrap();
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", monitor.as_raw_nonzero())).unwrap();
        stat.contains(") T ").then_some(())
    };
    Deadline::after(Duration::from_secs(10)).until(is_stopped).expect("the monitor stops");
    for pid in [front, monitor] {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert_eq!(running.finish().status.signal(), Some(9));
    // The control: nobody has cleaned up by then. (Whoever has been killed can't.)
    assert_eq!(fs::read_dir(&containers).unwrap().count(), 1);
    for _ in 0..2 {
        skiff.run(["ps", "--all", "--quiet"]).success();
        skiff.run(["run", "--rm", "box", "true"]).success();
    }
    let swept = Deadline::after(Duration::from_secs(10))
        .until(|| (fs::read_dir(&containers).unwrap().count() == 0).then_some(()));
    assert!(swept.is_some(), "{}", skiff.run(["ps", "--all"]));
    assert_eq!(skiff.left(), Vec::<String>::new());
}
