//! Why a request can't become a container.

use std::path::PathBuf;

use skiff_sys::Errno;

/// A wish that contradicts another, or can't hold on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A part of the document could not be put together; its builders fail only for missing fields.
    #[error("a field of the runtime configuration is missing")]
    Document,
    /// No program.
    #[error("the image `{image}` names no program, and none was given")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// The program is `""`.
    #[error("the program to run is an empty word")]
    EmptyCommand,
    /// A word can't be passed to a program.
    #[error("the command contains a NUL byte")]
    NulInCommand,
    /// `-w` is relative.
    #[error("the working directory `{path}` isn't an absolute path")]
    Workdir {
        /// What was given.
        path: String,
    },
    /// `-e` can't be a variable.
    #[error("{entry:?} can't be an environment variable")]
    Variable {
        /// What was given.
        entry: String,
    },
    /// No such signal.
    #[error("there is no signal `{name}`")]
    UnknownSignal {
        /// What was given.
        name: String,
    },
    /// The user could not be found out.
    #[error("find the user in the image")]
    User {
        /// Why.
        source: skiff_sys::users::UserError,
    },
    /// A name for a namespace that isn't the container's own.
    #[error("`{flag}` needs a UTS namespace of the container's own")]
    NameOfSharedUts {
        /// `--hostname` or `--domainname`.
        flag: &'static str,
    },
    /// Not a host name.
    #[error("`{name}` can't be a host name: letters, digits and `-` between dots, 64 in all, are")]
    Hostname {
        /// What was given.
        name: String,
    },
    /// Not a domain name.
    #[error("{name:?} can't be a domain name")]
    Domainname {
        /// What was given.
        name: String,
    },
    /// Clock offsets without a time namespace to hold them.
    #[error("`--monotonic` and `--boottime` need `--time=private`")]
    OffsetsOfSharedTime,
    /// `--privileged` with a user namespace.
    #[error("`--privileged` and a user namespace of the container's own exclude each other")]
    PrivilegedUserNamespace,
    /// `--privileged` with what takes a user namespace.
    #[error("`--privileged` and `--security-opt strict` exclude each other")]
    PrivilegedStrict,
    /// No such capability.
    #[error("there is no capability `{name}`")]
    UnknownCapability {
        /// What was given.
        name: String,
    },
    /// We lack it ourselves.
    #[error("`{name}` can't be given: skiff doesn't have it itself")]
    CapabilityMissing {
        /// The capability.
        name: String,
    },
    /// AppArmor isn't there.
    #[error("`--security-opt apparmor=…` can't hold: this kernel runs no AppArmor")]
    NoAppArmor,
    /// SELinux isn't there.
    #[error("`--security-opt label=…` can't hold: this kernel runs no SELinux")]
    NoSelinux,
    /// The profile can't be read.
    #[error("`--security-opt seccomp=…`: {reason}")]
    SeccompProfile {
        /// What the parser says.
        reason: String,
    },
    /// `--cgroup-parent` can't be a cgroup.
    #[error("`--cgroup-parent` can't be used")]
    CgroupParent {
        /// Why.
        source: skiff_cgroup::PathError,
    },
    /// `--cpus` with its own ingredients.
    #[error("`--cpus` and `{flag}` exclude each other")]
    CpusAndQuota {
        /// The other flag.
        flag: &'static str,
    },
    /// `--cpus` is out of range.
    #[error("`--cpus` must be between 0.01 and {processors}.00: this machine has {processors} processors")]
    CpusRange {
        /// How many there are.
        processors: u32,
    },
    /// `--cpu-period` is out of range.
    #[error("`--cpu-period` must be between 1000 and 1000000 microseconds, not {period}")]
    CpuPeriod {
        /// What was given.
        period: u64,
    },
    /// `--cpu-quota` is too small.
    #[error("`--cpu-quota` must be at least 1000 microseconds, or -1 for none, not {quota}")]
    CpuQuota {
        /// What was given.
        quota: i64,
    },
    /// Not a list of processors or memory nodes.
    #[error("`{flag}` takes a list such as 0-2,4, not {list:?}")]
    CpuList {
        /// The flag.
        flag: &'static str,
        /// What was given.
        list: String,
    },
    /// A processor that isn't there.
    #[error("processor {cpu} isn't there: this machine has {online}")]
    CpuMissing {
        /// The first one missing.
        cpu: u32,
        /// The list of those that are.
        online: String,
    },
    /// A memory node that isn't there.
    #[error("memory node {node} isn't there: this machine has {online}")]
    NodeMissing {
        /// The first one missing.
        node: u32,
        /// The list of those that are.
        online: String,
    },
    /// More real time than there is time.
    #[error("`--cpu-rt-runtime` {runtime} is longer than the period, {period} (`--cpu-rt-period`)")]
    RealtimeAbovePeriod {
        /// Microseconds of real time.
        runtime: i64,
        /// Microseconds of a period.
        period: u64,
    },
    /// A path that should be a namespace.
    #[error("`{flag} ns:{}`: {why}", path.display())]
    Namespace {
        /// The flag.
        flag: &'static str,
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        why: NamespaceFault,
    },
    /// Too little memory.
    #[error("`{flag}` must be at least 6 MiB")]
    MemoryMinimum {
        /// The flag.
        flag: &'static str,
    },
    /// The soft limit is above the hard one.
    #[error("`--memory-reservation` is above `--memory`")]
    ReservationAboveLimit,
    /// Swap without memory.
    #[error("`--memory-swap` needs `--memory`")]
    SwapWithoutMemory,
    /// Memory and swap together are less than memory.
    #[error("`--memory-swap` counts memory and swap together, so it can't be below `--memory`")]
    SwapBelowMemory,
    /// Swappiness out of range.
    #[error("`--memory-swappiness` must be between 0 and 100")]
    Swappiness,
    /// Weight out of range.
    #[error("a block I/O weight must be between 10 and 1000, not {weight}")]
    BlkioWeight {
        /// What was given.
        weight: u16,
    },
    /// No such limit.
    #[error("there is no ulimit `{name}`")]
    UnknownUlimit {
        /// What was given.
        name: String,
    },
    /// The soft limit is above the hard one.
    #[error("ulimit `{name}`: the soft limit is above the hard one")]
    UlimitSoftAboveHard {
        /// The limit.
        name: String,
    },
    /// The hard limit can't be raised here.
    #[error(
        "ulimit `{name}` can't be above {ceiling} here: that is skiff's own hard limit, and it lacks CAP_SYS_RESOURCE"
    )]
    UlimitAboveHard {
        /// The limit.
        name: String,
        /// Our own.
        ceiling: u64,
    },
    /// Out of range.
    #[error("`--oom-score-adj` must be between -1000 and 1000, not {asked}")]
    OomScoreRange {
        /// What was given.
        asked: i32,
    },
    /// It can't be lowered here.
    #[error("`--oom-score-adj` can't be below {floor} here: lowering it needs CAP_SYS_RESOURCE")]
    OomScoreLowered {
        /// What was given.
        asked: i32,
        /// What we have.
        floor: i32,
    },
    /// Not the name of a kernel parameter.
    #[error("{name:?} can't be the name of a sysctl")]
    SysctlName {
        /// What was given.
        name: String,
    },
    /// Not a value.
    #[error("the value of the sysctl `{name}` isn't one line")]
    SysctlValue {
        /// The parameter.
        name: String,
    },
    /// It belongs to the host.
    #[error("the sysctl `{name}` is the whole machine's: it belongs to no namespace")]
    SysctlOfHost {
        /// The parameter.
        name: String,
    },
    /// It belongs to a namespace that the container shares.
    #[error("the sysctl `{name}` would change a namespace that isn't the container's own (`{flag}`)")]
    SysctlOfSharedNamespace {
        /// The parameter.
        name: String,
        /// The flag that shares it.
        flag: &'static str,
    },
    /// The container's root has no right to a procfs of its own.
    #[error("`--sysctl` with a user namespace of the container's own needs a pid namespace of its own too")]
    SysctlOutOfReach,
    /// Nothing can be mounted there.
    #[error("nothing can be mounted at {target:?}: {why}")]
    MountTarget {
        /// What was given.
        target: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two mounts in one place.
    #[error("two mounts at `{target}`")]
    DuplicateMount {
        /// Where.
        target: String,
    },
    /// A mount into somebody else's mount namespace.
    #[error("`{target}` can't be mounted: the container lives in a mount namespace that isn't its own")]
    MountInSharedNamespace {
        /// Where.
        target: String,
    },
    /// Recursively read-only, and not read-only.
    #[error("`bind-recursive=readonly` at `{target}` needs `readonly`")]
    RecursiveReadOnly {
        /// Where.
        target: String,
    },
    /// No such option.
    #[error("tmpfs has no option `{option}`")]
    TmpfsOption {
        /// What was given.
        option: String,
    },
    /// An id outside the map of the container's user namespace.
    #[error("{id} is no user or group of the container's user namespace")]
    UnmappedId {
        /// The id.
        id: u32,
    },
    /// The source of a mount.
    #[error("the mount source `{}` can't be used: {}", path.display(), describe(*errno))]
    MountSource {
        /// Where.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A device that can't be looked at.
    #[error("the device `{}` can't be used: {}", path.display(), describe(*errno))]
    Device {
        /// Where.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// Not a device.
    #[error("`{}` is no device, nor a directory with devices", path.display())]
    NotADevice {
        /// Where.
        path: PathBuf,
    },
    /// Not a disk.
    #[error("`{}` is no block device", path.display())]
    NotABlockDevice {
        /// Where.
        path: PathBuf,
    },
    /// A relative place for a device.
    #[error("the device's place in the container, `{target}`, isn't an absolute path")]
    DeviceTarget {
        /// What was given.
        target: String,
    },
    /// Letters that mean nothing.
    #[error("device access {access:?} must be some of `r`, `w` and `m`, each once")]
    DeviceAccess {
        /// What was given.
        access: String,
    },
    /// A kind that means nothing.
    #[error("device kind `{kind}` must be `a`, `b` or `c`")]
    DeviceRuleKind {
        /// What was given.
        kind: char,
    },
    /// A file of the image that names users.
    #[error("read `{name}` of the image: {}", describe(*errno))]
    ImageFile {
        /// Which.
        name: &'static str,
        /// Why.
        errno: Errno,
    },
    /// A fact about this process that could not be found out.
    #[error("look at {what}: {}", describe(*errno))]
    Fact {
        /// What.
        what: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// What is wrong with the path of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceFault {
    /// It can't be opened.
    #[error("{}", describe(*.0))]
    Unreachable(Errno),
    /// Another kind of file.
    #[error("it is not a namespace")]
    File,
    /// Another kind of namespace.
    #[error("it is a {0} namespace")]
    Kind(skiff_sys::ns::Kind),
    /// The kernel refuses to enter the user namespace that one is in.
    #[error("it is the user namespace of skiff itself")]
    OwnUsers,
}

impl RequestError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCommand { .. } => "say what to run after the image: `skiff run IMAGE COMMAND`".to_owned(),
            Self::CapabilityMissing { .. } | Self::UlimitAboveHard { .. } | Self::OomScoreLowered { .. } => {
                "`grep CapBnd /proc/self/status` shows what this shell may pass on".to_owned()
            }
            Self::MountSource { path, errno: Errno::NOENT } => {
                format!("a source is never made by itself: `mkdir -p {}`", path.display())
            }
            Self::MountSource { path, errno: Errno::ACCESS } => {
                format!("`namei -l {}` shows which directory keeps it from you", path.display())
            }
            Self::NotABlockDevice { .. } => "`lsblk` lists the block devices".to_owned(),
            Self::SysctlOfHost { name } => format!("set it on the host: `sysctl -w {name}=…`"),
            Self::SwapWithoutMemory => "add `--memory`".to_owned(),
            Self::OffsetsOfSharedTime => "the wall clock is in no namespace and can't be moved".to_owned(),
            Self::UnknownCapability { .. } => "capabilities(7) lists them; `ALL` means every one".to_owned(),
            Self::UnknownUlimit { .. } => {
                "such as nofile, nproc, core, memlock or stack; setrlimit(2) lists them".to_owned()
            }
            Self::Namespace { why: NamespaceFault::OwnUsers, .. } => "leave the flag out".to_owned(),
            Self::Namespace { .. } => {
                "a namespace is a file below /proc/PID/ns, or one that `skiff unshare --net=FILE` or `ip netns` made"
                    .to_owned()
            }
            Self::User { source: skiff_sys::users::UserError::NoUser(_) } => {
                "names are looked up in the image's /etc/passwd; a number needs no entry".to_owned()
            }
            _ => return None,
        })
    }
}

/// A part of the document that its builder made.
pub(super) fn built<T, E>(part: Result<T, E>) -> Result<T, RequestError> {
    part.map_err(|_missing_field| RequestError::Document)
}

/// The words of the errors that people meet.
pub(crate) fn describe(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
