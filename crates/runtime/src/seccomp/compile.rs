//! From a profile of the OCI runtime spec to a filter.
//!
//! The meaning is that of runc with libseccomp:
//! - A rule without conditions wins over rules with conditions for the same call; else the first that matches.
//! - The conditions of a rule must all hold, but if two look at the same argument, each is a rule of its own.
//! - A rule that says what the default says anyway is no rule; names that an ABI doesn't have are skipped.
//! - Calls with higher numbers than any in the profile answer `ENOSYS` and not the default error, so that
//!   programs take them for newer than the kernel and fall back. Profiles that allow by default have no such edge.
//!
//! Two things are stricter. ABIs that the profile doesn't list end the process (libseccomp: the thread), and x32,
//! unless it is listed, does not exist (`ENOSYS`), as on most kernels.

use std::borrow::Cow;

use skiff_oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};
use skiff_sys::seccomp::Flags;

use super::Error;
use super::abi::{ARM_PRIVATE_BASE, Abi, Machine, Multiplexed};
use super::emit::{
    ACTION, RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG, RET_TRACE, RET_TRAP,
    RET_USER_NOTIF, emit,
};
use super::filter::Filter;

/// Compiles `profile` for the machine that this program was built for.
///
/// # Errors
/// What in the profile can't be done, and where it is.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, Error> {
    compile_for(profile, Machine::NATIVE)
}

/// Compiles `profile` for `machine`.
///
/// # Errors
/// What in the profile can't be done, and where it is.
pub fn compile_for(profile: &LinuxSeccomp, machine: Machine) -> Result<Filter, Error> {
    let default = default_action(profile)?;
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let clauses = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| clauses(index, rule, default))
        .collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = rules.iter().flat_map(LinuxSyscall::names).collect();
    let mut is_known = vec![false; names.len()];
    let build = |abi: &Abi| Table::new(*abi, rules, &clauses, default, &mut is_known);
    let tables: Vec<_> = abis(profile, machine).iter().map(build).collect();
    let program = emit(&tables, default);
    if program.len() > Filter::MAX_LEN {
        return Err(Error::TooLong { instructions: program.len() });
    }
    let unknown = names.into_iter().zip(&is_known).filter(|(_, is_known)| !**is_known);
    let unknown = unknown.map(|(name, _)| name.clone()).collect();
    Ok(Filter { program, flags: flags(profile, rules), unknown })
}

/// The ABIs that the profile is about: the machine's own is always among them, and comes first.
fn abis(profile: &LinuxSeccomp, machine: Machine) -> Vec<Abi> {
    let mut abis = vec![machine.native_abi()];
    for arch in profile.architectures().iter().flatten() {
        // What this machine can't run needs no rules: nobody can make such calls.
        if let Some(abi) = machine.abi(*arch).filter(|abi| !abis.contains(abi)) {
            abis.push(abi);
        }
    }
    abis
}

fn default_action(profile: &LinuxSeccomp) -> Result<u32, Error> {
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::NotifyByDefault);
    }
    action(profile.default_action(), profile.default_errno_ret(), || "defaultErrnoRet".to_owned())
}

/// The value that a filter returns for `action`; `place` names the field of the errno.
fn action(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    place: impl FnOnce() -> String,
) -> Result<u32, Error> {
    const EPERM: u32 = 1;
    /// The kernel cuts higher ones.
    const MAX_ERRNO: u32 = 4095;
    let value = match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => RET_KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => RET_TRAP,
        LinuxSeccompAction::ScmpActNotify => RET_USER_NOTIF,
        LinuxSeccompAction::ScmpActLog => RET_LOG,
        LinuxSeccompAction::ScmpActAllow => RET_ALLOW,
        LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace => {
            let is_errno = action == LinuxSeccompAction::ScmpActErrno;
            let (base, most) = if is_errno { (RET_ERRNO, MAX_ERRNO) } else { (RET_TRACE, 0xffff) };
            let errno = errno.unwrap_or(EPERM);
            if errno > most {
                return Err(Error::Errno { place: place(), errno, most });
            }
            return Ok(base | errno);
        }
    };
    // The spec: where the action has no errno, one that is given must be an error.
    match errno {
        Some(_) => Err(Error::NeedlessErrno { place: place(), action }),
        None => Ok(value),
    }
}

/// One alternative of a rule: its conditions must all hold.
#[derive(Debug, Clone)]
pub struct Clause {
    pub conditions: Vec<Condition>,
    /// What the filter returns.
    pub action: u32,
}

/// A test of one argument.
#[derive(Debug, Clone, Copy)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    pub operator: LinuxSeccompOperator,
    pub value: u64,
    pub value_two: u64,
}

/// What the rule `index` says, in clauses; none if it says what the default says.
fn clauses(index: usize, rule: &LinuxSyscall, default: u32) -> Result<Vec<Clause>, Error> {
    let action = action(rule.action(), rule.errno_ret(), || format!("syscalls[{index}].errnoRet"))?;
    if rule.action() == LinuxSeccompAction::ScmpActNotify {
        check_notify(index, rule)?;
    }
    let args = rule.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .enumerate()
        .map(|(position, arg)| condition(arg).ok_or_else(|| bad_index(index, position, arg)))
        .collect::<Result<Vec<_>, _>>()?;
    if action == default {
        return Ok(Vec::new());
    }
    let mut indexes: Vec<_> = conditions.iter().map(|condition| condition.index).collect();
    indexes.sort_unstable();
    if indexes.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        let alone = |condition| Clause { conditions: vec![condition], action };
        return Ok(conditions.into_iter().map(alone).collect());
    }
    Ok(vec![Clause { conditions, action }])
}

fn condition(arg: &LinuxSeccompArg) -> Option<Condition> {
    Some(Condition {
        index: u8::try_from(arg.index()).ok().filter(|index| *index < 6)?,
        operator: arg.op(),
        value: arg.value(),
        value_two: arg.value_two().unwrap_or(0),
    })
}

fn bad_index(rule: usize, position: usize, arg: &LinuxSeccompArg) -> Error {
    Error::Argument { place: format!("syscalls[{rule}].args[{position}].index"), index: arg.index() }
}

/// Refuses to have those calls notified that come between the filter and the program: the listener isn't
/// handed over yet, so they would wait for ever.
fn check_notify(index: usize, rule: &LinuxSyscall) -> Result<(), Error> {
    const START: [&str; 3] = ["sendmsg", "execve", "execveat"];
    match rule.names().iter().find(|name| START.contains(&name.as_str())) {
        Some(name) => Err(Error::NotifyStart { place: format!("syscalls[{index}]"), name: name.clone() }),
        None => Ok(()),
    }
}

fn flags(profile: &LinuxSeccomp, rules: &[LinuxSyscall]) -> Flags {
    let notifies = rules.iter().any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify);
    let listener = if notifies { Flags::NEW_LISTENER } else { Flags::default() };
    let Some(asked) = profile.flags() else {
        // Not even an empty list: runc's default, because a filter would else slow down all of the
        // container's code on kernels before 5.16.
        return listener.union(Flags::SPEC_ALLOW);
    };
    asked.iter().fold(listener, |flags, flag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags.union(Flags::LOG),
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => flags.union(Flags::TSYNC).union(Flags::TSYNC_ESRCH),
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags.union(Flags::SPEC_ALLOW),
        // Without a listener there is nothing to wait for, and the kernel says EINVAL.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
            flags.union(Flags::WAIT_KILLABLE_RECV)
        }
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => flags,
    })
}

/// The rules of one ABI, by number.
pub struct Table<'a> {
    pub abi: Abi,
    /// Sorted by number; those of one number in the order of the profile.
    pub clauses: Vec<(u32, Cow<'a, Clause>)>,
    /// The highest number of the common calls that the profile names.
    pub highest: Option<u32>,
}

impl<'a> Table<'a> {
    /// Looks up every name of `rules` in `abi`. `is_known` has a place for each, which is set where there is
    /// such a call.
    fn new(
        abi: Abi,
        rules: &[LinuxSyscall],
        clauses: &'a [Vec<Clause>],
        default: u32,
        is_known: &mut [bool],
    ) -> Self {
        let names = rules
            .iter()
            .zip(clauses)
            .flat_map(|(rule, clauses)| rule.names().iter().map(move |name| (name, clauses)));
        let mut sorted = Vec::with_capacity(is_known.len());
        let mut highest = None;
        for ((name, clauses), is_known) in names.zip(is_known) {
            let number = abi.number(name);
            let multiplexed = abi.multiplexer(name);
            *is_known |= number.is_some() || multiplexed.is_some();
            if let Some(number) = number {
                if abi != Abi::Arm || number < ARM_PRIVATE_BASE {
                    highest = highest.max(Some(number));
                }
                sorted.extend(clauses.iter().map(|clause| (number, Cow::Borrowed(clause))));
            }
            if let Some(multiplexed) = multiplexed {
                let through = |clause| through_multiplexer(clause, multiplexed, default);
                sorted.extend(
                    clauses.iter().filter_map(through).map(|it| (multiplexed.number, Cow::Owned(it))),
                );
            }
        }
        sorted.sort_by_key(|entry| entry.0);
        Self { abi, clauses: sorted, highest }
    }
}

/// `clause` for a call through a multiplexer, whose first argument says which call it is.
///
/// The other arguments are behind a pointer (`socketcall`) or elsewhere (`ipc`), so conditions can't be seen.
/// Then a clause that forbids more than the default does is kept without them, one that allows more is left
/// out.
fn through_multiplexer(clause: &Clause, multiplexed: Multiplexed, default: u32) -> Option<Clause> {
    // The kernel's order of severity: killing the process is the least value, allowing the greatest.
    let severity = |action: u32| (action & ACTION).cast_signed();
    if !clause.conditions.is_empty() && severity(clause.action) >= severity(default) {
        return None;
    }
    let which = Condition {
        index: 0,
        operator: LinuxSeccompOperator::ScmpCmpMaskedEq,
        value: multiplexed.mask.into(),
        value_two: multiplexed.call.into(),
    };
    Some(Clause { conditions: vec![which], action: clause.action })
}
