//! What a container sees at `/sys/fs/cgroup`: its own cgroup, in the layout of the host.
//!
//! The container's own cgroup directories are bind mounted. In a cgroup namespace the kernel shows their
//! root as `/` all the same, and a bind costs one call where a new mount of each hierarchy costs many.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use skiff_cgroup::{Cgroup, CgroupPath, Layout, Resources};
use skiff_sys::mount::{self, Change};

use crate::LaunchError;
use crate::error::c_string;
use crate::mounts::{MountPlan, NO_PROGRAMS};
use crate::source::Source;
use crate::step::{Mount, Place, Step};

/// Where the container's cgroups are on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// The container has no cgroup of its own.
    None,
    /// One directory of a v2 tree.
    Unified(PathBuf),
    /// Directories of v1 hierarchies (and of the v2 tree of a hybrid layout), with the names of their
    /// mount points, for example `cpu,cpuacct`.
    PerHierarchy(Vec<(String, PathBuf)>),
}

impl CgroupView {
    /// The view of the cgroup at `path` of `layout`, which will be made with `resources`.
    pub fn of(layout: &Layout, path: &CgroupPath, resources: &Resources) -> Self {
        let path = path.as_str();
        let mounted: Vec<_> = Cgroup::hierarchies(layout, resources)
            .into_iter()
            .filter_map(|hierarchy| hierarchy.mount_point())
            .collect();
        if layout.kind() == skiff_cgroup::Kind::V2 {
            return mounted.first().map_or(Self::None, |point| Self::Unified(point.join(path)));
        }
        let named = mounted.into_iter().filter_map(|point| {
            let name = point.file_name()?.to_str()?.to_owned();
            Some((name, point.join(path)))
        });
        Self::PerHierarchy(named.collect())
    }

    /// Adds the steps that mount the view at `target`.
    ///
    /// # Errors
    /// [`LaunchError::Spec`] for a NUL byte in a path.
    pub fn add_to(&self, plan: &mut MountPlan, target: &Path, attributes: Change) -> Result<(), LaunchError> {
        let c_path = |path: &Path| c_string("mounts.destination", path.as_os_str().as_bytes());
        match self {
            Self::None => {
                Err(LaunchError::spec("linux.cgroupsPath", "missing, but a cgroup is to be mounted"))
            }
            Self::Unified(dir) => {
                add(plan, dir, c_path(target)?, attributes);
                Ok(())
            }
            Self::PerHierarchy(dirs) => {
                let no_programs = Change { set: NO_PROGRAMS, ..Change::default() };
                plan.add_tmpfs(c_path(target)?, no_programs);
                for (name, dir) in dirs {
                    add(plan, dir, c_path(&target.join(name))?, attributes);
                    self.add_links(plan, target, name)?;
                }
                if attributes.set & mount::RDONLY != 0 {
                    let change = Change { set: mount::RDONLY, ..Change::default() };
                    plan.steps.push(Step::Remount { target: c_path(target)?, change });
                }
                Ok(())
            }
        }
    }

    /// `cpu` and `cpuacct` beside `cpu,cpuacct`, as distributions have them.
    fn add_links(&self, plan: &mut MountPlan, target: &Path, name: &str) -> Result<(), LaunchError> {
        if !name.contains(',') {
            return Ok(());
        }
        for part in name.split(',') {
            let path = target.join(part);
            plan.steps.push(Step::Link {
                path: c_string("mounts.destination", path.as_os_str().as_bytes())?,
                target: c_string("mounts.destination", name)?,
            });
        }
        Ok(())
    }
}

fn add(plan: &mut MountPlan, dir: &Path, target: CString, attributes: Change) {
    let what = plan.source(Source::bind(dir.to_owned(), attributes));
    plan.steps.push(Step::Mount(Mount { what, target, place: Place::Reserved }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_hierarchies_are_bound_below_a_tmpfs_that_ends_read_only() {
        let view = CgroupView::PerHierarchy(vec![
            ("memory".into(), "/sys/fs/cgroup/memory/c".into()),
            ("cpu,cpuacct".into(), "/sys/fs/cgroup/cpu,cpuacct/c".into()),
        ]);
        let mut plan = MountPlan::default();
        let read_only = Change { set: mount::RDONLY, ..Change::default() };
        view.add_to(&mut plan, Path::new("/sys/fs/cgroup"), read_only).unwrap();
        let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
        assert_eq!(
            steps,
            [
                "mount tmpfs at /sys/fs/cgroup",
                "mount /sys/fs/cgroup/memory/c at /sys/fs/cgroup/memory",
                "mount /sys/fs/cgroup/cpu,cpuacct/c at /sys/fs/cgroup/cpu,cpuacct",
                "make the link /sys/fs/cgroup/cpu",
                "make the link /sys/fs/cgroup/cpuacct",
                "change the mount at /sys/fs/cgroup",
            ]
        );
    }

    #[test]
    fn a_v2_cgroup_is_one_bind() {
        let view = CgroupView::Unified("/sys/fs/cgroup/c".into());
        let mut plan = MountPlan::default();
        view.add_to(&mut plan, Path::new("/sys/fs/cgroup"), Change::default()).unwrap();
        assert_eq!(plan.steps.len(), 1);
    }
}
