use super::*;

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };

fn container(capabilities: &Capabilities) -> Container<'_> {
    Container { capabilities, kernel: KERNEL, machine: Machine::X86_64 }
}

fn resolve(json: &str, capabilities: &[Capability]) -> Result<LinuxSeccomp, Error> {
    let file: ProfileFile = serde_json::from_str(json).map_err(Error::Json)?;
    file.resolve(&container(&capabilities.iter().copied().collect()))
}

/// The first names of the rules that stay.
fn names(json: &str, capabilities: &[Capability]) -> Vec<String> {
    let profile = resolve(json, capabilities).unwrap();
    profile.syscalls().iter().flatten().map(|rule| rule.names()[0].clone()).collect()
}

fn message(json: &str) -> String {
    let error = resolve(json, &[]).unwrap_err();
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn oci_profile_is_taken_as_it_is() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent.sock", "listenerMetadata": "m",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY",
            "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}]
    }"#;
    assert_eq!(resolve(json, &[]).unwrap(), serde_json::from_str::<LinuxSeccomp>(json).unwrap());
}

#[test]
fn arch_map_gives_this_machines_line() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}]}"#;
    let profile = resolve(json, &[]).unwrap();
    let expected = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
    assert_eq!(profile.architectures().as_deref(), Some(expected.as_slice()));
}

#[test]
fn rules_follow_capabilities() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"name": "d", "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": {}}]}"#;
    assert_eq!(names(json, &[]), ["b", "d"]);
    assert_eq!(names(json, &[Capability::Bpf]), ["d"]);
    assert_eq!(names(json, &[Capability::SysAdmin]), ["a", "d"]);
    assert_eq!(names(json, &[Capability::SysAdmin, Capability::Bpf]), ["a", "c", "d"]);
}

#[test]
fn rules_follow_machine_and_kernel() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.19"}},
        {"names": ["f"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "6.18"}}]}"#;
    assert_eq!(names(json, &[]), ["a", "d"]);
}

#[test]
fn errors_say_where() {
    let cases = [
        ("", "read seccomp profile: EOF while parsing a value at line 1 column 0"),
        ("{}", "read seccomp profile: missing field `defaultAction` at line 1 column 2"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
               "architectures": ["SCMP_ARCH_X86"]}"#,
            "seccomp profile: profile: both `architectures` and `archMap` are given, use one of them",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
               {"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}]}"#,
            "seccomp profile: syscalls[0]: both `name` and `names` are given, use one of them",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
               {"names": ["a"], "action": "SCMP_ACT_ALLOW"}, {"names": [], "action": "SCMP_ACT_ALLOW"}]}"#,
            "seccomp profile: syscalls[1]: no system call is named",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
               {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.x"}}]}"#,
            "seccomp profile: syscalls[0].includes.minKernel: `4.x` is no kernel version such as `4.8`",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(message(json), expected);
    }
    let unknown = message(r#"{"defaultAction": "SCMP_ACT_PANIC"}"#);
    assert!(unknown.contains("SCMP_ACT_PANIC") && unknown.contains("line 1 column 34"), "{unknown}");
}

#[test]
fn kernel_versions_are_read_from_releases() {
    assert_eq!(KernelVersion::of_release("6.18.44-fc"), Some(KERNEL));
    assert_eq!(KernelVersion::of_release("6.18-rc1"), Some(KERNEL));
    assert_eq!(KernelVersion::of_release("six"), None);
    assert!(KernelVersion::running() > KernelVersion { major: 4, minor: 0 });
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// A profile cut and spliced anywhere is a profile or an error.
    #[test]
    fn damaged_profiles_end_in_an_error_or_a_filter(cut in 0_usize..500, length in 0_usize..40, byte: u8, filler in 0_usize..3) {
        let mut json = br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"archMap":[{"architecture":"SCMP_ARCH_X86_64",
            "subArchitectures":["SCMP_ARCH_X86"]}],"flags":[],"syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"comment":"","includes":{},
            "excludes":{"caps":["CAP_SYS_ADMIN"],"arches":["s390"],"minKernel":"4.8"}}]}"#.to_vec();
        let start = cut.min(json.len());
        let end = (start + length).min(json.len());
        json.splice(start..end, std::iter::repeat_n(byte, filler));
        if let Ok(profile) = parse_profile(&json, &Capabilities::new(), KERNEL) {
            let compiled = crate::seccomp::compile(&profile);
            proptest::prop_assert!(compiled.is_ok_and(|filter| !filter.program.is_empty()) || length + filler > 0);
        }
    }
}
