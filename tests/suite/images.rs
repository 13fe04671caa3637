//! Images: imported and loaded in every form that real tools write, run, listed, held and removed; and what is left
//! when any of it is refused, fails or is killed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use skiff_e2e::{Command, Skiff, busybox_archive, busybox_rootfs, requires};

/// `tar --create` of a directory.
fn archive_of(directory: &Path, archive: &Path) {
    let tar = Command::new("tar").args(["--create", "--numeric-owner", "--file"]).arg(archive);
    tar.arg("--directory").arg(directory).arg(".").output().success();
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().success();
    output.stdout().split(' ').next().expect("a digest").to_owned()
}

/// What `docker save` writes of an image of two layers, of which the upper one deletes and adds files.
fn saved_image(skiff: &Skiff, tag: &str) -> PathBuf {
    let work = skiff.scratch().join("saved");
    let (lower, upper, image) = (work.join("lower"), work.join("upper"), work.join("image"));
    for directory in [&lower, &upper.join("data"), &upper.join("fresh"), &image] {
        fs::create_dir_all(directory).expect("make a directory of the image");
    }
    busybox_rootfs(&lower);
    for (directory, file) in [("data", "old"), ("data", "kept"), ("fresh", "old")] {
        fs::create_dir_all(lower.join(directory)).expect("make a directory");
        fs::write(lower.join(directory).join(file), "lower").expect("write a file");
    }
    fs::write(upper.join("data/.wh.old"), "").expect("write a deletion");
    fs::write(upper.join("data/new"), "upper").expect("write a file");
    fs::write(upper.join("fresh/.wh..wh..opq"), "").expect("write a deletion of all");
    for (layer, name) in [(&lower, "1.tar"), (&upper, "2.tar")] {
        archive_of(layer, &image.join(name));
    }
    let diff_ids: Vec<String> =
        ["1.tar", "2.tar"].iter().map(|name| format!("sha256:{}", sha256(&image.join(name)))).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
        "config": {"Cmd": ["cat", "/data/new"], "Env": ["PATH=/bin", "GREETING=hello"], "WorkingDir": "/data"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    fs::write(image.join("config.json"), config.to_string()).expect("write the configuration");
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["1.tar", "2.tar"]}]);
    fs::write(image.join("manifest.json"), manifest.to_string()).expect("write the manifest");
    let archive = skiff.scratch().join("saved.tar");
    archive_of(&image, &archive);
    fs::remove_dir_all(&work).expect("remove what was archived");
    archive
}

/// `skopeo copy FROM TO`, with nothing asked about signatures. As root it keeps a cache in `/var/lib`, wherever its
/// home is: in a mount namespace of its own nothing of that stays.
fn skopeo(from: &str, to: &str) {
    let skopeo = Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", from, to]);
    let alone = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /var/lib && exec \"$@\"", "sh"];
    skopeo.wrapped(alone).output().success();
}

/// Checks that the image of [`saved_image`] is whole, by what a container of it sees.
#[track_caller]
fn check_saved_image(skiff: &Skiff, name: &str) {
    skiff.run(["run", "--rm", name]).success().stdout_is("upper");
    let script = "pwd; echo $GREETING; ls; ls /fresh";
    skiff.run(["run", "--rm", name, "sh", "-c", script]).success().stdout_is("/data\nhello\nkept\nnew\n");
}

#[test]
fn a_root_file_system_is_imported_whatever_its_compression_and_runs() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let archive = busybox_archive(skiff.scratch(), "box");
    let mut lines = 1;
    for (suffix, compressor) in [("", "true"), (".gz", "gzip"), (".xz", "xz"), (".zst", "zstd")] {
        Command::new(compressor).args(["-k", "-f"]).arg(&archive).output().success();
        let file = format!("{}{suffix}", archive.display());
        let name = format!("box:t{}", suffix.replace('.', "-"));
        let id = skiff.run(["import", &file, &name]).success().stdout().trim().to_owned();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        skiff.run(["run", "--rm", &name, "echo", "inside"]).success().stdout_is("inside\n");
        skiff.run(["run", "--rm", &id, "id", "-u"]).success().stdout_is("0\n");
        lines += 1;
        assert_eq!(skiff.run(["images"]).success().stdout().lines().count(), lines + 1);
    }
    // One root file system, one layer on the disk.
    assert_eq!(fs::read_dir(skiff.root().join("layers")).expect("layers").count(), 1);
}

#[test]
fn an_archive_is_imported_from_a_pipe_with_changes() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let archive = fs::read(busybox_archive(skiff.scratch(), "box")).expect("read the archive");
    let changes = ["-c", "CMD echo $A", "-c", "ENV A=changed", "--change", "USER user"];
    let words = ["import"].iter().chain(&changes).chain(&["-", "box"]);
    skiff.command(words).stdin(archive).output().success();
    skiff.run(["run", "--rm", "box"]).success().stdout_is("changed\n");
    skiff.run(["run", "--rm", "box", "id", "-un"]).success().stdout_is("user\n");
}

#[test]
fn what_docker_saves_is_loaded_and_runs() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let archive = saved_image(&skiff, "saved:1");
    let output = skiff.command(["load", "-i"]).arg(&archive).output().success();
    output.stdout_is("Loaded image: saved:1\n");
    check_saved_image(&skiff, "saved:1");
    // The same from a pipe, compressed as a whole.
    Command::new("gzip").args(["-k"]).arg(&archive).output().success();
    let zipped = fs::read(archive.with_extension("tar.gz")).expect("read the archive");
    let other = skiff.another();
    other.command(["load", "-q"]).stdin(zipped).output().success().stdout_has("sha256:");
    check_saved_image(&other, "saved:1");
}

#[test]
fn what_skopeo_writes_is_loaded_and_is_the_same_image() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let saved = saved_image(&skiff, "saved:1");
    let from = format!("docker-archive:{}", saved.display());
    let oci = skiff.scratch().join("oci.tar");
    skopeo(&from, &format!("oci-archive:{}:by/oci:2", oci.display()));
    let docker = skiff.scratch().join("docker.tar");
    skopeo(&from, &format!("docker-archive:{}:by/docker:3", docker.display()));
    let mut ids = Vec::new();
    for (archive, name) in [(&saved, "saved:1"), (&oci, "by/oci:2"), (&docker, "by/docker:3")] {
        skiff
            .command(["load", "-i"])
            .arg(archive)
            .output()
            .success()
            .stdout_is(&format!("Loaded image: {name}\n"));
        check_saved_image(&skiff, name);
        ids.push(skiff.run(["images", "-q", "--no-trunc", name]).success().stdout().to_owned());
    }
    // Skopeo writes the configuration anew for OCI, which makes another id; Docker's keeps its own.
    assert!(ids[0] == ids[2] && ids.iter().all(|id| id.starts_with("sha256:")), "{ids:?}");
    // The layers are the same two for all of them.
    assert_eq!(fs::read_dir(skiff.root().join("layers")).expect("layers").count(), 2);
}

#[test]
fn images_are_listed_and_removed_with_all_they_had() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.run(["images"]).success().stdout_has("host");
    let archive = busybox_archive(skiff.scratch(), "box");
    let import = |name: &str| skiff.command(["import"]).arg(&archive).arg(name).output().success();
    import("box:one");
    import("localhost:5000/box:two");
    let mut table = skiff.run(["images"]).success();
    for part in ["REPOSITORY", "IMAGE ID", "box", "one", "localhost:5000/box", "ago", "MB"] {
        table = table.stdout_has(part);
    }
    skiff.run(["images", "box"]).success().stdout_has("one");
    let short = skiff.run(["images", "-q", "box:one"]).success().stdout().trim().to_owned();
    assert_eq!(short.len(), 12);
    skiff.run(["rmi", "box:one"]).success().stdout_has("Untagged: box:one\nDeleted: sha256:");
    skiff.run(["run", "--rm", "localhost:5000/box:two", "true"]).success();
    skiff.run(["rmi", "box:one"]).code(1).stderr_has("no such image: box:one");
    skiff
        .run(["rmi", "nothing", "localhost:5000/box:two"])
        .code(1)
        .stdout_has("Untagged: localhost:5000/box:two");
    for place in
        ["layers", "content/blobs/sha256", "content/images", "content/refs", "drafts", "content/ingest"]
    {
        let left: Vec<_> = fs::read_dir(skiff.root().join(place)).expect(place).collect();
        assert!(left.is_empty(), "{place}: {left:?}");
    }
}

#[test]
fn an_image_stays_as_long_as_a_container_needs_it() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let archive = busybox_archive(skiff.scratch(), "box");
    skiff.command(["import"]).arg(&archive).arg("box").output().success();
    let mut running =
        skiff.command(["run", "--rm", "-i", "box", "sh", "-c", "echo up; read x; ls /bin/sh"]).spawn();
    running.stdout_until("up\n");
    skiff.run(["rmi", "box"]).code(1).stderr_has("is used by container").stderr_has("--force");
    skiff.run(["rmi", "--force", "box"]).success();
    skiff.run(["run", "--rm", "box", "true"]).code(125).stderr_has("no image");
    // Its layers are still there, until it ends.
    running.write("\n");
    running.finish().success().stdout_has("/bin/sh");
}

#[test]
fn bad_input_is_one_sentence_and_leaves_nothing() {
    requires!(Root);
    let skiff = Skiff::new();
    let directory = skiff.scratch().join("bad");
    fs::create_dir(&directory).expect("make a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("write an archive");
        path.to_str().expect("a plain name").to_owned()
    };
    let (text, bzip2) = (file("text", &[b'x'; 2000]), file("bzip2", b"BZh91AY&SY"));
    for (words, part) in [
        (&["import", "/nowhere/at.tar", "x"][..], "open /nowhere/at.tar: No such file or directory"),
        (&["import", &text, "x"], "this is no tar archive"),
        (&["import", &bzip2, "x"], "bzip2 is not supported"),
        (&["import", &text, "Upper"], "must be lower case"),
        (&["import", &text, "host"], "host is built in"),
        (&["import", "http://a/b.tar", "x"], "are not downloaded"),
        (&["import", "-c", "RUN x", &text, "x"], "invalid change"),
        (&["load", "-i", &text], "this is no tar archive"),
        (&["load", "-i", directory.to_str().expect("a plain name")], "directory"),
        (&["rmi", "host"], "host is built in"),
        (&["rmi"], "IMAGE"),
        (&["rmi", "none"], "skiff: no such image: none\nhint: `skiff images`"),
        (&["images", "A B"], "must be lower case"),
        (&["images", "a b"], "invalid image name \"a b\": it is NAME[:TAG]"),
    ] {
        let output = skiff.run(words).failure().stderr_has(part);
        assert!(output.stdout().is_empty(), "{words:?} printed {}", output.stdout());
    }
    let empty = busybox_archive(&directory, "box");
    skiff.command(["load", "-i"]).arg(&empty).output().failure().stderr_has("no archive of images");
    skiff.command(["load"]).pty(80, 24).wait();
    for place in ["layers", "content/blobs/sha256", "content/images", "drafts", "content/ingest"] {
        let left = fs::read_dir(skiff.root().join(place)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{place}");
    }
}

/// Hostile archives through the door of `import`, made by a real `tar` that was told to.
#[test]
fn r18_hostile_archives_touch_nothing_outside() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = skiff.scratch().join("canary");
    fs::write(&canary, "sings").expect("write the canary");
    let work = skiff.scratch().join("work");
    fs::create_dir_all(work.join("d")).expect("make a directory");
    fs::write(work.join("d/evil"), "evil").expect("write a file");
    std::os::unix::fs::symlink(skiff.scratch(), work.join("link")).expect("make a link");
    let tar = |name: &str, words: &[&str]| {
        let path = skiff.scratch().join(name);
        let tar = Command::new("tar").args(["--create", "--absolute-names", "--file"]).arg(&path);
        tar.arg("--directory").arg(&work).args(words).output().success();
        path
    };
    let up = tar("up.tar", &["--transform", "s,d/evil,../../../canary,", "d/evil"]);
    let through = tar("through.tar", &["--transform", "s,d/evil,link/canary,", "link", "d/evil"]);
    for archive in [&up, &through] {
        skiff.command(["import"]).arg(archive).arg("x").output().failure().stderr_has("archive entry");
        assert_eq!(fs::read_to_string(&canary).expect("the canary"), "sings");
    }
    skiff.run(["images", "-q"]).success().stdout_is("");
    // The control: tar itself, told not to care, writes through the link.
    let out = skiff.scratch().join("out");
    fs::create_dir(&out).expect("make a directory");
    let naive =
        Command::new("tar").args(["--extract", "--absolute-names", "--keep-directory-symlink", "--file"]);
    naive.arg(&through).arg("--directory").arg(&out).output().success();
    assert_eq!(fs::read_to_string(&canary).expect("the canary"), "evil");
}

/// The steps of an import, in their order.
const STEPS: &[&str] = &[
    "image.write-blob",
    "image.unpack-entry",
    "image.publish-layer",
    "image.publish-blob",
    "image.sync",
    "store.replace",
    "store.rename",
];

#[test]
fn r34_an_import_that_fails_or_is_killed_at_any_step_leaves_nothing_visible() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let archive = busybox_archive(skiff.scratch(), "box");
    let import = |name: &str| skiff.command(["import"]).arg(&archive).arg(name);
    import("kept").output().success();
    let kept = skiff.run(["images", "-q", "--no-trunc"]).success().stdout().to_owned();
    for step in STEPS {
        for action in ["err:ENOSPC", "kill"] {
            let output = import("new").env("SKIFF_FAIL", format!("{step}={action}")).output();
            assert!(!output.status.success(), "{step}={action} did not happen");
            if action == "kill" {
                assert_eq!(output.status.signal(), Some(9), "{step}");
            } else {
                assert!(output.stderr().contains("No space left on device"), "{step}: {}", output.stderr());
            }
            skiff.run(["images", "-q", "new"]).success().stdout_is("");
            skiff.run(["run", "--rm", "kept", "true"]).success();
        }
    }
    import("new").output().success();
    skiff.run(["run", "--rm", "new", "true"]).success();
    for place in ["drafts", "content/ingest"] {
        let left = fs::read_dir(skiff.root().join(place)).expect(place).count();
        assert_eq!(left, 0, "{place} was not swept");
    }
    // An image whose record was written and whose name was not may be listed without a name; nothing else may.
    let all = skiff.run(["images"]).success();
    assert!(all.stdout().contains("kept") && kept.starts_with("sha256:"));
    for line in all.stdout().lines().skip(1) {
        assert!(["kept", "new", "host", "<none>"].iter().any(|name| line.starts_with(name)), "{line}");
    }
}

#[test]
fn r21_memory_does_not_grow_with_the_archive() {
    requires!(Root);
    let skiff = Skiff::new();
    let work = skiff.scratch().join("work");
    fs::create_dir(&work).expect("make a directory");
    let big = fs::File::create(work.join("big")).expect("make a file");
    big.set_len(200 << 20).expect("make it big");
    let archive = skiff.scratch().join("big.tar");
    archive_of(&work, &archive);
    Command::new("gzip").args(["--fast"]).arg(&archive).output().success();
    let zipped = archive.with_extension("tar.gz");
    // Stacks of threads count here too, used or not.
    let import = skiff.command(["import"]).arg(&zipped).arg("big").wrapped(["prlimit", "--as=67108864"]);
    import.output().success();
}
