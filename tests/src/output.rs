//! What a finished command left: its exit, and its bytes.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The result of a command. Whoever returns one is `must_use`: a result that nobody checks is a test that can't
/// fail. (Not the type, or every chain of checks would have to end in one more.)
#[derive(Debug)]
pub struct Output {
    /// What was run, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// The bytes on standard output.
    pub stdout: Vec<u8>,
    /// The bytes on standard error.
    pub stderr: Vec<u8>,
    /// How long it took, from spawn to exit.
    pub elapsed: Duration,
}

impl Output {
    /// Asserts exit status 0, and hands itself on for more checks.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "expected success\n{self}");
        self
    }

    /// Asserts that the command exited by itself with `code`, and hands itself on for more checks.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Asserts that the command failed (any code but 0, not by a signal), and hands itself on.
    #[track_caller]
    pub fn failure(self) -> Self {
        assert!(self.status.code().is_some_and(|code| code != 0), "expected a failure\n{self}");
        self
    }

    /// Asserts that standard output is exactly `expected`.
    #[track_caller]
    pub fn stdout_is(self, expected: &str) -> Self {
        assert_eq!(self.stdout(), expected, "standard output differs\n{self}");
        self
    }

    /// Asserts that standard output contains `part`.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        assert!(self.stdout().contains(part), "standard output lacks {part:?}\n{self}");
        self
    }

    /// Asserts that standard error is exactly `expected`.
    #[track_caller]
    pub fn stderr_is(self, expected: &str) -> Self {
        assert_eq!(self.stderr(), expected, "standard error differs\n{self}");
        self
    }

    /// Asserts that standard error contains `part`.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        assert!(self.stderr().contains(part), "standard error lacks {part:?}\n{self}");
        self
    }

    /// Standard output as text; a test that expects text fails on other bytes.
    #[track_caller]
    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    /// Standard error as text; a test that expects text fails on other bytes.
    #[track_caller]
    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.stderr).expect("standard error is UTF-8")
    }

    /// Standard output without surrounding white space.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.stdout().trim()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "command: {}", self.command)?;
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => writeln!(f, "exit:    {code} after {:?}", self.elapsed)?,
            (None, Some(signal)) => writeln!(f, "exit:    signal {signal} after {:?}", self.elapsed)?,
            (None, None) => writeln!(f, "exit:    {:?}", self.status)?,
        }
        writeln!(f, "stdout:  {}", indent(&self.stdout))?;
        write!(f, "stderr:  {}", indent(&self.stderr))
    }
}

fn indent(bytes: &[u8]) -> String {
    const MOST: usize = 8 * 1024;
    let shown = bytes.get(..MOST).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(shown).trim_end().replace('\n', "\n         ");
    if shown.len() < bytes.len() {
        text.push_str("\n         … and more");
    }
    text
}
