//! Which capabilities the process gets.

use std::str::FromStr as _;

use skiff_oci::runtime::Capability::{self, *};
use skiff_oci::runtime::{Capabilities, LinuxCapabilities};
use skiff_runtime::identity::CAPABILITIES;

use super::RequestError;
use crate::request::{CapabilityWish, Security};

/// Docker's fourteen.
const DEFAULT: [Capability; 14] = [
    Chown,
    DacOverride,
    Fsetid,
    Fowner,
    Mknod,
    NetRaw,
    Setgid,
    Setuid,
    Setfcap,
    Setpcap,
    NetBindService,
    SysChroot,
    Kill,
    AuditWrite,
];

/// Of those, the eight that services need to start as root and become someone else.
const STRICT: [Capability; 8] = [Chown, DacOverride, Fsetid, Fowner, Setgid, Setuid, NetBindService, Kill];

/// The capability that `name` means: any case, with or without `CAP_`.
pub fn capability_named(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper)).ok()
}

/// The number of `capability` in the kernel.
pub fn capability_number(capability: Capability) -> usize {
    // Every variant is in the table; a test walks them all.
    CAPABILITIES.iter().position(|&known| known == capability).unwrap_or(CAPABILITIES.len())
}

/// The set that the request comes to, of what `available` (a mask by number) allows to give.
///
/// # Errors
/// For names that don't exist, and for a capability asked for by name that this process doesn't have itself.
pub(super) fn granted(security: &Security, available: u64) -> Result<Capabilities, RequestError> {
    let is_available = |capability: Capability| available >> capability_number(capability) & 1 == 1;
    let everything = || CAPABILITIES.into_iter().filter(|&capability| is_available(capability));
    let added = named(&security.cap_add)?;
    let dropped = named(&security.cap_drop)?;
    if let Some(missing) = added.iter().find(|&&capability| !is_available(capability)) {
        return Err(RequestError::CapabilityMissing { name: format!("CAP_{missing}") });
    }
    if security.privileged {
        return Ok(everything().collect());
    }
    let base: Vec<Capability> = match (security.cap_add.contains(&CapabilityWish::All), security.strict) {
        (true, _) => everything().collect(),
        (false, true) => STRICT.into_iter().filter(|&capability| is_available(capability)).collect(),
        (false, false) => DEFAULT.into_iter().filter(|&capability| is_available(capability)).collect(),
    };
    let drops_all = security.cap_drop.contains(&CapabilityWish::All);
    let kept = base.into_iter().filter(|capability| !drops_all && !dropped.contains(capability));
    // As Docker: a name that is both dropped and added is added, unless `ALL` was added too.
    let adds = added.iter().copied();
    Ok(kept.chain(adds).collect())
}

fn named(wishes: &[CapabilityWish]) -> Result<Vec<Capability>, RequestError> {
    wishes
        .iter()
        .filter_map(|wish| match wish {
            CapabilityWish::All => None,
            CapabilityWish::Named(name) => Some(name),
        })
        .map(|name| {
            capability_named(name).ok_or_else(|| RequestError::UnknownCapability { name: name.clone() })
        })
        .collect()
}

/// The five sets of a process that runs as `uid`.
///
/// A user other than 0 has nothing in force, as after any `execve`; the bounding set is what its programs with
/// file capabilities may reach.
pub(super) fn sets(granted: &Capabilities, uid: u32) -> LinuxCapabilities {
    let in_force = if uid == 0 { granted.clone() } else { Capabilities::new() };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(granted.clone()))
        .set_effective(Some(in_force.clone()))
        .set_permitted(Some(in_force))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << CAPABILITIES.len()) - 1;

    fn wishes(names: &[&str]) -> Vec<CapabilityWish> {
        let wish = |name: &&str| match *name {
            "ALL" => CapabilityWish::All,
            name => CapabilityWish::Named(name.to_owned()),
        };
        names.iter().map(wish).collect()
    }

    fn granted_names(add: &[&str], drop: &[&str]) -> Vec<String> {
        let security = Security { cap_add: wishes(add), cap_drop: wishes(drop), ..Security::default() };
        let mut names: Vec<String> =
            granted(&security, ALL).unwrap().iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn default_is_dockers_fourteen() {
        assert_eq!(
            granted_names(&[], &[]),
            [
                "AUDIT_WRITE",
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "FSETID",
                "KILL",
                "MKNOD",
                "NET_BIND_SERVICE",
                "NET_RAW",
                "SETFCAP",
                "SETGID",
                "SETPCAP",
                "SETUID",
                "SYS_CHROOT"
            ]
        );
    }

    #[test]
    fn dropping_all_leaves_what_was_added() {
        assert_eq!(granted_names(&["chown", "CAP_KILL"], &["ALL"]), ["CHOWN", "KILL"]);
        assert_eq!(granted_names(&[], &["ALL"]), Vec::<String>::new());
    }

    #[test]
    fn adding_all_keeps_the_drops() {
        let names = granted_names(&["ALL"], &["SYS_ADMIN"]);
        assert_eq!(names.len(), 40);
        assert!(!names.contains(&"SYS_ADMIN".to_owned()));
    }

    #[test]
    fn unknown_names_are_errors() {
        for (add, drop) in [(&["SYS_ADMN"][..], &[][..]), (&[], &["CAP_CAP_KILL"])] {
            let security = Security { cap_add: wishes(add), cap_drop: wishes(drop), ..Security::default() };
            assert!(matches!(granted(&security, ALL), Err(RequestError::UnknownCapability { .. })));
        }
    }

    #[test]
    fn a_capability_that_we_lack_is_an_error_only_by_name() {
        let lacking = ALL & !(1 << 24) & !(1 << 27);
        let default = granted(&Security::default(), lacking).unwrap();
        assert_eq!((default.len(), default.contains(&Mknod)), (13, false));
        let privileged = Security { privileged: true, ..Security::default() };
        assert_eq!(granted(&privileged, lacking).unwrap().len(), 39);
        let asked = Security { cap_add: wishes(&["SYS_RESOURCE"]), ..Security::default() };
        assert!(matches!(granted(&asked, lacking), Err(RequestError::CapabilityMissing { .. })));
    }

    #[test]
    fn strict_gives_eight() {
        let strict = Security { strict: true, ..Security::default() };
        assert_eq!(granted(&strict, ALL).unwrap().len(), 8);
    }

    #[test]
    fn another_user_has_no_capability_in_force() {
        let all: Capabilities = CAPABILITIES.into_iter().collect();
        let sets = sets(&all, 1000);
        assert_eq!(sets.bounding().as_ref().map(std::collections::HashSet::len), Some(41));
        for empty in [sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()] {
            assert_eq!(empty.as_ref().map(std::collections::HashSet::len), Some(0));
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (capability, number) in [(Chown, 0), (SysAdmin, 21), (SysResource, 24), (CheckpointRestore, 40)] {
            assert_eq!(capability_number(capability), number);
        }
        let distinct: Capabilities = CAPABILITIES.into_iter().collect();
        assert_eq!(distinct.len(), CAPABILITIES.len());
    }
}
