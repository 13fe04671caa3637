//! R7 to R11, R17: our own binary, descriptors, and what runs inside.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use skiff_e2e::{Command, Deadline, Skiff, TestBundle, busybox_rootfs, requires};

use super::{Canary, SECRET, hostile_image, naive, refused};
use crate::family::{children, init_of};

/// A copy of the binary under test that an attack may ruin.
fn victim(skiff: &Skiff) -> PathBuf {
    let path = skiff.scratch().join("victim");
    let copy = ["sh", "-c", "cp \"$1\" \"$0\"", path.to_str().expect("a plain path")];
    skiff.command(["--version"]).wrapped(copy).output().success();
    path
}

/// `skiff ARGUMENTS…` by way of another copy of it.
fn by(victim: &Path, command: Command) -> Command {
    command.wrapped(["sh", "-c", "shift; exec \"$0\" \"$@\"", victim.to_str().expect("a plain path")])
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Writes to the program that was opened through `/proc/PID/exe`, when nobody runs it any more.
fn overwrite(program: &File) -> Result<(), std::io::ErrorKind> {
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let opened = soon().until(|| match File::options().write(true).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
        other => Some(other),
    });
    let mut file = opened.expect("nobody runs the program").map_err(|error| error.kind())?;
    file.write_all(b"pwned").map_err(|error| error.kind())
}

/// The program that the process runs, as an attacker in the container would open it.
fn program_of(pid: Pid) -> File {
    File::open(format!("/proc/{}/exe", pid.as_raw_nonzero())).expect("open the program of a process")
}

/// The descendants of `pid` and itself.
fn family(pid: Pid) -> Vec<Pid> {
    std::iter::once(pid).chain(children(pid).into_iter().flat_map(family)).collect()
}

fn is_program(pid: Pid, program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    of(Path::new(&format!("/proc/{}/exe", pid.as_raw_nonzero()))) == of(program)
}

#[test]
fn r08_the_init_cannot_be_overwritten_through_its_process() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let victim = victim(&skiff);
    let before = fs::read(&victim).unwrap();
    skiff.import_busybox("box");
    let script =
        "echo pwned >/proc/1/exe; exec 3</proc/1/exe; echo pwned >/proc/self/fd/3; echo up; read x; true";
    let flags = ["run", "--rm", "-i", "--init", "--privileged", "box", "sh", "-c", script];
    let mut running = by(&victim, skiff.command(flags)).spawn();
    running.stdout_until("up\n");
    let init = init_of(running.pid());
    assert!(is_program(init, &victim), "the init is the program that was started");
    let held = program_of(init);
    let output = running.finish().success();
    assert_eq!(output.stderr().matches("Read-only file system").count(), 2, "{output}");
    // Nobody runs it any more, and the held descriptor is no way to it either.
    assert_eq!(overwrite(&held), Err(std::io::ErrorKind::ReadOnlyFilesystem));
    assert!(fs::read(&victim).unwrap() == before, "the binary has changed");
}

#[test]
fn r08_control_a_program_from_its_own_file_is_overwritten() {
    requires!(Root);
    let skiff = Skiff::new();
    let victim = skiff.scratch().join("sleep");
    fs::copy("/bin/busybox", &victim).unwrap();
    let running = Command::new(&victim).arg("100").spawn();
    soon().until(|| is_program(running.pid(), &victim).then_some(())).expect("it has started");
    let held = program_of(running.pid());
    running.signal(Signal::KILL);
    assert_eq!(running.finish().status.signal(), Some(9));
    assert_eq!(overwrite(&held), Ok(()));
    assert!(fs::read(&victim).unwrap().starts_with(b"pwned"));
}

#[test]
fn r08_an_image_that_starts_the_engine_itself_gets_it_read_only() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let victim = victim(&skiff);
    let before = fs::read(&victim).unwrap();
    hostile_image(&skiff, "evil", &[], |rootfs| {
        // Our own process becomes the script's interpreter (CVE-2019-5736), again and again.
        fs::write(rootfs.join("evil"), "#!/proc/self/exe nsenter\n").unwrap();
        fs::set_permissions(rootfs.join("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    let attack = |command: Command| {
        let running = by(&victim, command).spawn();
        // A process in another mount namespace that runs our binary, by its name there.
        let inside = soon().until(|| {
            let is_it = |pid: &Pid| is_inside(*pid) && is_program(*pid, &victim) && was_started_there(*pid);
            family(running.pid()).into_iter().find(is_it)
        });
        let Some(pid) = inside else {
            panic!("the attack didn't get as far as it should: {}", running.finish());
        };
        let held = program_of(pid);
        kill_process(pid, Signal::KILL).unwrap();
        (running.finish(), held)
    };
    for flags in [["run", "--rm"].as_slice(), &["run", "--rm", "--pid=host"], &["run", "--rm", "--init"]] {
        let (output, held) = attack(skiff.command(flags).args(["evil", "/evil"]));
        output.code(137);
        assert_eq!(overwrite(&held), Err(std::io::ErrorKind::ReadOnlyFilesystem), "{flags:?}");
        assert!(fs::read(&victim).unwrap() == before, "{flags:?}: the binary has changed");
    }
    // And the same of one who enters.
    let mut container =
        skiff.command(["run", "--rm", "-i", "evil", "sh", "-c", "echo up; read x; true"]).spawn();
    container.stdout_until("up\n");
    let init = init_of(container.pid()).as_raw_nonzero().to_string();
    let (_, held) = attack(skiff.command(["nsenter", "--target", &init, "--mount", "--pid", "/evil"]));
    assert_eq!(overwrite(&held), Err(std::io::ErrorKind::ReadOnlyFilesystem));
    container.finish().success();
    assert!(fs::read(&victim).unwrap() == before, "the binary has changed");
}

fn is_inside(pid: Pid) -> bool {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let there = of(&pid.as_raw_nonzero().to_string());
    there.is_some() && there != of("self")
}

/// Whether it has come through the script.
fn was_started_there(pid: Pid) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    line.starts_with(b"/proc/self/exe\0nsenter\0/evil\0")
}

#[test]
fn r08_before_its_last_step_a_process_shows_nothing_to_those_inside() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    // One container, whose root watches; another is started into its pid namespace, and waits when it is as weak as that
    // root, and so could be traced by it (CVE-2016-9962). The control is an ordinary process of the first one.
    let look = "p=$1; for f in $p/fd/*; do readlink $f; done; readlink $p/exe; head -c1 $p/environ; head -c1 $p/maps";
    let watch = format!(
        "echo up; read x; look() {{ {look}; }}; sleep 100 & for p in /proc/[0-9]*; do \
         case $p in /proc/1) ;; /proc/$!) echo control; look $p;; *) echo found; look $p;; esac; done 2>/dev/null; echo done; read x; true"
    );
    let mut first = skiff.command(["run", "--rm", "-i", "box", "sh", "-c", &watch]).spawn();
    first.stdout_until("up\n");
    let pid = format!("--pid=ns:/proc/{}/ns/pid", init_of(first.pid()).as_raw_nonzero());
    let second = skiff
        .command(["run", "--rm", &pid, "--security-opt", "seccomp=unconfined", "box", "true"])
        .env("SKIFF_FAIL", "child.close-the-host's-descriptors=delay:4000")
        .spawn();
    let waits = soon().until(|| family(second.pid()).into_iter().find(|pid| has_dropped_capabilities(*pid)));
    assert!(waits.is_some(), "the second container waits before its last step");
    first.write("go\n");
    let seen = first.stdout_until("done\n");
    second.finish().success();
    first.finish().success();
    let seen = seen.strip_prefix("up\n").expect("the first line").replace("done\n", "");
    let (found, control) = seen.split_once("control\n").expect("the control");
    let (found, control) = match found {
        "" => control.split_once("found\n").map(|(control, found)| (found, control)).expect("the process"),
        found => (found.trim_start_matches("found\n"), control),
    };
    assert!(control.contains("/bin/busybox"), "{seen}");
    assert_eq!(found, "", "{seen}");
}

/// Whether the process has become as weak as root in the container.
fn has_dropped_capabilities(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    is_inside(pid) && status.contains("CapPrm:\t00000000a80425fb")
}

#[test]
fn r09_no_descriptor_of_the_caller_arrives() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    let open = format!("for n in $(seq 3 50); do eval \"exec $n<{}\"; done; exec \"$@\"", canary.path());
    let hostile = ["bash", "-c", &open, "bash"];
    let look =
        "for n in /proc/self/fd/*; do readlink $n; done; cat /proc/self/fd/3/secret /proc/self/fd/17/secret";
    for flags in [
        &["run", "--rm"][..],
        &["run", "--rm", "-i"],
        &["run", "--rm", "--init"],
        &["run", "--rm", "--privileged"],
    ] {
        let run = skiff.command(flags).args(["box", "sh", "-c", look]).wrapped(hostile);
        let output = run.output();
        assert!(!output.stdout().contains("canary") && !output.stdout().contains(SECRET), "{output}");
        let numbers = skiff.command(flags).args(["box", "ls", "/proc/self/fd"]).wrapped(hostile).output();
        // The fourth is the one with which `ls` reads the directory.
        numbers.success().stdout_is("0\n1\n2\n3\n");
    }
    let bundle = TestBundle::new(&skiff, "bundle", &["ls", "/proc/self/fd"]);
    let run = skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").wrapped(hostile);
    run.output().success().stdout_is("0\n1\n2\n3\n");
    // The control: a plain chroot passes them on.
    let root = skiff.scratch().join("root");
    busybox_rootfs(&root);
    let plain = naive(&format!(
        "exec 3<{0}; mount -t proc proc {1}/proc; exec chroot {1} /bin/cat /proc/self/fd/3/secret",
        canary.path(),
        root.display()
    ));
    plain.output().success().stdout_is(SECRET);
}

#[test]
fn r09_a_working_directory_or_program_through_a_descriptor_is_refused() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    let look = format!(
        "pwd; cat ../../../../../../../../..{0}/secret {0}/secret; echo pwned >../../../../../../..{0}/a/x",
        canary.path()
    );
    let places = (0..24).map(|n| format!("/proc/self/fd/{n}")).chain(
        [
            "/proc/self/cwd",
            "/proc/self/root",
            "/proc/thread-self/root/tmp",
            "/dev/fd/7",
            "/proc/1/cwd",
            "/proc/self/fd/8/../../..",
        ]
        .map(str::to_owned),
    );
    for place in places {
        let output = skiff.run(["run", "--rm", "-w", &place, "box", "sh", "-c", &look]);
        assert!(!output.stdout().contains(SECRET), "{place}: {output}");
        refused(output);
        canary.assert_untouched();
    }
    for place in ["/proc/self/fd/7", "/proc/self/cwd"] {
        let name = format!("workdir{}", place.replace('/', "-"));
        hostile_image(&skiff, &name, &[&format!("WORKDIR {place}")], |_| {});
        refused(skiff.run(["run", "--rm", &name, "pwd"]));
    }
    // A directory that is a link to such a place in the image.
    hostile_image(&skiff, "linked", &[], |rootfs| {
        std::os::unix::fs::symlink("/proc/self/fd/7", rootfs.join("seven")).unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", rootfs.join("itself")).unwrap();
    });
    refused(skiff.run(["run", "--rm", "-w", "/seven", "linked", "pwd"]));
    for program in
        ["/proc/self/exe", "/itself", "/proc/self/fd/7/bin/sh", "/proc/self/root/bin/sh", "/seven/../bin/sh"]
    {
        let output = skiff.run(["run", "--rm", "linked", program, "--version"]);
        assert!(matches!(output.status.code(), Some(125..=127)), "{program}: {output}");
        assert_eq!(output.stdout(), "", "{program}");
    }
    skiff
        .run(["run", "--rm", "-w", "/new/dir", "box", "readlink", "/proc/self/cwd"])
        .success()
        .stdout_is("/new/dir\n");
}

#[test]
fn r10_a_start_from_a_hostile_shell_equals_one_from_a_clean_one() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let facts = "umask; grep -E '^(Sig(Blk|Ign)|Cpus_allowed_list|NoNewPrivs|Groups)' /proc/self/status; \
        cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/personality; env | sort | grep -v HOSTNAME";
    let run = || skiff.command(["run", "--rm", "box", "sh", "-c", facts]);
    let hostile = "umask 0777; trap '' HUP INT TERM PIPE USR1 CHLD; export EVIL=1 LD_PRELOAD=/evil.so; \
        echo 500 >/proc/self/oom_score_adj; exec nice -n 19 setpriv --groups 7,8 -- \"$@\"";
    let clean = run().output().success();
    let output = run().wrapped(["bash", "-c", hostile, "bash"]).output();
    assert_eq!(output.stdout(), clean.stdout(), "{output}");
    // The control: a plain unshare passes on what it finds.
    let plain = |wrapper: &[&str]| {
        Command::new("unshare").args(["--mount", "sh", "-c", facts]).wrapped(wrapper).output()
    };
    assert_ne!(plain(&["env"]).stdout(), plain(&["bash", "-c", hostile, "bash"]).stdout());
}

#[test]
fn r11_nothing_of_the_image_runs_but_its_program() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let helpers = [
        "mount",
        "umount",
        "modprobe",
        "newuidmap",
        "newgidmap",
        "ip",
        "iptables",
        "sysctl",
        "hostname",
        "id",
        "getent",
        "ldconfig",
    ];
    let trap = |rootfs: &Path| {
        for directory in ["bin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"] {
            fs::create_dir_all(rootfs.join(directory)).unwrap();
            for helper in helpers {
                let path = rootfs.join(directory).join(helper);
                // An applet's link would be written through.
                fs::remove_file(&path).ok();
                fs::write(&path, "#!/bin/sh\necho ran $0 >>/pwned\n").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::write(rootfs.join("etc/nsswitch.conf"), "passwd: evil\ngroup: evil\nhosts: evil\n").unwrap();
        fs::write(rootfs.join("etc/ld.so.preload"), "/evil.so\n").unwrap();
    };
    hostile_image(
        &skiff,
        "trap",
        &["ENV LD_PRELOAD=/evil.so", "ENV PATH=/usr/local/sbin:/bin", "ENV GCONV_PATH=/evil"],
        trap,
    );
    let flags = [
        "run",
        "--rm",
        "-u",
        "user",
        "--group-add",
        "extra",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--hostname",
        "x",
        "--tmpfs",
        "/t",
    ];
    for init in [None, Some("--init")] {
        let words = flags.iter().chain(init.as_ref()).chain(&[
            "trap",
            "busybox",
            "sh",
            "-c",
            "test ! -e /pwned && echo clean",
        ]);
        skiff.run(words).success().stdout_is("clean\n");
    }
    // The control: an engine that looks up its helpers inside runs the image's.
    let root = skiff.scratch().join("root");
    busybox_rootfs(&root);
    trap(&root);
    Command::new("chroot").arg(&root).args(["mount", "-t", "proc", "proc", "/proc"]).output().success();
    assert_eq!(fs::read_to_string(root.join("pwned")).unwrap().lines().count(), 1);
}

#[test]
fn r17_the_callers_terminal_never_goes_in() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let look = "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; ls -1 /dev/pts; stat -c %t:%T /dev/tty; : </dev/tty && echo controlling";
    let (code, text) = skiff.command(["run", "--rm", "-it", "box", "sh", "-c", look]).pty(80, 24).wait();
    let seen = text.replace("\r\n", "\n");
    assert_eq!(
        (code, seen.as_str()),
        (0, "/dev/pts/0\n/dev/pts/0\n/dev/pts/0\n/dev/pts/0\n0\nptmx\n5:0\ncontrolling\n")
    );
    // Without -t nothing inside is a terminal, and there is no controlling one to type into (TIOCSTI).
    let look = "for n in 0 1 2; do test -t $n && echo terminal $n; done; (: </dev/tty) 2>/dev/null && echo controlling; echo end";
    let (code, text) = skiff.command(["run", "--rm", "-i", "box", "sh", "-c", look]).pty(80, 24).wait();
    assert_eq!((code, text.trim()), (0, "end"));
    // The control: a plain unshare hands it on.
    let (_, text) =
        Command::new("unshare").args(["--mount", "--pid", "--fork", "sh", "-c", look]).pty(80, 24).wait();
    assert!(text.contains("terminal 0") && text.contains("controlling"), "{text}");
}
