//! `skiff nsenter` against util-linux's `nsenter`.

use skiff_e2e::{Skiff, requires};

use super::{Target, same};

#[test]
fn nsenter_does_what_util_linux_does() {
    requires!(Root);
    let skiff = Skiff::new();
    let target = Target::new(&["-muinpC", "--mount-proc"]);
    let pid = target.number();
    let file = format!("/proc/{pid}/ns/net");
    let attached = format!("-n{file}");
    let long = format!("--net={file}");
    let cases: &[&[&str]] = &[
        &["--all", "sh", "-c", "ps -o comm; hostname"],
        &[
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "sh",
            "-c",
            "ls -l /proc/self/ns | grep -v children | grep -o '[a-z]*:.*'",
        ],
        &["-n", "readlink", "/proc/self/ns/net"],
        &["-p", "sh", "-c", "exit 7"],
        &["-p", "sh", "-c", "kill -TERM $$"],
        &["-p", "-F", "readlink", "/proc/self/ns/pid_for_children"],
        &["-r", "-w", "pwd"],
        &["--root=/", "--wd=/tmp", "pwd"],
        &["-m", "-W/tmp", "pwd"],
        &["-m", "--wdns=/usr", "pwd"],
        &["-S", "5", "-G", "6", "id"],
        &["-G6", "id"],
        &[&attached, "readlink", "/proc/self/ns/net"],
        &[&long, "readlink", "/proc/self/ns/net"],
        &["-a", "--net=/proc/self/ns/net", "readlink", "/proc/self/ns/net"],
        &["--", "echo", "-t"],
    ];
    for case in cases {
        same(&skiff, &[&["nsenter", "-t", &pid], *case].concat());
    }
}

#[test]
fn nsenter_becomes_root_of_the_user_namespace_unless_told_otherwise() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let target = Target::new(&["-U", "--map-user=7", "--map-group=8", "-n"]);
    let pid = target.number();
    for identity in [&["-S", "7", "-G", "8"][..], &["--preserve-credentials"]] {
        for namespaces in [&["-U"][..], &["-a"], &["-U", "-n"]] {
            let show = [
                "sh",
                "-c",
                "id; readlink /proc/self/ns/user /proc/self/ns/net; grep CapEff /proc/self/status",
            ];
            same(&skiff, &[&["nsenter", "-t", &pid], namespaces, identity, &show].concat());
        }
    }
    let root = Target::new(&["-r"]);
    same(&skiff, &["nsenter", "-t", &root.number(), "-U", "id"]);
}

#[test]
fn nsenter_refuses_what_util_linux_refuses() {
    requires!(Root);
    let skiff = Skiff::new();
    let target = Target::new(&["-mn"]);
    let pid = target.number();
    let wrong_kind = format!("--net=/proc/{pid}/ns/mnt");
    let cases: &[&[&str]] = &[
        &["-m", "true"],
        &["--all", "true"],
        &["-r", "true"],
        &["-t", "4194303", "-m", "true"],
        &["-t", "0", "-m", "true"],
        &["-t", &pid, "-n", "no-such-program"],
        &["-t", &pid, "-n", "/etc/passwd"],
        &["-t", &pid, "--root=/no/such/directory", "true"],
        &["-t", &pid, "--wd=/no/such/directory", "true"],
        &["-t", &pid, "-m", "--wdns=/no/such/directory", "true"],
        &["-t", &pid, "--wd=/", "--wdns=/", "true"],
        &["--net=/no/such/file", "true"],
        &["--net=/etc/passwd", "true"],
        &["--net=/", "true"],
        &[&wrong_kind, "true"],
        &["-S", "root", "true"],
        &["--no-such-flag"],
    ];
    for case in cases {
        same(&skiff, &[&["nsenter"], *case].concat());
    }
}

#[test]
fn a_file_that_is_no_namespace_is_named_as_such() {
    requires!(Root);
    let skiff = Skiff::new();
    let said = |arguments: &[&str]| skiff.run([&["nsenter"], arguments].concat()).code(1).stderr().to_owned();
    assert!(said(&["--net=/etc/passwd", "true"]).contains("/etc/passwd: it is not a namespace\nhint: "));
    assert!(said(&["--net=/proc/self/ns/uts", "true"]).contains("it is a uts namespace\n"));
    assert_eq!(said(&["-t", "4194303", "-n", "true"]), "skiff: there is no process 4194303\n");
    assert!(
        said(&["-t", "no-such-container", "-n", "true"]).contains("no container `no-such-container`\nhint: ")
    );
}

#[test]
fn a_fifo_in_the_place_of_a_namespace_does_not_hang() {
    requires!(Root);
    let skiff = Skiff::new();
    let fifo = skiff.scratch().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("make a FIFO");
    skiff
        .run(["nsenter", &format!("--net={}", fifo.display()), "true"])
        .code(1)
        .stderr_has("it is not a namespace");
}

#[test]
fn nsenter_joins_exactly_what_was_asked_for() {
    requires!(Root);
    let skiff = Skiff::new();
    let target = Target::new(&["-uinp"]);
    let own = |kind: &str| {
        std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link").display().to_string()
    };
    let output = skiff.run([
        "nsenter",
        "-t",
        &target.number(),
        "--uts",
        "readlink",
        "/proc/self/ns/uts",
        "/proc/self/ns/net",
    ]);
    output.success().stdout_is(&format!("{}\n{}\n", target.namespace("uts"), own("net")));
}
