//! R12, R13: who the process is, and what it may.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use skiff_e2e::{Command, Skiff, TestBundle, busybox_rootfs, requires};

use super::{Canary, hostile_image, refused, relink};

/// Docker's fourteen.
const DEFAULT: u64 = 0xa804_25fb;

/// `Cap…` of `/proc/self/status`.
fn capabilities(status: &str) -> BTreeMap<&str, u64> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(":\t"));
    let sets: BTreeMap<_, _> =
        lines.map(|(name, mask)| (name, u64::from_str_radix(mask, 16).expect("a mask"))).collect();
    assert_eq!(sets.len(), 5, "{status}");
    sets
}

fn sets(
    inheritable: u64,
    permitted: u64,
    effective: u64,
    bounding: u64,
    ambient: u64,
) -> BTreeMap<&'static str, u64> {
    [("Inh", inheritable), ("Prm", permitted), ("Eff", effective), ("Bnd", bounding), ("Amb", ambient)].into()
}

const STATUS: [&str; 3] = ["grep", "^Cap", "/proc/self/status"];

/// Capabilities that are inheritable and ambient, as a careless caller may have them.
const GENEROUS: [&str; 4] =
    ["setpriv", "--inh-caps=+sys_ptrace,+net_raw", "--ambient-caps=+sys_ptrace,+net_raw", "--"];

#[test]
fn r12_numbers_are_numbers_and_never_wrap_to_root() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    hostile_image(&skiff, "users", &[], |rootfs| {
        let lines = "1000:x:0:0::/:/bin/sh\nminus:x:-1:0::/:/bin/sh\nwrap:x:4294967296:0::/:/bin/sh\n\
            all:x:4294967295:4294967295::/:/bin/sh\nempty:x::::/:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\n";
        fs::write(rootfs.join("etc/passwd"), lines).unwrap();
        fs::write(rootfs.join("etc/group"), "1000:x:0:\nwrap:x:4294967296:\n").unwrap();
    });
    let id = |user: &str| skiff.run(["run", "--rm", "-u", user, "users", "sh", "-c", "id -u; id -g; id -G"]);
    id("1000:1000").success().stdout_is("1000\n1000\n1000\n");
    for wrong in [
        "4294967295",
        "4294967296",
        "2147483648",
        "18446744073709551616",
        "-1",
        "+0",
        "0x0",
        "1x",
        " 0",
        "0 ",
        "\u{660}",
        "minus",
        "wrap",
        "all",
        "empty",
        "nobody-knows",
        "0:4294967295",
        "0:wrap",
        "0:-1",
        ":0x",
        "root:nogroup",
    ] {
        let output = id(wrong);
        assert!(!output.stdout().starts_with("0\n"), "{wrong:?}: {output}");
        refused(output);
    }
    refused(skiff.run(["run", "--rm", "--group-add", "4294967295", "users", "true"]));
    refused(skiff.run(["run", "--rm", "--group-add", "wrap", "users", "true"]));
}

#[test]
fn r12_no_number_of_a_bundle_means_whoever_it_was() {
    requires!(Root);
    let skiff = Skiff::new();
    for (name, user) in [
        ("user", json!({ "uid": u32::MAX, "gid": 0 })),
        ("group", json!({ "uid": 1000, "gid": u32::MAX })),
        ("groups", json!({ "uid": 1000, "gid": 1000, "additionalGids": [u32::MAX] })),
        ("large", json!({ "uid": 1_u32 << 31, "gid": 0 })),
        ("negative", json!({ "uid": -1, "gid": 0 })),
        ("wrapped", json!({ "uid": 1_u64 << 32, "gid": 0 })),
    ] {
        let bundle = TestBundle::new(&skiff, name, &["id"]).with(|config| config["process"]["user"] = user);
        refused(skiff.command(["oci", "run", "--bundle"]).arg(bundle.path()).arg("c").output());
    }
    // The control: a process that asks the kernel for that user stays root.
    let ask = "import os; os.setresuid(-1, -1, -1); print(os.getuid())";
    Command::new("python3").args(["-c", ask]).output().success().stdout_is("0\n");
}

#[test]
fn r12_control_numbers_of_other_readers_do_wrap() {
    let wrapped = "4294967296".parse::<u64>().map(|number| number & 0xffff_ffff);
    assert_eq!(wrapped, Ok(0));
}

#[test]
fn r12_a_hostile_passwd_is_no_way_to_the_hosts_files_and_no_way_to_hang() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    let canary = Canary::new(&skiff, "canary");
    let passwd = canary.root.join("secret");
    fs::write(&passwd, "evil:x:0:0::/:/bin/sh\n").unwrap();
    type Change<'c> = &'c dyn Fn(&Path);
    let line = "evil:x:0:0::/:/bin/sh\n";
    let cases: [(&str, Change<'_>); 8] = [
        ("absolute", &|rootfs| relink(rootfs, "etc/passwd", passwd.to_str().unwrap())),
        ("dots", &|rootfs| relink(rootfs, "etc/passwd", &format!("../../../../../..{}", passwd.display()))),
        ("magic", &|rootfs| relink(rootfs, "etc/passwd", &format!("/proc/self/root{}", passwd.display()))),
        ("etc", &|rootfs| relink(rootfs, "etc", canary.path())),
        ("directory", &|rootfs| {
            fs::remove_file(rootfs.join("etc/passwd")).unwrap();
            fs::create_dir(rootfs.join("etc/passwd")).unwrap();
        }),
        ("fifo", &|rootfs| {
            fs::remove_file(rootfs.join("etc/passwd")).unwrap();
            mknodat(CWD, rootfs.join("etc/passwd"), FileType::Fifo, Mode::from(0o666), 0).unwrap();
        }),
        // A number that no driver has: to open it would be another error.
        ("device", &|rootfs| {
            fs::remove_file(rootfs.join("etc/passwd")).unwrap();
            let number = rustix::fs::makedev(240, 77);
            mknodat(CWD, rootfs.join("etc/passwd"), FileType::CharacterDevice, Mode::from(0o666), number)
                .unwrap();
        }),
        ("huge", &|rootfs| fs::write(rootfs.join("etc/passwd"), line.repeat(100_000)).unwrap()),
    ];
    for (name, change) in cases {
        hostile_image(&skiff, name, &[], change);
        let run = skiff.command(["run", "--rm", "-u", "evil", name, "id", "-u"]);
        let output = refused(run.time_limit(Duration::from_secs(20)).output());
        assert!(!output.stderr().contains("o such device"), "{output}");
    }
}

#[test]
fn r12_the_group_list_is_the_containers_own() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let groups = ["setpriv", "--groups", "7,8,9", "--"];
    let run = skiff.command(["run", "--rm", "-u", "user", "--group-add", "44", "box", "id", "-G"]);
    let output = run.wrapped(groups).output().success();
    let mut seen: Vec<&str> = output.text().split(' ').collect();
    seen.sort_unstable();
    assert_eq!(seen, ["1000", "2000", "44"]);
    // The control: a plain chroot keeps them.
    let root = skiff.scratch().join("root");
    busybox_rootfs(&root);
    let plain = Command::new("unshare").arg("--mount").arg("--root").arg(&root).args(["/bin/id", "-G"]);
    plain.wrapped(groups).output().success().stdout_has("7 8 9");
}

#[test]
fn r13_root_has_the_fourteen_and_nobody_else_any() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    let seen = |flags: &[&str]| {
        let words = ["run", "--rm"].iter().chain(flags).chain(&["box"]).chain(&STATUS);
        // The caller's own inheritable and ambient ones must not matter.
        let output = skiff.command(words).wrapped(GENEROUS).output().success();
        let found = capabilities(output.stdout());
        found.into_iter().map(|(name, mask)| (name.to_owned(), mask)).collect::<BTreeMap<_, _>>()
    };
    let owned = |sets: BTreeMap<&str, u64>| {
        sets.into_iter().map(|(name, mask)| (name.to_owned(), mask)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(seen(&[]), owned(sets(0, DEFAULT, DEFAULT, DEFAULT, 0)));
    assert_eq!(seen(&["-u", "1000"]), owned(sets(0, 0, 0, DEFAULT, 0)));
    assert_eq!(seen(&["-u", "1000", "--cap-add", "NET_ADMIN"]), owned(sets(0, 0, 0, DEFAULT | 1 << 12, 0)));
    assert_eq!(seen(&["--cap-drop", "ALL"]), owned(sets(0, 0, 0, 0, 0)));
    assert_eq!(seen(&["--init"]), owned(sets(0, DEFAULT, DEFAULT, DEFAULT, 0)));
}

#[test]
fn r13_control_a_plain_unshare_passes_on_what_the_caller_has() {
    requires!(Root);
    let output = Command::new("unshare").arg("--uts").args(STATUS).wrapped(GENEROUS).output().success();
    let seen = capabilities(output.stdout());
    assert!(seen["Amb"] != 0 && seen["Inh"] != 0, "{seen:?}");
}

#[test]
fn r13_unknown_names_are_errors_and_a_bundle_has_only_what_it_names() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    skiff.import_busybox("box");
    for wrong in ["FOO", "SYS_ADMI", "CAP_", "", "CAP_CAP_CHOWN", "21", "sys admin", "\u{17f}ys_admin"] {
        refused(skiff.run(["run", "--rm", "--cap-add", wrong, "box", "true"]));
        refused(skiff.run(["run", "--rm", "--cap-drop", wrong, "box", "true"]));
    }
    let none = TestBundle::new(&skiff, "bundle", &STATUS).with(|config| {
        config["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN"] });
    });
    let run = skiff.command(["oci", "run", "--bundle"]).arg(none.path()).arg("c").wrapped(GENEROUS);
    assert_eq!(capabilities(run.output().success().stdout()), sets(0, 0, 0, 1, 0));
}

#[test]
fn r13_a_set_user_id_program_gives_no_more_than_the_bounding_set() {
    requires!(Root, Overlay);
    let skiff = Skiff::new();
    hostile_image(&skiff, "setuid", &[], |rootfs| {
        // Not busybox, which drops what it gets that way.
        let copy = "cp -L --parents $(command -v cat) $(ldd $(command -v cat) | grep -o '/[^ ]*') \"$0\"; \
            cp -L $(command -v cat) \"$0/bin/suid\"; chmod 4755 \"$0/bin/suid\"";
        Command::new("sh").args(["-ec", copy]).arg(rootfs).output().success();
    });
    let command = ["setuid", "/bin/suid", "/proc/self/status"];
    let words = ["run", "--rm", "-u", "1000"].iter().chain(&command);
    assert_eq!(capabilities(skiff.run(words).success().stdout()), sets(0, DEFAULT, DEFAULT, DEFAULT, 0));
    let words = ["run", "--rm", "-u", "1000", "--security-opt", "no-new-privileges"].iter().chain(&command);
    assert_eq!(capabilities(skiff.run(words).success().stdout()), sets(0, 0, 0, DEFAULT, 0));
}
