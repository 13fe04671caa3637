//! What parent and child say to each other over their socket.
//!
//! ```text
//! parent                              child
//!        ◀────────────── Joined        waits
//! Go (+ the rootfs, if made late) ──▶ begins
//!        ◀────────────── Terminal + the pty's master
//!        ◀────────────── Hooks         waits
//! Go ──────────────────────────────▶   goes on
//!        ◀────────────── Listener + the seccomp listener
//!        ◀────────────── end of file   execve was done, or the report says why not
//! ```

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg};
use skiff_sys::Errno;

/// One message: one byte, perhaps with a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The child may go on.
    Go,
    /// The child is in its cgroup.
    Joined,
    /// The hooks that belong here may run.
    Hooks,
    /// The master of the container's terminal.
    Terminal,
    /// The listener of the seccomp filter.
    Listener,
}

impl Message {
    fn byte(self) -> u8 {
        match self {
            Self::Go => b'g',
            Self::Joined => b'j',
            Self::Hooks => b'h',
            Self::Terminal => b't',
            Self::Listener => b'l',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Go, Self::Joined, Self::Hooks, Self::Terminal, Self::Listener]
            .into_iter()
            .find(|message| message.byte() == byte)
    }
}

/// Sends `message`. Allocates nothing.
///
/// # Errors
/// `EPIPE` when the other side is gone.
pub fn send(socket: BorrowedFd<'_>, message: Message) -> Result<(), Errno> {
    let byte = [message.byte()];
    rustix::net::send(socket, &byte, SendFlags::NOSIGNAL).map(|_| ())
}

/// Sends `message` with a copy of `descriptor` (`SCM_RIGHTS`, `unix(7)`). Allocates nothing.
///
/// # Errors
/// `EPIPE` when the other side is gone.
pub fn send_descriptor(
    socket: BorrowedFd<'_>,
    message: Message,
    descriptor: BorrowedFd<'_>,
) -> Result<(), Errno> {
    skiff_sys::scm_rights::send(socket, &[message.byte()], descriptor).map(|_| ())
}

/// Receives one message; `None` when the other side has closed, whether or not it has read what was sent to it.
/// Allocates nothing.
///
/// # Errors
/// `EAGAIN` with `MSG_DONTWAIT` and nothing there, `EPROTO` for a byte that is no message.
pub fn receive(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> Result<Option<(Message, Option<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut byte)];
        match recvmsg(socket, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            // The other side has closed without reading all of ours, which is said once: its own messages follow.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = Message::from_byte(byte[0]).ok_or(Errno::PROTO)?;
    let mut descriptor = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = part {
            descriptor = descriptors.next();
        }
    }
    Ok(Some((message, descriptor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::AsFd;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn messages_and_descriptors_arrive() {
        let (a, b) = pair();
        send(a.as_fd(), Message::Hooks).unwrap();
        send_descriptor(a.as_fd(), Message::Terminal, b.as_fd()).unwrap();
        let first = receive(b.as_fd(), RecvFlags::empty()).unwrap().unwrap();
        assert!(matches!(first, (Message::Hooks, None)));
        let second = receive(b.as_fd(), RecvFlags::empty()).unwrap().unwrap();
        assert!(matches!(second, (Message::Terminal, Some(_))));
        assert_eq!(receive(b.as_fd(), RecvFlags::DONTWAIT).unwrap_err(), Errno::AGAIN);
    }

    #[test]
    fn a_closed_socket_is_the_end_and_a_strange_byte_an_error() {
        let (a, b) = pair();
        rustix::net::send(&a, b"?", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(receive(b.as_fd(), RecvFlags::empty()).unwrap_err(), Errno::PROTO);
        drop(a);
        assert!(receive(b.as_fd(), RecvFlags::empty()).unwrap().is_none());
    }

    #[test]
    fn who_closes_without_reading_has_closed() {
        let (a, b) = pair();
        send(a.as_fd(), Message::Go).unwrap();
        drop(b);
        assert!(receive(a.as_fd(), RecvFlags::empty()).unwrap().is_none());
    }
}
