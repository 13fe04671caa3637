//! Which cgroup hierarchies this machine has, and which controller lives in which.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::CWD;
use skiff_sys::mountinfo::{self, Mount};

use crate::controller::{Controller, Controllers};
use crate::error::Error;
use crate::file::{self, Dir};
use crate::populate;
use crate::private;

/// Where distributions mount cgroup hierarchies.
const USUAL_PLACE: &str = "/sys/fs/cgroup";

/// How the hierarchies of a machine are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every controller in a v1 hierarchy.
    V1,
    /// Controllers in v1 hierarchies, and a v2 tree beside them with what is left, if anything.
    Hybrid,
    /// One v2 tree.
    V2,
}

/// The interface of one hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroup v1.
    V1,
    /// cgroup v2.
    V2,
}

/// Where a hierarchy's root directory is.
#[derive(Debug, Clone)]
enum Place {
    /// Mounted here.
    At(PathBuf),
    /// In a mount that only this process holds, attached nowhere.
    Private(Arc<OwnedFd>),
}

/// One tree of cgroups.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    version: Version,
    controllers: Controllers,
    name: Option<String>,
    place: Place,
    /// The cgroup that the root directory shows; not `/` where a container sees only its own part.
    root: String,
}

/// The hierarchies of a machine. See [`Layout::detect`].
#[derive(Debug, Clone)]
pub struct Layout {
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Reads the layout of this machine, as this process sees it.
    ///
    /// # Errors
    /// When mountinfo can't be read, or no cgroup hierarchy is mounted.
    pub fn detect() -> Result<Self, Error> {
        let text = file::read_at(CWD, Path::new("/proc/self/mountinfo"))?;
        let mut layout = Self::from_mountinfo(&text)?;
        for hierarchy in layout.hierarchies.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
            let text = file::read_at(hierarchy.dir(), &hierarchy.path_of("cgroup.controllers"))?;
            hierarchy.controllers = Controllers::named_in(&String::from_utf8_lossy(&text));
        }
        Ok(layout)
    }

    /// The layout that a mountinfo text describes. The controllers of a v2 tree are not in that text: see
    /// [`Layout::with_unified_controllers`].
    ///
    /// # Errors
    /// When the text is malformed, or has no cgroup mount in it.
    pub fn from_mountinfo(text: &[u8]) -> Result<Self, Error> {
        let mut found: Vec<(Device, Hierarchy)> = Vec::new();
        for mount in mountinfo::parse(text) {
            let mount = mount?;
            // A later mount at the same place hides the earlier one, whatever it is.
            found.retain(|(_, hierarchy)| !hierarchy.is_at(mount.mount_point));
            let Some(hierarchy) = Hierarchy::from_mount(&mount) else { continue };
            let device = (mount.major, mount.minor);
            match found.iter_mut().find(|(other, _)| *other == device) {
                Some((_, known)) if hierarchy.rank() > known.rank() => *known = hierarchy,
                Some(_) => {}
                None => found.push((device, hierarchy)),
            }
        }
        if found.is_empty() {
            return Err(Error::NoHierarchy);
        }
        Ok(Self { hierarchies: found.into_iter().map(|(_, hierarchy)| hierarchy).collect() })
    }

    /// The same layout with the words of `cgroup.controllers` for its v2 tree.
    #[must_use]
    pub fn with_unified_controllers(mut self, words: &str) -> Self {
        for hierarchy in self.hierarchies.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
            hierarchy.controllers = Controllers::named_in(words);
        }
        self
    }

    /// The same layout with hierarchies for those of `wanted` that have none here and that v1 alone has
    /// (`net_cls`, `net_prio`). They are mounted for this process only and attached nowhere: the host's
    /// mount table stays as it is, and the kernel drops a hierarchy with its last group.
    ///
    /// # Errors
    /// When the kernel can't mount one.
    pub fn with_private(mut self, wanted: Controllers) -> Result<Self, Error> {
        for controller in wanted.intersection(private::MOUNTABLE).iter() {
            if self.hierarchy_of(controller).is_none() {
                self.hierarchies.push(Hierarchy {
                    version: Version::V1,
                    controllers: Controllers::of(&[controller]),
                    name: None,
                    place: Place::Private(Arc::new(private::mount(controller)?)),
                    root: "/".to_owned(),
                });
            }
        }
        Ok(self)
    }

    /// What sort of layout it is.
    pub fn kind(&self) -> Kind {
        let has = |version| {
            self.hierarchies.iter().any(|hierarchy| hierarchy.version == version && !hierarchy.is_private())
        };
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => Kind::Hybrid,
            (true, false) => Kind::V1,
            (false, _) => Kind::V2,
        }
    }

    /// Controllers that the kernel has and no hierarchy of this layout.
    ///
    /// # Errors
    /// When `/proc/cgroups` can't be read.
    pub fn unmounted(&self) -> Result<Controllers, Error> {
        let known: Controllers =
            Controller::ALL.into_iter().filter(|one| self.hierarchy_of(*one).is_some()).collect();
        populate::enabled_controllers().map(|enabled| match self.kind() {
            // v2 has these without a controller of that name, or as part of another one.
            Kind::V2 => enabled.without(known).intersection(private::MOUNTABLE),
            _ => enabled.without(known),
        })
    }

    /// All hierarchies, in the order of mountinfo.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The v2 tree, if one is mounted.
    pub fn unified(&self) -> Option<(usize, &Hierarchy)> {
        self.hierarchies.iter().enumerate().find(|(_, hierarchy)| hierarchy.version == Version::V2)
    }

    /// The hierarchy that has `controller`, with its index.
    pub fn hierarchy_of(&self, controller: Controller) -> Option<(usize, &Hierarchy)> {
        self.hierarchies.iter().enumerate().find(|(_, hierarchy)| hierarchy.has(controller))
    }
}

type Device = (u32, u32);

impl Hierarchy {
    fn from_mount(mount: &Mount<'_>) -> Option<Self> {
        let version = match mount.fs_type {
            b"cgroup" => Version::V1,
            b"cgroup2" => Version::V2,
            _ => return None,
        };
        let options = String::from_utf8_lossy(mount.super_options);
        let name = options.split(',').find_map(|option| option.strip_prefix("name="));
        Some(Self {
            version,
            controllers: match version {
                Version::V1 => Controllers::named_in(&options),
                Version::V2 => Controllers::NONE,
            },
            name: name.map(str::to_owned),
            place: Place::At(PathBuf::from(OsStr::from_bytes(&mountinfo::unescape(mount.mount_point)))),
            root: String::from_utf8_lossy(&mountinfo::unescape(mount.root)).into_owned(),
        })
    }

    /// Its interface.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The controllers in it. A v1 hierarchy can be without: `name=systemd`.
    pub const fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Where it is mounted; `None` for one that only this process sees.
    pub fn mount_point(&self) -> Option<&Path> {
        match &self.place {
            Place::At(path) => Some(path),
            Place::Private(_) => None,
        }
    }

    /// Its name in messages: its controllers, `name=…`, or `unified`.
    pub fn label(&self) -> Cow<'_, str> {
        match (self.version, &self.name) {
            (Version::V2, _) => Cow::Borrowed("unified"),
            (Version::V1, Some(name)) if self.controllers.is_empty() => Cow::Owned(format!("name={name}")),
            (Version::V1, _) => Cow::Owned(self.controllers.to_string()),
        }
    }

    /// True when `controller`'s limits are set in this hierarchy. On v2, devices are a program that is attached
    /// to a group and the freezer is part of every group; neither is listed as a controller there.
    pub const fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(controller)
    }

    /// How many groups there are in it, besides its root.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn group_count(&self) -> Result<usize, Error> {
        let mut groups = vec![Dir::new(self, "")];
        let mut count = 0;
        while let Some(group) = groups.pop() {
            let children = group.children()?;
            count += children.len();
            groups.extend(children);
        }
        Ok(count)
    }

    /// The path that `/proc/PID/cgroup` shows for the group at `path` below this root.
    pub fn shown_path(&self, path: &str) -> String {
        match self.root.trim_end_matches('/') {
            root if path.is_empty() && root.is_empty() => "/".to_owned(),
            root if path.is_empty() => root.to_owned(),
            root => format!("{root}/{path}"),
        }
    }

    /// The directory that [`Hierarchy::path_of`] is relative to.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        match &self.place {
            Place::At(_) => CWD,
            Place::Private(fd) => fd.as_fd(),
        }
    }

    /// The path of `below` (a group, or a group's file), for use with [`Hierarchy::dir`]. Cgroup filesystems
    /// have no links, and nobody but the host's root can make or rename a group above a container's own.
    pub(crate) fn path_of(&self, below: &str) -> PathBuf {
        let below = if below.is_empty() { "." } else { below };
        match &self.place {
            Place::At(root) => root.join(below),
            Place::Private(_) => PathBuf::from(below),
        }
    }

    fn is_at(&self, mount_point: &[u8]) -> bool {
        match &self.place {
            Place::At(path) => path.as_os_str().as_bytes() == &*mountinfo::unescape(mount_point),
            Place::Private(_) => false,
        }
    }

    const fn is_private(&self) -> bool {
        matches!(self.place, Place::Private(_))
    }

    /// Which of two mounts of one hierarchy is better: the whole of it, at the usual place.
    fn rank(&self) -> (bool, bool) {
        let usual = matches!(&self.place, Place::At(path) if path.starts_with(USUAL_PLACE));
        (self.root == "/", usual)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The test machines: v1 controllers one by one, and a v2 tree with what is left.
    pub(crate) const HYBRID: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n\
        34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
        37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
        38 31 0:35 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    const V2: &str = "24 23 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

    pub(crate) fn hybrid() -> Layout {
        Layout::from_mountinfo(HYBRID.as_bytes()).expect("valid").with_unified_controllers("hugetlb")
    }

    pub(crate) fn v2() -> Layout {
        Layout::from_mountinfo(V2.as_bytes())
            .expect("valid")
            .with_unified_controllers("cpuset cpu io memory hugetlb pids rdma misc")
    }

    #[test]
    fn v1_controllers_beside_a_v2_tree_are_hybrid() {
        let layout = hybrid();
        assert_eq!(layout.kind(), Kind::Hybrid);
        let (_, cpu) = layout.hierarchy_of(Controller::Cpu).expect("cpu");
        assert_eq!(cpu.mount_point(), Some(Path::new("/sys/fs/cgroup/cpu")));
        let (_, hugetlb) = layout.hierarchy_of(Controller::Hugetlb).expect("hugetlb");
        assert_eq!((hugetlb.version(), &*hugetlb.label()), (Version::V2, "unified"));
        assert!(layout.hierarchy_of(Controller::NetCls).is_none());
        assert!(layout.hierarchies().iter().any(|hierarchy| hierarchy.label() == "name=systemd"));
    }

    #[test]
    fn one_v2_tree_is_v2() {
        assert_eq!(v2().kind(), Kind::V2);
        assert!(v2().hierarchy_of(Controller::Blkio).is_some());
        assert!(v2().hierarchy_of(Controller::NetCls).is_none());
    }

    #[test]
    fn v1_alone_is_v1_and_mounts_may_hold_several_controllers() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let layout = Layout::from_mountinfo(text.as_bytes()).expect("valid");
        assert_eq!(layout.kind(), Kind::V1);
        assert_eq!(layout.hierarchy_of(Controller::Cpuacct).map(|(index, _)| index), Some(0));
        assert_eq!(layout.hierarchies()[0].label(), "cpu,cpuacct");
    }

    #[test]
    fn a_second_mount_of_a_hierarchy_and_a_hidden_one_are_passed_over() {
        let text = "\
            30 1 0:29 /docker/x /other rw - cgroup cgroup rw,cpu\n\
            32 1 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 1 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            34 1 0:77 / /sys/fs/cgroup/pids rw - tmpfs tmpfs rw\n";
        let layout = Layout::from_mountinfo(text.as_bytes()).expect("valid");
        assert_eq!(layout.hierarchies().len(), 1);
        assert_eq!(layout.hierarchies()[0].mount_point(), Some(Path::new("/sys/fs/cgroup/cpu")));
    }

    #[test]
    fn no_hierarchy_is_an_error() {
        assert!(matches!(
            Layout::from_mountinfo(b"1 1 0:1 / / rw - ext4 /dev/vda rw\n"),
            Err(Error::NoHierarchy)
        ));
    }

    #[test]
    fn shown_paths_follow_the_root_of_the_mount() {
        let text = "32 31 0:29 /docker/x /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let layout = Layout::from_mountinfo(text.as_bytes()).expect("valid");
        assert_eq!(layout.hierarchies()[0].shown_path("g"), "/docker/x/g");
        assert_eq!(layout.hierarchies()[0].shown_path(""), "/docker/x");
        assert_eq!(hybrid().hierarchies()[0].shown_path("g"), "/g");
        assert_eq!(hybrid().hierarchies()[0].shown_path(""), "/");
    }
}
