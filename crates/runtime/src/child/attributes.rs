//! The child's steps that change what the process is: user, groups, capabilities, limits.

use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets as KernelSets};
use skiff_sys::Errno;
use skiff_sys::process::group_count;

use super::die_with_parent;
use crate::identity::CAPABILITIES;
use crate::step::{CapabilitySets, Identity};

/// Becomes user and group 0 of the user namespace that the process is in.
pub fn become_root() -> Result<(), Errno> {
    set_groups(&[Gid::ROOT])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    die_with_parent()
}

/// Sets the group list. A user namespace made by somebody without privileges forbids it for ever
/// (`user_namespaces(7)`, `setgroups`); with no other group asked for and none there, nothing is missing.
fn set_groups(groups: &[Gid]) -> Result<(), Errno> {
    match rustix::thread::set_thread_groups(groups) {
        Err(Errno::PERM) if groups.len() == 1 && group_count()? == 0 => Ok(()),
        result => result,
    }
}

/// Sets a limit. The kernel refuses to raise a hard limit without CAP_SYS_RESOURCE (`setrlimit(2)`).
pub fn rlimit(resource: Resource, (current, maximum): (Option<u64>, Option<u64>)) -> Result<(), Errno> {
    rustix::process::setrlimit(resource, Rlimit { current, maximum })
}

/// Drops every capability that isn't in `kept` from the bounding set, and gives root its usual meaning:
/// secure bits of the caller would be inherited (R10).
pub fn keep_bounding(kept: u64) -> Result<(), Errno> {
    rustix::thread::set_capabilities_secure_bits(rustix::thread::CapabilitiesSecureBits::empty())?;
    // Beyond those that we know: a newer kernel's own must not stay either.
    for number in 0..u64::BITS {
        let bit = 1u64 << number;
        if kept & bit == 0 {
            match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
                // The kernel has no capability with this number, and none with a higher one.
                Err(Errno::INVAL) => return Ok(()),
                result => result?,
            }
        }
    }
    Ok(())
}

/// Groups first, as they can't be changed any more once the user is another; the permitted capabilities
/// stay until [`set_capabilities`] chooses among them.
pub fn become_user(identity: &Identity) -> Result<(), Errno> {
    set_groups(&identity.groups)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    if identity.uid != 0 {
        rustix::thread::set_keep_capabilities(true)?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    die_with_parent()
}

/// Sets the four sets of the thread; the ambient one last, as it is bounded by permitted and inheritable.
pub fn set_capabilities(sets: CapabilitySets) -> Result<(), Errno> {
    let kernel = KernelSets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, kernel)?;
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..CAPABILITIES.len() {
        let bit = 1u64 << number;
        if sets.ambient & bit != 0 {
            let capability = CapabilitySet::from_bits_retain(bit);
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    die_with_parent()
}
