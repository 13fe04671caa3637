//! What is mounted into the container, and what of `/proc` and `/sys` is hidden.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use skiff_oci::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount};
use skiff_runtime::COVERABLE;

use super::error::built;
use super::{Inputs, RequestError, namespaces};
use crate::request::{
    Access, BindMount, IdMapWish, IpcMode, MountRequest, Propagation, Recursion, RunRequest, Security,
    Sharing, SystemPaths, TmpfsMount,
};

/// `/dev/shm` when nothing else is asked: Docker's 64 MiB.
const SHM_SIZE: u64 = 64 << 20;

/// Docker's masked paths and Podman's together.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/dev/block",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Files of the container directory that show up in `/etc`.
pub(crate) const ETC_FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// All mounts in the order in which they are made: ours, then the user's, parents before children.
pub(super) fn list(inputs: &Inputs<'_>) -> Result<Vec<Mount>, RequestError> {
    let request = inputs.request;
    if request.namespaces.mount != Sharing::Private {
        return match request.mounts.first() {
            Some(mount) => Err(RequestError::MountInSharedNamespace { target: mount.target().to_owned() }),
            None => Ok(Vec::new()),
        };
    }
    let wanted = asked(request)?;
    let taken: HashSet<&Path> = wanted.iter().map(|(target, _)| target.as_path()).collect();
    let is_free = |mount: &Mount| {
        let own = mount.destination();
        // A `/dev` of the user's brings its own contents.
        let is_below_theirs = own.starts_with("/dev") && taken.contains(Path::new("/dev"));
        !is_below_theirs && !taken.contains(own.as_path())
    };
    let own = system(request).into_iter().chain(etc_files(inputs)).chain(writable_places(inputs));
    let mut mounts: Vec<Mount> = own.filter(is_free).collect();
    for (target, wish) in wanted {
        mounts.push(match wish {
            MountRequest::Bind(wish) => bind(target, wish, inputs)?,
            MountRequest::Tmpfs(wish) => tmpfs(target, wish)?,
        });
    }
    Ok(mounts)
}

/// The user's mounts with clean targets, parents first; equal depths keep their order.
fn asked(request: &RunRequest) -> Result<Vec<(PathBuf, &MountRequest)>, RequestError> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::with_capacity(request.mounts.len());
    for mount in &request.mounts {
        let target = clean(mount.target())?;
        if !seen.insert(target.clone()) {
            return Err(RequestError::DuplicateMount { target: mount.target().to_owned() });
        }
        wanted.push((target, mount));
    }
    wanted.sort_by_key(|(target, _)| target.components().count());
    Ok(wanted)
}

/// The target without `.`, `..` and double slashes, or why nothing can be mounted there.
fn clean(target: &str) -> Result<PathBuf, RequestError> {
    let refused = |why| Err(RequestError::MountTarget { target: target.to_owned(), why });
    if !target.starts_with('/') {
        return refused("it isn't an absolute path");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let clean = format!("/{}", parts.join("/"));
    if parts.is_empty() {
        return refused("the root filesystem is the image's");
    }
    if parts[0] == "proc" && !COVERABLE.contains(&clean.as_str()) {
        return refused("nothing may cover /proc");
    }
    Ok(PathBuf::from(clean))
}

/// The filesystems of the kernel.
fn system(request: &RunRequest) -> Vec<Mount> {
    let namespaces = &request.namespaces;
    // A new user namespace owns none of what is shared: the kernel refuses to mount such a filesystem anew.
    let own_user = namespaces::user_sharing(request) == Sharing::Private;
    let mut mounts = vec![match own_user && namespaces.pid != Sharing::Private {
        true => mount("/proc", "bind", "/proc", &["rbind", "nosuid", "noexec", "nodev"]),
        false => mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    }];
    mounts.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    // Whether a joined user namespace has the group `tty` is not known here, and devpts takes no other then.
    let known = if matches!(namespaces::user_sharing(request), Sharing::Path(_)) { 5 } else { 6 };
    mounts.push(mount("/dev/pts", "devpts", "devpts", &terminals[..known]));
    let access = if request.security.privileged { "rw" } else { "ro" };
    mounts.push(match own_user && namespaces.net != Sharing::Private {
        true => mount("/sys", "bind", "/sys", &["rbind", "nosuid", "noexec", "nodev", access]),
        false => mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
    });
    mounts.push(mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", access],
    ));
    let shares_ipc = matches!(namespaces.ipc, IpcMode::Host | IpcMode::Path(_));
    if !(own_user && shares_ipc) {
        mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    mounts.extend(shm(request));
    mounts
}

fn shm(request: &RunRequest) -> Option<Mount> {
    match request.namespaces.ipc {
        IpcMode::None => None,
        IpcMode::Host => Some(mount("/dev/shm", "bind", "/dev/shm", &["bind", "nosuid", "noexec", "nodev"])),
        IpcMode::Shareable | IpcMode::Private | IpcMode::Path(_) => {
            let size = format!("size={}", request.shm_size.unwrap_or(SHM_SIZE));
            Some(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]))
        }
    }
}

/// The container's names, from files of its directory.
fn etc_files(inputs: &Inputs<'_>) -> Vec<Mount> {
    let options: &[&str] = match inputs.request.read_only || inputs.request.security.strict {
        true => &["bind", "rprivate", "ro"],
        false => &["bind", "rprivate"],
    };
    let file = |name: &str| {
        let source = inputs.place.directory.join(name);
        let mut file = mount(&format!("/etc/{name}"), "bind", "", options);
        file.set_source(Some(source));
        file
    };
    ETC_FILES.into_iter().map(file).collect()
}

/// Directories of the container's own: those that the image keeps private, and with a root that strictness made
/// read-only those where programs expect to write.
fn writable_places(inputs: &Inputs<'_>) -> Vec<Mount> {
    const EXPECTED: [&str; 3] = ["/run", "/tmp", "/var/tmp"];
    let strict: &[&str] = if inputs.request.security.strict { &EXPECTED } else { &[] };
    let private = inputs.hidden.private;
    let places = private.iter().chain(strict.iter().filter(|place| !private.contains(place)));
    let place = |path: &&str| {
        let mode = match *path {
            "/tmp" | "/var/tmp" => "mode=1777",
            "/root" => "mode=700",
            _ => "mode=755",
        };
        mount(path, "tmpfs", "tmpfs", &["nosuid", "nodev", mode])
    };
    places.map(place).collect()
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

fn bind(target: PathBuf, wish: &BindMount, inputs: &Inputs<'_>) -> Result<Mount, RequestError> {
    let mut options = vec![if wish.recursion == Recursion::Disabled { "bind" } else { "rbind" }];
    match (wish.access, wish.recursion) {
        (Access::ReadWrite, Recursion::ReadOnly) => {
            return Err(RequestError::RecursiveReadOnly { target: wish.target.clone() });
        }
        (Access::ReadWrite, _) => {}
        // As Docker since 25: read-only means all of it, unless said otherwise.
        (Access::ReadOnly, Recursion::Enabled | Recursion::ReadOnly) => options.push("rro"),
        (Access::ReadOnly, Recursion::Disabled | Recursion::Writable) => options.push("ro"),
    }
    let propagation = wish.propagation.unwrap_or(Propagation::Rprivate);
    options.push(propagation.as_str());
    let mut mounted = mount("/", "bind", "", &options);
    mounted.set_destination(target).set_source(Some(wish.source.clone()));
    if let Some((users, groups)) = id_mapping(wish, inputs)? {
        mounted.set_uid_mappings(Some(vec![users])).set_gid_mappings(Some(vec![groups]));
    }
    Ok(mounted)
}

/// One user and one group of the source, seen as others. Everybody else's files stay nobody's, so that a process
/// in the container can create files for the source's owner, and for no one else of the host.
fn id_mapping(
    wish: &BindMount,
    inputs: &Inputs<'_>,
) -> Result<Option<(LinuxIdMapping, LinuxIdMapping)>, RequestError> {
    let (uid, gid) = match wish.idmap {
        None => return Ok(None),
        Some(IdMapWish::ProcessUser) => (inputs.identity.uid, inputs.identity.gid),
        Some(IdMapWish::Ids { uid, gid }) => (uid, gid),
    };
    let source = inputs.host.source_at(&wish.source)?;
    let range = namespaces::id_range(inputs.request, &inputs.place.id)?;
    let on_host = |id: u32| match range {
        None => Ok(id),
        Some(range) if id < range.size() => Ok(range.host_id() + id),
        Some(_) => Err(RequestError::UnmappedId { id }),
    };
    let single = |on_disk: u32, seen_as: u32| {
        built(LinuxIdMappingBuilder::default().container_id(on_disk).host_id(seen_as).size(1_u32).build())
    };
    Ok(Some((single(source.uid, on_host(uid)?)?, single(source.gid, on_host(gid)?)?)))
}

fn tmpfs(target: PathBuf, wish: &TmpfsMount) -> Result<Mount, RequestError> {
    let mut options: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    for option in &wish.options {
        check_tmpfs_option(option)?;
        options.retain(|earlier| !is_replaced_by(earlier, option));
        options.push(option.clone());
    }
    let mut mounted = mount("/", "tmpfs", "tmpfs", &[]);
    mounted.set_destination(target).set_options(Some(options));
    Ok(mounted)
}

fn check_tmpfs_option(option: &str) -> Result<(), RequestError> {
    const FLAGS: [&str; 19] = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
    ];
    const KEYS: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
    let is_known = match option.split_once('=') {
        Some((key, value)) => KEYS.contains(&key) && !value.is_empty(),
        None => FLAGS.contains(&option),
    };
    if is_known { Ok(()) } else { Err(RequestError::TmpfsOption { option: option.to_owned() }) }
}

/// Whether `later` says something else about the same thing as `earlier`.
fn is_replaced_by(earlier: &str, later: &str) -> bool {
    let subject = |option: &str| match option.split_once('=') {
        Some((key, _)) => key.to_owned(),
        None if option == "ro" || option == "rw" => "access".to_owned(),
        None => option.strip_prefix("no").unwrap_or(option).to_owned(),
    };
    subject(earlier) == subject(later)
}

/// What is covered, so that it can't be read.
pub(super) fn masked_paths(inputs: &Inputs<'_>) -> Option<Vec<String>> {
    if inputs.request.namespaces.mount != Sharing::Private {
        return None;
    }
    let mut paths = system_paths(&inputs.request.security, &MASKED);
    if !paths.is_empty() {
        paths.extend(inputs.host.thermal_paths.iter().cloned());
    }
    paths.extend(inputs.hidden.paths.iter().cloned());
    Some(paths)
}

/// What can be read, and not written.
pub(super) fn readonly_paths(security: &Security) -> Option<Vec<String>> {
    Some(system_paths(security, &READ_ONLY))
}

fn system_paths(security: &Security, paths: &[&str]) -> Vec<String> {
    let open = security.privileged || security.system_paths == SystemPaths::Unconfined;
    if open { Vec::new() } else { paths.iter().map(|&path| path.to_owned()).collect() }
}

/// What the root mount must allow for the user's mounts to propagate as asked.
pub(super) fn root_propagation(mounts: &[MountRequest]) -> Option<&'static str> {
    let wishes = mounts.iter().filter_map(|mount| match mount {
        MountRequest::Bind(bind) => bind.propagation,
        MountRequest::Tmpfs(_) => None,
    });
    wishes.fold(None, |strongest, wish| match wish {
        Propagation::Shared | Propagation::Rshared => Some("shared"),
        Propagation::Slave | Propagation::Rslave => strongest.or(Some("rslave")),
        Propagation::Private | Propagation::Rprivate => strongest,
    })
}

#[cfg(test)]
mod tests;
