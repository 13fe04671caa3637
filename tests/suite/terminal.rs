//! `skiff run -t`: a real terminal, that is as before whatever happens.

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::LocalModes;
use skiff_e2e::{Command, Deadline, Pty, Skiff, requires};
use std::time::Duration;

use crate::family::{children, init_of, monitor_of};

/// `skiff run --rm -it host sh -c SCRIPT`
fn interactive(skiff: &Skiff, script: &str) -> Command {
    skiff.command(["run", "--rm", "-it", "host", "sh", "-c", script])
}

/// A terminal in its usual mode echoes and gives lines; in raw mode it does neither.
fn is_raw(pty: &Pty) -> bool {
    !pty.settings().local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Waits until the process is gone, or a zombie that its new parent hasn't seen yet.
fn wait_gone(pid: Pid) {
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let gone = || stat().map_or(true, |stat| stat.contains(") Z ")).then_some(());
    soon().until(gone).unwrap_or_else(|| panic!("process {pid:?} lives on"));
}

#[test]
fn the_terminal_is_raw_while_the_container_runs_and_as_before_afterwards() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty =
        interactive(&skiff, "stty -echo; echo ready; read line; echo \"got $line\"; exit 3").pty(80, 24);
    pty.expect("ready\r\n");
    assert!(is_raw(&pty));
    // What is typed is echoed by the container's terminal or not at all: here it asked for silence.
    pty.send("a line\r");
    assert_eq!(pty.wait(), (3, "got a line\r\n".to_owned()));
    assert!(!is_raw(&pty));
}

#[test]
fn the_container_has_a_terminal_of_its_own_and_never_the_callers() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all; ls -l /proc/self/fd";
    let mut pty = interactive(&skiff, script).pty(80, 24);
    let (code, text) = pty.wait();
    assert_eq!(code, 0, "{text}");
    let outside = std::fs::read_link(format!("/proc/{}/fd/0", std::process::id())).unwrap_or_default();
    assert!(text.starts_with("/dev/pts/0\r\n") && text.contains("all\r\n"), "{text}");
    assert!(!text.contains("socket:") && !text.contains("pipe:"), "{} {text}", outside.display());
}

#[test]
fn the_size_of_the_window_and_its_changes_reach_the_container() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "trap 'stty size; exit 0' WINCH; stty size; while :; do read line; done";
    let mut pty = interactive(&skiff, script).pty(91, 17);
    pty.expect("17 91\r\n");
    pty.resize(40, 10);
    pty.expect("10 40\r\n");
    assert_eq!(pty.wait().0, 0);
}

#[test]
fn a_storm_of_window_changes_ends_with_the_last_size() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "echo ready; read line; stty size").pty(80, 24);
    pty.expect("ready\r\n");
    for width in 1..=500 {
        pty.resize(width, 20);
    }
    pty.send("go\r");
    pty.expect("20 500\r\n");
    assert_eq!(pty.wait().0, 0);
    assert!(!is_raw(&pty));
}

#[test]
fn job_control_works_inside() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = skiff.command(["run", "--rm", "-it", "-e", "PS1=ready> ", "host", "sh"]).pty(80, 24);
    pty.expect("ready> ");
    pty.send("sh -c 'trap \"echo aga''in\" CONT; echo star''ted; while :; do read line; done'\r");
    pty.expect("started\r\n");
    pty.send("\x1a");
    pty.expect("Stopped");
    pty.expect("ready> ");
    pty.send("fg\r");
    // The shell continues a job once that is in the foreground, and says so before.
    pty.expect("again\r\n");
    pty.send("\x03");
    pty.expect("ready> ");
    pty.send("echo code=$?\r");
    pty.expect("code=130\r\n");
    pty.send("exit 9\r");
    assert_eq!(pty.wait().0, 9);
    assert!(!is_raw(&pty));
}

#[test]
fn a_job_in_the_background_that_wants_the_terminal_stops_until_it_gets_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let shell =
        r#""$@" & until jobs | grep -q Stopped; do :; done; echo "its a job"; fg >/dev/null; echo code $?"#;
    for flags in ["-i", "-it"] {
        let script = "echo started; read line; echo \"got $line\"; exit 7";
        let command = skiff.command(["run", "--rm", flags, "host", "sh", "-c", script]);
        let mut pty = command.wrapped(["bash", "--norc", "-i", "-c", shell, "bash"]).pty(80, 24);
        if flags == "-i" {
            // Reads, and only then wants the terminal; with `-t` it wants to set it first thing.
            pty.expect("started");
        }
        pty.send("typed\n");
        pty.expect("its a job");
        pty.expect("got typed");
        pty.expect("code 7");
        assert_eq!(pty.wait().0, 0, "{flags}");
        assert!(!is_raw(&pty), "{flags}");
    }
}

#[test]
fn ctrl_c_is_a_key_for_the_container_and_not_the_end_of_skiff() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "trap 'echo caught; exit 6' INT; echo ready; while :; do read x; done")
        .pty(80, 24);
    pty.expect("ready\r\n");
    pty.send("\x03");
    pty.expect("caught\r\n");
    assert_eq!(pty.wait().0, 6);
}

#[test]
fn the_terminal_is_restored_when_the_container_is_killed() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "echo ready; exec sleep 1000").pty(80, 24);
    pty.expect("ready\r\n");
    kill_process(init_of(pty.pid()), Signal::KILL).expect("kill the container's init");
    assert_eq!(pty.wait().0, 128 + 9);
    assert!(!is_raw(&pty));
}

#[test]
fn signals_to_skiff_reach_the_container_and_the_terminal_is_restored() {
    requires!(Root);
    let skiff = Skiff::new();
    for (name, signal) in
        [("INT", Signal::INT), ("TERM", Signal::TERM), ("HUP", Signal::HUP), ("QUIT", Signal::QUIT)]
    {
        let script = format!("trap 'echo caught; exit 5' {name}; echo ready; while :; do read x; done");
        let mut pty = interactive(&skiff, &script).pty(80, 24);
        pty.expect("ready\r\n");
        pty.signal(signal);
        pty.expect("caught\r\n");
        assert_eq!(pty.wait().0, 5, "{name}");
        assert!(!is_raw(&pty), "{name}");
    }
}

#[test]
fn f34_a_stop_and_a_continue_leave_terminal_and_container_well() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "stty -echo; echo ready; read line; echo \"got $line\"").pty(80, 24);
    pty.expect("ready\r\n");
    // SIGTSTP is passed on as by Docker's client, and an init ignores it.
    pty.signal(Signal::TSTP);
    pty.signal(Signal::STOP);
    pty.signal(Signal::CONT);
    pty.send("on\r");
    pty.expect("got on\r\n");
    assert_eq!(pty.wait().0, 0);
    assert!(!is_raw(&pty));
}

/// Steps of `run` from its beginning to the program, some of each process.
const STEPS: [&str; 8] = [
    "store.create-container",
    "monitor.prepare",
    "monitor.fork",
    "monitor.settle",
    "monitor.stdio",
    "launch.cgroup",
    "launch.clone",
    "launch.go",
];

#[test]
fn f34_a_signal_at_any_step_of_the_start_ends_skiff_or_reaches_the_container() {
    requires!(Root);
    let skiff = Skiff::new();
    for step in STEPS {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            let command = interactive(&skiff, "read line; exit 3").env("SKIFF_FAIL", format!("{step}=stop"));
            let mut pty = command.pty(80, 24);
            let stopped =
                soon().until(|| stopped_of(pty.pid())).unwrap_or_else(|| panic!("{step} is not reached"));
            pty.signal(signal);
            kill_process(stopped, Signal::CONT).expect("continue it");
            pty.send("line\r");
            let (code, text) = pty.wait();
            // Before there is a container the signal ends skiff; afterwards it is passed on, and this init ignores it.
            let expected = [3, 128 + signal.as_raw()];
            assert!(expected.contains(&code), "{signal:?} at {step}: {code}\n{text}");
            assert!(!is_raw(&pty), "{signal:?} at {step}");
            drop(pty);
            skiff.run(["run", "--rm", "host", "true"]).success();
            assert_eq!(skiff.left(), Vec::<String>::new(), "{signal:?} at {step}");
        }
    }
}

/// Which of the front and its monitor has stopped itself, if one has.
fn stopped_of(front: Pid) -> Option<Pid> {
    let is_stopped = |pid: &Pid| {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.contains(") T ")
    };
    std::iter::once(front).chain(children(front)).find(is_stopped)
}

#[test]
fn when_skiff_is_killed_the_terminal_is_restored_and_the_container_lives_on() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "echo ready; read x; exec sleep 1000").pty(80, 24);
    pty.expect("ready\r\n");
    let (monitor, init) = (monitor_of(pty.pid()), init_of(pty.pid()));
    pty.signal(Signal::KILL);
    assert_eq!(pty.wait().0, 128 + 9);
    soon().until(|| (!is_raw(&pty)).then_some(())).expect("the monitor restores the terminal");
    kill_process(init, Signal::CONT).expect("the container lives on");
    // At its end everything goes; the leak check of the test sees to the rest.
    kill_process(init, Signal::KILL).expect("kill the container's init");
    wait_gone(monitor);
}

#[test]
fn a_terminal_that_has_a_new_owner_is_left_alone_when_skiff_was_killed() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "echo ready; exec sleep 1000").pty(80, 24);
    pty.expect("ready\r\n");
    let (monitor, init) = (monitor_of(pty.pid()), init_of(pty.pid()));
    let path =
        std::fs::read_link(format!("/proc/{}/fd/0", pty.pid().as_raw_nonzero())).expect("its terminal");
    kill_process(monitor, Signal::STOP).expect("stop the monitor");
    pty.signal(Signal::KILL);
    pty.wait();
    // Meanwhile an editor takes the terminal: no echo, but signals.
    Command::new("stty").arg("-F").arg(path).arg("isig").output().success();
    let theirs = pty.settings();
    kill_process(monitor, Signal::CONT).expect("continue the monitor");
    kill_process(init, Signal::KILL).expect("kill the container's init");
    wait_gone(monitor);
    assert_eq!(pty.settings().local_modes, theirs.local_modes);
}

#[test]
fn when_the_monitor_is_killed_skiff_says_so_and_cleans_up() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut pty = interactive(&skiff, "echo ready; exec sleep 1000").pty(80, 24);
    pty.expect("ready\r\n");
    let (monitor, init) = (monitor_of(pty.pid()), init_of(pty.pid()));
    kill_process(monitor, Signal::KILL).expect("kill the monitor");
    let (code, text) = pty.wait();
    assert_eq!(code, 125);
    assert!(text.contains("the monitor process was killed"), "{text}");
    assert!(!is_raw(&pty));
    wait_gone(init);
}

#[test]
fn a_stdin_that_is_no_terminal_is_refused_with_a_hint() {
    requires!(Root);
    let skiff = Skiff::new();
    let output = skiff.command(["run", "--rm", "-it", "host", "true"]).stdin("x").output().code(125);
    assert!(output.stderr().contains("is not a terminal"), "{output}");
    assert!(output.stderr().contains("hint: "), "{output}");
}

#[test]
fn a_terminal_without_stdin_is_given_to_a_caller_without_one() {
    requires!(Root);
    let skiff = Skiff::new();
    // `-t` alone, as in CI: the container has a terminal, and its output is what a terminal makes of it.
    let output = skiff.run(["run", "--rm", "-t", "host", "sh", "-c", "test -t 1 && echo tty"]).success();
    output.stdout_is("tty\r\n");
}

#[test]
fn a_large_paste_arrives_whole() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "stty raw -echo; echo ready; head -c 200000 | cksum";
    let mut pty = interactive(&skiff, script).pty(80, 24);
    pty.expect("ready");
    let paste: Vec<u8> = (0..200_000u32).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect();
    let sum = Command::new("cksum").stdin(paste.clone()).output().success();
    pty.send(&paste);
    pty.expect(sum.text());
    assert_eq!(pty.wait().0, 0);
}
