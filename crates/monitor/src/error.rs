//! What can go wrong around a running container.

use std::fmt;

use skiff_sys::Errno;

use crate::status::{decode_texts, encode_texts};
use crate::wire::{Reader, Writer};

/// What went wrong while a container was being run.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The container could not be started.
    #[error(transparent)]
    Launch(Failure),
    /// `-i` and `-t` with a stdin that is no terminal.
    #[error("the input device is not a terminal")]
    NotATerminal,
    /// The caller's terminal could not be put into raw mode.
    #[error("set the terminal to raw mode")]
    RawMode(#[source] Errno),
    /// The monitor process could not be made.
    #[error("start the monitor process")]
    Start(#[source] Errno),
    /// Nobody reads the container's output any more. The container lives on without a reader.
    #[error("write the output of the container")]
    Output(#[source] Errno),
    /// The user sent SIGINT or SIGTERM three times. The container lives on without a reader.
    #[error("wait for the container: it does not end on SIGINT or SIGTERM")]
    Insisted,
    /// The front could not wait any longer.
    #[error("wait for the container")]
    Wait(#[source] Errno),
    /// The monitor died before the container's end; what it held was cleaned up by the front.
    #[error("the monitor process was killed; its container was ended and removed{}", Left(.left))]
    Killed {
        /// What could not be cleaned up, a sentence each.
        left: Vec<String>,
    },
}

impl MonitorError {
    /// The exit code of `skiff run` for this error, as Docker gives it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(failure) => failure.exit_code,
            // Docker's client ends with 1 when it can't write or was asked to three times; the container was started and is well.
            Self::Output(_) | Self::Insisted => 1,
            _ => 125,
        }
    }

    /// What the user could do about it, where there is something.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Launch(failure) => failure.hint.as_deref(),
            Self::NotATerminal => {
                Some("leave out `-t`: bytes from a file or pipe pass unchanged with `-i` alone")
            }
            Self::Output(_) => {
                Some("the container goes on without a reader: `skiff ps` lists it, `skiff rm -f` ends it")
            }
            Self::Insisted => Some(
                "process 1 ignores signals that it has no handler for: `--init` helps; `skiff rm -f` ends this one",
            ),
            _ => None,
        }
    }
}

/// Why a container could not be started, as its monitor saw it in another process: the texts of an error and
/// its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Docker's exit code for it: 125, 126 or 127.
    pub exit_code: u8,
    /// What was being done.
    pub message: String,
    /// Why it could not be done, the nearest cause first.
    pub causes: Causes,
    /// What the user could do about it.
    pub hint: Option<String>,
    /// What could not be cleaned up afterwards, a sentence each.
    pub left: Vec<String>,
}

impl Failure {
    /// Takes the texts of `error` and its causes.
    pub(crate) fn new(error: &dyn std::error::Error, exit_code: u8, hint: Option<String>) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let causes = Causes::from_texts(causes.map(ToString::to_string).collect());
        Self { exit_code, message: error.to_string(), causes, hint, left: Vec::new() }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.exit_code).text(&self.message);
        let causes: Vec<String> = self.causes.iter().map(|cause| cause.text.clone()).collect();
        encode_texts(writer, &causes);
        writer.option(self.hint.as_deref(), Writer::text);
        encode_texts(writer, &self.left);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (exit_code, message) = (reader.u8()?, reader.text()?);
        let causes = Causes::from_texts(decode_texts(reader)?);
        let hint = reader.option(Reader::text)?;
        Some(Self { exit_code, message, causes, hint, left: decode_texts(reader)? })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.message, Left(&self.left))
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.causes.source()
    }
}

/// A chain of causes that crossed a process border.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Causes(Option<Box<Cause>>);

/// One cause, and the causes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    text: String,
    inner: Causes,
}

impl Causes {
    /// The chain of `texts`, the nearest cause first.
    fn from_texts(texts: Vec<String>) -> Self {
        let chain = |inner, text| Self(Some(Box::new(Cause { text, inner })));
        texts.into_iter().rev().fold(Self::default(), chain)
    }

    fn iter(&self) -> impl Iterator<Item = &Cause> {
        std::iter::successors(self.0.as_deref(), |cause| cause.inner.0.as_deref())
    }

    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_deref().map(|cause| -> &(dyn std::error::Error + 'static) { cause })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source()
    }
}

/// An error with all its causes, as one sentence.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Shows what was left behind, if anything.
struct Left<'a>(&'a [String]);

impl fmt::Display for Left<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|text| write!(formatter, "; left behind: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[derive(Debug, thiserror::Error)]
    #[error("mount proc at /proc")]
    struct Step(#[source] Errno);

    #[test]
    fn a_failure_keeps_its_chain_over_the_wire() {
        let failure = Failure::new(&Step(Errno::PERM), 125, Some("look there".to_owned()));
        let mut writer = Writer::default();
        failure.encode(&mut writer);
        let message = writer.finish();
        let decoded = Failure::decode(&mut Reader::new(&message)).unwrap();
        assert_eq!(decoded, failure);
        let error = MonitorError::Launch(decoded);
        assert_eq!(error.to_string(), "mount proc at /proc");
        assert_eq!(error.source().unwrap().to_string(), Errno::PERM.to_string());
        assert!(error.source().unwrap().source().is_none());
        assert_eq!((error.exit_code(), error.hint()), (125, Some("look there")));
    }

    #[test]
    fn what_was_left_behind_is_said() {
        let left = vec!["the cgroup /skiff/x: it is busy".to_owned()];
        let error = MonitorError::Killed { left };
        assert!(error.to_string().ends_with("; left behind: the cgroup /skiff/x: it is busy"));
        assert_eq!(error.exit_code(), 125);
    }
}
