//! How a command fails: one sentence, maybe a hint, and an exit code.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use skiff_sys::Errno;

use crate::commands::Entry;
use crate::output::{Palette, one_line};

/// The engine, or the command line given to it, is at fault: Docker's code.
pub const ENGINE_FAILED: u8 = 125;
/// The program exists and can't be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The program doesn't exist.
pub const NOT_FOUND: u8 = 127;

/// A failure on its way to the user.
///
/// It is made from any error with `?`; the causes behind it (`source`) become part of the sentence, so no layer
/// repeats its cause in its own text.
#[derive(Debug)]
pub struct CliError {
    cause: anyhow::Error,
    hint: Option<String>,
    /// Lines below the message that are no sentence of it: the usage of a command.
    note: Option<String>,
    /// `None`: the code that the command has for its failures.
    code: Option<u8>,
    command: Option<&'static Entry>,
}

impl CliError {
    /// A failure with no other error behind it.
    pub fn message(text: impl std::fmt::Display) -> Self {
        Self::from_cause(anyhow::anyhow!("{text}"))
    }

    fn from_cause(cause: anyhow::Error) -> Self {
        Self { cause, hint: None, note: None, code: None, command: None }
    }

    /// Says before the message what was being done.
    pub fn doing(mut self, what: impl std::fmt::Display) -> Self {
        self.cause = self.cause.context(what.to_string());
        self
    }

    /// Adds what the user can do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines that are printed after the message as they are.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Exits with `code` instead of the command's own code for failures.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// Remembers the command that failed, for its exit code.
    pub fn of_command(mut self, entry: &'static Entry) -> Self {
        self.command = Some(entry);
        self
    }

    /// Advises `user` to become root where rights are all that was missing, and nothing better is known.
    pub fn seen_by(self, user: rustix::process::Uid) -> Self {
        if self.hint.is_some() || user.is_root() || !self.is_refusal() {
            return self;
        }
        self.with_hint("it takes the rights of root: try it with `sudo`")
    }

    /// Whether the kernel refused it for want of rights.
    fn is_refusal(&self) -> bool {
        let Some(cause) = self.cause.chain().last() else { return false };
        let errno = cause.downcast_ref::<Errno>().copied();
        let errno = errno.or_else(|| cause.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error));
        matches!(errno, Some(Errno::ACCESS | Errno::PERM))
    }

    /// What was being done and why it failed, without the hint.
    pub fn sentence(&self) -> String {
        let causes: Vec<String> =
            self.cause.chain().map(|cause| without_number(&cause.to_string()).to_owned()).collect();
        causes.join(": ")
    }

    /// What the user can do about it.
    #[cfg(test)]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The whole text: `skiff: what was being done: why`, the hint, the note. Sentence and hint are a line each, or a
    /// name in an image could add a hint of its own (R25).
    fn text(&self, palette: &Palette) -> String {
        let sentence = self.sentence();
        let mut text = format!("{} {}\n", palette.red("skiff:"), one_line(sentence.as_bytes()));
        if let Some(hint) = &self.hint {
            let _infallible = writeln!(text, "{} {}", palette.cyan("hint:"), one_line(hint.as_bytes()));
        }
        if let Some(note) = &self.note {
            let _infallible = writeln!(text, "\n{note}");
        }
        text
    }

    /// Prints the error on stderr. The only place that does.
    pub fn report(&self) -> ExitCode {
        let text = self.text(&Palette::stderr());
        // A closed stderr leaves nobody to tell; the exit code still does.
        drop(std::io::stderr().write_all(text.as_bytes()));
        ExitCode::from(self.code.or(self.command.map(|entry| entry.failure)).unwrap_or(ENGINE_FAILED))
    }
}

/// A kernel error's words without the "(os error 2)" that the standard library adds to them.
fn without_number(text: &str) -> &str {
    match text.rfind(" (os error ") {
        Some(position) if text.ends_with(')') => &text[..position],
        _ => text,
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::from_cause(anyhow::Error::new(error))
    }
}

/// `.doing("mount proc")?`: an error of any kind, with what was being done before it.
pub trait Doing<T> {
    /// Says what was being done when this failed.
    fn doing(self, what: impl std::fmt::Display) -> Result<T, CliError>;
}

impl<T, E: Into<CliError>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T, CliError> {
        self.map_err(|error| error.into().doing(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_follow_what_was_being_done() {
        let error: Result<(), _> = Err(skiff_sys::Errno::PERM);
        let error = error.doing("mount proc at /proc").unwrap_err().with_hint("try `sudo`");
        assert_eq!(
            error.text(&Palette::plain()),
            "skiff: mount proc at /proc: Operation not permitted\nhint: try `sudo`\n"
        );
    }

    #[test]
    fn a_user_who_lacks_rights_is_sent_to_root() {
        let refused = |errno: Errno| CliError::from(errno).doing("open /var/lib/skiff");
        let (root, user) = (rustix::process::Uid::ROOT, rustix::process::Uid::from_raw(1000));
        let hint = |error: CliError| error.hint().map(str::to_owned);
        for errno in [Errno::ACCESS, Errno::PERM] {
            assert!(hint(refused(errno).seen_by(user)).is_some_and(|hint| hint.contains("sudo")));
            assert_eq!(hint(refused(errno).seen_by(root)), None);
        }
        let of_file = CliError::from(std::io::Error::from(Errno::ACCESS)).seen_by(user);
        assert!(hint(of_file).is_some());
        assert_eq!(hint(refused(Errno::NOENT).seen_by(user)), None);
        assert_eq!(hint(refused(Errno::PERM).with_hint("own").seen_by(user)).as_deref(), Some("own"));
    }

    #[test]
    fn r25_text_from_outside_cannot_steer_the_terminal_or_add_a_hint() {
        let text = CliError::message("no such image: \x1b[2Jx\nhint: y").text(&Palette::plain());
        assert_eq!(text, "skiff: no such image: \\x1b[2Jx\\x0ahint: y\n");
    }
}
