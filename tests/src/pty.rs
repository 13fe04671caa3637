//! A program on a terminal, driven as a person would.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::Command;
use crate::wait::Deadline;

/// The terminal's session leader. It outlives the program, because the kernel hangs a terminal up and forgets
/// its settings when the session leader exits, and the settings are what many tests look at afterwards.
///
/// Its stdin is the terminal, its stdout a pipe to us (the program's pid, then its exit code), and it ends when
/// its "stderr", the reading end of another pipe, does; a line from there lets the program begin, once we hold it
/// by a descriptor. The traps keep the leader alive when ^C reaches the whole foreground group; the program gets
/// the default actions.
const LEADER: &str = r#"
trap : INT QUIT TERM HUP
sh -c 'echo $$; read -r _ <&2; exec "$@" >&0 2>&0' sh "$@"
code=$?
printf '\033]ended\007' >&0
echo $code
read -r _ <&2
"#;

/// Written to the terminal after the program has ended: all that the program wrote came before.
const END: &str = "\x1b]ended\x07";

/// A running program whose three stdio are a terminal, of which we hold the other end. Dropped, it is killed.
#[derive(Debug)]
pub struct Pty {
    master: File,
    leader: Child,
    messages: PipeReader,
    release: Option<PipeWriter>,
    pid: Pid,
    pidfd: OwnedFd,
    line: String,
    deadline: Deadline,
    seen: Vec<u8>,
}

impl Pty {
    #[track_caller]
    pub(crate) fn start(command: Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("open a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("open the terminal");
        tcsetwinsize(&master, winsize(columns, rows)).expect("set the window size");

        let line = command.line();
        let deadline = Deadline::after(command.limit());
        let (mut messages, messages_in) = std::io::pipe().expect("make a pipe");
        let (released, mut release) = std::io::pipe().expect("make a pipe");
        let mut process = command.wrapped(["setsid", "--ctty", "sh", "-c", LEADER, "sh"]).process();
        process.stdin(Stdio::from(slave)).stdout(Stdio::from(messages_in)).stderr(Stdio::from(released));
        let leader = process.spawn().unwrap_or_else(|error| panic!("spawn {line}: {error}"));
        // The leader's ends of the pipes must not stay open here.
        drop(process);
        let pid = Pid::from_raw(number(&mut messages, &deadline, &line)).expect("a process id isn't 0");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd of the program");
        release.write_all(b"\n").expect("let the program begin");
        let (master, release) = (File::from(master), Some(release));
        Self { master, leader, messages, release, pid, pidfd, line, deadline, seen: Vec::new() }
    }

    /// The process id of the program.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Types these bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.master.write_all(bytes.as_ref()).expect("write to the terminal");
    }

    /// Changes the window's size, as a terminal emulator does.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, winsize(columns, rows)).expect("set the window size");
    }

    /// Sends a signal to the program itself.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("signal the program");
    }

    /// The settings of the terminal (raw or not), while the program runs and after it.
    #[track_caller]
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.master).expect("read the terminal's settings")
    }

    /// Reads until `pattern` comes; returns what came up to its end and forgets that.
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) -> String {
        loop {
            if let Some(at) = find(&self.seen, pattern.as_bytes()) {
                let rest = self.seen.split_off(at + pattern.len());
                let before = std::mem::replace(&mut self.seen, rest);
                return String::from_utf8_lossy(&before).into_owned();
            }
            assert!(
                find(&self.seen, END.as_bytes()).is_none()
                    && self.deadline.readable(&[self.master.as_fd()])[0],
                "{} never wrote {pattern:?} to its terminal, only:\n{}",
                self.line,
                String::from_utf8_lossy(&self.seen)
            );
            let mut buffer = [0; 65536];
            let n = self.master.read(&mut buffer).expect("read the terminal; the leader holds its other end");
            self.seen.extend_from_slice(&buffer[..n]);
        }
    }

    /// Waits for the program's end: its exit code (128+n for signal n), and all that wasn't expected yet of its
    /// output. The terminal stays, so that [`Pty::settings`] can be asked.
    #[track_caller]
    pub fn wait(&mut self) -> (i32, String) {
        let mut rest = self.expect(END);
        rest.truncate(rest.len() - END.len());
        (number(&mut self.messages, &self.deadline, &self.line), rest)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // The program is gone already unless the test failed or ended early: then there is nobody to signal.
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => eprintln!("kill {}: {errno}", self.line),
        }
        self.release = None;
        if let Err(error) = self.leader.wait() {
            eprintln!("wait for the terminal's session leader: {error}");
        }
    }
}

/// One line with a number from the leader.
#[track_caller]
fn number(messages: &mut PipeReader, deadline: &Deadline, line: &str) -> i32 {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        assert!(deadline.readable(&[messages.as_fd()])[0], "{line} didn't start or end in time");
        let mut byte = [0];
        messages.read_exact(&mut byte).expect("the terminal's session leader speaks");
        text.extend(byte);
    }
    String::from_utf8_lossy(&text).trim().parse().expect("the session leader sends numbers")
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
