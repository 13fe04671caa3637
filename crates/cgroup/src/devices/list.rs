//! The v1 form: `devices.deny` and `devices.allow`.
//!
//! A v1 group has a default (allow or deny everything) and exceptions to it, so a list of rules has first to
//! be brought into that form. Not every list can be: v1 has no exception to an exception.

use super::{Access, DeviceKind, DeviceRule};
use crate::error::Error;

/// One line for one of the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListWrite {
    /// `devices.allow` or `devices.deny`.
    pub(crate) file: &'static str,
    /// The line.
    pub(crate) line: String,
}

/// More exceptions than this are a mistake, and would be searched at every open in the group.
const MAX_EXCEPTIONS: usize = 1024;

/// The lines that give a group exactly `rules`, whatever it had before; none for an empty list.
pub(crate) fn list_writes(rules: &[DeviceRule]) -> Result<Vec<ListWrite>, Error> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut state = State { default_allow: false, exceptions: Vec::new() };
    for rule in rules {
        state.add(rule)?;
    }
    let (default, exception) = match state.default_allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let mut writes = vec![ListWrite { file: default, line: "a".to_owned() }];
    let exceptions = if state.default_allow { state.exceptions } else { closed(state.exceptions)? };
    writes.extend(exceptions.iter().map(|rule| ListWrite { file: exception, line: rule.to_string() }));
    Ok(writes)
}

struct State {
    default_allow: bool,
    /// Rules of one kind each (block or character), and with the opposite verdict of the default.
    exceptions: Vec<DeviceRule>,
}

impl State {
    /// Takes the next rule, which overrides all before it where they meet.
    fn add(&mut self, rule: &DeviceRule) -> Result<(), Error> {
        let is_for_all = rule.kind == DeviceKind::Any && rule.major.is_none() && rule.minor.is_none();
        if is_for_all && rule.access == Access::ALL {
            *self = Self { default_allow: rule.allow, exceptions: Vec::new() };
            return Ok(());
        }
        for kind in kinds(rule.kind) {
            let rule = DeviceRule { kind, ..*rule };
            if rule.allow == self.default_allow { self.withdraw(&rule)? } else { self.except(rule) }
        }
        Ok(())
    }

    /// Makes `rule` an exception, together with one for the same devices.
    fn except(&mut self, rule: DeviceRule) {
        let same = self
            .exceptions
            .iter_mut()
            .find(|known| (known.kind, known.major, known.minor) == (rule.kind, rule.major, rule.minor));
        match same {
            Some(known) => known.access = known.access.union(rule.access),
            None => self.exceptions.push(rule),
        }
    }

    /// Takes exceptions back where `rule` has the default's verdict again.
    fn withdraw(&mut self, rule: &DeviceRule) -> Result<(), Error> {
        for known in &mut self.exceptions {
            let shared = known.access.intersection(rule.access);
            if shared.is_empty() || meet(known, rule).is_none() {
                continue;
            }
            if !is_within(known, rule) {
                return Err(Error::Unsupported {
                    limit: format!("device rule `{rule}` after `{known}`"),
                    why: "cgroup v1 has no exceptions from a wider rule",
                });
            }
            known.access = known.access.without(shared);
        }
        self.exceptions.retain(|known| !known.access.is_empty());
        Ok(())
    }
}

fn kinds(kind: DeviceKind) -> impl Iterator<Item = DeviceKind> {
    [DeviceKind::Block, DeviceKind::Character]
        .into_iter()
        .filter(move |one| kind == DeviceKind::Any || kind == *one)
}

/// True when every device of `narrow` is one of `wide`.
fn is_within(narrow: &DeviceRule, wide: &DeviceRule) -> bool {
    narrow.kind == wide.kind
        && (wide.major.is_none() || narrow.major == wide.major)
        && (wide.minor.is_none() || narrow.minor == wide.minor)
}

/// The devices that both are about, with the accesses of both.
fn meet(one: &DeviceRule, other: &DeviceRule) -> Option<DeviceRule> {
    let part = |one: Option<u32>, other: Option<u32>| match (one, other) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => Some(one.or(other)),
    };
    (one.kind == other.kind).then_some(())?;
    let (major, minor) = (part(one.major, other.major)?, part(one.minor, other.minor)?);
    Some(DeviceRule { major, minor, access: one.access.union(other.access), ..*one })
}

/// Widens exceptions that allow: the kernel wants *one* exception that covers all of an access, so where two
/// meet (`c *:* m` and `c 1:3 rw`), their common devices get the accesses of both.
fn closed(exceptions: Vec<DeviceRule>) -> Result<Vec<DeviceRule>, Error> {
    let mut state = State { default_allow: false, exceptions };
    loop {
        let before = state.exceptions.clone();
        for (index, one) in before.iter().enumerate() {
            for other in before.iter().skip(index + 1) {
                // Where one covers the other's accesses on its devices, nothing is gained.
                if let Some(both) =
                    meet(one, other).filter(|both| !before.iter().any(|known| is_covered(both, known)))
                {
                    state.except(both);
                }
            }
        }
        if state.exceptions.len() > MAX_EXCEPTIONS {
            return Err(Error::Unsupported {
                limit: "a device list of that length".to_owned(),
                why: "it needs more than 1024 exceptions",
            });
        }
        if state.exceptions == before {
            return Ok(before);
        }
    }
}

fn is_covered(rule: &DeviceRule, by: &DeviceRule) -> bool {
    is_within(rule, by) && by.access.contains(rule.access)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{questions, rule_lists};
    use super::super::{DeviceRule, is_allowed};
    use super::*;
    use proptest::prelude::*;

    /// The kernel's `security/device_cgroup.c` in small.
    #[derive(Default)]
    struct Kernel {
        default_allow: bool,
        exceptions: Vec<DeviceRule>,
    }

    impl Kernel {
        fn write(&mut self, write: &ListWrite) {
            let allow = write.file == "devices.allow";
            if write.line == "a" {
                *self = Self { default_allow: allow, exceptions: Vec::new() };
            } else {
                assert_ne!(allow, self.default_allow, "we never take back what we wrote");
                self.exceptions.push(write.line.parse().expect("a rule"));
            }
        }

        fn allows(&self, kind: DeviceKind, major: u32, minor: u32, access: Access) -> bool {
            let mut matching = self.exceptions.iter().filter(|rule| rule.matches(kind, major, minor));
            if self.default_allow {
                !matching.any(|rule| !rule.access.intersection(access).is_empty())
            } else {
                matching.any(|rule| rule.access.contains(access))
            }
        }
    }

    fn agrees(rules: &[DeviceRule]) -> Result<(), Error> {
        let mut kernel = Kernel::default();
        list_writes(rules)?.iter().for_each(|write| kernel.write(write));
        for (kind, major, minor, access) in questions() {
            let meant = is_allowed(rules, kind, major, minor, access);
            let is = kernel.allows(kind, major, minor, access);
            assert_eq!(is, meant, "{kind:?} {major}:{minor} {access} of {rules:?}");
        }
        Ok(())
    }

    #[test]
    fn the_default_list_is_a_deny_and_its_exceptions() {
        let rules: Vec<_> = [DeviceRule::DENY_ALL].into_iter().chain(DeviceRule::DEFAULTS).collect();
        let writes = list_writes(&rules).expect("v1 can do it");
        assert_eq!(writes[0], ListWrite { file: "devices.deny", line: "a".to_owned() });
        assert_eq!(writes[3], ListWrite { file: "devices.allow", line: "c 1:3 rwm".to_owned() });
        assert_eq!(writes.len(), 1 + DeviceRule::DEFAULTS.len());
        agrees(&rules).expect("v1 can do it");
    }

    #[test]
    fn an_exception_from_a_wider_rule_is_refused() {
        let deny = |text: &str| DeviceRule { allow: false, ..text.parse().expect("valid") };
        let wide: DeviceRule = "c 1:* rwm".parse().expect("valid");
        assert!(list_writes(&[DeviceRule::DENY_ALL, wide, deny("c 1:3 w")]).is_err());
        agrees(&[DeviceRule::DENY_ALL, "c 1:3 rw".parse().expect("valid"), deny("c 1:* w")])
            .expect("wider is fine");
        agrees(&[DeviceRule::ALLOW_ALL, deny("b 1:* w")]).expect("a list of what is denied");
    }

    #[test]
    fn rules_that_meet_are_joined_where_they_do() {
        let rules: Vec<DeviceRule> =
            ["c *:3 r", "c 1:* w", "c *:* m"].iter().map(|text| text.parse().expect("valid")).collect();
        agrees(&rules).expect("v1 can do it");
    }

    proptest! {
        #[test]
        fn a_list_that_v1_can_express_means_there_what_it_says(rules in rule_lists()) {
            if let Err(error) = agrees(&rules) {
                prop_assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            }
        }
    }
}
