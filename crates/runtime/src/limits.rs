//! The resource limits that a container starts with, whatever the shell that started it had (R10).
//!
//! The parent sets them for itself, the child inherits them, and the limits of the configuration come on top. The
//! soft limit of descriptors is the child's affair, and late: whoever has many open could open no more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skiff_sys::Errno;

use crate::LaunchError;

const MIB: u64 = 1 << 20;

/// Name, limit, default soft and hard limit; `None` is unlimited. They are what systemd gives to Docker
/// (`systemd-system.conf(5)`: 1024 and 524288 descriptors) and what the kernel boots with.
const DEFAULTS: [(&str, Resource, Option<u64>, Option<u64>); 13] = [
    ("cpu", Resource::Cpu, None, None),
    ("fsize", Resource::Fsize, None, None),
    ("data", Resource::Data, None, None),
    ("stack", Resource::Stack, Some(8 * MIB), None),
    ("core", Resource::Core, None, None),
    ("rss", Resource::Rss, None, None),
    ("nproc", Resource::Nproc, None, None),
    ("memlock", Resource::Memlock, Some(8 * MIB), Some(8 * MIB)),
    ("as", Resource::As, None, None),
    ("locks", Resource::Locks, None, None),
    ("nice", Resource::Nice, Some(0), Some(0)),
    ("rtprio", Resource::Rtprio, Some(0), Some(0)),
    ("rttime", Resource::Rttime, None, None),
];

/// Soft and hard limit of descriptors, from the same sources.
const NOFILE: (u64, u64) = (1024, 524_288);

/// Sets every limit but those that the configuration sets itself, which are `asked` with their hard limits.
///
/// # Errors
/// [`LaunchError::CallerLimit`] when the caller's hard limit is below what a container starts with and can't
/// be raised.
pub fn reset(asked: &[(&str, Option<u64>)]) -> Result<(), LaunchError> {
    allow_descriptors(asked.iter().find(|(name, _)| *name == "nofile").map(|(_, hard)| *hard))?;
    for (name, resource, soft, hard) in DEFAULTS {
        if asked.iter().any(|(asked, _)| *asked == name) {
            continue;
        }
        let current = getrlimit(resource);
        let wanted = Rlimit { current: soft, maximum: hard };
        if current == wanted {
            continue;
        }
        let result = match setrlimit(resource, wanted) {
            // Without CAP_SYS_RESOURCE the caller's hard limit is the end; below it all is as it should be.
            Err(Errno::PERM) => setrlimit(
                resource,
                within(wanted, current.maximum).ok_or(LaunchError::CallerLimit {
                    name,
                    limit: current.maximum.unwrap_or(u64::MAX),
                    needed: soft.unwrap_or(u64::MAX),
                })?,
            ),
            result => result,
        };
        result.map_err(LaunchError::host(format!("set the limit {name}")))?;
    }
    Ok(())
}

/// Sets the hard limit of descriptors to the default, or where that is higher to what is asked for: the child,
/// who will have no right to raise it, sets the rest.
fn allow_descriptors(asked: Option<Option<u64>>) -> Result<(), LaunchError> {
    let current = getrlimit(Resource::Nofile);
    let ceiling = current.maximum;
    let maximum = match asked {
        None => Some(NOFILE.1),
        Some(hard) => match (hard, ceiling) {
            (Some(hard), Some(ceiling)) => Some(hard.max(ceiling)),
            (_, None) => ceiling,
            (None, _) => None,
        },
    };
    // Never above the hard limit, and not below what is open.
    let soft = |maximum: Option<u64>| match (current.current, maximum) {
        (Some(soft), Some(hard)) => Some(soft.min(hard)),
        (None, hard) => hard,
        (soft, None) => soft,
    };
    match setrlimit(Resource::Nofile, Rlimit { current: soft(maximum), maximum }) {
        Err(Errno::PERM) if asked.is_none() && ceiling.is_none_or(|ceiling| ceiling >= NOFILE.0) => Ok(()),
        Err(Errno::PERM) if asked.is_none() => Err(LaunchError::CallerLimit {
            name: "nofile",
            limit: ceiling.unwrap_or(u64::MAX),
            needed: NOFILE.0,
        }),
        result => result.map_err(LaunchError::host("set the limit nofile")),
    }
}

/// Sets the default soft limit of descriptors. Allocates nothing.
///
/// # Errors
/// None that the kernel can return for lowering it; kept so that nothing is dropped.
pub fn default_descriptors() -> Result<(), Errno> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let soft = maximum.map_or(NOFILE.0, |hard| hard.min(NOFILE.0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum })
}

/// `wanted` under the hard limit `ceiling`; nothing when a finite soft limit is above it.
fn within(wanted: Rlimit, ceiling: Option<u64>) -> Option<Rlimit> {
    let Some(ceiling) = ceiling else { return Some(wanted) };
    let maximum = wanted.maximum.map_or(ceiling, |hard| hard.min(ceiling));
    match wanted.current {
        Some(soft) if soft > maximum => None,
        soft => Some(Rlimit { current: Some(soft.unwrap_or(maximum)), maximum: Some(maximum) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_a_ceiling_caps_the_hard_limit_but_never_a_soft_one() {
        let wanted = Rlimit { current: Some(1024), maximum: Some(524_288) };
        assert_eq!(within(wanted, Some(20_000)), Some(Rlimit { current: Some(1024), maximum: Some(20_000) }));
        assert_eq!(within(wanted, Some(20)), None);
        assert_eq!(within(wanted, None), Some(wanted));
        let unlimited = Rlimit { current: None, maximum: None };
        assert_eq!(within(unlimited, Some(96)), Some(Rlimit { current: Some(96), maximum: Some(96) }));
    }
}
