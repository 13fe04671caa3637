//! Who the process is: names looked up in the image's own files.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use skiff_sys::Errno;
use skiff_sys::root::open_regular_in_root;
use skiff_sys::users::{FILE_LIMIT, UserError, UserSpec, resolve, resolve_group};

use crate::spec::RequestError;

/// The user and groups of the process, as numbers, and where it is at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, ascending, the primary one among them.
    pub groups: Vec<u32>,
    /// The home directory; `/` for a user without an entry.
    pub home: String,
}

/// Finds out who `user` is in the image whose root is `root`, with the additional `groups`.
///
/// # Errors
/// When a name has no entry, a number is out of range, or a file of the image can't be read.
pub fn identify(root: BorrowedFd<'_>, user: &str, groups: &[String]) -> Result<Identity, RequestError> {
    let spec: UserSpec = user.parse().map_err(wrong_user)?;
    let passwd = read(root, c"/etc/passwd", "/etc/passwd")?;
    let group = read(root, c"/etc/group", "/etc/group")?;
    identity(&spec, groups, &passwd, &group).map_err(wrong_user)
}

/// Who `user` is where no files of an image can be looked at: numbers only.
///
/// # Errors
/// For a name, and for a number out of range.
pub fn identify_by_number(user: &str, groups: &[String]) -> Result<Identity, RequestError> {
    let spec: UserSpec = user.parse().map_err(wrong_user)?;
    identity(&spec, groups, b"", b"").map_err(wrong_user)
}

fn identity(spec: &UserSpec, more: &[String], passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let found = resolve(spec, passwd, group)?;
    let mut groups = found.groups;
    for wish in more {
        groups.push(resolve_group(&wish.parse()?, group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity {
        uid: found.uid,
        gid: found.gid,
        groups,
        home: found.home.unwrap_or_else(|| "/".to_owned()),
    })
}

fn wrong_user(source: UserError) -> RequestError {
    RequestError::User { source }
}

/// A small file of the image; nothing where it has none.
///
/// Only a regular file is opened at all: it could be a FIFO, or a device that does something when it is (R12).
fn read(root: BorrowedFd<'_>, path: &CStr, name: &'static str) -> Result<Vec<u8>, RequestError> {
    let error = |errno| RequestError::ImageFile { name, errno };
    let file = match open_regular_in_root(root, path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(error(errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(error)?;
    // One byte more than allowed, so that the parser can say that it is too much.
    let mut text = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(FILE_LIMIT) + 1);
    let mut chunk = [0_u8; 8192];
    while text.len() <= FILE_LIMIT {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&chunk[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(error(errno)),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, Mode, OFlags};
    use std::os::fd::AsFd as _;
    use std::path::PathBuf;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nann:x:1001:\nvideo:x:44:ann\n";

    fn who(user: &str, more: &[&str]) -> Result<Identity, UserError> {
        let more: Vec<String> = more.iter().map(|&group| group.to_owned()).collect();
        identity(&user.parse()?, &more, PASSWD, GROUP)
    }

    #[test]
    fn names_and_numbers_come_to_the_same() {
        let ann = Identity { uid: 1000, gid: 1001, groups: vec![44, 1001], home: "/home/ann".to_owned() };
        assert_eq!(who("ann", &[]), Ok(ann.clone()));
        assert_eq!(who("1000", &[]), Ok(ann));
    }

    #[test]
    fn a_number_without_an_entry_is_at_home_in_the_root() {
        assert_eq!(
            who("4242", &[]),
            Ok(Identity { uid: 4242, gid: 0, groups: vec![0], home: "/".to_owned() })
        );
    }

    #[test]
    fn groups_are_added_by_name_and_number() {
        assert_eq!(who("root", &["video", "7", "0"]).unwrap().groups, [0, 7, 44]);
        assert!(matches!(who("root", &["nobodys"]), Err(UserError::NoGroup(_))));
        assert!(matches!(who("root", &["2147483648"]), Err(UserError::OutOfRange(_))));
    }

    #[test]
    fn r12_only_regular_files_of_the_image_are_read() {
        let root = PathBuf::from(format!("/tmp/skiff-user-{}", std::process::id()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root/etc/passwd", root.join("etc/passwd")).unwrap();
        let made =
            rustix::fs::mknodat(rustix::fs::CWD, root.join("etc/group"), FileType::Fifo, Mode::RUSR, 0);
        made.unwrap();
        let directory = rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let link = read(directory.as_fd(), c"/etc/passwd", "/etc/passwd");
        let fifo = read(directory.as_fd(), c"/etc/group", "/etc/group");
        std::fs::remove_dir_all(&root).unwrap();
        // The link leads to /proc of this root, which isn't there, and never to the host's.
        assert_eq!(link, Ok(Vec::new()));
        assert_eq!(fifo, Err(RequestError::ImageFile { name: "/etc/group", errno: Errno::INVAL }));
    }
}
