//! Where the container's cgroup is.

use std::path::PathBuf;

use super::{Place, RequestError};

/// The cgroup of the container, as a path from the top of each hierarchy.
///
/// # Errors
/// When `parent` is no sane path of a cgroup (R25).
pub(super) fn path(parent: Option<&str>, place: &Place) -> Result<PathBuf, RequestError> {
    let own = format!("skiff-{}", place.short_id());
    let Some(parent) = parent else {
        return Ok(PathBuf::from(format!("/{own}")));
    };
    let trimmed = parent.trim_matches('/');
    let is_component = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    let is_text = trimmed.chars().all(|letter| !letter.is_control());
    if trimmed.is_empty() || !is_text || !trimmed.split('/').all(is_component) {
        return Err(RequestError::CgroupParent { parent: parent.to_owned() });
    }
    Ok(PathBuf::from(format!("/{trimmed}/{own}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_below(parent: Option<&str>) -> Result<PathBuf, RequestError> {
        path(parent, &Place { id: "0123456789abcdef".repeat(4), directory: PathBuf::new() })
    }

    #[test]
    fn the_group_carries_the_short_id() {
        assert_eq!(path_below(None).unwrap(), PathBuf::from("/skiff-0123456789ab"));
        assert_eq!(path_below(Some("/a/b/")).unwrap(), PathBuf::from("/a/b/skiff-0123456789ab"));
        assert_eq!(path_below(Some("lab.slice")).unwrap(), PathBuf::from("/lab.slice/skiff-0123456789ab"));
    }

    #[test]
    fn r25_a_parent_cannot_leave_the_hierarchy() {
        for parent in ["..", "a/../b", "a//b", "./a", "", "/", "a\nb", "a\0b"] {
            assert!(matches!(path_below(Some(parent)), Err(RequestError::CgroupParent { .. })), "{parent:?}");
        }
    }
}
