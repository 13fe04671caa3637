//! What the front and the monitor tell each other, and the socket that carries it.
//!
//! ```text
//!   front                                  monitor
//!     | ──── Signal, Resize ────────────────▶ |     while the container lives
//!     | ◀─── Broken ───────────────────────── |     nobody reads our output any more
//!     | ◀─── Failed, or Ended ─────────────── |     the last message
//!     |  EOF = the other one is dead          |
//! ```
//!
//! A `SOCK_SEQPACKET` pair keeps the messages apart, so each is one packet: a tag and its fields.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use skiff_sys::Errno;
use skiff_sys::signal::Received;
use skiff_sys::tty::Winsize;

use crate::wire::{Reader, Writer};
use crate::{ExitStatus, Failure};

/// No report is longer: a packet must fit the socket's buffer, and a reader must not be made to allocate more.
const REPORT_BYTES: usize = 128 << 10;

/// No order is longer.
const ORDER_BYTES: usize = 32;

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// A message of the front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Pass this signal to the container's init.
    Signal(Received),
    /// The window has this size now.
    Resize(Size),
}

/// The size of a window, comparable unlike the kernel's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    pub(crate) x_pixels: u16,
    pub(crate) y_pixels: u16,
}

/// A message of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// Writing the container's output failed with this error; the rest of it is dropped.
    Broken(i32),
    /// The container could not be started.
    Failed(Failure),
    /// The container has ended and is cleaned up.
    Ended(ExitStatus),
}

/// What [`Channel::receive_order`] and [`Channel::receive_report`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<Message> {
    Message(Message),
    /// There is nothing now.
    Nothing,
    /// The other end is closed: its process has ended.
    Closed,
}

/// A fresh pair of connected ends.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM` as `socketpair(2)` says.
pub(crate) fn pair() -> Result<(Channel, Channel), Errno> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel(one), Channel(other)))
}

impl Channel {
    /// Sends `order` without waiting.
    ///
    /// # Errors
    /// `EPIPE` when the monitor is dead, `EAGAIN` when it doesn't read.
    pub(crate) fn send_order(&self, order: &Order) -> Result<(), Errno> {
        self.send(&encode_order(order), SendFlags::DONTWAIT)
    }

    /// Sends `report`, and waits until there is room for it.
    ///
    /// # Errors
    /// `EPIPE` when the front is dead.
    pub(crate) fn send_report(&self, report: &Report) -> Result<(), Errno> {
        self.send(&encode_report(report), SendFlags::empty())
    }

    /// The next order, without waiting.
    ///
    /// # Errors
    /// `EBADMSG` when a message can't be read, others as `recv(2)` says.
    pub(crate) fn receive_order(&self) -> Result<Incoming<Order>, Errno> {
        self.receive(&mut [0; ORDER_BYTES], decode_order)
    }

    /// The next report, without waiting.
    ///
    /// # Errors
    /// As [`Channel::receive_order`].
    pub(crate) fn receive_report(&self) -> Result<Incoming<Report>, Errno> {
        self.receive(&mut vec![0; REPORT_BYTES], decode_report)
    }

    fn send(&self, message: &[u8], flags: SendFlags) -> Result<(), Errno> {
        loop {
            match send(&self.0, message, flags | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive<M>(
        &self,
        buffer: &mut [u8],
        decode: impl Fn(&[u8]) -> Option<M>,
    ) -> Result<Incoming<M>, Errno> {
        loop {
            match recv(&self.0, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(Incoming::Closed),
                Ok((length, _)) => {
                    let message = buffer.get(..length).and_then(decode);
                    return message.map(Incoming::Message).ok_or(Errno::BADMSG);
                }
                Err(Errno::AGAIN) => return Ok(Incoming::Nothing),
                // The other one has ended without reading all that we sent. The kernel says so once, before it
                // hands out what the other one had sent.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Winsize> for Size {
    fn from(size: Winsize) -> Self {
        Self { rows: size.ws_row, columns: size.ws_col, x_pixels: size.ws_xpixel, y_pixels: size.ws_ypixel }
    }
}

impl From<Size> for Winsize {
    fn from(size: Size) -> Self {
        Self { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.x_pixels, ws_ypixel: size.y_pixels }
    }
}

fn encode_order(order: &Order) -> Vec<u8> {
    let mut writer = Writer::default();
    match order {
        Order::Signal(signal) => {
            writer.u8(b'S').i32(signal.signal).i32(signal.code).i32(signal.pid).u32(signal.uid);
        }
        Order::Resize(size) => {
            writer.u8(b'W').u16(size.rows).u16(size.columns).u16(size.x_pixels).u16(size.y_pixels);
        }
    }
    writer.finish()
}

fn decode_order(message: &[u8]) -> Option<Order> {
    let mut reader = Reader::new(message);
    let order = match reader.u8()? {
        b'S' => Order::Signal(Received {
            signal: reader.i32()?,
            code: reader.i32()?,
            pid: reader.i32()?,
            uid: reader.u32()?,
        }),
        b'W' => Order::Resize(Size {
            rows: reader.u16()?,
            columns: reader.u16()?,
            x_pixels: reader.u16()?,
            y_pixels: reader.u16()?,
        }),
        _ => return None,
    };
    reader.is_at_end().then_some(order)
}

fn encode_report(report: &Report) -> Vec<u8> {
    let mut writer = Writer::default();
    match report {
        Report::Broken(errno) => {
            writer.u8(b'B').i32(*errno);
        }
        Report::Failed(failure) => {
            writer.u8(b'F');
            failure.encode(&mut writer);
        }
        Report::Ended(ended) => {
            writer.u8(b'E');
            ended.encode(&mut writer);
        }
    }
    writer.finish()
}

fn decode_report(message: &[u8]) -> Option<Report> {
    let mut reader = Reader::new(message);
    let report = match reader.u8()? {
        b'B' => Report::Broken(reader.i32()?),
        b'F' => Report::Failed(Failure::decode(&mut reader)?),
        b'E' => Report::Ended(ExitStatus::decode(&mut reader)?),
        _ => return None,
    };
    reader.is_at_end().then_some(report)
}

#[cfg(test)]
pub(crate) mod tests;
