//! An OCI bundle on disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Skiff, rootfs::busybox_rootfs};

/// A bundle with a busybox root file system and the configuration that most tests start from: all namespaces
/// but user and time new, `/proc /dev /sys` mounted, no capabilities dropped, no limits. Gone with its [`Skiff`].
#[derive(Debug)]
pub struct TestBundle {
    directory: PathBuf,
    /// The configuration; change it, then [`TestBundle::write`].
    pub config: Value,
}

impl TestBundle {
    /// A bundle in the test's scratch directory that runs `args`.
    pub fn new(skiff: &Skiff, name: &str, args: &[&str]) -> Self {
        let directory = skiff.scratch().join(name);
        busybox_rootfs(&directory.join("rootfs"));
        let bundle = Self { directory, config: config(args) };
        bundle.write();
        bundle
    }

    /// Changes the configuration and writes it.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self.write();
        self
    }

    /// Writes `config.json` as it is now.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).expect("a JSON value can be written");
        fs::write(self.directory.join("config.json"), text).expect("write config.json");
    }

    /// The directory of the bundle.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }
}

fn config(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/sbin"],
            "cwd": "/",
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" }
            ]
        }
    })
}
