//! Which processes belong to which container, as far as the store and the cgroups of processes tell.

use rustix::process::Pid;
use skiff_store::{ContainerId, Store};
use skiff_sys::procfs;

use crate::context::Context;
use crate::error::CliError;

/// How the cgroup of a container is called, before the first digits of its id.
const CGROUP: &str = "skiff-";

/// The containers of a store, with their names.
#[derive(Debug, Default)]
pub struct Containers {
    known: Vec<(ContainerId, Option<String>)>,
}

impl Containers {
    /// Those of the store in `context`. Without a store there are none, and none is made.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        if !context.root.is_dir() || !context.state.is_dir() {
            return Ok(Self::default());
        }
        let store = Store::open(&context.root, &context.state)?;
        let names = store.container_names()?;
        let named = |id: ContainerId| {
            let name = names.iter().find(|(_, owner)| *owner == id).map(|(name, _)| name.clone());
            (id, name)
        };
        Ok(Self { known: store.container_ids()?.into_iter().map(named).collect() })
    }

    /// The same, or none where the store may not be read: for what is only nice to know.
    pub fn if_readable(context: &Context) -> Self {
        Self::of(context).unwrap_or_default()
    }

    /// The name of the container that the process `pid` is in, or its short id.
    pub fn name_of(&self, pid: Pid) -> Option<String> {
        if self.known.is_empty() {
            return None;
        }
        let digits = short_id(pid)?;
        let (id, name) = self.known.iter().find(|(id, _)| id.short() == digits)?;
        Some(name.clone().unwrap_or_else(|| id.short().to_owned()))
    }

    /// The container that is called `text`, or whose id begins with it.
    fn find(&self, text: &str) -> Result<&ContainerId, CliError> {
        if let Some((id, _)) = self.known.iter().find(|(_, name)| name.as_deref() == Some(text)) {
            return Ok(id);
        }
        let mut matching = self.known.iter().filter(|(id, _)| id.as_str().starts_with(text));
        match (matching.next(), matching.next()) {
            (Some((id, _)), None) => Ok(id),
            (Some(_), Some(_)) => {
                Err(CliError::message(format!("more than one container's id begins with `{text}`")))
            }
            (None, _) => Err(CliError::message(format!("no container `{text}`"))
                .with_hint("a process is named by its number, a container by its name or id")),
        }
    }

    /// The first process of the container that is called `text`.
    pub fn init_of(&self, text: &str) -> Result<Pid, CliError> {
        let id = self.find(text)?;
        let inside = procfs::pids()?
            .into_iter()
            .filter(|pid| short_id(*pid).is_some_and(|digits| digits == id.short()));
        // The init was there before all others of its container.
        let first = inside
            .filter_map(|pid| Some((procfs::stat(pid).ok()?.start, pid)))
            .min_by_key(|(start, _)| *start);
        first
            .map(|(_, pid)| pid)
            .ok_or_else(|| CliError::message(format!("the container `{text}` is not running")))
    }

    /// Names of those that run, each with the number of its first process.
    pub fn running(&self) -> Vec<(String, Pid)> {
        let named = |(id, name): &(ContainerId, Option<String>)| {
            let pid = self.init_of(id.as_str()).ok()?;
            Some((name.clone().unwrap_or_else(|| id.short().to_owned()), pid))
        };
        self.known.iter().filter_map(named).collect()
    }
}

/// The first process of the container that is called `name`.
pub fn init_of(name: &str, context: &Context) -> Result<Pid, CliError> {
    Containers::of(context)?.init_of(name)
}

/// The digits in the name of the container's cgroup that the process `pid` is in.
fn short_id(pid: Pid) -> Option<String> {
    let groups = procfs::cgroup(pid).ok()?;
    groups.iter().find_map(|group| digits_in(&group.path))
}

/// The digits in the path of a cgroup. The innermost counts: a container may run containers.
fn digits_in(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let digits = path.rsplit('/').find_map(|part| part.strip_prefix(CGROUP))?;
    (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_group_of_a_container_names_it() {
        assert_eq!(digits_in(b"/skiff-0123456789ab").as_deref(), Some("0123456789ab"));
        assert_eq!(digits_in(b"/a/skiff-0123456789ab/skiff-ffff56789abc/x").as_deref(), Some("ffff56789abc"));
        for path in [&b"/"[..], b"/user.slice", b"/skiff-", b"/skiff-zzz456789abc", b"/my-skiff-0123456789ab"]
        {
            assert_eq!(digits_in(path), None);
        }
    }
}
