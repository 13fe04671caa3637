use super::*;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A directory with a root and a canary beside it; both go when it is dropped.
struct Jail {
    base: PathBuf,
}

impl Jail {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("skiff-root-{}-{number}", std::process::id()));
        fs::create_dir_all(base.join("root")).unwrap();
        fs::write(base.join("canary"), "sings").unwrap();
        Self { base }
    }

    fn root(&self) -> PathBuf {
        self.base.join("root")
    }

    fn fd(&self) -> OwnedFd {
        fd(&self.root())
    }

    fn assert_canary(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.base).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["canary", "root"]);
        assert_eq!(fs::read_to_string(self.base.join("canary")).unwrap(), "sings");
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        let name = CString::new(self.base.file_name().unwrap().as_encoded_bytes()).unwrap();
        remove_tree(fd(self.base.parent().unwrap()).as_fd(), &name).unwrap();
    }
}

fn fd(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn dirs(jail: &Jail, path: &CStr) -> Result<OwnedFd, Errno> {
    create_dirs_in_root(jail.fd().as_fd(), path, Mode::from_raw_mode(0o755))
}

fn file(jail: &Jail, path: &CStr) -> Result<OwnedFd, Errno> {
    create_file_in_root(jail.fd().as_fd(), path, Mode::from_raw_mode(0o644))
}

/// Keeps the mounts of this test thread out of sight; needs root, and says so by failing without.
#[allow(unsafe_code)]
fn own_mount_namespace() {
    // SAFETY: only descriptor tables shared with other threads make `unshare` unsafe (I/O safety), and
    // NEWNS leaves the table alone.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
}

#[test]
fn directories_are_created_below_the_root() {
    let jail = Jail::new();
    dirs(&jail, c"/a/b/./c//d/").unwrap();
    dirs(&jail, c"a/b/x").unwrap();
    assert!(jail.root().join("a/b/c/d").is_dir());
    assert!(jail.root().join("a/b/x").is_dir());
    jail.assert_canary();
}

#[test]
fn r01_links_and_dotdot_stay_in_the_root() {
    let jail = Jail::new();
    symlink("/", jail.root().join("abs")).unwrap();
    symlink("../../../..", jail.root().join("up")).unwrap();
    dirs(&jail, c"abs/one").unwrap();
    dirs(&jail, c"up/two").unwrap();
    dirs(&jail, c"../../three").unwrap();
    file(&jail, c"up/../four").unwrap();
    for name in ["one", "two", "three", "four"] {
        assert!(jail.root().join(name).symlink_metadata().is_ok(), "{name}");
    }
    jail.assert_canary();
}

#[test]
fn r01_control_a_plain_open_does_leave_the_root() {
    let jail = Jail::new();
    symlink("../canary", jail.root().join("link")).unwrap();
    let plain = rustix::fs::openat(jail.fd(), c"link", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    assert!(plain.is_ok());
    let ours = open_in_root(jail.fd().as_fd(), c"link", OFlags::RDONLY, Mode::empty());
    assert_eq!(ours.unwrap_err(), Errno::NOENT);
}

#[test]
fn r01_magic_links_are_refused() {
    let proc = fd(Path::new("/proc"));
    let refused = open_in_root(proc.as_fd(), c"self/root/etc", OFlags::PATH, Mode::empty());
    assert_eq!(refused.unwrap_err(), Errno::LOOP);
    assert_eq!(
        create_dirs_in_root(proc.as_fd(), c"self/cwd/new", Mode::from_raw_mode(0o755)).unwrap_err(),
        Errno::LOOP
    );
}

#[test]
fn dangling_links_are_created_where_they_point() {
    let jail = Jail::new();
    symlink("/run/lock", jail.root().join("abs")).unwrap();
    fs::create_dir(jail.root().join("etc")).unwrap();
    symlink("../run/resolve/stub.conf", jail.root().join("etc/resolv.conf")).unwrap();
    dirs(&jail, c"abs/sub").unwrap();
    file(&jail, c"/etc/resolv.conf").unwrap();
    assert!(jail.root().join("run/lock/sub").is_dir());
    assert!(jail.root().join("run/resolve/stub.conf").is_file());
    jail.assert_canary();
}

#[test]
fn dangling_links_out_of_the_root_are_created_inside() {
    let jail = Jail::new();
    symlink("../../../evil", jail.root().join("link")).unwrap();
    file(&jail, c"link").unwrap();
    assert!(jail.root().join("evil").is_file());
    jail.assert_canary();
}

#[test]
fn loops_of_links_end() {
    let jail = Jail::new();
    symlink("b", jail.root().join("a")).unwrap();
    symlink("a", jail.root().join("b")).unwrap();
    assert_eq!(dirs(&jail, c"a/x").unwrap_err(), Errno::LOOP);
    assert_eq!(file(&jail, c"a").unwrap_err(), Errno::LOOP);
    // Grows by a component with every step.
    symlink("grow/y", jail.root().join("grow")).unwrap();
    assert_eq!(file(&jail, c"grow").unwrap_err(), Errno::LOOP);
}

#[test]
fn something_else_in_the_way_is_an_error() {
    let jail = Jail::new();
    fs::write(jail.root().join("file"), "").unwrap();
    fs::create_dir(jail.root().join("dir")).unwrap();
    assert_eq!(dirs(&jail, c"file/x").unwrap_err(), Errno::NOTDIR);
    assert_eq!(file(&jail, c"dir").unwrap_err(), Errno::ISDIR);
    assert_eq!(file(&jail, c"new/..").unwrap_err(), Errno::ISDIR);
    let long = CString::new(vec![b'x'; 5000]).unwrap();
    assert_eq!(dirs(&jail, &long).unwrap_err(), Errno::NAMETOOLONG);
}

#[test]
fn an_existing_file_is_left_as_it_is() {
    let jail = Jail::new();
    fs::write(jail.root().join("file"), "text").unwrap();
    file(&jail, c"file").unwrap();
    assert_eq!(fs::read_to_string(jail.root().join("file")).unwrap(), "text");
    let mode = fs::metadata(jail.root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn r02_removal_does_not_follow_links() {
    let jail = Jail::new();
    fs::create_dir_all(jail.root().join("tree/sub")).unwrap();
    symlink("../../..", jail.root().join("tree/sub/up")).unwrap();
    symlink("../canary", jail.root().join("tree/bird")).unwrap();
    remove_tree(jail.fd().as_fd(), c"tree").unwrap();
    assert!(!jail.root().join("tree").exists());
    symlink("..", jail.root().join("top")).unwrap();
    remove_tree(jail.fd().as_fd(), c"top").unwrap();
    jail.assert_canary();
}

#[test]
fn removal_takes_names_only_and_absence_is_success() {
    let jail = Jail::new();
    remove_tree(jail.fd().as_fd(), c"nothing").unwrap();
    for name in [c"", c".", c"..", c"a/b", c"/"] {
        let error = remove_tree(jail.fd().as_fd(), name).unwrap_err();
        assert_eq!(error.left[0].errno, Errno::INVAL);
    }
    jail.assert_canary();
}

#[test]
fn deep_and_wide_trees_are_removed() {
    let jail = Jail::new();
    let mut at = jail.fd();
    rustix::fs::mkdirat(&at, c"tree", Mode::from_raw_mode(0o755)).unwrap();
    at = open_in_root(at.as_fd(), c"tree", OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..2000 {
        rustix::fs::mkdirat(&at, c"deeper", Mode::from_raw_mode(0o755)).unwrap();
        at = open_in_root(at.as_fd(), c"deeper", OFlags::PATH, Mode::empty()).unwrap();
    }
    let wide = jail.root().join("tree/wide");
    fs::create_dir(&wide).unwrap();
    for number in 0..3000 {
        fs::write(wide.join(format!("a-rather-long-file-name-{number}")), "").unwrap();
    }
    remove_tree(jail.fd().as_fd(), c"tree").unwrap();
    assert_eq!(fs::read_dir(jail.root()).unwrap().count(), 0);
}

#[test]
fn r02_removal_stops_at_a_mount_and_names_it() {
    let jail = Jail::new();
    own_mount_namespace();
    fs::create_dir_all(jail.root().join("tree/mnt")).unwrap();
    fs::create_dir_all(jail.root().join("tree/gone")).unwrap();
    let source = jail.base.join("root/source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("kept"), "").unwrap();
    let target = jail.root().join("tree/mnt");
    rustix::mount::mount_bind(&source, &target).unwrap();
    let result = remove_tree(jail.fd().as_fd(), c"tree");
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.left, [Left { path: "tree/mnt".into(), errno: Errno::XDEV }]);
    assert_eq!(error.to_string(), "tree/mnt: something is mounted there");
    assert!(source.join("kept").exists());
    assert!(!jail.root().join("tree/gone").exists());
}

#[test]
fn removals_of_one_tree_at_once_all_succeed() {
    for _round in 0..10 {
        let jail = Jail::new();
        for dir in 0..20 {
            let dir = jail.root().join(format!("tree/{dir}/work/work"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        }
        let root = fd(&jail.root());
        let removals = [(); 4].map(|()| {
            let root = root.try_clone().unwrap();
            std::thread::spawn(move || remove_tree(root.as_fd(), c"tree"))
        });
        for removal in removals {
            removal.join().unwrap().unwrap();
        }
        assert!(!jail.root().join("tree").exists());
    }
}

#[test]
fn r12_a_device_of_the_tree_is_never_opened() {
    let jail = Jail::new();
    // A number that no driver has: to open the node is another error than not to open it.
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        jail.root().join("passwd"),
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(240, 77),
    );
    made.unwrap();
    let control = open_in_root(jail.fd().as_fd(), c"/passwd", OFlags::RDONLY, Mode::empty());
    assert_eq!(control.unwrap_err(), Errno::NXIO);
    assert_eq!(open_regular_in_root(jail.fd().as_fd(), c"/passwd").unwrap_err(), Errno::INVAL);
    fs::write(jail.root().join("group"), "text").unwrap();
    assert!(open_regular_in_root(jail.fd().as_fd(), c"/group").is_ok());
}
