//! `bpf(2)` as far as a cgroup's device filter needs it: load a program, attach, list and detach it.
//!
//! Layouts follow `union bpf_attr` in the kernel's `include/uapi/linux/bpf.h`. The program itself is data
//! from the caller; the kernel's verifier decides whether it may run.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::Errno;
use crate::process::check;

/// One eBPF instruction: `code`, `dst | src << 4`, a signed 16-bit jump offset, a signed 32-bit immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation, with its class and operand kind.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// How far to jump, or where to load from.
    pub offset: i16,
    /// Constant operand.
    pub immediate: i32,
}

/// A loaded program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
#[derive(Debug)]
pub struct DeviceProgram {
    fd: OwnedFd,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// Several programs at one cgroup, all of which must allow an access.
const F_ALLOW_MULTI: u32 = 1 << 1;

/// Most programs that the kernel lets one cgroup have (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

impl DeviceProgram {
    /// Has the kernel verify and load `program`.
    ///
    /// # Errors
    /// `EINVAL` or `EACCES` when the verifier refuses it, `EPERM` without `CAP_BPF`/`CAP_SYS_ADMIN`, `ENOSYS`
    /// or `EINVAL` in a kernel without `CONFIG_CGROUP_BPF`.
    pub fn load(program: &[Instruction]) -> Result<Self, Errno> {
        let license = c"Apache-2.0";
        let attr = LoadAttr {
            prog_type: PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
            insns: program.as_ptr().addr() as u64,
            license: license.as_ptr().addr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name: *b"skiff_devices\0\0\0",
        };
        // SAFETY: `attr` has the layout of bpf_attr for BPF_PROG_LOAD; `insns` points to `insn_cnt` instructions
        // of 8 bytes and `license` to a NUL-terminated string, and both outlive the call, which only reads them.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
        Ok(Self { fd: owned(check(result)?)? })
    }

    /// Attaches the program to the cgroup v2 directory `cgroup`, beside those that are there already: an access
    /// is allowed when all of them allow it.
    ///
    /// # Errors
    /// What `BPF_PROG_ATTACH` returns, such as `EBADF` for a directory that is no cgroup.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
        self.change(PROG_ATTACH, cgroup, F_ALLOW_MULTI)
    }

    /// Detaches the program from `cgroup`.
    ///
    /// # Errors
    /// `ENOENT` when it is not attached there.
    pub fn detach(&self, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
        self.change(PROG_DETACH, cgroup, 0)
    }

    fn change(&self, command: libc::c_long, cgroup: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
        let attr = AttachAttr {
            target_fd: number(cgroup.as_raw_fd()),
            attach_bpf_fd: number(self.fd.as_raw_fd()),
            attach_type: ATTACH_TYPE_CGROUP_DEVICE,
            attach_flags: flags,
        };
        // SAFETY: `attr` has the layout of bpf_attr for BPF_PROG_ATTACH and BPF_PROG_DETACH (the kernel takes
        // the fields that are cut off as zero), holds no pointer, and outlives the call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of::<AttachAttr>()) };
        check(result).map(|_| ())
    }

    /// The device programs that are attached to `cgroup` itself (not those of its parents).
    ///
    /// # Errors
    /// What `BPF_PROG_QUERY` returns. A program that goes away meanwhile is left out.
    pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<Self>, Errno> {
        let mut ids = [0_u32; MAX_PROGRAMS];
        let mut attr = QueryAttr {
            target_fd: number(cgroup.as_raw_fd()),
            attach_type: ATTACH_TYPE_CGROUP_DEVICE,
            query_flags: 0,
            attach_flags: 0,
            prog_ids: ids.as_mut_ptr().addr() as u64,
            prog_cnt: u32::try_from(ids.len()).map_err(|_| Errno::OVERFLOW)?,
            padding: 0,
        };
        // SAFETY: `attr` has the layout of bpf_attr for BPF_PROG_QUERY; `prog_ids` points to `prog_cnt` writable
        // u32 in `ids`, which outlives the call, and the kernel writes no more than that.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut attr, size_of::<QueryAttr>()) };
        check(result)?;
        let count = usize::try_from(attr.prog_cnt).map_err(|_| Errno::OVERFLOW)?;
        ids.iter()
            .take(count)
            .filter_map(|&id| match Self::by_id(id) {
                Err(Errno::NOENT) => None,
                other => Some(other),
            })
            .collect()
    }

    fn by_id(id: u32) -> Result<Self, Errno> {
        let attr = IdAttr { id, next_id: 0, open_flags: 0 };
        // SAFETY: `attr` has the layout of bpf_attr for BPF_PROG_GET_FD_BY_ID, holds no pointer, and outlives
        // the call.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, &raw const attr, size_of::<IdAttr>()) };
        Ok(Self { fd: owned(check(result)?)? })
    }
}

/// A descriptor as the unsigned number that bpf_attr wants.
fn number(fd: RawFd) -> u32 {
    // Borrowed and owned descriptors are never negative.
    fd.unsigned_abs()
}

/// Takes a descriptor that the kernel has just made; bpf(2) makes them close on exec.
fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(result).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: bpf(2) returned `fd` as a new descriptor, and nobody else in this process knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_sizes_of_the_kernel_header() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(size_of::<LoadAttr>(), 64);
        assert_eq!(size_of::<AttachAttr>(), 16);
        assert_eq!(size_of::<QueryAttr>(), 32);
    }
}
