//! A compiled filter.

use skiff_sys::seccomp::{Flags, Instruction};

/// A seccomp profile as the kernel takes it: data only, made before the clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program, at most [`Filter::MAX_LEN`] instructions.
    pub program: Vec<Instruction>,
    /// The flags for [`skiff_sys::seccomp::install`].
    pub flags: Flags,
    /// The names in the profile that no ABI of the filter has. They match nothing.
    pub unknown: Vec<String>,
}

impl Filter {
    /// `BPF_MAXINSNS`: what the kernel takes at most.
    pub const MAX_LEN: usize = 4096;

    /// Whether installing returns a listener that somebody must serve: a call that waits for an answer that
    /// nobody gives hangs, and fails with `ENOSYS` once the listener is closed.
    pub fn needs_listener(&self) -> bool {
        self.flags.contains(Flags::NEW_LISTENER)
    }
}
