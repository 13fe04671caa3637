//! The seed's tools against those that the seed names: the same flags give the same output and the same exit code.
//!
//! Messages differ on purpose; that there is one, and one only, is checked.

mod chroot;
mod lsns;
mod nsenter;
mod unshare;

use std::process::Stdio;

use rustix::process::Pid;
use skiff_e2e::{Command, Deadline, Output, Skiff, requires};

/// Runs `TOOL ARGUMENTS…` of the system and of skiff, and compares what they print and how they end.
#[track_caller]
fn same(skiff: &Skiff, arguments: &[&str]) {
    same_for(skiff, &[], arguments);
}

/// The same, with both run by `wrapper`.
#[track_caller]
fn same_for(skiff: &Skiff, wrapper: &[&str], arguments: &[&str]) {
    let run = |command: Command| {
        if wrapper.is_empty() { command.output() } else { command.wrapped(wrapper).output() }
    };
    let (tool, rest) = arguments.split_first().expect("a tool");
    let theirs = run(Command::new(tool).args(rest).env("HOME", skiff.scratch()));
    let ours =
        run(skiff.command(arguments.iter().copied()).env_remove("SKIFF_ROOT").env_remove("SKIFF_STATE"));
    assert_eq!(ours.stdout(), theirs.stdout(), "{arguments:?}\n{}", ours.text());
    assert_eq!(ours.status.code(), theirs.status.code(), "{arguments:?}\n{}", ours.text());
    let complaints = ours.stderr().lines().filter(|line| line.starts_with("skiff: ")).count();
    let has_failed = matches!(theirs.stderr().split(':').next(), Some(name) if name == *tool);
    assert_eq!(
        complaints,
        usize::from(has_failed),
        "{arguments:?}\n{}\nbut theirs:\n{}",
        ours.stderr(),
        theirs.stderr()
    );
}

/// A process in namespaces of its own, made with the tools of the system.
struct Target {
    unshare: std::process::Child,
    pid: Pid,
}

impl Target {
    /// `unshare FLAGS… sleep`, once it sleeps.
    #[track_caller]
    fn new(flags: &[&str]) -> Self {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(flags).args(["--fork", "--kill-child", "sleep", "1000"]).stdin(Stdio::null());
        let unshare = unshare.spawn().expect("run unshare");
        let parent = unshare.id();
        let sleeping = || {
            let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
            let child = children.trim().parse::<i32>().ok()?;
            let comm = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (comm == "sleep\n").then(|| Pid::from_raw(child)).flatten()
        };
        let pid =
            Deadline::after(std::time::Duration::from_secs(20)).until(sleeping).expect("the target sleeps");
        Self { unshare, pid }
    }

    /// Its number, for arguments.
    fn number(&self) -> String {
        self.pid.as_raw_nonzero().to_string()
    }

    /// What `/proc/PID/ns/KIND` of it links to.
    fn namespace(&self, kind: &str) -> String {
        let link =
            std::fs::read_link(format!("/proc/{}/ns/{kind}", self.number())).expect("read a namespace");
        link.display().to_string()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Err(error) = self.unshare.kill().and_then(|()| self.unshare.wait()) {
            eprintln!("end the target: {error}");
        }
    }
}

/// A mount that goes with the test.
struct Mounted(std::path::PathBuf);

impl Mounted {
    /// The directory `at`, which becomes a mount of its own with private propagation, so that a mount namespace can
    /// be kept in it.
    #[track_caller]
    fn private(at: &std::path::Path) -> Self {
        std::fs::create_dir(at).expect("make a directory");
        Command::new("mount").args(["--bind"]).args([at, at]).output().success();
        Command::new("mount").arg("--make-private").arg(at).output().success();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let inner = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(std::path::PathBuf::from);
        let inner: Vec<_> = inner.filter(|at| at.starts_with(&self.0)).collect();
        for at in inner.iter().rev() {
            if let Err(error) = rustix::mount::unmount(at.as_path(), rustix::mount::UnmountFlags::DETACH) {
                eprintln!("unmount {}: {error}", at.display());
            }
        }
    }
}

/// What skiff prints for `arguments`, as lines of fields.
#[track_caller]
fn fields(output: &Output) -> Vec<Vec<String>> {
    output.stdout().lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn r33_the_help_says_what_is_not_protected() {
    requires!(Root);
    let skiff = Skiff::new();
    for tool in ["unshare", "nsenter", "chroot"] {
        skiff.run([tool, "--help"]).success().stdout_has("What this does not protect:");
    }
}

#[test]
fn the_help_of_skiff_fits_a_screen_and_names_its_commands() {
    let skiff = Skiff::new();
    let help = skiff.run(["--help"]).success();
    assert!(help.stdout().lines().count() <= 50, "{}", help.stdout());
    for command in ["unshare", "nsenter", "chroot", "lsns", "ns"] {
        assert!(help.stdout().contains(&format!("\n  {command} ")), "{}", help.stdout());
        skiff.run(["help", command]).success().stdout_has(&format!("skiff {command}"));
    }
}

#[test]
fn a_wrong_command_gets_one_sentence_and_a_hint() {
    let skiff = Skiff::new();
    let wrong = skiff.run(["unshar"]).code(125).stdout_is("");
    wrong.stderr_has("hint: did you mean `unshare`?");
    skiff.run(["unshare", "--monut"]).code(1).stderr_has("skiff: unshare: ").stderr_has("hint: ");
}

#[test]
fn a_reader_that_goes_away_ends_a_listing_in_silence() {
    let skiff = Skiff::new();
    let line = skiff.command(["lsns", "--output-all"]).line();
    let script = format!("{line} | true; {line} --help | true");
    Command::new("sh").args(["-c", &script]).output().success().stdout_is("").stderr_is("");
}

#[test]
fn colours_are_for_terminals_and_not_with_no_color() {
    let skiff = Skiff::new();
    skiff.run(["nope"]).code(125).stderr_has("skiff: ");
    let coloured = |command: Command| command.pty(80, 24).wait().1.contains("\u{1b}[");
    assert!(coloured(skiff.command(["nope"])));
    assert!(!coloured(skiff.command(["nope"]).env("NO_COLOR", "1")));
    assert!(!coloured(skiff.command(["nope"]).env("TERM", "dumb")));
    let own = std::process::id().to_string();
    assert!(coloured(skiff.command(["ns", "show", &own])));
    assert!(!skiff.run(["ns", "show", &own]).success().stdout().contains('\u{1b}'));
}
