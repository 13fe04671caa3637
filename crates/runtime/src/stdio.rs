//! What who holds the user's stdio and who launches have to tell each other.

use skiff_oci::runtime::LinuxNamespaceType as Kind;

use crate::LaunchPlan;
use crate::step::Step;

impl LaunchPlan {
    /// Gives the container's terminal this size, where the configuration states none (`process.consoleSize`).
    /// Set afterwards it would come too late: a program may look at it first thing.
    pub fn set_window(&mut self, columns: u16, rows: u16) {
        for step in &mut self.steps {
            if let Step::Terminal(terminal) = step {
                terminal.size = terminal.size.or(Some((columns, rows)));
            }
        }
    }

    /// The program's user as the host numbers it: the owner that pipes to it must have, or the program can't
    /// open `/dev/stdout`. `None` when that is known to the kernel alone, in a user namespace that is joined.
    pub fn stdio_owner(&self) -> Option<u32> {
        let inside = self.steps.iter().find_map(|step| match step {
            Step::Identity(identity) => Some(identity.uid),
            _ => None,
        })?;
        if self.namespaces.is_host(Kind::User) {
            return Some(inside);
        }
        self.id_maps.as_ref()?.uids.iter().find_map(|map| {
            let offset = inside.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
            map.host_id().checked_add(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::{Bundle, LaunchPlan, Options, Rootfs};

    fn plan(user: &str, linux: &str) -> LaunchPlan {
        let spec = format!(
            r#"{{"ociVersion": "1.2.0", "root": {{"path": "/"}}, "linux": {linux},
                "process": {{"user": {user}, "args": ["true"], "cwd": "/"}}}}"#
        );
        let spec = serde_json::from_str(&spec).unwrap();
        let bundle =
            Bundle { id: "x".into(), dir: "/".into(), spec, rootfs: Rootfs::Dir(PathBuf::from("/")) };
        LaunchPlan::new(bundle, &Options::default(), None).unwrap()
    }

    #[test]
    fn the_owner_of_stdio_is_the_user_as_the_host_sees_it() {
        let user = r#"{"uid": 1000, "gid": 1000}"#;
        let none = r#"{"namespaces": [{"type": "mount"}]}"#;
        assert_eq!(plan(user, none).stdio_owner(), Some(1000));
        let mapped = r#"{"namespaces": [{"type": "mount"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 5000, "size": 1}, {"containerID": 1, "hostID": 70000, "size": 2000}],
            "gidMappings": [{"containerID": 0, "hostID": 5000, "size": 2000}]}"#;
        assert_eq!(plan(user, mapped).stdio_owner(), Some(70999));
        assert_eq!(plan(r#"{"uid": 0, "gid": 0}"#, mapped).stdio_owner(), Some(5000));
    }
}
