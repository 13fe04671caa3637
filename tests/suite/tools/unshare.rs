//! `skiff unshare` against util-linux's `unshare`.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use skiff_e2e::{Command, Skiff, requires};

use super::{Mounted, same, same_for};

#[test]
fn unshare_does_what_util_linux_does() {
    requires!(Root);
    let skiff = Skiff::new();
    let cases: &[&[&str]] = &[
        &["true"],
        &["--uts", "sh", "-c", "hostname elsewhere; hostname"],
        &["-n", "sh", "-c", "cat /proc/net/dev | tail -n +3 | cut -d: -f1"],
        &["-i", "sh", "-c", "ipcmk -Q >/dev/null; ipcs -q | grep -c 0x"],
        &["-m", "sh", "-c", "mount -t tmpfs none /mnt && grep -c ' /mnt ' /proc/self/mountinfo"],
        &["-m", "sh", "-c", "grep -c shared: /proc/self/mountinfo"],
        &["-m", "--propagation", "shared", "sh", "-c", "grep -vc shared: /proc/self/mountinfo"],
        &["-m", "--propagation", "slave", "true"],
        &["-C", "sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"],
        &["-pf", "sh", "-c", "echo $$"],
        &["--pid", "--fork", "--mount-proc", "readlink", "/proc/self"],
        &["-muinpf", "--mount-proc", "sh", "-c", "ps -o pid,comm"],
        &["--fork", "sh", "-c", "exit 7"],
        &["--fork", "sh", "-c", "kill -TERM $$"],
        &["-f", "--kill-child=TERM", "sh", "-c", "exit 3"],
        &["--root", "/", "--wd", "/tmp", "pwd"],
        &["-R/", "pwd"],
        &["-S", "5", "-G", "6", "id"],
        &["--setgid", "6", "id"],
        &["--", "echo", "-n", "--fork"],
        &["--uts", "--uts", "true"],
        &["--for", "--ut", "true"],
    ];
    for case in cases {
        same(&skiff, &[&["unshare"], *case].concat());
    }
}

#[test]
fn unshare_maps_users_as_util_linux_does() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let show =
        "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Cap /proc/self/status";
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let cases: &[&[&str]] = &[
        &["--user"],
        &["-r"],
        &["--map-root-user", "--map-group=7"],
        &["-c"],
        &["-c", "--keep-caps"],
        &["--map-user=5", "--map-group=6"],
        &["--map-user=daemon", "--map-group=adm"],
        &["--user", "--setgroups=deny"],
        &["-U", "--setgroups", "allow"],
        &["-r", "-f"],
        &["-r", "-S", "0", "-G", "0"],
    ];
    for case in cases {
        let arguments = [&["unshare"], *case, &["sh", "-c", show]].concat();
        same(&skiff, &arguments);
        same_for(&skiff, &nobody, &arguments);
    }
}

#[test]
fn unshare_shifts_clocks_as_util_linux_does() {
    requires!(Root, TimeNamespaces);
    let skiff = Skiff::new();
    for offsets in
        [&["--boottime", "1000000"][..], &["--monotonic", "-5"], &["--monotonic=3", "--boottime=4"]]
    {
        let show = ["-f", "sh", "-c", "cat /proc/self/timens_offsets"];
        same(&skiff, &[&["unshare", "--time"], offsets, &show].concat());
        same(&skiff, &[&["unshare", "-T"], offsets, &["cat", "/proc/self/timens_offsets"]].concat());
    }
}

#[test]
fn unshare_refuses_what_util_linux_refuses() {
    requires!(Root);
    let skiff = Skiff::new();
    let cases: &[&[&str]] = &[
        &["no-such-program"],
        &["/etc/passwd"],
        &["/"],
        &["--fork", "no-such-program"],
        &["--propagation", "sideways", "true"],
        &["--setgroups", "perhaps", "true"],
        &["-r", "--setgroups", "allow", "true"],
        &["--setgroups", "deny", "true"],
        &["-S", "root", "true"],
        &["-S", "-1", "true"],
        &["--monotonic", "5", "true"],
        &["-T", "--boottime", "soon", "true"],
        &["--wd", "/no/such/directory", "true"],
        &["--root", "/no/such/directory", "true"],
        &["--root", "/etc/passwd", "true"],
        &["--uts=/no/such/file", "true"],
        &["--mount-proc=/no/such/directory", "true"],
        &["--kill-child=NOSIG", "true"],
        &["--map-users=1,2", "true"],
        &["--map-user=nobody-of-this-name", "true"],
        &["--map-auto=yes", "true"],
        &["--propagation"],
        &["--no-such-flag"],
    ];
    for case in cases {
        same(&skiff, &[&["unshare"], *case].concat());
    }
}

#[test]
fn a_failure_names_what_was_being_done() {
    requires!(Root);
    let skiff = Skiff::new();
    let said =
        |arguments: &[&str]| skiff.run([&["unshare"], arguments].concat()).failure().stderr().to_owned();
    assert_eq!(
        said(&["--wd", "/nope", "true"]),
        "skiff: change the working directory to /nope: No such file or directory\n"
    );
    assert_eq!(
        said(&["--uts=/nope", "true"]),
        "skiff: keep the uts namespace at /nope: No such file or directory\n"
    );
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let refused = skiff.command(["unshare", "--net", "true"]).wrapped(nobody).output().code(1);
    refused
        .stderr_has("skiff: make new namespaces (net): Operation not permitted")
        .stderr_has("hint: only root");
}

#[test]
fn the_exit_code_of_a_killed_program_is_128_and_the_signal() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = skiff.run(["unshare", "--fork", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(output.status.signal(), Some(9));
}

#[test]
fn root_maps_ranges_without_newuidmap() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let maps = |flags: &[&str]| {
        let show = ["sh", "-c", "sed 's/  */ /g' /proc/self/uid_map /proc/self/gid_map"];
        skiff.run([&["unshare"], flags, &show].concat()).success().stdout().to_owned()
    };
    let blocks = ["--map-users=100000,0,10", "--map-groups=200000,0,20"];
    assert_eq!(maps(&blocks), " 0 100000 10\n 0 200000 20\n");
    assert_eq!(maps(&["--map-users=100000,0,10", "-r"]), " 0 0 1\n 1 100000 9\n 0 0 1\n");
}

#[test]
fn subordinate_ids_are_mapped_for_an_unprivileged_user() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let ranges = skiff.scratch().join("ranges");
    fs::write(&ranges, "nobody:300000:65536\n").expect("write the ranges");
    let setup = "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let ranges = ranges.to_str().expect("a plain path");
    let wrapper = ["unshare", "--mount", "sh", "-c", setup, ranges];
    let show =
        ["unshare", "--map-auto", "-r", "sed", "s/  */ /g", "/proc/self/uid_map", "/proc/self/gid_map"];
    let output = skiff.command(show).wrapped(wrapper).output().success();
    output.stdout_is(" 0 65534 1\n 1 300000 65535\n 0 65534 1\n 1 300000 65535\n");
}

/// Keeps a namespace of `kind`, enters it with both tools, and finds it in the list.
#[track_caller]
fn keep_and_enter(skiff: &Skiff, place: &Mounted, kind: &str, flag: &str) {
    let file = place.0.join(kind);
    fs::write(&file, "").expect("make a file");
    let keep = format!("{flag}={}", file.display());
    // A time namespace is for children: only with --fork the program is in it. And nsenter becomes root.
    let made =
        skiff.command(["unshare", &keep, "--fork"]).args((kind == "user").then_some("--map-root-user"));
    let made = made.args(["readlink", &format!("/proc/self/ns/{kind}")]).output().success();
    let entered = |tool: Command| tool.output().success().stdout().to_owned();
    let read = ["readlink", &format!("/proc/self/ns/{kind}")];
    assert_eq!(entered(skiff.command(["nsenter", &keep]).args(read)), made.stdout(), "{kind}");
    assert_eq!(entered(Command::new("nsenter").arg(&keep).args(read)), made.stdout(), "{kind}");
    let listed = skiff.run(["lsns", "-J", "-o", "NS,NPROCS,PATH,NSFS", "-t", kind]).success().json();
    let list = listed["namespaces"].as_array().expect("a list");
    let ours =
        list.iter().find(|entry| made.stdout().contains(&entry["ns"].to_string())).expect("it is listed");
    assert_eq!((&ours["nprocs"], ours["path"].as_str()), (&0.into(), file.to_str()));
}

#[test]
fn namespaces_can_be_kept_and_entered() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let place = Mounted::private(&skiff.scratch().join("kept"));
    for (kind, flag) in [
        ("mnt", "--mount"),
        ("uts", "--uts"),
        ("ipc", "--ipc"),
        ("net", "--net"),
        ("cgroup", "--cgroup"),
        ("user", "--user"),
    ] {
        keep_and_enter(&skiff, &place, kind, flag);
    }
}

#[test]
fn a_time_namespace_can_be_kept_and_entered() {
    requires!(Root, TimeNamespaces);
    let skiff = Skiff::new();
    let place = Mounted::private(&skiff.scratch().join("kept"));
    keep_and_enter(&skiff, &place, "time", "--time");
}

#[test]
fn a_pid_namespace_can_be_kept_while_it_has_an_init() {
    requires!(Root);
    let skiff = Skiff::new();
    let place = Mounted::private(&skiff.scratch().join("kept"));
    let file = place.0.join("pid");
    fs::write(&file, "").expect("make a file");
    let keep = format!("--pid={}", file.display());
    let script = "readlink /proc/self/ns/pid; read -r _; exit 5";
    let mut running = skiff.command(["unshare", &keep, "sh", "-c", script]).spawn();
    let made = running.stdout_until("\n");
    let read = ["nsenter", &keep, "sh", "-c", "readlink /proc/self/ns/pid"];
    skiff.run(read).success().stdout_is(&made);
    running.write("\n");
    running.finish().code(5);
    // Without its init, the namespace takes no more processes.
    skiff.run(read).code(1).stderr_has("skiff: fork: Cannot allocate memory\nhint: the pid namespace");
}

#[test]
fn kill_child_ends_the_program_when_unshare_is_killed() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running =
        skiff.command(["unshare", "-p", "--kill-child", "sh", "-c", "echo up; exec sleep 1000"]).spawn();
    running.stdout_until("up\n");
    running.signal(Signal::KILL);
    // The outputs close when the program is gone too: `finish` waits for that, and the leak check looks again.
    let output = running.finish();
    assert_eq!(output.status.signal(), Some(9));
}

#[test]
fn an_interrupt_at_the_terminal_reaches_the_program_and_not_unshare() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "trap 'echo interrupted; exit 5' INT; echo up; while :; do sleep 0.1; done";
    let mut pty = skiff.command(["unshare", "--fork", "sh", "-c", script]).pty(80, 24);
    pty.expect("up\r\n");
    pty.send("\x03");
    let (code, rest) = pty.wait();
    assert_eq!(code, 5, "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
}

#[test]
fn unshare_leaves_no_process_behind_when_a_step_fails() {
    requires!(Root);
    // The leak check at the end looks for them.
    let skiff = Skiff::new();
    skiff.run(["unshare", "-p", "--uts=/no/such/file", "sleep", "1000"]).code(1).stdout_is("");
    skiff.run(["unshare", "-f", "--wd=/no/such/directory", "sleep", "1000"]).code(1).stdout_is("");
    skiff.run(["unshare", "-r", "--map-users=0,0,0xf", "sleep", "1000"]).code(1).stdout_is("");
}
