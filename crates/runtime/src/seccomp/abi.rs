//! The ABIs that a machine can run, and the numbers that system calls have in them.

use skiff_oci::runtime::Arch;

/// The kind of machine that a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// `x86_64`, with the ABIs i386 and x32.
    X86_64,
    /// `aarch64`, with the 32-bit ABI of ARM.
    Aarch64,
}

impl Machine {
    /// The machine that this program was built for.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// The ABI that the machine's own programs use.
    pub fn native_abi(self) -> Abi {
        match self {
            Self::X86_64 => Abi::X86_64,
            Self::Aarch64 => Abi::Aarch64,
        }
    }

    /// The ABI that `arch` is on this machine, if it can run it.
    pub fn abi(self, arch: Arch) -> Option<Abi> {
        match (self, arch) {
            (_, Arch::ScmpArchNative) => Some(self.native_abi()),
            (Self::X86_64, Arch::ScmpArchX86_64) => Some(Abi::X86_64),
            (Self::X86_64, Arch::ScmpArchX86) => Some(Abi::X86),
            (Self::X86_64, Arch::ScmpArchX32) => Some(Abi::X32),
            (Self::Aarch64, Arch::ScmpArchAarch64) => Some(Abi::Aarch64),
            (Self::Aarch64, Arch::ScmpArchArm) => Some(Abi::Arm),
            _ => None,
        }
    }
}

/// One way of making system calls: a table of numbers and a width of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    /// 64-bit calls of an x86_64 machine.
    X86_64,
    /// 32-bit calls of an x86_64 machine (i386).
    X86,
    /// The 64-bit instruction with 32-bit pointers, told by [`X32_BIT`].
    X32,
    /// 64-bit calls of an ARM machine.
    Aarch64,
    /// 32-bit calls of an ARM machine (EABI).
    Arm,
}

/// `__X32_SYSCALL_BIT`: in a call's number, the only mark of the x32 ABI.
pub const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// `AUDIT_ARCH_*`, as `seccomp_data.arch` has it. x86_64 and x32 share theirs.
    pub fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 32 bits, so that the upper halves in `seccomp_data` say nothing.
    pub fn has_narrow_arguments(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    /// The number of the system call `name`, or nothing if the ABI has no such call.
    pub fn number(self, name: &str) -> Option<u32> {
        match self {
            Self::X86_64 => X86_64.find(name),
            Self::X86 => X86.find(name),
            Self::X32 => X32.find(name).or_else(|| X86_64.find(name)).map(|number| number | X32_BIT),
            Self::Aarch64 => AARCH64.find(name),
            Self::Arm => ARM.find(name).or_else(|| ARM_PRIVATE.find(name)),
        }
    }

    /// The multiplexer through which `name` can be called as well, if this ABI has one for it.
    pub fn multiplexer(self, name: &str) -> Option<Multiplexed> {
        if self != Self::X86 {
            return None;
        }
        if let Some(call) = SOCKETCALL.find(name) {
            return Some(Multiplexed { number: 102, mask: u32::MAX, call });
        }
        // The upper half of the first argument of `ipc` is a version, so it must not hide the call.
        IPC.find(name).map(|call| Multiplexed { number: 117, mask: 0xffff, call })
    }
}

/// A call as it looks through `socketcall(2)` or `ipc(2)` of i386.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplexed {
    /// The number of the multiplexer.
    pub number: u32,
    /// The bits of its first argument that say which call it is.
    pub mask: u32,
    /// What they say.
    pub call: u32,
}

type Entry = (&'static str, u32);

/// How many slots a table has: a power of two, far above the number of calls, so that a search meets few others.
const SLOTS: usize = 2048;

/// System calls by name, hashed at compile time: filters are compiled on the way to every container, and the
/// `FromStr` of `syscalls` compares a name with all others one after the other.
struct Names<const SIZE: usize> {
    entries: [Entry; SIZE],
    /// The place of an entry plus one, 0 for none. Who finds their slot taken has the next free one.
    slots: [u16; SLOTS],
}

impl<const SIZE: usize> Names<SIZE> {
    const fn new(entries: [Entry; SIZE]) -> Self {
        let mut slots = [0; SLOTS];
        let mut place = 0;
        while place < SIZE {
            let mut slot = hash(entries[place].0);
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            place += 1;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "no ABI has 65,535 calls; const has no TryFrom"
            )]
            let entry = place as u16;
            slots[slot] = entry;
        }
        Self { entries, slots }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let (before, from) = self.slots.split_at_checked(hash(name))?;
        let chain = from.iter().chain(before).take_while(|place| **place != 0);
        let mut entries = chain.filter_map(|place| self.entries.get(usize::from(*place).checked_sub(1)?));
        entries.find(|entry| entry.0 == name).map(|entry| entry.1)
    }
}

/// FNV-1a, cut to a slot.
const fn hash(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    // The upper bits mix best.
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// All calls of a `Sysno`. (Its own `ALL` is private, its iterator leaves out the last.)
macro_rules! names {
    ($sysno:ty) => {{
        let mut entries = [("", 0); <$sysno>::count()];
        let mut filled = 0;
        let mut number = 0;
        while filled < entries.len() {
            if let Some(call) = <$sysno>::new(number as usize) {
                entries[filled] = (call.name(), number);
                filled += 1;
            }
            number += 1;
        }
        Names::new(entries)
    }};
}

static X86_64: Names<{ syscalls::x86_64::Sysno::count() }> = names!(syscalls::x86_64::Sysno);
static X86: Names<{ syscalls::x86::Sysno::count() }> = names!(syscalls::x86::Sysno);
static AARCH64: Names<{ syscalls::aarch64::Sysno::count() }> = names!(syscalls::aarch64::Sysno);
static ARM: Names<{ syscalls::arm::Sysno::count() }> = names!(syscalls::arm::Sysno);

/// The calls that have another number in x32 than in x86_64 (`syscall_64.tbl`, 512 to 547).
static X32: Names<36> = Names::new([
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
]);

/// ARM's own calls, far above the common table (`asm/unistd.h`).
static ARM_PRIVATE: Names<3> = Names::new([
    ("breakpoint", ARM_PRIVATE_BASE + 1),
    ("cacheflush", ARM_PRIVATE_BASE + 2),
    ("set_tls", ARM_PRIVATE_BASE + 5),
]);

/// `__ARM_NR_BASE`: numbers from here on say nothing about the age of a table.
pub const ARM_PRIVATE_BASE: u32 = 0xf_0000;

/// What `socketcall(2)` stands for, from `linux/net.h`.
static SOCKETCALL: Names<20> = Names::new([
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
]);

/// What `ipc(2)` stands for, from `linux/ipc.h`.
static IPC: Names<12> = Names::new([
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
]);

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn every_name_is_found_by_the_number_it_has() {
        for number in 0..600 {
            if let Some(call) = syscalls::x86_64::Sysno::new(number) {
                assert_eq!(Abi::X86_64.number(call.name()), Some(u32::try_from(number).unwrap()));
            }
            if let Some(call) = syscalls::x86::Sysno::new(number) {
                assert_eq!(Abi::X86.number(call.name()), Some(u32::try_from(number).unwrap()));
            }
            if let Some(call) = syscalls::aarch64::Sysno::new(number) {
                assert_eq!(Abi::Aarch64.number(call.name()), Some(u32::try_from(number).unwrap()));
            }
        }
        assert_eq!(syscalls::x86_64::Sysno::from_str("bpf").map(|call| call.id()), Ok(321));
        assert_eq!(Abi::X86_64.number("bpf"), Some(321));
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in ["", "no_such_call", "READ", "read ", "\0"] {
            assert_eq!(Abi::X86_64.number(name), None, "{name:?}");
        }
        assert_eq!(Abi::X86_64.number("socketcall"), None);
    }

    #[test]
    fn x32_has_its_own_numbers_behind_the_bit() {
        assert_eq!(Abi::X32.number("getpid"), Some(X32_BIT | 39));
        assert_eq!(Abi::X32.number("execve"), Some(X32_BIT | 520));
        assert_eq!(Abi::X32.number("pwritev2"), Some(X32_BIT | 547));
    }

    #[test]
    fn i386_reaches_sockets_and_ipc_by_multiplexers_too() {
        assert_eq!(
            Abi::X86.multiplexer("socket"),
            Some(Multiplexed { number: Abi::X86.number("socketcall").unwrap(), mask: u32::MAX, call: 1 })
        );
        assert_eq!(
            Abi::X86.multiplexer("shmctl"),
            Some(Multiplexed { number: Abi::X86.number("ipc").unwrap(), mask: 0xffff, call: 24 })
        );
        assert_eq!(Abi::X86.multiplexer("read"), None);
        assert_eq!(Abi::X86_64.multiplexer("socket"), None);
    }
}
