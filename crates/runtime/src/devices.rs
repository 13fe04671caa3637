//! The device nodes and links of `/dev`: the defaults of the OCI runtime specification and those of the
//! configuration.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, makedev};
use skiff_oci::runtime::{LinuxDevice, LinuxDeviceType};

use crate::LaunchError;
use crate::error::c_string;
use crate::mounts::MountPlan;
use crate::source::{Expected, Source};
use crate::step::{Device, Mount, Place, Step};

/// The default devices (`config-linux.md`, "Default Devices"), all character devices with mode 0666.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that programs expect (`runtime-linux.md`, "Dev symbolic links"), and ptmx of the container's
/// own devpts.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// How device nodes come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// By `mknod(2)`.
    Nodes,
    /// By bind mounts of the host's nodes, as a user namespace can't make nodes that work.
    Binds,
}

/// Adds the steps that fill `/dev`.
///
/// # Errors
/// [`LaunchError::Spec`] for a device whose path or numbers mean nothing.
pub fn add_all(plan: &mut MountPlan, devices: &[LinuxDevice], making: Making) -> Result<(), LaunchError> {
    let mut wanted = Vec::new();
    for (path, major, minor) in DEFAULT {
        if !devices.iter().any(|device| device.path() == Path::new(path)) {
            wanted.push((PathBuf::from(path), node(path.as_bytes(), major, minor)?));
        }
    }
    for device in devices {
        wanted.push((device.path().clone(), configured(device)?));
    }
    for (path, device) in wanted {
        match making {
            Making::Nodes => plan.steps.push(Step::Device(device)),
            Making::Binds => {
                let mut source = Source::bind(path, skiff_sys::mount::Change::default());
                source.expected = Expected::Device(device.kind, device.rdev);
                let what = plan.source(source);
                plan.steps.push(Step::Mount(Mount { what, target: device.path, place: Place::Free }));
            }
        }
    }
    for (path, target) in LINKS {
        plan.steps.push(Step::Link {
            path: c_string("linux.devices", path)?,
            target: c_string("linux.devices", target)?,
        });
    }
    Ok(())
}

fn node(path: &[u8], major: u32, minor: u32) -> Result<Device, LaunchError> {
    Ok(Device {
        path: c_string("linux.devices.path", path)?,
        kind: FileType::CharacterDevice,
        rdev: makedev(major, minor),
        mode: 0o666,
        uid: 0,
        gid: 0,
    })
}

fn configured(device: &LinuxDevice) -> Result<Device, LaunchError> {
    let path = device.path();
    if !path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
        return Err(LaunchError::spec(
            "linux.devices.path",
            format!("`{}` is not an absolute path without `..`", path.display()),
        ));
    }
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            return Err(LaunchError::spec("linux.devices.type", "`a` is for cgroup rules only"));
        }
    };
    let number = |field, value: i64| {
        u32::try_from(value)
            .map_err(|_| LaunchError::spec(field, format!("{value} is no number of {}", path.display())))
    };
    let rdev = match kind {
        FileType::Fifo => 0,
        _ => makedev(
            number("linux.devices.major", device.major())?,
            number("linux.devices.minor", device.minor())?,
        ),
    };
    Ok(Device {
        path: c_string("linux.devices.path", path.as_os_str().as_bytes())?,
        kind,
        rdev,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::LinuxDeviceBuilder;

    fn device(path: &str, typ: LinuxDeviceType) -> LinuxDevice {
        LinuxDeviceBuilder::default().path(path).typ(typ).major(1i64).minor(3i64).build().unwrap()
    }

    #[test]
    fn a_configured_device_takes_the_place_of_the_default() {
        let mut plan = MountPlan::default();
        add_all(&mut plan, &[device("/dev/null", LinuxDeviceType::C)], Making::Nodes).unwrap();
        let names: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
        assert_eq!(names.iter().filter(|name| name.ends_with(" /dev/null")).count(), 1, "{names:?}");
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn in_a_user_namespace_the_host_s_nodes_are_bound() {
        let mut plan = MountPlan::default();
        add_all(&mut plan, &[], Making::Binds).unwrap();
        assert_eq!(plan.sources.len(), 6);
        assert!(
            matches!(plan.sources[0].expected, Expected::Device(FileType::CharacterDevice, rdev) if rdev == makedev(1, 3))
        );
    }

    #[test]
    fn a_device_outside_of_the_root_is_refused() {
        let mut plan = MountPlan::default();
        for path in ["dev/x", "/dev/../../x"] {
            assert!(add_all(&mut plan, &[device(path, LinuxDeviceType::C)], Making::Nodes).is_err());
        }
    }
}
