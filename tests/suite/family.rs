//! The processes of a running `skiff run`, as the host sees them: front, monitor, init.

use rustix::process::Pid;

/// The children of a process, as the kernel lists them.
pub fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// The monitor of a running container whose front is `front`.
#[track_caller]
pub fn monitor_of(front: Pid) -> Pid {
    let children = children(front);
    let [monitor] = children[..] else { panic!("the front has one child: {children:?}") };
    monitor
}

/// The container's init, the child of its monitor.
#[track_caller]
pub fn init_of(front: Pid) -> Pid {
    let children = children(monitor_of(front));
    let [init] = children[..] else { panic!("the monitor has one child: {children:?}") };
    init
}
