//! v1 numbers as v2 numbers, by the formulas that crun and runc use.

use crate::error::Error;
use crate::resources::Limit;

/// `cpu.shares` (2 to 262,144, usually 1,024) as `cpu.weight` (1 to 10,000, usually 100).
///
/// A quadratic in the logarithm that fits both ends and the defaults (runc ≥ 1.3.2, crun ≥ 1.23); the older
/// linear one gave 39 for 1,024, so that containers lost against everything else on the machine.
pub(crate) fn cpu_weight(shares: u64) -> u32 {
    let shares = match u32::try_from(shares) {
        Ok(0..=2) => return 1,
        Ok(shares) if shares < 262_144 => shares,
        _ => return 10_000,
    };
    let log = f64::from(shares).log2();
    let exponent = log.mul_add(log, 125.0 * log) / 612.0 - 7.0 / 34.0;
    // The least weight that is not below 10^exponent. The slack takes up rounding: 1,024 is 100, not 101.
    let (mut low, mut high) = (1, 10_000);
    while low < high {
        let middle = u32::midpoint(low, high);
        if f64::from(middle).log10() + 1e-12 < exponent { low = middle + 1 } else { high = middle }
    }
    low
}

/// `blkio.weight` (10 to 1,000) as `io.weight` (1 to 10,000), linear as OCI has it.
pub(crate) fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// The v1 limit of memory and swap together as v2's limit of swap alone; `None`: leave it as it is.
pub(crate) fn swap_alone(swap: Option<Limit>, memory: Option<Limit>) -> Result<Option<Limit>, Error> {
    let invalid =
        |value: u64, why| Error::Invalid { what: "memory and swap limit", value: value.to_string(), why };
    match (swap, memory) {
        // As on v1, where memory can't be unlimited while both together are limited.
        (None, Some(Limit::Unlimited)) => Ok(Some(Limit::Unlimited)),
        (None, _) => Ok(None),
        (Some(Limit::Unlimited), _) => Ok(Some(Limit::Unlimited)),
        (Some(Limit::At(both)), Some(Limit::At(memory))) => both
            .checked_sub(memory)
            .map(|swap| Some(Limit::At(swap)))
            .ok_or_else(|| invalid(both, "it includes memory, so it can't be below the memory limit")),
        (Some(Limit::At(both)), None | Some(Limit::Unlimited)) => {
            Err(invalid(both, "it includes memory, so a memory limit must be given with it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpu_weights_are_those_of_runc_and_crun() {
        // The formula's values, worked out outside of this program.
        let table = [
            (0, 1),
            (2, 1),
            (3, 2),
            (200, 29),
            (256, 35),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (10_000, 627),
            (200_000, 7899),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }

    #[test]
    fn io_weights_keep_their_ends() {
        assert_eq!((io_weight(10), io_weight(500), io_weight(1000)), (1, 4950, 10_000));
    }

    #[test]
    fn swap_alone_is_what_both_have_beyond_memory() {
        use Limit::{At, Unlimited};
        let of = |swap, memory| swap_alone(swap, memory).ok();
        assert_eq!(of(Some(At(300)), Some(At(100))), Some(Some(At(200))));
        assert_eq!(of(Some(At(100)), Some(At(100))), Some(Some(At(0))));
        assert_eq!(of(Some(Unlimited), Some(At(100))), Some(Some(Unlimited)));
        assert_eq!(of(None, Some(At(100))), Some(None));
        assert_eq!(of(None, Some(Unlimited)), Some(Some(Unlimited)));
        assert_eq!(of(Some(At(50)), Some(At(100))), None);
        assert_eq!(of(Some(At(50)), None), None);
    }

    proptest! {
        #[test]
        fn p5_conversions_are_monotone_and_in_range(a in 0_u64..300_000, b in 0_u64..300_000, x: u16, y: u16) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(cpu_weight(a) <= cpu_weight(b));
            prop_assert!((1..=10_000).contains(&cpu_weight(a)));
            let (x, y) = (x.min(y), x.max(y));
            prop_assert!(io_weight(x) <= io_weight(y));
            prop_assert!((1..=10_000).contains(&io_weight(x)));
        }
    }
}
