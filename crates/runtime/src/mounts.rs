//! The mounts of the configuration as steps, and the sources that the parent opens for them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use skiff_oci::runtime;
use skiff_sys::mount::{self, Change, Depth, Propagation};

use crate::LaunchError;
use crate::cgroup_view::CgroupView;
use crate::error::c_string;
use crate::mount_options::{CopyUp, MountOptions, Parameter, Remount};
use crate::source::{Expected, Owners, Source, What as From};
use crate::step::{Mount, Place, Step, What};

/// The places where the kernel's own interfaces are expected: what is there must be a real directory, and
/// no link may lead to it (R5).
const RESERVED: [&str; 7] =
    ["/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"];

/// The only places below `/proc` that a mount may cover: plain numbers of the whole machine, which tools such as
/// lxcfs replace, as runc allows them (`libcontainer/rootfs_linux.go`, `checkProcMount`).
pub const COVERABLE: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
];

/// Steps and the sources that they name by index.
#[derive(Debug, Default)]
pub struct MountPlan {
    /// In the order of the configuration.
    pub steps: Vec<Step>,
    /// What the parent opens before the clone.
    pub sources: Vec<Source>,
}

impl MountPlan {
    /// Adds all mounts of the configuration; relative sources start at `bundle`.
    ///
    /// # Errors
    /// [`LaunchError::Spec`] with the mount's destination.
    pub fn add_all(
        &mut self,
        mounts: &[runtime::Mount],
        bundle: &Path,
        cgroup: &CgroupView,
    ) -> Result<(), LaunchError> {
        for mount in mounts {
            self.add(mount, bundle, cgroup)?;
        }
        Ok(())
    }

    /// Names a source for a step.
    pub fn source(&mut self, source: Source) -> What {
        let shown = source.what.shown();
        self.sources.push(source);
        What::Tree(self.sources.len() - 1, shown)
    }

    fn add(&mut self, mount: &runtime::Mount, bundle: &Path, cgroup: &CgroupView) -> Result<(), LaunchError> {
        let path = destination(mount.destination())?;
        let target = c_string("mounts.destination", path.as_os_str().as_bytes())?;
        let options = MountOptions::parse(mount.options().iter().flatten().map(String::as_str))?;
        let fstype = mount.typ().as_deref().unwrap_or("none");
        let place = place(&path, fstype)?;
        if options.remount == Remount::Yes {
            self.steps.push(Step::Remount { target, change: options.attributes });
            return Ok(());
        }
        if fstype == "cgroup" || fstype == "cgroup2" {
            cgroup.add_to(self, &path, options.attributes)?;
            return Ok(());
        }
        let what = if options.bind.is_some() || fstype == "bind" {
            let source = mount.source().as_ref().ok_or_else(|| {
                LaunchError::spec("mounts.source", format!("missing for {}", path.display()))
            })?;
            let expected = if path == Path::new("/proc") { Expected::Procfs } else { Expected::Anything };
            self.source(Source { expected, ..bind(mount, bundle.join(source), &options) })
        } else if options.copy_up == CopyUp::Yes && fstype == "tmpfs" {
            self.source(copy_up(&target, &options))
        } else {
            filesystem(mount, fstype, options)?
        };
        self.steps.push(Step::Mount(Mount { what, target, place }));
        Ok(())
    }

    /// Adds a tmpfs that the steps after it fill.
    pub fn add_tmpfs(&mut self, target: CString, attributes: Change) {
        self.steps.push(Step::Mount(Mount {
            what: What::Filesystem {
                fstype: c"tmpfs".to_owned(),
                source: c"tmpfs".to_owned(),
                parameters: vec![Parameter { key: c"mode".to_owned(), value: Some(c"755".to_owned()) }],
                attributes,
                propagation: None,
            },
            target,
            place: Place::Reserved,
        }));
    }
}

fn filesystem(mount: &runtime::Mount, fstype: &str, options: MountOptions) -> Result<What, LaunchError> {
    if fstype == "none" {
        return Err(LaunchError::spec(
            "mounts.type",
            format!("missing for {}, which is no bind mount", mount.destination().display()),
        ));
    }
    let source = mount.source().as_ref().map_or(fstype.as_bytes(), |path| path.as_os_str().as_bytes());
    let mut parameters = options.parameters;
    // Every devpts is a new instance since Linux 4.7; the mount API of newer kernels has no such key.
    parameters.retain(|parameter| fstype != "devpts" || parameter.key.as_c_str() != c"newinstance");
    Ok(What::Filesystem {
        fstype: c_string("mounts.type", fstype)?,
        source: c_string("mounts.source", source)?,
        parameters,
        attributes: options.attributes,
        propagation: options.propagation.map(|(propagation, _)| propagation),
    })
}

fn bind(mount: &runtime::Mount, path: PathBuf, options: &MountOptions) -> Source {
    let owners = match (mount.uid_mappings(), mount.gid_mappings(), options.idmap) {
        (Some(uids), Some(gids), depth) => {
            Owners::Mapped(depth.unwrap_or(Depth::One), uids.clone(), gids.clone())
        }
        (_, _, Some(depth)) => Owners::Container(depth),
        _ => Owners::AsOnDisk,
    };
    Source {
        what: From::Path(path),
        // The type `bind` without an option of that name, as Docker's API has it, is the plain one.
        depth: options.bind.unwrap_or(Depth::One),
        attributes: options.attributes,
        recursive_attributes: options.recursive_attributes,
        // As runc leaves it: what the host mounts below later is seen, what the container mounts is not.
        propagation: options.propagation.unwrap_or((Propagation::Slave, Depth::Recursive)),
        owners,
        expected: Expected::Anything,
    }
}

fn copy_up(target: &CString, options: &MountOptions) -> Source {
    Source {
        what: From::CopyUp { below: target.clone(), parameters: options.parameters.clone() },
        depth: Depth::One,
        attributes: options.attributes,
        recursive_attributes: Change::default(),
        propagation: options.propagation.unwrap_or((Propagation::Private, Depth::One)),
        owners: Owners::AsOnDisk,
        expected: Expected::Anything,
    }
}

/// The destination as an absolute path without `.` and `..`; the specification lets old bundles say `etc`.
fn destination(path: &Path) -> Result<PathBuf, LaunchError> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(LaunchError::spec(
                    "mounts.destination",
                    format!("`{}` contains `..`", path.display()),
                ));
            }
        }
    }
    if clean.as_os_str() == "/" {
        return Err(LaunchError::spec("mounts.destination", "the root itself can't be a destination"));
    }
    Ok(clean)
}

fn place(path: &Path, fstype: &str) -> Result<Place, LaunchError> {
    let refuse = |reason: String| Err(LaunchError::spec("mounts.destination", reason));
    if path == Path::new("/proc") {
        // A bind is the host's own /proc, which `--pid=host` in a user namespace needs.
        if !matches!(fstype, "proc" | "bind" | "none") {
            return refuse(format!("only a procfs can be at /proc, not {fstype}"));
        }
    } else if path.starts_with("/proc") && !COVERABLE.iter().any(|allowed| path == Path::new(allowed)) {
        return refuse(format!("nothing may be mounted at {}, inside of /proc", path.display()));
    }
    let reserved = RESERVED.iter().any(|reserved| path == Path::new(reserved));
    Ok(if reserved { Place::Reserved } else { Place::Free })
}

/// The attributes of the directories of a cgroup view, and of device nodes: nothing to execute there.
pub const NO_PROGRAMS: u64 = mount::NOSUID | mount::NOEXEC | mount::NODEV;

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::MountBuilder;

    fn plan(destination: &str, typ: &str, options: &[&str]) -> Result<MountPlan, LaunchError> {
        let mount = MountBuilder::default()
            .destination(destination)
            .typ(typ)
            .source("/src")
            .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
            .build()
            .unwrap();
        let mut plan = MountPlan::default();
        plan.add(&mount, Path::new("/bundle"), &CgroupView::None)?;
        Ok(plan)
    }

    #[test]
    fn a_bind_is_a_source_of_the_parent() {
        let plan = plan("/data", "bind", &["rbind", "ro", "rprivate"]).unwrap();
        let [source] = plan.sources.as_slice() else { panic!("{plan:?}") };
        assert_eq!(source.depth, Depth::Recursive);
        assert_eq!(source.attributes.set, mount::RDONLY);
        assert_eq!(source.propagation, (Propagation::Private, Depth::Recursive));
        assert_eq!(plan.steps[0].to_string(), "mount /src at /data");
    }

    #[test]
    fn a_new_instance_of_devpts_needs_no_option() {
        let plan = plan("/dev/pts", "devpts", &["newinstance", "gid=5", "nosuid"]).unwrap();
        let Step::Mount(Mount { what: What::Filesystem { parameters, .. }, place, .. }) = &plan.steps[0]
        else {
            panic!("{plan:?}")
        };
        assert_eq!(parameters.len(), 1);
        assert_eq!(*place, Place::Reserved);
    }

    #[test]
    fn destinations_stay_below_the_root_and_out_of_proc() {
        assert!(plan("/a/../../etc", "tmpfs", &[]).is_err());
        assert!(plan("/", "tmpfs", &[]).is_err());
        assert!(plan("/proc", "tmpfs", &[]).is_err());
        assert!(plan("/proc/self", "tmpfs", &[]).is_err());
        let bound = |target| plan(target, "bind", &["bind"]).unwrap().sources[0].expected;
        assert_eq!(bound("/proc"), Expected::Procfs, "r5: nothing else may be there");
        assert_eq!(bound("/proc/meminfo"), Expected::Anything);
        assert_eq!(plan("data", "tmpfs", &[]).unwrap().steps[0].to_string(), "mount tmpfs at /data");
    }
}
