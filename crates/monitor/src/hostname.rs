//! `hostname NAME` and `domainname NAME` in a container that has no CAP_SYS_ADMIN.
//!
//! The seccomp filter hands `sethostname` and `setdomainname` to us ([`Listener::answer`]). We do them in the
//! caller's UTS namespace if it is the container's own. What the kernel would refuse for another reason, or
//! what concerns another namespace, goes back to the kernel, which decides with the caller's own rights.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use skiff_sys::clone::{self, Cloned};
use skiff_sys::ns::{self, Kind};
use skiff_sys::seccomp::{self, Answer, Notification};
use skiff_sys::{Errno, procfs};

/// The longest name that the kernel takes (`__NEW_UTS_LEN`).
const NAME_BYTES: usize = 64;

/// CAP_SYS_CHROOT, of Docker's default capabilities the one nearest to administering a container. Who was
/// denied it by `--cap-drop` shall not set names either, nor an unprivileged user of the container.
const CAP_SYS_CHROOT: u64 = 1 << 18;

/// Which name a call sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Host,
    Domain,
}

/// The seccomp listener of a container.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    init: Pid,
}

impl Listener {
    /// Takes the listener `fd` of the container whose init is our child `init`.
    pub(crate) fn new(fd: OwnedFd, init: Pid) -> Self {
        Self { fd, init }
    }

    /// Takes one notification and answers it.
    ///
    /// # Errors
    /// Those of the listener itself. What is wrong with a call is its caller's answer.
    pub(crate) fn answer(&self) -> Result<(), Errno> {
        let call = match seccomp::receive(self.fd.as_fd()) {
            // Its caller was killed in between.
            Err(Errno::NOENT | Errno::INTR) => return Ok(()),
            other => other?,
        };
        let answer = self.decide(&call).unwrap_or_else(Answer::Error);
        match seccomp::respond(self.fd.as_fd(), call.id, answer) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn decide(&self, call: &Notification) -> Result<Answer, Errno> {
        let Some(name) = which(call) else { return Ok(Answer::Continue) };
        let caller = i32::try_from(call.thread).ok().and_then(Pid::from_raw).ok_or(Errno::PERM)?;
        let namespace = ns::open_of(caller, Kind::Uts)?;
        let capabilities = procfs::status(caller).map_err(|_| Errno::PERM)?.capabilities;
        let user = ns::inode_of(caller, Kind::User)?;
        // Only now is it certain that all of this was about the caller, and not a process with its number.
        if !seccomp::is_waiting(self.fd.as_fd(), call.id)? {
            return Err(Errno::INTR);
        }
        let uts = ns::inode(namespace.as_fd())?;
        if uts == ns::inode_of(rustix::process::getpid(), Kind::Uts)? {
            return Err(Errno::PERM);
        }
        if uts != ns::inode_of(self.init, Kind::Uts)? || user != ns::inode_of(self.init, Kind::User)? {
            return Ok(Answer::Continue);
        }
        if capabilities.effective & CAP_SYS_CHROOT == 0 {
            return Err(Errno::PERM);
        }
        let text = self.read_name(call)?;
        set_in(&namespace, name, &text).map(|()| Answer::Value(0))
    }

    fn read_name(&self, call: &Notification) -> Result<Vec<u8>, Errno> {
        let [address, length, ..] = call.args;
        // The kernel takes the length as an int and refuses what is longer (`kernel/sys.c`).
        let length = usize::try_from(length & 0xffff_ffff).map_err(|_| Errno::INVAL)?;
        if length > NAME_BYTES {
            return Err(Errno::INVAL);
        }
        let mut name = vec![0; length];
        if length > 0 {
            seccomp::read_memory(call.thread, address, &mut name).map_err(|_| Errno::FAULT)?;
        }
        // The memory was the caller's only if it still waits.
        if seccomp::is_waiting(self.fd.as_fd(), call.id)? { Ok(name) } else { Err(Errno::INTR) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The call by its number, for each ABI that the filter lets through to us.
fn which(call: &Notification) -> Option<Name> {
    /// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_I386`, `AUDIT_ARCH_AARCH64` of `linux/audit.h`.
    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    match (call.arch, call.number) {
        (X86_64, 170) | (I386, 74) | (AARCH64, 161) => Some(Name::Host),
        (X86_64, 171) | (I386, 121) | (AARCH64, 162) => Some(Name::Domain),
        _ => None,
    }
}

/// Sets the name in `namespace`, by a child that joins it, makes the one call, and ends.
fn set_in(namespace: &OwnedFd, name: Name, text: &[u8]) -> Result<(), Errno> {
    match clone::fork()? {
        Cloned::Child => {
            clone::exit_now(set_here(namespace, name, text).map_or_else(Errno::raw_os_error, |()| 0))
        }
        Cloned::Parent { pidfd, .. } => match clone::wait_for(pidfd.as_fd())? {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        },
    }
}

/// The child's part: raw calls only, no allocation (R11, R39).
fn set_here(namespace: &OwnedFd, name: Name, text: &[u8]) -> Result<(), Errno> {
    // Before the first namespace is joined: nobody in the container may look into this process (R8).
    let dumpable = rustix::process::DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(dumpable)?;
    ns::join(namespace.as_fd(), Kind::Uts)?;
    match name {
        Name::Host => rustix::system::sethostname(text),
        Name::Domain => rustix::system::setdomainname(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arch: u32, number: i32) -> Notification {
        Notification { id: 1, thread: 1, number, arch, args: [0; 6] }
    }

    #[test]
    fn calls_are_known_by_abi_and_number() {
        assert_eq!(which(&call(0xc000_003e, 170)), Some(Name::Host));
        assert_eq!(which(&call(0xc000_003e, 171)), Some(Name::Domain));
        assert_eq!(which(&call(0x4000_0003, 74)), Some(Name::Host));
        assert_eq!(which(&call(0x4000_0003, 170)), None);
        assert_eq!(which(&call(0xc000_003e, 1)), None);
    }
}
