//! The labs of the seed that need no container, typed as they stand there: A1 to A8, D1 and D2.
//!
//! Where today's tools fail (A4, D2), the page is right and Skiff does what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use skiff_e2e::{Command, Pty, Skiff, busybox_rootfs, requires};

/// The line of the seed's second lab.
const UNSHARE: [&str; 8] = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "/bin/bash"];

/// A shell at a terminal, at which the lines of a lab are typed.
struct Shell(Pty);

impl Shell {
    /// The shell that `command` starts.
    #[track_caller]
    fn of(command: Command) -> Self {
        // Without colours, so that what comes back is what was written.
        let mut pty = command.env("TERM", "dumb").pty(200, 50);
        // The prompt is put together, so that it isn't in the line that sets it.
        pty.send("PS1='see''d> '\n");
        pty.expect("\nseed> ");
        Self(pty)
    }

    /// Types `line` and returns what was written until the next prompt.
    #[track_caller]
    fn line(&mut self, line: &str) -> String {
        self.0.send(format!("{line}\n"));
        let text = self.0.expect("seed> ");
        let text = text.strip_suffix("seed> ").unwrap_or(&text).replace('\r', "");
        // The first line is the echo of what was typed.
        text.split_once('\n').map_or(String::new(), |(_, answer)| answer.to_owned())
    }

    /// Leaves the shell, and expects that all is well.
    #[track_caller]
    fn exit(mut self) {
        self.0.send("exit\n");
        let (code, rest) = self.0.wait();
        assert_eq!(code, 0, "{rest}");
    }
}

/// The shell of the seed's second lab.
#[track_caller]
fn unshared(skiff: &Skiff) -> Shell {
    Shell::of(skiff.command(UNSHARE))
}

fn hostname() -> String {
    Command::new("hostname").output().success().stdout().to_owned()
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("read the mounts of the machine")
}

/// The links in the listing of `ls -l /proc/PID/ns/`, by name.
fn links(listing: &str) -> BTreeMap<String, String> {
    // On a terminal, ls quotes what a shell would take apart.
    let link = |line: &str| {
        let (name, target) = line.split_once(" -> ")?;
        Some((name.rsplit(' ').next()?.to_owned(), target.trim_matches(['\'', ' ']).to_owned()))
    };
    listing.lines().filter_map(link).collect()
}

#[test]
fn a1_all_processes_share_the_same_namespaces_by_default() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut shell = Shell::of(Command::new("/bin/bash"));
    let answer = shell.line(r#"echo "Current shell PID: $$""#);
    let pid = answer.trim().strip_prefix("Current shell PID: ").expect("the number of the shell").to_owned();
    let listing = links(&shell.line("ls -l /proc/$$/ns/"));
    assert!(listing.contains_key("pid_for_children"), "{listing:?}");

    let shown = skiff.run(["ns", "show", "--json", &pid]).success();
    let shown = shown.json();
    let (host, shell_shown) = (&shown[0], &shown[1]);
    assert_eq!((host["name"].as_str(), shell_shown["name"].as_str()), (Some("host"), Some(pid.as_str())));
    let namespaces = shell_shown["namespaces"].as_object().expect("the namespaces of the shell");
    assert!(namespaces.len() >= 7, "{namespaces:?}");
    for (kind, inode) in namespaces {
        assert_eq!(listing.get(kind), Some(&format!("{kind}:[{inode}]")));
        assert_eq!(host["namespaces"][kind], *inode, "the shell shares {kind} with the host");
    }
    let table = skiff.run(["ns", "show", &pid]).success();
    table.stdout_has(&format!("{pid} has nothing to itself; shares mnt uts ipc net pid user cgroup"));
    shell.exit();
}

#[test]
fn a2_a_new_shell_has_new_namespaces() {
    requires!(Root);
    let skiff = Skiff::new();
    let outside =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).expect("a link").display().to_string();
    let mut shell = unshared(&skiff);
    let inside = links(&shell.line("ls -l /proc/self/ns/"));
    for kind in ["mnt", "uts", "ipc", "net", "pid"] {
        assert_ne!(inside[kind], outside(kind));
    }
    for kind in ["user", "cgroup"] {
        assert_eq!(inside[kind], outside(kind));
    }
    shell.exit();
}

#[test]
fn a3_the_hostname_is_separate() {
    requires!(Root);
    let skiff = Skiff::new();
    let before = hostname();
    let mut shell = unshared(&skiff);
    shell.line("hostname my-container");
    assert_eq!(shell.line(r#"echo "New hostname: $(hostname)""#), "New hostname: my-container\n");
    assert_eq!(hostname(), before);
    shell.exit();
}

#[test]
fn a4_ps_shows_bash_as_pid_1_and_nothing_of_the_host() {
    // Where the clock isn't honest, ps can't tell when a process started, and gives up.
    requires!(Root, HonestClock);
    let skiff = Skiff::new();
    let mut shell = unshared(&skiff);
    let list = shell.line("ps aux");
    let processes = rows(&list);
    assert_eq!(processes.len(), 2, "{list}");
    assert_eq!((processes[0][1], processes[0][10]), ("1", "/bin/bash"), "{list}");
    assert_eq!(processes[1][10..], ["ps", "aux"], "{list}");
    shell.exit();
}

#[test]
fn a4_ps_without_times_shows_the_same() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut shell = unshared(&skiff);
    let list = shell.line("ps -e -o pid,args");
    let processes = rows(&list);
    assert_eq!(processes.len(), 2, "{list}");
    assert_eq!(processes[0], ["1", "/bin/bash"], "{list}");
    assert_eq!(processes[1][1], "ps", "{list}");
    shell.exit();
}

/// The rows of a table below its heading, as words.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a5_a_new_mount_is_seen_inside_only() {
    requires!(Root);
    let skiff = Skiff::new();
    let before = mounts();
    let mut shell = unshared(&skiff);
    shell.line("mount -t tmpfs tmpfs /mnt");
    let found = shell.line("mount | grep /mnt");
    assert!(found.lines().any(|line| line.starts_with("tmpfs on /mnt type tmpfs")), "{found}");
    assert_eq!(mounts(), before);
    shell.exit();
}

#[test]
fn a6_the_only_network_interface_is_lo() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut shell = unshared(&skiff);
    let interfaces = shell.line("ip addr");
    let names: Vec<&str> = interfaces
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!(names, ["lo"], "{interfaces}");
    assert!(interfaces.contains("state DOWN"), "{interfaces}");
    shell.exit();
}

#[test]
fn a7_another_terminal_remains_unaffected() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut other = Shell::of(Command::new("/bin/bash"));
    let mut look = || [other.line("hostname"), other.line("mount"), other.line("ps -o comm")];
    let before = look();
    let mut shell = unshared(&skiff);
    shell.line("hostname my-container");
    shell.line("mount -t tmpfs tmpfs /mnt");
    shell.line("sleep 1000 &");
    assert_eq!(look(), before);
    shell.line("kill %1");
    shell.exit();
    other.exit();
}

#[test]
fn a8_the_namespaces_end_with_the_shell() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut shell = unshared(&skiff);
    let inside = links(&shell.line("ls -l /proc/self/ns/"));
    let number = inside["net"].trim_matches(|letter: char| !letter.is_ascii_digit()).to_owned();
    let is_listed = || {
        let list = skiff.run(["lsns", "-n", "-r", "-o", "NS", "-t", "net"]).success();
        list.stdout().lines().any(|line| line == number)
    };
    assert!(is_listed());
    // A process in the background doesn't keep them: it ends with process 1.
    shell.line("sleep 1000 &");
    shell.exit();
    assert!(!is_listed());
}

/// A root file system with bash and what it needs.
fn new_root(at: &Path) {
    busybox_rootfs(at);
    let libraries = Command::new("ldd").arg("/bin/bash").output().success();
    let paths = libraries.stdout().split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain(["/bin/bash"]) {
        let copy = at.join(path.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().expect("a file has a directory")).expect("make its directory");
        fs::copy(path, &copy).expect("copy a library");
    }
}

#[test]
fn d1_chroot_changes_the_root_directory_and_nothing_else() {
    requires!(Root);
    let skiff = Skiff::new();
    let root = skiff.scratch().join("root");
    new_root(&root);
    fs::write(root.join("only-here"), "").expect("make a file");
    let mut shell = Shell::of(skiff.command(["chroot"]).arg(&root).arg("/bin/bash"));
    assert_eq!(shell.line("pwd; ls -d /only-here"), "/\n/only-here\n");
    shell.line("mount -t proc proc /proc");
    // Processes and network are those of the machine.
    let outside = fs::read_link("/proc/self/ns/pid").expect("a link").display().to_string();
    assert_eq!(shell.line("readlink /proc/self/ns/pid").trim(), outside);
    shell.line("umount /proc");
    shell.exit();
}

#[test]
fn d2_unshare_makes_more_than_a_root_and_bash_can_fork() {
    requires!(Root);
    let skiff = Skiff::new();
    let mut shell = Shell::of(skiff.command(["unshare", "--mount", "--pid", "--net", "/bin/bash"]));
    // With the tools of today: "bash: fork: Cannot allocate memory", from the second command on.
    for _ in 0..3 {
        assert_eq!(shell.line("/bin/echo forked"), "forked\n");
    }
    assert_eq!(shell.line("echo $$"), "1\n");
    shell.exit();
}

#[test]
fn d2_the_trap_of_the_seed_is_still_there_for_who_wants_to_see_it() {
    requires!(Root);
    let skiff = Skiff::new();
    let script = "/bin/true; /bin/true; echo code $?";
    let output = skiff.run(["unshare", "--pid", "--no-fork", "/bin/bash", "-c", script]);
    output.stderr_has("Cannot allocate memory");
}

#[test]
fn what_skiff_does_by_itself_is_said_in_one_line_each() {
    requires!(Root);
    let skiff = Skiff::new();
    let quiet = ["unshare", "--mount", "--pid", "--fork", "--no-mount-proc", "true"];
    skiff.run(quiet).success().stderr_is("");
    let implied = skiff.run(["unshare", "--mount", "--pid", "true"]).success();
    assert_eq!(implied.stderr().lines().count(), 2, "{}", implied.stderr());
    implied.stderr_has("--no-fork").stderr_has("--no-mount-proc");
}
