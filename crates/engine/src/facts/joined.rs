//! Namespaces by path, looked at before anything is made: for whatever is wrong with one, the kernel says EINVAL.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use skiff_sys::Errno;
use skiff_sys::ns::{self, Kind};

use crate::request::{IpcMode, Namespaces, Sharing};
use crate::spec::{NamespaceFault, RequestError};

/// Refuses paths that can't be joined.
pub(super) fn check(wishes: &Namespaces) -> Result<(), RequestError> {
    let ipc = match &wishes.ipc {
        IpcMode::Path(path) => Some(path),
        _ => None,
    };
    for (flag, kind, path) in [
        ("--network", Kind::Net, path(&wishes.net)),
        ("--pid", Kind::Pid, path(&wishes.pid)),
        ("--ipc", Kind::Ipc, ipc),
        ("--uts", Kind::Uts, path(&wishes.uts)),
        ("--userns", Kind::User, wishes.user.as_ref().and_then(path)),
        ("--cgroupns", Kind::Cgroup, path(&wishes.cgroup)),
        ("--mount", Kind::Mount, path(&wishes.mount)),
        ("--time", Kind::Time, path(&wishes.time)),
    ] {
        if let Some(path) = path {
            let refused = |why| RequestError::Namespace { flag, path: path.clone(), why };
            look(path, kind).map_err(refused)?;
        }
    }
    Ok(())
}

fn path(sharing: &Sharing) -> Option<&PathBuf> {
    match sharing {
        Sharing::Path(path) => Some(path),
        Sharing::Private | Sharing::Host => None,
    }
}

fn look(path: &Path, kind: Kind) -> Result<(), NamespaceFault> {
    let file = ns::open(path).map_err(|errno| match errno {
        Errno::INVAL => NamespaceFault::File,
        other => NamespaceFault::Unreachable(other),
    })?;
    let found = ns::kind(file.as_fd()).map_err(NamespaceFault::Unreachable)?;
    if found != kind {
        return Err(NamespaceFault::Kind(found));
    }
    let own = || ns::inode_of(rustix::process::getpid(), Kind::User);
    match kind == Kind::User && ns::inode(file.as_fd()) == own() {
        true => Err(NamespaceFault::OwnUsers),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &str, kind: Kind) -> Option<NamespaceFault> {
        look(Path::new(path), kind).err()
    }

    #[test]
    fn what_cannot_be_joined_is_told_apart() {
        assert_eq!(fault("/proc/self/ns/net", Kind::Net), None);
        assert_eq!(fault("/proc/self/ns/mnt", Kind::Net), Some(NamespaceFault::Kind(Kind::Mount)));
        assert_eq!(fault("/etc/passwd", Kind::Net), Some(NamespaceFault::File));
        assert_eq!(fault("/no/such", Kind::Net), Some(NamespaceFault::Unreachable(Errno::NOENT)));
        assert_eq!(fault("/proc/self/ns/user", Kind::User), Some(NamespaceFault::OwnUsers));
    }

    #[test]
    fn the_flag_is_named() {
        let pid = Sharing::Path(PathBuf::from("/proc/self/ns/uts"));
        let wishes = Namespaces { pid, ..Namespaces::default() };
        let error = check(&wishes).unwrap_err();
        assert_eq!(error.to_string(), "`--pid ns:/proc/self/ns/uts`: it is a uts namespace");
        assert!(error.hint().is_some());
    }
}
