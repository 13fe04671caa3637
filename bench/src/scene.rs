//! What the contenders need: a root file system, bundles, images, and a docker daemon of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use skiff_e2e::{Deadline, busybox_archive, busybox_rootfs, lane};

use crate::contenders::{docker, podman};

/// Where everybody keeps what dies with the boot: memory, see `STAGE` in `main.rs`.
pub const RUN: &str = "/run/skiff-bench";

/// Everything lies in one directory and goes with it.
#[derive(Debug)]
pub struct Scene {
    /// The directory.
    pub directory: PathBuf,
    /// A busybox root file system.
    pub rootfs: PathBuf,
    /// A bundle of it that runs `/bin/true`.
    pub bundle: PathBuf,
    /// Where the floor makes its upper layers.
    pub uppers: PathBuf,
    /// The compiled floor.
    pub floor: PathBuf,
    /// The directories of all cgroup hierarchies.
    pub cgroups: Vec<String>,
    /// The release binary of skiff.
    pub skiff: PathBuf,
    /// Its root and state.
    pub skiff_environment: Vec<(String, String)>,
    dockerd: Option<Child>,
    /// Cgroups of peers that were there before us, and stay.
    peers_before: Vec<PathBuf>,
}

impl Scene {
    /// The name of the image that every engine is given.
    pub const IMAGE: &str = "bench-busybox";

    /// Makes all of it; what belongs to a peer that isn't installed is left out.
    pub fn set() -> Result<Self, String> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = PathBuf::from(format!("/tmp/skiff-bench-{}", std::process::id()));
        let at = |name: &str| directory.join(name);
        let skiff = std::env::var_os("SKIFF_BIN").map(PathBuf::from);
        let skiff_environment = [("SKIFF_ROOT", at("root")), ("SKIFF_STATE", Path::new(RUN).join("state"))];
        let scene = Self {
            rootfs: at("bundle/rootfs"),
            bundle: at("bundle"),
            uppers: at("uppers"),
            floor: at("floor"),
            cgroups: cgroups(),
            skiff: skiff.unwrap_or_else(|| home.join("../target/x86_64-unknown-linux-gnu/release/skiff")),
            skiff_environment: skiff_environment
                .map(|(name, place)| (name.into(), place.display().to_string()))
                .into(),
            dockerd: None,
            peers_before: peer_cgroups(),
            directory,
        };
        for place in ["", "bundle", "uppers"] {
            fs::create_dir(scene.directory.join(place))
                .map_err(|error| format!("{}: {error}", scene.directory.display()))?;
        }
        busybox_rootfs(&scene.rootfs);
        run(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&scene.floor).arg(home.join("floor.c")))?;
        scene.write_bundle()?;
        scene.load_images()
    }

    /// The configuration that runc itself proposes (crun's, where there is no runc), without a terminal.
    fn write_bundle(&self) -> Result<(), String> {
        let made = ["runc", "crun"]
            .iter()
            .any(|runtime| run(Command::new(runtime).arg("spec").current_dir(&self.bundle)).is_ok());
        if !made {
            eprintln!(
                "no runc and no crun: no bundle, so their rows and that of `skiff oci run` will be absent"
            );
            return Ok(());
        }
        let path = self.bundle.join("config.json");
        let text = fs::read(&path).map_err(|error| format!("read config.json: {error}"))?;
        let mut config: Value =
            serde_json::from_slice(&text).map_err(|error| format!("config.json: {error}"))?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = vec!["/bin/true"].into();
        config["process"]["rlimits"] = Value::Array(Vec::new());
        fs::write(&path, config.to_string()).map_err(|error| format!("write config.json: {error}"))
    }

    /// Gives the image to each engine. An engine that doesn't take it shows up as absent, with its reason.
    fn load_images(mut self) -> Result<Self, String> {
        let archive = busybox_archive(&self.directory, "image").display().to_string();
        let image = Self::IMAGE;
        let skiff = self.skiff.display().to_string();
        let environment = self.skiff_environment.clone();
        note("skiff", run(line(&format!("{skiff} import {archive} {image}")).envs(environment)));
        note("podman", run(&mut line(&format!("{} import {archive} {image}", podman(&self.directory)))));
        match self.start_dockerd() {
            Ok(child) => self.dockerd = Some(child),
            Err(reason) => note("dockerd", Err(reason)),
        }
        if self.dockerd.is_some() {
            note("docker", run(&mut line(&format!("{} import {archive} {image}", docker(&self.directory)))));
        }
        Ok(self)
    }

    /// A daemon of our own, without a bridge and without firewall rules.
    fn start_dockerd(&self) -> Result<Child, String> {
        let directory = self.directory.display();
        let log = fs::File::create(self.directory.join("dockerd.log")).map_err(|error| error.to_string())?;
        let mut command = line(&format!(
            "dockerd --data-root {directory}/docker --exec-root {RUN}/docker-run --pidfile {directory}/docker.pid \
             --host unix://{directory}/docker.sock --bridge none --iptables=false --ip6tables=false"
        ));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let answers = Deadline::after(Duration::from_secs(30))
            .until(|| run(&mut line(&format!("{} version", docker(&self.directory)))).is_ok().then_some(()));
        if answers.is_some() {
            return Ok(child);
        }
        child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
        Err("it doesn't answer".to_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(dockerd) = &mut self.dockerd {
            // With SIGTERM it takes its containerd and its mounts along.
            note("dockerd", run(Command::new("kill").arg(dockerd.id().to_string())));
            note("dockerd", dockerd.wait().map(|_| ()).map_err(|error| error.to_string()));
        }
        for cgroup in peer_cgroups().iter().filter(|cgroup| !self.peers_before.contains(cgroup)) {
            note(
                "cgroups",
                run(Command::new("find")
                    .arg(cgroup)
                    .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])),
            );
        }
        // What podman leaves mounted; the rest of the directory can't be removed before.
        note("mounts", run(Command::new("sh").args(["-c", UNMOUNT, "sh"]).arg(&self.directory)));
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("bench: remove {}: {error}", self.directory.display());
        }
    }
}

const UNMOUNT: &str =
    "cut -d ' ' -f 2 /proc/self/mounts | grep \"^$1/\" | xargs --no-run-if-empty umount --lazy";

/// The cgroups that docker and podman make for themselves and never remove.
fn peer_cgroups() -> Vec<PathBuf> {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let places = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
    places
        .flat_map(|place| ["docker", "libpod_parent"].map(|name| place.join(name)))
        .filter(|path| path.is_dir())
        .collect()
}

/// The mount points of all hierarchies that an engine would make a cgroup in.
fn cgroups() -> Vec<String> {
    if lane::Lane::current() == lane::Lane::V2 {
        return vec!["/sys/fs/cgroup".to_owned()];
    }
    let mut places: Vec<String> = lane::controllers_v1()
        .filter(|(name, _)| !name.starts_with("name="))
        .map(|(_, place)| place)
        .collect();
    places.retain(|place| !place.ends_with("/systemd"));
    places.sort();
    places.dedup();
    places
}

fn line(text: &str) -> Command {
    let mut words = text.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn note(who: &str, result: Result<(), String>) {
    if let Err(reason) = result {
        eprintln!("{who}: {reason}");
    }
}
