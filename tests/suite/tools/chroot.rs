//! `skiff chroot` against coreutils' `chroot`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use skiff_e2e::{Skiff, busybox_rootfs, requires};

use super::same;

fn root(skiff: &Skiff) -> PathBuf {
    let root = skiff.scratch().join("root");
    busybox_rootfs(&root);
    root
}

#[test]
fn chroot_does_what_coreutils_do() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = root(&skiff);
    let root = root.to_str().expect("a plain path");
    let cases: &[&[&str]] = &[
        &[root, "pwd"],
        &[root, "ls", "/"],
        &[root, "sh", "-c", "exit 7"],
        &[root, "sh", "-c", "kill -TERM $$"],
        &["--userspec=user", root, "id"],
        &["--userspec=user:", root, "id"],
        &["--userspec=user:extra", root, "id"],
        &["--userspec=:extra", root, "id"],
        &["--userspec=1000", root, "id"],
        &["--userspec=1000:7", root, "id"],
        &["--userspec=+1000:+7", root, "id"],
        &["--userspec=1234:5", root, "sh", "-c", "id -u; id -g"],
        &["--userspec=", root, "id"],
        &["--userspec=:", root, "id"],
        &["--groups=extra,7,user", root, "id"],
        &["--groups=", root, "id"],
        &["--userspec=user", "--groups=", root, "id"],
        &["--userspec=user", "--groups=7", root, "id"],
        &["--skip-chdir", "/", "pwd"],
        &["/", "pwd"],
    ];
    for case in cases {
        same(&skiff, &[&["chroot"], *case].concat());
    }
}

#[test]
fn chroot_refuses_what_coreutils_refuse() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = root(&skiff);
    let root = root.to_str().expect("a plain path");
    let cases: &[&[&str]] = &[
        &[],
        &["/no/such/directory"],
        &["/etc/passwd", "true"],
        &[root, "no-such-program"],
        &[root, "/etc/passwd"],
        &["--userspec=nobody-of-this-name", root, "true"],
        &["--userspec=user:no-group-of-this-name", root, "true"],
        &["--userspec=1234", root, "true"],
        &["--groups=no-group-of-this-name", root, "true"],
        &["--skip-chdir", root, "true"],
        &["--no-such-flag"],
    ];
    for case in cases {
        same(&skiff, &[&["chroot"], *case].concat());
    }
}

#[test]
fn without_a_program_chroot_starts_an_interactive_shell() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = root(&skiff);
    let mut pty = skiff.command(["chroot"]).arg(&root).env("SHELL", "/bin/sh").pty(80, 24);
    pty.send("echo in''side; ls /bin/busybox; exit 4\n");
    pty.expect("inside\r\n/bin/busybox\r\n");
    assert_eq!(pty.wait().0, 4);
}

#[test]
fn r12_users_come_from_regular_files_of_the_new_root() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = root(&skiff);
    let passwd = root.join("etc/passwd");
    let enter = || skiff.command(["chroot", "--userspec=victim"]).arg(&root).arg("id").output().code(125);
    let canary = skiff.scratch().join("canary");
    let entry = "victim:x:4321:4321::/:/bin/sh\n";
    fs::write(&canary, entry).expect("write the canary");

    // Links that lead out of the root lead to nothing in it, absolute ones and those that climb.
    for target in [
        canary.clone(),
        PathBuf::from("../../../../../../../..").join(canary.strip_prefix("/").expect("absolute")),
    ] {
        fs::remove_file(&passwd).expect("remove the file");
        symlink(&target, &passwd).expect("make a link");
        enter().stderr_has("no user `victim` in the passwd file");
    }
    // The control: who reads that path from outside is led to the canary.
    assert_eq!(fs::read_to_string(&passwd).expect("follow the link"), entry);

    // A FIFO would hold the reader for ever.
    fs::remove_file(&passwd).expect("remove the link");
    rustix::fs::mkfifoat(rustix::fs::CWD, &passwd, rustix::fs::Mode::RWXU).expect("make a FIFO");
    enter().stderr_has("read etc/passwd of the new root: it is not a regular file");

    // A file above the limit isn't read to its end, though the entry is in the first line.
    fs::remove_file(&passwd).expect("remove the FIFO");
    fs::write(&passwd, entry.to_owned() + &"#".repeat(1 << 20)).expect("write a large file");
    enter().stderr_has("`passwd` is larger than 1 MiB");
    fs::write(&passwd, entry).expect("write a small file");
    skiff
        .command(["chroot", "--userspec=victim"])
        .arg(&root)
        .args(["id", "-u"])
        .output()
        .success()
        .stdout_is("4321\n");
    assert_eq!(fs::read_to_string(&canary).expect("read the canary"), entry);
}

#[test]
fn r12_a_number_out_of_range_is_never_root() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = root(&skiff);
    for number in ["2147483648", "4294967295", "4294967296", "18446744073709551616"] {
        let spec = format!("--userspec={number}:{number}");
        let refused = skiff.command(["chroot", &spec]).arg(&root).args(["id", "-u"]).output().code(125);
        refused.stdout_is("").stderr_has("is not a number from 0 to 2147483647");
    }
}
