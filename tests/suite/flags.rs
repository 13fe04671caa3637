//! Each flag of `skiff run` by what it does inside, not by what was written for it.

mod files;
mod limits;
mod namespaces;
mod security;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_e2e::{Command, Lane, Output, Skiff, TempCgroup, requires};

/// `skiff run --rm FLAGS… host sh -c SCRIPT`
fn shell(skiff: &Skiff, flags: &[&str], script: &str) -> Output {
    let program = ["host", "sh", "-c", script];
    skiff.run(["run", "--rm"].iter().chain(flags).chain(&program))
}

/// What the script writes; it must succeed.
#[track_caller]
fn inside(skiff: &Skiff, flags: &[&str], script: &str) -> String {
    shell(skiff, flags, script).success().text().to_owned()
}

/// The place of a cgroup file of the container, seen from inside.
fn cgroup_file(controller: &str, v1: &str, v2: &str) -> String {
    match Lane::current() {
        Lane::V1Hybrid => format!("/sys/fs/cgroup/{controller}/{v1}"),
        Lane::V2 => format!("/sys/fs/cgroup/{v2}"),
    }
}

/// A loop device on a file of the test, detached when it goes.
struct LoopDevice(String);

impl LoopDevice {
    fn new(skiff: &Skiff) -> Self {
        let file = skiff.scratch().join("disk");
        Command::new("truncate").args(["-s", "64M"]).arg(&file).output().success();
        Self(Command::new("losetup").args(["-f", "--show"]).arg(&file).output().success().text().to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        Command::new("losetup").args(["-d", &self.0]).output().success();
    }
}

/// A directory of the test's with a file in it.
fn directory(skiff: &Skiff, name: &str) -> PathBuf {
    let directory = skiff.scratch().join(name);
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("file"), "content\n").expect("a file");
    directory
}

#[test]
fn environment() {
    requires!(Root);
    let skiff = Skiff::new();
    let file = skiff.scratch().join("vars");
    fs::write(&file, "# a comment\nFROM_FILE=file\nBOTH=file\nCALLER\n").expect("a file of variables");
    let words =
        ["run", "--rm", "--env-file", file.to_str().expect("text"), "-e", "BOTH=flag", "-e", "CALLER", "-e"];
    let command =
        skiff.command(words).args(["NOTSET", "host", "env"]).env("CALLER", "here").env("OTHER", "secret");
    let output = command.output().success();
    for line in ["FROM_FILE=file", "BOTH=flag", "CALLER=here", "HOME=/root"] {
        assert!(output.stdout().lines().any(|entry| entry == line), "{line}: {output}");
    }
    assert!(!output.stdout().contains("OTHER") && !output.stdout().contains("NOTSET"), "{output}");
    let terminal = skiff.command(["run", "--rm", "-t", "host", "sh", "-c", "echo $TERM"]).output().success();
    terminal.stdout_is("xterm\r\n");
}

#[test]
fn workdir() {
    requires!(Root);
    let skiff = Skiff::new();
    assert_eq!(inside(&skiff, &["-w", "/etc"], "pwd"), "/etc");
    assert_eq!(inside(&skiff, &["-w", "/made/for/this"], "pwd"), "/made/for/this");
    assert_eq!(inside(&skiff, &[], "pwd"), "/");
}

#[test]
fn users_and_groups() {
    requires!(Root);
    let skiff = Skiff::new();
    let ids = "echo $(id -u) $(id -g) $(id -G) $HOME";
    assert_eq!(inside(&skiff, &["-u", "4242"], ids), "4242 0 0 /");
    assert_eq!(inside(&skiff, &["-u", "4242:17"], ids), "4242 17 17 /");
    assert_eq!(inside(&skiff, &["-u", "daemon"], ids), "1 1 1 /usr/sbin");
    assert_eq!(
        inside(&skiff, &["-u", "daemon:tty", "--group-add", "disk", "--group-add", "77"], ids),
        "1 5 5 6 77 /usr/sbin"
    );
    // A user other than root has no capability in force.
    assert_eq!(inside(&skiff, &["-u", "4242"], "grep CapEff /proc/self/status"), "CapEff:\t0000000000000000");
}

#[test]
fn entrypoint() {
    requires!(Root);
    let skiff = Skiff::new();
    let run = |words: &[&str]| skiff.run(["run", "--rm"].iter().chain(words)).success().text().to_owned();
    assert_eq!(run(&["--entrypoint", "echo", "host", "a", "b"]), "a b");
    assert_eq!(run(&["--entrypoint", "", "host", "echo", "c"]), "c");
}

#[test]
fn init_reaps_what_nobody_waits_for() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "sh -c 'sleep 0.1 & exit 0'; sleep 0.5; ps -e -o stat=,comm= | grep -c '^Z'; true";
    assert_eq!(inside(&skiff, &["--init"], script), "0");
    let first = inside(&skiff, &["--init"], "tr '\\0' ' ' </proc/1/cmdline; exit 0");
    assert!(first.starts_with("skiff-init sh -c"), "{first}");
    shell(&skiff, &["--init"], "exit 7").code(7);
}
