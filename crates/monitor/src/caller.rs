//! The caller's three descriptors, and its terminal.

use rustix::fs::{Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use skiff_sys::Errno;
use skiff_sys::tty::{self, RawMode};

use crate::channel::Size;

/// What the caller's shell lent us. Both processes have one, as it is made before the fork.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    raw: Option<RawMode>,
}

impl Caller {
    /// A caller whose terminal stays as it is.
    pub(crate) fn as_it_is() -> Self {
        Self::default()
    }

    /// Puts the terminal at stdin into raw mode.
    ///
    /// # Errors
    /// Those of [`tty::enter_raw`].
    pub(crate) fn enter_raw() -> Result<Self, Errno> {
        Ok(Self { raw: Some(tty::enter_raw(stdin())?) })
    }

    /// Raw mode again after a stop, during which a shell had the terminal.
    ///
    /// # Errors
    /// As [`Caller::enter_raw`].
    pub(crate) fn renew(&self) -> Result<(), Errno> {
        self.raw.as_ref().map_or(Ok(()), |raw| raw.renew(stdin()))
    }

    /// Restores the terminal; the front's way.
    ///
    /// # Errors
    /// `EIO` when the terminal was hung up: then there is nothing to restore.
    pub(crate) fn restore(&mut self) -> Result<(), Errno> {
        self.raw.take().map_or(Ok(()), |raw| raw.leave(stdin()))
    }

    /// Restores the terminal after the front's death, unless it has a new owner by now, and lets go of the
    /// caller's descriptors: who reads from a pipe behind us shall see its end.
    ///
    /// # Errors
    /// Those of opening `/dev/null`.
    pub(crate) fn leave(&mut self) -> Result<(), Errno> {
        if let Some(raw) = self.raw.take() {
            match raw.leave_if_still_raw(stdin()) {
                // The window is closed: there is nothing to restore.
                Ok(()) | Err(Errno::IO | Errno::NOTTY) => {}
                Err(errno) => return Err(errno),
            }
        }
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)
    }
}

/// The size of the window that a container's program shall fill, if there is one: Docker asks stdout; stdin and
/// stderr serve as well.
pub(crate) fn window_size() -> Option<Size> {
    let terminal = [stdout(), stdin(), stderr()].into_iter().find(|fd| tty::is_terminal(fd))?;
    tty::size(terminal).ok().map(Size::from)
}
