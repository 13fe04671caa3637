//! Which device nodes the container gets, and which devices its processes may open.

use std::path::{Path, PathBuf};

use skiff_oci::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::RequestError;
use crate::facts::{DeviceFact, DeviceKind, HostFacts};
use crate::request::{DeviceRule, Security};

/// The nodes beside those that every container has.
pub(super) fn nodes(security: &Security, host: &HostFacts) -> Result<Vec<LinuxDevice>, RequestError> {
    let mut nodes = Vec::new();
    if security.privileged {
        nodes.extend(host.host_devices.iter().map(|fact| node(&fact.path, fact)));
    }
    for wish in &security.devices {
        check_access(&wish.access)?;
        for fact in host.devices_at(&wish.source)? {
            let below = fact.path.strip_prefix(&wish.source).unwrap_or_else(|_| Path::new(""));
            let target = if below == Path::new("") {
                PathBuf::from(&wish.target)
            } else {
                Path::new(&wish.target).join(below)
            };
            if !target.is_absolute() {
                return Err(RequestError::DeviceTarget { target: wish.target.clone() });
            }
            nodes.push(node(&target, fact));
        }
    }
    Ok(nodes)
}

/// Allow rules on top of one that denies everything; under `--privileged` everything is allowed.
pub(super) fn rules(security: &Security, host: &HostFacts) -> Result<Vec<LinuxDeviceCgroup>, RequestError> {
    if security.privileged {
        return Ok(vec![rule(LinuxDeviceType::A, None, None, "rwm", Verdict::Allow)]);
    }
    let mut rules = vec![rule(LinuxDeviceType::A, None, None, "rwm", Verdict::Deny)];
    rules.extend(skiff_cgroup::DeviceRule::DEFAULTS.iter().map(default_rule));
    for wish in &security.devices {
        for fact in host.devices_at(&wish.source)? {
            let (major, minor) = (i64::from(fact.major), i64::from(fact.minor));
            rules.push(rule(spec_kind(fact.kind), Some(major), Some(minor), &wish.access, Verdict::Allow));
        }
    }
    for wish in &security.device_rules {
        rules.push(asked_rule(wish)?);
    }
    Ok(rules)
}

/// One of the rules that every container has.
fn default_rule(default: &skiff_cgroup::DeviceRule) -> LinuxDeviceCgroup {
    let kind = match default.kind {
        skiff_cgroup::DeviceKind::Any => LinuxDeviceType::A,
        skiff_cgroup::DeviceKind::Block => LinuxDeviceType::B,
        skiff_cgroup::DeviceKind::Character => LinuxDeviceType::C,
    };
    let (major, minor) = (default.major.map(i64::from), default.minor.map(i64::from));
    rule(kind, major, minor, &default.access.to_string(), Verdict::Allow)
}

fn asked_rule(wish: &DeviceRule) -> Result<LinuxDeviceCgroup, RequestError> {
    check_access(&wish.access)?;
    let kind = match wish.kind {
        'a' => LinuxDeviceType::A,
        'b' => LinuxDeviceType::B,
        'c' => LinuxDeviceType::C,
        kind => return Err(RequestError::DeviceRuleKind { kind }),
    };
    Ok(rule(kind, wish.major.map(i64::from), wish.minor.map(i64::from), &wish.access, Verdict::Allow))
}

fn check_access(access: &str) -> Result<(), RequestError> {
    let is_letter_once = |letter: char| "rwm".contains(letter) && access.matches(letter).count() == 1;
    if access.is_empty() || !access.chars().all(is_letter_once) {
        return Err(RequestError::DeviceAccess { access: access.to_owned() });
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

fn rule(
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
    verdict: Verdict,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(verdict == Verdict::Allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    rule
}

fn node(target: &Path, fact: &DeviceFact) -> LinuxDevice {
    let mut device = LinuxDevice::default();
    device
        .set_path(target.to_path_buf())
        .set_typ(spec_kind(fact.kind))
        .set_major(i64::from(fact.major))
        .set_minor(i64::from(fact.minor))
        .set_file_mode(Some(fact.mode))
        .set_uid(Some(fact.uid))
        .set_gid(Some(fact.gid));
    device
}

const fn spec_kind(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Character => LinuxDeviceType::C,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::DeviceNode;

    fn fuse(path: &str) -> DeviceFact {
        let path = PathBuf::from(path);
        DeviceFact { path, kind: DeviceKind::Character, major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 }
    }

    fn asking(source: &str, target: &str, access: &str) -> Security {
        let wish = DeviceNode {
            source: PathBuf::from(source),
            target: target.to_owned(),
            access: access.to_owned(),
        };
        Security { devices: vec![wish], ..Security::default() }
    }

    fn host_with(source: &str, facts: Vec<DeviceFact>) -> HostFacts {
        HostFacts { devices: [(PathBuf::from(source), facts)].into(), ..HostFacts::default() }
    }

    fn rule_lines(security: &Security, host: &HostFacts) -> Vec<String> {
        let line = |rule: &LinuxDeviceCgroup| format!("{} {rule}", if rule.allow() { "+" } else { "-" });
        rules(security, host).unwrap().iter().map(line).collect()
    }

    #[test]
    fn default_rules_deny_all_and_allow_a_list() {
        assert_eq!(
            rule_lines(&Security::default(), &HostFacts::default()),
            [
                "- a *:* rwm",
                "+ c *:* m",
                "+ b *:* m",
                "+ c 1:3 rwm",
                "+ c 1:5 rwm",
                "+ c 1:7 rwm",
                "+ c 1:8 rwm",
                "+ c 1:9 rwm",
                "+ c 5:0 rwm",
                "+ c 5:1 rwm",
                "+ c 5:2 rwm",
                "+ c 136:* rwm"
            ]
        );
    }

    #[test]
    fn privileged_allows_every_device() {
        let security = Security { privileged: true, ..Security::default() };
        assert_eq!(rule_lines(&security, &HostFacts::default()), ["+ a *:* rwm"]);
    }

    #[test]
    fn a_device_is_a_node_and_a_rule() {
        let security = asking("/dev/fuse", "/dev/x", "rw");
        let host = host_with("/dev/fuse", vec![fuse("/dev/fuse")]);
        let made = nodes(&security, &host).unwrap();
        assert_eq!((made.len(), made[0].path().as_path()), (1, Path::new("/dev/x")));
        assert_eq!((made[0].major(), made[0].minor(), made[0].file_mode()), (10, 229, Some(0o666)));
        assert_eq!(rule_lines(&security, &host).last().unwrap(), "+ c 10:229 rw");
    }

    #[test]
    fn a_directory_gives_each_device_below_it() {
        let security = asking("/dev/snd", "/dev/sound", "rwm");
        let host = host_with("/dev/snd", vec![fuse("/dev/snd/a"), fuse("/dev/snd/by/b")]);
        let paths: Vec<PathBuf> =
            nodes(&security, &host).unwrap().iter().map(|node| node.path().clone()).collect();
        assert_eq!(paths, [PathBuf::from("/dev/sound/a"), PathBuf::from("/dev/sound/by/b")]);
    }

    #[test]
    fn wrong_access_letters_are_refused() {
        let host = host_with("/dev/fuse", vec![fuse("/dev/fuse")]);
        for access in ["", "x", "rr", "rwmx"] {
            let refused = nodes(&asking("/dev/fuse", "/dev/fuse", access), &host);
            assert!(matches!(refused, Err(RequestError::DeviceAccess { .. })), "{access:?}");
        }
    }

    #[test]
    fn asked_rules_come_last() {
        let wish = DeviceRule { kind: 'c', major: Some(189), minor: None, access: "rmw".to_owned() };
        let security = Security { device_rules: vec![wish], ..Security::default() };
        assert_eq!(rule_lines(&security, &HostFacts::default()).last().unwrap(), "+ c 189:* rmw");
    }
}
