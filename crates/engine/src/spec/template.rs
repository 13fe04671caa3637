//! The document that `oci spec` writes: the engine's defaults for a bundle of anybody's.

use skiff_oci::image::Config;
use skiff_oci::runtime::Spec;

use super::{Hidden, Inputs, Place, RequestError, build};
use crate::facts::HostFacts;
use crate::request::RunRequest;
use crate::user::Identity;

/// A shell at a terminal, with the defaults of `run` in everything that a bundle decides for itself.
///
/// # Errors
/// None that a test would not see: the inputs are fixed.
pub fn template() -> Result<Spec, RequestError> {
    let request = RunRequest {
        command: vec!["sh".to_owned()],
        terminal: true,
        hostname: Some("skiff".to_owned()),
        ..RunRequest::default()
    };
    let (image, host) = (Config::default(), HostFacts::default());
    let identity = Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() };
    let place = Place { id: "0".repeat(64), directory: "/".into() };
    let hidden = Hidden::default();
    let inputs = Inputs {
        request: &request,
        image: &image,
        hidden: &hidden,
        identity: &identity,
        host: &host,
        place: &place,
    };
    let mut spec = build(&inputs)?.spec;
    // A bundle has no directory with our files for /etc, and whoever runs it says where its cgroup is.
    if let Some(mounts) = spec.mounts_mut() {
        mounts.retain(|mount| !mount.destination().starts_with("/etc"));
    }
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(None);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_names_nothing_of_this_machine() {
        let spec = template().unwrap();
        assert_eq!(spec.hostname().as_deref(), Some("skiff"));
        assert!(spec.mounts().iter().flatten().all(|mount| !mount.destination().starts_with("/etc")));
        assert_eq!(spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()), None);
    }
}
