//! The options of a mount of the configuration, as the OCI runtime specification lists them (`config.md`,
//! "Linux mount options"), sorted by what the kernel does with them.

use std::ffi::CString;

use skiff_sys::mount::{self, Change, Depth, Propagation};

use crate::LaunchError;
use crate::error::c_string;

/// What the options of one mount mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `bind` or `rbind`: not a new filesystem but another one's tree.
    pub bind: Option<Depth>,
    /// Attributes of this mount.
    pub attributes: Change,
    /// Attributes of this mount and all below it (`rro`, `rnosuid`, …).
    pub recursive_attributes: Change,
    /// The propagation, and whether it covers the mounts below.
    pub propagation: Option<(Propagation, Depth)>,
    /// `idmap` or `ridmap`: owners are mapped.
    pub idmap: Option<Depth>,
    /// `tmpcopyup`: a tmpfs starts with what the directory below it holds.
    pub copy_up: CopyUp,
    /// `remount`: change the mount that is there.
    pub remount: Remount,
    /// What is left for the filesystem: a flag, or a key with its value.
    pub parameters: Vec<Parameter>,
}

/// One `fsconfig(2)` parameter of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// For example `size`.
    pub key: CString,
    /// For example `64m`; `None` for a flag.
    pub value: Option<CString>,
}

/// Whether a tmpfs starts with the content that it covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CopyUp {
    /// It starts empty.
    #[default]
    No,
    /// It starts with a copy.
    Yes,
}

/// Whether a new mount is made or the one that is there is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remount {
    /// A new mount.
    #[default]
    No,
    /// The mount at the destination is changed.
    Yes,
}

impl MountOptions {
    /// Sorts the options.
    ///
    /// # Errors
    /// [`LaunchError::Spec`] when an option contains a NUL byte.
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<Self, LaunchError> {
        let mut parsed = Self::default();
        for option in options {
            if parsed.attribute(option) || parsed.propagation(option) || parsed.special(option) {
                continue;
            }
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (option, None),
            };
            parsed.parameters.push(Parameter {
                key: c_string("mounts.options", key)?,
                value: value.map(|value| c_string("mounts.options", value)).transpose()?,
            });
        }
        Ok(parsed)
    }

    /// Takes `option` if it is an attribute of a mount; a leading `r` covers the whole tree.
    fn attribute(&mut self, option: &str) -> bool {
        if let Some(change) = attribute(option) {
            merge(&mut self.attributes, change);
        } else if let Some(change) = option.strip_prefix('r').and_then(attribute) {
            merge(&mut self.recursive_attributes, change);
        } else {
            return false;
        }
        true
    }

    fn propagation(&mut self, option: &str) -> bool {
        let (name, depth) = match option.strip_prefix('r') {
            Some(rest) => (rest, Depth::Recursive),
            None => (option, Depth::One),
        };
        let propagation = match name {
            "private" => Propagation::Private,
            "slave" => Propagation::Slave,
            "shared" => Propagation::Shared,
            "unbindable" => Propagation::Unbindable,
            _ => return false,
        };
        self.propagation = Some((propagation, depth));
        true
    }

    fn special(&mut self, option: &str) -> bool {
        match option {
            "bind" => self.bind = Some(Depth::One),
            "rbind" => self.bind = Some(Depth::Recursive),
            "idmap" => self.idmap = Some(Depth::One),
            "ridmap" => self.idmap = Some(Depth::Recursive),
            "tmpcopyup" => self.copy_up = CopyUp::Yes,
            "remount" => self.remount = Remount::Yes,
            // What every mount is without them.
            "defaults" | "loud" | "async" | "nomand" | "nolazytime" | "noiversion" => {}
            _ => return false,
        }
        true
    }
}

/// The attribute change of a name of `mount(8)` that belongs to one mount and not to its filesystem.
fn attribute(name: &str) -> Option<Change> {
    let set = |set| Change { set, ..Change::default() };
    let clear = |clear| Change { clear, ..Change::default() };
    let atime = |mode| Change { set: mode, clear: mount::ATIME_MASK, propagation: None };
    Some(match name {
        "ro" => set(mount::RDONLY),
        "rw" => clear(mount::RDONLY),
        "nosuid" => set(mount::NOSUID),
        "suid" => clear(mount::NOSUID),
        "nodev" => set(mount::NODEV),
        "dev" => clear(mount::NODEV),
        "noexec" => set(mount::NOEXEC),
        "exec" => clear(mount::NOEXEC),
        "nodiratime" => set(mount::NODIRATIME),
        "diratime" => clear(mount::NODIRATIME),
        "nosymfollow" => set(mount::NOSYMFOLLOW),
        "symfollow" => clear(mount::NOSYMFOLLOW),
        "noatime" => atime(mount::NOATIME),
        "strictatime" => atime(mount::STRICTATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => atime(mount::RELATIME),
        _ => return None,
    })
}

/// Adds `change` to `all`; the later option wins.
fn merge(all: &mut Change, change: Change) {
    if change.clear & mount::ATIME_MASK != 0 {
        all.set &= !mount::ATIME_MASK;
    }
    all.set = all.set & !change.clear | change.set;
    all.clear = all.clear & !change.set | change.clear;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(text.split(',')).unwrap()
    }

    #[test]
    fn docker_s_dev_is_attributes_and_parameters() {
        let options = parse("nosuid,strictatime,mode=755,size=65536k");
        assert_eq!(options.attributes.set, mount::NOSUID | mount::STRICTATIME);
        assert_eq!(options.attributes.clear, mount::ATIME_MASK);
        let keys: Vec<_> = options.parameters.iter().map(|p| p.key.to_str().unwrap()).collect();
        assert_eq!(keys, ["mode", "size"]);
    }

    #[test]
    fn the_later_option_wins() {
        assert_eq!(parse("ro,rw").attributes, Change { set: 0, clear: mount::RDONLY, propagation: None });
        assert_eq!(parse("rw,ro").attributes.set, mount::RDONLY);
        assert_eq!(parse("noatime,relatime").attributes.set, 0);
    }

    #[test]
    fn recursive_names_cover_the_tree() {
        let options = parse("rbind,rro,rnosuid,rslave");
        assert_eq!(options.bind, Some(Depth::Recursive));
        assert_eq!(options.recursive_attributes.set, mount::RDONLY | mount::NOSUID);
        assert_eq!(options.attributes, Change::default());
        assert_eq!(options.propagation, Some((Propagation::Slave, Depth::Recursive)));
    }

    #[test]
    fn unknown_words_go_to_the_filesystem() {
        let options = parse("newinstance,ptmxmode=0666,dirsync");
        assert_eq!(options.parameters.len(), 3);
        assert_eq!(options.parameters[0].value, None);
    }
}
