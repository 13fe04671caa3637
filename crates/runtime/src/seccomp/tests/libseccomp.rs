//! The compiler against libseccomp: a small C program builds the same rules with it and exports its BPF, and
//! both programs must say the same about every call. A tool of the tests (Debian: `gcc`, `libseccomp-dev`), never
//! linked in.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use skiff_oci::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall,
};
use skiff_sys::seccomp::Instruction;

use super::interpret::{Data, run};
use crate::seccomp::abi::{Abi, X32_BIT};
use crate::seccomp::{Machine, compile_for, default_profile};

const BUILDER: &str = include_str!("libseccomp.c");

const ENOSYS: u32 = 0x0005_0026;

/// `set_thread_area`, `get_thread_area`, `epoll_ctl_old`, `epoll_wait_old` and `map_shadow_stack`: in the table of
/// x86_64, so we allow them by name, but whatever a filter says, the kernel has no such calls in x32.
const NOT_IN_X32: [u32; 5] = [X32_BIT | 205, X32_BIT | 211, X32_BIT | 214, X32_BIT | 215, X32_BIT | 453];

/// The compiled builder, in a directory that goes with the test.
struct Libseccomp {
    directory: std::path::PathBuf,
}

impl Libseccomp {
    fn build(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("skiff-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let this = Self { directory };
        let source = this.directory.join("builder.c");
        std::fs::write(&source, BUILDER).unwrap();
        let compiler = Command::new("gcc")
            .args([source.as_os_str(), "-o".as_ref(), this.directory.join("builder").as_os_str()])
            .arg("-lseccomp")
            .output()
            .expect("gcc can be run");
        assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
        this
    }

    /// libseccomp's program for `profile`, and the names that it doesn't know.
    fn program(&self, profile: &LinuxSeccomp) -> (Vec<Instruction>, HashSet<String>) {
        let mut builder = Command::new(self.directory.join("builder"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        builder.stdin.take().unwrap().write_all(orders(profile).as_bytes()).unwrap();
        let output = builder.wait_with_output().unwrap();
        let unknown = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{unknown}");
        let program = output.stdout.chunks_exact(8).map(|bytes| Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jump_true: bytes[2],
            jump_false: bytes[3],
            operand: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        });
        (program.collect(), unknown.lines().map(str::to_owned).collect())
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// The builder's input: the default, the ABIs, then a line a rule and name.
fn orders(profile: &LinuxSeccomp) -> String {
    let mut text = format!("{}\n", profile.default_action().as_u32(profile.default_errno_ret()));
    for arch in profile.architectures().iter().flatten() {
        let name = match arch {
            Arch::ScmpArchX86 => "x86",
            Arch::ScmpArchX32 => "x32",
            _ => continue,
        };
        writeln!(text, "arch {name}").unwrap();
    }
    for rule in profile.syscalls().iter().flatten() {
        for name in rule.names() {
            write!(text, "rule {name} {}", rule.action().as_u32(rule.errno_ret())).unwrap();
            for arg in rule.args().iter().flatten() {
                let two = arg.value_two().unwrap_or(0);
                write!(text, " {} {} {} {two}", arg.index(), arg.op() as u32, arg.value()).unwrap();
            }
            writeln!(text).unwrap();
        }
    }
    text
}

fn without(profile: &LinuxSeccomp, unknown: &HashSet<String>) -> LinuxSeccomp {
    let mut profile = profile.clone();
    let rules = profile.syscalls().clone().unwrap_or_default().into_iter().filter_map(|mut rule| {
        let names: Vec<_> = rule.names().iter().filter(|name| !unknown.contains(*name)).cloned().collect();
        let is_left = !names.is_empty();
        rule.set_names(names);
        is_left.then_some(rule)
    });
    let rules = rules.collect();
    profile.set_syscalls(Some(rules));
    profile
}

/// Compares the verdicts on every number of every ABI, with first arguments around those that profiles ask about.
fn compare(name: &str, profile: &LinuxSeccomp) {
    let libseccomp = Libseccomp::build(name);
    let (theirs, unknown) = libseccomp.program(profile);
    let profile = without(profile, &unknown);
    let ours = compile_for(&profile, Machine::X86_64).unwrap().program;
    let x32 = profile.architectures().iter().flatten().any(|arch| *arch == Arch::ScmpArchX32);

    let firsts = [
        0,
        1,
        2,
        8,
        9,
        17,
        21,
        24,
        37,
        38,
        39,
        40,
        41,
        45,
        46,
        0x2_0000,
        0x2_0008,
        0x1000_0000,
        0x7e02_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0028,
        u64::MAX,
    ];
    let mut compared = 0;
    let names: Vec<_> = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names).collect();
    for (abi, base) in [(Abi::X86_64, 0), (Abi::X86, 0), (Abi::X32, X32_BIT), (Abi::Aarch64, 0)] {
        if abi == Abi::X32 && !x32 {
            continue;
        }
        let arch = abi.audit_arch();
        let highest = names.iter().filter_map(|name| abi.number(name)).max();
        for number in (0..600).map(|number| base + number) {
            if NOT_IN_X32.contains(&number) {
                continue;
            }
            for first in firsts {
                let data = Data { number, arch, args: [first, 0, 0, 0, 0, 0] };
                let (ours, theirs) = (run(&ours, data), run(&theirs, data));
                if ours == ENOSYS && highest.is_some_and(|highest| number > highest) {
                    // Newer than the profile, which runc adds behind libseccomp's back.
                    continue;
                }
                // libseccomp kills the thread for a foreign ABI, we the process.
                let ours = if abi == Abi::Aarch64 && ours == 0x8000_0000 { 0 } else { ours };
                assert_eq!(ours, theirs, "{data:x?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20_000, "{compared} calls compared");
}

fn capabilities(list: &[Capability]) -> Capabilities {
    list.iter().copied().collect()
}

#[test]
fn default_profile_equals_libseccomp() {
    let mut profile = default_profile(&capabilities(&[Capability::SysChroot]));
    compare("default", &profile);
    profile.set_architectures(Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]));
    compare("default-x32", &profile);
}

#[test]
fn default_profile_of_an_administrator_equals_libseccomp() {
    let all = [Capability::SysAdmin, Capability::SysPtrace, Capability::SysTime, Capability::SysNice];
    compare("admin", &default_profile(&capabilities(&all)));
}

#[test]
fn list_of_refusals_equals_libseccomp() {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActAllow);
    profile.set_architectures(Some(vec![Arch::ScmpArchX86]));
    let rule = |names: &[&str], action| {
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.iter().map(|name| (*name).to_owned()).collect());
        rule.set_action(action);
        rule
    };
    profile.set_syscalls(Some(vec![
        rule(&["socket", "semget", "shmctl", "accept4"], Action::ScmpActErrno),
        rule(&["reboot", "kexec_load"], Action::ScmpActKillProcess),
        rule(&["ptrace"], Action::ScmpActTrap),
        rule(&["mount", "umount2"], Action::ScmpActLog),
        rule(&["bpf"], Action::ScmpActKill),
    ]));
    compare("refusals", &profile);
}
