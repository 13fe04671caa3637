//! A naive reading of profiles: rule by rule, name by name, in 128-bit numbers.

use std::str::FromStr;

use proptest::prelude::*;
use skiff_oci::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::interpret::{Data, run};
use crate::seccomp::{Machine, compile_for};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0026;

/// What should happen to the call `data` under `profile`, on an x86_64 machine.
pub fn evaluate(profile: &LinuxSeccomp, data: Data) -> u32 {
    let listed = |arch| profile.architectures().iter().flatten().any(|listed| *listed == arch);
    let abi = match data.arch {
        X86_64 if data.number < X32_BIT => Abi::X86_64,
        X86_64 if listed(Arch::ScmpArchX32) => Abi::X32,
        X86_64 => return ENOSYS,
        I386 if listed(Arch::ScmpArchX86) => Abi::I386,
        _ => return KILL_PROCESS,
    };
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let default = value(profile.default_action(), profile.default_errno_ret());

    let mut conditional = None;
    let mut newest = None;
    for rule in rules {
        for name in rule.names() {
            newest = newest.max(number(abi, name));
            let action = value(rule.action(), rule.errno_ret());
            let args = rule.args().clone().unwrap_or_default();
            if action == default {
                continue;
            }
            if number(abi, name) == Some(data.number) {
                if args.is_empty() {
                    return action;
                }
                if conditional.is_none() && holds(abi, &args, data) {
                    conditional = Some(action);
                }
            }
            if abi == Abi::I386 && is_same_through_multiplexer(name, data) {
                let is_stricter =
                    (action & 0xffff_0000).cast_signed() < (default & 0xffff_0000).cast_signed();
                if conditional.is_none() && (args.is_empty() || is_stricter) {
                    conditional = Some(action);
                }
            }
        }
    }
    // An unconditional rule for the multiplexer itself comes anywhere in the profile, hence only here.
    if let Some(action) = conditional {
        return action;
    }
    let is_permissive = matches!(default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
    if !is_permissive && newest.is_some_and(|newest| data.number > newest) { ENOSYS } else { default }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abi {
    X86_64,
    I386,
    X32,
}

fn number(abi: Abi, name: &str) -> Option<u32> {
    let of_64 = || syscalls::x86_64::Sysno::from_str(name).ok().map(|call| call.id());
    let number = match abi {
        Abi::X86_64 => of_64(),
        Abi::I386 => syscalls::x86::Sysno::from_str(name).ok().map(|call| call.id()),
        // The only ones of x32's own among the names that the tests use.
        Abi::X32 => match name {
            "execve" => Some(520),
            "ioctl" => Some(514),
            "setsockopt" => Some(541),
            _ => of_64(),
        }
        .map(|number| number | 0x4000_0000),
    };
    number.map(|number| u32::try_from(number).unwrap())
}

fn is_same_through_multiplexer(name: &str, data: Data) -> bool {
    let first = data.args[0] & 0xffff_ffff;
    match name {
        "socket" => data.number == 102 && first == 1,
        "setsockopt" => data.number == 102 && first == 14,
        "semget" => data.number == 117 && first & 0xffff == 2,
        "shmctl" => data.number == 117 && first & 0xffff == 24,
        _ => false,
    }
}

fn value(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActErrno => 0x0005_0000 + errno.unwrap_or(1),
        Action::ScmpActNotify => 0x7fc0_0000,
        Action::ScmpActTrace => 0x7ff0_0000 + errno.unwrap_or(1),
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
    }
}

/// All conditions, or any of them if two look at the same argument.
fn holds(abi: Abi, args: &[LinuxSeccompArg], data: Data) -> bool {
    let is_repeated =
        args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|other| other.index() == arg.index()));
    let mut verdicts = args.iter().map(|arg| holds_one(abi, arg, data));
    if is_repeated { verdicts.any(|holds| holds) } else { verdicts.all(|holds| holds) }
}

fn holds_one(abi: Abi, arg: &LinuxSeccompArg, data: Data) -> bool {
    let width = if abi == Abi::X86_64 { u64::MAX } else { u64::from(u32::MAX) };
    let actual = u128::from(data.args[arg.index()] & width);
    let value = u128::from(arg.value() & width);
    match arg.op() {
        Operator::ScmpCmpNe => actual != value,
        Operator::ScmpCmpLt => actual < value,
        Operator::ScmpCmpLe => actual <= value,
        Operator::ScmpCmpEq => actual == value,
        Operator::ScmpCmpGe => actual >= value,
        Operator::ScmpCmpGt => actual > value,
        Operator::ScmpCmpMaskedEq => actual & value == u128::from(arg.value_two().unwrap_or(0)) & value,
    }
}

const NAMES: [&str; 14] = [
    "read",
    "openat",
    "execve",
    "ioctl",
    "socket",
    "setsockopt",
    "socketcall",
    "semget",
    "shmctl",
    "ipc",
    "personality",
    "clone",
    "clone3",
    "no_such_call",
];

/// Values at and around every edge that a comparison of halves could get wrong.
fn word() -> impl Strategy<Value = u64> {
    const EDGES: [u64; 12] = [
        0,
        1,
        2,
        14,
        24,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0001,
        0x7e02_0000,
        u64::MAX,
    ];
    prop_oneof![
        4 => (proptest::sample::select(EDGES.as_slice()), -1_i64..=1).prop_map(|(edge, by)| edge.wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

fn arg() -> impl Strategy<Value = LinuxSeccompArg> {
    let operators = [
        Operator::ScmpCmpNe,
        Operator::ScmpCmpLt,
        Operator::ScmpCmpLe,
        Operator::ScmpCmpEq,
        Operator::ScmpCmpGe,
        Operator::ScmpCmpGt,
        Operator::ScmpCmpMaskedEq,
    ];
    (0_usize..3, word(), word(), proptest::sample::select(operators.to_vec())).prop_map(
        |(index, value, two, op)| {
            LinuxSeccompArgBuilder::default().index(index).value(value).value_two(two).op(op).build().unwrap()
        },
    )
}

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        Just((Action::ScmpActAllow, None)),
        Just((Action::ScmpActLog, None)),
        Just((Action::ScmpActTrap, None)),
        Just((Action::ScmpActKill, None)),
        Just((Action::ScmpActKillThread, None)),
        Just((Action::ScmpActKillProcess, None)),
        Just((Action::ScmpActErrno, None)),
        (0_u32..4096).prop_map(|errno| (Action::ScmpActErrno, Some(errno))),
        (0_u32..65536).prop_map(|data| (Action::ScmpActTrace, Some(data))),
    ]
}

fn rule() -> impl Strategy<Value = LinuxSyscall> {
    let names = proptest::sample::subsequence(NAMES.to_vec(), 1..4);
    let args = prop_oneof![Just(Vec::new()), proptest::collection::vec(arg(), 1..4)];
    (names, action(), args).prop_map(|(names, (action, errno), args)| {
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.into_iter().map(str::to_owned).collect());
        rule.set_action(action);
        rule.set_errno_ret(errno);
        rule.set_args(Some(args));
        rule
    })
}

fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    let arches = [Arch::ScmpArchX86, Arch::ScmpArchX32, Arch::ScmpArchX86_64, Arch::ScmpArchNative];
    let arches = proptest::sample::subsequence(arches.to_vec(), 0..4);
    (action(), arches, proptest::collection::vec(rule(), 0..12)).prop_map(
        |((action, errno), arches, rules)| {
            let mut profile = LinuxSeccomp::default();
            profile.set_default_action(action);
            profile.set_default_errno_ret(errno);
            profile.set_architectures(Some(arches));
            profile.set_syscalls(Some(rules));
            profile
        },
    )
}

fn data() -> impl Strategy<Value = Data> {
    let arch = prop_oneof![4 => Just(X86_64), 4 => Just(I386), 1 => Just(0xc000_00b7_u32), 1 => any::<u32>()];
    let known =
        (proptest::sample::select(NAMES.as_slice()), 0..3_usize, -1_i32..=1).prop_map(|(name, abi, by)| {
            let abi = [Abi::X86_64, Abi::I386, Abi::X32][abi];
            number(abi, name).unwrap_or(0).wrapping_add_signed(by)
        });
    let number = prop_oneof![8 => known, 1 => 0..600_u32, 1 => any::<u32>()];
    (number, arch, proptest::array::uniform6(word())).prop_map(|(number, arch, args)| Data {
        number,
        arch,
        args,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filter_equals_the_naive_reading(profile in profile(), calls in proptest::collection::vec(data(), 64)) {
        let filter = compile_for(&profile, Machine::X86_64).unwrap();
        for data in calls {
            prop_assert_eq!(run(&filter.program, data), evaluate(&profile, data), "{:?}", data);
        }
    }
}
