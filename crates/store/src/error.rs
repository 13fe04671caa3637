//! What can go wrong with files, locks and snapshots.

use skiff_sys::Errno;
use skiff_sys::root::RemoveError;
use std::path::PathBuf;

/// An operation on the store that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on a file or directory of the store.
    #[error("{what} {}", .path.display())]
    File {
        /// What was being done: "open", "create", "write".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it went wrong.
        source: Errno,
    },
    /// A directory that is not ours alone (security rule R26).
    #[error("{} has mode {mode:03o}, which lets other users in; it must be 700", .path.display())]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory of another user.
    #[error("{} belongs to user {owner}, not to user {user} who runs this", .path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A file that is larger than anything that is written there.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What was allowed.
        limit: u64,
    },
    /// Somebody else holds a lock.
    #[error("{} is locked by {holder}", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it.
        holder: crate::lock::Holder,
    },
    /// The name belongs to another container.
    #[error("the container name {name:?} is already in use by container {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: crate::ContainerId,
    },
    /// A text that is no container name.
    #[error(
        "invalid container name {0:?}: letters, digits, `_`, `.` and `-`, two at least, a letter or digit first"
    )]
    NameSyntax(String),
    /// A text that is no container id.
    #[error("invalid container id {0:?}")]
    IdSyntax(String),
    /// More layers than overlayfs takes.
    #[error("{0} layers are too many, overlayfs takes {max}", max = crate::overlay::LAYERS_MAX)]
    LayerCount(usize),
    /// Something that this machine's kernel can't do yet.
    #[error("{what} needs Linux {major}.{minor} or newer")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// Since when it can.
        major: u32,
        /// Since when it can.
        minor: u32,
    },
    /// A step of making the overlay mount.
    #[error("overlay mount: {step}{}", hint(.log))]
    Overlay {
        /// The step: "lowerdir+ /var/lib/…", "create".
        step: String,
        /// What the kernel said about it in words.
        log: String,
        /// Its error.
        source: Errno,
    },
    /// Something was left behind by a removal.
    #[error("remove {}", .path.display())]
    Remove {
        /// The directory that holds it.
        path: PathBuf,
        /// What, and why.
        source: RemoveError,
    },
}

fn hint(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" ({log})") }
}

impl Error {
    /// The kernel's error behind this, `EINVAL` where it is a rule of our own.
    pub fn errno(&self) -> Errno {
        match self {
            Self::File { source, .. } | Self::Overlay { source, .. } => *source,
            Self::Remove { source, .. } => source.left.first().map_or(Errno::INVAL, |left| left.errno),
            Self::Locked { .. } => Errno::WOULDBLOCK,
            Self::NameTaken { .. } => Errno::EXIST,
            Self::Kernel { .. } => Errno::NOSYS,
            _ => Errno::INVAL,
        }
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
