//! The process: what is executed, as whom, where, and with which environment.

use rustix::process::Resource;
use skiff_oci::image::Config;
use skiff_oci::runtime::{Capabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, User};
use skiff_runtime::identity::RLIMITS;
use skiff_sys::signal_name;

use super::error::built;
use super::{Inputs, RequestError, capabilities, namespaces};
use crate::facts::HostFacts;
use crate::request::{RunRequest, Security, Ulimit};

/// The search path of an image that has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The process of the `Spec`.
pub(super) fn process(
    inputs: &Inputs<'_>,
    granted: Capabilities,
    warnings: &mut Vec<String>,
) -> Result<Process, RequestError> {
    let Inputs { request, image, identity, host, .. } = *inputs;
    check_labels(&request.security, host)?;
    if let Some(signal) = &request.stop_signal {
        check_signal(signal)?;
    }
    let mut user = User::default();
    user.set_uid(identity.uid).set_gid(identity.gid).set_additional_gids(Some(identity.groups.clone()));
    let mut process = Process::default();
    process
        .set_terminal(Some(request.terminal))
        .set_user(user)
        .set_args(Some(program(request, image)?))
        .set_env(Some(environment(inputs, warnings)?))
        .set_cwd(workdir(request, image)?.into())
        .set_capabilities(Some(capabilities::sets(&granted, identity.uid)))
        .set_rlimits(rlimits(&request.resources.ulimits, host)?)
        .set_no_new_privileges(Some(request.security.no_new_privileges || request.security.strict))
        .set_apparmor_profile(apparmor(&request.security))
        .set_oom_score_adj(Some(oom_score(request, host)?));
    Ok(process)
}

/// The words to execute: Docker's rules for entry point and command.
pub(crate) fn program(request: &RunRequest, image: &Config) -> Result<Vec<String>, RequestError> {
    let stored = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let mut words = match request.entrypoint.as_deref() {
        None => stored(image.entrypoint()),
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
    };
    if request.command.is_empty() && request.entrypoint.is_none() {
        words.extend(stored(image.cmd()));
    } else {
        words.extend(request.command.iter().cloned());
    }
    match words.first().map(String::as_str) {
        None => Err(RequestError::NoCommand { image: request.image.clone() }),
        Some("") => Err(RequestError::EmptyCommand),
        Some(_) => match words.iter().find(|word| word.contains('\0')) {
            Some(_) => Err(RequestError::NulInCommand),
            None => Ok(words),
        },
    }
}

fn workdir(request: &RunRequest, image: &Config) -> Result<String, RequestError> {
    let image_workdir = image.working_dir().as_deref().unwrap_or_default();
    match request.workdir.as_deref() {
        Some(asked) if asked.starts_with('/') => Ok(asked.to_owned()),
        Some(asked) => Err(RequestError::Workdir { path: asked.to_owned() }),
        // What an image says is data (R23): a relative path is meant from its root.
        None => Ok(format!("/{}", image_workdir.trim_start_matches('/'))),
    }
}

/// Engine's variables, then the image's, then the user's; the last word on a name counts.
fn environment(inputs: &Inputs<'_>, warnings: &mut Vec<String>) -> Result<Vec<String>, RequestError> {
    let Inputs { request, image, identity, .. } = *inputs;
    let mut variables = Variables::default();
    variables.set("PATH", PATH);
    variables.set("HOSTNAME", namespaces::hostname(inputs));
    if request.terminal {
        variables.set("TERM", "xterm");
    }
    for entry in image.env().iter().flatten() {
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() && !entry.contains('\0') => variables.set(name, value),
            // R23: it would mean "the value that this has on the host".
            _ => warnings.push(format!("the image's variable {entry:?} is dropped: it isn't NAME=VALUE")),
        }
    }
    for entry in &request.environment {
        if entry.contains('\0') {
            return Err(RequestError::Variable { entry: entry.clone() });
        }
        match entry.split_once('=') {
            Some(("", _)) => return Err(RequestError::Variable { entry: entry.clone() }),
            Some((name, value)) => variables.set(name, value),
            None => variables.remove(entry),
        }
    }
    if variables.get("HOME").is_none_or(str::is_empty) {
        variables.set("HOME", &identity.home);
    }
    Ok(variables.into_entries())
}

/// An environment that keeps the order in which names appeared.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn into_entries(self) -> Vec<String> {
        self.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

fn rlimits(wishes: &[Ulimit], host: &HostFacts) -> Result<Option<Vec<PosixRlimit>>, RequestError> {
    let mut limits: Vec<PosixRlimit> = Vec::new();
    for wish in wishes {
        let (kind, _) = rlimit_named(&wish.name)
            .ok_or_else(|| RequestError::UnknownUlimit { name: wish.name.clone() })?;
        let infinite = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        let (soft, hard) = (infinite(wish.soft), infinite(wish.hard));
        if soft > hard {
            return Err(RequestError::UlimitSoftAboveHard { name: wish.name.clone() });
        }
        let ceiling = host.hard_limits.get(&wish.name).copied().flatten();
        if let Some(ceiling) = ceiling
            && hard > ceiling
            && !host.can_raise_limits
        {
            return Err(RequestError::UlimitAboveHard { name: wish.name.clone(), ceiling });
        }
        limits.retain(|limit| limit.typ() != kind);
        limits.push(built(PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build())?);
    }
    Ok((!limits.is_empty()).then_some(limits))
}

/// The kernel's limit behind Docker's word, for the `Spec` and for the system call.
pub(crate) fn rlimit_named(name: &str) -> Option<(PosixRlimitType, Resource)> {
    RLIMITS.into_iter().find(|(known, ..)| *known == name).map(|(_, kind, resource)| (kind, resource))
}

fn oom_score(request: &RunRequest, host: &HostFacts) -> Result<i32, RequestError> {
    let Some(asked) = request.oom_score_adj else {
        return Ok(0);
    };
    if !(-1000..=1000).contains(&asked) {
        return Err(RequestError::OomScoreRange { asked });
    }
    if asked < host.oom_floor && !host.can_raise_limits {
        return Err(RequestError::OomScoreLowered { asked, floor: host.oom_floor });
    }
    Ok(asked)
}

fn apparmor(security: &Security) -> Option<String> {
    security.apparmor.clone().filter(|profile| profile != "unconfined")
}

/// A confinement that was asked for holds, or the start fails (R14).
fn check_labels(security: &Security, host: &HostFacts) -> Result<(), RequestError> {
    if apparmor(security).is_some() && !host.has_apparmor {
        return Err(RequestError::NoAppArmor);
    }
    if security.labels.iter().any(|label| label != "disable") {
        return Err(RequestError::NoSelinux);
    }
    Ok(())
}

fn check_signal(signal: &str) -> Result<(), RequestError> {
    match signal_name::parse(signal) {
        Some(_number) => Ok(()),
        None => Err(RequestError::UnknownSignal { name: signal.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
