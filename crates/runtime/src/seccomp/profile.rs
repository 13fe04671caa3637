//! Profiles in JSON: Docker's format, of which the OCI runtime spec's is a part.
//!
//! Docker adds conditions to rules (the container's capabilities, the machine, the kernel's age), a map of
//! architectures for all kinds of machines, and `name` for one name. Here they are resolved for one container on
//! this machine; what is left is a profile of the spec.

use serde::Deserialize;
use skiff_oci::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompFilterFlag, LinuxSyscall,
};

use super::Error;
use super::abi::Machine;

/// The version of a kernel, as far as profiles ask for it: `6.18` of `6.18.44-x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl KernelVersion {
    /// That of the running kernel, by `uname(2)`; 0.0 if its text is no version.
    pub fn running() -> Self {
        let uname = rustix::system::uname();
        Self::of_release(&uname.release().to_string_lossy()).unwrap_or(Self { major: 0, minor: 0 })
    }

    fn of_release(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let minor = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Reads the profile in `json` for a container whose bounding set is `capabilities`, on a kernel `kernel`.
///
/// # Errors
/// Where and why it is no profile.
pub fn parse_profile(
    json: &[u8],
    capabilities: &Capabilities,
    kernel: KernelVersion,
) -> Result<LinuxSeccomp, Error> {
    let file: ProfileFile = serde_json::from_slice(json).map_err(Error::Json)?;
    file.resolve(&Container { capabilities, kernel, machine: Machine::NATIVE })
}

/// What the conditions of a profile ask about.
struct Container<'a> {
    capabilities: &'a Capabilities,
    kernel: KernelVersion,
    machine: Machine,
}

/// The file as it is. Unknown fields are left alone, as Docker does: profiles carry comments of many tools.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileFile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMapEntry>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<RuleEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMapEntry {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleEntry {
    /// Docker's older way for a single name.
    name: Option<String>,
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Conditions>,
    excludes: Option<Conditions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditions {
    caps: Option<Vec<Capability>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl ProfileFile {
    fn resolve(self, container: &Container<'_>) -> Result<LinuxSeccomp, Error> {
        let mut rules = Vec::new();
        for (index, entry) in self.syscalls.unwrap_or_default().into_iter().enumerate() {
            let place = || format!("syscalls[{index}]");
            if entry.applies(container, place)? {
                rules.push(entry.into_rule(place)?);
            }
        }
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(self.default_action);
        profile.set_default_errno_ret(self.default_errno_ret);
        profile.set_architectures(architectures(self.architectures, self.arch_map, container.machine)?);
        profile.set_flags(self.flags);
        profile.set_listener_path(self.listener_path);
        profile.set_listener_metadata(self.listener_metadata);
        profile.set_syscalls(Some(rules));
        Ok(profile)
    }
}

/// The list that the profile gives, or its map's line for `machine`.
fn architectures(
    list: Option<Vec<Arch>>,
    map: Option<Vec<ArchMapEntry>>,
    machine: Machine,
) -> Result<Option<Vec<Arch>>, Error> {
    let list = list.filter(|list| !list.is_empty());
    let Some(map) = map.filter(|map| !map.is_empty()) else { return Ok(list) };
    if list.is_some() {
        return Err(Error::TwoFields { place: "profile".to_owned(), fields: ["architectures", "archMap"] });
    }
    let native = match machine {
        Machine::X86_64 => Arch::ScmpArchX86_64,
        Machine::Aarch64 => Arch::ScmpArchAarch64,
    };
    let entry = map.into_iter().find(|entry| entry.architecture == native);
    Ok(entry.map(|entry| {
        let mut list = vec![entry.architecture];
        list.extend(entry.sub_architectures.into_iter().flatten());
        list
    }))
}

impl RuleEntry {
    /// Whether the rule is for this container: all that it includes holds, nothing that it excludes does.
    fn applies(&self, container: &Container<'_>, place: impl Fn() -> String) -> Result<bool, Error> {
        let nothing = Conditions::default();
        let includes = self.includes.as_ref().unwrap_or(&nothing);
        let excludes = self.excludes.as_ref().unwrap_or(&nothing);
        let included_kernel = includes.is_kernel_new_enough(container, || format!("{}.includes", place()))?;
        let excluded_kernel = excludes.is_kernel_new_enough(container, || format!("{}.excludes", place()))?;

        let has = |cap: &Capability| container.capabilities.contains(cap);
        let includes_hold = includes.caps.iter().flatten().all(has)
            && includes.names_machine(container).unwrap_or(true)
            && included_kernel.unwrap_or(true);
        let excludes_hold = excludes.caps.iter().flatten().any(has)
            || excludes.names_machine(container).unwrap_or(false)
            || excluded_kernel.unwrap_or(false);
        Ok(includes_hold && !excludes_hold)
    }

    fn into_rule(self, place: impl Fn() -> String) -> Result<LinuxSyscall, Error> {
        let names = self.names.filter(|names| !names.is_empty());
        let names = match (self.name.filter(|name| !name.is_empty()), names) {
            (Some(_), Some(_)) => {
                return Err(Error::TwoFields { place: place(), fields: ["name", "names"] });
            }
            (Some(name), None) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(Error::NoName { place: place() });
        }
        let mut rule = LinuxSyscall::default();
        rule.set_names(names);
        rule.set_action(self.action);
        rule.set_errno_ret(self.errno_ret);
        rule.set_args(self.args.filter(|args| !args.is_empty()));
        Ok(rule)
    }
}

impl Conditions {
    /// Nothing if no machines are named.
    fn names_machine(&self, container: &Container<'_>) -> Option<bool> {
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        let native = match container.machine {
            Machine::X86_64 => "amd64",
            Machine::Aarch64 => "arm64",
        };
        Some(arches.iter().any(|arch| arch == native))
    }

    /// Nothing if no kernel is named.
    fn is_kernel_new_enough(
        &self,
        container: &Container<'_>,
        place: impl Fn() -> String,
    ) -> Result<Option<bool>, Error> {
        let Some(text) = self.min_kernel.as_ref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let parts =
            text.split_once('.').filter(|parts| !parts.1.contains(|letter: char| !letter.is_ascii_digit()));
        let least = parts.and_then(|_| KernelVersion::of_release(text));
        let least = least.ok_or_else(|| Error::MinKernel { place: place(), text: text.clone() })?;
        Ok(Some(container.kernel >= least))
    }
}

#[cfg(test)]
mod tests;
