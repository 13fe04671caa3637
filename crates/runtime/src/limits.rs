//! The resource limits that a container starts with, whatever the shell that started it had (R10).
//!
//! The parent sets them for itself, the child inherits them, and the limits of the configuration come on top.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skiff_sys::Errno;

use crate::LaunchError;

const MIB: u64 = 1 << 20;

/// Name, limit, default soft and hard limit; `None` is unlimited. They are what systemd gives to Docker
/// (`systemd-system.conf(5)`: 1024 and 524288 descriptors) and what the kernel boots with.
const DEFAULTS: [(&str, Resource, Option<u64>, Option<u64>); 14] = [
    ("cpu", Resource::Cpu, None, None),
    ("fsize", Resource::Fsize, None, None),
    ("data", Resource::Data, None, None),
    ("stack", Resource::Stack, Some(8 * MIB), None),
    ("core", Resource::Core, None, None),
    ("rss", Resource::Rss, None, None),
    ("nproc", Resource::Nproc, None, None),
    ("nofile", Resource::Nofile, Some(1024), Some(524_288)),
    ("memlock", Resource::Memlock, Some(8 * MIB), Some(8 * MIB)),
    ("as", Resource::As, None, None),
    ("locks", Resource::Locks, None, None),
    ("nice", Resource::Nice, Some(0), Some(0)),
    ("rtprio", Resource::Rtprio, Some(0), Some(0)),
    ("rttime", Resource::Rttime, None, None),
];

/// Sets every limit but those that the configuration sets itself, named by `asked`.
///
/// # Errors
/// [`LaunchError::CallerLimit`] when the caller's hard limit is below what a container starts with and can't
/// be raised.
pub fn reset(asked: &[&str]) -> Result<(), LaunchError> {
    for (name, resource, soft, hard) in DEFAULTS {
        if asked.contains(&name) {
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
