//! The profile of containers that ask for none, equal in effect to Docker's.
//!
//! It follows Docker 28.5 (`profiles/seccomp` of moby), by what each call needs. It differs in three places, each
//! stricter: `AF_ALG` is refused beside `AF_VSOCK`, as newer Dockers do; address families are compared so that a
//! number with bits above the 32 that the kernel looks at matches nothing (`socket(0x100000028)` is `AF_VSOCK`
//! to the kernel and not 40 to Docker 28); and x32 is left out, which makes it answer `ENOSYS`.

use skiff_oci::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

use super::abi::Machine;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile of a container whose bounding set is `capabilities`, on this machine.
///
/// Some calls are only allowed with the capability that the kernel asks for anyway: a container that gets
/// it can use it, others never reach that code.
pub fn default_profile(capabilities: &Capabilities) -> LinuxSeccomp {
    profile_for(capabilities, Machine::NATIVE)
}

fn profile_for(capabilities: &Capabilities, machine: Machine) -> LinuxSeccomp {
    let (architectures, own_calls) = match machine {
        Machine::X86_64 => (vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86], X86_CALLS),
        Machine::Aarch64 => (vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm], ARM_CALLS),
    };
    let is_admin = capabilities.contains(&Capability::SysAdmin);
    let privileged = WITH_CAPABILITY.iter().filter(|entry| capabilities.contains(&entry.0));
    let names = ALWAYS.iter().chain(own_calls).chain(privileged.flat_map(|entry| entry.1));

    let mut rules = vec![allow(names.map(|name| (*name).to_owned()).collect(), Vec::new())];
    let when = |name: &str, arg| allow(vec![name.to_owned()], vec![arg]);
    rules.extend(socket_conditions().into_iter().map(|arg| when("socket", arg)));
    rules.extend(
        PERSONALITIES.map(|value| when("personality", first_is(LinuxSeccompOperator::ScmpCmpEq, value))),
    );
    if !is_admin {
        rules.push(when("clone", first_is(LinuxSeccompOperator::ScmpCmpMaskedEq, CLONE_NEW)));
        // Its flags are in memory, out of a filter's sight. ENOSYS makes libraries fall back to clone.
        let mut clone3 = LinuxSyscall::default();
        clone3.set_names(vec!["clone3".to_owned()]);
        clone3.set_action(LinuxSeccompAction::ScmpActErrno);
        clone3.set_errno_ret(Some(ENOSYS));
        rules.push(clone3);
    }

    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(LinuxSeccompAction::ScmpActErrno);
    profile.set_default_errno_ret(Some(EPERM));
    profile.set_architectures(Some(architectures));
    profile.set_syscalls(Some(rules));
    profile
}

/// `profile` with `sethostname` and `setdomainname` handed to a listener, so that the monitor can do for the
/// container what the kernel only allows with CAP_SYS_ADMIN. A profile that says something about these
/// calls itself stays as it is.
pub fn with_hostname_notify(mut profile: LinuxSeccomp) -> LinuxSeccomp {
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    let mut names = rules.iter().flat_map(LinuxSyscall::names);
    if names.any(|name| HOSTNAME_CALLS.contains(&name.as_str())) {
        return profile;
    }
    let mut notify = LinuxSyscall::default();
    notify.set_names(HOSTNAME_CALLS.map(str::to_owned).to_vec());
    notify.set_action(LinuxSeccompAction::ScmpActNotify);
    rules.push(notify);
    profile.set_syscalls(Some(rules));
    profile
}

/// The calls that [`with_hostname_notify`] is about.
pub const HOSTNAME_CALLS: [&str; 2] = ["sethostname", "setdomainname"];

fn allow(names: Vec<String>, args: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names);
    rule.set_action(LinuxSeccompAction::ScmpActAllow);
    rule.set_args((!args.is_empty()).then_some(args));
    rule
}

/// A condition on the first argument. (A mask's second value is 0.)
fn first_is(op: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(op).build();
    // Every field of this builder has a default, so there is nothing that it could miss.
    arg.expect("a condition of complete fields")
}

/// All address families but `AF_ALG` (38; the kernel's cryptography, attack surface without a need) and
/// `AF_VSOCK` (40; reaches virtual machines past the network namespace). Those above are listed one by one,
/// because "greater than 40" is also true for a 40 with a bit that the kernel cuts off.
fn socket_conditions() -> Vec<LinuxSeccompArg> {
    const AF_ALG: u64 = 38;
    const NFC: u64 = 39;
    /// `AF_KCM` to `AF_MCTP`, the last that Linux has.
    const AFTER_VSOCK: std::ops::RangeInclusive<u64> = 41..=45;
    std::iter::once(first_is(LinuxSeccompOperator::ScmpCmpLt, AF_ALG))
        .chain(
            std::iter::once(NFC)
                .chain(AFTER_VSOCK)
                .map(|family| first_is(LinuxSeccompOperator::ScmpCmpEq, family)),
        )
        .collect()
}

/// `PER_LINUX`, `PER_LINUX32`, the two with `UNAME26`, and the question for the present one.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`. (`CLONE_NEWTIME` is one of
/// clone3 and unshare alone; here its bit is part of the signal.)
const CLONE_NEW: u64 = 0x7e02_0000;

const X86_CALLS: &[&str] = &["arch_prctl", "modify_ldt"];

const ARM_CALLS: &[&str] =
    &["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"];

/// What a capability adds.
const WITH_CAPABILITY: &[(Capability, &[&str])] = &[
    (Capability::DacReadSearch, &["open_by_handle_at"]),
    (Capability::SysAdmin, SYS_ADMIN),
    (Capability::SysBoot, &["reboot"]),
    (Capability::SysChroot, &["chroot"]),
    (Capability::SysModule, &["delete_module", "finit_module", "init_module"]),
    (Capability::SysPacct, &["acct"]),
    (Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Capability::SysRawio, &["ioperm", "iopl"]),
    (Capability::SysTime, &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    (Capability::SysTtyConfig, &["vhangup"]),
    (Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Capability::Syslog, &["syslog"]),
    (Capability::Bpf, &["bpf"]),
    (Capability::Perfmon, &["perf_event_open"]),
];

#[rustfmt::skip]
const SYS_ADMIN: &[&str] = &[
    // Namespaces.
    "clone", "clone3", "setns", "unshare", "sethostname", "setdomainname",
    // Mounts and quotas.
    "mount", "umount", "umount2", "fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount",
    "open_tree", "quotactl", "quotactl_fd",
    // A look into the kernel.
    "bpf", "fanotify_init", "lookup_dcookie", "perf_event_open", "syslog",
    "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr",
];

/// What every container may call, by theme. The names of all ABIs are here: one that an ABI doesn't have
/// matches nothing in it. Not here, beside what needs a capability: io_uring (its operations pass by every
/// filter), keyrings (not namespaced), userfaultfd (a tool of exploits), kexec, swap and module calls.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    // Reading and writing.
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "lseek", "_llseek", "readahead", "sendfile", "sendfile64", "splice", "tee", "vmsplice", "copy_file_range",
    "fadvise64", "fadvise64_64", "fallocate", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range",
    "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents", "io_pgetevents_time64",
    // Descriptors.
    "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "pipe", "pipe2",
    "fcntl", "fcntl64", "ioctl", "flock", "memfd_create", "memfd_secret", "name_to_handle_at",
    // Waiting for descriptors.
    "select", "_newselect", "pselect6", "pselect6_time64", "poll", "ppoll", "ppoll_time64",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_wait_old",
    "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4",
    "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fanotify_mark",
    // Names, directories and attributes of files.
    "access", "faccessat", "faccessat2", "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat64",
    "newfstatat", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "statmount", "listmount",
    "getdents", "getdents64", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat",
    "link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "unlink", "unlinkat",
    "rename", "renameat", "renameat2", "truncate", "truncate64", "ftruncate", "ftruncate64",
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "chown32", "fchown", "fchown32", "fchownat",
    "lchown", "lchown32", "umask", "utime", "utimes", "futimesat", "utimensat", "utimensat_time64",
    "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
    "listxattr", "llistxattr", "flistxattr", "listxattrat",
    "removexattr", "lremovexattr", "fremovexattr", "removexattrat", "cachestat",
    // Memory.
    "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mseal",
    "mlock", "mlock2", "mlockall", "munlock", "munlockall", "remap_file_pages", "map_shadow_stack",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "membarrier", "process_mrelease",
    // Processes and threads.
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "waitpid",
    "kill", "tkill", "tgkill", "pidfd_open", "pidfd_send_signal", "prctl", "seccomp",
    "getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid",
    "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "set_thread_area", "get_thread_area",
    "futex", "futex_time64", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue",
    "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "uretprobe",
    // Tracing among the container's own processes; since Linux 4.8 it can't be used to get around a filter.
    "ptrace", "process_vm_readv", "process_vm_writev",
    // Signals.
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "sigaltstack", "sigprocmask", "sigreturn",
    "pause", "restart_syscall",
    // Users, groups and capabilities.
    "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getresuid", "getresuid32", "getresgid", "getresgid32", "getgroups", "getgroups32",
    "setuid", "setuid32", "setgid", "setgid32", "setreuid", "setreuid32", "setregid", "setregid32",
    "setresuid", "setresuid32", "setresgid", "setresgid32", "setfsuid", "setfsuid32", "setfsgid", "setfsgid32",
    "setgroups", "setgroups32", "capget", "capset",
    // Limits, scheduling and accounts.
    "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "times", "sysinfo", "uname", "getcpu",
    "getpriority", "setpriority", "ioprio_get", "ioprio_set", "sched_yield",
    "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr", "sched_getparam",
    "sched_setparam", "sched_getscheduler", "sched_setscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    // Time. (Setting it is refused by the kernel without CAP_SYS_TIME.)
    "time", "gettimeofday", "nanosleep", "alarm", "getitimer", "setitimer", "adjtimex",
    "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
    "timer_settime", "timer_settime64",
    // Sockets; `socket` itself by address family. `socketcall` has its arguments in memory.
    "socketcall", "socketpair", "bind", "listen", "accept", "accept4", "connect", "shutdown",
    "getsockname", "getpeername", "getsockopt", "setsockopt", "send", "sendto", "sendmsg", "sendmmsg",
    "recv", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64",
    // System V and POSIX messages, semaphores and shared memory.
    "ipc", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
    "mq_timedsend_time64", "mq_unlink", "getrandom",
];

#[cfg(test)]
mod tests;
