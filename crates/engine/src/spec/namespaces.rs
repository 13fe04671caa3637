//! Which namespaces are made, joined, or left as the host's.

use std::collections::HashMap;
use std::path::Path;

use skiff_oci::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, LinuxTimeOffset,
};

use super::error::built;
use super::{Inputs, RequestError};
use crate::request::{ClockOffset, IpcMode, Namespaces, RunRequest, Sharing};

/// Ranges of user numbers for containers start here: above those that systemd and shadow give out.
const ID_BASE: u32 = 0x7000_0000;
/// As many ids as an image can reasonably use.
const ID_RANGE: u32 = 0x1_0000;

/// The user namespace that the request comes to.
pub(crate) fn user_sharing(request: &RunRequest) -> Sharing {
    match &request.namespaces.user {
        Some(sharing) => sharing.clone(),
        None if request.security.strict => Sharing::Private,
        None => Sharing::Host,
    }
}

/// Refuses what contradicts itself.
pub(super) fn check(request: &RunRequest) -> Result<(), RequestError> {
    let namespaces = &request.namespaces;
    if namespaces.uts != Sharing::Private {
        for (flag, value) in [("--hostname", &request.hostname), ("--domainname", &request.domainname)] {
            if value.is_some() {
                return Err(RequestError::NameOfSharedUts { flag });
            }
        }
    }
    if let Some(hostname) = &request.hostname
        && !is_hostname(hostname)
    {
        return Err(RequestError::Hostname { name: hostname.clone() });
    }
    if let Some(domainname) = &request.domainname
        && (domainname.len() > 64 || domainname.contains(['\0', '\n']))
    {
        return Err(RequestError::Domainname { name: domainname.clone() });
    }
    let moves_clocks = namespaces.offsets.monotonic.is_some() || namespaces.offsets.boottime.is_some();
    if moves_clocks && namespaces.time != Sharing::Private {
        return Err(RequestError::OffsetsOfSharedTime);
    }
    if user_sharing(request) == Sharing::Private && request.security.privileged {
        return Err(match namespaces.user {
            None => RequestError::PrivilegedStrict,
            Some(_) => RequestError::PrivilegedUserNamespace,
        });
    }
    Ok(())
}

/// A name as RFC 1123 has it, within the kernel's 64 bytes. Docker takes underscores too.
fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(inner)
    };
    name.len() <= 64 && name.split('.').all(is_label)
}

/// The namespaces of the `Spec`; a kind that is absent is the host's.
pub(super) fn list(request: &RunRequest) -> Vec<LinuxNamespace> {
    let (wishes, user) = (&request.namespaces, user_sharing(request));
    let ipc = match &wishes.ipc {
        IpcMode::Shareable | IpcMode::Private | IpcMode::None => Sharing::Private,
        IpcMode::Host => Sharing::Host,
        IpcMode::Path(path) => Sharing::Path(path.clone()),
    };
    [
        (LinuxNamespaceType::User, &user),
        (LinuxNamespaceType::Mount, &wishes.mount),
        (LinuxNamespaceType::Pid, &wishes.pid),
        (LinuxNamespaceType::Network, &wishes.net),
        (LinuxNamespaceType::Ipc, &ipc),
        (LinuxNamespaceType::Uts, &wishes.uts),
        (LinuxNamespaceType::Cgroup, &wishes.cgroup),
        (LinuxNamespaceType::Time, &wishes.time),
    ]
    .into_iter()
    .filter_map(|(kind, sharing)| match sharing {
        Sharing::Host => None,
        Sharing::Private => Some(namespace(kind, None)),
        Sharing::Path(path) => Some(namespace(kind, Some(path))),
    })
    .collect()
}

fn namespace(kind: LinuxNamespaceType, path: Option<&Path>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path.map(Path::to_path_buf));
    namespace
}

/// The numbers of the host that stand for the container's, in a user namespace of its own.
///
/// Which range it is follows from the id: two containers rarely share one, and files keep unmapped numbers on
/// disk, so that nothing depends on it.
pub(crate) fn id_range(request: &RunRequest, id: &str) -> Result<Option<LinuxIdMapping>, RequestError> {
    if user_sharing(request) != Sharing::Private {
        return Ok(None);
    }
    // 4,096 ranges fit below 2³¹: as many as three digits of the id can say.
    let slot = id.get(..3).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let range = LinuxIdMappingBuilder::default()
        .container_id(0_u32)
        .host_id(ID_BASE + slot * ID_RANGE)
        .size(ID_RANGE);
    built(range.build()).map(Some)
}

/// The clock offsets of a new time namespace.
pub(super) fn time_offsets(wishes: &Namespaces) -> Option<HashMap<String, LinuxTimeOffset>> {
    let offset = |clock: ClockOffset| {
        let mut offset = LinuxTimeOffset::default();
        offset.set_secs(Some(clock.seconds)).set_nanosecs(Some(clock.nanoseconds));
        offset
    };
    let offsets: HashMap<String, LinuxTimeOffset> =
        [("monotonic", wishes.offsets.monotonic), ("boottime", wishes.offsets.boottime)]
            .into_iter()
            .filter_map(|(name, clock)| clock.map(|clock| (name.to_owned(), offset(clock))))
            .collect();
    (!offsets.is_empty()).then_some(offsets)
}

/// The name by which the container knows itself.
pub(crate) fn hostname<'a>(inputs: &Inputs<'a>) -> &'a str {
    let Inputs { request, host, place, .. } = *inputs;
    let shares_names = request.namespaces.uts != Sharing::Private || request.namespaces.net == Sharing::Host;
    match (&request.hostname, shares_names) {
        (Some(asked), _) => asked,
        // As Docker: with the host's network it is the host, whatever its UTS namespace says.
        (None, true) => &host.hostname,
        (None, false) => place.short_id(),
    }
}

/// The name to set, where the UTS namespace is the container's own.
pub(super) fn hostname_to_set<'a>(inputs: &Inputs<'a>) -> Option<&'a str> {
    (inputs.request.namespaces.uts == Sharing::Private).then(|| hostname(inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(wishes: Namespaces) -> Vec<String> {
        let text = |namespace: &LinuxNamespace| match namespace.path() {
            Some(path) => format!("{}={}", namespace.typ(), path.display()),
            None => namespace.typ().to_string(),
        };
        list(&RunRequest { namespaces: wishes, ..RunRequest::default() }).iter().map(text).collect()
    }

    #[test]
    fn all_but_user_and_time_are_new_by_default() {
        assert_eq!(kinds(Namespaces::default()), ["mnt", "pid", "net", "ipc", "uts", "cgroup"]);
    }

    #[test]
    fn shared_kinds_are_absent_and_joined_ones_have_a_path() {
        let wishes = Namespaces {
            pid: Sharing::Host,
            net: Sharing::Path("/run/netns/lab".into()),
            ipc: IpcMode::Host,
            uts: Sharing::Host,
            user: Some(Sharing::Private),
            cgroup: Sharing::Host,
            time: Sharing::Private,
            ..Namespaces::default()
        };
        assert_eq!(kinds(wishes), ["user", "mnt", "net=/run/netns/lab", "time"]);
        assert_eq!(kinds(Namespaces { ipc: IpcMode::None, ..Namespaces::default() })[3], "ipc");
        assert_eq!(
            kinds(Namespaces { ipc: IpcMode::Path("/i".into()), ..Namespaces::default() })[3],
            "ipc=/i"
        );
    }

    #[test]
    fn hostnames_follow_rfc_1123() {
        for name in ["a", "web-1", "db.example.org", "under_score", "1"] {
            assert!(is_hostname(name), "{name}");
        }
        for name in ["", "-a", "a-", "a..b", "a b", "a\n", "ä", &"x".repeat(64), &"x.".repeat(33)] {
            assert!(!is_hostname(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_for_a_shared_uts_namespace_is_refused() {
        let namespaces = Namespaces { uts: Sharing::Host, ..Namespaces::default() };
        let request = RunRequest { hostname: Some("a".to_owned()), namespaces, ..RunRequest::default() };
        assert!(matches!(check(&request), Err(RequestError::NameOfSharedUts { flag: "--hostname" })));
    }

    #[test]
    fn offsets_need_a_time_namespace_of_ones_own() {
        let mut request = RunRequest::default();
        request.namespaces.offsets.boottime = Some(ClockOffset { seconds: 5, nanoseconds: 0 });
        assert!(matches!(check(&request), Err(RequestError::OffsetsOfSharedTime)));
        request.namespaces.time = Sharing::Private;
        assert!(check(&request).is_ok());
        let offsets = time_offsets(&request.namespaces).unwrap();
        assert_eq!((offsets.len(), offsets["boottime"].secs()), (1, Some(5)));
    }

    #[test]
    fn id_ranges_stay_below_two_to_the_31() {
        let mut request = RunRequest::default();
        assert_eq!(id_range(&request, "fff").unwrap(), None);
        request.security.strict = true;
        let range = id_range(&request, "fff0").unwrap().unwrap();
        assert_eq!((range.container_id(), range.size()), (0, 65_536));
        assert_eq!(range.host_id() + (range.size() - 1), 0x7fff_ffff);
        assert_eq!(id_range(&request, "000").unwrap().unwrap().host_id(), 0x7000_0000);
    }
}
