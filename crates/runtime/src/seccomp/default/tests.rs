use super::*;
use crate::seccomp::abi::Abi;
use crate::seccomp::compile_for;
use crate::seccomp::tests::interpret::{Data, run};

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const EPERM_VALUE: u32 = 0x0005_0001;
const ENOSYS_VALUE: u32 = 0x0005_0026;

/// Docker's capabilities of a container.
const DOCKER: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

fn docker_and(more: &[Capability]) -> LinuxSeccomp {
    profile_for(&DOCKER.iter().chain(more).copied().collect(), Machine::X86_64)
}

fn call(profile: &LinuxSeccomp, abi: Abi, name: &str, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let data = Data { number: abi.number(name).unwrap(), arch: abi.audit_arch(), args: all };
    run(&compile_for(profile, Machine::X86_64).unwrap().program, data)
}

#[test]
fn ordinary_calls_are_allowed_and_dangerous_ones_refused() {
    let profile = docker_and(&[]);
    for abi in [Abi::X86_64, Abi::X86] {
        for name in ["read", "execve", "mmap", "openat2", "chroot", "ptrace", "removexattrat", "futex_wait"] {
            assert_eq!(call(&profile, abi, name, &[]), ALLOW, "{name} on {abi:?}");
        }
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "request_key",
            "io_uring_setup",
            "userfaultfd",
            "perf_event_open",
            "kexec_load",
            "init_module",
            "open_by_handle_at",
            "reboot",
            "settimeofday",
            "sethostname",
            "mbind",
            "pivot_root",
            "swapon",
            "syslog",
            "acct",
            "quotactl",
            "iopl",
            "open_tree",
            "fsopen",
            "lsm_set_self_attr",
            "process_madvise",
        ] {
            assert_eq!(call(&profile, abi, name, &[]), EPERM_VALUE, "{name} on {abi:?}");
        }
        assert_eq!(call(&profile, abi, "clone3", &[]), ENOSYS_VALUE);
        assert_eq!(call(&profile, abi, "open_tree_attr", &[]), ENOSYS_VALUE, "newer than the profile");
    }
}

#[test]
fn capabilities_open_their_calls_and_no_others() {
    let opened = |capability: Capability, name| {
        let before = call(&docker_and(&[]), Abi::X86_64, name, &[]);
        (before, call(&docker_and(&[capability]), Abi::X86_64, name, &[]))
    };
    let cases = [
        (Capability::SysAdmin, "mount"),
        (Capability::SysAdmin, "sethostname"),
        (Capability::SysTime, "settimeofday"),
        (Capability::SysModule, "finit_module"),
        (Capability::SysPtrace, "kcmp"),
        (Capability::DacReadSearch, "open_by_handle_at"),
        (Capability::SysNice, "mbind"),
        (Capability::Syslog, "syslog"),
        (Capability::Bpf, "bpf"),
        (Capability::Perfmon, "perf_event_open"),
        (Capability::SysRawio, "iopl"),
        (Capability::SysTtyConfig, "vhangup"),
        (Capability::SysBoot, "reboot"),
        (Capability::SysPacct, "acct"),
    ];
    for (capability, name) in cases {
        assert_eq!(opened(capability, name), (EPERM_VALUE, ALLOW), "{name}");
    }
    assert_eq!(opened(Capability::SysTime, "mount"), (EPERM_VALUE, EPERM_VALUE));
    assert_eq!(opened(Capability::SysAdmin, "clone3"), (ENOSYS_VALUE, ALLOW));
    let everything = docker_and(&[Capability::SysAdmin]);
    assert_eq!(call(&everything, Abi::X86_64, "clone", &[0x1000_0000]), ALLOW);
}

#[test]
fn arguments_decide_about_clone_personality_and_socket() {
    let profile = docker_and(&[]);
    for abi in [Abi::X86_64, Abi::X86] {
        let of = |name, first| call(&profile, abi, name, &[first]);
        // A thread, a process, and one with the lowest bit of each namespace flag.
        assert_eq!(of("clone", 0x003d_0f00), ALLOW);
        assert_eq!(of("clone", 17), ALLOW);
        for flag in
            [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(of("clone", flag | 17), EPERM_VALUE, "{flag:#x}");
        }
        for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            assert_eq!(of("personality", persona), ALLOW, "{persona:#x}");
        }
        for persona in [1, 0x4_0000, 0x40_0000, 0x2_0001] {
            assert_eq!(of("personality", persona), EPERM_VALUE, "{persona:#x}");
        }
        for family in 0..=45 {
            let expected = if [38, 40].contains(&family) { EPERM_VALUE } else { ALLOW };
            assert_eq!(of("socket", family), expected, "family {family}");
        }
        assert_eq!(of("socket", 46), EPERM_VALUE);
    }
}

#[test]
fn bits_that_the_kernel_cuts_off_open_nothing() {
    let profile = docker_and(&[]);
    for args in [("socket", 0x1_0000_0028), ("socket", 0xffff_ffff_0000_0026), ("personality", 0x1_0004_0000)]
    {
        assert_eq!(call(&profile, Abi::X86_64, args.0, &[args.1]), EPERM_VALUE, "{args:?}");
    }
}

#[test]
fn x32_does_not_exist_and_foreign_abis_die() {
    let profile = docker_and(&[]);
    let filter = compile_for(&profile, Machine::X86_64).unwrap();
    for name in ["read", "execve", "mount"] {
        assert_eq!(call(&profile, Abi::X32, name, &[]), ENOSYS_VALUE, "{name}");
    }
    let arm = Data { number: 0, arch: Abi::Aarch64.audit_arch(), args: [0; 6] };
    assert_eq!(run(&filter.program, arm), 0x8000_0000);
}

#[test]
fn hostname_calls_are_notified_where_the_profile_is_silent() {
    let notified = with_hostname_notify(docker_and(&[]));
    for abi in [Abi::X86_64, Abi::X86] {
        for name in HOSTNAME_CALLS {
            assert_eq!(call(&notified, abi, name, &[]), NOTIFY);
        }
        assert_eq!(call(&notified, abi, "mount", &[]), EPERM_VALUE);
    }
    assert!(compile_for(&notified, Machine::X86_64).unwrap().needs_listener());
    assert!(!compile_for(&docker_and(&[]), Machine::X86_64).unwrap().needs_listener());

    let admin = docker_and(&[Capability::SysAdmin]);
    assert_eq!(with_hostname_notify(admin.clone()), admin);
}

#[test]
fn every_name_exists_somewhere() {
    let all: Capabilities = WITH_CAPABILITY.iter().map(|entry| entry.0).collect();
    let unknown = |machine| compile_for(&profile_for(&all, machine), machine).unwrap().unknown;
    let (x86, arm) = (unknown(Machine::X86_64), unknown(Machine::Aarch64));
    let nowhere: Vec<_> = x86.iter().filter(|name| arm.contains(name)).collect();
    assert_eq!(nowhere, Vec::<&String>::new());
}

#[test]
fn filter_is_small() {
    for more in [&[][..], &[Capability::SysAdmin]] {
        let length = compile_for(&docker_and(more), Machine::X86_64).unwrap().program.len();
        assert!(length < 450, "{length} instructions");
    }
}
