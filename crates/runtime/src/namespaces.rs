//! Which namespaces a container gets: new ones, joined ones, or the host's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use skiff_oci::runtime::{Linux, LinuxNamespaceType};

use skiff_sys::ns::Kind;

use crate::LaunchError;

/// The kinds in the order in which `setns(2)` must enter them: the user namespace first, as it gives the
/// capabilities for the rest, and the mount namespace last, as it changes what paths mean.
pub const ORDER: [LinuxNamespaceType; 8] = [
    LinuxNamespaceType::User,
    LinuxNamespaceType::Time,
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Cgroup,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Mount,
];

/// Where a namespace of the container comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The launching process's own.
    Host,
    /// A fresh one.
    New,
    /// The one behind this path (`/proc/PID/ns/KIND` or a bind mount of such a file).
    Join(PathBuf),
}

/// Where each namespace of the container comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaces(BTreeMap<u32, Origin>);

impl Namespaces {
    /// Reads `linux.namespaces`.
    ///
    /// # Errors
    /// [`LaunchError::Spec`] when a kind is listed twice or a path is relative.
    pub fn from_spec(linux: &Linux) -> Result<Self, LaunchError> {
        let mut origins = BTreeMap::new();
        for namespace in linux.namespaces().iter().flatten() {
            let origin = match namespace.path() {
                Some(path) if !path.is_absolute() => {
                    return Err(LaunchError::spec(
                        "linux.namespaces",
                        format!("the path `{}` is not absolute", path.display()),
                    ));
                }
                Some(path) => Origin::Join(path.clone()),
                None => Origin::New,
            };
            if origins.insert(flag(namespace.typ()), origin).is_some() {
                return Err(LaunchError::spec(
                    "linux.namespaces",
                    format!("`{}` is listed twice", namespace.typ()),
                ));
            }
        }
        Ok(Self(origins))
    }

    /// Where the namespace of this kind comes from.
    pub fn origin(&self, kind: LinuxNamespaceType) -> &Origin {
        self.0.get(&flag(kind)).unwrap_or(&Origin::Host)
    }

    /// True when the container gets a fresh namespace of this kind.
    pub fn is_new(&self, kind: LinuxNamespaceType) -> bool {
        *self.origin(kind) == Origin::New
    }

    /// True when the container shares this kind with the launching process.
    pub fn is_host(&self, kind: LinuxNamespaceType) -> bool {
        *self.origin(kind) == Origin::Host
    }

    /// The joined namespaces with their paths, in the order in which they must be entered.
    pub fn joined(&self) -> impl Iterator<Item = (LinuxNamespaceType, &PathBuf)> {
        ORDER.into_iter().filter_map(|kind| match self.origin(kind) {
            Origin::Join(path) => Some((kind, path)),
            _ => None,
        })
    }

    /// Those of [`Namespaces::joined`] that the child enters by itself. The user namespace is entered before
    /// the clone, so that new ones belong to it; the pid and time namespaces only count for processes that
    /// are made afterwards.
    pub fn joined_by_child(&self) -> impl Iterator<Item = (LinuxNamespaceType, &PathBuf)> {
        use LinuxNamespaceType::{Pid, Time, User};
        self.joined().filter(|(kind, _)| !matches!(kind, User | Pid | Time))
    }

    /// The `CLONE_NEW*` flags for `clone3(2)`.
    ///
    /// The cgroup namespace is missing on purpose: its root is the cgroup that the process is in when it
    /// is made, so the child makes it itself once it has been moved. The time namespace is made by the
    /// parent before, as its clocks can't be set any more once somebody is inside.
    pub fn clone_flags(&self) -> u64 {
        ORDER
            .into_iter()
            .filter(|kind| !matches!(kind, LinuxNamespaceType::Cgroup | LinuxNamespaceType::Time))
            .filter(|kind| self.is_new(*kind))
            .map(|kind| u64::from(flag(kind)))
            .sum()
    }
}

/// The kind, as the kernel's interfaces name it.
pub fn kernel(kind: LinuxNamespaceType) -> Kind {
    match kind {
        LinuxNamespaceType::Mount => Kind::Mount,
        LinuxNamespaceType::Cgroup => Kind::Cgroup,
        LinuxNamespaceType::Uts => Kind::Uts,
        LinuxNamespaceType::Ipc => Kind::Ipc,
        LinuxNamespaceType::User => Kind::User,
        LinuxNamespaceType::Pid => Kind::Pid,
        LinuxNamespaceType::Network => Kind::Net,
        LinuxNamespaceType::Time => Kind::Time,
    }
}

fn flag(kind: LinuxNamespaceType) -> u32 {
    kernel(kind).flag().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::{LinuxBuilder, LinuxNamespaceBuilder};

    fn linux(entries: &[(LinuxNamespaceType, Option<&str>)]) -> Linux {
        let namespaces: Vec<_> = entries
            .iter()
            .map(|(kind, path)| {
                let mut builder = LinuxNamespaceBuilder::default().typ(*kind);
                if let Some(path) = path {
                    builder = builder.path(path);
                }
                builder.build().unwrap()
            })
            .collect();
        LinuxBuilder::default().namespaces(namespaces).build().unwrap()
    }

    #[test]
    fn clone_flags_leave_cgroup_and_time_to_later() {
        let all: Vec<_> = ORDER.into_iter().map(|kind| (kind, None)).collect();
        let namespaces = Namespaces::from_spec(&linux(&all)).unwrap();
        assert_eq!(namespaces.clone_flags(), 0x7c02_0000);
        assert!(namespaces.is_new(LinuxNamespaceType::Cgroup));
    }

    #[test]
    fn joined_namespaces_come_user_first_and_mount_last() {
        let namespaces = Namespaces::from_spec(&linux(&[
            (LinuxNamespaceType::Mount, Some("/proc/1/ns/mnt")),
            (LinuxNamespaceType::Network, Some("/run/netns/a")),
            (LinuxNamespaceType::User, Some("/proc/1/ns/user")),
        ]))
        .unwrap();
        let order: Vec<_> = namespaces.joined().map(|(kind, _)| kind.to_string()).collect();
        assert_eq!(order, ["user", "net", "mnt"]);
        assert!(namespaces.is_host(LinuxNamespaceType::Pid));
    }

    #[test]
    fn a_kind_twice_or_a_relative_path_is_refused() {
        assert!(
            Namespaces::from_spec(&linux(&[
                (LinuxNamespaceType::Pid, None),
                (LinuxNamespaceType::Pid, None)
            ]))
            .is_err()
        );
        assert!(Namespaces::from_spec(&linux(&[(LinuxNamespaceType::Pid, Some("x"))])).is_err());
    }
}
