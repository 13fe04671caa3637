//! What a launch starts from: an OCI bundle and where its root filesystem comes from.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use skiff_oci::runtime::Spec;

/// A container to start: its configuration and its root filesystem.
#[derive(Debug)]
pub struct Bundle {
    /// The container's id, unique on this machine.
    pub id: String,
    /// The bundle's directory; relative paths of the configuration start here.
    pub dir: PathBuf,
    /// The configuration, as `config.json` holds it.
    pub spec: Spec,
    /// The root filesystem. It takes the place of `root.path`.
    pub rootfs: Rootfs,
}

/// Where the root filesystem comes from.
#[derive(Debug)]
pub enum Rootfs {
    /// A directory, bind mounted with everything below it.
    Dir(PathBuf),
    /// A detached mount that was made before, for example an overlay.
    Mount(OwnedFd),
    /// An overlay that is mounted once the id maps of the container's user namespace are known, so that
    /// its layers can be id-mapped.
    Overlay(skiff_store::Overlay),
    /// None of its own: the container lives in the root of the mount namespace that it joins.
    Joined,
}

/// How a launch treats what the OCI configuration leaves open.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who is the first process of the container.
    pub init: InitProcess,
    /// What happens to the container when the process that launched it dies.
    pub orphan: Orphan,
    /// How many descriptors after 2 the program inherits (`--preserve-fds`).
    pub preserved_fds: u32,
}

/// Who is the first process of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InitProcess {
    /// The program itself.
    #[default]
    Program,
    /// Skiff's own small init, which forwards signals and reaps orphans (`--init`).
    Builtin,
}

/// What happens to a container whose launching process dies after the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphan {
    /// It lives on.
    #[default]
    Lives,
    /// Its init is killed (`PR_SET_PDEATHSIG`).
    Dies,
}
