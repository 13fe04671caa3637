//! What is so on this machine, as far as a request needs to know it.
//!
//! [`gather`] is the only place that asks; it asks for no more than the request makes necessary, because each
//! question is a system call on the way of `run`.

mod joined;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::getrlimit;
use skiff_runtime::identity::CAPABILITIES;
use skiff_runtime::seccomp::KernelVersion;
use skiff_sys::Errno;

use crate::request::{IpcMode, MountRequest, RunRequest, SeccompChoice, Sharing};
use crate::spec::{RequestError, numbers, rlimit_named, user_sharing};

/// What is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Capabilities that a container can be given, a mask by number.
    pub capabilities: u64,
    /// Whether limits and the oom score may be raised beyond our own (CAP_SYS_RESOURCE).
    pub can_raise_limits: bool,
    /// The host's name, where the request needs it.
    pub hostname: String,
    /// How many processors can be used.
    pub processors: u32,
    /// Which, where the request needs it: `0-3`.
    pub online_cpus: String,
    /// The nodes with memory, where the request needs them: `0-1`.
    pub memory_nodes: String,
    /// Our own hard limits, by Docker's words, for those that the request sets; `None` is no limit.
    pub hard_limits: BTreeMap<String, Option<u64>>,
    /// The lowest oom score adjustment that needs no capability.
    pub oom_floor: i32,
    /// The devices at each path that the request names.
    pub devices: BTreeMap<PathBuf, Vec<DeviceFact>>,
    /// Every device of the host, where the request needs them.
    pub host_devices: Vec<DeviceFact>,
    /// Numbers of the disks that the request limits.
    pub block_devices: BTreeMap<PathBuf, (i64, i64)>,
    /// The sources of the request's bind mounts.
    pub sources: BTreeMap<PathBuf, SourceFact>,
    /// The kernel's version, where the request needs it.
    pub kernel: KernelVersion,
    /// Whether AppArmor is in force.
    pub has_apparmor: bool,
    /// Directories of `/sys` that tell one container about another's heat.
    pub thermal_paths: Vec<String>,
}

/// A machine that has everything and limits nothing, for plans that nobody will carry out here.
impl Default for HostFacts {
    fn default() -> Self {
        Self {
            capabilities: (1 << CAPABILITIES.len()) - 1,
            can_raise_limits: true,
            hostname: "localhost".to_owned(),
            processors: 1,
            online_cpus: "0".to_owned(),
            memory_nodes: "0".to_owned(),
            hard_limits: BTreeMap::new(),
            oom_floor: 0,
            devices: BTreeMap::new(),
            host_devices: Vec::new(),
            block_devices: BTreeMap::new(),
            sources: BTreeMap::new(),
            kernel: KernelVersion { major: u32::MAX, minor: 0 },
            has_apparmor: false,
            thermal_paths: Vec::new(),
        }
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFact {
    /// Where it is.
    pub path: PathBuf,
    /// Which of the two kinds.
    pub kind: DeviceKind,
    /// Which driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The two kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Disks.
    Block,
    /// Everything else.
    Character,
}

/// The source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFact {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl HostFacts {
    pub(crate) fn devices_at(&self, path: &Path) -> Result<&[DeviceFact], RequestError> {
        let found = self.devices.get(path).map(Vec::as_slice);
        found.ok_or_else(|| RequestError::NotADevice { path: path.to_path_buf() })
    }

    pub(crate) fn block_device_at(&self, path: &Path) -> Result<(i64, i64), RequestError> {
        let found = self.block_devices.get(path).copied();
        found.ok_or_else(|| RequestError::NotABlockDevice { path: path.to_path_buf() })
    }

    pub(crate) fn source_at(&self, path: &Path) -> Result<SourceFact, RequestError> {
        let found = self.sources.get(path).copied();
        found.ok_or_else(|| RequestError::MountSource { path: path.to_path_buf(), errno: Errno::NOENT })
    }

    pub(crate) fn has_node(&self, node: u32) -> bool {
        numbers(&self.memory_nodes).is_some_and(|nodes| nodes.contains(&node))
    }

    pub(crate) fn is_online(&self, cpu: u32) -> bool {
        numbers(&self.online_cpus).is_some_and(|online| online.contains(&cpu))
    }
}

/// Finds out what planning `request` takes.
///
/// # Errors
/// When something that the request names isn't there.
pub fn gather(request: &RunRequest) -> Result<HostFacts, RequestError> {
    let mut facts = HostFacts::default();
    let own = capabilities()?;
    // In a user namespace of its own the container's root has every capability, over that namespace.
    if user_sharing(request) == Sharing::Host {
        facts.capabilities = own;
    }
    facts.can_raise_limits = own >> 24 & 1 == 1;
    if request.namespaces.uts != Sharing::Private || request.namespaces.net == Sharing::Host {
        facts.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    if request.resources.cpu.nanos.is_some() || request.resources.cpu.cpus.is_some() {
        facts.online_cpus = read_line("/sys/devices/system/cpu/online", "the list of processors")?;
        let count = numbers(&facts.online_cpus).map_or(1, |online| online.len());
        facts.processors = u32::try_from(count).unwrap_or(u32::MAX);
    }
    // A kernel without NUMA has no such file, and one node.
    if request.resources.cpu.mems.is_some()
        && let Ok(nodes) = read_line("/sys/devices/system/node/has_memory", "the list of memory nodes")
    {
        facts.memory_nodes = nodes;
    }
    joined::check(&request.namespaces)?;
    for limit in &request.resources.ulimits {
        if let Some((_, resource)) = rlimit_named(&limit.name) {
            facts.hard_limits.insert(limit.name.clone(), getrlimit(resource).maximum);
        }
    }
    if request.oom_score_adj.is_some_and(|asked| asked < 0) {
        let own = read_line("/proc/self/oom_score_adj", "the oom score of skiff")?;
        facts.oom_floor = own.parse::<i32>().unwrap_or(0).min(0);
    }
    if matches!(request.security.seccomp, SeccompChoice::Profile(_)) {
        facts.kernel = KernelVersion::running();
    }
    facts.has_apparmor = request.security.apparmor.is_some()
        && read_line("/sys/module/apparmor/parameters/enabled", "AppArmor").is_ok_and(|line| line == "Y");
    gather_devices(request, &mut facts)?;
    gather_sources(request, &mut facts)?;
    facts.thermal_paths = thermal_paths();
    Ok(facts)
}

/// What this process may hand on.
fn capabilities() -> Result<u64, RequestError> {
    let sets = rustix::thread::capabilities(None);
    let sets = sets.map_err(|errno| RequestError::Fact { what: "the capabilities of skiff", errno })?;
    Ok(sets.permitted.bits())
}

fn gather_devices(request: &RunRequest, facts: &mut HostFacts) -> Result<(), RequestError> {
    if request.security.privileged {
        facts.host_devices = devices_below(Path::new("/dev"))?;
    }
    for wish in &request.security.devices {
        let found = match device(&wish.source)? {
            Node::Device(fact) => vec![fact],
            Node::Directory => devices_below(&wish.source)?,
            Node::Other => Vec::new(),
        };
        if found.is_empty() {
            return Err(RequestError::NotADevice { path: wish.source.clone() });
        }
        facts.devices.insert(wish.source.clone(), found);
    }
    let blkio = &request.resources.blkio;
    let rates = [&blkio.read_bps, &blkio.write_bps, &blkio.read_iops, &blkio.write_iops];
    let limited = rates.into_iter().flatten().map(|rate| &rate.device);
    for path in limited.chain(blkio.weight_devices.iter().map(|weight| &weight.device)) {
        match device(path)? {
            Node::Device(fact) if fact.kind == DeviceKind::Block => {
                facts.block_devices.insert(path.clone(), (i64::from(fact.major), i64::from(fact.minor)));
            }
            _ => return Err(RequestError::NotABlockDevice { path: path.clone() }),
        }
    }
    Ok(())
}

fn gather_sources(request: &RunRequest, facts: &mut HostFacts) -> Result<(), RequestError> {
    let shm = (request.namespaces.ipc == IpcMode::Host).then(|| Path::new("/dev/shm"));
    let binds = request.mounts.iter().filter_map(|mount| match mount {
        MountRequest::Bind(bind) => Some(bind.source.as_path()),
        MountRequest::Tmpfs(_) => None,
    });
    for path in binds.chain(shm) {
        let stat = rustix::fs::stat(path)
            .map_err(|errno| RequestError::MountSource { path: path.to_path_buf(), errno })?;
        facts.sources.insert(path.to_path_buf(), SourceFact { uid: stat.st_uid, gid: stat.st_gid });
    }
    Ok(())
}

enum Node {
    Device(DeviceFact),
    Directory,
    Other,
}

fn device(path: &Path) -> Result<Node, RequestError> {
    let stat =
        rustix::fs::stat(path).map_err(|errno| RequestError::Device { path: path.to_path_buf(), errno })?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => DeviceKind::Block,
        FileType::CharacterDevice => DeviceKind::Character,
        FileType::Directory => return Ok(Node::Directory),
        _ => return Ok(Node::Other),
    };
    Ok(Node::Device(DeviceFact {
        path: path.to_path_buf(),
        kind,
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }))
}

/// All devices below `top`, without those that each container has of its own.
fn devices_below(top: &Path) -> Result<Vec<DeviceFact>, RequestError> {
    const OWN: [&str; 9] = [
        "/dev/pts",
        "/dev/shm",
        "/dev/fd",
        "/dev/mqueue",
        "/dev/.lxc",
        "/dev/.lxd-mounts",
        "/dev/.udev",
        "/dev/console",
        "/dev/ptmx",
    ];
    let mut found = Vec::new();
    let mut waiting = vec![top.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        let error = |errno| RequestError::Device { path: directory.clone(), errno };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&directory, flags, Mode::empty()).map_err(error)?;
        for entry in rustix::fs::Dir::new(opened).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_string_lossy();
            let path = directory.join(name.as_ref());
            if name == "." || name == ".." || OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => waiting.push(path),
                FileType::BlockDevice | FileType::CharacterDevice => {
                    // A device that was unplugged in between is no device.
                    if let Ok(Node::Device(fact)) = device(&path) {
                        found.push(fact);
                    }
                }
                _ => {}
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// `thermal_throttle` of each processor, where the machine has it.
fn thermal_paths() -> Vec<String> {
    let path = |cpu: usize| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    (0..).map(path).take_while(|path| rustix::fs::stat(path.as_str()).is_ok()).collect()
}

/// The first line of a small file of the kernel's.
fn read_line(path: &'static str, what: &'static str) -> Result<String, RequestError> {
    let error = |errno| RequestError::Fact { what, errno };
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(error)?;
    let mut buffer = [0_u8; 256];
    let length = rustix::io::read(&file, &mut buffer).map_err(error)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
