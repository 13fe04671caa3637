//! What is mounted into a container beside its root filesystem.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One mount that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum MountRequest {
    /// A file or directory of the host.
    Bind(BindMount),
    /// Memory.
    Tmpfs(TmpfsMount),
}

impl MountRequest {
    /// Where it appears in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Tmpfs(tmpfs) => &tmpfs.target,
        }
    }
}

/// A file or directory of the host, seen in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// An absolute path on the host.
    pub source: PathBuf,
    /// An absolute path in the container.
    pub target: String,
    /// Whether it can be written.
    pub access: Access,
    /// What happens to the mounts below the source.
    pub recursion: Recursion,
    /// How later mounts travel; `None` is the engine's `rprivate`.
    pub propagation: Option<Propagation>,
    /// Shows files of the source's owner as another user's.
    pub idmap: Option<IdMapWish>,
}

/// Whether a mount can be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Reading and writing.
    #[default]
    ReadWrite,
    /// Reading.
    ReadOnly,
}

/// What a bind mount does with the mounts below its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recursion {
    /// They come along; a read-only mount makes them read-only too, where the kernel can.
    #[default]
    Enabled,
    /// They do not come along.
    Disabled,
    /// They come along and stay writable under a read-only mount.
    Writable,
    /// They come along and must become read-only, or the start fails.
    ReadOnly,
}

/// How mounts and unmounts travel between the source and the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Not at all, for this mount.
    Private,
    /// Not at all, for all mounts below too.
    Rprivate,
    /// Into the container.
    Slave,
    /// Into the container, for all mounts below too.
    Rslave,
    /// Both ways.
    Shared,
    /// Both ways, for all mounts below too.
    Rshared,
}

impl Propagation {
    /// The word that mount options and the `Spec` use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Rprivate => "rprivate",
            Self::Slave => "slave",
            Self::Rslave => "rslave",
            Self::Shared => "shared",
            Self::Rshared => "rshared",
        }
    }
}

/// As whose files the container sees those of the source's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMapWish {
    /// As those of the user that the process runs as.
    ProcessUser,
    /// As those of this user and group.
    Ids {
        /// The user, as the container counts.
        uid: u32,
        /// The group, as the container counts.
        gid: u32,
    },
}

/// A filesystem in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsMount {
    /// An absolute path in the container.
    pub target: String,
    /// Mount options as tmpfs(5) and mount(8) spell them, in order.
    pub options: Vec<String>,
}
