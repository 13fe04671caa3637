//! Running a program with a clean environment, a deadline and both outputs kept.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::wait::Deadline;
use crate::{Output, Pty};

/// How long a command may take when the test doesn't say. User-Mode Linux is many times slower than the machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A command that is about to run.
///
/// It starts with an empty environment but for `PATH`, `HOME`, `TERM` and what [`crate::Skiff`] sets, in `/`,
/// with an empty standard input.
#[derive(Debug, Clone)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Vec<u8>,
    limit: Duration,
}

impl Command {
    /// `program`, found in `PATH` when it has no slash.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let environment = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("TERM", "xterm"),
        ];
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).to_vec(),
            directory: "/".into(),
            input: Vec::new(),
            limit: TIME_LIMIT,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.retain(|(known, _)| known != name.as_ref());
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.retain(|(known, _)| known != name.as_ref());
        self
    }

    /// Runs in `directory` instead of `/`.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        directory.as_ref().clone_into(&mut self.directory);
        self
    }

    /// Gives these bytes on standard input, then closes it.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Allows `limit` for all of it instead of a minute.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as one line that a person can paste: `env A=b skiff run …`.
    pub fn line(&self) -> String {
        let mut line = String::from("env");
        for (name, value) in &self.environment {
            line.push_str(&format!(" {}={}", name.display(), quoted(value)));
        }
        line.push_str(&format!(" {}", self.program.display()));
        for argument in &self.arguments {
            line.push_str(&format!(" {}", quoted(argument)));
        }
        line
    }

    /// The same command run by `wrapper` (a program and its arguments), such as `["nice", "-n", "19"]` or
    /// `["sh", "-c", "umask 0777; exec \"$@\"", "sh"]`.
    pub fn wrapped<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        let mut words: Vec<OsString> = wrapper.into_iter().map(|word| word.as_ref().to_owned()).collect();
        words.push(std::mem::take(&mut self.program).into_os_string());
        words.append(&mut self.arguments);
        self.program = words.remove(0).into();
        self.arguments = words;
        self
    }

    /// Runs it to its end.
    #[must_use = "check the result: `.success()`, `.code(n)` or its fields"]
    #[track_caller]
    pub fn output(self) -> Output {
        self.spawn().finish()
    }

    /// Starts it with its standard input held open (after the bytes of [`Command::stdin`]).
    #[track_caller]
    pub fn spawn(self) -> Running {
        let line = self.line();
        let limit = self.limit;
        let input = self.input.clone();
        let mut process = self.process();
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let child = process.spawn().unwrap_or_else(|error| panic!("spawn {line}: {error}"));
        let mut running = Running::new(child, line, started, Deadline::after(limit));
        running.input = input;
        running
    }

    /// Starts it in a new session on a new terminal of this size, with the terminal as all three of its stdio.
    #[track_caller]
    pub fn pty(self, columns: u16, rows: u16) -> Pty {
        Pty::start(self, columns, rows)
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// The standard library's command with everything but stdio set.
    pub(crate) fn process(&self) -> std::process::Command {
        let mut process = std::process::Command::new(&self.program);
        process.args(&self.arguments).env_clear().current_dir(&self.directory);
        process.envs(self.environment.iter().map(|(name, value)| (name, value)));
        process
    }
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A command that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    line: String,
    started: Instant,
    deadline: Deadline,
    input: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: Option<(ExitStatus, Duration)>,
}

impl Running {
    fn new(child: Child, line: String, started: Instant, deadline: Deadline) -> Self {
        let pidfd =
            pidfd_open(pid_of(&child), PidfdFlags::empty()).expect("pidfd of a child that isn't reaped");
        let (input, stdout, stderr) = Default::default();
        Self { child, pidfd, line, started, deadline, input, stdout, stderr, ended: None }
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Sends a signal to the process itself.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("signal the running command");
    }

    /// Writes to its standard input now.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.flush_input();
        let stdin = self.child.stdin.as_mut().expect("standard input is still open");
        stdin.write_all(bytes.as_ref()).expect("write to standard input");
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.flush_input();
        self.child.stdin = None;
    }

    /// Reads standard output until it contains `pattern`, and returns all that came so far.
    #[track_caller]
    pub fn stdout_until(&mut self, pattern: &str) -> String {
        self.flush_input();
        loop {
            let text = String::from_utf8_lossy(&self.stdout).into_owned();
            if text.contains(pattern) {
                return text;
            }
            assert!(
                !self.deadline.is_over() && self.pump(),
                "standard output of {} never had {pattern:?}, only:\n{text}\nstderr:\n{}",
                self.line,
                String::from_utf8_lossy(&self.stderr)
            );
        }
    }

    /// Waits for the process to exit, whoever else may still hold its outputs.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        self.flush_input();
        while self.ended.is_none() {
            assert!(!self.deadline.is_over(), "{} didn't end in time; so far:\n{}", self.line, self.so_far());
            self.pump();
        }
        self.ended.expect("the loop ends with it").0
    }

    /// Closes standard input, waits for the exit and for the end of both outputs.
    ///
    /// Outputs that stay open after the exit are a failure: something still holds them.
    #[must_use = "check the result: `.success()`, `.code(n)` or its fields"]
    #[track_caller]
    pub fn finish(mut self) -> Output {
        self.close_stdin();
        let status = self.wait_exit();
        while self.child.stdout.is_some() || self.child.stderr.is_some() {
            assert!(
                !self.deadline.is_over(),
                "{} ended ({status}), but something holds its outputs open; so far:\n{}",
                self.line,
                self.so_far()
            );
            self.pump();
        }
        self.into_output()
    }

    /// As [`Running::finish`], for tests in which a command may hang: none if it, or what holds its outputs, isn't
    /// done in time. The command is killed then.
    pub fn finish_within(mut self, limit: Duration) -> Option<Output> {
        self.deadline = Deadline::after(limit);
        self.close_stdin();
        while self.ended.is_none() || self.child.stdout.is_some() || self.child.stderr.is_some() {
            if self.deadline.is_over() {
                return None;
            }
            self.pump();
        }
        Some(self.into_output())
    }

    fn into_output(mut self) -> Output {
        let (status, elapsed) = self.ended.expect("only called when it has ended");
        Output {
            command: std::mem::take(&mut self.line),
            status,
            stdout: std::mem::take(&mut self.stdout),
            stderr: std::mem::take(&mut self.stderr),
            elapsed,
        }
    }

    fn so_far(&self) -> String {
        format!(
            "stdout: {}\nstderr: {}",
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        )
    }

    /// Gives the bytes of [`Command::stdin`]. From a thread of its own where they don't fit a pipe, because the
    /// command may want its output read first.
    fn flush_input(&mut self) {
        let input = std::mem::take(&mut self.input);
        let Some(stdin) = self.child.stdin.as_mut() else { return };
        if input.len() <= 65536 {
            // A command that never reads its input may be gone already: EPIPE is its right.
            if let Err(error) = stdin.write_all(&input) {
                assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "write to standard input: {error}");
            }
        } else {
            let mut stdin = self.child.stdin.take().expect("it was there a line ago");
            std::thread::spawn(move || {
                if let Err(error) = stdin.write_all(&input) {
                    assert_eq!(
                        error.kind(),
                        std::io::ErrorKind::BrokenPipe,
                        "write to standard input: {error}"
                    );
                }
            });
        }
    }

    /// Waits for one event and takes what there is; false when nothing can come any more.
    fn pump(&mut self) -> bool {
        let outputs_open = self.child.stdout.is_some() || self.child.stderr.is_some();
        if self.ended.is_some() && !outputs_open {
            return false;
        }
        let mut fds = Vec::new();
        fds.extend(self.child.stdout.as_ref().map(|fd| fd.as_fd()));
        fds.extend(self.child.stderr.as_ref().map(|fd| fd.as_fd()));
        if self.ended.is_none() {
            fds.push(self.pidfd.as_fd());
        }
        let ready = self.deadline.readable(&fds);
        let mut ready = ready.into_iter();
        if self.child.stdout.is_some() && ready.next() == Some(true) {
            take(&mut self.child.stdout, &mut self.stdout);
        }
        if self.child.stderr.is_some() && ready.next() == Some(true) {
            take(&mut self.child.stderr, &mut self.stderr);
        }
        if self.ended.is_none() && ready.next() == Some(true) {
            let status = self.child.wait().expect("wait for a child of ours");
            self.ended = Some((status, self.started.elapsed()));
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Only reached when a test fails or ends early; an error means that it has just died by itself.
            if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
                eprintln!("kill {}: {error}", self.line);
            }
        }
    }
}

/// Reads what is there; closes the pipe at its end.
fn take<R: std::io::Read + AsRawFd>(pipe: &mut Option<R>, into: &mut Vec<u8>) {
    let mut buffer = [0; 65536];
    let Some(open) = pipe.as_mut() else { return };
    match open.read(&mut buffer) {
        Ok(0) => *pipe = None,
        Ok(n) => into.extend_from_slice(&buffer[..n]),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
        Err(error) => panic!("read an output: {error}"),
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    let raw = i32::try_from(child.id()).expect("a process id fits i32");
    Pid::from_raw(raw).expect("a child has a process id")
}
