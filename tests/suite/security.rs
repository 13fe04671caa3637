//! The security rules, attacked from end to end: each test is named after its rule (`r05_…`), watches a [`Canary`]
//! outside that must not change, and has a control beside it: a weak variant that the same attack does break.
//!
//! Rules that others attack are in `seccomp.rs` (R14), `process.rs` (R10) and the unit tests of their crates; `rules.txt`
//! is the table.

mod identity;
mod image;
mod limits;
mod mounts;
mod paths;
mod process;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use skiff_e2e::{Command, Output, Skiff, busybox_rootfs};

/// A tree that belongs to the host. No attack may change or read it.
#[derive(Debug)]
struct Canary {
    root: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

/// The content of its file; nobody in a container may ever print it.
const SECRET: &str = "the host's secret";

impl Canary {
    /// A tree `NAME` in the test's scratch directory, with the file `secret` and three empty directories.
    fn new(skiff: &Skiff, name: &str) -> Self {
        let root = skiff.scratch().join(name);
        for directory in ["a", "b", "c"] {
            fs::create_dir_all(root.join(directory)).expect("make the canary");
        }
        fs::write(root.join("secret"), SECRET).expect("write the canary");
        fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o640)).expect("chmod");
        let before = picture(&root);
        Self { root, before }
    }

    fn path(&self) -> &str {
        self.root.to_str().expect("scratch directories have plain names")
    }

    fn is_untouched(&self) -> bool {
        picture(&self.root) == self.before
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(picture(&self.root), self.before, "the canary has changed");
    }
}

/// Every file below `root` with all that an attack could change.
fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).expect("look at the canary");
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).expect("list the canary").flatten().map(|entry| entry.path()));
        }
        let content = if meta.is_file() { fs::read(&path).expect("read the canary") } else { Vec::new() };
        let facts = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), meta.nlink(), meta.mtime_nsec());
        found.insert(path, format!("{facts:?} {}", String::from_utf8_lossy(&content)));
    }
    found
}

/// Imports a busybox image called `name` after `change` has had its way with the root file system.
#[track_caller]
fn hostile_image(skiff: &Skiff, name: &str, instructions: &[&str], change: impl FnOnce(&Path)) {
    let rootfs = skiff.scratch().join(format!("{name}.rootfs"));
    let archive = skiff.scratch().join(format!("{name}.tar"));
    busybox_rootfs(&rootfs);
    change(&rootfs);
    let tar = Command::new("tar").args(["--create", "--numeric-owner", "--file"]).arg(&archive);
    tar.arg("--directory").arg(&rootfs).arg(".").output().success();
    let changes = instructions.iter().flat_map(|instruction| ["--change", instruction]);
    skiff.command(["import"]).args(changes).arg(&archive).arg(name).output().success();
    fs::remove_dir_all(&rootfs).expect("remove the archived root file system");
    fs::remove_file(&archive).expect("remove the archive");
}

/// Puts a link in the place of whatever the root file system has at `at`.
fn relink(rootfs: &Path, at: &str, target: &str) {
    let path = rootfs.join(at);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).expect("make room for a link"),
        Ok(_) => fs::remove_file(&path).expect("make room for a link"),
        Err(_) => {}
    }
    std::os::unix::fs::symlink(target, path).expect("make a link");
}

/// The engine refused, in one sentence, and didn't panic.
#[track_caller]
fn refused(output: Output) -> Output {
    let sentences = output.stderr().lines().filter(|line| line.starts_with("skiff: ")).count();
    assert!(sentences == 1 && !output.stderr().contains("panicked"), "{output}");
    output.code(125).stdout_is("")
}

/// A script for util-linux's tools in a mount namespace of its own: what an engine of shell lines does.
fn naive(script: &str) -> Command {
    Command::new("unshare").args(["--mount", "sh", "-ec", script])
}
