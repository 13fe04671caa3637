//! From what was typed to what was meant.

use std::path::{Path, PathBuf};

use skiff_engine::RunRequest;
use skiff_engine::request::{
    BlkioLimits, CpuLimits, MemoryLimits, MountRequest, Namespaces, Resources, SeccompChoice, Security,
    Sharing, SystemPaths, TimeOffsets,
};

use super::args::{Args, DiskArgs, FileArgs, LimitArgs, NamespaceArgs, SecurityArgs};
use super::{environment, mounts, values};
use crate::error::{CliError, Doing as _};

/// What the meaning of flags depends on beside themselves.
pub struct Surroundings<'a> {
    /// The caller's variables.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Where the caller is.
    pub directory: PathBuf,
    /// Reads a file that a flag names.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

/// The request that `args` come to.
///
/// # Errors
/// When a flag means nothing, or a file that it names can't be read.
pub fn request(args: Args, surroundings: &Surroundings<'_>) -> Result<RunRequest, CliError> {
    let Args { container, process, files, namespaces, limits, disks, security, words } = args;
    if container.detach {
        return Err(CliError::message("containers in the background can't be made yet")
            .with_hint("leave out `-d`, or put `&` behind the command"));
    }
    let mut words = words.into_iter();
    let mut labels = Vec::new();
    for path in &container.label_file {
        // A label's name alone has an empty value: the caller's variables are no labels.
        for entry in file_entries("--label-file", path, surroundings, |_| Some(String::new()))? {
            labels.push(values::label(&entry).doing(format!("`--label-file {}`", path.display()))?);
        }
    }
    labels.extend(container.label);
    let mounts = mount_wishes(&files, surroundings)?;
    Ok(RunRequest {
        image: words.next().unwrap_or_default(),
        command: words.collect(),
        entrypoint: process.entrypoint,
        name: filled(container.name),
        remove: container.rm,
        interactive: container.interactive,
        terminal: container.tty,
        environment: variables(&process.env, &process.env_file, surroundings)?,
        workdir: filled(process.workdir),
        user: process.user,
        groups: process.group_add,
        hostname: filled(namespaces.hostname.clone()),
        domainname: filled(namespaces.domainname.clone()),
        labels: labels.into_iter().collect(),
        annotations: container.annotation.into_iter().collect(),
        stop_signal: container.stop_signal,
        init: process.init,
        read_only: files.read_only,
        mounts,
        shm_size: limited(files.shm_size),
        sysctls: namespaces.sysctl.iter().cloned().collect(),
        namespaces: namespace_wishes(namespaces, mount_namespace(&files)?),
        security: security_wishes(security, files, surroundings)?,
        oom_score_adj: process.oom_score_adj,
        cgroup_parent: limits.cgroup_parent.clone(),
        resources: resource_wishes(limits, disks, process.ulimit),
    })
}

fn variables(
    flags: &[String],
    files: &[PathBuf],
    surroundings: &Surroundings<'_>,
) -> Result<Vec<String>, CliError> {
    let mut entries = Vec::new();
    for path in files {
        entries.extend(file_entries("--env-file", path, surroundings, surroundings.variable)?);
    }
    for entry in flags {
        if entry.is_empty() {
            return Err(CliError::message("`--env`: the name of a variable is missing"));
        }
        entries.push(environment::flag(entry, surroundings.variable));
    }
    Ok(entries)
}

/// The entries of a file; those without a value have that of `otherwise`, or aren't there.
fn file_entries(
    flag: &str,
    path: &Path,
    surroundings: &Surroundings<'_>,
    otherwise: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, CliError> {
    let doing = format!("read `{flag} {}`", path.display());
    let content = (surroundings.read)(path).doing(&doing)?;
    environment::file(&content, otherwise).doing(doing)
}

/// `--mount` names a mount, or the mount namespace to live in.
fn mount_namespace(files: &FileArgs) -> Result<Sharing, CliError> {
    for text in &files.mount {
        if let Some(path) = values::joined(text, "mnt").doing(format!("`--mount {text}`"))? {
            return Ok(Sharing::Path(path));
        }
    }
    Ok(Sharing::Private)
}

fn mount_wishes(files: &FileArgs, surroundings: &Surroundings<'_>) -> Result<Vec<MountRequest>, CliError> {
    let here = &surroundings.directory;
    let volumes = files.volume.iter().map(|text| mounts::volume(text, here).doing(format!("`-v {text}`")));
    let is_mount = |text: &&String| !text.starts_with("ns:") && !text.starts_with("container:");
    let described = files.mount.iter().filter(is_mount);
    let described = described.map(|text| mounts::mount(text, here).doing(format!("`--mount {text}`")));
    let memory = files.tmpfs.iter().map(|text| mounts::tmpfs(text).doing(format!("`--tmpfs {text}`")));
    volumes.chain(described).chain(memory).collect()
}

fn namespace_wishes(args: NamespaceArgs, mount: Sharing) -> Namespaces {
    let offsets = TimeOffsets { monotonic: args.monotonic, boottime: args.boottime };
    // Clocks can only be moved in a namespace of one's own, so moving them asks for one.
    let time = if offsets == TimeOffsets::default() { Sharing::Host } else { Sharing::Private };
    let default = Namespaces::default();
    Namespaces {
        pid: args.pid.unwrap_or(default.pid),
        net: args.network.unwrap_or(default.net),
        ipc: args.ipc.unwrap_or(default.ipc),
        uts: args.uts.unwrap_or(default.uts),
        user: args.userns,
        cgroup: args.cgroupns.unwrap_or(default.cgroup),
        mount,
        time: args.time.unwrap_or(time),
        offsets,
    }
}

fn security_wishes(
    args: SecurityArgs,
    files: FileArgs,
    surroundings: &Surroundings<'_>,
) -> Result<Security, CliError> {
    let mut security = Security {
        privileged: args.privileged,
        cap_add: args.cap_add,
        cap_drop: args.cap_drop,
        devices: files.device,
        device_rules: files.device_cgroup_rule,
        ..Security::default()
    };
    for option in &args.security_opt {
        security_option(option, &mut security, surroundings)?;
    }
    Ok(security)
}

/// `NAME`, `NAME=VALUE`, or as Docker wrote it long ago, `NAME:VALUE`.
fn security_option(
    option: &str,
    security: &mut Security,
    surroundings: &Surroundings<'_>,
) -> Result<(), CliError> {
    let unknown = || {
        CliError::message(format!("`--security-opt` knows no `{option}`"))
            .with_hint("`skiff run --help` lists what it takes")
    };
    let (name, value) =
        option.split_once(['=', ':']).map_or((option, None), |(name, value)| (name, Some(value)));
    match (name, value) {
        ("strict", None) => security.strict = true,
        ("no-new-privileges", None | Some("true" | "1")) => security.no_new_privileges = true,
        ("no-new-privileges", Some("false" | "0")) => security.no_new_privileges = false,
        ("systempaths", Some("unconfined")) => security.system_paths = SystemPaths::Unconfined,
        ("seccomp", Some("unconfined")) => security.seccomp = SeccompChoice::Unconfined,
        ("seccomp", Some("builtin" | "default")) => security.seccomp = SeccompChoice::Builtin,
        ("seccomp", Some(path)) if !path.is_empty() => {
            let doing = format!("read the seccomp profile `{path}`");
            let content = (surroundings.read)(Path::new(path)).doing(&doing)?;
            security.seccomp = SeccompChoice::Profile(String::from_utf8(content).doing(doing)?);
        }
        ("apparmor", Some(profile)) => security.apparmor = Some(profile.to_owned()),
        ("label", Some(label)) => security.labels.push(label.to_owned()),
        _ => return Err(unknown()),
    }
    Ok(())
}

/// An empty word means "not given": scripts write `--name "$NAME"`.
fn filled(word: Option<String>) -> Option<String> {
    word.filter(|word| !word.is_empty())
}

/// Zero means "not limited", or the usual size, in Docker's flags.
fn limited<T: PartialEq + Default>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn resource_wishes(
    limits: LimitArgs,
    disks: DiskArgs,
    ulimits: Vec<skiff_engine::request::Ulimit>,
) -> Resources {
    Resources {
        cpu: CpuLimits {
            nanos: limited(limits.cpus),
            shares: limited(limits.cpu_shares),
            quota: limited(limits.cpu_quota),
            period: limited(limits.cpu_period),
            realtime_runtime: limited(limits.cpu_rt_runtime),
            realtime_period: limited(limits.cpu_rt_period),
            cpus: limits.cpuset_cpus.filter(|list| !list.is_empty()),
            mems: limits.cpuset_mems.filter(|list| !list.is_empty()),
        },
        memory: MemoryLimits {
            limit: limited(limits.memory),
            swap: limits.memory_swap.filter(|swap| *swap != skiff_engine::request::Swap::Bytes(0)),
            reservation: limited(limits.memory_reservation),
            swappiness: limits.memory_swappiness.and_then(|percent| u64::try_from(percent).ok()),
            oom_kill_disable: limits.oom_kill_disable,
        },
        pids: limits.pids_limit.unwrap_or_default(),
        blkio: BlkioLimits {
            weight: limited(disks.blkio_weight),
            weight_devices: disks.blkio_weight_device,
            read_bps: disks.device_read_bps,
            write_bps: disks.device_write_bps,
            read_iops: disks.device_read_iops,
            write_iops: disks.device_write_iops,
        },
        ulimits,
        net_class: limits.net_classid,
        net_priorities: limits.net_prio,
    }
}

#[cfg(test)]
mod tests;
