//! The image `host`: the machine's own root as a read-only layer, without any pull.
//!
//! It isolates writes: they go to the container's own upper layer. It is **no secret-keeper**: what is readable on
//! the host is readable in there, but for the short lists below. They hide what lies on every machine in a known
//! place and would otherwise be one `cat` away from any program that is tried out in a container.

use skiff_oci::Reference;
use skiff_oci::image::{
    Arch, ConfigBuilder, ImageConfiguration, ImageConfigurationBuilder, Os, RootFsBuilder,
};
use skiff_store::Store;
use std::path::{Path, PathBuf};

/// The name of the image.
pub const NAME: &str = "host";

/// Directories that are empty and private in a container of `host`: people's files, and what belongs to running
/// programs of the host.
pub const PRIVATE: &[&str] = &["/home", "/root", "/run", "/tmp", "/var/tmp"];

/// Directories of engines, and of what manages machines and secrets: everything below is hidden.
///
/// The first of them for safety too: the layers and writable directories of other containers are full of set-user-id
/// programs and of secrets that their users believe to be inside a container.
const HIDDEN_DIRECTORIES: &[&str] = &[
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/buildkit",
    "/var/lib/kubelet",
    "/var/lib/etcd",
    "/var/lib/rancher",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/incus",
    "/var/lib/machines",
    "/var/lib/libvirt",
    "/var/lib/skiff",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/kubernetes",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/letsencrypt",
    "/etc/NetworkManager/system-connections",
    "/var/lib/sss",
    "/var/lib/systemd/credential",
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/var/spool/cron",
    "/var/mail",
    "/var/spool/mail",
];

/// Files with keys and the hashes of passwords.
const HIDDEN_FILES: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_dsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
];

/// Whether a name means the built-in image.
pub fn is_host(reference: &Reference) -> bool {
    reference.domain() == "docker.io"
        && reference.path() == "library/host"
        && reference.digest().is_none()
        && matches!(reference.tag(), None | Some("latest"))
}

/// Everything of the host that its containers don't see; a path that isn't there is no error.
///
/// `store` adds the places of this Skiff, wherever they were moved to. What lies in a [`PRIVATE`] directory is not
/// listed: it is hidden already.
pub fn masked_paths(store: &Store) -> Vec<PathBuf> {
    let fixed = HIDDEN_DIRECTORIES.iter().chain(HIDDEN_FILES).map(PathBuf::from);
    let own = [store.root().path(), store.state().path()].into_iter().cloned();
    let is_private = |path: &Path| PRIVATE.iter().any(|private| path.starts_with(private));
    let mut paths: Vec<PathBuf> = fixed.chain(own).filter(|path| !is_private(path)).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The configuration of the image. It says nothing of the host's environment (R23).
pub(crate) fn configuration() -> ImageConfiguration {
    let config = ConfigBuilder::default()
        .env(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()])
        .cmd(vec!["/bin/sh".to_owned()])
        .build();
    let rootfs = RootFsBuilder::default().typ("layers".to_owned()).diff_ids(Vec::<String>::new()).build();
    let mut builder = ImageConfigurationBuilder::default().os(Os::Linux).architecture(Arch::default());
    if let Ok(config) = config {
        builder = builder.config(config);
    }
    if let Ok(rootfs) = rootfs {
        builder = builder.rootfs(rootfs);
    }
    builder.build().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_name_is_built_in() {
        for (name, is_builtin) in [
            ("host", true),
            ("host:latest", true),
            ("docker.io/library/host", true),
            ("host:1", false),
            ("me/host", false),
            ("localhost/host", false),
        ] {
            assert_eq!(is_host(&name.parse().unwrap()), is_builtin, "{name}");
        }
    }

    #[test]
    fn the_configuration_can_be_run() {
        let config = configuration();
        assert_eq!(config.os().to_string(), "linux");
        let inner = config.config().as_ref().unwrap();
        assert_eq!(inner.cmd().as_ref().unwrap(), &["/bin/sh"]);
        assert!(inner.env().as_ref().unwrap()[0].starts_with("PATH=/"));
    }

    #[test]
    fn r33_secrets_and_the_store_itself_are_masked() {
        let base = std::env::temp_dir().join(format!("skiff-host-{}", std::process::id()));
        let store = Store::open(&base.join("root"), &base.join("state")).unwrap();
        let masked = masked_paths(&store);
        std::fs::remove_dir_all(&base).unwrap();
        // The temporary directory is private as a whole.
        assert!(!masked.contains(&base.join("root")));
        for path in ["/etc/shadow", "/var/lib/docker", "/var/lib/containers", "/etc/ssh/ssh_host_ed25519_key"]
        {
            assert!(masked.contains(&PathBuf::from(path)), "{path}");
        }
        assert!(masked.iter().all(|path| path.is_absolute()));
    }
}
