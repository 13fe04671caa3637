//! Id maps of a new user namespace: what the flags mean, as ranges.

use skiff_sys::users::{NameOrId, SubordinateRange, UserError};

/// A block of ids: `count` from `inner` on, inside, are those from `outer` on, outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First id in the new namespace.
    pub inner: u32,
    /// First id in the caller's.
    pub outer: u32,
    /// How many.
    pub count: u32,
}

/// The text of a `uid_map` or `gid_map` file.
pub fn text(ranges: &[Range]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inner, range.outer, range.count)).collect()
}

/// The value of `--map-users` and `--map-groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The caller's first range in `/etc/subuid` or `/etc/subgid`, to inner ids from 0 on.
    Auto,
    /// A range that was given.
    Given(Range),
}

impl std::str::FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([outer, inner, count]) if *count > 0 => {
                let end_fits = |first: &u32| first.checked_add(*count).is_some();
                if end_fits(outer) && end_fits(inner) {
                    return Ok(Self::Given(Range { inner: *inner, outer: *outer, count: *count }));
                }
                Err("the range goes beyond the largest id".to_owned())
            }
            _ => Err("expected `auto` or OUTER,INNER,COUNT".to_owned()),
        }
    }
}

/// `block` together with the single id `single`, which is taken out of the block on both sides: an id can't be
/// mapped twice. What is left is paired in ascending order, so that the highest ids may stay unmapped.
pub fn with_single(block: Range, single: Range) -> Vec<Range> {
    let inner = without(block.inner, block.count, single.inner);
    let outer = without(block.outer, block.count, single.outer);
    let mut ranges = paired(&inner, &outer);
    ranges.push(single);
    ranges.sort_unstable_by_key(|range| range.inner);
    ranges
}

/// The ids from `first` on without `hole`, as (first, count).
fn without(first: u32, count: u32, hole: u32) -> Vec<(u32, u32)> {
    let Some(before) = hole.checked_sub(first).filter(|before| *before < count) else {
        return vec![(first, count)];
    };
    let pieces = [(first, before), (first + before + 1, count - before - 1)];
    pieces.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn paired(inner: &[(u32, u32)], outer: &[(u32, u32)]) -> Vec<Range> {
    let (mut inner, mut outer) = (inner.iter().copied(), outer.iter().copied());
    let (mut left, mut right) = (inner.next(), outer.next());
    let mut ranges = Vec::new();
    while let (Some((inner_first, inner_count)), Some((outer_first, outer_count))) = (left, right) {
        let count = inner_count.min(outer_count);
        ranges.push(Range { inner: inner_first, outer: outer_first, count });
        left =
            if inner_count > count { Some((inner_first + count, inner_count - count)) } else { inner.next() };
        right =
            if outer_count > count { Some((outer_first + count, outer_count - count)) } else { outer.next() };
    }
    ranges
}

/// The first range that belongs to the user with the login name `name` and the number `id`.
pub fn first_of(
    ranges: impl Iterator<Item = SubordinateRange>,
    name: Option<&str>,
    id: u32,
) -> Option<Range> {
    let mine = |range: &SubordinateRange| match range.owner.parse::<NameOrId>() {
        Ok(NameOrId::Id(owner)) => owner == id,
        Ok(NameOrId::Name(owner)) => Some(owner.as_str()) == name,
        Err(UserError::OutOfRange(_)) | Err(_) => false,
    };
    let mut ranges = ranges;
    ranges.find(mine).map(|range| Range { inner: 0, outer: range.first, count: range.count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inner: u32, outer: u32, count: u32) -> Range {
        Range { inner, outer, count }
    }

    #[test]
    fn root_among_subordinate_ids_is_the_callers_own() {
        // The example of unshare(1).
        let ranges = with_single(range(0, 100_000, 65_536), range(0, 1000, 1));
        assert_eq!(ranges, [range(0, 1000, 1), range(1, 100_000, 65_535)]);
        assert_eq!(text(&ranges), "0 1000 1\n1 100000 65535\n");
    }

    #[test]
    fn a_single_id_in_the_middle_splits_the_block() {
        let ranges = with_single(range(0, 100_000, 10), range(4, 1000, 1));
        assert_eq!(ranges, [range(0, 100_000, 4), range(4, 1000, 1), range(5, 100_004, 5)]);
    }

    #[test]
    fn an_outer_id_is_not_mapped_twice() {
        assert_eq!(with_single(range(0, 0, 10), range(0, 0, 1)), [range(0, 0, 1), range(1, 1, 9)]);
        let ranges = with_single(range(0, 0, 10), range(2, 5, 1));
        assert_eq!(ranges, [range(0, 0, 2), range(2, 5, 1), range(3, 2, 3), range(6, 6, 4)]);
    }

    #[test]
    fn a_single_id_beside_the_block_changes_nothing() {
        assert_eq!(with_single(range(10, 500, 5), range(0, 7, 1)), [range(0, 7, 1), range(10, 500, 5)]);
    }

    #[test]
    fn blocks_are_outer_inner_count() {
        assert_eq!("100000,0,65536".parse(), Ok(Block::Given(range(0, 100_000, 65_536))));
        assert_eq!("auto".parse(), Ok(Block::Auto));
        for wrong in ["", "1,2", "1,2,0", "1,2,3,4", "-1,0,1", "4294967295,0,2", "a,b,c"] {
            assert!(wrong.parse::<Block>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subordinate_range_is_found_by_name_or_number() {
        let ranges = |text: &'static str| skiff_sys::users::subordinate_ranges(text.as_bytes()).unwrap();
        assert_eq!(first_of(ranges("a:1:2\nb:5:6\nb:7:8\n"), Some("b"), 9), Some(range(0, 5, 6)));
        assert_eq!(first_of(ranges("1000:5:6\n"), None, 1000), Some(range(0, 5, 6)));
        assert_eq!(first_of(ranges("1000:5:6\n"), Some("1000"), 7), None);
    }
}
