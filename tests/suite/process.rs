//! `skiff run` as a process among others: exit codes, signals, bytes, and what the caller left open.

use rustix::process::{Pid, Signal, kill_process};
use skiff_e2e::{Command, Deadline, Running, Skiff, requires};
use std::time::Duration;

use crate::family::monitor_of;

/// `skiff run --rm host sh -c SCRIPT`
fn shell(skiff: &Skiff, script: &str) -> Command {
    skiff.command(["run", "--rm", "host", "sh", "-c", script])
}

/// The same with `-i`.
fn shell_with_stdin(skiff: &Skiff, script: &str) -> Command {
    skiff.command(["run", "--rm", "-i", "host", "sh", "-c", script])
}

/// How often a process has been put to sleep by itself since its start: each wake-up ends in one more.
fn sleeps(pid: Pid) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("its status");
    let line =
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("the kernel counts");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a number")
}

#[test]
fn the_exit_code_is_the_programs() {
    requires!(Root);
    let skiff = Skiff::new();
    for code in [0, 1, 3, 125, 127, 255] {
        let output = shell(&skiff, &format!("exit {code}")).output().code(code);
        assert_eq!((output.stdout(), output.stderr()), ("", ""));
    }
}

#[test]
fn a_signals_exit_code_is_128_plus_its_number() {
    requires!(Root);
    let skiff = Skiff::new();
    // An init isn't killed by a signal of its own; `--init` makes the shell an ordinary process.
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let script = format!("kill -{signal} $$");
        skiff.run(["run", "--rm", "--init", "host", "sh", "-c", &script]).code(code);
    }
}

#[test]
fn a_program_that_is_missing_is_127_and_one_that_cannot_run_is_126() {
    requires!(Root);
    let skiff = Skiff::new();
    skiff.run(["run", "--rm", "host", "no-such-program"]).code(127).stderr_has("no-such-program");
    skiff.run(["run", "--rm", "host", "/no/such/program"]).code(127).stderr_has("/no/such/program");
    skiff.run(["run", "--rm", "host", "/etc/hostname"]).code(126).stderr_has("/etc/hostname");
    skiff.run(["run", "--rm", "host", "/etc"]).code(126).stderr_has("/etc");
}

#[test]
fn bytes_pass_unchanged_and_stdin_ends_when_it_ends() {
    requires!(Root);
    let skiff = Skiff::new();
    let every: Vec<u8> = (0..1_000_000u32).map(|index| u8::try_from(index * 31 % 256).unwrap()).collect();
    let output = shell_with_stdin(&skiff, "cat").stdin(every.clone()).output().success();
    assert!(output.stdout == every, "{} of {} bytes", output.stdout.len(), every.len());
}

#[test]
fn stdout_and_stderr_stay_apart() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = shell(&skiff, "echo out; echo err >&2").output().success();
    assert_eq!((output.stdout(), output.stderr()), ("out\n", "err\n"));
}

#[test]
fn a_user_of_the_container_may_open_its_stdio_anew() {
    requires!(Root);
    let skiff = Skiff::new();
    // As logs that are links to `/dev/stdout` need it.
    let script = "cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr";
    let arguments = ["run", "--rm", "-i", "-u", "1000:1000", "host", "sh", "-c", script];
    let output = skiff.command(arguments).stdin("in\n").output().success();
    assert_eq!((output.stdout(), output.stderr()), ("in\nout\n", "err\n"));
}

#[test]
fn without_i_the_container_reads_nothing() {
    requires!(Root);
    let skiff = Skiff::new();
    shell(&skiff, "cat; echo end").stdin("not for it").output().success().stdout_is("end\n");
}

#[test]
fn a_container_that_closes_its_stdin_ends_as_it_wants() {
    requires!(Root);
    let skiff = Skiff::new();
    let input = vec![b'x'; 1_000_000];
    shell_with_stdin(&skiff, "exec <&-; exit 4").stdin(input).output().code(4);
}

#[test]
fn files_and_the_null_device_serve_as_stdio() {
    requires!(Root);
    let skiff = Skiff::new();
    let path = skiff.scratch().join("file");
    std::fs::write(&path, "from a file\n").unwrap();
    let redirect = r#"file=$1; shift; "$@" <"$file" >>"$file.out" 2>&1"#;
    let wrapper = ["sh", "-c", redirect, "sh", path.to_str().unwrap()];
    shell_with_stdin(&skiff, "cat; echo err >&2").wrapped(wrapper).output().success();
    shell_with_stdin(&skiff, "echo more").wrapped(wrapper).output().success();
    let written = std::fs::read_to_string(path.with_extension("out")).unwrap();
    assert_eq!(written, "from a file\nerr\nmore\n");
    shell(&skiff, "head -c 1000000 /dev/zero")
        .wrapped(["sh", "-c", r#""$@" >/dev/null"#, "sh"])
        .output()
        .success();
}

#[test]
fn a_reader_that_stops_loses_nothing() {
    requires!(Root);
    let skiff = Skiff::new();
    // The reader starts when the container has long written all that pipes take.
    let slow = r#""$@" | { read first; echo "$first"; sleep 1; cksum; }"#;
    let script = "echo first; head -c 3000000 /dev/zero";
    let output = shell(&skiff, script).wrapped(["sh", "-c", slow, "sh"]).output().success();
    let sum = Command::new("cksum").stdin(vec![0; 3_000_000]).output().success();
    assert_eq!(output.stdout(), format!("first\n{}", sum.stdout()));
}

#[test]
fn a_reader_that_goes_away_is_reported_and_the_container_lives_to_its_end() {
    requires!(Root);
    let skiff = Skiff::new();
    let done = skiff.scratch().join("done");
    let mount = format!("{}:/work", skiff.scratch().display());
    let script = "while echo line; do i=$((i+1)); test $i = 50000 && break; done; echo $i >/work/done";
    let command = skiff.command(["run", "--rm", "-v", &mount, "host", "sh", "-c", script]);
    let output = command.wrapped(["sh", "-c", r#"("$@"; echo "code $?" >&2) | head -n 1"#, "sh"]).output();
    assert_eq!(output.stdout(), "line\n");
    assert!(output.stderr().contains("write the output of the container"), "{output}");
    assert!(output.stderr().contains("hint: the container goes on without a reader"), "{output}");
    assert!(output.stderr().contains("code 1\n"), "{output}");
    let end = Deadline::after(Duration::from_secs(30))
        .until(|| std::fs::read_to_string(&done).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(end.as_deref(), Some("50000\n"));
}

#[test]
fn f34_signals_reach_the_container_with_their_numbers() {
    requires!(Root);
    let skiff = Skiff::new();
    let signals = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
        ("TSTP", Signal::TSTP),
        ("CONT", Signal::CONT),
    ];
    let names = signals.map(|(name, _)| name);
    let traps: String = names.iter().map(|name| format!("trap 'echo {name}' {name}; ")).collect();
    let script = format!("{traps} trap 'exit 7' ALRM; echo ready; while :; do read x; done");
    let mut running = shell_with_stdin(&skiff, &script).spawn();
    running.stdout_until("ready\n");
    for (name, signal) in signals {
        running.signal(signal);
        running.stdout_until(&format!("{name}\n"));
    }
    running.signal(Signal::ALARM);
    assert_eq!(running.wait_exit().code(), Some(7));
}

#[test]
fn the_third_request_to_end_is_meant_for_skiff_and_the_container_lives_on() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = until_told(&skiff).spawn();
    running.stdout_until("ready\n");
    // Process 1 has no handler for SIGTERM, so it never sees one. Two of a kind that nobody has taken yet are one.
    let has_ended = |pid: Pid| {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("read its state");
        stat.contains(") Z ")
    };
    let gave_up = Deadline::after(Duration::from_secs(30)).until(|| {
        running.signal(Signal::TERM);
        has_ended(running.pid()).then_some(())
    });
    gave_up.expect("it gives up");
    assert_eq!(running.wait_exit().code(), Some(1));
    let output = running.finish();
    output.stderr_has("does not end on SIGINT").stderr_has("--init");
    tell(&skiff);
}

#[test]
fn f34_a_signal_that_ends_the_container_gives_its_code() {
    requires!(Root);
    let skiff = Skiff::new();
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1), (Signal::QUIT, 3)] {
        let mut running =
            skiff.command(["run", "--rm", "-i", "--init", "host", "sh", "-c", "echo ready; read x"]).spawn();
        running.stdout_until("ready\n");
        running.signal(signal);
        assert_eq!(running.wait_exit().code(), Some(128 + number), "signal {number}");
    }
}

#[test]
fn a_signal_that_an_init_ignores_leaves_skiff_alone_too() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = shell_with_stdin(&skiff, "echo ready; read line; echo got $line; exit 2").spawn();
    running.stdout_until("ready\n");
    running.signal(Signal::TERM);
    running.write("on\n");
    running.stdout_until("got on\n");
    assert_eq!(running.wait_exit().code(), Some(2));
}

#[test]
fn the_monitor_sleeps_while_nothing_happens() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = shell_with_stdin(&skiff, "echo ready; read line").spawn();
    running.stdout_until("ready\n");
    let (front, monitor) = (running.pid(), monitor_of(running.pid()));
    // Both are asleep when their counters have stood still for a while.
    let asleep = || {
        let before = (sleeps(front), sleeps(monitor));
        quiet(&running, Duration::from_millis(200));
        (before == (sleeps(front), sleeps(monitor))).then_some(before)
    };
    let before = Deadline::after(Duration::from_secs(10)).until(asleep).expect("they go to sleep");
    quiet(&running, Duration::from_secs(2));
    assert_eq!((sleeps(front), sleeps(monitor)), before, "wake-ups in two idle seconds");
    running.write("x\n");
    assert_eq!(running.wait_exit().code(), Some(0));
}

#[test]
fn the_monitor_is_small_whatever_passes_through_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = shell_with_stdin(&skiff, "head -c 3000000 /dev/zero; echo ready; read line").spawn();
    running.stdout_until("ready\n");
    let monitor = monitor_of(running.pid()).as_raw_nonzero();
    let memory = std::fs::read_to_string(format!("/proc/{monitor}/smaps_rollup")).expect("its memory");
    let private =
        memory.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("the kernel counts");
    let kib: u64 = private.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 512, "{kib} KiB of the monitor's memory are its own");
    running.write("x\n");
    assert_eq!(running.wait_exit().code(), Some(0));
}

/// Lets time pass in which nothing is done to the container.
fn quiet(_running: &Running, time: Duration) {
    assert_eq!(Deadline::after(time).until(|| None::<()>), None);
}

#[test]
fn when_skiff_is_killed_the_container_lives_on_and_is_cleaned_up_at_its_end() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = until_told(&skiff).spawn();
    running.stdout_until("ready\n");
    running.signal(Signal::KILL);
    running.wait_exit();
    // The caller's pipes are let go of at once, though the container lives: `finish` would fail otherwise.
    assert_eq!(running.finish().status.code(), None);
    tell(&skiff);
}

#[test]
fn when_the_shell_kills_the_whole_job_the_monitor_is_not_part_of_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let shell = r#"setsid "$@" </dev/null & read line; kill -KILL -$!; wait; echo killed"#;
    let mut running = until_told(&skiff).wrapped(["sh", "-c", shell, "sh"]).spawn();
    running.stdout_until("ready\n");
    running.write("now\n");
    running.stdout_until("killed\n");
    assert_eq!(running.wait_exit().code(), Some(0));
    tell(&skiff);
}

/// A container that writes all the time and ends when the file `go` is there, with the file `done`.
fn until_told(skiff: &Skiff) -> Command {
    let mount = format!("{}:/work", skiff.scratch().display());
    let script =
        "trap '' PIPE; echo ready; while ! test -e /work/go; do echo still >&2; done; echo done >/work/done";
    skiff.command(["run", "--rm", "-i", "-v", &mount, "host", "sh", "-c", script])
}

/// Lets the container of [`until_told`] end, and waits until it says that it does.
#[track_caller]
fn tell(skiff: &Skiff) {
    std::fs::write(skiff.scratch().join("go"), "").expect("write the file");
    let done = skiff.scratch().join("done");
    Deadline::after(Duration::from_secs(30))
        .until(|| done.exists().then_some(()))
        .expect("it lived on to its end");
}

#[test]
fn f02_when_the_monitor_is_killed_nothing_is_left() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut running = shell_with_stdin(&skiff, "echo ready; read x").spawn();
    running.stdout_until("ready\n");
    kill_process(monitor_of(running.pid()), Signal::KILL).expect("kill the monitor");
    let output = running.finish().code(125);
    assert!(output.stderr().contains("the monitor process was killed"), "{output}");
}

#[test]
fn a_job_in_the_background_that_nohup_started_survives_a_hangup() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "trap 'echo hangup; exit 1' HUP; echo ready; read line; exit 4";
    let mut running = shell_with_stdin(&skiff, script).wrapped(["env", "--ignore-signal=HUP"]).spawn();
    running.stdout_until("ready\n");
    running.signal(Signal::HUP);
    running.write("x\n");
    assert_eq!(running.wait_exit().code(), Some(4));
}

#[test]
fn directories_and_devices_that_the_start_makes_are_open_to_the_programs_user() {
    requires!(Root);
    let skiff = Skiff::new();
    let source = skiff.scratch().join("source");
    std::fs::create_dir(&source).expect("make the directory");
    let mount = format!("{}:/srv/made/deep", source.display());
    let script = "stat -c '%a %n' /srv/made /srv/work /dev/null; cd /srv/made/deep && pwd";
    let arguments =
        ["run", "--rm", "-u", "1000", "-v", &mount, "-w", "/srv/work", "host", "sh", "-c", script];
    for umask in ["umask 0777", "umask 0"] {
        let wrapper = ["sh", "-c", &format!(r#"{umask}; exec "$@""#), "sh"];
        let output = skiff.command(arguments).wrapped(wrapper).output().success();
        output.stdout_is("755 /srv/made\n755 /srv/work\n666 /dev/null\n/srv/made/deep\n");
    }
}

/// What a program in a container can see of the process that it is, and of who started it.
const PROBE: &str = r#"
exec >/probe/$1 2>&1
echo "umask $(umask)"
pwd
grep -E '^(Umask|Uid|Gid|Groups|Seccomp|NoNewPrivs|Threads|Cpus_allowed_list|Mems_allowed_list|Sig[BIC]|Shd|Cap)' /proc/self/status
cat /proc/self/limits
cut -d' ' -f 6,18,19,40,41 /proc/self/stat
cat /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/personality
ls /proc/self/fd
env | sort
ionice -p $$
chrt -p $$ | sed 's/pid [0-9]*/pid/'
cat /proc/keys
for fd in 0 1 2; do test -e /proc/1/fd/$fd && echo "fd $fd is there"; done
ps -o pid,ppid,pgid,sid,tty -p 1
"#;

/// Runs the probe, started by `wrapper`, and returns what it saw.
fn probe(skiff: &Skiff, name: &str, wrapper: &[&str]) -> String {
    let directory = skiff.scratch().join("probe");
    std::fs::create_dir_all(&directory).expect("make the directory");
    let mount = format!("{}:/probe", directory.display());
    let arguments =
        ["run", "--rm", "--hostname", "probe", "-v", &mount, "host", "sh", "-c", PROBE, "sh", name];
    let output = skiff.command(arguments).wrapped(wrapper).output();
    let file = directory.join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}\n{output}"))
}

/// Each of F31's hostile callers, as a wrapper of the command.
const HOSTILE: [(&str, &[&str]); 15] = [
    ("soft-limits", &["bash", "-c", r#"ulimit -S -n 30 -c 0 -s 1024 -l 64 -u 500; exec "$@""#, "bash"]),
    ("stdio-closed", &["sh", "-c", r#"exec "$@" <&- >&- 2>&-"#, "sh"]),
    ("stdin-closed", &["sh", "-c", r#"exec "$@" <&-"#, "sh"]),
    ("cwd-deleted", &["sh", "-c", r#"d=$(mktemp -d); cd $d; rmdir $d; exec "$@""#, "sh"]),
    ("home-unset", &["env", "-u", "HOME"]),
    ("umask", &["sh", "-c", r#"umask 0777; exec "$@""#, "sh"]),
    ("signals-ignored", &["env", "--ignore-signal"]),
    ("signals-blocked", &["env", "--block-signal"]),
    ("nice", &["nice", "-n", "19"]),
    ("affinity", &["taskset", "-c", "0"]),
    ("io-idle", &["ionice", "-c", "3"]),
    ("batch", &["chrt", "--batch", "0"]),
    ("oom-score", &["choom", "-n", "300", "--"]),
    (
        "descriptors",
        &["bash", "-c", r#"for i in {3..200}; do eval "exec $i</dev/null"; done; exec "$@""#, "bash"],
    ),
    ("no-terminal", &["setsid", "--wait"]),
];

#[test]
fn f31_r10_a_hostile_caller_makes_no_difference_inside() {
    requires!(Root);
    let skiff = Skiff::new();
    let clean = probe(&skiff, "clean", &["env"]);
    assert!(clean.contains("fd 2 is there") && clean.lines().count() > 30, "{clean}");
    let seen: Vec<(&str, Vec<String>)> = HOSTILE
        .iter()
        .map(|(name, wrapper)| (*name, differences(&clean, &probe(&skiff, name, wrapper))))
        .filter(|(_, differences)| !differences.is_empty())
        .collect();
    assert!(seen.is_empty(), "seen inside: {seen:#?}");
}

#[test]
fn f31_a_hard_limit_that_can_t_be_raised_is_one_clear_error_or_no_difference() {
    requires!(Root);
    let skiff = Skiff::new();
    let wrapper = ["bash", "-c", r#"ulimit -n 200; exec "$@""#, "bash"];
    let output = shell(&skiff, "ulimit -n").wrapped(wrapper).output();
    if output.status.success() {
        // With CAP_SYS_RESOURCE every limit can be raised.
        output.stdout_is("1024\n");
        return;
    }
    output.code(125).stderr_has("the limit `nofile` of this shell, 200").stderr_has("--ulimit nofile=200");
    let arguments = ["run", "--rm", "--ulimit", "nofile=200", "host", "sh", "-c", "ulimit -n"];
    skiff.command(arguments).wrapped(wrapper).output().success().stdout_is("200\n");
}

#[test]
fn f31_more_descriptors_than_a_container_may_have_are_no_obstacle() {
    requires!(Root);
    let skiff = Skiff::new();
    let open = r#"for i in {3..1500}; do eval "exec $i</dev/null"; done; exec "$@""#;
    let wrapper = ["bash", "-c", open, "bash"];
    let output = shell(&skiff, "ulimit -Sn; ls /proc/self/fd | wc -l").wrapped(wrapper).output();
    output.success().stdout_is("1024\n4\n");
    let arguments = ["run", "--rm", "--ulimit", "nofile=20:20", "host", "sh", "-c", "ulimit -Sn"];
    skiff.command(arguments).wrapped(wrapper).output().success().stdout_is("20\n");
}

#[test]
fn f31_all_of_it_at_once_makes_no_difference_inside() {
    requires!(Root);
    let skiff = Skiff::new();
    let clean = probe(&skiff, "clean", &["env"]);
    let all: Vec<&str> = HOSTILE.iter().rev().flat_map(|(_, wrapper)| wrapper.iter().copied()).collect();
    let seen = probe(&skiff, "all", &all);
    assert_eq!(differences(&clean, &seen), Vec::<String>::new());
}

#[test]
fn f31_an_environment_of_two_mebibytes_is_no_obstacle() {
    requires!(Root);
    let skiff = Skiff::new();
    let large = "x".repeat(100_000);
    let mut command = shell(&skiff, "env | wc -c");
    let small = command.clone().output().success();
    for index in 0..20 {
        command = command.env(format!("LARGE{index}"), &large);
    }
    command.output().success().stdout_is(small.stdout());
}

/// The lines that differ, with their sides.
fn differences(clean: &str, seen: &str) -> Vec<String> {
    let only = |a: &str, b: &str, sign: &str| -> Vec<String> {
        let other: Vec<&str> = b.lines().collect();
        a.lines().filter(|line| !other.contains(line)).map(|line| format!("{sign}{line}")).collect()
    };
    [only(clean, seen, "-"), only(seen, clean, "+")].concat()
}
