//! Kernel parameters that belong to a namespace of the container.

use std::collections::HashMap;

use skiff_oci::runtime::LinuxNamespaceType as Kind;
use skiff_runtime::sysctl_owner;

use super::RequestError;
use crate::request::{IpcMode, RunRequest, Sharing};

/// Set in each new network namespace, as Docker does: any user may use low ports and send pings there.
const NET_DEFAULTS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// The parameters to set.
///
/// # Errors
/// For a name that isn't namespaced, or whose namespace the container shares, or a value that isn't one line (R16).
pub(super) fn checked(request: &RunRequest) -> Result<Option<HashMap<String, String>>, RequestError> {
    let mut parameters = HashMap::new();
    // They are written through a procfs, which only the owner of a pid namespace can mount.
    let users = super::namespaces::user_sharing(request);
    let is_out_of_reach = users == Sharing::Private && request.namespaces.pid != Sharing::Private;
    if is_out_of_reach && !request.sysctls.is_empty() {
        return Err(RequestError::SysctlOutOfReach);
    }
    if request.namespaces.net == Sharing::Private && !is_out_of_reach {
        // In a user namespace of its own the container may not name groups that it has not.
        let maps_all = users == Sharing::Host;
        let defaults =
            NET_DEFAULTS.iter().filter(|(name, _)| maps_all || !name.ends_with("ping_group_range"));
        parameters.extend(defaults.map(|&(name, value)| (name.to_owned(), value.to_owned())));
    }
    for (name, value) in &request.sysctls {
        let name = dotted(name)?;
        check_namespace(&name, request)?;
        if value.contains(['\n', '\0']) {
            return Err(RequestError::SysctlValue { name });
        }
        parameters.insert(name, value.clone());
    }
    Ok((!parameters.is_empty()).then_some(parameters))
}

/// `net/ipv4/conf/eth0.1/x` stays as it is; `net.ipv4.x` too; both only of sane components.
fn dotted(name: &str) -> Result<String, RequestError> {
    let slashed = name.contains('/');
    let separator = if slashed { '/' } else { '.' };
    let is_letter = |letter: char| {
        letter.is_ascii_alphanumeric() || letter == '_' || letter == '-' || (slashed && letter == '.')
    };
    let is_component =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(is_letter);
    if !name.split(separator).all(is_component) {
        return Err(RequestError::SysctlName { name: name.to_owned() });
    }
    // The slash form is needed only where a component has a dot of its own.
    Ok(if slashed && !name.contains('.') { name.replace('/', ".") } else { name.to_owned() })
}

fn check_namespace(name: &str, request: &RunRequest) -> Result<(), RequestError> {
    let namespaces = &request.namespaces;
    let (flag, is_private) = match sysctl_owner(&name.replace('/', ".")) {
        Some(Kind::Network) => ("--network", namespaces.net == Sharing::Private),
        Some(Kind::Ipc) => ("--ipc", !matches!(namespaces.ipc, IpcMode::Host | IpcMode::Path(_))),
        Some(Kind::Uts) => ("--uts", namespaces.uts == Sharing::Private),
        _ => return Err(RequestError::SysctlOfHost { name: name.to_owned() }),
    };
    if is_private {
        Ok(())
    } else {
        Err(RequestError::SysctlOfSharedNamespace { name: name.to_owned(), flag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: &str, value: &str) -> RunRequest {
        RunRequest { sysctls: [(name.to_owned(), value.to_owned())].into(), ..RunRequest::default() }
    }

    #[test]
    fn a_new_network_has_dockers_two() {
        let parameters = checked(&RunRequest::default()).unwrap().unwrap();
        assert_eq!(parameters["net.ipv4.ip_unprivileged_port_start"], "0");
        assert_eq!(parameters.len(), 2);
        let mut shared = RunRequest::default();
        shared.namespaces.net = Sharing::Host;
        assert_eq!(checked(&shared).unwrap(), None);
    }

    #[test]
    fn a_user_namespace_beside_a_foreign_pid_namespace_sets_nothing() {
        let mut request = RunRequest::default();
        request.namespaces.user = Some(Sharing::Private);
        assert!(checked(&request).unwrap().is_some());
        request.namespaces.pid = Sharing::Host;
        assert_eq!(checked(&request).unwrap(), None);
        request.sysctls.insert("net.core.somaxconn".to_owned(), "1".to_owned());
        assert_eq!(checked(&request), Err(RequestError::SysctlOutOfReach));
    }

    #[test]
    fn r16_names_are_namespaced_and_private() {
        for name in [
            "net.core.somaxconn",
            "kernel.msgmax",
            "fs.mqueue.msg_max",
            "net/ipv4/ip_forward",
            "kernel.domainname",
        ] {
            assert!(checked(&asking(name, "1")).is_ok(), "{name}");
        }
        for name in ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.shmmax2", "netx.a"] {
            assert!(matches!(checked(&asking(name, "1")), Err(RequestError::SysctlOfHost { .. })), "{name}");
        }
        let mut shared = asking("net.core.somaxconn", "1");
        shared.namespaces.net = Sharing::Path("/n".into());
        assert!(matches!(
            checked(&shared),
            Err(RequestError::SysctlOfSharedNamespace { flag: "--network", .. })
        ));
        let mut shared = asking("kernel.sem", "1");
        shared.namespaces.ipc = IpcMode::Host;
        assert!(matches!(checked(&shared), Err(RequestError::SysctlOfSharedNamespace { flag: "--ipc", .. })));
    }

    #[test]
    fn r16_components_are_letters_digits_and_lines() {
        for name in ["net..x", "net/../../kernel/panic", "net.ipv4.a b", "net/", "", ".", "net\0x", "net/./x"]
        {
            assert!(matches!(checked(&asking(name, "1")), Err(RequestError::SysctlName { .. })), "{name:?}");
        }
        assert!(matches!(
            checked(&asking("net.core.somaxconn", "1\n2")),
            Err(RequestError::SysctlValue { .. })
        ));
    }

    #[test]
    fn the_slash_form_keeps_dots_of_interfaces() {
        let parameters = checked(&asking("net/ipv4/conf/eth0.1/rp_filter", "0")).unwrap().unwrap();
        assert!(parameters.contains_key("net/ipv4/conf/eth0.1/rp_filter"));
        let parameters = checked(&asking("net/ipv4/ip_forward", "1")).unwrap().unwrap();
        assert_eq!(parameters["net.ipv4.ip_forward"], "1");
    }
}
