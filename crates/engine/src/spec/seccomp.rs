//! Which filter of system calls the process gets.

use std::error::Error;

use skiff_oci::runtime::{Capabilities, Capability, LinuxSeccomp};
use skiff_runtime::seccomp::{default_profile, parse_profile, with_hostname_notify};

use super::RequestError;
use crate::facts::HostFacts;
use crate::request::{RunRequest, SeccompChoice, Sharing};

/// The filter, or none where none is wanted.
pub(super) fn filter(
    request: &RunRequest,
    capabilities: &Capabilities,
    host: &HostFacts,
) -> Result<Option<LinuxSeccomp>, RequestError> {
    // `hostname NAME` works in a container without CAP_SYS_ADMIN: the call is handed to the monitor.
    let names_itself =
        request.namespaces.uts == Sharing::Private && !capabilities.contains(&Capability::SysAdmin);
    match &request.security.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        _ if request.security.privileged => Ok(None),
        SeccompChoice::Profile(text) => {
            let profile = parse_profile(text.as_bytes(), capabilities, host.kernel);
            profile.map(Some).map_err(|error| RequestError::SeccompProfile { reason: chain(&error) })
        }
        SeccompChoice::Builtin => {
            let profile = default_profile(capabilities);
            Ok(Some(if names_itself { with_hostname_notify(profile) } else { profile }))
        }
    }
}

/// The texts of an error and its causes. They are kept instead of the error, as it can't be compared or stored.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::LinuxSeccompAction;

    fn filtered(
        request: &RunRequest,
        capabilities: &[Capability],
    ) -> Result<Option<LinuxSeccomp>, RequestError> {
        filter(request, &capabilities.iter().copied().collect(), &HostFacts::default())
    }

    fn notified(request: &RunRequest, capabilities: &[Capability]) -> Option<bool> {
        let filter = filtered(request, capabilities).unwrap()?;
        let rules = filter.syscalls().clone().unwrap_or_default();
        Some(rules.iter().any(|rule| {
            rule.action() == LinuxSeccompAction::ScmpActNotify
                && rule.names().contains(&"sethostname".to_owned())
        }))
    }

    #[test]
    fn the_monitor_is_asked_only_for_what_the_process_may_not_do() {
        let request = RunRequest::default();
        assert_eq!(notified(&request, &[Capability::Chown]), Some(true));
        assert_eq!(notified(&request, &[Capability::SysAdmin]), Some(false));
        let mut shared = RunRequest::default();
        shared.namespaces.uts = Sharing::Host;
        assert_eq!(notified(&shared, &[]), Some(false));
    }

    #[test]
    fn unconfined_and_privileged_have_no_filter() {
        let mut request = RunRequest::default();
        request.security.seccomp = SeccompChoice::Unconfined;
        assert_eq!(notified(&request, &[]), None);
        let mut request = RunRequest::default();
        request.security.privileged = true;
        assert_eq!(notified(&request, &[]), None);
    }

    #[test]
    fn a_profile_of_the_users_is_taken_as_it_is() {
        let mut request = RunRequest::default();
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
        request.security.seccomp = SeccompChoice::Profile(text.to_owned());
        let filter = filtered(&request, &[]).unwrap().unwrap();
        assert_eq!(filter.default_action(), LinuxSeccompAction::ScmpActAllow);
        request.security.seccomp = SeccompChoice::Profile("{}".to_owned());
        assert!(matches!(filtered(&request, &[]), Err(RequestError::SeccompProfile { .. })));
    }
}
