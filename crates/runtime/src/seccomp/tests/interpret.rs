//! Classic BPF as the kernel runs it for seccomp, with the kernel's checks.

use skiff_sys::seccomp::Instruction;

/// `struct seccomp_data` without the instruction pointer, which no profile looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Data {
    fn word(self, offset: u32) -> u32 {
        let mut bytes = Vec::new();
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.arch.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.args.iter().flat_map(|arg| arg.to_le_bytes()));
        assert!(offset.is_multiple_of(4) && offset < 64, "load at {offset}");
        let offset = usize::try_from(offset).unwrap();
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }
}

/// What the filter returns for a call. Panics where the kernel would refuse the program.
pub fn run(program: &[Instruction], data: Data) -> u32 {
    assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        at += 1;
        let holds = match code {
            0x20 => {
                accumulator = data.word(operand);
                continue;
            }
            0x54 => {
                accumulator &= operand;
                continue;
            }
            0x05 => {
                at += usize::try_from(operand).unwrap();
                continue;
            }
            0x06 => return operand,
            0x15 => accumulator == operand,
            0x25 => accumulator > operand,
            0x35 => accumulator >= operand,
            _ => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { jump_true } else { jump_false });
    }
}

#[test]
fn interpreter_does_what_the_manual_says() {
    let of = |code, operand| Instruction { code, jump_true: 0, jump_false: 1, operand };
    let data = Data { number: 7, arch: 9, args: [0x1_0000_0002, 0, 0, 0, 0, 3] };
    let returned =
        |offset, test, operand| run(&[of(0x20, offset), of(test, operand), of(0x06, 1), of(0x06, 2)], data);
    assert_eq!(returned(0, 0x15, 7), 1);
    assert_eq!(returned(4, 0x15, 7), 2);
    assert_eq!(returned(16, 0x15, 2), 1);
    assert_eq!(returned(20, 0x15, 1), 1);
    assert_eq!(returned(56, 0x25, 3), 2);
    assert_eq!(returned(56, 0x35, 3), 1);
    assert_eq!(run(&[of(0x20, 56), of(0x54, 2), of(0x15, 2), of(0x06, 1), of(0x06, 2)], data), 1);
    assert_eq!(run(&[of(0x05, 1), of(0x06, 1), of(0x06, 2)], data), 2);
}
