use super::*;
use crate::fixture::{Head, Tar};
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A root to unpack into, in a directory with a canary that nothing may touch.
struct Jail {
    base: PathBuf,
}

impl Jail {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("skiff-unpack-{}-{number}", std::process::id()));
        fs::create_dir_all(base.join("root")).unwrap();
        fs::create_dir(base.join("canary")).unwrap();
        fs::write(base.join("canary/bird"), "sings").unwrap();
        fs::set_permissions(base.join("canary/bird"), fs::Permissions::from_mode(0o640)).unwrap();
        Self { base }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.join("root").join(path)
    }

    fn unpack(&self, tar: &Tar) -> Result<Unpacked, Error> {
        self.unpack_at(tar, Position::Above)
    }

    fn unpack_at(&self, tar: &Tar, position: Position) -> Result<Unpacked, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.base.join("root"), flags, Mode::empty()).unwrap();
        let bytes = tar.clone().end();
        unpack(&mut Archive::new(bytes.as_slice()), root.as_fd(), position)
    }

    /// The canary is as it was: content, mode, owner, links, and nothing new beside it.
    fn assert_canary(&self) {
        let names = |dir: PathBuf| {
            let mut names: Vec<_> = fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.base.clone()), ["canary", "root"]);
        assert_eq!(names(self.base.join("canary")), ["bird"]);
        assert_eq!(fs::read_to_string(self.base.join("canary/bird")).unwrap(), "sings");
        let bird = fs::metadata(self.base.join("canary/bird")).unwrap();
        assert_eq!((bird.mode() & 0o7777, bird.uid(), bird.nlink()), (0o640, 0, 1));
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = rustix::fs::open(self.base.parent().unwrap(), flags, Mode::empty()).unwrap();
        let name = CString::new(self.base.file_name().unwrap().as_encoded_bytes()).unwrap();
        skiff_sys::root::remove_tree(above.as_fd(), &name).unwrap();
    }
}

/// What an attack may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The archive is refused with these words.
    Refused(&'static str),
    /// It is unpacked, and this path is inside the root.
    Inside(&'static str),
}
use Fate::{Inside, Refused};

/// Unpacks an attack, and checks what came of it; the canary must live in any case.
#[track_caller]
fn attack(tar: &Tar, fate: Fate) {
    let jail = Jail::new();
    let result = jail.unpack(tar);
    jail.assert_canary();
    match (fate, result) {
        (Refused(words), Err(error)) => {
            assert!(error.to_string().contains(words), "other words: {error}");
        }
        (Inside(path), Ok(_)) => assert!(jail.path(path).symlink_metadata().is_ok(), "{path} is not there"),
        (fate, result) => panic!("{fate:?}, but {result:?}"),
    }
}

fn tar() -> Tar {
    Tar::default()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn a_layer_is_unpacked_as_it_was() {
    let jail = Jail::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = tar()
        .add(Head::new("./", b'5', 0).mode(0o711).owner(0, 0).with(136, b"00000000144\0"), b"")
        .add(Head::new("./bin", b'5', 0).mode(0o2755).owner(3, 4).with(136, b"00000000145\0"), b"")
        .pax(&[
            ("mtime", b"1000.5"),
            ("SCHILY.xattr.user.note", b"hi"),
            ("SCHILY.xattr.security.capability", &capability),
        ])
        .add(Head::new("./bin/tool", b'0', 5).mode(0o4750).owner(5, 6), b"hello")
        .add(
            Head::new("./bin/link", b'2', 0).mode(0o777).owner(7, 8).link("tool").with(136, b"00000000012\0"),
            b"",
        )
        .hardlink("./bin/other", "bin/tool")
        .add(Head::new("./dev/null", b'3', 0).mode(0o666).device(1, 3), b"")
        .add(Head::new("./dev/disk", b'4', 0).mode(0o600).device(8, 0), b"")
        .add(Head::new("./dev/pipe", b'6', 0).mode(0o622).owner(1, 1), b"");
    let done = jail.unpack(&archive).unwrap();
    assert_eq!((done.size, done.implied), (5, vec![b"dev".to_vec()]));

    let stat = |path: &str| jail.path(path).symlink_metadata().unwrap();
    let facts = |path: &str| (stat(path).mode() & 0o7777, stat(path).uid(), stat(path).gid());
    assert_eq!(facts(""), (0o711, 0, 0));
    assert_eq!(facts("bin"), (0o2755, 3, 4));
    assert_eq!(facts("bin/tool"), (0o4750, 5, 6));
    assert_eq!((stat("bin/link").uid(), stat("bin/link").mtime()), (7, 10));
    assert_eq!((stat("bin/tool").mtime(), stat("bin/tool").mtime_nsec()), (1000, 500_000_000));
    assert_eq!((stat("").mtime(), stat("bin").mtime()), (100, 101));
    assert_eq!(fs::read_link(jail.path("bin/link")).unwrap(), Path::new("tool"));
    assert_eq!(stat("bin/other").ino(), stat("bin/tool").ino());
    assert_eq!((facts("dev/null").0, stat("dev/null").rdev()), (0o666, rustix::fs::makedev(1, 3)));
    assert!(stat("dev/disk").file_type().is_block_device());
    assert_eq!((facts("dev/pipe"), stat("dev/pipe").file_type().is_fifo()), ((0o622, 1, 1), true));
    assert_eq!(facts("dev"), (0o755, 0, 0));
    // What the disk can't hold is counted.
    let note = xattr(&jail.path("bin/tool"), "user.note");
    assert_eq!(
        (note.as_deref(), done.dropped_xattrs),
        if note.is_some() { (Some(&b"hi"[..]), 0) } else { (None, 1) }
    );
    assert_eq!(xattr(&jail.path("bin/tool"), "security.capability").unwrap(), capability);
}

#[test]
fn sparse_files_have_their_holes() {
    let jail = Jail::new();
    let head =
        Head::new("s", b'S', 4).gnu().with(386, b"00000200000\x0000000000004\0").with(483, b"00020000000\0");
    let done = jail.unpack(&tar().add(head, b"data")).unwrap();
    let bytes = fs::read(jail.path("s")).unwrap();
    assert_eq!((bytes.len(), &bytes[0o200_000..0o200_004]), (0o20_000_000, &b"data"[..]));
    assert!(jail.path("s").metadata().unwrap().blocks() < 64);
    assert_eq!(done.size, 0o20_000_000);
}

#[test]
fn r18_paths_out_of_the_root_are_refused_or_stay_inside() {
    for path in ["../canary/bird", "a/../../canary/bird", "..", "a/..", "a/../b", "./../x", "/.."] {
        attack(&tar().file(path, b"evil"), Refused("`..` in the path"));
        attack(&tar().dir(path), Refused("`..` in the path"));
        attack(&tar().symlink(path, "x"), Refused("`..` in the path"));
        attack(&tar().file("ok", b"").hardlink("h", path), Refused("`..` in the path"));
    }
    attack(&tar().file("/etc/passwd", b"evil"), Inside("etc/passwd"));
    attack(&tar().file("//etc///./passwd", b"evil"), Inside("etc/passwd"));
    attack(&tar().file("", b""), Refused("an empty path"));
}

#[test]
fn r18_the_root_can_only_be_a_directory() {
    for path in [".", "/", "./"] {
        attack(&tar().dir(path), Inside(""));
        attack(&tar().symlink(path, "../canary"), Refused("the root can only be a directory"));
        attack(&tar().hardlink(path, "x"), Refused("the root can only be a directory"));
        attack(&tar().add(Head::new(path, b'6', 0), b""), Refused("the root can only be a directory"));
    }
    attack(&tar().file(".", b"x"), Refused("the root can only be a directory"));
}

#[test]
fn r18_links_out_of_the_root_lead_nowhere() {
    let base = Jail::new();
    let absolute = base.base.join("canary").to_str().unwrap().to_owned();
    for target in ["../canary", absolute.as_str(), "/../../../../canary", "../../canary"] {
        let link = tar().symlink("link", target);
        attack(&link, Inside("link"));
        // Where the link leads inside, nothing is, and a link that leads nowhere is not followed either.
        attack(&link.clone().file("link/bird", b"evil"), Refused("a link that leads nowhere"));
        attack(&link.clone().dir("link/sub"), Refused("a link that leads nowhere"));
        attack(&link.clone().symlink("link/sub", "x"), Refused("a link that leads nowhere"));
        attack(
            &link.clone().add(Head::new("link/n", b'3', 0).device(1, 3), b""),
            Refused("a link that leads nowhere"),
        );
        attack(&link.clone().file("x", b"").hardlink("link/h", "x"), Refused("a link that leads nowhere"));
        attack(&link.clone().hardlink("h", "link/bird"), Refused("not in this layer"));
        // The link itself is replaced, and what it pointed to is not opened, changed or emptied.
        attack(&link.clone().file("link", b"evil"), Inside("link"));
        attack(&link.clone().dir("link").file("link/bird", b"evil"), Inside("link/bird"));
        attack(&link.clone().add(Head::new("link", b'6', 0), b""), Inside("link"));
        attack(
            &link.clone().hardlink("h", "link").add(Head::new("h", b'0', 0).mode(0o777), b""),
            Inside("h"),
        );
    }
    base.assert_canary();
}

#[test]
fn r18_links_inside_the_root_are_followed_as_the_container_would() {
    let jail = Jail::new();
    let archive = tar().dir("usr").dir("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr/lib");
    jail.unpack(&archive.file("lib/a", b"1").file("abs/b", b"2").file("lib/c", b"3")).unwrap();
    for (name, text) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(fs::read_to_string(jail.path("usr/lib").join(name)).unwrap(), text);
    }
    assert!(jail.path("lib").is_symlink());
}

#[test]
fn r18_magic_links_loops_and_long_chains_are_refused() {
    attack(&tar().symlink("p", "/proc/self/root").file("p/x", b""), Refused("a link that leads nowhere"));
    attack(&tar().symlink("a", "b").symlink("b", "a").file("a/x", b""), Refused("open directory"));
    let chain = (0..41).fold(tar().dir("d0"), |tar, n| tar.symlink(&format!("d{}", n + 1), &format!("d{n}")));
    attack(&chain.file("d41/x", b""), Refused("open directory"));
    attack(&tar().file("f", b"").file("f/x", b""), Refused("not a directory"));
    attack(&tar().file("f", b"").symlink("l", "f").file("l/x", b""), Refused("not a directory"));
}

/// The control of R18: an unpacker that joins paths does what the attacks above want.
#[test]
fn r18_control_joined_paths_do_leave_the_root() {
    let jail = Jail::new();
    symlink("../canary", jail.path("link")).unwrap();
    fs::write(jail.path("link/bird"), "evil").unwrap();
    assert_eq!(fs::read_to_string(jail.base.join("canary/bird")).unwrap(), "evil");
}

#[test]
fn r18_hard_links_only_reach_what_is_in_this_layer() {
    attack(&tar().hardlink("h", "/etc/passwd"), Refused("not in this layer"));
    attack(&tar().hardlink("h", "h"), Refused("not in this layer"));
    attack(&tar().hardlink("h", "later").file("later", b""), Refused("not in this layer"));
    attack(&tar().dir("d").hardlink("h", "d"), Refused("a hard link to a directory"));
    attack(&tar().hardlink("h", "/"), Refused("a hard link to the root"));
    attack(&tar().file(".wh.gone", b"").hardlink("h", "gone"), Refused("is deleted in this layer"));
    // The same name again is harmless, and must not lose the file.
    let jail = Jail::new();
    jail.unpack(&tar().file("f", b"kept").hardlink("f", "f").hardlink("g", "f").hardlink("f", "g")).unwrap();
    assert_eq!(fs::read_to_string(jail.path("f")).unwrap(), "kept");
    // A device by another name is still that device, made by the archive itself.
    let device = Head::new("n", b'3', 0).device(1, 3);
    attack(&tar().add(device, b"").hardlink("h", "n"), Inside("h"));
}

#[test]
fn r18_what_is_in_the_way_is_unlinked() {
    let jail = Jail::new();
    let archive = tar()
        .dir("d")
        .file("d/x", b"")
        .symlink("d", "x")
        .file("f", b"old")
        .dir("f")
        .add(Head::new("p", b'6', 0), b"")
        .file("p", b"text")
        .dir("full")
        .file("full/x", b"")
        .file("full", b"file")
        .file("twice", b"a longer text")
        .file("twice", b"short");
    jail.unpack(&archive).unwrap();
    assert!(jail.path("d").is_symlink());
    assert!(jail.path("f").is_dir());
    assert_eq!(fs::read_to_string(jail.path("p")).unwrap(), "text");
    assert_eq!(fs::read_to_string(jail.path("full")).unwrap(), "file");
    assert_eq!(fs::read_to_string(jail.path("twice")).unwrap(), "short");
}

#[test]
fn r18_a_replaced_parent_is_not_written_to_any_more() {
    // The descriptor of `d` is kept from the file before; the link must win nevertheless.
    attack(
        &tar().dir("d").file("d/one", b"1").symlink("d", "../canary").file("d/bird", b"evil"),
        Refused("a link that leads nowhere"),
    );
    let jail = Jail::new();
    let archive = tar().dir("e").dir("d").file("d/one", b"").symlink("d", "e").file("d/two", b"");
    jail.unpack(&archive).unwrap();
    assert!(jail.path("e/two").exists());
    // The parent of the parent is replaced.
    let archive = tar().dir("a/b").file("a/b/one", b"").symlink("a", "c").dir("c/b").file("a/b/two", b"");
    jail.unpack(&archive).unwrap();
    assert!(jail.path("c/b/two").exists());
}

#[test]
fn r18_file_of_one_inode_is_not_written_through_another_name() {
    let jail = Jail::new();
    jail.unpack(&tar().file("a", b"first").hardlink("b", "a").file("b", b"second")).unwrap();
    assert_eq!(fs::read_to_string(jail.path("a")).unwrap(), "first");
    assert_eq!(fs::read_to_string(jail.path("b")).unwrap(), "second");
}

#[test]
fn strange_names_are_only_names() {
    for path in ["a\nb", "-rf", " ", "...", "\\..\\x", "a;reboot", "\u{7f}\u{1b}[2J", "CON", "é", "e\u{301}"]
    {
        attack(&tar().file(path, b"x"), Inside(path));
    }
    let jail = Jail::new();
    jail.unpack(&tar().add(Head::new("", b'0', 0).with(0, b"\xff\xfe"), b"").file("A", b"").file("a", b""))
        .unwrap();
    assert_eq!(fs::read_dir(jail.path("")).unwrap().count(), 3);
    let long = "n".repeat(256);
    attack(&tar().pax(&[("path", long.as_bytes())]).file("x", b""), Refused("create file"));
    let deep = "d/".repeat(1500);
    attack(&tar().pax(&[("path", format!("{deep}x").as_bytes())]).file("x", b""), Inside("d/d/d"));
}

#[test]
fn a_device_that_deletes_is_refused() {
    attack(&tar().add(Head::new("c", b'3', 0).device(0, 0), b""), Refused("0:0"));
    attack(&tar().add(Head::new("c", b'4', 0).device(0, 0), b""), Inside("c"));
}

#[test]
fn deletions_become_those_of_overlayfs() {
    let jail = Jail::new();
    let archive = tar()
        .file("d/.wh.gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"")
        // Deleted and made again, in both orders.
        .file(".wh.again", b"")
        .dir("again")
        .dir("before")
        .file(".wh.before", b"")
        .file(".wh.file", b"")
        .file("file", b"new");
    jail.unpack(&archive).unwrap();
    let gone = jail.path("d/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for path in ["opaque", "again", "before"] {
        assert_eq!(xattr(&jail.path(path), "trusted.overlay.opaque").unwrap(), b"y", "{path}");
    }
    assert_eq!(fs::read_to_string(jail.path("file")).unwrap(), "new");
}

#[test]
fn the_lowest_layer_has_nothing_to_delete() {
    let jail = Jail::new();
    let archive = tar().file("d/.wh.gone", b"").file("d/.wh..wh..opq", b"");
    jail.unpack_at(&archive, Position::Lowest).unwrap();
    assert_eq!(fs::read_dir(jail.path("d")).unwrap().count(), 0);
    assert_eq!(xattr(&jail.path("d"), "trusted.overlay.opaque"), None);
}

#[test]
fn r18_deletions_reach_nothing_else() {
    for name in [".wh.", ".wh..", ".wh..."] {
        attack(&tar().file(name, b""), Refused("a deletion of nothing"));
    }
    attack(&tar().file(".wh.x", b"data"), Refused("no empty file"));
    attack(&tar().dir(".wh.x"), Refused("no empty file"));
    attack(&tar().symlink(".wh.x", "../canary"), Refused("no empty file"));
    attack(&tar().file(".wh.x/y", b""), Refused("something below a deletion"));
    attack(&tar().file(".wh..wh.plnk", b""), Refused("not known"));
    attack(&tar().file(".wh..wh..opq", b"").file(".wh..wh..opq", b""), Inside(""));
    // A deletion of a link deletes the link, not what it leads to.
    attack(&tar().symlink("link", "../canary").file(".wh.link", b""), Inside("link"));
    attack(
        &tar().symlink("link", "../canary").file("link/.wh.bird", b""),
        Refused("a link that leads nowhere"),
    );
}

#[test]
fn r20_attributes_that_steer_the_engine_are_refused_and_labels_are_left_out() {
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy", "trusted.x"] {
        let key = format!("SCHILY.xattr.{name}");
        attack(&tar().pax(&[(key.as_str(), b"y")]).dir("d"), Refused("steer overlayfs"));
        attack(&tar().pax(&[(key.as_str(), b"y")]).file("f", b""), Refused("steer overlayfs"));
    }
    let jail = Jail::new();
    let labels = tar()
        .pax(&[("SCHILY.xattr.security.selinux", b"x"), ("SCHILY.xattr.security.ima", b"x")])
        .file("f", b"")
        .pax(&[("SCHILY.xattr.security.selinux", b"x")])
        .symlink("l", "f");
    assert_eq!(jail.unpack(&labels).unwrap().dropped_xattrs, 3);
    assert_eq!(xattr(&jail.path("f"), "security.ima"), None);
}

/// The control of R20: the kernel takes such an attribute from root without a word.
#[test]
fn r20_control_the_kernel_would_take_it() {
    let jail = Jail::new();
    rustix::fs::setxattr(jail.path(""), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    assert!(xattr(&jail.path(""), "trusted.overlay.opaque").is_some());
}

#[test]
fn r21_more_than_the_disk_holds_is_refused_before_it_is_written() {
    let huge = Head::new("f", b'0', 0).with(124, &[0x80, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0]);
    let jail = Jail::new();
    let error = jail.unpack(&tar().add(huge, b"")).unwrap_err();
    assert!(matches!(error, Error::DiskSpace { .. }), "{error}");
    assert_eq!(jail.path("f").metadata().unwrap().len(), 0);
}

#[test]
fn the_same_entry_a_hundred_thousand_times_is_one_file() {
    let jail = Jail::new();
    let one = tar().file("f", b"x");
    let many = Tar(one.0.repeat(20_000));
    jail.unpack(&many).unwrap();
    assert_eq!(fs::read_dir(jail.path("")).unwrap().count(), 1);
}

#[test]
fn times_far_away_are_taken_as_the_file_system_can() {
    let jail = Jail::new();
    for (name, mtime) in [("past", "-9223372036854775807"), ("future", "9223372036854775807")] {
        jail.unpack(&tar().pax(&[("mtime", mtime.as_bytes())]).file(name, b"")).unwrap();
        assert!(jail.path(name).exists());
    }
}

#[test]
fn unpacking_twice_gives_the_same() {
    let jail = Jail::new();
    let archive =
        tar().dir("d").file("d/f", b"x").symlink("d/l", "f").hardlink("d/h", "d/f").file(".wh.w", b"");
    jail.unpack(&archive).unwrap();
    jail.unpack(&archive).unwrap();
    assert_eq!(fs::read_dir(jail.path("d")).unwrap().count(), 3);
    let link = jail.path("d/h").metadata().unwrap();
    assert_eq!((link.nlink(), link.len()), (2, 1));
}

#[test]
fn r21_names_of_directories_are_kept_within_a_limit() {
    let mut memory = Memory { left: 3 * (10 + NAME_OVERHEAD) };
    assert_eq!([(); 4].map(|()| memory.keep(10)), [Some(()), Some(()), Some(()), None]);
    assert_eq!(Memory { left: usize::MAX }.keep(usize::MAX), Some(()));
}
