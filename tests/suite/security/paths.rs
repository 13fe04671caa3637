//! R1, R2: paths of the image, and directories that somebody changes meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use skiff_e2e::{Skiff, requires};

use super::{Canary, SECRET, hostile_image, naive, relink};

/// The ways in which a link can try to name `path` of the host.
fn spellings(path: &str) -> [(&'static str, String); 4] {
    [
        ("absolute", path.to_owned()),
        ("dots", format!("../../../../../../../..{path}")),
        ("magic", format!("/proc/self/root{path}")),
        ("init", format!("/proc/1/root{path}")),
    ]
}

#[test]
fn r01_links_of_the_image_resolve_inside() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let source = skiff.scratch().join("source");
    fs::create_dir(&source).unwrap();
    for (name, target) in spellings(canary.path()) {
        hostile_image(&skiff, name, &[], |rootfs| {
            relink(rootfs, "data", &format!("{target}/a"));
            relink(rootfs, "temporary", &format!("{target}/b"));
            relink(rootfs, "work", &format!("{target}/c"));
            relink(rootfs, "chain", "chain2");
            relink(rootfs, "chain2", &format!("{target}/new"));
            relink(rootfs, "etc/hostname", &format!("{target}/secret"));
            relink(rootfs, "etc/hosts", &format!("{target}/new-hosts"));
        });
        let script = "for d in /data /temporary /work /chain .; do echo pwned >$d/made; done; \
            cat /etc/hostname /etc/hosts /data/made";
        let bind = format!("{}:/data", source.display());
        let chain = format!("{}:/chain/deep/er", source.display());
        let flags = ["run", "--rm", "-v", &bind, "-v", &chain, "--tmpfs", "/temporary", "-w", "/work"];
        let output = skiff.command(flags).args([name, "sh", "-c", script]).output();
        canary.assert_untouched();
        assert!(!output.stdout().contains(SECRET), "{output}");
        let is_magic = target.starts_with("/proc/");
        assert_eq!(output.status.code(), Some(if is_magic { 125 } else { 0 }), "{name}: {output}");
    }
}

#[test]
fn r01_control_joined_paths_do_leave_the_root() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let rootfs = skiff.scratch().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    symlink(canary.root.join("a"), rootfs.join("work")).unwrap();
    // Join, then create: the working directory of an image.
    fs::create_dir_all(rootfs.join("work/made")).unwrap();
    assert!(!canary.is_untouched());
    // Join, then mount: the target of a volume.
    let (root, outside) = (rootfs.display(), canary.path());
    let seen =
        naive(&format!("mount -t tmpfs tmpfs {root}/work; touch {root}/work/new; ls {outside}/a")).output();
    seen.success().stdout_is("new\n");
}

#[test]
fn r01_a_target_that_is_swapped_all_the_time_never_leads_outside() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    let scratch = skiff.scratch();
    let (shared, evil) = (scratch.join("shared"), scratch.join("evil"));
    fs::create_dir_all(shared.join("target")).unwrap();
    fs::create_dir(&evil).unwrap();
    symlink(format!("../../../../../..{}", canary.path()), shared.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(&shared.join("target"), &shared.join("link"), &stop));
        for round in 0..25 {
            let (outer, inner) = (
                format!("{}:/shared", shared.display()),
                format!("{}:/shared/target/new{round}", evil.display()),
            );
            let script =
                format!("cat /proc/self/mountinfo; echo pwned >{0}/a/made; cat {0}/secret", canary.path());
            let flags = ["run", "--rm", "-v", &outer, "-v", &inner, "box", "sh", "-c", &script];
            let output = skiff.run(flags);
            let wrong = !canary.is_untouched() || output.stdout().contains(SECRET);
            // The thread must end before anything panics.
            if wrong || !matches!(output.status.code(), Some(0 | 1 | 125)) {
                stop.store(true, Ordering::Relaxed);
                panic!("round {round}: {output}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&evil).unwrap().count(), 0);
}

/// Exchanges two names until told to stop.
fn swap(one: &Path, other: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchange two names");
    }
}

#[test]
fn r02_what_a_container_leaves_is_removed_without_following_anything() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    let script = format!(
        "ln -s {0} /abs; ln -s ../../../../../../../../..{0} /dots; mkdir -p /tree && cd /tree; \
         ln -s {0}/a a; mkfifo fifo; mknod null c 1 3; n=0; \
         while [ $n -lt 150 ]; do mkdir deep && cd deep && ln -s {0} link; n=$((n+1)); done; \
         mkdir /closed && touch /closed/x && chmod 0 /closed; touch \"/$(printf 'a\\nb')\" '/-rf' '/*'",
        canary.path()
    );
    skiff.run(["run", "--rm", "box", "sh", "-c", &script]).success();
    canary.assert_untouched();
    assert_eq!(skiff.left(), Vec::<String>::new());
    // A kept one is removed by a command later.
    skiff.run(["run", "--name", "kept", "box", "sh", "-c", &script]).success();
    skiff.run(["rm", "kept"]).success();
    canary.assert_untouched();
}

#[test]
fn r02_a_tree_that_changes_while_it_is_removed_leads_nowhere() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    for _ in 0..10 {
        let script = format!("mkdir -p /x/a/b/c/d /x/n && ln -s {} /x/link", canary.path());
        skiff.run(["run", "--name", "kept", "box", "sh", "-c", &script]).success();
        let id =
            fs::read_dir(skiff.root().join("containers")).unwrap().flatten().next().expect("a container");
        // Its upper layer is reached by a descriptor, wherever it is moved before it is deleted.
        let upper = rustix::fs::open(
            id.path().join("upper/x"),
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // It ends when one of the two is gone.
                    renameat_with(&upper, "a", &upper, "link", RenameFlags::EXCHANGE).ok();
                }
            });
            let output = skiff.run(["rm", "kept"]);
            stop.store(true, Ordering::Relaxed);
            assert!(matches!(output.status.code(), Some(0 | 125 | 1)), "{output}");
        });
        canary.assert_untouched();
        skiff.run(["ps", "--all"]).success().stdout_has("CONTAINER");
    }
}

#[test]
fn r02_control_a_removal_by_paths_does_follow() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let tree = skiff.scratch().join("tree");
    fs::create_dir(&tree).unwrap();
    symlink(canary.path(), tree.join("link")).unwrap();
    fn remove(path: &Path) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| remove(&entry.path()));
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    remove(&tree);
    assert!(!canary.is_untouched());
}
