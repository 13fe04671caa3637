//! The child's steps that look at files of the container: devices, links, working directory, program.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use skiff_sys::Errno;
use skiff_sys::mount::Change;
use skiff_sys::root::{create_dirs_in_root, open_in_root};

use super::Child;
use super::mounts::new_filesystem;
use crate::step::Device;

/// The longest path of a device or link, with its NUL.
const PATH_MAX: usize = 4096;

impl Child<'_> {
    pub(super) fn device(&mut self, device: &Device) -> Result<(), Errno> {
        let (parent, name) = self.parent_of(&device.path)?;
        let mode = Mode::from_raw_mode(device.mode);
        // No bit of the mode is lost, as the umask is 0 by now; a chmod would follow a link.
        match rustix::fs::mknodat(&parent, name, device.kind, mode, device.rdev) {
            // A mount of the configuration put it there: it must be what was asked for (R6).
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let same =
                    FileType::from_raw_mode(stat.st_mode) == device.kind && stat.st_rdev == device.rdev;
                return if same { Ok(()) } else { Err(Errno::EXIST) };
            }
            result => result?,
        }
        if device.uid != 0 || device.gid != 0 {
            let owner = rustix::fs::Uid::from_raw(device.uid);
            let group = rustix::fs::Gid::from_raw(device.gid);
            rustix::fs::chownat(&parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Makes a link; whatever is there already stays.
    pub(super) fn link(&mut self, path: &CStr, target: &CStr) -> Result<(), Errno> {
        let (parent, name) = self.parent_of(path)?;
        match rustix::fs::symlinkat(target, &parent, name) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        }
    }

    /// The directory of `path`, made if it is missing, and the last component.
    fn parent_of<'c>(&mut self, path: &'c CStr) -> Result<(OwnedFd, &'c CStr), Errno> {
        let bytes = path.to_bytes_with_nul();
        let slash = path.to_bytes().iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
        let name = bytes.get(slash + 1..).and_then(|rest| CStr::from_bytes_with_nul(rest).ok());
        let name = name.filter(|name| !name.is_empty()).ok_or(Errno::INVAL)?;
        // A copy on the stack, as the directory's name needs a NUL of its own.
        let mut buffer = [0u8; PATH_MAX];
        let dir = bytes.get(..slash.max(1)).ok_or(Errno::INVAL)?;
        buffer.get_mut(..dir.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(dir);
        let dir = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::NAMETOOLONG)?;
        let parent = create_dirs_in_root(self.root()?, dir, Mode::from_raw_mode(0o755))?;
        Ok((parent, name))
    }

    /// Writes a kernel parameter through a procfs that nobody else sees (R4). All parameters share it, as they are
    /// one operation: a procfs costs as much as ten of them.
    pub(super) fn sysctl(&mut self, path: &CStr, value: &CStr) -> Result<(), Errno> {
        let proc = match self.state.procfs.take() {
            Some(proc) => proc,
            None => new_filesystem(c"proc", c"proc", &[], Change::default())?,
        };
        let resolve = ResolveFlags::NO_XDEV
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::BENEATH;
        let file =
            rustix::fs::openat2(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        rustix::io::write(&file, value.to_bytes())?;
        self.state.procfs = Some(proc);
        Ok(())
    }

    pub(super) fn create_workdir(&mut self, path: &CStr) -> Result<(), Errno> {
        create_dirs_in_root(self.root()?, path, Mode::from_raw_mode(0o755)).map(|_| ())
    }

    /// Picks the candidate that will be executed, so that a missing program is known before the filter
    /// binds. A directory or a file without the right is passed over, as `execvp(3)` does.
    pub(super) fn find_program(&mut self) -> Result<(), Errno> {
        let mut verdict = Errno::NOENT;
        for (index, candidate) in self.program.candidates.iter().enumerate() {
            match is_program(candidate) {
                Ok(()) => {
                    self.state.candidate = index;
                    return Ok(());
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => verdict = errno,
            }
        }
        Err(verdict)
    }
}

/// No magic link may lead to the program (R9): `/proc/self/fd/7/../../bin/x` could be the host's.
fn is_program(path: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Enters the working directory, through no magic link, and makes sure that it is inside the root: a
/// directory outside has no absolute path (CVE-2024-21626).
pub fn enter(path: &CStr) -> Result<(), Errno> {
    let root = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let dir = open_in_root(root.as_fd(), path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    rustix::process::fchdir(&dir)?;
    if skiff_sys::process::is_working_directory_reachable()? { Ok(()) } else { Err(Errno::NOENT) }
}
