//! Who is measured, and with which words.

use std::path::Path;

use crate::scene::{RUN, Scene};

/// The contender that all others are compared with.
pub const FLOOR: &str = "floor";

/// The whole command line for a container of the given name.
type Arguments = dyn Fn(&str) -> Vec<String>;

/// One way to start a container.
pub struct Contender {
    /// Its name in the table.
    pub name: &'static str,
    /// How it is started.
    pub arguments: Box<Arguments>,
    /// What it needs in its environment.
    pub environment: Vec<(String, String)>,
}

/// All contenders, in the order of the table. That they are here doesn't say that they are installed.
pub fn all(scene: &Scene) -> Vec<Contender> {
    let mut all = vec![floor(scene)];
    all.extend(skiff(scene));
    all.extend(tools(scene));
    all.extend(runtimes(scene));
    all.extend(engines(scene));
    all
}

fn contender(name: &'static str, arguments: impl Fn(&str) -> Vec<String> + 'static) -> Contender {
    Contender { name, arguments: Box::new(arguments), environment: Vec::new() }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Namespaces, overlay, cgroups, pivot, exec and clean-up, and nothing else (`floor.c`).
fn floor(scene: &Scene) -> Contender {
    let line = format!(
        "{} {} {} /bin/true {}",
        scene.floor.display(),
        scene.rootfs.display(),
        scene.uppers.display(),
        scene.cgroups.join(" ")
    );
    contender(FLOOR, move |_| words(&line))
}

fn skiff(scene: &Scene) -> Vec<Contender> {
    let skiff = scene.skiff.display().to_string();
    let run = |image: &str| format!("{skiff} run --rm --network none {image} true");
    let (host, busybox) = (run("host"), run(Scene::IMAGE));
    let bundle = format!("{skiff} oci run --bundle {}", scene.bundle.display());
    let mut all = vec![
        contender("skiff run host", move |_| words(&host)),
        contender("skiff run", move |_| words(&busybox)),
        contender("skiff oci run", move |name| words(&format!("{bundle} {name}"))),
    ];
    for contender in &mut all {
        contender.environment.clone_from(&scene.skiff_environment);
    }
    all
}

/// No cgroups, no overlay: less work than the floor in these two, and more in others.
fn tools(scene: &Scene) -> Vec<Contender> {
    let rootfs = scene.rootfs.display();
    let bwrap = format!("bwrap --bind {rootfs} / --proc /proc --dev /dev --unshare-all /bin/true");
    let unshare =
        format!("unshare --mount --pid --net --uts --ipc --cgroup --fork chroot {rootfs} /bin/true");
    vec![contender("bwrap", move |_| words(&bwrap)), contender("unshare|chroot", move |_| words(&unshare))]
}

fn runtimes(scene: &Scene) -> Vec<Contender> {
    let of = |name: &'static str, program: &str, place: &str| {
        let root = Path::new(RUN).join(place);
        let line = format!("{program} --root {}", root.display());
        let bundle = scene.bundle.display().to_string();
        contender(name, move |id| words(&format!("{line} run --bundle {bundle} {id}")))
    };
    vec![
        of("crun", "crun", "crun"),
        of("crun, no cgroups", "crun --cgroup-manager=disabled", "crun-disabled"),
        of("runc", "runc", "runc"),
    ]
}

fn engines(scene: &Scene) -> Vec<Contender> {
    // podman asks for limits that a machine without CAP_SYS_RESOURCE can't give.
    let limits = "--ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
    let podman =
        format!("{} run --rm --network none {limits} {} true", podman(&scene.directory), Scene::IMAGE);
    let docker = format!("{} run --rm --network none {} true", docker(&scene.directory), Scene::IMAGE);
    vec![contender("podman", move |_| words(&podman)), contender("docker", move |_| words(&docker))]
}

/// The words that every podman command of the benchmark begins with.
pub fn podman(directory: &Path) -> String {
    let directory = directory.display();
    format!("podman --root {directory}/podman --runroot {RUN}/podman-run --cgroup-manager cgroupfs")
}

/// The words that every docker command of the benchmark begins with.
pub fn docker(directory: &Path) -> String {
    format!("docker --host unix://{}/docker.sock", directory.display())
}
