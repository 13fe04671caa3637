//! `linux.memoryPolicy`: where the memory of the container comes from on machines with several nodes.

use skiff_oci::runtime::{LinuxMemoryPolicy, MemoryPolicyFlagType, MemoryPolicyModeType};

use crate::LaunchError;
use crate::step::Step;

/// As many nodes as a kernel can have (`CONFIG_NODES_SHIFT` is at most 10).
const NODES_MAX: usize = 1024;

/// The step that sets the policy (`set_mempolicy(2)`).
///
/// # Errors
/// [`LaunchError::Spec`] for a list of nodes that is none.
pub fn step(policy: &LinuxMemoryPolicy) -> Result<Step, LaunchError> {
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0u32, |flags, flag| {
        flags
            | match flag {
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            }
    });
    Ok(Step::MemoryPolicy(mode | flags, nodes(policy.nodes().as_deref().unwrap_or(""))?))
}

/// The bit mask of a list such as `0-3,7`.
fn nodes(list: &str) -> Result<Vec<u64>, LaunchError> {
    let malformed = || LaunchError::spec("linux.memoryPolicy.nodes", format!("`{list}` is no list of nodes"));
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.parse().map_err(|_| malformed())?;
        let last: usize = last.parse().map_err(|_| malformed())?;
        if first > last || last >= NODES_MAX {
            return Err(malformed());
        }
        mask.resize(mask.len().max(last / 64 + 1), 0u64);
        for node in first..=last {
            if let Some(word) = mask.get_mut(node / 64) {
                *word |= 1 << (node % 64);
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        assert_eq!(nodes("0-2,5").unwrap(), [0b10_0111]);
        assert_eq!(nodes("64").unwrap(), [0, 1]);
        assert!(nodes("3-1").is_err());
        assert!(nodes("0-99999999999").is_err());
        assert!(nodes("a").is_err());
    }
}
