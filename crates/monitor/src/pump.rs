//! One direction of bytes, from a source to a sink: none lost, none reordered, and never waited for.
//!
//! A pump is moved by [`Pump::advance`] when the descriptor of [`Pump::interest`] is ready. It splices where
//! the kernel can, so that the bytes don't pass through this process, and copies where it can't. A sink that
//! is full stops the pump from reading: the source's own buffer fills and its writer waits, as in a pipeline.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::net::SendFlags;
use rustix::pipe::SpliceFlags;
use skiff_sys::{Errno, tty};

/// A descriptor of our own, perhaps used by two pumps, or one that the caller's shell left us.
#[derive(Debug, Clone)]
pub(crate) enum Fd {
    /// Ours; its flags are ours too.
    Own(Rc<OwnedFd>),
    /// One of the three that every process starts with. Its open file is shared with the shell.
    Inherited(BorrowedFd<'static>),
}

impl Fd {
    /// Takes `fd`.
    pub(crate) fn own(fd: OwnedFd) -> Self {
        Self::Own(Rc::new(fd))
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => fd.as_fd(),
            Self::Inherited(fd) => *fd,
        }
    }
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    /// A pipe, a file, a terminal.
    File(Fd),
    /// A socket, which is written to with a flag where others need an open file of their own.
    Socket(Fd),
    /// Nobody reads any more.
    Nowhere,
}

impl Sink {
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::File(fd) => rustix::io::write(fd, bytes),
            Self::Socket(fd) => rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Nowhere => Ok(bytes.len()),
        }
    }
}

/// Which end a pump waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Sink,
}

/// How the bytes are moved.
#[derive(Debug)]
enum Way {
    Splice,
    Copy(Buffer),
}

/// What came of an [`Pump::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more; wait for [`Pump::interest`].
    Flows,
    /// All bytes of the source have been delivered, and there will be no more.
    SourceEnded,
    /// The source can't be read: `EIO` of a terminal whose other end is closed.
    SourceBroken(Errno),
    /// The sink takes no more: `EPIPE`, or the error of a full disk.
    SinkBroken(Errno),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pump {
    source: Fd,
    sink: Sink,
    waits_for: End,
    way: Way,
}

/// As much as a pipe may hold; the kernel moves what there is.
const SPLICE_BYTES: usize = 1 << 20;

/// Four times what a terminal's line discipline holds, and a quarter of a pipe.
const COPY_BYTES: usize = 16 << 10;

impl Pump {
    /// A pump from `source` to `sink`, one of which is a pipe.
    ///
    /// # Errors
    /// Those of `fstat(2)` for a `sink` that isn't open.
    pub(crate) fn open(source: Fd, sink: Fd) -> Result<Self, Errno> {
        // splice(2) honours SPLICE_F_NONBLOCK for pipes only: into a socket, or a terminal that was stopped
        // with ctrl-S, it would wait.
        match kind(&sink)? {
            Kind::Socket | Kind::Terminal => Self::open_copying(source, sink),
            Kind::Pipe | Kind::Other => {
                let (sink, way) = (Sink::File(sink), Way::Splice);
                Ok(Self { source, sink, waits_for: End::Source, way })
            }
        }
    }

    /// A pump that copies, for a source and a sink that are no pipes.
    ///
    /// # Errors
    /// As [`Pump::open`].
    pub(crate) fn open_copying(source: Fd, sink: Fd) -> Result<Self, Errno> {
        let sink = match kind(&sink)? {
            Kind::Socket => Sink::Socket(sink),
            Kind::Terminal | Kind::Pipe => Sink::File(nonblocking(sink)?),
            Kind::Other => Sink::File(sink),
        };
        let mut pump = Self { source, sink, waits_for: End::Source, way: Way::Splice };
        pump.copy_instead()?;
        Ok(pump)
    }

    /// The descriptor and the event that the pump waits for.
    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match (self.waits_for, &self.sink) {
            (End::Sink, Sink::File(sink) | Sink::Socket(sink)) => (sink.as_fd(), PollFlags::OUT),
            _ => (self.source.as_fd(), PollFlags::IN),
        }
    }

    /// Moves some bytes. Call it when [`Pump::interest`] has something.
    pub(crate) fn advance(&mut self) -> Progress {
        match (&mut self.way, &self.sink) {
            (Way::Splice, Sink::File(sink)) => {
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                let moved = rustix::pipe::splice(&self.source, None, sink, None, SPLICE_BYTES, flags);
                self.after_splice(moved)
            }
            _ => self.copy(),
        }
    }

    /// From now on the bytes are read and dropped, so that the source's writer never waits.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub(crate) fn discard(&mut self) -> Result<(), Errno> {
        self.sink = Sink::Nowhere;
        self.copy_instead()
    }

    /// True when every byte that the source has now was delivered: what is left to do after its last writer
    /// is dead, but perhaps not yet closed.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub(crate) fn is_dry(&self) -> Result<bool, Errno> {
        if matches!(&self.way, Way::Copy(buffer) if !buffer.is_empty()) {
            return Ok(false);
        }
        let mut source = [PollFd::new(&self.source, PollFlags::IN)];
        poll(&mut source, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(source.iter().all(|source| !source.revents().contains(PollFlags::IN)))
    }

    fn after_splice(&mut self, moved: Result<usize, Errno>) -> Progress {
        match moved {
            Ok(0) => return Progress::SourceEnded,
            Ok(_) => self.waits_for = End::Source,
            // The end that we waited for was ready, so it is the other one that isn't.
            Err(Errno::AGAIN) => {
                self.waits_for = if self.waits_for == End::Source { End::Sink } else { End::Source };
            }
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Progress::SinkBroken(Errno::PIPE),
            // EINVAL: files opened for appending can't be spliced into. Other errors: copying tells whose.
            Err(_) => {
                if let Err(errno) = self.copy_instead() {
                    return Progress::SourceBroken(errno);
                }
            }
        }
        Progress::Flows
    }

    fn copy(&mut self) -> Progress {
        let Way::Copy(buffer) = &mut self.way else { return Progress::Flows };
        if buffer.is_empty() {
            match buffer.fill(&self.source) {
                Ok(0) => return Progress::SourceEnded,
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => {
                    self.waits_for = End::Source;
                    return Progress::Flows;
                }
                Err(errno) => return Progress::SourceBroken(errno),
            }
        }
        match self.sink.write(buffer.pending()) {
            Ok(written) => buffer.consume(written),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Progress::SinkBroken(errno),
        }
        self.waits_for = if buffer.is_empty() { End::Source } else { End::Sink };
        Progress::Flows
    }

    fn copy_instead(&mut self) -> Result<(), Errno> {
        self.way = Way::Copy(Buffer::default());
        self.waits_for = End::Source;
        match &self.source {
            Fd::Own(source) => rustix::fs::fcntl_setfl(source, OFlags::NONBLOCK),
            // Not ours to change; it is read only when there is something in it.
            Fd::Inherited(_) => Ok(()),
        }
    }
}

/// What has to be known about a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Terminal,
    Socket,
    /// A file or device: a write to it doesn't depend on a reader.
    Other,
}

fn kind(fd: &Fd) -> Result<Kind, Errno> {
    Ok(match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice if tty::is_terminal(fd) => Kind::Terminal,
        _ => Kind::Other,
    })
}

/// `fd` such that a write to it never waits, if that is possible.
fn nonblocking(fd: Fd) -> Result<Fd, Errno> {
    match fd {
        Fd::Own(fd) => rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK).map(|()| Fd::Own(fd)),
        // A terminal of another user (after `su`) can't be opened again: then writes to it may wait.
        Fd::Inherited(fd) => {
            Ok(tty::reopen_nonblocking(fd, OFlags::WRONLY).map_or(Fd::Inherited(fd), Fd::own))
        }
    }
}

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
struct Buffer {
    /// Allocated when the first byte comes: most pumps splice.
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn fill(&mut self, source: &Fd) -> Result<usize, Errno> {
        self.bytes.resize(COPY_BYTES, 0);
        self.from = 0;
        self.to = 0;
        self.to = rustix::io::read(source, self.bytes.as_mut_slice())?;
        Ok(self.to)
    }

    fn pending(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        self.from = self.from.saturating_add(count).min(self.to);
    }
}

#[cfg(test)]
mod tests;
