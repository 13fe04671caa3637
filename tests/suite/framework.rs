//! The tests' own tools do what the other tests rely on: limits that kill, leaks that are seen.

use std::time::Duration;

use skiff_e2e::{Capability, Command, Lane, Skiff, TempCgroup, lane, requires};

/// Patience for tests that leave something on purpose.
const SOON: Duration = Duration::from_millis(300);

#[test]
fn a_command_keeps_both_outputs_and_its_code_apart() {
    let output = Command::new("sh").args(["-c", "cat; echo err >&2; exit 7"]).stdin("in").output().code(7);
    assert_eq!((output.stdout(), output.stderr()), ("in", "err\n"));
}

#[test]
fn a_command_starts_with_a_clean_environment() {
    Command::new("env").output().success().stdout_is(
        "HOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nTERM=xterm\n",
    );
}

#[test]
#[should_panic(expected = "didn't end in time")]
fn a_command_that_hangs_fails_its_test() {
    Command::new("sleep").arg("60").time_limit(Duration::from_millis(200)).output().success();
}

#[test]
#[should_panic(expected = "something holds its outputs open")]
fn an_output_that_outlives_the_command_fails_its_test() {
    let _skiff = Skiff::with_patience(SOON);
    Command::new("sh")
        .args(["-c", "sleep 5 & exit 0"])
        .time_limit(Duration::from_millis(300))
        .output()
        .success();
}

#[test]
fn a_program_on_a_terminal_is_its_foreground() {
    let mut pty =
        Command::new("sh").args(["-c", "stty size; read line; echo \"got $line\"; exec cat"]).pty(91, 17);
    pty.expect("17 91");
    pty.send("hello\n");
    pty.expect("got hello");
    pty.send("\x03");
    assert_eq!(pty.wait().0, 128 + 2, "^C interrupts the program and not the session's leader");
    pty.settings();
}

#[test]
#[should_panic(expected = "left behind by this test:\n  process")]
fn a_process_left_behind_fails_its_test() {
    let _skiff = Skiff::with_patience(SOON);
    Command::new("sh").args(["-c", "setsid sleep 100 </dev/null >/dev/null 2>&1 &"]).output().success();
}

#[test]
#[should_panic(expected = "left behind by this test:\n  mount")]
fn a_mount_left_behind_fails_its_test() {
    requires!(Root);
    let skiff = Skiff::with_patience(SOON);
    Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(skiff.scratch()).output().success();
}

#[test]
#[should_panic(expected = "left behind by this test:\n  cgroup")]
fn a_cgroup_left_behind_fails_its_test() {
    requires!(Root);
    let skiff = Skiff::with_patience(SOON);
    Box::leak(Box::new(TempCgroup::new(&skiff, "leaked")));
}

#[test]
#[should_panic(expected = "left behind by this test:\n  network link")]
fn a_network_link_left_behind_fails_its_test() {
    requires!(Root);
    let _gone = RemoveLink;
    let _skiff = Skiff::with_patience(SOON);
    Command::new("ip")
        .args(["link", "add", "skiffleak0", "type", "veth", "peer", "name", "skiffleak1"])
        .output()
        .success();
}

/// The leak check reports a link but can't know that it may be deleted.
struct RemoveLink;

impl Drop for RemoveLink {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", "skiffleak0"]).output().success();
    }
}

#[test]
fn a_temporary_cgroup_holds_a_process_and_is_removed() {
    requires!(Root, Pids);
    let skiff = Skiff::new();
    let cgroup = TempCgroup::new(&skiff, "group");
    let mut sleeper = Command::new("sleep").arg("60").spawn();
    cgroup.write("pids", "cgroup.procs", &sleeper.pid().to_string());
    assert_eq!(cgroup.read("pids", "pids.current").trim(), "1");
    sleeper.signal(rustix::process::Signal::KILL);
    assert!(!sleeper.wait_exit().success());
}

#[test]
fn the_scratch_directory_can_hold_an_upper_layer() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let script = "cd $1 && mkdir lower upper work && echo below > lower/file
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work lower
        echo above > lower/file && umount lower && cat lower/file upper/file";
    let output =
        Command::new("unshare").args(["--mount", "sh", "-ec", script, "sh"]).arg(skiff.scratch()).output();
    output.success().stdout_is("below\nabove\n");
}

#[test]
fn the_lane_keeps_its_promises() {
    for capability in lane::promised() {
        assert_eq!(lane::lacking("the lane keeps its promises", &[capability]), None);
    }
    assert!(lane::promised().contains(&Capability::Root), "{:?} runs as root", Lane::current());
}
