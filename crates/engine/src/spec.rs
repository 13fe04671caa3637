//! From a request, an image and the facts of the host to the `Spec` that the runtime gets.
//!
//! Everything in here is pure: [`build`] opens nothing and asks nobody, so each decision has a test that runs
//! anywhere. What must be known of the machine is gathered before, in [`crate::facts`].

mod capabilities;
mod cgroup;
mod devices;
mod error;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod sysctls;
mod template;

use std::collections::HashMap;
use std::path::PathBuf;

use skiff_oci::image::Config;
use skiff_oci::runtime::{Linux, RootBuilder, Spec};
use skiff_runtime::OCI_VERSION;

use crate::facts::HostFacts;
use crate::request::RunRequest;
use crate::user::Identity;
use error::built;

pub use capabilities::{capability_named, capability_number};
pub(crate) use cgroup::path as cgroup_path;
pub use error::{NamespaceFault, RequestError};
pub(crate) use mounts::ETC_FILES;
pub(crate) use namespaces::{hostname, id_range, user_sharing};
pub(crate) use process::{program, rlimit_named};
pub(crate) use resources::numbers;
pub use template::template;

/// All that a `Spec` is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What was meant.
    pub request: &'a RunRequest,
    /// What the image says about running it.
    pub image: &'a Config,
    /// What the image keeps from its containers.
    pub hidden: &'a Hidden,
    /// Who the process is, looked up in the image.
    pub identity: &'a Identity,
    /// What is so on this machine.
    pub host: &'a HostFacts,
    /// Which container this is.
    pub place: &'a Place,
}

/// Parts of an image that its containers don't see: only the machine's own root has such.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    /// What can't be read, whatever the privileges.
    pub paths: Vec<String>,
    /// Directories that each container has of its own, empty at first.
    pub private: &'static [&'static str],
}

/// Which container it is, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The directory with its `hostname`, `hosts` and `resolv.conf`.
    pub directory: PathBuf,
}

impl Place {
    /// The twelve digits that people use.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The document for the runtime.
    pub spec: Spec,
    /// What the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Builds the `Spec`.
///
/// # Errors
/// When two wishes contradict each other, or one of them can't hold on this machine.
pub fn build(inputs: &Inputs<'_>) -> Result<Built, RequestError> {
    let Inputs { request, host, .. } = *inputs;
    namespaces::check(request)?;
    let mut warnings = Vec::new();
    let capabilities = capabilities::granted(&request.security, host.capabilities)?;

    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces::list(request)))
        .set_cgroups_path(Some(cgroup::absolute(&cgroup::path(
            request.cgroup_parent.as_deref(),
            inputs.place,
        )?)))
        .set_devices(Some(devices::nodes(&request.security, host)?))
        .set_resources(Some(resources::limits(&request.resources, host, &mut warnings)?))
        .set_seccomp(seccomp::filter(request, &capabilities, host)?)
        .set_sysctl(sysctls::checked(request)?)
        .set_time_offsets(namespaces::time_offsets(&request.namespaces))
        .set_masked_paths(mounts::masked_paths(inputs))
        .set_readonly_paths(mounts::readonly_paths(&request.security))
        .set_rootfs_propagation(mounts::root_propagation(&request.mounts).map(str::to_owned));
    if let Some(resources) = linux.resources_mut() {
        resources.set_devices(Some(devices::rules(&request.security, host)?));
    }
    if let Some(range) = namespaces::id_range(request, &inputs.place.id)? {
        linux.set_uid_mappings(Some(vec![range])).set_gid_mappings(Some(vec![range]));
    }

    let root = RootBuilder::default().path("rootfs").readonly(request.read_only || request.security.strict);
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(built(root.build())?))
        .set_mounts(Some(mounts::list(inputs)?))
        .set_process(Some(process::process(inputs, capabilities, &mut warnings)?))
        .set_hostname(namespaces::hostname_to_set(inputs).map(str::to_owned))
        .set_domainname(request.domainname.clone())
        .set_annotations(annotations(request))
        .set_linux(Some(linux));
    Ok(Built { spec, warnings })
}

fn annotations(request: &RunRequest) -> Option<HashMap<String, String>> {
    if request.annotations.is_empty() {
        return None;
    }
    Some(request.annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests;
