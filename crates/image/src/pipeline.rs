//! Two threads for one stream: while one reads, checks and decodes, the other unpacks.
//!
//! Between them go whole buffers, of which there are few: memory is bounded, and the faster side waits.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 4;

/// Runs `produce` in a thread of its own, and `consume` here with what it produced.
///
/// `consume` sees an error of `produce` as an error of reading. The answers of both come back; when the consumer
/// gives up early, the producer's next write fails, and only the consumer's error matters.
pub(crate) fn run<P, C, PE>(
    produce: impl FnOnce(&mut Sender) -> Result<P, PE> + Send,
    consume: impl FnOnce(Receiving) -> C,
) -> (Result<P, PE>, C)
where
    P: Send,
    PE: Send + From<io::Error>,
{
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BUFFERS);
        let worker = std::thread::Builder::new().name("skiff-decode".into()).spawn_scoped(scope, move || {
            let mut sender = Sender { channel: sender };
            let result = produce(&mut sender);
            // Only a producer that has succeeded may say that the stream is whole.
            let end = if result.is_ok() { Piece::End } else { Piece::Broken };
            match sender.channel.send(end) {
                Ok(()) => result,
                Err(_) => result.and(Err(PE::from(consumer_gone()))),
            }
        });
        let worker = match worker {
            Ok(worker) => worker,
            Err(error) => {
                let broken = Receiving::broken();
                return (Err(PE::from(error)), consume(broken));
            }
        };
        let consumed = consume(Receiving::new(receiver));
        let produced = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (produced, consumed)
    })
}

enum Piece {
    Bytes(Vec<u8>),
    End,
    Broken,
}

/// The producer's end.
pub(crate) struct Sender {
    channel: SyncSender<Piece>,
}

impl Sender {
    /// Sends everything that `input` has.
    pub fn send_all(&mut self, mut input: impl Read) -> io::Result<()> {
        loop {
            let mut buffer = Vec::with_capacity(BUFFER);
            // `take` keeps `read_to_end` within the capacity, so the buffer never grows.
            input.by_ref().take(BUFFER as u64).read_to_end(&mut buffer)?;
            if buffer.is_empty() {
                return Ok(());
            }
            self.channel.send(Piece::Bytes(buffer)).map_err(|_| consumer_gone())?;
        }
    }
}

/// Checks that nothing follows what a decoder has read.
pub(crate) fn expect_end(mut input: impl Read) -> io::Result<()> {
    if input.read(&mut [0])? == 0 {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "something follows the compressed data"))
    }
}

fn consumer_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the reader of the stream gave up")
}

/// The consumer's end.
pub(crate) struct Receiving {
    channel: Option<Receiver<Piece>>,
    buffer: Vec<u8>,
    used: usize,
    is_over: bool,
}

impl Receiving {
    const fn new(channel: Receiver<Piece>) -> Self {
        Self { channel: Some(channel), buffer: Vec::new(), used: 0, is_over: false }
    }

    const fn broken() -> Self {
        Self { channel: None, buffer: Vec::new(), used: 0, is_over: false }
    }
}

impl BufRead for Receiving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() && !self.is_over {
            match self.channel.as_ref().map(Receiver::recv) {
                Some(Ok(Piece::Bytes(bytes))) => {
                    self.buffer = bytes;
                    self.used = 0;
                }
                Some(Ok(Piece::End)) => self.is_over = true,
                Some(Ok(Piece::Broken) | Err(_)) | None => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream broke off"));
                }
            }
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.buffer.len());
    }
}

impl Read for Receiving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(into.len());
        into[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}
