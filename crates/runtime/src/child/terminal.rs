//! The child's step that gives the container its terminal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use skiff_sys::Errno;
use skiff_sys::root::{create_file_in_root, open_in_root};

use super::{Child, Message, send_descriptor};
use crate::step::{Console, Terminal};

impl Child<'_> {
    /// Opens a pty of the container's own devpts, so that no device of the host is in the container (R17),
    /// and takes its other end by `TIOCGPTPEER`, which no path can redirect.
    pub(super) fn terminal(&mut self, terminal: Terminal) -> Result<(), Errno> {
        let master = self.open_master()?;
        unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        if let Some((columns, rows)) = terminal.size {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&slave, size)?;
        }
        rustix::fs::fchown(&slave, Some(Uid::from_raw(terminal.uid)), None::<Gid>)?;
        if terminal.console == Console::Bind {
            self.bind_console(&slave)?;
        }
        rustix::process::ioctl_tiocsctty(&slave)?;
        rustix::stdio::dup2_stdin(&slave)?;
        rustix::stdio::dup2_stdout(&slave)?;
        rustix::stdio::dup2_stderr(&slave)?;
        send_descriptor(self.socket, Message::Terminal, master.as_fd())
    }

    fn open_master(&mut self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Some(devpts) = &self.state.devpts {
            return rustix::fs::openat(devpts, c"ptmx", flags, Mode::empty());
        }
        // The mount namespace is somebody else's: what is at /dev/pts must really be a devpts.
        let master = open_in_root(self.root()?, c"/dev/pts/ptmx", flags, Mode::empty())?;
        const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
        let stat = rustix::fs::fstat(&master)?;
        let is_devpts = rustix::fs::fstatfs(&master)?.f_type == DEVPTS_SUPER_MAGIC;
        if is_devpts && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice {
            Ok(master)
        } else {
            Err(Errno::NOTTY)
        }
    }

    fn bind_console(&mut self, slave: &OwnedFd) -> Result<(), Errno> {
        let target = create_file_in_root(self.root()?, c"/dev/console", Mode::from_raw_mode(0o620))?;
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let console = open_tree(slave, c"", flags)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(console.as_fd(), c"", target.as_fd(), c"", flags)
    }
}
