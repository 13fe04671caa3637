//! `skiff run`: the labs of the seed that need a container, its records, and what it says to bad input.
//!
//! How bytes, signals and terminals pass is in `process.rs` and `terminal.rs`; each flag by its effect is in `flags.rs`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use skiff_e2e::{Deadline, Output, Skiff, requires};

use crate::family::{init_of, monitor_of};

/// Runs `skiff run --rm FLAGS… host sh -c SCRIPT` at a terminal, as the seed types it, and returns what is on it.
#[track_caller]
fn typed(skiff: &Skiff, flags: &[&str], script: &str) -> String {
    let program = ["host", "bash", "-c", script];
    let words = ["run", "--rm", "-it"].iter().chain(flags).chain(&program);
    let (code, text) = skiff.command(words).pty(200, 50).wait();
    assert_eq!(code, 0, "{text}");
    text.replace("\r\n", "\n")
}

/// The links of `ls -l /proc/PID/ns/`, as `kind:[number]`.
fn links(listing: &str) -> Vec<&str> {
    listing.lines().filter_map(|line| line.split(" -> ").nth(1)).map(|link| link.trim_matches('\'')).collect()
}

/// Seconds of processor that `script` gets while it works for about a second and a half.
#[track_caller]
fn processor_seconds(skiff: &Skiff, flags: &[&str]) -> f64 {
    let text =
        typed(skiff, flags, "timeout 1.5 sh -c 'while :; do :; done'; times >/tmp/t; tail -n 1 /tmp/t");
    let user = text.split_whitespace().next().unwrap_or_default();
    let (minutes, seconds) = user.split_once('m').expect("the shell's times");
    let seconds: f64 = seconds.trim_end_matches('s').parse().expect("seconds");
    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds
}

#[test]
fn a9_a10_a_container_is_namespaces() {
    requires!(Root);
    let skiff = Skiff::new();
    let text = typed(&skiff, &[], "hostname; ps -e -o comm=; echo --; ls -l /proc/self/ns/");
    let (names, listing) = text.split_once("--\n").expect("both halves");
    let mut lines = names.lines();
    let hostname = lines.next().expect("the host name");
    assert!(hostname.len() == 12 && hostname.chars().all(|digit| digit.is_ascii_hexdigit()), "{hostname}");
    assert_eq!(lines.collect::<Vec<_>>(), ["bash", "ps"]);
    for (kind, is_own) in [
        ("mnt", true),
        ("pid", true),
        ("net", true),
        ("ipc", true),
        ("uts", true),
        ("cgroup", true),
        ("user", false),
    ] {
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace of this test");
        let inside = links(listing).contains(&outside.to_str().expect("text"));
        assert_eq!(inside, !is_own, "{kind}: {listing}");
    }
}

#[test]
fn a7_the_host_is_unaffected() {
    requires!(Root);
    let skiff = Skiff::new();
    let state = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        (mounts, fs::read_to_string("/proc/sys/kernel/hostname").expect("host name"))
    };
    let before = state();
    let mut running = skiff
        .command(["run", "--rm", "-i", "host", "sh", "-c", "hostname box; echo up; read x; exit 0"])
        .spawn();
    running.stdout_until("up\n");
    // No mount of a container is ever seen outside, not even while it runs.
    assert_eq!(state(), before);
    assert!(Path::new("/proc").join(init_of(running.pid()).as_raw_nonzero().to_string()).exists());
    running.finish().success();
    assert_eq!(state(), before);
}

#[test]
fn c1_half_a_cpu_is_half_a_cpu() {
    requires!(Root, Cpu, HonestClock);
    let skiff = Skiff::new();
    let half = processor_seconds(&skiff, &["--cpus=0.5"]);
    assert!((0.3..0.9).contains(&half), "{half} seconds");
    // The control: it is the number that counts, and not how busy the machine is otherwise.
    let tenth = processor_seconds(&skiff, &["--cpus=0.1"]);
    assert!(tenth < 0.25 && half > tenth * 1.8, "{half} and {tenth} seconds");
}

#[test]
fn c2_shares_divide_a_busy_processor() {
    requires!(Root, Cpu, Cpuset, HonestClock);
    let skiff = Skiff::new();
    let work = "read x; timeout 2 sh -c 'while :; do :; done'; times >/tmp/t; tail -n 1 /tmp/t";
    let start = |shares: &str| {
        let words = ["run", "--rm", "-i", shares, "--cpuset-cpus=0", "host", "sh", "-c", work];
        skiff.command(words).spawn()
    };
    let (mut small, mut large) = (start("--cpu-shares=256"), start("--cpu-shares=1024"));
    small.write("go\n");
    large.write("go\n");
    let seconds = |output: Output| {
        let user = output.success().text().split_whitespace().next().unwrap_or_default().to_owned();
        let seconds = user.trim_start_matches("0m").trim_end_matches('s');
        seconds.parse::<f64>().unwrap_or_else(|_| panic!("{user}"))
    };
    let (small, large) = (seconds(small.finish()), seconds(large.finish()));
    assert!(large > small * 2.5, "{large} and {small} seconds");
}

#[test]
fn c3_quota_and_period_are_half_a_cpu() {
    requires!(Root, Cpu, HonestClock);
    let skiff = Skiff::new();
    let limited = processor_seconds(&skiff, &["--cpu-quota=50000", "--cpu-period=100000"]);
    assert!((0.3..0.9).contains(&limited), "{limited} seconds");
    let both = skiff.run(["run", "--rm", "--cpus=0.5", "--cpu-quota=50000", "host", "true"]);
    both.code(125).stderr_is("skiff: `--cpus` and `--cpu-quota` exclude each other\n");
}

#[test]
fn c4_the_fiftieth_process_is_the_last() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    // A fork of dash that fails ends it, so each is made by a shell of its own that tells with its exit code.
    let script = "n=1; while [ $n -lt 60 ] && sleep 100 & do n=$((n+1)); done 2>/dev/null; echo never";
    let output = skiff.run(["run", "--rm", "--pids-limit=50", "host", "sh", "-c", script]);
    assert!(!output.stdout().contains("never") && output.stderr().is_empty(), "{output}");
    output.code(2);
    let counted = "for i in $(seq 1 48); do sleep 100 & done; echo all";
    skiff.run(["run", "--rm", "--pids-limit=50", "host", "sh", "-c", counted]).success().stdout_is("all\n");
}

#[test]
fn f25_a_fork_bomb_ends_with_its_container() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 0.5; exit 0";
    skiff.run(["run", "--rm", "--pids-limit=100", "host", "sh", "-c", bomb]).success();
}

#[test]
fn f24_memory_beyond_the_limit_is_death() {
    requires!(Root, Memory);
    let skiff = Skiff::new();
    let flags = ["run", "--rm", "--memory=32m", "--memory-swap=32m", "host"];
    let output = skiff.run(flags.iter().chain(&["sh", "-c", "head -c 100m /dev/zero | tail >/dev/null"]));
    output.failure();
    // The init itself as the victim.
    skiff.run(flags.iter().chain(&["tail", "/dev/zero"])).code(137);
    // The control: within the limit nothing happens.
    let less = ["run", "--rm", "--memory=64m", "host", "sh", "-c", "head -c 10m /dev/zero | tail | wc -c"];
    skiff.run(less).success().stdout_is("10485760\n");
}

#[test]
fn e6_with_the_hosts_pid_namespace_all_processes_are_seen() {
    requires!(Root);
    let skiff = Skiff::new();
    let own = std::process::id().to_string();
    let text = typed(&skiff, &["--pid=host"], "ps -e -o pid=; true");
    assert!(text.lines().any(|line| line.trim() == own), "{text}");
    let text = typed(&skiff, &[], "ps -e -o pid=; true");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn bad_input_gets_one_sentence_and_a_hint() {
    requires!(Root);
    let skiff = Skiff::new();
    for (words, code, sentence, hint) in [
        (&["nosuchimage", "true"][..], 125, "there is no image `nosuchimage` here", "skiff images"),
        (&["UPPER", "true"], 125, "invalid image name", ""),
        (
            &["host", "nosuchprogram"],
            127,
            "run `nosuchprogram`: no such program in the image's PATH",
            "PATH is /usr",
        ),
        (&["host", "/no/such"], 127, "run `/no/such`: no such file in the image", ""),
        (&["host", "/etc/passwd"], 126, "run `/etc/passwd`: it has no execute permission", "chmod +x"),
        (&["host", "/etc"], 126, "run `/etc`: it is a directory", ""),
        (&["--memory", "64q", "host", "true"], 125, "invalid value `64q` for `--memory`", "skiff run --help"),
        (&["--memory", "1m", "host", "true"], 125, "`--memory` must be at least 6 MiB", ""),
        (&["--cpus", "9999", "host", "true"], 125, "`--cpus` must be between 0.01 and", ""),
        (
            &["-v", "/no/such:/x", "host", "true"],
            125,
            "the mount source `/no/such` can't be used",
            "mkdir -p /no/such",
        ),
        (&["-v", "data:/x", "host", "true"], 125, "volumes can't be made yet", ""),
        (&["-u", "nosuchuser", "host", "true"], 125, "no user `nosuchuser`", "a number needs no entry"),
        (&["-u", "4294967296", "host", "true"], 125, "`4294967296` is not a number from 0", ""),
        (
            &["-w", "relative", "host", "true"],
            125,
            "the working directory `relative` isn't an absolute path",
            "",
        ),
        (&["--network", "bridge", "host", "true"], 125, "there are no networks yet", ""),
        (&["--pid", "container:x", "host", "true"], 125, "can't be joined yet", ""),
        (&["--cap-add", "NOPE", "host", "true"], 125, "there is no capability `NOPE`", "capabilities(7)"),
        (&["--sysctl", "kernel.panic=1", "host", "true"], 125, "belongs to no namespace", "sysctl -w"),
        (&["--device", "/dev/nosuch", "host", "true"], 125, "the device `/dev/nosuch` can't be used", ""),
        (
            &["--device-read-bps", "/dev/null:1m", "host", "true"],
            125,
            "`/dev/null` is no block device",
            "lsblk",
        ),
        (&["--security-opt", "bogus", "host", "true"], 125, "`--security-opt` knows no `bogus`", "--help"),
        (&["--uts=host", "--hostname", "x", "host", "true"], 125, "`--hostname` needs a UTS namespace", ""),
        (&["-d", "host", "true"], 125, "containers in the background can't be made yet", ""),
        (&["--bogus", "host", "true"], 125, "unknown flag `--bogus`", "--help"),
    ] {
        let output = skiff.run(["run", "--rm"].iter().chain(words)).code(code);
        let (first, rest) = output.stderr().split_once('\n').unwrap_or((output.stderr(), ""));
        assert!(first.starts_with("skiff: ") && first.contains(sentence), "{output}");
        assert!(rest.contains(hint) && (hint.is_empty() || rest.starts_with("hint: ")), "{output}");
        assert!(output.stdout().is_empty(), "{output}");
    }
}

#[test]
fn programs_for_other_machines_and_broken_scripts_are_named() {
    requires!(Root);
    let skiff = Skiff::new();
    let place = skiff.scratch().join("programs");
    fs::create_dir_all(&place).expect("a directory");
    let foreign = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let mut elf = fs::read("/bin/true").expect("a program");
    elf[18] = foreign;
    fs::write(place.join("foreign"), elf).expect("a foreign program");
    fs::write(place.join("script"), "#!/no/such/interpreter\n").expect("a script");
    fs::write(place.join("text"), "hello\n").expect("a text");
    let image = skiff.scratch().join("image");
    skiff_e2e::busybox_rootfs(&image);
    for name in ["foreign", "script", "text"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(place.join(name), mode).expect("make it executable");
        fs::copy(place.join(name), image.join(name)).expect("copy into the image");
    }
    let archive = skiff.scratch().join("image.tar");
    skiff_e2e::Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&archive).arg(".").output().success();
    skiff.command(["import"]).arg(&archive).arg("programs").output().success();
    let run = |program: &str| skiff.run(["run", "--rm", "programs", program]);
    run("/foreign").code(126).stderr_has("it is a program for ");
    run("/script")
        .code(127)
        .stderr_has("it is a script for `/no/such/interpreter`, which isn't in the image");
    run("/text").code(126).stderr_has("it is neither a program nor a script");
    // The same on mounts: a directory, and a file in PATH.
    let (directory, file) = (
        format!("{}:/mounted", place.display()),
        format!("{}:/bin/foreign", place.join("foreign").display()),
    );
    let run = |program: &str| skiff.run(["run", "--rm", "-v", &directory, "-v", &file, "host", program]);
    run("/mounted/foreign").code(126).stderr_has("it is a program for ");
    run("foreign").code(126).stderr_has("it is a program for ");
    run("/mounted/script").code(127).stderr_has("it is a script for `/no/such/interpreter`");
    run("/mounted/text").code(126).stderr_has("it is neither a program nor a script");
    run("/mounted/none").code(127).stderr_has("no such file in the image");
}

#[test]
fn what_was_typed_meant_and_made_is_kept_apart() {
    requires!(Root);
    let skiff = Skiff::new();
    let label = ["-l", "colour=blue", "--annotation", "shape=round", "--stop-signal", "SIGQUIT"];
    let words = ["run", "--name", "kept"].iter().chain(&label).chain(&["host", "sh", "-c", "exit 5"]);
    skiff.run(words).code(5);
    let containers = skiff.root().join("containers");
    let directory =
        fs::read_dir(&containers).expect("containers").next().expect("one").expect("entry").path();
    let json = |name: &str| -> serde_json::Value {
        let text = fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&text).expect("JSON")
    };
    assert_eq!(json("argv.json")[3], "kept");
    assert_eq!(json("request.json")["labels"]["colour"], "blue");
    assert_eq!(json("request.json")["stop_signal"], "SIGQUIT");
    assert_eq!(json("config.json")["annotations"], serde_json::json!({"shape": "round"}));
    assert_eq!(json("state.json")["name"], "kept");
    assert_eq!(json("exit.json")["exit_code"], 5);
    skiff.run(["rm", "kept"]).success().stdout_is("kept\n");
    assert!(!directory.exists());
}

#[test]
fn containers_that_stay_are_listed_and_removed() {
    requires!(Root);
    let skiff = Skiff::new();
    skiff.run(["run", "--name", "first", "host", "true"]).success();
    skiff.run(["run", "host", "false"]).code(1);
    let taken = skiff.run(["run", "--name", "first", "host", "true"]).code(125);
    taken.stderr_has("is already in use").stderr_has("hint: `skiff rm first`");
    skiff.run(["ps", "-q"]).success().stdout_is("");
    let all = skiff.run(["ps", "-a"]).success();
    assert_eq!(all.stdout().lines().count(), 3, "{all}");
    let all = all.stdout_has("Exited (0)").stdout_has("Exited (1)").stdout_has("\"true\"");
    assert!(
        all.stdout().lines().nth(1).is_some_and(|line| line.contains("\"false\"")),
        "the newest first: {all}"
    );
    let ids = skiff.run(["ps", "-aq"]).success();
    assert_eq!(ids.stdout().lines().map(str::len).collect::<Vec<_>>(), [12, 12]);
    skiff.run(["rm"].into_iter().chain(ids.stdout().lines())).success();
    skiff.run(["ps", "-aq"]).success().stdout_is("");
    skiff.run(["rm", "-f", "nosuch"]).success().stderr_has("there is no container `nosuch`");
    skiff.run(["rm", "nosuch"]).code(1).stderr_has("there is no container `nosuch`");
}

#[test]
fn f10_a_reboot_takes_no_name_away() {
    requires!(Root);
    let skiff = Skiff::new();
    skiff.run(["run", "--name", "old", "host", "true"]).success();
    // What a reboot does to the state: everything in it is gone.
    fs::remove_dir_all(skiff.state()).expect("the state");
    skiff.run(["ps", "-a"]).success().stdout_has("Exited (0)").stdout_has("old");
    skiff.run(["run", "--name", "old", "host", "true"]).code(125).stderr_has("is already in use");
    skiff.run(["rm", "old"]).success();
    skiff.run(["ps", "-aq"]).success().stdout_is("");
}

#[test]
fn what_a_crash_left_behind_is_swept_by_the_next_command() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = skiff.command(["run", "-i", "host", "sh", "-c", "echo up; exec sleep 1000"]).spawn();
    running.stdout_until("up\n");
    let (monitor, init) = (monitor_of(running.pid()), init_of(running.pid()));
    // Both of ours die at once, so that nobody is left to clean up; the container's init lives on.
    for (pid, signal) in [(monitor, Signal::STOP), (running.pid(), Signal::KILL), (monitor, Signal::KILL)] {
        kill_process(pid, signal).expect("a process of ours");
    }
    running.wait_exit();
    // Their new parent, this test, doesn't wait for them yet. A process that is about to die holds its locks.
    let has_ended = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    let deadline = Deadline::after(Duration::from_secs(10));
    deadline.until(|| has_ended(monitor)).expect("the monitor has ended");
    skiff.run(["ps", "-aq"]).success().stdout_is("");
    deadline.until(|| has_ended(init)).expect("the container has ended");
    assert_eq!(fs::read_dir(skiff.root().join("containers")).expect("containers").count(), 0);
}

#[test]
fn a_running_container_is_killed_only_by_force() {
    requires!(Root);
    let skiff = Skiff::new();
    for flags in [&["--name", "busy"][..], &["--rm", "--name", "busy"]] {
        let words = ["run", "-i"].iter().chain(flags).chain(&[
            "host",
            "sh",
            "-c",
            "trap '' TERM; echo up; read x; sleep 100",
        ]);
        let mut running = skiff.command(words).spawn();
        running.stdout_until("up\n");
        skiff.run(["ps"]).success().stdout_has("busy").stdout_has("Up ");
        skiff.run(["rm", "busy"]).code(1).stderr_has("is running").stderr_has("hint: `skiff rm -f busy`");
        skiff.run(["rm", "-f", "busy"]).success();
        running.finish().code(137);
        skiff.run(["ps", "-aq"]).success().stdout_is("");
    }
}

#[test]
fn the_id_of_the_container_is_written_for_scripts() {
    requires!(Root);
    let skiff = Skiff::new();
    let file = skiff.scratch().join("id");
    let run = || skiff.command(["run", "--rm", "--cidfile"]).arg(&file).args(["host", "hostname"]).output();
    let short = run().success().text().to_owned();
    let id = fs::read_to_string(&file).expect("the id");
    assert!(id.len() == 64 && id.starts_with(&short), "{id} {short}");
    run().code(125).stderr_has("--cidfile");
}

#[test]
fn debug_shows_each_step_with_its_time() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = skiff.run(["--debug", "run", "--rm", "host", "true"]).success();
    for step in [
        "find the image",
        "build the configuration",
        "make the cgroup",
        "mount proc at /proc",
        "pivot to the root filesystem",
    ] {
        assert!(
            output.stderr().lines().any(|line| line.contains(" µs  ") && line.ends_with(step)),
            "{step}: {output}"
        );
    }
}
