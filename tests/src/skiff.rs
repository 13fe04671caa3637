//! The binary under test, with a root and a state directory of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::leak::{self, LeakCheck, Snapshot};
use crate::rootfs::busybox_archive;
use crate::{Command, Output, lane::Lane};

/// The guard that every end-to-end test starts with.
///
/// On drop, when its commands are done, the machine is compared with what it was at [`Skiff::new`], and the test
/// fails if anything is left. End-to-end tests run one at a time on a machine (a lock sees to it), so whatever is new is this test's.
#[derive(Debug)]
pub struct Skiff {
    root: PathBuf,
    state: PathBuf,
    scene: Rc<Scene>,
}

/// What all `Skiff`s of one test share. Fields are dropped in this order: check, remove, let the next one in.
#[derive(Debug)]
struct Scene {
    check: LeakCheck,
    scratch: Scratch,
    _turn: File,
}

impl Skiff {
    /// Waits for this test's turn, looks at the machine, and makes empty directories.
    pub fn new() -> Self {
        Self::with_patience(leak::PATIENCE)
    }

    /// As [`Skiff::new`], with another time until what is left counts as leaked: for the tests of the check itself.
    pub fn with_patience(patience: Duration) -> Self {
        Lane::current();
        let turn = turn();
        let before = Snapshot::take();
        let scratch = Scratch::new();
        let check = LeakCheck::new(before, scratch.0.clone(), patience);
        Self::at("1", Rc::new(Scene { check, scratch, _turn: turn }))
    }

    /// Another skiff on the same machine and in the same test, that shares no directory with this one.
    pub fn another(&self) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(2);
        Self::at(&COUNT.fetch_add(1, Ordering::Relaxed).to_string(), Rc::clone(&self.scene))
    }

    fn at(name: &str, scene: Rc<Scene>) -> Self {
        let home = scene.scratch.0.join(name);
        fs::create_dir(&home).expect("make the directory of a skiff");
        Self { root: home.join("root"), state: home.join("state"), scene }
    }

    /// `skiff ARGUMENTS…`, ready to be changed and run.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        Command::new(binary())
            .env("SKIFF_ROOT", &self.root)
            .env("SKIFF_STATE", &self.state)
            .env("HOME", &self.scene.scratch.0)
            .args(arguments)
    }

    /// Runs `skiff ARGUMENTS…` to its end.
    #[must_use = "check the result: `.success()`, `.code(n)` or its fields"]
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command(arguments).output()
    }

    /// Where images and containers are kept (`SKIFF_ROOT`).
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the state that dies with the boot is kept (`SKIFF_STATE`).
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A directory of the test's own, that can hold upper layers; outside both of the above.
    pub fn scratch(&self) -> &Path {
        &self.scene.scratch.0
    }

    /// A name that no other test on the machine has.
    pub fn tag(&self) -> &str {
        let name = self.scene.scratch.0.file_name().and_then(OsStr::to_str);
        name.expect("the scratch directory has a plain name")
    }

    /// What is left of everything that this test has done so far, a line each, when exiting processes and the
    /// kernel have had their time: what the check at the end would complain about.
    pub fn left(&self) -> Vec<String> {
        self.scene.check.settled()
    }

    /// Kills, unmounts and removes what [`Skiff::left`] lists, so that a test of many cases can go on to the next.
    pub fn clear(&self) {
        self.scene.check.clean();
        for directory in [&self.root, &self.state] {
            if let Err(error) = fs::remove_dir_all(directory) {
                assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::NotFound,
                    "remove {}: {error}",
                    directory.display()
                );
            }
        }
    }

    /// Imports a busybox image under `name`.
    #[track_caller]
    pub fn import_busybox(&self, name: &str) {
        let archive = busybox_archive(self.scratch(), "busybox");
        self.command(["import"]).arg(&archive).arg(name).output().success();
        fs::remove_file(archive).expect("remove the archive");
    }
}

impl Default for Skiff {
    fn default() -> Self {
        Self::new()
    }
}

/// The binary under test.
///
/// `SKIFF_BIN` names it; `tests/run` sets that. Without it, the newer one of `target/*/{debug,test-release}/skiff`.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SKIFF_BIN") {
        let path = PathBuf::from(path);
        assert!(
            path.is_absolute() && path.is_file(),
            "SKIFF_BIN={}: no such file, or a relative path",
            path.display()
        );
        return path;
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/x86_64-unknown-linux-gnu");
    let built = ["debug", "test-release"].map(|profile| target.join(profile).join("skiff"));
    let newest = built.iter().filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).max();
    let (_, path) = newest.expect("no skiff to test: `cargo build -p skiff-cli`, or set SKIFF_BIN");
    path.canonicalize().expect("the binary's path")
}

/// Waits until no other end-to-end test runs on this machine; the lock ends with the file.
fn turn() -> File {
    let path = "/tmp/skiff-e2e.lock";
    let lock =
        File::options().create(true).append(true).open(path).expect("open the lock of the end-to-end tests");
    lock.lock().expect("lock");
    lock
}

/// A directory that goes with the test.
///
/// In `/tmp`: on the machine that is the disk, in User-Mode Linux a tmpfs, and both can hold upper layers.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/skiff-e2e-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("make the scratch directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}
