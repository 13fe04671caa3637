//! The flags of `skiff nsenter`, which are those of util-linux 2.38.

use std::ffi::OsString;
use std::path::PathBuf;

use skiff_sys::ns::Kind;

use crate::arguments::attached_values;
use crate::commands::process::ProcessName;

/// Run a program in the namespaces of another process
///
/// Without FILE, a namespace is that of the target. The program has the identity of the caller, or is root where a
/// user namespace is entered.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skiff nsenter [OPTIONS] [PROGRAM [ARG...]]",
    infer_long_args = true,
    args_override_self = true,
    after_help = "What this does not protect: the program keeps the caller's capabilities, cgroup and open files, and\n\
        no seccomp filter is set, so a process in there can reach the machine through it. Programs,\n\
        libraries and names are looked up in there: what they do is up to whoever wrote them."
)]
pub struct Args {
    /// The process whose namespaces are entered
    #[arg(short = 't', long, value_name = "PID")]
    pub target: Option<ProcessName>,
    /// Enter all namespaces of the target
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Enter the mount namespace
    #[arg(short = 'm', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub mount: Option<Option<PathBuf>>,
    /// Enter the UTS namespace (host and domain name)
    #[arg(short = 'u', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub uts: Option<Option<PathBuf>>,
    /// Enter the IPC namespace
    #[arg(short = 'i', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub ipc: Option<Option<PathBuf>>,
    /// Enter the network namespace
    #[arg(short = 'n', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub net: Option<Option<PathBuf>>,
    /// Enter the pid namespace, in a child
    #[arg(short = 'p', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub pid: Option<Option<PathBuf>>,
    /// Enter the user namespace
    #[arg(short = 'U', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub user: Option<Option<PathBuf>>,
    /// Enter the cgroup namespace
    #[arg(short = 'C', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub cgroup: Option<Option<PathBuf>>,
    /// Enter the time namespace
    #[arg(short = 'T', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub time: Option<Option<PathBuf>>,

    /// User of the program, as a number in its user namespace
    #[arg(short = 'S', long, value_name = "UID", value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
    pub setuid: Option<u32>,
    /// Group of the program; additional groups are dropped
    #[arg(short = 'G', long, value_name = "GID", value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
    pub setgid: Option<u32>,
    /// Keep user and group when a user namespace is entered
    #[arg(long)]
    pub preserve_credentials: bool,
    /// Change the root directory, to the target's without DIR
    #[arg(short = 'r', long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub root: Option<Option<PathBuf>>,
    /// Change the working directory, to the target's without DIR
    #[arg(short = 'w', long, value_name = "DIR", num_args = 0..=1, require_equals = true, conflicts_with = "wdns")]
    pub wd: Option<Option<PathBuf>>,
    /// Change the working directory to one that is looked up in there
    #[arg(short = 'W', long, value_name = "DIR")]
    pub wdns: Option<PathBuf>,
    /// Do not fork for a pid namespace: only the program's children are in it
    #[arg(short = 'F', long)]
    pub no_fork: bool,
    /// Run the program with the target's SELinux context
    #[arg(short = 'Z', long)]
    pub follow_context: bool,

    /// The program and its arguments [$SHELL]
    #[arg(value_name = "PROGRAM", trailing_var_arg = true)]
    pub program: Vec<OsString>,
}

/// Short options whose value may only be attached (`-n/run/netns/x`), and the long names of them.
const ATTACHED: [(u8, &str); 10] = [
    (b'm', "mount"),
    (b'u', "uts"),
    (b'i', "ipc"),
    (b'n', "net"),
    (b'p', "pid"),
    (b'U', "user"),
    (b'C', "cgroup"),
    (b'T', "time"),
    (b'r', "root"),
    (b'w', "wd"),
];

/// Makes clap's spelling of attached values.
///
/// `-mu` is two flags here. For util-linux it is the file `u`, which nobody means; a file that is attached is told
/// apart by its slash or dot.
pub fn prepare(words: &[OsString]) -> Vec<OsString> {
    attached_values(words, &ATTACHED, b"tSGW")
}

impl Args {
    /// The flag of `kind`: whether it was given, and with which file.
    pub fn of(&self, kind: Kind) -> Option<Option<&PathBuf>> {
        let flag = match kind {
            Kind::Mount => &self.mount,
            Kind::Uts => &self.uts,
            Kind::Ipc => &self.ipc,
            Kind::Net => &self.net,
            Kind::Pid => &self.pid,
            Kind::User => &self.user,
            Kind::Cgroup => &self.cgroup,
            Kind::Time => &self.time,
        };
        flag.as_ref().map(Option::as_ref)
    }
}
