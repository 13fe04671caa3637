//! Where the container's cgroup is.

use std::path::PathBuf;

use skiff_cgroup::CgroupPath;

use super::{Place, RequestError};

/// The cgroup of the container, as a path from the top of each hierarchy.
///
/// # Errors
/// When `parent` is no sane path of a cgroup (R25).
pub(crate) fn path(parent: Option<&str>, place: &Place) -> Result<CgroupPath, RequestError> {
    let parent_text = parent.unwrap_or_default();
    let refused = |source| RequestError::CgroupParent { source };
    let parent: CgroupPath = parent_text.parse().map_err(refused)?;
    parent.join(&format!("skiff-{}", place.short_id())).map_err(refused)
}

/// The same as the `Spec` spells it.
pub(super) fn absolute(path: &CgroupPath) -> PathBuf {
    PathBuf::from(path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_below(parent: Option<&str>) -> Result<String, RequestError> {
        let place = Place { id: "0123456789abcdef".repeat(4), directory: PathBuf::new() };
        path(parent, &place).map(|path| absolute(&path).display().to_string())
    }

    #[test]
    fn the_group_carries_the_short_id() {
        assert_eq!(path_below(None).unwrap(), "/skiff-0123456789ab");
        assert_eq!(path_below(Some("/a/b/")).unwrap(), "/a/b/skiff-0123456789ab");
        assert_eq!(path_below(Some("lab.slice")).unwrap(), "/lab.slice/skiff-0123456789ab");
    }

    #[test]
    fn r25_a_parent_cannot_leave_the_hierarchy() {
        for parent in ["..", "a/../b", "a//b", "./a", "a\nb", "a\0b", "cgroup.procs"] {
            assert!(matches!(path_below(Some(parent)), Err(RequestError::CgroupParent { .. })), "{parent:?}");
        }
    }
}
