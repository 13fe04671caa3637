//! v1 hierarchies of our own: mounted for this process alone, attached nowhere.
//!
//! `fsopen`/`fsmount` (Linux 5.2) give a mount that has no place in any mount table, so the host's looks the
//! same before and after. The kernel keeps the hierarchy as long as it has a group or a mount, and a second
//! process that mounts the same controller gets the same hierarchy: a group that a killed Skiff left behind
//! is found again. Where the call is refused, the limit that needed it is refused.

use std::os::fd::OwnedFd;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsmount, fsopen,
};
use skiff_sys::Errno;

use crate::controller::{Controller, Controllers};
use crate::error::Error;
use crate::wait::Backoff;

/// Controllers that exist on v1 only, so that taking them takes nothing from a v2 tree.
pub(crate) const MOUNTABLE: Controllers = Controllers::of(&[Controller::NetCls, Controller::NetPrio]);

/// How long a hierarchy that is just going away is waited for.
const PATIENCE_MS: u64 = 100;

/// The root of the hierarchy of `controller`, made if the kernel has none.
pub(crate) fn mount(controller: Controller) -> Result<OwnedFd, Error> {
    let mut backoff = Backoff::new(PATIENCE_MS);
    loop {
        match mount_once(controller) {
            // Either the last user of the hierarchy has just left, and the kernel is taking it down, or the
            // controller is mounted together with another one where we can't see it. Only the first passes.
            Err(Error::Mount { source: Errno::BUSY, .. }) if backoff.pause() => {}
            other => return other,
        }
    }
}

fn mount_once(controller: Controller) -> Result<OwnedFd, Error> {
    let mounted = || -> Result<OwnedFd, Errno> {
        skiff_sys::fail::point("cgroup.mount")?;
        let context = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, controller.name())?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    mounted().map_err(|source| match source {
        // The kernel has no such controller, or it is switched off (`cgroup_disable=`, `cgroup_no_v1=`).
        Errno::NOENT | Errno::INVAL | Errno::NODEV => {
            Error::Missing { limit: limit_of(controller), controller }
        }
        source => Error::Mount { controller, source },
    })
}

fn limit_of(controller: Controller) -> &'static str {
    match controller {
        Controller::NetPrio => "network priority",
        _ => "network class",
    }
}
