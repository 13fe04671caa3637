//! Writes classic BPF from its end to its beginning.
//!
//! Jumps of classic BPF only go forward and conditional ones reach 255 instructions. Written backwards, every
//! target exists before the jumps to it, its distance is known, and where it is too far a stepping stone can be
//! put close by. So there is nothing to patch and no size to guess.

use skiff_sys::seccomp::Instruction;

/// `BPF_LD | BPF_W | BPF_ABS`: the 32-bit word of `seccomp_data` at an offset.
pub const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
pub const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`
pub const JUMP: u16 = 0x05;
/// `BPF_RET | BPF_K`
pub const RETURN: u16 = 0x06;

/// A test of a conditional jump, between the loaded word and a constant, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// `BPF_JEQ`
    Equal,
    /// `BPF_JGT`
    Greater,
    /// `BPF_JGE`
    GreaterOrEqual,
}

impl Test {
    /// `BPF_JMP | BPF_K` with the test.
    pub fn code(self) -> u16 {
        match self {
            Self::Equal => 0x15,
            Self::Greater => 0x25,
            Self::GreaterOrEqual => 0x35,
        }
    }
}

/// Where execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The filter ends with this value.
    Return(u32),
    /// At an instruction that is there already.
    At(Label),
}

/// An instruction by its distance from the end of the program, which never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub struct Assembler {
    reversed: Vec<Instruction>,
    /// Where each value is returned, the place nearest to the beginning only.
    returns: Vec<(u32, Label)>,
}

/// A conditional jump reaches 255 instructions; the rest is room for the stones of its other target.
const NEAR: usize = 250;

impl Assembler {
    /// Writes a load of the word at `offset` of `seccomp_data` that goes on at `next`.
    pub fn load(&mut self, offset: u32, next: Target) -> Target {
        self.fall_into(next);
        Target::At(self.push(LOAD, 0, 0, offset))
    }

    /// Writes `A &= mask` that goes on at `next`.
    pub fn and(&mut self, mask: u32, next: Target) -> Target {
        self.fall_into(next);
        Target::At(self.push(AND, 0, 0, mask))
    }

    /// Writes a conditional jump; none if both ways lead to the same place.
    pub fn branch(&mut self, test: Test, operand: u32, then: Target, otherwise: Target) -> Target {
        if then == otherwise {
            return then;
        }
        let then = self.bring_near(then);
        let otherwise = self.bring_near(otherwise);
        let (jump_true, jump_false) = (self.short_distance(then), self.short_distance(otherwise));
        Target::At(self.push(test.code(), jump_true, jump_false, operand))
    }

    /// The finished program, which starts at `entry`.
    pub fn finish(mut self, entry: Target) -> Vec<Instruction> {
        self.fall_into(entry);
        self.reversed.reverse();
        self.reversed
    }

    /// Makes `target` the instruction that follows what is written next.
    fn fall_into(&mut self, target: Target) {
        match target {
            Target::At(label) if self.distance(label) == 0 => {}
            Target::At(label) => {
                self.jump_to(label);
            }
            Target::Return(value) => {
                self.push(RETURN, 0, 0, value);
            }
        }
    }

    /// A label for `target` that a conditional jump can reach from here.
    fn bring_near(&mut self, target: Target) -> Label {
        match target {
            Target::At(label) if self.distance(label) <= NEAR => label,
            Target::At(label) => self.jump_to(label),
            Target::Return(value) => {
                let known = self.returns.iter().position(|(other, _)| *other == value);
                let known_label = known.and_then(|index| self.returns.get(index)).map(|entry| entry.1);
                if let Some(label) = known_label.filter(|label| self.distance(*label) <= NEAR) {
                    return label;
                }
                let label = self.push(RETURN, 0, 0, value);
                match known.and_then(|index| self.returns.get_mut(index)) {
                    Some(entry) => entry.1 = label,
                    None => self.returns.push((value, label)),
                }
                label
            }
        }
    }

    fn jump_to(&mut self, label: Label) -> Label {
        // A program that long is refused before the kernel sees it.
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions a jump that is written next skips to reach `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len().saturating_sub(label.0)
    }

    fn short_distance(&self, label: Label) -> u8 {
        // `bring_near` left at most NEAR, and the other target's stone adds one.
        u8::try_from(self.distance(label)).unwrap_or(u8::MAX)
    }

    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Label {
        self.reversed.push(Instruction { code, jump_true, jump_false, operand });
        Label(self.reversed.len())
    }
}
