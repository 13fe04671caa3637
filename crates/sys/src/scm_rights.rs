//! A descriptor that goes along with a message of a unix socket (`SCM_RIGHTS`, `unix(7)`).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::IoSlice;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with,
};

use crate::Errno;

/// Sends `bytes` with a copy of `descriptor`, without raising SIGPIPE; returns how many bytes went. Allocates
/// nothing.
///
/// # Errors
/// `EPIPE` when the other side is gone, and others of `sendmsg(2)`; `EINTR` is retried.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOBUFS);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent,
        }
    }
}

/// Connects to the stream socket at `path` and sends all of `bytes` with a copy of `descriptor`.
///
/// # Errors
/// Those of `connect(2)` and `sendmsg(2)`; `EMSGSIZE` when not all went at once.
pub fn send_to(path: &Path, bytes: &[u8], descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    if send(socket.as_fd(), bytes, descriptor)? == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}
