//! The flags of `skiff unshare`, which are those of util-linux 2.38 and a few more.

use std::ffi::OsString;
use std::path::PathBuf;

use skiff_sys::ns::Kind;

use super::maps::Block;

/// Run a program with some namespaces of its own
///
/// A new pid namespace implies --fork, because the first process in it must be a child, and, together with a new
/// mount namespace, a fresh /proc, because the old one shows the processes outside. Both are said on stderr;
/// --no-fork and --no-mount-proc do without.
#[derive(Debug, Default, clap::Args)]
#[command(
    override_usage = "skiff unshare [OPTIONS] [PROGRAM [ARG...]]",
    infer_long_args = true,
    args_override_self = true,
    after_help = "What this does not protect: the program keeps the caller's root directory, capabilities, open\n\
        files, devices and limits; root in it is root outside, unless it gets a user namespace. No seccomp\n\
        filter is set and no cgroup is made. `skiff run` contains a program that you don't trust."
)]
pub struct Args {
    /// New mount namespace; with FILE, keep it there after the program's end
    #[arg(short = 'm', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub mount: Option<Option<PathBuf>>,
    /// New UTS namespace (host and domain name)
    #[arg(short = 'u', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub uts: Option<Option<PathBuf>>,
    /// New IPC namespace
    #[arg(short = 'i', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub ipc: Option<Option<PathBuf>>,
    /// New network namespace
    #[arg(short = 'n', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub net: Option<Option<PathBuf>>,
    /// New pid namespace (implies --fork)
    #[arg(short = 'p', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub pid: Option<Option<PathBuf>>,
    /// New user namespace
    #[arg(short = 'U', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub user: Option<Option<PathBuf>>,
    /// New cgroup namespace
    #[arg(short = 'C', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub cgroup: Option<Option<PathBuf>>,
    /// New time namespace (monotonic and boot clock, not the date)
    #[arg(short = 'T', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub time: Option<Option<PathBuf>>,

    /// Run the program as a child
    #[arg(short = 'f', long)]
    pub fork: bool,
    /// Do not fork for a new pid namespace: only the program's children are in it
    #[arg(long, conflicts_with_all = ["fork", "kill_child"])]
    pub no_fork: bool,
    /// When this process dies, send SIG to the program (implies --fork) [SIGKILL]
    #[arg(long, value_name = "SIG", num_args = 0..=1, require_equals = true)]
    pub kill_child: Option<Option<String>>,
    /// Mount a proc file system at DIR first (implies --mount) [/proc]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub mount_proc: Option<Option<PathBuf>>,
    /// Leave /proc as it is
    #[arg(long, conflicts_with = "mount_proc")]
    pub no_mount_proc: bool,
    /// slave, shared, private or unchanged: how mounts propagate [private]
    #[arg(long, value_name = "MODE")]
    pub propagation: Option<String>,

    /// Map the current user to this one (implies --user)
    #[arg(long, value_name = "USER")]
    pub map_user: Option<String>,
    /// Map the current group to this one (implies --user)
    #[arg(long, value_name = "GROUP")]
    pub map_group: Option<String>,
    /// Map the current user and group to root (implies --user)
    #[arg(short = 'r', long)]
    pub map_root_user: bool,
    /// Map the current user and group to themselves (implies --user)
    #[arg(short = 'c', long)]
    pub map_current_user: bool,
    /// Map the ranges of /etc/subuid and /etc/subgid (implies --user)
    #[arg(long)]
    pub map_auto: bool,
    /// Map N users from O outside to I inside; or `auto` (implies --user)
    #[arg(long, value_name = "O,I,N")]
    pub map_users: Option<Block>,
    /// Map N groups from O outside to I inside; or `auto` (implies --user)
    #[arg(long, value_name = "O,I,N")]
    pub map_groups: Option<Block>,
    /// allow or deny setgroups(2) in the user namespace
    #[arg(long, value_name = "WORD")]
    pub setgroups: Option<String>,
    /// Give the program the capabilities that it has in its user namespace
    #[arg(long)]
    pub keep_caps: bool,

    /// Root directory of the program
    #[arg(short = 'R', long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Working directory of the program
    #[arg(short = 'w', long, value_name = "DIR")]
    pub wd: Option<PathBuf>,
    /// User of the program, as a number in its user namespace
    #[arg(short = 'S', long, value_name = "UID", value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
    pub setuid: Option<u32>,
    /// Group of the program; additional groups are dropped
    #[arg(short = 'G', long, value_name = "GID", value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
    pub setgid: Option<u32>,
    /// Offset of the monotonic clock in seconds (needs --time)
    #[arg(long, value_name = "SEC", allow_negative_numbers = true)]
    pub monotonic: Option<i64>,
    /// Offset of the boot clock in seconds (needs --time)
    #[arg(long, value_name = "SEC", allow_negative_numbers = true)]
    pub boottime: Option<i64>,

    /// The program and its arguments [$SHELL]
    #[arg(value_name = "PROGRAM", trailing_var_arg = true)]
    pub program: Vec<OsString>,
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

    /// Whether a flag was given that makes no sense without a user namespace.
    pub fn maps_ids(&self) -> bool {
        self.map_root_user
            || self.map_current_user
            || self.map_auto
            || self.map_user.is_some()
            || self.map_group.is_some()
            || self.map_users.is_some()
            || self.map_groups.is_some()
    }
}
