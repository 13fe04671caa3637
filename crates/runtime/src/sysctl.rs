//! Kernel parameters that belong to a namespace of the container, and to nobody else (R16).

use skiff_oci::runtime::LinuxNamespaceType as Kind;

use crate::LaunchError;
use crate::error::c_string;
use crate::namespaces::Namespaces;
use crate::step::Step;

/// Parameters of the IPC namespace (`ipc/ipc_sysctl.c`, `ipc/mq_sysctl.c`), in the dotted form.
const IPC: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "fs.mqueue.",
];

/// The step that writes `value` to the parameter `name`, which may have its parts parted by dots or, as
/// `sysctl(8)` allows it for names with dots in a part, by slashes.
///
/// # Errors
/// [`LaunchError::Spec`] when the name or value is malformed, or the parameter belongs to no namespace that
/// the container has for itself.
pub fn step(name: &str, value: &str, namespaces: &Namespaces) -> Result<Step, LaunchError> {
    let slashed = name.contains('/');
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || slashed && byte == b'/'
    };
    let parts: Vec<&str> = name.split(if slashed { '/' } else { '.' }).collect();
    if !name.bytes().all(allowed) || parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(LaunchError::spec("linux.sysctl", format!("`{name}` is no name of a kernel parameter")));
    }
    if value.contains(['\n', '\0']) {
        return Err(LaunchError::spec(
            "linux.sysctl",
            format!("the value of `{name}` has more than one line"),
        ));
    }
    match owner(&parts.join(".")) {
        Some(kind) if !namespaces.is_host(kind) => {}
        Some(kind) => {
            return Err(LaunchError::spec(
                "linux.sysctl",
                format!("`{name}` would change the host: the {kind} namespace is not the container's own"),
            ));
        }
        None => {
            return Err(LaunchError::spec(
                "linux.sysctl",
                format!("`{name}` belongs to no namespace, so it would change the host"),
            ));
        }
    }
    let path = format!("sys/{}", parts.join("/"));
    Ok(Step::Sysctl { path: c_string("linux.sysctl", path)?, value: c_string("linux.sysctl", value)? })
}

/// The namespace that the parameter `dotted`, with dots between its parts, belongs to; none for the host's own.
pub fn owner(dotted: &str) -> Option<Kind> {
    if dotted.starts_with("net.") {
        Some(Kind::Network)
    } else if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
        Some(Kind::Uts)
    } else if IPC.iter().any(|known| dotted == *known || known.ends_with('.') && dotted.starts_with(known)) {
        Some(Kind::Ipc)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_oci::runtime::{LinuxBuilder, LinuxNamespaceBuilder};

    fn namespaces(kinds: &[Kind]) -> Namespaces {
        let list: Vec<_> =
            kinds.iter().map(|kind| LinuxNamespaceBuilder::default().typ(*kind).build().unwrap()).collect();
        Namespaces::from_spec(&LinuxBuilder::default().namespaces(list).build().unwrap()).unwrap()
    }

    #[test]
    fn r16_only_parameters_of_the_container_s_own_namespaces() {
        let own = namespaces(&[Kind::Network, Kind::Ipc]);
        assert!(step("net.ipv4.ip_forward", "1", &own).is_ok());
        assert!(step("kernel.shmmax", "1", &own).is_ok());
        assert!(step("fs.mqueue.msg_max", "1", &own).is_ok());
        assert!(step("kernel.hostname", "x", &own).is_err());
        assert!(step("kernel.core_pattern", "|/evil", &own).is_err());
        assert!(step("kernel.shmmax", "1", &namespaces(&[])).is_err());
    }

    #[test]
    fn r16_names_and_values_have_a_grammar() {
        let own = namespaces(&[Kind::Network]);
        for name in ["net/../kernel/core_pattern", "net..x", "net.ipv4.a b", ".net", "net.ipv4/x/.."] {
            assert!(step(name, "1", &own).is_err(), "{name}");
        }
        assert!(step("net.ipv4.ip_forward", "1\n2", &own).is_err());
    }

    #[test]
    fn a_slash_form_keeps_the_dots_of_interface_names() {
        let Ok(Step::Sysctl { path, .. }) =
            step("net/ipv4/conf/eth0.5/forwarding", "1", &namespaces(&[Kind::Network]))
        else {
            panic!("refused")
        };
        assert_eq!(path.as_c_str(), c"sys/net/ipv4/conf/eth0.5/forwarding");
    }

    #[test]
    fn the_step_has_the_name_that_users_write() {
        let own = namespaces(&[Kind::Network]);
        let said = |name| step(name, "1", &own).unwrap().to_string();
        assert_eq!(said("net.ipv4.ip_forward"), "set the sysctl net.ipv4.ip_forward");
        assert_eq!(said("net/ipv4/conf/eth0.5/forwarding"), "set the sysctl net/ipv4/conf/eth0.5/forwarding");
    }
}
