//! What can be typed after `skiff run`: low level, one field a flag, in the words of the user.

use std::path::PathBuf;

use clap::ArgAction;
use skiff_engine::request::{
    CapabilityWish, ClockOffset, DeviceNode, DeviceRate, DeviceRule, DeviceWeight, InterfacePriority,
    IpcMode, PidsLimit, Sharing, Swap, Ulimit,
};

use super::values;

/// Runs a command in a new container, and returns its exit code.
///
/// The image `host` is built in: this machine's own files, with everything written thrown away at the end.
/// Flags after IMAGE belong to the command. There are no networks yet: a container has its own empty one
/// unless `--network` says otherwise.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, override_usage = "skiff run [OPTIONS] IMAGE [COMMAND [ARG...]]")]
pub struct Args {
    #[command(flatten, next_help_heading = "Container")]
    pub container: ContainerArgs,
    #[command(flatten, next_help_heading = "Process")]
    pub process: ProcessArgs,
    #[command(flatten, next_help_heading = "Files")]
    pub files: FileArgs,
    #[command(flatten, next_help_heading = "Namespaces")]
    pub namespaces: NamespaceArgs,
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: LimitArgs,
    #[command(flatten, next_help_heading = "Disks")]
    pub disks: DiskArgs,
    #[command(flatten, next_help_heading = "Security")]
    pub security: SecurityArgs,
    /// The image, then the command and its arguments
    #[arg(value_name = "IMAGE", required = true, trailing_var_arg = true, hide = true)]
    pub words: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct ContainerArgs {
    /// Remove the container when it ends
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub rm: bool,
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Keep standard input open
    #[arg(short, long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub tty: bool,
    /// Pass signals on to the process; not with `-t`, where keys do that
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub sig_proxy: bool,
    /// Label: NAME[=VALUE]
    #[arg(short, long, value_parser = values::label)]
    pub label: Vec<(String, String)>,
    /// File with a label a line
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Annotation for the OCI configuration: NAME=VALUE
    #[arg(long, value_parser = values::label)]
    pub annotation: Vec<(String, String)>,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Write the id of the container to a new file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    #[arg(short, long, hide = true)]
    pub detach: bool,
}

#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// Environment variable: NAME=VALUE, or NAME for the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// File with a variable a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group, by name or number: USER[:GROUP]
    #[arg(short, long)]
    pub user: Option<String>,
    /// Additional group
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Program in the place of the image's entry point; "" takes it away
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Run a small init as process 1, which forwards signals and reaps
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub init: bool,
    /// Limit of setrlimit(2): NAME=SOFT[:HARD]
    #[arg(long, value_parser = values::ulimit, value_name = "LIMIT")]
    pub ulimit: Vec<Ulimit>,
    /// Preference of the OOM killer, -1000 to 1000
    #[arg(long, value_parser = values::whole::<i32>, value_name = "SCORE")]
    pub oom_score_adj: Option<i32>,
}

#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// Directory or file of the host: SOURCE:TARGET[:OPTIONS]
    #[arg(short, long, value_name = "MOUNT")]
    pub volume: Vec<String>,
    /// The same in words: type=bind|tmpfs,source=…,target=…; or a mount namespace: ns:PATH
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Memory as a directory: TARGET[:OPTIONS]
    #[arg(long, value_name = "MOUNT")]
    pub tmpfs: Vec<String>,
    /// Make the root filesystem read-only
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub read_only: bool,
    /// Size of /dev/shm [64m]
    #[arg(long, value_parser = values::bytes, value_name = "BYTES")]
    pub shm_size: Option<u64>,
    /// Device of the host: HOST[:CONTAINER[:rwm]]
    #[arg(long, value_parser = values::device, value_name = "DEVICE")]
    pub device: Vec<DeviceNode>,
    /// Allow devices that may appear later: "c 189:* rmw"
    #[arg(long, value_parser = values::device_rule, value_name = "RULE")]
    pub device_cgroup_rule: Vec<DeviceRule>,
}

#[derive(Debug, clap::Args)]
pub struct NamespaceArgs {
    /// Network: none (an empty one, the default), host, ns:PATH
    #[arg(long, alias = "net", value_parser = values::network, value_name = "MODE")]
    pub network: Option<Sharing>,
    /// Process numbers: private, host, ns:PATH
    #[arg(long, value_parser = |text: &str| values::sharing(text, "pid"), value_name = "MODE")]
    pub pid: Option<Sharing>,
    /// Shared memory and queues: shareable, private, none, host, ns:PATH
    #[arg(long, value_parser = values::ipc, value_name = "MODE")]
    pub ipc: Option<IpcMode>,
    /// Host and domain name: private, host, ns:PATH
    #[arg(long, value_parser = |text: &str| values::sharing(text, "uts"), value_name = "MODE")]
    pub uts: Option<Sharing>,
    /// User numbers: host, private (a range of its own), ns:PATH
    #[arg(long, value_parser = |text: &str| values::sharing(text, "user"), value_name = "MODE")]
    pub userns: Option<Sharing>,
    /// Visible cgroups: private, host, ns:PATH
    #[arg(long, value_parser = |text: &str| values::sharing(text, "cgroup"), value_name = "MODE")]
    pub cgroupns: Option<Sharing>,
    /// Clocks since boot, not the wall clock: host, private, ns:PATH
    #[arg(long, value_parser = |text: &str| values::sharing(text, "time"), value_name = "MODE")]
    pub time: Option<Sharing>,
    /// Move the monotonic clock: seconds, or 1h30m
    #[arg(long, value_parser = values::offset, value_name = "OFFSET")]
    pub monotonic: Option<ClockOffset>,
    /// Move the boot-time clock, and with it the uptime
    #[arg(long, value_parser = values::offset, value_name = "OFFSET")]
    pub boottime: Option<ClockOffset>,
    /// Host name [the id's first twelve digits]
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Kernel parameter of a namespace: NAME=VALUE
    #[arg(long, value_parser = values::pair, value_name = "NAME=VALUE")]
    pub sysctl: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Processors: 0.5 is half of one
    #[arg(long, value_parser = values::cpus, value_name = "NUMBER")]
    pub cpus: Option<u64>,
    /// Weight against other containers [1024]
    #[arg(short, long, value_parser = values::whole::<u64>, value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor in each period; -1 is no limit
    #[arg(long, value_parser = values::whole::<i64>, value_name = "USEC")]
    pub cpu_quota: Option<i64>,
    /// Length of a period [100000]
    #[arg(long, value_parser = values::whole::<u64>, value_name = "USEC")]
    pub cpu_period: Option<u64>,
    /// Real-time microseconds in each period; cgroup v1 only
    #[arg(long, value_parser = values::whole::<i64>, value_name = "USEC")]
    pub cpu_rt_runtime: Option<i64>,
    /// Length of a real-time period; cgroup v1 only
    #[arg(long, value_parser = values::whole::<u64>, value_name = "USEC")]
    pub cpu_rt_period: Option<u64>,
    /// Processors that may be used: 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Memory
    #[arg(short, long, value_parser = values::bytes, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// Memory and swap together; -1 is no limit [twice the memory]
    #[arg(long, value_parser = values::swap, value_name = "BYTES")]
    pub memory_swap: Option<Swap>,
    /// Memory that is left to the container when it gets scarce
    #[arg(long, value_parser = values::bytes, value_name = "BYTES")]
    pub memory_reservation: Option<u64>,
    /// Readiness to swap, 0 to 100; cgroup v1 only
    #[arg(long, value_parser = values::swappiness, value_name = "PERCENT")]
    pub memory_swappiness: Option<i64>,
    /// Let processes wait for memory instead of killing one; cgroup v1 only
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub oom_kill_disable: bool,
    /// Processes; -1 is no limit [4096]
    #[arg(long, value_parser = values::pids, value_name = "NUMBER")]
    pub pids_limit: Option<PidsLimit>,
    /// Cgroup above the container's
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Mark of packets for tc and netfilter: 10:1 or 0x100001
    #[arg(long, value_parser = values::net_class, value_name = "CLASS")]
    pub net_classid: Option<u32>,
    /// Priority of packets by interface: eth0:5
    #[arg(long, value_parser = values::net_priority, value_name = "IF:PRIO")]
    pub net_prio: Vec<InterfacePriority>,
}

#[derive(Debug, clap::Args)]
pub struct DiskArgs {
    /// Share of the disks' time, 10 to 1000
    #[arg(long, value_parser = values::whole::<u16>, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// The same for one disk: /dev/sda:500
    #[arg(long, value_parser = values::device_weight, value_name = "DEVICE:WEIGHT")]
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes read a second: /dev/sda:10mb
    #[arg(long, value_parser = values::byte_rate, value_name = "DEVICE:BYTES")]
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes written a second
    #[arg(long, value_parser = values::byte_rate, value_name = "DEVICE:BYTES")]
    pub device_write_bps: Vec<DeviceRate>,
    /// Reads a second: /dev/sda:1000
    #[arg(long, value_parser = values::operation_rate, value_name = "DEVICE:NUMBER")]
    pub device_read_iops: Vec<DeviceRate>,
    /// Writes a second
    #[arg(long, value_parser = values::operation_rate, value_name = "DEVICE:NUMBER")]
    pub device_write_iops: Vec<DeviceRate>,
}

#[derive(Debug, clap::Args)]
pub struct SecurityArgs {
    /// Every capability and device, no filter, nothing masked: root in it is root of the host
    #[arg(long, action = ArgAction::Set, value_parser = values::truth, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_name = "BOOL")]
    pub privileged: bool,
    /// Give a capability, or ALL
    #[arg(long, value_parser = values::capability, value_delimiter = ',', value_name = "CAPABILITY")]
    pub cap_add: Vec<CapabilityWish>,
    /// Take a capability away, or ALL
    #[arg(long, value_parser = values::capability, value_delimiter = ',', value_name = "CAPABILITY")]
    pub cap_drop: Vec<CapabilityWish>,
    /// strict, no-new-privileges, seccomp=FILE|builtin|unconfined, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
}
