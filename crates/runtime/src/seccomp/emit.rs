//! From sorted rules to instructions.
//!
//! The filter loads the ABI, then the number, and finds the number's verdict in a binary tree of comparisons
//! over ranges of equal verdicts. A verdict is a value to return or a chain of tests of the arguments. The way to
//! a verdict without tests looks at ABI and number only, so the kernel can work it out once and keep it in a
//! bitmap (Linux 5.11): allowed calls then cost nothing.

use std::borrow::Cow;

use skiff_oci::runtime::LinuxSeccompOperator;
use skiff_sys::seccomp::Instruction;

use super::abi::{Abi, X32_BIT};
use super::assembler::{Assembler, Target, Test};
use super::compile::{Clause, Condition, Table};

pub const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub const RET_KILL_THREAD: u32 = 0x0000_0000;
pub const RET_TRAP: u32 = 0x0003_0000;
pub const RET_ERRNO: u32 = 0x0005_0000;
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
pub const RET_TRACE: u32 = 0x7ff0_0000;
pub const RET_LOG: u32 = 0x7ffc_0000;
pub const RET_ALLOW: u32 = 0x7fff_0000;

/// "No such system call": what a kernel says that is older than the caller.
pub const RET_ENOSYS: u32 = RET_ERRNO | 38;

/// `SECCOMP_RET_ACTION_FULL`: a value without its data.
pub const ACTION: u32 = 0xffff_0000;

/// Offsets in `struct seccomp_data`. Both machines are little-endian, so the lower half of an argument comes
/// first.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The program for `tables`, the native ABI's first.
pub fn emit(tables: &[Table<'_>], default: u32) -> Vec<Instruction> {
    let mut emitter = Emitter { assembler: Assembler::default(), default };
    // From the end to the beginning, so that what is wanted most stands first and is written last.
    let starts: Vec<_> = tables.iter().rev().map(|table| (table.abi, emitter.table(table))).collect();
    let entry = emitter.dispatch(&starts);
    emitter.assembler.finish(entry)
}

struct Emitter {
    assembler: Assembler,
    default: u32,
}

impl Emitter {
    /// The choice between ABIs, from what was written for each.
    fn dispatch(&mut self, starts: &[(Abi, Target)]) -> Target {
        let x32 = starts.iter().find(|start| start.0 == Abi::X32);
        let x32 = x32.map_or(Target::Return(RET_ENOSYS), |start| start.1);
        let mut next = Target::Return(RET_KILL_PROCESS);
        for (abi, start) in starts.iter().filter(|start| start.0 != Abi::X32) {
            let mut section = *start;
            if *abi == Abi::X86_64 {
                section = self.assembler.branch(Test::GreaterOrEqual, X32_BIT, x32, section);
            }
            section = self.assembler.load(NUMBER, section);
            next = self.assembler.branch(Test::Equal, abi.audit_arch(), section, next);
        }
        self.assembler.load(ARCH, next)
    }

    /// Everything about one ABI; the number is loaded.
    fn table(&mut self, table: &Table<'_>) -> Target {
        let default = Target::Return(self.default);
        // A tracer and a log want to see calls of any age.
        let is_permissive = matches!(self.default & ACTION, RET_ALLOW | RET_LOG | RET_TRACE);
        let newer = if is_permissive { default } else { Target::Return(RET_ENOSYS) };

        let mut verdicts = Vec::with_capacity(table.clauses.len());
        for clauses in table.clauses.chunk_by(|left, right| left.0 == right.0) {
            if let Some((number, _)) = clauses.first() {
                verdicts.push((*number, self.verdict(table.abi, clauses)));
            }
        }
        if let Some(highest) = table.highest
            && let Err(place) = verdicts.binary_search_by_key(&highest, |verdict| verdict.0)
        {
            // A rule that says what the default says: nothing but an end of the known calls.
            verdicts.insert(place, (highest, default));
        }
        let is_newer = |number| table.highest.is_some_and(|highest| number > highest);
        self.search(&ranges(&verdicts, |number| if is_newer(number) { newer } else { default }))
    }

    /// What happens to one call, whose rules are `clauses`.
    fn verdict(&mut self, abi: Abi, clauses: &[(u32, Cow<'_, Clause>)]) -> Target {
        let mut clauses = clauses.iter().map(|entry| entry.1.as_ref());
        if let Some(clause) = clauses.clone().find(|clause| clause.conditions.is_empty()) {
            return Target::Return(clause.action);
        }
        let mut next = Target::Return(self.default);
        while let Some(clause) = clauses.next_back() {
            let mut holds = Target::Return(clause.action);
            for condition in clause.conditions.iter().rev() {
                holds = self.condition(abi, condition, holds, next);
            }
            next = holds;
        }
        next
    }

    /// A test of one argument that leads to `holds` or `fails`.
    fn condition(&mut self, abi: Abi, condition: &Condition, holds: Target, fails: Target) -> Target {
        let word = Word::of(abi, condition);
        let value = condition.value;
        match condition.operator {
            LinuxSeccompOperator::ScmpCmpEq => self.equal(&word, [u64::MAX, value], holds, fails),
            LinuxSeccompOperator::ScmpCmpNe => self.equal(&word, [u64::MAX, value], fails, holds),
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                // libseccomp takes the bits of the second value outside of the mask for zeroes.
                let wanted = condition.value_two & value;
                self.equal(&word, [value, wanted], holds, fails)
            }
            LinuxSeccompOperator::ScmpCmpGt => self.above(&word, Test::Greater, value, holds, fails),
            LinuxSeccompOperator::ScmpCmpGe => self.above(&word, Test::GreaterOrEqual, value, holds, fails),
            LinuxSeccompOperator::ScmpCmpLe => self.above(&word, Test::Greater, value, fails, holds),
            LinuxSeccompOperator::ScmpCmpLt => self.above(&word, Test::GreaterOrEqual, value, fails, holds),
        }
    }

    /// `argument & mask == wanted`
    fn equal(&mut self, word: &Word, [mask, wanted]: [u64; 2], holds: Target, fails: Target) -> Target {
        let mut next = self.half_equal(word.low, [low(mask), low(wanted)], holds, fails);
        if let Some(offset) = word.high {
            next = self.half_equal(offset, [high(mask), high(wanted)], next, fails);
        }
        next
    }

    fn half_equal(&mut self, offset: u32, [mask, wanted]: [u32; 2], holds: Target, fails: Target) -> Target {
        if mask == 0 {
            return holds;
        }
        let mut next = self.assembler.branch(Test::Equal, wanted, holds, fails);
        if mask != u32::MAX {
            next = self.assembler.and(mask, next);
        }
        self.assembler.load(offset, next)
    }

    /// `argument > value` or `argument >= value`
    fn above(&mut self, word: &Word, test: Test, value: u64, holds: Target, fails: Target) -> Target {
        let next = self.assembler.branch(test, low(value), holds, fails);
        let next = self.assembler.load(word.low, next);
        let Some(offset) = word.high else { return next };
        // The lower half counts only where the upper ones are equal.
        let next = self.assembler.branch(Test::Equal, high(value), next, fails);
        let next = self.assembler.branch(Test::Greater, high(value), holds, next);
        self.assembler.load(offset, next)
    }

    /// A binary tree that finds the range of the loaded number.
    fn search(&mut self, ranges: &[(u32, Target)]) -> Target {
        let (left, right) = ranges.split_at(ranges.len() / 2);
        match (left, right) {
            ([], [(_, target)]) => *target,
            (_, [(start, _), ..]) => {
                let above = self.search(right);
                let below = self.search(left);
                self.assembler.branch(Test::GreaterOrEqual, *start, above, below)
            }
            (_, []) => Target::Return(self.default),
        }
    }
}

/// Where the halves of an argument are; on an ABI of 32 bits the lower one is all there is.
struct Word {
    low: u32,
    high: Option<u32>,
}

impl Word {
    fn of(abi: Abi, condition: &Condition) -> Self {
        let low = ARGUMENTS + u32::from(condition.index) * 8;
        Self { low, high: (!abi.has_narrow_arguments()).then_some(low + 4) }
    }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).unwrap_or(u32::MAX)
}

/// All numbers as ranges, each by its first: those of the sorted `verdicts` and, between them, what `otherwise`
/// says. Neighbours with equal targets are one range.
fn ranges(verdicts: &[(u32, Target)], otherwise: impl Fn(u32) -> Target) -> Vec<(u32, Target)> {
    let mut ranges: Vec<(u32, Target)> = Vec::with_capacity(verdicts.len());
    let mut push = |start, target| {
        if ranges.last().is_none_or(|range| range.1 != target) {
            ranges.push((start, target));
        }
    };
    let mut free = Some(0);
    for (number, target) in verdicts {
        if let Some(start) = free.filter(|start| start < number) {
            push(start, otherwise(start));
        }
        push(*number, *target);
        free = number.checked_add(1);
    }
    if let Some(start) = free {
        push(start, otherwise(start));
    }
    ranges
}
