//! What the network subsystem calls a network namespace: `RTM_GETNSID` of `rtnetlink(7)`, one question and its answer.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use skiff_sys::Errno;

/// `RTM_NEWNSID`, the answer.
const ANSWER: u16 = 88;
/// `RTM_GETNSID`.
const QUESTION: u16 = 90;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NETNSA_NSID`.
const ID: u16 = 1;
/// `NETNSA_FD`.
const FD: u16 = 3;
/// A netlink header, and the `rtgenmsg` after it with its padding.
const HEADERS: usize = 16 + 4;

/// A netlink socket.
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens it.
    pub fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        // The protocol 0 is NETLINK_ROUTE.
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).map(Self)
    }

    /// The id of the network namespace `file` as seen from the caller's; none if it has got none yet.
    pub fn id_of(&self, file: &OwnedFd) -> Result<Option<i32>, Errno> {
        let descriptor = u32::try_from(file.as_fd().as_raw_fd()).map_err(|_negative| Errno::BADF)?;
        rustix::net::send(&self.0, &question(descriptor), SendFlags::empty())?;
        let mut buffer = [0; 512];
        let (length, _) = rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty())?;
        let id = answer(buffer.get(..length).unwrap_or_default()).ok_or(Errno::PROTO)?;
        Ok((id >= 0).then_some(id))
    }
}

fn question(descriptor: u32) -> Vec<u8> {
    let length: u32 = 16 + 4 + 8;
    let mut message = Vec::with_capacity(28);
    message.extend(length.to_ne_bytes());
    message.extend(QUESTION.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(8u16.to_ne_bytes());
    message.extend(FD.to_ne_bytes());
    message.extend(descriptor.to_ne_bytes());
    message
}

/// The id in an answer, −1 for none; nothing if it is no answer.
fn answer(message: &[u8]) -> Option<i32> {
    let word = |at: usize| Some(u16::from_ne_bytes(message.get(at..at + 2)?.try_into().ok()?));
    if word(4)? != ANSWER {
        return None;
    }
    let mut at = HEADERS;
    while let (Some(length), Some(kind)) = (word(at), word(at + 2)) {
        if kind == ID {
            return Some(i32::from_ne_bytes(message.get(at + 4..at + 8)?.try_into().ok()?));
        }
        // Attributes start at multiples of four; a length below that of its own header would never end.
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_behind_other_attributes() {
        let mut message = vec![0; HEADERS];
        message[4..6].copy_from_slice(&ANSWER.to_ne_bytes());
        message.extend([5u16, 9].map(u16::to_ne_bytes).concat());
        message.extend([1, 0, 0, 0]);
        message.extend([8u16, ID].map(u16::to_ne_bytes).concat());
        message.extend((-1i32).to_ne_bytes());
        assert_eq!(answer(&message), Some(-1));
        for length in 0..message.len() {
            assert_eq!(answer(&message[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_own_namespace_has_an_answer() {
        let own = skiff_sys::ns::open_of(rustix::process::getpid(), skiff_sys::ns::Kind::Net).unwrap();
        assert!(Socket::open().unwrap().id_of(&own).is_ok());
    }
}
