use super::*;
use crate::facts::{HostFacts, SourceFact};
use crate::spec::{Hidden, Place};
use crate::user::Identity;
use skiff_oci::image::Config;

/// The mounts as lines: `target type source options`.
fn lines(request: &RunRequest) -> Result<Vec<String>, RequestError> {
    lines_on(request, &HostFacts::default())
}

fn lines_on(request: &RunRequest, host: &HostFacts) -> Result<Vec<String>, RequestError> {
    let image = Config::default();
    let identity = Identity { uid: 1000, gid: 100, groups: vec![100], home: "/".to_owned() };
    let place = Place { id: "001".repeat(22), directory: "/c".into() };
    let hidden = Hidden::default();
    let inputs = Inputs { request, image: &image, hidden: &hidden, identity: &identity, host, place: &place };
    Ok(list(&inputs)?.iter().map(line).collect())
}

fn line(mount: &Mount) -> String {
    let source = mount.source().as_ref().map(|source| source.display().to_string()).unwrap_or_default();
    let options = mount.options().clone().unwrap_or_default().join(",");
    let mapping = |maps: &Option<Vec<LinuxIdMapping>>| {
        let maps = maps.iter().flatten();
        maps.map(|map| format!(" {}>{}", map.container_id(), map.host_id())).collect::<String>()
    };
    let kind = mount.typ().clone().unwrap_or_default();
    let (users, groups) = (mapping(mount.uid_mappings()), mapping(mount.gid_mappings()));
    format!("{} {kind} {source} {options}{users}{groups}", mount.destination().display())
}

/// The last mount of a request with only `mount` in it.
fn one(mount: MountRequest) -> Result<String, RequestError> {
    let request = RunRequest { mounts: vec![mount], ..RunRequest::default() };
    let facts = HostFacts {
        sources: [("/src".into(), SourceFact { uid: 501, gid: 20 })].into(),
        ..HostFacts::default()
    };
    Ok(lines_on(&request, &facts)?.pop().unwrap())
}

fn bind_at(target: &str) -> BindMount {
    BindMount {
        source: "/src".into(),
        target: target.to_owned(),
        access: Access::ReadWrite,
        recursion: Recursion::Enabled,
        propagation: None,
        idmap: None,
    }
}

fn tmpfs_with(options: &[&str]) -> MountRequest {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    MountRequest::Tmpfs(TmpfsMount { target: "/t".to_owned(), options })
}

#[test]
fn defaults_are_dockers() {
    assert_eq!(
        lines(&RunRequest::default()).unwrap(),
        [
            "/proc proc proc nosuid,noexec,nodev",
            "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
            "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
            "/sys sysfs sysfs nosuid,noexec,nodev,ro",
            "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,ro",
            "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
            "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864",
            "/etc/hostname bind /c/hostname bind,rprivate",
            "/etc/hosts bind /c/hosts bind,rprivate",
            "/etc/resolv.conf bind /c/resolv.conf bind,rprivate",
        ]
    );
}

#[test]
fn privileged_can_write_sys_and_cgroups() {
    let mut request = RunRequest::default();
    request.security.privileged = true;
    let lines = lines(&request).unwrap();
    assert_eq!(lines[3], "/sys sysfs sysfs nosuid,noexec,nodev,rw");
    assert_eq!(lines[4], "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,rw");
}

#[test]
fn shm_follows_the_ipc_namespace() {
    let shm = |ipc: IpcMode| {
        let mut request = RunRequest { shm_size: Some(4096), ..RunRequest::default() };
        request.namespaces.ipc = ipc;
        lines(&request).unwrap().into_iter().find(|line| line.starts_with("/dev/shm"))
    };
    assert_eq!(shm(IpcMode::None), None);
    assert_eq!(shm(IpcMode::Host).as_deref(), Some("/dev/shm bind /dev/shm bind,nosuid,noexec,nodev"));
    let own = "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=4096";
    assert_eq!(shm(IpcMode::Private).as_deref(), Some(own));
    assert_eq!(shm(IpcMode::Path("/n".into())).as_deref(), Some(own));
}

#[test]
fn what_a_user_namespace_does_not_own_is_bound() {
    let mut request = RunRequest::default();
    request.namespaces.user = Some(Sharing::Private);
    assert_eq!(lines(&request).unwrap()[0], "/proc proc proc nosuid,noexec,nodev");
    request.namespaces.pid = Sharing::Host;
    request.namespaces.net = Sharing::Host;
    request.namespaces.ipc = IpcMode::Host;
    let lines = lines(&request).unwrap();
    assert_eq!(lines[0], "/proc bind /proc rbind,nosuid,noexec,nodev");
    assert_eq!(lines[3], "/sys bind /sys rbind,nosuid,noexec,nodev,ro");
    assert!(!lines.iter().any(|line| line.starts_with("/dev/mqueue")));
}

#[test]
fn read_only_covers_our_own_files() {
    let request = RunRequest { read_only: true, ..RunRequest::default() };
    assert!(lines(&request).unwrap().contains(&"/etc/hosts bind /c/hosts bind,rprivate,ro".to_owned()));
}

#[test]
fn strict_leaves_three_places_to_write() {
    let mut request = RunRequest { mounts: vec![tmpfs_with(&[])], ..RunRequest::default() };
    request.security.strict = true;
    let lines = lines(&request).unwrap();
    for line in ["/run tmpfs tmpfs nosuid,nodev,mode=755", "/tmp tmpfs tmpfs nosuid,nodev,mode=1777"] {
        assert!(lines.contains(&line.to_owned()), "{line}");
    }
}

#[test]
fn binds_say_what_was_asked() {
    let with = |access, recursion, propagation| {
        one(MountRequest::Bind(BindMount { access, recursion, propagation, ..bind_at("/x") })).unwrap()
    };
    use Access::{ReadOnly, ReadWrite};
    assert_eq!(with(ReadWrite, Recursion::Enabled, None), "/x bind /src rbind,rprivate");
    assert_eq!(with(ReadOnly, Recursion::Enabled, None), "/x bind /src rbind,rro,rprivate");
    assert_eq!(with(ReadOnly, Recursion::ReadOnly, None), "/x bind /src rbind,rro,rprivate");
    assert_eq!(with(ReadOnly, Recursion::Writable, None), "/x bind /src rbind,ro,rprivate");
    assert_eq!(with(ReadOnly, Recursion::Disabled, None), "/x bind /src bind,ro,rprivate");
    assert_eq!(with(ReadWrite, Recursion::Enabled, Some(Propagation::Rslave)), "/x bind /src rbind,rslave");
    let contradiction = BindMount { recursion: Recursion::ReadOnly, ..bind_at("/x") };
    assert!(matches!(one(MountRequest::Bind(contradiction)), Err(RequestError::RecursiveReadOnly { .. })));
}

#[test]
fn an_idmap_shows_the_owners_files_as_the_users() {
    let with = |wish| one(MountRequest::Bind(BindMount { idmap: Some(wish), ..bind_at("/x") })).unwrap();
    assert_eq!(with(IdMapWish::ProcessUser), "/x bind /src rbind,rprivate 501>1000 20>100");
    assert_eq!(with(IdMapWish::Ids { uid: 7, gid: 8 }), "/x bind /src rbind,rprivate 501>7 20>8");
}

#[test]
fn an_idmap_counts_as_the_user_namespace_does() {
    let bind = BindMount { idmap: Some(IdMapWish::ProcessUser), ..bind_at("/x") };
    let mut request = RunRequest { mounts: vec![MountRequest::Bind(bind)], ..RunRequest::default() };
    request.namespaces.user = Some(Sharing::Private);
    let host = HostFacts {
        sources: [("/src".into(), SourceFact { uid: 501, gid: 20 })].into(),
        ..HostFacts::default()
    };
    // The id of the container begins with 001: the second range.
    let base = 0x7000_0000 + 0x1_0000;
    let expected = format!("/x bind /src rbind,rprivate 501>{} 20>{}", base + 1000, base + 100);
    assert_eq!(lines_on(&request, &host).unwrap().pop(), Some(expected));
    let MountRequest::Bind(bind) = &mut request.mounts[0] else { unreachable!() };
    bind.idmap = Some(IdMapWish::Ids { uid: 65_536, gid: 0 });
    assert_eq!(lines_on(&request, &host), Err(RequestError::UnmappedId { id: 65_536 }));
}

#[test]
fn tmpfs_options_replace_earlier_ones() {
    let options = |options: &[&str]| one(tmpfs_with(options));
    assert_eq!(options(&[]).unwrap(), "/t tmpfs tmpfs nosuid,nodev,noexec");
    let mixed = options(&["exec", "size=1m", "size=2m", "ro", "rw"]).unwrap();
    assert_eq!(mixed, "/t tmpfs tmpfs nosuid,nodev,exec,size=2m,rw");
    for wrong in ["bogus", "size=", "upperdir=/x", "size", ""] {
        assert!(matches!(options(&[wrong]), Err(RequestError::TmpfsOption { .. })), "{wrong:?}");
    }
}

#[test]
fn targets_are_cleaned_and_parents_come_first() {
    let binds = ["/a/b/c", "/z", "//a/./x/../b/", "/a"].map(bind_at).map(MountRequest::Bind);
    let request = RunRequest { mounts: binds.to_vec(), ..RunRequest::default() };
    let targets: Vec<String> = lines(&request).unwrap()[10..]
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(targets, ["/z", "/a", "/a/b", "/a/b/c"]);
}

#[test]
fn r05_nothing_covers_proc_or_the_root() {
    for target in ["/", "/proc", "/proc/1", "/a/../proc/self", "/proc/sys", "relative", "", "/.."] {
        let refused = one(MountRequest::Bind(bind_at(target)));
        assert!(matches!(refused, Err(RequestError::MountTarget { .. })), "{target:?}");
    }
    assert!(one(MountRequest::Bind(bind_at("/proc/meminfo"))).is_ok());
    assert!(one(MountRequest::Bind(bind_at("/process"))).is_ok());
}

#[test]
fn two_mounts_in_one_place_are_refused() {
    let request = RunRequest {
        mounts: vec![MountRequest::Bind(bind_at("/t/")), tmpfs_with(&[])],
        ..RunRequest::default()
    };
    assert!(matches!(lines(&request), Err(RequestError::DuplicateMount { .. })));
}

#[test]
fn the_users_mounts_replace_ours() {
    let request = RunRequest { mounts: vec![MountRequest::Bind(bind_at("/dev"))], ..RunRequest::default() };
    let all = lines(&request).unwrap();
    let dev: Vec<&String> = all.iter().filter(|line| line.starts_with("/dev")).collect();
    assert_eq!(dev, ["/dev bind /src rbind,rprivate"]);
    let request =
        RunRequest { mounts: vec![MountRequest::Bind(bind_at("/etc/hosts"))], ..RunRequest::default() };
    let all = lines(&request).unwrap();
    assert_eq!(all.iter().filter(|line| line.starts_with("/etc/hosts")).count(), 1);
}

#[test]
fn a_joined_mount_namespace_takes_no_mounts() {
    let mut request = RunRequest::default();
    request.namespaces.mount = Sharing::Path("/n".into());
    assert_eq!(lines(&request).unwrap(), Vec::<String>::new());
    request.mounts.push(tmpfs_with(&[]));
    assert!(matches!(lines(&request), Err(RequestError::MountInSharedNamespace { .. })));
}

/// The masked paths, and the private directories, of an image that hides something.
fn masked_of(security: Security) -> (Vec<String>, Vec<String>) {
    let request = RunRequest { security, ..RunRequest::default() };
    let host = HostFacts { thermal_paths: vec!["/sys/t".to_owned()], ..HostFacts::default() };
    let image = Config::default();
    let identity = Identity { uid: 0, gid: 0, groups: vec![0], home: "/".to_owned() };
    let place = Place { id: "0".repeat(64), directory: "/c".into() };
    let hidden = Hidden { paths: vec!["/etc/shadow".to_owned()], private: &["/root", "/tmp"] };
    let inputs = Inputs {
        request: &request,
        image: &image,
        hidden: &hidden,
        identity: &identity,
        host: &host,
        place: &place,
    };
    let places = writable_places(&inputs).iter().map(line).collect();
    (masked_paths(&inputs).unwrap(), places)
}

#[test]
fn paths_are_masked_unless_asked_otherwise() {
    assert_eq!(masked_of(Security::default()).0.len(), MASKED.len() + 2);
    assert_eq!(readonly_paths(&Security::default()).unwrap(), READ_ONLY);
    for open in [
        Security { privileged: true, ..Security::default() },
        Security { system_paths: SystemPaths::Unconfined, ..Security::default() },
    ] {
        assert_eq!(readonly_paths(&open).unwrap(), Vec::<String>::new());
        // What an image hides is no path of the system's.
        assert_eq!(masked_of(open).0, ["/etc/shadow"]);
    }
}

#[test]
fn private_directories_are_memory_and_mounted_once() {
    let private = ["/root tmpfs tmpfs nosuid,nodev,mode=700", "/tmp tmpfs tmpfs nosuid,nodev,mode=1777"];
    assert_eq!(masked_of(Security::default()).1, private);
    let strict = masked_of(Security { strict: true, ..Security::default() }).1;
    assert_eq!(strict.len(), 4);
    assert_eq!(strict[..2], private);
}

#[test]
fn the_root_propagates_what_a_bind_needs() {
    let with = |propagations: &[Propagation]| {
        let mount =
            |&propagation| MountRequest::Bind(BindMount { propagation: Some(propagation), ..bind_at("/x") });
        root_propagation(&propagations.iter().map(mount).collect::<Vec<_>>())
    };
    assert_eq!(with(&[]), None);
    assert_eq!(with(&[Propagation::Rprivate]), None);
    assert_eq!(with(&[Propagation::Slave]), Some("rslave"));
    assert_eq!(with(&[Propagation::Rshared, Propagation::Rslave]), Some("shared"));
}
