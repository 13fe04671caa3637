//! R3 to R6: what is mounted where, and what of it anybody else sees.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use skiff_e2e::{Command, Skiff, TestBundle, requires};

use super::{Canary, SECRET, hostile_image, naive, refused, relink};

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("the host's mounts")
}

/// Where `script` is run: a mount namespace with a shared tmpfs at `$1`, which stands for the host.
fn host_with_shared_mounts(skiff: &Skiff, script: &str) -> Command {
    let at = skiff.scratch().join("shared");
    fs::create_dir(&at).expect("make a directory");
    naive(&format!("mount -t tmpfs tmpfs \"$1\"; mount --make-shared \"$1\"; {script}")).arg("sh").arg(at)
}

#[test]
fn r03_no_mount_of_a_container_is_ever_seen_outside() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let before = mountinfo();
    let source = skiff.scratch().join("source");
    fs::create_dir(&source).unwrap();
    let bind = format!("{}:/data", source.display());
    let flags = ["run", "--rm", "-i", "--privileged", "-v", &bind, "--tmpfs", "/t", "box"];
    let script = "mount -t tmpfs tmpfs /data; mount -t tmpfs tmpfs /mnt2; mount --make-rshared /; echo up; read x; true";
    let mut running = skiff.command(flags).args(["sh", "-c", &format!("mkdir /mnt2; {script}")]).spawn();
    running.stdout_until("up\n");
    assert_eq!(mountinfo(), before);
    running.finish().success();
    assert_eq!(mountinfo(), before);
    // The same where everything on the host is shared, as systemd has it.
    let line = skiff.command(flags).args(["sh", "-c", "mount -t tmpfs tmpfs /data && echo mounted"]).line();
    let script = format!(
        "mkdir \"$1/d\"; cat /proc/self/mountinfo >\"$1/before\"; {} </dev/null; \
         cat /proc/self/mountinfo >\"$1/after\"; cmp \"$1/before\" \"$1/after\"",
        line.replace(source.to_str().unwrap(), "\"$1/d\"")
    );
    host_with_shared_mounts(&skiff, &script).output().success().stdout_is("mounted\n");
}

#[test]
fn r03_control_a_plain_bind_of_a_shared_mount_does_propagate() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "mkdir \"$1/d\"; cat /proc/self/mountinfo >\"$1/before\"; \
        unshare --mount --propagation unchanged mount -t tmpfs tmpfs \"$1/d\"; \
        cat /proc/self/mountinfo >\"$1/after\"; ! cmp -s \"$1/before\" \"$1/after\"";
    host_with_shared_mounts(&skiff, script).output().success();
}

#[test]
fn r03_a_read_only_mount_has_no_writable_moment_and_no_writable_part() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    // The control is in the same place: a plain read-only bind leaves what is mounted below it writable.
    let line = |script: &str| {
        let bind = format!("{}:/data:ro", canary.path());
        skiff.command(["run", "--rm", "-v", &bind, "box", "sh", "-c", script]).line()
    };
    let attack = "for f in /data/x /data/a/x /data/a/sub/x; do echo pwned >$f && echo $f; done 2>/dev/null; \
        mount -o remount,rw,bind /data 2>/dev/null && echo remounted; true";
    let script = format!(
        "mount -t tmpfs tmpfs {0}/a; mkdir {0}/a/sub; {1}; \
         mkdir -p {0}/a/plain; mount --bind -o ro {0} /mnt; mount --rbind -o ro {0} /mnt; echo x >/mnt/a/control; ls {0}/a",
        canary.path(),
        line(attack)
    );
    naive(&script).output().success().stdout_is("control\nplain\nsub\n");
    canary.assert_untouched();
}

#[test]
fn r04_parameters_are_written_to_a_procfs_that_nobody_can_cover() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let fake = skiff.scratch().join("fake");
    fs::write(&fake, SECRET).unwrap();
    let target = "/proc/sys/net/ipv4/ip_default_ttl";
    let cover = format!("mount --bind {} {target}; ", fake.display());
    let run = ["run", "--rm", "--sysctl", "net.ipv4.ip_default_ttl=77", "box", "cat", target];
    naive(&(cover.clone() + &skiff.command(run).line())).output().success().stdout_is("77\n");
    assert_eq!(fs::read_to_string(&fake).unwrap(), SECRET);
    // The control: a write by the path goes to what lies over it.
    naive(&format!("{cover} echo 77 >{target}")).output().success();
    assert_eq!(fs::read_to_string(&fake).unwrap(), "77\n");
}

#[test]
fn r05_a_link_or_file_at_a_reserved_place_stops_the_start() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let (outside, dots) = (format!("{}/a", canary.path()), format!("../../../../../..{}/a", canary.path()));
    for place in ["proc", "sys", "dev"] {
        for (kind, target) in
            [("abs", outside.as_str()), ("dots", &dots), ("inside", "tmp"), ("self", "../proc/self")]
        {
            let name = format!("{place}-{kind}");
            hostile_image(&skiff, &name, &[], |rootfs| relink(rootfs, place, target));
            refused(skiff.run(["run", "--rm", &name, "true"])).stderr_has(&format!("/{place}"));
            canary.assert_untouched();
        }
        let name = format!("{place}-file");
        hostile_image(&skiff, &name, &[], |rootfs| {
            fs::remove_dir(rootfs.join(place)).unwrap();
            fs::write(rootfs.join(place), "").unwrap();
        });
        refused(skiff.run(["run", "--rm", &name, "true"])).stderr_has(&format!("/{place}"));
    }
}

#[test]
fn r05_control_mount_by_path_follows_the_link() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let rootfs = skiff.scratch().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    symlink(canary.root.join("a"), rootfs.join("proc")).unwrap();
    let script =
        format!("mount -t proc proc {}/proc; test -e {}/a/self/mem", rootfs.display(), canary.path());
    naive(&script).output().success();
}

#[test]
fn r05_nothing_covers_the_kernels_places() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let canary = Canary::new(&skiff, "canary");
    for target in ["/proc", "/proc/self", "/proc/self/attr", "/proc/sys", "/proc/../proc/1", "//proc//self/"]
    {
        let bind = format!("{}:{target}", canary.path());
        refused(skiff.run(["run", "--rm", "-v", &bind, "box", "true"]));
        refused(skiff.run(["run", "--rm", "--tmpfs", target, "box", "true"]));
    }
    for (destination, kind) in
        [("/proc", "tmpfs"), ("/proc/self/fd", "bind"), ("proc/self/attr/exec", "bind"), ("/proc/1", "tmpfs")]
    {
        let bundle = TestBundle::new(&skiff, &format!("bundle-{}", destination.replace('/', "-")), &["true"]);
        let bundle = bundle.with(|config| {
            let mount = json!({ "destination": destination, "type": kind, "source": canary.path(), "options": ["rbind"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
        refused(skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output());
    }
    canary.assert_untouched();
}

/// A bundle whose `/dev` is the directory `dev` of the scratch directory, made by `fill`.
fn bundle_with_foreign_dev(skiff: &Skiff, fill: impl FnOnce(&std::path::Path), more: Value) -> TestBundle {
    let dev = skiff.scratch().join("dev");
    fs::create_dir(&dev).expect("make a directory");
    fill(&dev);
    TestBundle::new(skiff, "bundle", &["cat", "/proc/interrupts"]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list of mounts");
        mounts.retain(|mount| !mount["destination"].as_str().expect("a destination").starts_with("/dev"));
        mounts.push(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] }));
        mounts.extend(more.as_array().expect("a list of mounts").iter().cloned());
        config["linux"]["maskedPaths"] = json!(["/proc/interrupts"]);
    })
}

#[test]
fn r05_a_link_in_a_foreign_dev_is_no_place_for_shm() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let shm = json!([{ "destination": "/dev/shm", "type": "tmpfs", "source": "shm" }]);
    let outside = format!("../../../../..{}/a", canary.path());
    let bundle = bundle_with_foreign_dev(&skiff, |dev| symlink(&outside, dev.join("shm")).unwrap(), shm);
    let output = skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output();
    refused(output).stderr_has("/dev/shm");
    canary.assert_untouched();
}

#[test]
fn r06_masks_are_made_of_our_own_null_device() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    hostile_image(&skiff, "null", &[], |rootfs| {
        fs::write(rootfs.join("dev/null"), SECRET).unwrap();
        relink(rootfs, "dev/zero", "null");
    });
    let script = "stat -c '%t:%T %a' /dev/null /proc/interrupts /dev/zero; cat /proc/interrupts /dev/null; echo x >/proc/interrupts; \
        ls -A /sys/firmware; touch /sys/firmware/x 2>/dev/null || echo refused";
    skiff
        .run(["run", "--rm", "null", "sh", "-c", script])
        .success()
        .stdout_is("1:3 666\n1:3 666\n1:5 666\nrefused\n");
    canary.assert_untouched();
}

#[test]
fn r06_a_null_that_is_none_stops_the_start() {
    requires!(Root);
    type Fill<'f> = &'f dyn Fn(&std::path::Path);
    let cases: [(&str, Fill<'_>); 3] = [
        ("file", &|dev| fs::write(dev.join("null"), SECRET).unwrap()),
        ("link", &|dev| symlink("full", dev.join("null")).unwrap()),
        ("device", &|dev| {
            let zero = rustix::fs::makedev(1, 5);
            mknodat(CWD, dev.join("null"), FileType::CharacterDevice, Mode::from(0o666), zero).unwrap();
        }),
    ];
    for (name, fill) in cases {
        let skiff = Skiff::new();
        let bundle = bundle_with_foreign_dev(
            &skiff,
            |dev| {
                let full = rustix::fs::makedev(1, 7);
                mknodat(CWD, dev.join("full"), FileType::CharacterDevice, Mode::from(0o666), full).unwrap();
                fill(dev);
            },
            json!([]),
        );
        let output = skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output();
        eprintln!("{name}");
        refused(output).stderr_has("mask /proc/interrupts");
    }
}

#[test]
fn r06_control_a_mask_of_whatever_is_called_null_shows_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let dev = skiff.scratch().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(dev.join("null"), SECRET).unwrap();
    let script = format!("mount --bind {}/null /proc/version; cat /proc/version", dev.display());
    naive(&script).output().success().stdout_is(SECRET);
}

#[test]
fn r06_a_device_takes_no_other_objects_place_and_changes_none() {
    requires!(Root);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let device =
        |path: &str| json!([{ "path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }]);
    let secret = format!("/data/{}", "secret");
    for (name, path) in [("file", secret.as_str()), ("directory", "/data/a"), ("link", "/link")] {
        let bundle = TestBundle::new(&skiff, name, &["true"]).with(|config| {
            let mount = json!({ "destination": "/data", "type": "bind", "source": canary.path(), "options": ["rbind"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
            config["linux"]["devices"] = device(path);
        });
        symlink(canary.root.join("secret"), bundle.rootfs().join("link")).unwrap();
        refused(skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output())
            .stderr_has(path);
        canary.assert_untouched();
    }
}
