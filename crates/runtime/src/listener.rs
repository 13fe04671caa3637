//! The hand-over of a seccomp listener to the socket that the configuration names
//! (`config-linux.md`, "The Container Process State").

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;
use serde::Serialize;
use skiff_sys::Errno;

use crate::hooks::State;
use crate::plan::Listener;
use crate::{LaunchError, LaunchPlan, OCI_VERSION};

/// `ContainerProcessState` of the specification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    metadata: &'a str,
    state: State<'a>,
}

/// Sends the listener and the state to the socket.
///
/// # Errors
/// [`LaunchError::Host`] with the socket's path.
pub fn hand_over(
    to: &Listener,
    plan: &LaunchPlan,
    pid: Pid,
    descriptor: &OwnedFd,
) -> Result<(), LaunchError> {
    let failed = || LaunchError::host(format!("hand the seccomp listener to {}", to.path.display()));
    let message = ContainerProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid: pid.as_raw_nonzero().get(),
        metadata: &to.metadata,
        state: State::new(plan, "creating", Some(pid)),
    };
    let json = serde_json::to_vec(&message).map_err(|_| failed()(Errno::INVAL))?;
    skiff_sys::scm_rights::send_to(&to.path, &json, descriptor.as_fd()).map_err(failed())
}
