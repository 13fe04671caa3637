//! Seccomp in running containers: Docker's profile by effect, profiles of users, and `hostname`, which the
//! monitor does for containers without CAP_SYS_ADMIN.
//!
//! `seccomp/probe.c` makes the calls. Numbers are those of x86_64 and i386, results are what the kernel returned:
//! `-1` is EPERM, `-14` EFAULT, `-38` ENOSYS, `-71` EPROTO, which no call here returns by itself.

use std::fs;
use std::path::PathBuf;

use skiff_e2e::{Command, Output, Skiff, requires};

const EPERM: i64 = -1;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ENOSYS: i64 = -38;
const EPROTO: i64 = -71;

/// 128 + SIGSYS: what a call costs that the filter kills for.
const KILLED: i32 = 128 + 31;

/// A skiff with the probe in its scratch directory.
struct Probe {
    skiff: Skiff,
    program: PathBuf,
}

impl Probe {
    fn new() -> Self {
        let skiff = Skiff::new();
        let program = skiff.scratch().join("probe");
        let source = skiff.scratch().join("probe.c");
        fs::write(&source, include_str!("seccomp/probe.c")).expect("write the probe");
        Command::new("gcc")
            .args(["-O1", "-static", "-nostdlib", "-fno-stack-protector", "-o"])
            .args([&program, &source])
            .output()
            .success();
        Self { skiff, program }
    }

    /// Runs `skiff run OPTIONS… host COMMAND…` with the probe at `/probe`.
    fn run(&self, options: &[&str], command: &[&str]) -> Output {
        let volume = format!("{}:/probe:ro", self.program.display());
        let run = self.skiff.command(["run", "--rm", "-v", &volume]);
        run.args(options).arg("host").args(command).output()
    }

    /// What the calls return in a container with `options`.
    fn results(&self, options: &[&str], calls: &[&str]) -> Vec<i64> {
        let command: Vec<_> = std::iter::once("/probe").chain(calls.iter().copied()).collect();
        let output = self.run(options, &command).success();
        output.stdout().lines().map(|line| line.parse().expect("a result")).collect()
    }

    fn result(&self, options: &[&str], call: &str) -> i64 {
        self.results(options, &[call])[0]
    }

    /// Writes a profile and returns the option that asks for it.
    fn profile(&self, name: &str, json: &str) -> String {
        let file = self.skiff.scratch().join(name);
        fs::write(&file, json).expect("write a profile");
        format!("--security-opt=seccomp={}", file.display())
    }
}

const UNCONFINED: &str = "--security-opt=seccomp=unconfined";

/// Calls that the default profile refuses, with arguments that the kernel itself refuses with another error or
/// not at all.
const REFUSED: [(&str, &str); 12] = [
    ("mount", "64:165"),
    ("unshare", "64:272:0"),
    ("setns", "64:308:0xffffffff:0x1"),
    ("keyctl", "64:250:99999"),
    ("add_key", "64:248"),
    ("io_uring_setup", "64:425"),
    ("open_tree", "64:428:0xffffffff:8"),
    ("personality ADDR_NO_RANDOMIZE", "64:135:0x40000"),
    ("socket AF_VSOCK", "64:41:40:1"),
    ("socket AF_VSOCK, with a bit that the kernel cuts off", "64:41:0x100000028:1"),
    ("socket AF_ALG", "64:41:38:0xfff"),
    ("perf_event_open", "64:298:0:0:0:0:0xff"),
];

#[test]
fn default_profile_refuses_dangerous_calls_that_unconfined_containers_can_make() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let calls = REFUSED.map(|(_, call)| call);
    let refused = probe.results(&[], &calls);
    let control = probe.results(&[UNCONFINED], &calls);
    for (at, (name, _)) in REFUSED.iter().enumerate() {
        assert_eq!(refused[at], EPERM, "{name}");
        assert_ne!(control[at], EPERM, "{name} reaches the kernel without a filter");
    }
}

#[test]
fn default_profile_allows_what_programs_need() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    // getpid, personality(0), the question for the personality, a socket each of AF_UNIX and AF_INET, and
    // ptrace(PTRACE_TRACEME).
    let results =
        probe.results(&[], &["64:39", "64:135:0", "64:135:0xffffffff", "64:41:1:1", "64:41:2:1", "64:101:0"]);
    assert_eq!(results, [1, 0, 0, 3, 4, 0]);
}

#[test]
fn calls_that_a_filter_cannot_judge_or_does_not_know_are_not_there() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    // clone3, open_tree_attr, and a number that nobody has.
    assert_eq!(probe.results(&[], &["64:435", "64:467", "64:999"]), [ENOSYS; 3]);
    assert_eq!(probe.result(&["--cap-add=SYS_ADMIN"], "64:435"), EINVAL, "an administrator may call clone3");
}

#[test]
fn capabilities_open_the_calls_that_need_them() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    // mount, settimeofday and open_by_handle_at, all with bad addresses.
    let calls = ["64:165:8:8:8", "64:164:8", "64:304:0:8"];
    assert_eq!(probe.results(&[], &calls), [EPERM; 3]);
    assert_eq!(probe.results(&["--cap-add=SYS_ADMIN"], &calls), [EFAULT, EPERM, EPERM]);
    assert_eq!(probe.results(&["--cap-add=SYS_TIME"], &calls), [EPERM, EFAULT, EPERM]);
    assert_eq!(probe.results(&["--cap-add=DAC_READ_SEARCH"], &calls), [EPERM, EPERM, EFAULT]);
    assert_eq!(probe.results(&["--privileged"], &calls), [EFAULT; 3]);
}

#[test]
fn calls_of_32_bit_programs_are_filtered_as_well() {
    requires!(Root, Seccomp, Ia32);
    let probe = Probe::new();
    // getpid, mount, clone3, socket(AF_VSOCK), and the newest of all.
    let calls = ["32:20", "32:21", "32:435", "32:359:40:1", "32:999"];
    assert_eq!(probe.results(&[], &calls), [1, EPERM, ENOSYS, EPERM, ENOSYS]);
    assert_eq!(probe.results(&[UNCONFINED], &calls)[..2], [1, EFAULT]);
}

#[test]
fn r14_the_other_tables_of_the_machine_are_no_way_around_a_rule() {
    requires!(Root, Seccomp, Ia32);
    let probe = Probe::new();
    let rule = r#""syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]"#;
    let native = probe.profile("native", &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {rule}}}"#));
    let both = probe.profile(
        "both",
        &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], {rule}}}"#),
    );
    // The attack: mount by the 32-bit table, where 165 is another call and 21 is mount.
    assert_eq!(probe.results(&[&native], &["64:165"]), [EPROTO]);
    probe.run(&[&native], &["/probe", "32:21"]).code(KILLED).stdout_is("");
    assert_eq!(probe.results(&[&both], &["64:165", "32:21"]), [EPROTO; 2]);
    // The control: where nothing filters, the attack reaches the kernel.
    assert_eq!(probe.results(&[UNCONFINED], &["32:21"]), [EFAULT]);
}

#[test]
fn r14_x32_is_refused_unless_it_is_asked_for() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let rule = r#""syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]"#;
    let silent = probe.profile("silent", &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {rule}}}"#));
    let asked = probe.profile(
        "asked",
        &format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32"], {rule}}}"#),
    );
    let calls = ["64:39", "64:0x40000027"];
    assert_eq!(probe.results(&[], &calls), [1, ENOSYS]);
    assert_eq!(probe.results(&[&silent], &calls), [EPROTO, ENOSYS]);
    // The control: the filter does see x32 calls, and lets pass those that a profile asks for.
    assert_eq!(probe.results(&[&asked], &calls), [EPROTO; 2]);
}

#[test]
fn r14_a_profile_that_cannot_be_applied_stops_the_start() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let of = |rules: usize| {
        let rule = |value| {
            format!(
                r#"{{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": {value},
                    "args": [{{"index": 2, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#
            )
        };
        let rules: Vec<_> = (1..=rules).map(rule).collect();
        format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#, rules.join(","))
    };
    let (fits, too_long) = (probe.profile("fits", &of(500)), probe.profile("long", &of(2000)));
    probe.run(&[&too_long], &["echo", "started"]).code(125).stdout_is("").stderr_has("too many conditions");
    probe.run(&[&fits], &["echo", "started"]).success().stdout_is("started\n");
}

#[test]
fn r14_the_filter_is_the_last_step_and_binds_nothing_but_the_program() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    // Not one call more than the exec and what the probe itself makes.
    let least = probe.profile(
        "least",
        r#"{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
            {"names": ["execve", "execveat", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    for options in
        [&["--cap-drop=ALL"][..], &["--user=1000:1000"], &["--security-opt=no-new-privileges"], &[]]
    {
        let options: Vec<_> = options.iter().copied().chain([least.as_str()]).collect();
        probe.run(&options, &["/probe"]).success();
        probe.run(&options, &["/probe", "64:39"]).code(KILLED).stdout_is("");
    }
}

#[test]
fn every_action_of_a_profile_does_what_it_says() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let with = |action: &str| {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getpid"], "action": "{action}"}}]}}"#
        );
        probe.profile(action, &json)
    };
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        probe.run(&[&with(action)], &["/probe", "64:39"]).code(KILLED).stdout_is("");
    }
    assert_eq!(probe.result(&[&with("SCMP_ACT_ERRNO")], "64:39"), EPERM);
    assert_eq!(probe.result(&[&with("SCMP_ACT_TRACE")], "64:39"), ENOSYS, "nobody traces");
    assert_eq!(probe.result(&[&with("SCMP_ACT_LOG")], "64:39"), 1);
    assert_eq!(probe.result(&[&with("SCMP_ACT_ALLOW")], "64:39"), 1);
}

#[test]
fn profiles_in_dockers_format_follow_the_container() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let profile = probe.profile(
        "docker",
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"name": "getpid", "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "comment": "without",
                 "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
                 "includes": {"arches": ["amd64"], "minKernel": "4.8"}},
                {"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
                 "includes": {"minKernel": "200.0"}},
                {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
                 "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_GE"}, {"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    let calls = ["64:39", "64:110", "64:102", "64:8:99:7:1", "64:8:99:6:1", "64:8:99:7:0"];
    let bad_descriptor = -9;
    assert_eq!(
        probe.results(&[&profile], &calls),
        [EPROTO, EPROTO, 0, EPROTO, bad_descriptor, bad_descriptor]
    );
    assert_eq!(probe.result(&[&profile, "--cap-add=SYS_ADMIN"], "64:39"), 1);
}

#[test]
fn broken_profiles_are_told_with_their_place() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let cases = [
        (r#"{"defaultAction": "SCMP_ACT_PANIC"}"#, "line 1 column"),
        (r#"{"defaultAction": "#, "line 1 column"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ALLOW"}]}"#,
            "syscalls[0]: no system call is named",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "`sendmsg` can't have `SCMP_ACT_NOTIFY`",
        ),
    ];
    for (json, part) in cases {
        let option = probe.profile("broken", json);
        probe.run(&[&option], &["echo", "started"]).code(125).stdout_is("").stderr_has(part);
    }
    let missing = probe.skiff.scratch().join("missing");
    let option = format!("--security-opt=seccomp={}", missing.display());
    probe.run(&[&option], &["echo", "started"]).code(125).stdout_is("").stderr_has("missing");
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name")
}

fn host_domain() -> String {
    fs::read_to_string("/proc/sys/kernel/domainname").expect("the host's domain")
}

/// The calls of `hostname` and `domainname` with a good name.
const SETHOSTNAME: &str = "64:170:name:10";
const SETDOMAINNAME: &str = "64:171:name:10";

#[test]
fn hostname_is_set_inside_without_an_administrators_rights_and_the_host_keeps_its_own() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let before = (host_name(), host_domain());
    let script = format!(
        "hostname my-container && hostname && /probe {SETHOSTNAME} {SETDOMAINNAME}
         cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
    );
    let expected = "my-container\n0\n0\nprobe-name\nprobe-name\n";
    probe.run(&[], &["sh", "-c", &script]).success().stdout_is(expected);
    assert_eq!((host_name(), host_domain()), before);
    // The control: without the notification, the kernel refuses.
    assert_eq!(probe.results(&[UNCONFINED], &[SETHOSTNAME, SETDOMAINNAME]), [EPERM; 2]);
}

#[test]
fn hostname_has_the_kernels_errors() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    // One byte too long, a negative length, an address without memory.
    let calls = ["64:170:name:65", "64:170:name:0xffffffffffffffff", "64:170:8:3", SETHOSTNAME];
    assert_eq!(probe.results(&[], &calls), [EINVAL, EINVAL, EFAULT, 0]);
}

#[test]
fn hostname_is_refused_to_others_than_the_containers_root() {
    requires!(Root, Seccomp);
    let probe = Probe::new();
    let before = host_name();
    assert_eq!(probe.result(&["--user=1000"], SETHOSTNAME), EPERM, "another user");
    assert_eq!(probe.result(&["--cap-drop=ALL"], SETHOSTNAME), EPERM, "a root without capabilities");
    assert_eq!(probe.result(&["--uts=host"], SETHOSTNAME), EPERM, "the host's own namespace");
    assert_eq!(host_name(), before);
}

#[test]
fn hostname_of_a_32_bit_program_is_set_too() {
    requires!(Root, Seccomp, Ia32);
    let probe = Probe::new();
    // An address above 4 GiB can't be given by this table, so the name is empty.
    let output = probe.run(&[], &["sh", "-c", "/probe 32:74:0:0 32:121:0:0; cat /proc/sys/kernel/hostname"]);
    output.success().stdout_is("0\n0\n\n");
}
