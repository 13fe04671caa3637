//! `/proc/PID/cgroup`: which group a process is in, a line for each hierarchy.

use crate::controller::Controllers;
use crate::layout::{Hierarchy, Version};

/// The path that `text` shows for `hierarchy`.
pub(crate) fn path_in<'a>(text: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    text.lines().find_map(|line| {
        // `4:memory:/group`, `9:name=systemd:/group`, `0::/group`; the group may have colons.
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_this = match hierarchy.version() {
            Version::V2 => controllers.is_empty(),
            Version::V1 if hierarchy.controllers().is_empty() => controllers == hierarchy.label(),
            Version::V1 => Controllers::named_in(controllers) == hierarchy.controllers(),
        };
        is_this.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Controller;
    use crate::layout::tests::hybrid;

    const TEXT: &str = "9:name=systemd:/s\n4:memory:/process_api/x:y\n2:cpuacct:/a\n1:cpu:/\n0::/u\n";

    #[test]
    fn each_hierarchy_has_its_line() {
        let layout = hybrid();
        let of = |controller| path_in(TEXT, layout.hierarchy_of(controller).expect("mounted").1);
        assert_eq!(of(Controller::Cpu), Some("/"));
        assert_eq!(of(Controller::Cpuacct), Some("/a"));
        assert_eq!(of(Controller::Memory), Some("/process_api/x:y"));
        assert_eq!(of(Controller::Hugetlb), Some("/u"));
        assert_eq!(of(Controller::Pids), None);
        let named = layout.hierarchies().iter().find(|hierarchy| hierarchy.label() == "name=systemd");
        assert_eq!(path_in(TEXT, named.expect("mounted")), Some("/s"));
    }
}
