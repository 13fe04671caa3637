//! `skiff lsns` against util-linux's `lsns`, and `skiff ns show`.

use std::os::unix::process::ExitStatusExt as _;

use skiff_e2e::{Command, Skiff, requires};

use super::{Target, fields};

#[test]
fn lsns_prints_what_util_linux_prints_about_a_process() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let target = Target::new(&["-muinpUC", "--map-root-user"]);
    let pid = target.number();
    let all = "NS,TYPE,PATH,NPROCS,PID,PPID,COMMAND,UID,USER,NETNSID,NSFS,PNS,ONS";
    let cases: &[&[&str]] = &[
        &["--list", "-p", &pid, "-t", "pid", "-t", "mnt"],
        &["-l", "-n", "-p", &pid, "-t", "user", "-t", "ipc", "-t", "cgroup"],
        &["-l", "-p", &pid, "-o", all, "-t", "net", "-t", "pid", "-t", "user"],
        &["-l", "-p", &pid, "-o", "+PATH", "-t", "uts"],
        &["-l", "-r", "-p", &pid, "-o", all, "-t", "net", "-t", "pid", "-t", "user"],
        &["-l", "-p", &pid, "-t", "net"],
        &["-l", "-p", &pid, "-t", "uts", "-t", "pid", "-o", "type,ns"],
        &["-l", "-r", "-n", "-p", &pid, "-o", "NS", "--type", "user"],
        &["--list", "-p", "4194303"],
    ];
    for case in cases {
        let ours = skiff.command(["lsns"]).args(*case).output();
        let theirs = Command::new("lsns").args(*case).output();
        assert_eq!(fields(&ours), fields(&theirs), "{case:?}");
        assert_eq!(ours.status, theirs.status, "{case:?}");
        assert_eq!(ours.stderr(), "");
    }
}

#[test]
fn lsns_json_is_that_of_util_linux() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let target = Target::new(&["-muinpUC", "--map-root-user"]);
    let columns = "NS,TYPE,PATH,NPROCS,PID,PPID,COMMAND,UID,USER,NETNSID,NSFS,PNS,ONS";
    // Not the time namespace: all processes of the machine are in it, and they come and go.
    let kinds = ["mnt", "uts", "ipc", "net", "pid", "user", "cgroup"].map(|kind| ["-t", kind]);
    let pid = target.number();
    let arguments = [&["-J", "-l", "-p", &pid, "-o", columns], kinds.as_flattened()].concat();
    let theirs = Command::new("lsns").args(&arguments).output().success().json();
    assert_eq!(skiff.command(["lsns"]).args(&arguments).output().success().json(), theirs);
    assert_eq!(theirs["namespaces"].as_array().map(Vec::len), Some(7));
}

#[test]
fn lsns_refuses_what_util_linux_refuses() {
    requires!(Root);
    let skiff = Skiff::new();
    for case in [
        &["-t", "planet"][..],
        &["-o", "COLOUR"],
        &["-T", "aunt"],
        &["123"],
        &["-p", "x"],
        &["--no-such-flag"],
    ] {
        let ours = skiff.command(["lsns"]).args(case).output();
        let theirs = Command::new("lsns").args(case).output();
        assert_eq!(ours.status.code(), theirs.status.code(), "{case:?}: {}", ours.text());
        assert_eq!(ours.stdout(), "");
    }
}

#[test]
fn the_trees_show_who_owns_made_and_started_whom() {
    requires!(Root, UserNamespaces);
    let skiff = Skiff::new();
    let target = Target::new(&["-Upn", "--map-root-user"]);
    let number = |kind: &str| {
        let link = target.namespace(kind);
        link.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>().expect("an inode")
    };
    let find = |relation: &str| {
        let tree = skiff.run(["lsns", "-J", &format!("--tree={relation}")]).success().json();
        tree["namespaces"].clone()
    };
    let children = |tree: &serde_json::Value, of: u64| -> Vec<u64> {
        fn node(list: &serde_json::Value, of: u64) -> Option<&serde_json::Value> {
            let list = list.as_array()?;
            list.iter()
                .find_map(|entry| if entry["ns"] == of { Some(entry) } else { node(&entry["children"], of) })
        }
        let found = node(tree, of).expect("the namespace is in the tree");
        found["children"].as_array().into_iter().flatten().filter_map(|child| child["ns"].as_u64()).collect()
    };
    let own = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link").display().to_string();
        link.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>().expect("an inode")
    };
    let mut owned = children(&find("owner"), number("user"));
    owned.sort_unstable();
    let mut expected = [number("pid"), number("net")];
    expected.sort_unstable();
    assert_eq!(owned, expected);
    assert!(children(&find("parent"), own("pid")).contains(&number("pid")));
    assert!(children(&find("parent"), own("user")).contains(&number("user")));
    assert!(children(&find("process"), own("net")).contains(&number("net")));
}

#[test]
fn a_namespace_as_an_argument_lists_its_processes() {
    requires!(Root);
    let skiff = Skiff::new();
    let target = Target::new(&["-p"]);
    let link = target.namespace("pid");
    let inode = link.trim_matches(|letter: char| !letter.is_ascii_digit());
    let theirs = Command::new("lsns").arg(inode).output().success();
    assert_eq!(fields(&skiff.run(["lsns", inode]).success()), fields(&theirs));
    let output = skiff.run(["lsns", "-n", inode]).success();
    assert_eq!(
        fields(&output),
        [[target.number().as_str(), &fields(&output)[0][1], "root", "sleep", "1000"]]
    );
}

#[test]
fn a_process_that_names_itself_cannot_steer_the_terminal() {
    requires!(Root);
    let skiff = Skiff::new();
    let evil = "\u{1b}[2Jred\n";
    let script = "exec -a \"$0\" sleep 1000";
    let mut target = std::process::Command::new("unshare");
    target.args(["--uts", "bash", "-c", script, evil]);
    let mut target = target.spawn().expect("run unshare");
    let pid = target.id().to_string();
    let named = || {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.starts_with(evil))
            .then_some(())
    };
    let deadline = skiff_e2e::Deadline::after(std::time::Duration::from_secs(20));
    let is_named = deadline.until(named).is_some();
    let output = skiff.run(["lsns", "-n", "-l", "-p", &pid, "-t", "uts", "-o", "COMMAND"]);
    let shown = skiff.run(["ns", "show", &pid]);
    target.kill().and_then(|()| target.wait()).expect("end the target");
    assert!(is_named);
    output.success().stdout_is("\\x1b[2Jred\\x0a 1000\n");
    assert!(!shown.success().stdout().contains('\u{1b}'));
}

#[test]
fn ns_show_says_what_is_shared_with_whom() {
    requires!(Root);
    let skiff = Skiff::new();
    let first = Target::new(&["-un"]);
    let output = Command::new("nsenter").args(["-t", &first.number(), "-n"]);
    let mut second = output.args(["sh", "-c", "echo $$; exec sleep 1000"]).spawn();
    let number = second.stdout_until("\n").trim().to_owned();
    let shown = skiff.run(["ns", "show", &first.number(), &number]).success();
    let shown = shown
        .stdout_has(&format!("{} has uts to itself; shares mnt ipc pid user cgroup", first.number()))
        .stdout_has(&format!("shares net with {number}\n"))
        .stdout_has(&format!("{number} has nothing to itself; "));
    let net = fields(&shown).into_iter().find(|row| row[0] == "net").expect("a row for net");
    assert_eq!((net[1].as_str(), net[3].as_str(), net[5].as_str()), ("A", "B", "B"));
    assert_eq!(net[4], net[6]);
    second.signal(rustix::process::Signal::KILL);
    assert_eq!(second.finish().status.signal(), Some(9));
}

#[test]
fn ns_show_has_a_row_for_children_that_go_elsewhere() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "echo $$; read -r _";
    let mut running = skiff.command(["unshare", "--pid", "--no-fork", "sh", "-c", script]).spawn();
    let pid = running.stdout_until("\n").trim().to_owned();
    let shown = skiff.run(["ns", "show", &pid]).success();
    // Without a first process the namespace has no link yet, and there is nothing to show.
    assert!(!shown.stdout().contains("pid_for_children"), "{}", shown.stdout());
    running.write("\n");
    running.finish().success();

    let script = "sleep 1000 & echo $$; read -r _; kill -KILL $!";
    let mut running = skiff.command(["unshare", "--pid", "--no-fork", "sh", "-c", script]).spawn();
    let pid = running.stdout_until("\n").trim().to_owned();
    skiff.run(["ns", "show", &pid]).success().stdout_has("\npid_for_children");
    running.write("\n");
    running.finish().success();
}

#[test]
fn ns_show_of_nothing_is_an_error_with_a_hint() {
    requires!(Root);
    let skiff = Skiff::new();
    skiff.run(["ns", "show", "4194303"]).code(1).stderr_is("skiff: there is no process 4194303\n");
    skiff.run(["ns", "show", "no-such"]).code(1).stderr_has("skiff: no container `no-such`\nhint: ");
}

#[test]
fn an_unprivileged_user_sees_its_own_namespaces() {
    requires!(Root);
    let skiff = Skiff::new();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let run = |arguments: &[&str]| skiff.command(arguments).wrapped(nobody).output();
    let listed = run(&["lsns", "-n", "-r", "-l", "-o", "TYPE,USER"]).success();
    assert!(listed.stdout().lines().count() >= 7, "{}", listed.stdout());
    // The host's may not be looked at, but the numbers of the first namespaces are known.
    run(&["ns", "show"]).success().stdout_has("shares uts ipc pid user cgroup").stdout_has(" with host\n");
}
