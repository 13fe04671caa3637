//! Device rules: what they mean, and their two forms for the kernel.
//!
//! A list means: for each of read, write and mknod the *last* rule that matches the device and names that
//! access decides, and what no rule decides is denied. An access to a device is allowed when all its parts
//! are. [`is_allowed`] says just that, and both forms are tested against it.

mod filter;
mod list;

pub(crate) use filter::compile;
pub(crate) use list::list_writes;

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Which kind of device.
    pub kind: DeviceKind,
    /// `None`: any.
    pub major: Option<u32>,
    /// `None`: any.
    pub minor: Option<u32>,
    /// Which accesses it is about.
    pub access: Access,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// Both.
    Any,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// A set of read, write and mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Making a device node; the bit is the kernel's `BPF_DEVCG_ACC_MKNOD`.
    pub const MKNOD: Self = Self(1);
    /// Reading; `BPF_DEVCG_ACC_READ`.
    pub const READ: Self = Self(2);
    /// Writing; `BPF_DEVCG_ACC_WRITE`.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// The kernel's bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True for the empty set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True when all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl FromStr for Access {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.chars().try_fold(Self::NONE, |set, letter| match letter {
            'r' => Ok(set.union(Self::READ)),
            'w' => Ok(set.union(Self::WRITE)),
            'm' => Ok(set.union(Self::MKNOD)),
            _ => Err(Error::Invalid {
                what: "device access",
                value: text.to_owned(),
                why: "it is made of `r`, `w` and `m`",
            }),
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")]
            .into_iter()
            .filter(|(access, _)| self.contains(*access))
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl DeviceRule {
    /// The rule that takes everything away; a list for a container starts with it.
    pub const DENY_ALL: Self =
        Self { allow: false, kind: DeviceKind::Any, major: None, minor: None, access: Access::ALL };
    /// The rule that gives everything, for privileged containers.
    pub const ALLOW_ALL: Self = Self { allow: true, ..Self::DENY_ALL };

    /// What every container may use, as Docker and runc have it: mknod of anything (a node alone opens
    /// nothing), the harmless memory devices, terminals.
    pub const DEFAULTS: [Self; 11] = [
        Self::character(None, None, Access::MKNOD),
        Self { kind: DeviceKind::Block, ..Self::character(None, None, Access::MKNOD) },
        Self::character(Some(1), Some(3), Access::ALL),
        Self::character(Some(1), Some(5), Access::ALL),
        Self::character(Some(1), Some(7), Access::ALL),
        Self::character(Some(1), Some(8), Access::ALL),
        Self::character(Some(1), Some(9), Access::ALL),
        Self::character(Some(5), Some(0), Access::ALL),
        Self::character(Some(5), Some(1), Access::ALL),
        Self::character(Some(5), Some(2), Access::ALL),
        Self::character(Some(136), None, Access::ALL),
    ];

    const fn character(major: Option<u32>, minor: Option<u32>, access: Access) -> Self {
        Self { allow: true, kind: DeviceKind::Character, major, minor, access }
    }

    /// True when the rule is about this device.
    fn matches(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        (self.kind == DeviceKind::Any || self.kind == kind)
            && self.major.is_none_or(|own| own == major)
            && self.minor.is_none_or(|own| own == minor)
    }
}

impl fmt::Display for DeviceRule {
    /// The rule without its verdict, as `devices.allow` and Docker's `--device-cgroup-rule` write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Any => "a",
            DeviceKind::Block => "b",
            DeviceKind::Character => "c",
        };
        let part = |part: Option<u32>| part.map_or_else(|| "*".to_owned(), |part| part.to_string());
        write!(f, "{kind} {}:{} {}", part(self.major), part(self.minor), self.access)
    }
}

impl FromStr for DeviceRule {
    type Err = Error;

    /// Reads `c 1:3 rwm`, with `*` for any number, as an allowing rule.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::Invalid {
            what: "device rule",
            value: text.to_owned(),
            why: "it is a kind, two numbers and accesses, such as `c 10:200 rw` or `b 8:* r`",
        };
        let mut words = text.split(' ');
        let (Some(kind), Some(numbers), Some(access), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed());
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(malformed)?;
        let part = |part: &str, largest: u32| match part {
            "*" => Ok(None),
            digits => digits
                .parse::<u32>()
                .ok()
                .filter(|number| {
                    *number <= largest && digits.starts_with(|first: char| first.is_ascii_digit())
                })
                .map(Some)
                .ok_or_else(malformed),
        };
        let kind = match kind {
            "a" => DeviceKind::Any,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Character,
            _ => return Err(malformed()),
        };
        let access: Access = access.parse()?;
        if access.is_empty() {
            return Err(malformed());
        }
        Ok(Self { allow: true, kind, major: part(major, 0xfff)?, minor: part(minor, 0xf_ffff)?, access })
    }
}

/// Whether `rules` allow `access` to a device: the meaning of a list, and the judge of both kernel forms.
pub fn is_allowed(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: Access) -> bool {
    [Access::READ, Access::WRITE, Access::MKNOD].into_iter().filter(|part| access.contains(*part)).all(
        |part| {
            rules
                .iter()
                .rev()
                .find(|rule| rule.matches(kind, major, minor) && rule.access.contains(part))
                .is_some_and(|rule| rule.allow)
        },
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists over few numbers, so that rules meet.
    pub(crate) fn rule_lists() -> impl Strategy<Value = Vec<DeviceRule>> {
        let kind = prop_oneof![Just(DeviceKind::Any), Just(DeviceKind::Block), Just(DeviceKind::Character)];
        let number = || prop_oneof![Just(None), (1_u32..4).prop_map(Some)];
        let rule = (any::<bool>(), kind, number(), number(), 1_u8..8).prop_map(
            |(allow, kind, major, minor, access)| DeviceRule {
                allow,
                kind,
                major,
                minor,
                access: Access(access),
            },
        );
        proptest::collection::vec(rule, 0..8)
    }

    /// Every kind, number (with one that no rule names) and access there is to ask.
    pub(crate) fn questions() -> impl Iterator<Item = (DeviceKind, u32, u32, Access)> {
        let kinds = [DeviceKind::Block, DeviceKind::Character];
        kinds.into_iter().flat_map(|kind| {
            (0..5).flat_map(move |major| {
                (0..5).flat_map(move |minor| (1..8).map(move |access| (kind, major, minor, Access(access))))
            })
        })
    }

    #[test]
    fn the_last_rule_that_names_an_access_decides_it() {
        let rules: Vec<DeviceRule> = vec![
            DeviceRule::DENY_ALL,
            "c 1:* rw".parse().expect("valid"),
            DeviceRule { allow: false, ..("c 1:3 w".parse().expect("valid")) },
        ];
        let asks = |minor, access| is_allowed(&rules, DeviceKind::Character, 1, minor, access);
        assert!(asks(5, Access::READ.union(Access::WRITE)));
        assert!(asks(3, Access::READ));
        assert!(!asks(3, Access::READ.union(Access::WRITE)));
        assert!(!asks(5, Access::MKNOD));
        assert!(!is_allowed(&[], DeviceKind::Block, 8, 0, Access::READ));
    }

    #[test]
    fn a_rule_reads_back_what_it_prints() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:* rw", "c 136:* r", "b 8:1048575 w"] {
            assert_eq!(text.parse::<DeviceRule>().expect(text).to_string(), text);
        }
        for text in
            ["", "c", "c 1:3", "c 1:3 x", "c 1:3 ", "d 1:3 r", "c 1 r", "c +1:3 r", "c 4096:1 r", "c 1:3 r r"]
        {
            assert!(text.parse::<DeviceRule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_defaults_open_null_and_no_disk() {
        let rules: Vec<_> = [DeviceRule::DENY_ALL].into_iter().chain(DeviceRule::DEFAULTS).collect();
        assert!(is_allowed(&rules, DeviceKind::Character, 1, 3, Access::ALL));
        assert!(is_allowed(&rules, DeviceKind::Block, 8, 0, Access::MKNOD));
        assert!(!is_allowed(&rules, DeviceKind::Block, 8, 0, Access::READ));
        assert!(!is_allowed(&rules, DeviceKind::Character, 1, 1, Access::READ));
    }
}
