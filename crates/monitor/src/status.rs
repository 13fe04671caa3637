//! How a container ended.

use std::time::Duration;

use serde::Serialize;
use skiff_sys::signal::Received;

use crate::wire::{Reader, Writer};

/// How the init of a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It ended by itself with this exit code.
    Exited(u8),
    /// This signal killed it.
    Signalled(i32),
}

impl End {
    /// What `waitid(2)` said: the exit code, or the signal.
    pub(crate) fn from_wait(exit: Option<i32>, signal: Option<i32>) -> Self {
        match signal {
            Some(signal) => Self::Signalled(signal),
            // The kernel keeps the low eight bits only; they are always there when there is no signal.
            None => Self::Exited(exit.and_then(|code| u8::try_from(code & 0xff).ok()).unwrap_or(u8::MAX)),
        }
    }

    /// The exit code that a shell and Docker give: its own, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX),
        }
    }
}

/// How a container ended, and what was noticed about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitStatus {
    /// How its init ended.
    pub end: End,
    /// The kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// The last signal that was passed to it, and who sent it.
    pub last_signal: Option<Received>,
    /// Each step of the launch with its duration.
    pub timings: Vec<(String, Duration)>,
    /// What was asked for and doesn't hold on this machine, a sentence each.
    pub warnings: Vec<String>,
    /// What could not be cleaned up, a sentence each.
    pub left: Vec<String>,
}

/// A message has at most this many steps in it.
const STEPS: usize = 255;

/// A message has at most this many texts in one list; more would not fit a packet.
const TEXTS: usize = 8;

impl ExitStatus {
    /// The exit code for the user: the command's, or 128 + the number of the signal that killed it.
    pub fn code(&self) -> u8 {
        self.end.code()
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        match self.end {
            End::Exited(code) => writer.u8(0).i32(code.into()),
            End::Signalled(signal) => writer.u8(1).i32(signal),
        };
        writer.u8(self.oom_killed.into()).option(self.last_signal, |writer, last| {
            writer.i32(last.signal).i32(last.code).i32(last.pid).u32(last.uid)
        });
        let timings = self.timings.get(..STEPS).unwrap_or(&self.timings);
        writer.u8(u8::try_from(timings.len()).unwrap_or(0));
        for (step, duration) in timings {
            writer.name(step).u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        }
        encode_texts(writer, &self.warnings);
        encode_texts(writer, &self.left);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let end = match (reader.u8()?, reader.i32()?) {
            (0, code) => End::Exited(u8::try_from(code).ok()?),
            (1, signal) => End::Signalled(signal),
            _ => return None,
        };
        let oom_killed = reader.u8()? != 0;
        let last_signal = reader.option(|reader| {
            Some(Received {
                signal: reader.i32()?,
                code: reader.i32()?,
                pid: reader.i32()?,
                uid: reader.u32()?,
            })
        })?;
        let timings = (0..reader.u8()?)
            .map(|_| Some((reader.text()?, Duration::from_nanos(reader.u64()?))))
            .collect::<Option<_>>()?;
        let (warnings, left) = (decode_texts(reader)?, decode_texts(reader)?);
        Some(Self { end, oom_killed, last_signal, timings, warnings, left })
    }
}

pub(crate) fn encode_texts(writer: &mut Writer, texts: &[String]) {
    let texts = texts.get(..TEXTS).unwrap_or(texts);
    writer.u8(u8::try_from(texts.len()).unwrap_or(0));
    for text in texts {
        writer.text(text);
    }
}

pub(crate) fn decode_texts(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    (0..reader.u8()?).map(|_| reader.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_commands_or_128_plus_the_signal() {
        assert_eq!(End::from_wait(Some(3), None).code(), 3);
        assert_eq!(End::from_wait(None, Some(libc::SIGKILL)).code(), 137);
        assert_eq!(End::from_wait(None, Some(libc::SIGTERM)).code(), 143);
        assert_eq!(End::from_wait(None, Some(64)).code(), 192);
        assert_eq!(End::from_wait(Some(0x1ff), None).code(), 255);
        assert_eq!(End::from_wait(None, None).code(), 255);
    }
}
