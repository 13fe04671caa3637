//! A root file system of busybox, as a directory and as an archive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::Command;

/// Makes a root file system of busybox in the new directory `at`: all applets in `/bin`, the users `root` and
/// `user` (1000), and the directories that a container's mounts want.
pub fn busybox_rootfs(at: &Path) {
    for directory in ["bin", "dev", "etc", "home/user", "proc", "root", "sys", "tmp", "usr", "var"] {
        fs::create_dir_all(at.join(directory)).expect("make a directory of the root file system");
    }
    fs::set_permissions(at.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    fs::copy("/usr/bin/busybox", at.join("bin/busybox"))
        .or_else(|_| fs::copy("/bin/busybox", at.join("bin/busybox")))
        .expect("copy busybox (Debian: busybox-static)");
    let applets = Command::new("busybox").arg("--list").output().success();
    for applet in applets.stdout().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", at.join("bin").join(applet)).expect("link an applet");
    }
    symlink("bin", at.join("sbin")).expect("link /sbin");
    for (file, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:a user:/home/user:/bin/sh\n"),
        ("group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
    ] {
        fs::write(at.join("etc").join(file), text).expect("write a file of /etc");
    }
    std::os::unix::fs::chown(at.join("home/user"), Some(1000), Some(1000)).expect("chown");
}

/// Makes `NAME.tar` of a busybox root file system in `directory`, for `skiff import`.
pub fn busybox_archive(directory: &Path, name: &str) -> PathBuf {
    let rootfs = directory.join(format!("{name}.rootfs"));
    let archive = directory.join(format!("{name}.tar"));
    busybox_rootfs(&rootfs);
    Command::new("tar")
        .args(["--create", "--numeric-owner", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&rootfs)
        .arg(".")
        .output()
        .success();
    fs::remove_dir_all(&rootfs).expect("remove the archived root file system");
    archive
}
