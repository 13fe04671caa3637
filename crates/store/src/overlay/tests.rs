use super::*;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

/// A place for layers, removed when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skiff-overlay-{}-{name}", std::process::id()));
        for sub in ["low", "mid", "upper", "work"] {
            fs::create_dir_all(path.join(sub)).unwrap();
        }
        fs::write(path.join("low/both"), "low").unwrap();
        fs::write(path.join("mid/both"), "mid").unwrap();
        fs::write(path.join("low/below"), "low").unwrap();
        Self(path)
    }

    fn overlay(&self) -> Overlay {
        Overlay {
            lowers: vec![self.0.join("low"), self.0.join("mid")],
            upper: self.0.join("upper"),
            work: self.0.join("work"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn read(mount: &OwnedFd, path: &str) -> String {
    let fd = rustix::fs::openat(mount, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut text = String::new();
    fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

fn write(mount: &OwnedFd, path: &str, text: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(mount, path, flags, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(&fd, text.as_bytes()).unwrap();
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn the_last_layer_wins_and_only_the_upper_one_is_written() {
    let place = Place::new("order");
    let mount = place.overlay().mount_detached().unwrap();
    assert_eq!(read(&mount, "both"), "mid");
    write(&mount, "below", "changed");
    assert_eq!(fs::read_to_string(place.0.join("upper/below")).unwrap(), "changed");
    assert_eq!(fs::read_to_string(place.0.join("low/below")).unwrap(), "low");
    let name = place.0.file_name().unwrap().to_str().unwrap();
    assert!(!mounts().contains(name), "the mount is visible on the host");
}

#[test]
fn older_kernels_get_one_short_lowerdir() {
    let place = Place::new("short,with:odd\\signs");
    let mount = place.overlay().mount_by_short_paths().unwrap();
    assert_eq!(read(&mount, "both"), "mid");
    write(&mount, "new", "x");
    assert!(place.0.join("upper/new").exists());
}

#[test]
fn paths_that_are_longer_than_a_value_work() {
    let place = Place::new(&"long".repeat(50));
    let deep = place.0.join("deep".repeat(50));
    for sub in ["upper", "work"] {
        fs::create_dir_all(deep.join(sub)).unwrap();
    }
    let overlay = Overlay { upper: deep.join("upper"), work: deep.join("work"), ..place.overlay() };
    let mount = overlay.mount_detached().unwrap();
    assert_eq!(read(&mount, "both"), "mid");
    write(&mount, "new", "x");
    assert!(overlay.upper.join("new").exists());
}

#[test]
fn paths_with_every_sign_that_options_know_work() {
    let place = Place::new("a,b:c\\d\\:e=f \"g\" \n%");
    let mount = place.overlay().mount_detached().unwrap();
    assert_eq!(read(&mount, "both"), "mid");
    write(&mount, "new", "x");
    assert!(place.0.join("upper/new").exists());
}

#[test]
fn the_host_root_can_be_a_layer_of_an_upper_one_on_it() {
    let place = Place::new("host");
    let overlay = Overlay { lowers: vec!["/".into()], ..place.overlay() };
    let mount = overlay.mount_detached().unwrap();
    assert!(read(&mount, "etc/passwd").contains("root"));
    write(&mount, "etc/skiff-was-here", "x");
    assert!(place.0.join("upper/etc/skiff-was-here").exists());
    assert!(!Path::new("/etc/skiff-was-here").exists());
}

#[test]
fn a_refused_layer_is_named_with_the_words_of_the_kernel() {
    let place = Place::new("refused");
    let overlay = Overlay { upper: place.0.join("nothing"), ..place.overlay() };
    let error = overlay.mount_detached().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("nothing"), "{text}");
}

#[test]
fn too_many_layers_are_refused_before_anything_is_done() {
    let place = Place::new("many");
    let overlay = Overlay { lowers: vec!["/".into(); LAYERS_MAX + 1], ..place.overlay() };
    assert!(matches!(overlay.mount_detached(), Err(Error::LayerCount(129))));
}

#[test]
fn all_the_layers_of_a_full_image_fit() {
    let place = Place::new("full");
    let mut lowers = Vec::new();
    for number in 0..LAYERS_MAX {
        let layer = place.0.join(format!("layers/{number:0>64}/diff"));
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("number"), number.to_string()).unwrap();
        lowers.push(layer);
    }
    let overlay = Overlay { lowers, ..place.overlay() };
    assert_eq!(read(&overlay.mount_detached().unwrap(), "number"), "127");
    // A volatile mount leaves its mark in the work directory; the next one wants a fresh one.
    fs::remove_dir_all(place.0.join("work/work")).unwrap();
    assert_eq!(read(&overlay.mount_by_short_paths().unwrap(), "number"), "127");
}

#[test]
fn releases_are_compared_by_number() {
    assert!(is_at_least(b"6.18.44-fc-v769", (6, 7)));
    assert!(is_at_least(b"6.7.0", (6, 7)));
    assert!(is_at_least(b"7.0-rc1", (6, 7)));
    assert!(!is_at_least(b"6.1.0-44-amd64", (6, 7)));
    assert!(!is_at_least(b"5.99.1", (6, 7)));
    assert!(!is_at_least(b"rc", (6, 7)));
}

#[test]
fn owners_are_mapped_by_the_user_namespace() {
    let place = Place::new("idmap");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.0.join("upper"), mode).unwrap();
    let userns = MappedNamespace::new(100_000, 65_536);
    let result = place.overlay().mount_detached_idmapped(userns.fd.as_fd());
    if !kernel_is_at_least(DETACHED_LAYERS) {
        assert!(matches!(result, Err(Error::Kernel { .. })), "{result:?}");
        return;
    }
    let mount = result.unwrap();
    let there = rustix::fs::statat(&mount, "both", rustix::fs::AtFlags::empty()).unwrap();
    assert_eq!(there.st_uid, 100_000);
    // It can be written: overlayfs falls back to a read-only mount where it can't use the upper layer.
    write(&mount, "new", "x");
    assert!(place.0.join("upper/new").exists());
}

/// A user namespace with a map, held by a sleeping process until it is dropped.
struct MappedNamespace {
    fd: OwnedFd,
    process: std::process::Child,
}

impl MappedNamespace {
    fn new(first: u32, count: u32) -> Self {
        let mut process = std::process::Command::new("unshare")
            .args(["--user", "sleep", "60"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let path = |name: &str| format!("/proc/{}/{name}", process.id());
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        while fs::read_link(path("ns/user")).unwrap() == own {
            std::thread::yield_now();
        }
        for name in ["uid_map", "gid_map"] {
            fs::write(path(name), format!("0 {first} {count}")).unwrap();
        }
        let fd = rustix::fs::open(path("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        Self { fd, process }
    }
}

impl Drop for MappedNamespace {
    fn drop(&mut self) {
        // Killed and reaped in `new`; the descriptor alone keeps the namespace.
        assert!(self.process.try_wait().unwrap().is_some());
    }
}
