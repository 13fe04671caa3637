//! Names of cgroups as data: checked once, here, before any of them becomes a file name.

use std::fmt;
use std::str::FromStr;

/// Longest single name: what a directory entry can hold.
const MAX_NAME: usize = 255;
/// Longest whole path; the kernel's own limit is that of a path, of which a mount point takes a part.
const MAX_PATH: usize = 2048;

/// A cgroup by its place below the root of every hierarchy: `mygroup`, `user.slice/skiff-0123456789ab`.
///
/// It is relative and canonical: no empty component, no `.` or `..`, printable ASCII only. The empty path is
/// the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CgroupPath(String);

/// Why a text is no name of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component that is empty, `.` or `..`.
    #[error("cgroup path `{0}` has an empty component, `.` or `..`")]
    Component(String),
    /// A character that can't be in a cgroup's name.
    #[error("cgroup path has the character {0:?}, only printable ASCII can be in it")]
    Character(char),
    /// A component that would be mistaken for one of the kernel's own files.
    #[error("cgroup name `{0}` belongs to the kernel")]
    Reserved(String),
    /// Too long.
    #[error("cgroup path is longer than {MAX_PATH} bytes, or one of its names longer than {MAX_NAME}")]
    Length,
}

impl CgroupPath {
    /// The root of the hierarchies.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// True for the root.
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path, without a leading slash; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group `name` (one or more components) below this one.
    ///
    /// # Errors
    /// When `name` is no valid path.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        if self.is_root() { name.parse() } else { format!("{}/{name}", self.0).parse() }
    }

    /// The group that this one is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// The groups from the first below the root down to this one.
    pub fn lineage(&self) -> impl Iterator<Item = Self> {
        let ends =
            self.0.match_indices('/').map(|(at, _)| at).chain((!self.is_root()).then_some(self.0.len()));
        ends.filter_map(|end| self.0.get(..end)).map(|path| Self(path.to_owned()))
    }
}

impl FromStr for CgroupPath {
    type Err = PathError;

    /// Takes a path with or without a leading or trailing slash, as `--cgroup-parent` is given.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self::root());
        }
        if let Some(bad) = path.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(PathError::Character(bad));
        }
        if path.len() > MAX_PATH {
            return Err(PathError::Length);
        }
        for name in path.split('/') {
            match name {
                "" | "." | ".." => return Err(PathError::Component(text.to_owned())),
                "tasks" | "notify_on_release" | "release_agent" => {
                    return Err(PathError::Reserved(name.to_owned()));
                }
                name if name.starts_with("cgroup.") => return Err(PathError::Reserved(name.to_owned())),
                name if name.len() > MAX_NAME => return Err(PathError::Length),
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_taken_as_they_are() {
        for text in ["mygroup", "kubepods/besteffort/pod12-3_4", "user@1000.service", r"dev-a\x2db.swap"] {
            assert_eq!(text.parse::<CgroupPath>().expect(text).as_str(), text);
        }
        assert_eq!("/a/b/".parse::<CgroupPath>().expect("slashes").as_str(), "a/b");
        assert!("/".parse::<CgroupPath>().expect("root").is_root());
    }

    #[test]
    fn r25_names_that_lead_elsewhere_are_refused() {
        for text in [
            "..",
            "a/../b",
            "a//b",
            "//a",
            "a/.",
            "./a",
            "a b",
            "a\nb",
            "ä",
            "a\0",
            "tasks",
            "x/cgroup.procs",
        ] {
            assert!(text.parse::<CgroupPath>().is_err(), "{text:?}");
        }
        assert_eq!("a".repeat(256).parse::<CgroupPath>(), Err(PathError::Length));
        assert_eq!("a/".repeat(2000).parse::<CgroupPath>(), Err(PathError::Length));
    }

    #[test]
    fn a_path_knows_its_ancestors() {
        let path: CgroupPath = "a/b/c".parse().expect("valid");
        let lineage: Vec<_> = path.lineage().map(|group| group.as_str().to_owned()).collect();
        assert_eq!(lineage, ["a", "a/b", "a/b/c"]);
        assert_eq!(path.parent().expect("not root").as_str(), "a/b");
        assert_eq!(CgroupPath::root().parent(), None);
        assert_eq!(CgroupPath::root().lineage().count(), 0);
        assert_eq!(CgroupPath::root().join("x").expect("valid").to_string(), "/x");
        assert!(path.join("../x").is_err());
    }
}
