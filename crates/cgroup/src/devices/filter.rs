//! The v2 form: an eBPF program that the kernel asks at every access.
//!
//! It is called with `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, where the low
//! half of the first word is the kind of device and the high half the accesses, and answers 1 (allow) or 0.

use skiff_sys::bpf::Instruction;

use super::{Access, DeviceKind, DeviceRule};

// Opcodes of linux/bpf.h: class, operation and operand kind in one byte.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_IF_NOT: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_IF: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers: r0 is the answer and r1 the context, by the calling convention.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const MAJOR: u8 = 3;
const MINOR: u8 = 4;
/// The accesses that no rule has decided yet.
const OPEN: u8 = 5;

/// Kinds as the context has them (`BPF_DEVCG_DEV_BLOCK`, `BPF_DEVCG_DEV_CHAR`).
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// The program that answers as [`super::is_allowed`] does for `rules`.
///
/// Rules are asked from the last to the first. An allowing rule takes its accesses off the open ones, and
/// when none is left the answer is yes; a denying rule that names an open one says no; so does the end.
pub(crate) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(KIND, 0),
        op(MOVE_REGISTER, OPEN, KIND, 0, 0),
        op(SHIFT_RIGHT, OPEN, 0, 0, 16),
        op(AND, KIND, 0, 0, 0xffff),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let conditions = conditions(rule);
        let verdict = verdict(rule);
        for (done, &(register, value)) in conditions.iter().enumerate() {
            // Past the conditions that are still to come, and the verdict.
            let skip = conditions.len() - done - 1 + verdict.len();
            program.push(op(JUMP_IF_NOT, register, 0, offset(skip), value));
        }
        program.extend(&verdict);
        if conditions.is_empty() && rule.access == Access::ALL {
            // It decides everything; the verifier refuses code that can't be reached.
            return program;
        }
    }
    program.extend(answer(0));
    program
}

/// What has to be equal for the rule to be about the device.
fn conditions(rule: &DeviceRule) -> Vec<(u8, i32)> {
    let kind = match rule.kind {
        DeviceKind::Any => None,
        DeviceKind::Block => Some(BLOCK),
        DeviceKind::Character => Some(CHARACTER),
    };
    // Majors have 12 bits and minors 20, so both are positive immediates.
    let number = |number: Option<u32>| number.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))]
        .into_iter()
        .filter_map(|(register, value)| value.map(|value| (register, value)))
        .collect()
}

/// What a matching rule does with the open accesses.
fn verdict(rule: &DeviceRule) -> Vec<Instruction> {
    let access = i32::from(rule.access.bits());
    if rule.access == Access::ALL {
        return answer(i32::from(rule.allow)).to_vec();
    }
    if rule.allow {
        let [move_one, exit] = answer(1);
        return vec![op(AND, OPEN, 0, 0, !access), op(JUMP_IF_NOT, OPEN, 0, 2, 0), move_one, exit];
    }
    let [move_zero, exit] = answer(0);
    vec![
        op(MOVE_REGISTER, ANSWER, OPEN, 0, 0),
        op(AND, ANSWER, 0, 0, access),
        op(JUMP_IF, ANSWER, 0, 2, 0),
        move_zero,
        exit,
    ]
}

fn answer(value: i32) -> [Instruction; 2] {
    [op(MOVE, ANSWER, 0, 0, value), op(EXIT, 0, 0, 0, 0)]
}

fn load(register: u8, at: i16) -> Instruction {
    op(LOAD_WORD, register, CONTEXT, at, 0)
}

const fn op(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

/// At most three conditions and a verdict of five, far from any limit.
fn offset(skip: usize) -> i16 {
    i16::try_from(skip).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{questions, rule_lists};
    use super::super::{DeviceRule, is_allowed};
    use super::*;
    use proptest::prelude::*;

    fn bytes(program: &[Instruction]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for instruction in program {
            bytes.extend([instruction.code, instruction.registers]);
            bytes.extend(instruction.offset.to_le_bytes());
            bytes.extend(instruction.immediate.to_le_bytes());
        }
        bytes
    }

    fn context(kind: DeviceKind, major: u32, minor: u32, access: Access) -> [u8; 12] {
        let kind: u32 = if kind == DeviceKind::Block { 1 } else { 2 };
        let first = u32::from(access.bits()) << 16 | kind;
        let mut context = [0; 12];
        for (place, word) in context.chunks_mut(4).zip([first, major, minor]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        context
    }

    fn agrees(rules: &[DeviceRule]) {
        let program = bytes(&compile(rules));
        let machine = rbpf::EbpfVmRaw::new(Some(&program)).expect("rbpf's verifier takes it");
        for (kind, major, minor, access) in questions() {
            let answer = machine.execute_program(&mut context(kind, major, minor, access)).expect("it ends");
            let meant = is_allowed(rules, kind, major, minor, access);
            assert_eq!(answer == 1, meant, "{kind:?} {major}:{minor} {access} of {rules:?}");
        }
    }

    #[test]
    fn the_default_list_means_in_ebpf_what_it_says() {
        agrees(&[DeviceRule::DENY_ALL].into_iter().chain(DeviceRule::DEFAULTS).collect::<Vec<_>>());
        agrees(&[]);
        agrees(&[DeviceRule::ALLOW_ALL]);
    }

    #[test]
    fn nothing_follows_a_rule_that_decides_everything() {
        let rules = ["c 1:3 rwm".parse().expect("valid"), DeviceRule::ALLOW_ALL];
        assert_eq!(compile(&rules).len(), 6 + 2);
    }

    proptest! {
        #[test]
        fn every_list_means_in_ebpf_what_it_says(rules in rule_lists()) {
            agrees(&rules);
        }
    }
}
