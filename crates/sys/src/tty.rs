//! Terminals: raw mode and the way back, window sizes, and writing to one without ever being stopped by it.
//!
//! See `ioctl_tty(2)`, `termios(3)`, `pty(7)`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::Errno;

pub use rustix::termios::{Winsize, isatty as is_terminal, tcgetwinsize as size, tcsetwinsize as set_size};

/// What a terminal was before [`enter_raw`], and what it is since.
///
/// It holds no descriptor, so that it can be carried over a fork and used by either process.
#[derive(Debug, Clone)]
pub struct RawMode {
    saved: Termios,
    raw: Termios,
}

/// Puts `terminal` into raw mode (`cfmakeraw(3)`): every byte passes, nothing is echoed or interpreted.
///
/// A caller in the background of its session gets SIGTTOU, as with any program that wants the terminal.
///
/// # Errors
/// `ENOTTY` when it is no terminal, `EIO` when it was hung up.
pub fn enter_raw(terminal: impl AsFd) -> Result<RawMode, Errno> {
    let saved = tcgetattr(&terminal)?;
    let mut wanted = saved.clone();
    wanted.make_raw();
    set(&terminal, &wanted)?;
    // Read back: the driver may have adjusted what was asked for, and `leave` compares with the truth.
    let raw = tcgetattr(&terminal)?;
    Ok(RawMode { saved, raw })
}

impl RawMode {
    /// Sets raw mode again, after something else had the terminal meanwhile (a shell, while we were stopped).
    ///
    /// # Errors
    /// As [`enter_raw`].
    pub fn renew(&self, terminal: impl AsFd) -> Result<(), Errno> {
        set(&terminal, &self.raw)
    }

    /// Restores what [`enter_raw`] found.
    ///
    /// # Errors
    /// `EIO` when the terminal was hung up.
    pub fn leave(&self, terminal: impl AsFd) -> Result<(), Errno> {
        set(&terminal, &self.saved)
    }

    /// Restores what [`enter_raw`] found, unless somebody else has changed the mode since: then it is theirs,
    /// and must not be clobbered.
    ///
    /// # Errors
    /// `EIO` when the terminal was hung up.
    pub fn leave_if_still_raw(&self, terminal: impl AsFd) -> Result<(), Errno> {
        if is_same(&tcgetattr(&terminal)?, &self.raw) { self.leave(terminal) } else { Ok(()) }
    }
}

fn set(terminal: &impl AsFd, mode: &Termios) -> Result<(), Errno> {
    loop {
        match tcsetattr(terminal, OptionalActions::Now, mode) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn is_same(a: &Termios, b: &Termios) -> bool {
    let codes = [SpecialCodeIndex::VMIN, SpecialCodeIndex::VTIME];
    a.input_modes == b.input_modes
        && a.output_modes == b.output_modes
        && a.control_modes == b.control_modes
        && a.local_modes == b.local_modes
        && codes.into_iter().all(|code| a.special_codes[code] == b.special_codes[code])
}

/// The other end of the pseudoterminal `master`, taken from the kernel and not by a path (`TIOCGPTPEER`,
/// Linux 4.13). It doesn't become anybody's controlling terminal.
///
/// # Errors
/// `EIO` when the device can't be opened any more, `EMFILE` and others of `open(2)`.
pub fn peer(master: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags)
}

/// Opens the terminal or pipe of `fd` once more, for `access` (`RDONLY` or `WRONLY`) and non-blocking.
///
/// `O_NONBLOCK` belongs to the open file, which we share with the shell that started us: setting it on an
/// inherited descriptor would break the shell's next program. A second open file has flags of its own. It has
/// a position of its own as well, so this is nothing for regular files.
///
/// # Errors
/// `ENXIO` for sockets, `EACCES` when the file belongs to somebody else, and others of `open(2)`.
pub fn reopen_nonblocking(fd: impl AsFd, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{openpt, unlockpt};
    use rustix::termios::LocalModes;

    fn terminal() -> (OwnedFd, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&master).unwrap();
        let slave = peer(&master).unwrap();
        (master, slave)
    }

    #[test]
    fn raw_mode_is_entered_and_left() {
        let (_master, slave) = terminal();
        let before = tcgetattr(&slave).unwrap();
        let raw = enter_raw(&slave).unwrap();
        let local = tcgetattr(&slave).unwrap().local_modes;
        assert!(!local.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        raw.leave_if_still_raw(&slave).unwrap();
        assert!(is_same(&tcgetattr(&slave).unwrap(), &before));
    }

    #[test]
    fn a_mode_that_somebody_else_set_meanwhile_is_kept() {
        let (_master, slave) = terminal();
        let raw = enter_raw(&slave).unwrap();
        let mut theirs = tcgetattr(&slave).unwrap();
        theirs.local_modes |= LocalModes::ECHO;
        tcsetattr(&slave, OptionalActions::Now, &theirs).unwrap();
        raw.leave_if_still_raw(&slave).unwrap();
        assert!(is_same(&tcgetattr(&slave).unwrap(), &theirs));
        raw.leave(&slave).unwrap();
        assert!(!is_same(&tcgetattr(&slave).unwrap(), &theirs));
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        assert_eq!(enter_raw(&read).err(), Some(Errno::NOTTY));
        assert!(!is_terminal(&read));
    }

    #[test]
    fn a_reopened_pipe_is_non_blocking_and_the_original_is_not() {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        let again = reopen_nonblocking(&write, OFlags::WRONLY).unwrap();
        assert!(rustix::fs::fcntl_getfl(&again).unwrap().contains(OFlags::NONBLOCK));
        assert!(!rustix::fs::fcntl_getfl(&write).unwrap().contains(OFlags::NONBLOCK));
    }
}
