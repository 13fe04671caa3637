//! What profiles mean, case by case.

use skiff_oci::runtime::{LinuxSeccomp, LinuxSyscall};
use skiff_sys::seccomp::Flags;

use super::interpret::{Data, run};
use crate::seccomp::abi::Abi;
use crate::seccomp::{Error, Filter, Machine, compile_for};

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | 38;

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn compiled(json: &str) -> Filter {
    compile_for(&profile(json), Machine::X86_64).unwrap()
}

fn refusal(json: &str) -> String {
    compile_for(&profile(json), Machine::X86_64).unwrap_err().to_string()
}

fn call(filter: &Filter, abi: Abi, name: &str, args: [u64; 6]) -> u32 {
    run(&filter.program, Data { number: abi.number(name).unwrap(), arch: abi.audit_arch(), args })
}

fn native(filter: &Filter, name: &str) -> u32 {
    call(filter, Abi::X86_64, name, [0; 6])
}

#[test]
fn every_action_has_its_value() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_KILL"},
            {"names": ["write"], "action": "SCMP_ACT_KILL_THREAD"},
            {"names": ["open"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["close"], "action": "SCMP_ACT_TRAP"},
            {"names": ["stat"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["fstat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095},
            {"names": ["lstat"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535},
            {"names": ["poll"], "action": "SCMP_ACT_LOG"},
            {"names": ["lseek"], "action": "SCMP_ACT_NOTIFY"}]}"#,
    );
    let expected = [
        ("read", 0),
        ("write", 0),
        ("open", 0x8000_0000),
        ("close", 0x0003_0000),
        ("stat", ERRNO | 1),
        ("fstat", ERRNO | 4095),
        ("lstat", 0x7ff0_ffff),
        ("poll", 0x7ffc_0000),
        ("lseek", 0x7fc0_0000),
        ("mmap", ALLOW),
    ];
    for (name, value) in expected {
        assert_eq!(native(&filter, name), value, "{name}");
    }
}

#[test]
fn errors_name_their_place() {
    let rule =
        |rule: &str| refusal(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#));
    assert_eq!(
        rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}"#),
        "seccomp profile: syscalls[0].errnoRet: 4096 is no error number, the highest is 4095"
    );
    assert_eq!(
        rule(r#"{"names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 1}"#),
        "seccomp profile: syscalls[0].errnoRet: SCMP_ACT_TRAP returns no error number"
    );
    assert_eq!(
        rule(
            r#"{"names": ["read"], "action": "SCMP_ACT_TRAP",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#
        ),
        "seccomp profile: syscalls[0].args[0].index: no argument 6, system calls have 0 to 5"
    );
    assert_eq!(
        rule(r#"{"names": ["read", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}"#),
        "seccomp profile: syscalls[0]: `sendmsg` can't have `SCMP_ACT_NOTIFY`, the container would never start"
    );
    let default = r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#;
    assert!(matches!(compile_for(&profile(default), Machine::X86_64), Err(Error::NotifyByDefault)));
    assert_eq!(
        refusal(r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#),
        "seccomp profile: defaultErrnoRet: SCMP_ACT_ALLOW returns no error number"
    );
}

#[test]
fn unknown_names_are_told_and_match_nothing() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["nonsense", "read", "socketcall", "sync_file_range2"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(filter.unknown, ["nonsense", "sync_file_range2"]);
    assert_eq!(native(&filter, "read"), ALLOW);
}

#[test]
fn flags_are_the_kernels_and_absent_ones_are_runcs() {
    let of = |fields: &str| compiled(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW"{fields}}}"#)).flags;
    assert_eq!(of(""), Flags::SPEC_ALLOW);
    assert_eq!(of(r#", "flags": []"#), Flags::default());
    assert_eq!(of(r#", "flags": ["SECCOMP_FILTER_FLAG_LOG"]"#), Flags::LOG);
    assert_eq!(of(r#", "flags": ["SECCOMP_FILTER_FLAG_TSYNC"]"#), Flags::TSYNC.union(Flags::TSYNC_ESRCH));
    let wait = r#", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(of(wait), Flags::default());
    let notify = r#", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]"#;
    assert_eq!(of(notify), Flags::NEW_LISTENER.union(Flags::SPEC_ALLOW));
    let both = of(&format!("{wait}{notify}"));
    assert_eq!(both, Flags::NEW_LISTENER.union(Flags::WAIT_KILLABLE_RECV));
}

#[test]
fn calls_newer_than_the_profile_answer_enosys() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    for abi in [Abi::X86_64, Abi::X86] {
        assert_eq!(call(&filter, abi, "read", [0; 6]), ALLOW);
        assert_eq!(call(&filter, abi, "mount", [0; 6]), ERRNO | 1);
        assert_eq!(call(&filter, abi, "clone3", [0; 6]), ERRNO | 1, "the newest that is named");
        assert_eq!(call(&filter, abi, "close_range", [0; 6]), ENOSYS);
    }
    let silent = compiled(r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#);
    assert_eq!(native(&silent, "close_range"), ERRNO | 1, "a profile without names knows no end");
}

#[test]
fn long_programs_jump_as_far_as_needed() {
    let names = ["read", "write", "openat", "mmap", "socket", "ioctl", "prctl", "futex", "clone", "bpf"];
    let rule = |name: &&str, value: u64| {
        let args = format!(r#"[{{"index": 2, "value": {value}, "op": "SCMP_CMP_EQ"}}]"#);
        let json = format!(
            r#"{{"names": ["{name}"], "action": "SCMP_ACT_ERRNO", "errnoRet": {value}, "args": {args}}}"#
        );
        serde_json::from_str::<LinuxSyscall>(&json).unwrap()
    };
    let long = |values: u64| {
        let mut profile = LinuxSeccomp::default();
        let rules = names.iter().flat_map(|name| (1..=values).map(move |value| rule(name, value)));
        profile.set_syscalls(Some(rules.collect()));
        compile_for(&profile, Machine::X86_64)
    };
    let filter = long(80).unwrap();
    assert!(filter.program.len() > 3900, "{}", filter.program.len());
    for name in names {
        for value in 1..=80 {
            let verdict = call(&filter, Abi::X86_64, name, [0, 0, value, 0, 0, 0]);
            assert_eq!(verdict, ERRNO | u32::try_from(value).unwrap(), "{name} {value}");
        }
        assert_eq!(call(&filter, Abi::X86_64, name, [0, 0, 81, 0, 0, 0]), ALLOW);
        assert_eq!(call(&filter, Abi::X86_64, name, [0, 0, 1 << 32 | 1, 0, 0, 0]), ALLOW);
    }
    assert_eq!(native(&filter, "close"), ALLOW);
    assert!(matches!(long(90), Err(Error::TooLong { instructions: 4097.. })));
}

#[test]
fn arm_has_its_own_abis() {
    let profile = profile(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X86"], "syscalls": [
            {"names": ["read", "cacheflush"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let filter = compile_for(&profile, Machine::Aarch64).unwrap();
    assert_eq!(call(&filter, Abi::Aarch64, "read", [0; 6]), ALLOW);
    assert_eq!(call(&filter, Abi::Arm, "read", [0; 6]), ALLOW);
    assert_eq!(call(&filter, Abi::Arm, "cacheflush", [0; 6]), ALLOW);
    assert_eq!(call(&filter, Abi::Arm, "mount", [0; 6]), ENOSYS, "cacheflush is no newer call");
    assert_eq!(call(&filter, Abi::X86, "read", [0; 6]), 0x8000_0000);
}
