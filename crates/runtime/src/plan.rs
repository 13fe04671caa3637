//! From a bundle to the list of everything that a launch does: the plan, as data.
//!
//! Nothing here touches the kernel, so that the plan of any configuration can be tested, printed and
//! compared on any machine. `launch.rs` performs it.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::Resource;
use skiff_cgroup::{CgroupPath, DeviceRule, Layout, Resources};
use skiff_oci::runtime::{
    Hooks, Linux, LinuxIdMapping, LinuxNamespaceType as Kind, LinuxTimeOffset, Process, Spec,
};
use skiff_sys::process::ExecStrings;

use crate::bundle::{Bundle, InitProcess, Options, Orphan, Rootfs};
use crate::cgroup_view::CgroupView;
use crate::devices::{self, Making};
use crate::error::c_string;
use crate::mounts::MountPlan;
use crate::namespaces::{self, Namespaces};
use crate::source::Source;
use crate::step::{Console, Step, Survive, Terminal};
use crate::{LaunchError, identity, numa, seccomp, sysctl};

/// Everything that a launch does, decided.
#[derive(Debug)]
pub struct LaunchPlan {
    /// The container's id.
    pub id: String,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: Rootfs,
    pub(crate) namespaces: Namespaces,
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) time_offsets: HashMap<String, LinuxTimeOffset>,
    pub(crate) cgroup: Option<(Layout, CgroupPath, Resources)>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) sources: Vec<Source>,
    pub(crate) steps: Vec<Step>,
    pub(crate) program: Program,
    pub(crate) filter: Option<seccomp::Filter>,
    pub(crate) listener: Option<Listener>,
    pub(crate) hooks: Option<Hooks>,
    pub(crate) annotations: HashMap<String, String>,
    pub(crate) terminal: bool,
    pub(crate) init: InitProcess,
}

/// The id maps of a new user namespace.
#[derive(Debug, Clone)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<LinuxIdMapping>,
    /// Group ids.
    pub gids: Vec<LinuxIdMapping>,
}

/// The program, ready for exec.
#[derive(Debug)]
pub struct Program {
    /// As the user named it.
    pub name: PathBuf,
    /// Where it may be, in the order in which they are tried.
    pub candidates: Vec<CString>,
    /// Its arguments.
    pub argv: ExecStrings,
    /// Its environment.
    pub envp: ExecStrings,
}

/// Where the notifications of the seccomp filter go (`linux.seccomp.listenerPath`).
#[derive(Debug, Clone)]
pub struct Listener {
    /// The unix socket.
    pub path: PathBuf,
    /// What the socket gets along with the descriptor.
    pub metadata: String,
}

impl LaunchPlan {
    /// Decides everything about the launch of `bundle` on a machine with the cgroups of `layout`.
    ///
    /// # Errors
    /// [`LaunchError::Spec`] for what the configuration can't mean, [`LaunchError::Seccomp`] for a profile
    /// that can't be compiled, [`LaunchError::Cgroup`] for limits that can't hold here.
    pub fn new(bundle: Bundle, options: &Options, layout: Option<&Layout>) -> Result<Self, LaunchError> {
        let Bundle { id, dir, spec, rootfs } = bundle;
        let empty = Linux::default();
        let linux = spec.linux().as_ref().unwrap_or(&empty);
        let process = spec.process().as_ref().ok_or_else(|| LaunchError::spec("process", "missing"))?;
        refuse_unsupported(linux, process)?;
        let namespaces = Namespaces::from_spec(linux)?;
        let cgroup = cgroup(linux, layout)?;
        let filter = linux.seccomp().as_ref().map(seccomp::compile).transpose()?;
        let program = program(process)?;
        let list = StepList { spec: &spec, linux, process, options, namespaces: &namespaces };
        let (steps, sources) = list.all(&dir, &rootfs, cgroup.as_ref(), filter.is_some(), &program)?;
        Ok(Self {
            id_maps: id_maps(linux, &namespaces)?,
            time_offsets: time_offsets(linux, &namespaces)?,
            oom_score_adj: process.oom_score_adj(),
            listener: listener(linux),
            hooks: spec.hooks().clone(),
            annotations: spec.annotations().clone().unwrap_or_default(),
            terminal: process.terminal().unwrap_or(false),
            init: options.init,
            bundle: dir,
            cgroup,
            filter,
            id,
            namespaces,
            program,
            rootfs,
            sources,
            steps,
        })
    }

    /// The names of the steps of the child, in their order.
    pub fn steps(&self) -> impl Iterator<Item = String> {
        self.steps.iter().map(ToString::to_string)
    }

    /// True when the process gets a terminal of its own.
    pub fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// True when the container has its own host name, which a process in it may be allowed to change.
    pub fn has_own_hostname(&self) -> bool {
        !self.namespaces.is_host(Kind::Uts)
    }
}

/// The parts of a configuration that the steps are made from.
struct StepList<'a> {
    spec: &'a Spec,
    linux: &'a Linux,
    process: &'a Process,
    options: &'a Options,
    namespaces: &'a Namespaces,
}

impl StepList<'_> {
    /// All steps in the order that the kernel needs; R7 of the security rules has the reasons.
    fn all(
        &self,
        bundle: &Path,
        rootfs: &Rootfs,
        cgroup: Option<&(Layout, CgroupPath, Resources)>,
        filtered: bool,
        program: &Program,
    ) -> Result<(Vec<Step>, Vec<Source>), LaunchError> {
        let mut plan = MountPlan::default();
        self.beginning(&mut plan.steps);
        let own_mounts = self.namespaces.is_new(Kind::Mount);
        if own_mounts {
            let view = cgroup.map_or(CgroupView::None, |(layout, path, resources)| {
                CgroupView::of(layout, path, resources)
            });
            self.filesystem(&mut plan, bundle, rootfs, &view)?;
        } else if !matches!(rootfs, Rootfs::Joined) {
            return Err(LaunchError::spec(
                "linux.namespaces",
                "a root filesystem needs a mount namespace of its own",
            ));
        }
        let steps = &mut plan.steps;
        self.names(steps)?;
        if own_mounts {
            self.after_pivot(steps)?;
        }
        self.program(steps, filtered, program)?;
        Ok((plan.steps, plan.sources))
    }

    fn beginning(&self, steps: &mut Vec<Step>) {
        steps.extend([Step::DieWithParent, Step::JoinCgroup, Step::AwaitParent]);
        steps.extend([Step::FillStdio, Step::NewSession, Step::NewKeyring]);
        for (file, (kind, _)) in self.namespaces.joined_by_child().enumerate() {
            steps.push(Step::Join { kind: namespaces::kernel(kind), file });
        }
        if self.namespaces.is_new(Kind::Cgroup) {
            steps.push(Step::Unshare(namespaces::kernel(Kind::Cgroup)));
        }
        if !self.namespaces.is_host(Kind::User) {
            steps.push(Step::BecomeRoot);
        }
    }

    /// Mounts, devices, terminal, pivot.
    fn filesystem(
        &self,
        plan: &mut MountPlan,
        bundle: &Path,
        rootfs: &Rootfs,
        view: &CgroupView,
    ) -> Result<(), LaunchError> {
        if matches!(rootfs, Rootfs::Joined) {
            return Err(LaunchError::spec("root", "a new mount namespace needs a root filesystem"));
        }
        // What is made in the container has the mode that it is made with, whatever the caller's umask (R10).
        plan.steps.extend([Step::Umask(0), Step::CutPropagation]);
        plan.steps.push(Step::AttachRootfs(self.place_of(rootfs)?));
        let mounts = self.spec.mounts().as_deref().unwrap_or_default();
        plan.add_all(mounts, bundle, view)?;
        // A /dev that the configuration binds from the host is complete already (as runc: needsSetupDev).
        let own_dev = mounts
            .iter()
            .any(|mount| mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs"));
        if own_dev {
            let making = if self.namespaces.is_host(Kind::User) { Making::Nodes } else { Making::Binds };
            devices::add_all(plan, self.linux.devices().as_deref().unwrap_or_default(), making)?;
        }
        let steps = &mut plan.steps;
        if self.process.terminal().unwrap_or(false) {
            steps.push(self.terminal(if own_dev { Console::Bind } else { Console::Leave }));
        }
        steps.push(Step::CreateWorkdir(self.workdir()?));
        if let Some(hooks) = self.spec.hooks() {
            for (kind, listed) in [
                ("prestart", hooks.prestart()),
                ("createRuntime", hooks.create_runtime()),
                ("createContainer", hooks.create_container()),
            ] {
                if listed.as_ref().is_some_and(|listed| !listed.is_empty()) {
                    steps.push(Step::AwaitHooks(kind));
                }
            }
        }
        if self.spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
            steps.push(Step::ReadOnlyRootfs);
        }
        steps.push(Step::Pivot);
        if let Some(name) = self.linux.rootfs_propagation() {
            steps.push(Step::RootPropagation(propagation(name)?));
        }
        Ok(())
    }

    /// Where the root filesystem waits for the pivot: on top of the old root, the one place that is always
    /// there. But who joins the mount namespace finds himself on top of that, and createContainer hooks are
    /// found in the host's files: for them it is the directory of the bundle, as runc has it.
    fn place_of(&self, rootfs: &Rootfs) -> Result<CString, LaunchError> {
        let hooks = self.spec.hooks().as_ref().and_then(|hooks| hooks.create_container().as_ref());
        match rootfs {
            Rootfs::Dir(path) if hooks.is_some_and(|hooks| !hooks.is_empty()) => {
                c_string("root.path", path.as_os_str().as_bytes())
            }
            _ => Ok(c"/".to_owned()),
        }
    }

    fn terminal(&self, console: Console) -> Step {
        let size =
            self.process.console_size().as_ref().and_then(|size| {
                Some((u16::try_from(size.width()).ok()?, u16::try_from(size.height()).ok()?))
            });
        Step::Terminal(Terminal { size, uid: self.process.user().uid(), console })
    }

    fn workdir(&self) -> Result<CString, LaunchError> {
        let cwd = self.process.cwd();
        if !cwd.is_absolute() {
            return Err(LaunchError::spec("process.cwd", format!("`{}` is not absolute", cwd.display())));
        }
        c_string("process.cwd", cwd.as_os_str().as_bytes())
    }

    /// Host name, network and kernel parameters: what belongs to the other namespaces.
    fn names(&self, steps: &mut Vec<Step>) -> Result<(), LaunchError> {
        let own_name = |field, value: &str| {
            if self.namespaces.is_host(Kind::Uts) {
                return Err(LaunchError::spec(field, "can't be set in the host's UTS namespace"));
            }
            c_string(field, value)
        };
        if let Some(hostname) = self.spec.hostname() {
            steps.push(Step::Hostname(own_name("hostname", hostname)?));
        }
        if let Some(domainname) = self.spec.domainname() {
            steps.push(Step::Domainname(own_name("domainname", domainname)?));
        }
        if self.namespaces.is_new(Kind::Network) {
            steps.push(Step::LoopbackUp);
        }
        let mut sysctls: Vec<_> = self.linux.sysctl().iter().flatten().collect();
        sysctls.sort();
        for (name, value) in sysctls {
            steps.push(sysctl::step(name, value, self.namespaces)?);
        }
        Ok(())
    }

    fn after_pivot(&self, steps: &mut Vec<Step>) -> Result<(), LaunchError> {
        for path in self.linux.masked_paths().iter().flatten() {
            steps.push(Step::Mask(c_string("linux.maskedPaths", path.as_str())?));
        }
        for path in self.linux.readonly_paths().iter().flatten() {
            steps.push(Step::ReadOnlyPath(c_string("linux.readonlyPaths", path.as_str())?));
        }
        Ok(())
    }

    /// From limits to exec. The filter comes last, so that it binds nothing but the program.
    fn program(&self, steps: &mut Vec<Step>, filtered: bool, program: &Program) -> Result<(), LaunchError> {
        let hooks = self.spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
        if hooks.is_some_and(|hooks| !hooks.is_empty()) {
            steps.push(Step::AwaitHooks("startContainer"));
        }
        if !self.namespaces.is_new(Kind::Mount) && self.process.terminal().unwrap_or(false) {
            steps.push(self.terminal(Console::Leave));
        }
        let (descriptors, limits): (Vec<_>, Vec<_>) = identity::rlimits(self.process)?
            .into_iter()
            .partition(|step| matches!(step, Step::Rlimit { resource: Resource::Nofile, .. }));
        steps.extend(limits);
        steps.extend(identity::scheduling(self.process)?);
        if let Some(policy) = self.linux.memory_policy() {
            steps.push(numa::step(policy)?);
        }
        if let Some(personality) = self.linux.personality() {
            steps.push(Step::Personality(identity::personality(personality)?));
        }
        steps.push(Step::ResetSignals);
        let no_new_privileges = self.process.no_new_privileges().unwrap_or(false);
        let kept = if filtered && !no_new_privileges { identity::SYS_ADMIN } else { 0 };
        steps.extend(identity::steps(self.process, kept)?);
        // After the change of user: the directory may be one that root must not enter, on a network
        // filesystem for example, and the user has to have the right to be there.
        steps.push(Step::Workdir(self.workdir()?));
        steps.push(Step::Umask(self.process.user().umask().unwrap_or(0o022)));
        steps.push(Step::FindProgram);
        if no_new_privileges {
            steps.push(Step::NoNewPrivileges);
        }
        // After the last open and before execve: no descriptor of the host may survive into the container
        // (CVE-2024-21626).
        steps.push(Step::CloseDescriptors(self.options.preserved_fds.saturating_add(3)));
        // After the last open: it may be lower than the numbers of what the caller left open.
        steps.push(descriptors.into_iter().next().unwrap_or(Step::DescriptorLimit));
        steps.push(Step::ParentDeath(match self.options.orphan {
            Orphan::Lives => Survive::Yes,
            Orphan::Dies => Survive::No,
        }));
        if filtered {
            steps.push(Step::Seccomp);
        }
        steps.push(Step::Exec(program.name.clone()));
        Ok(())
    }
}

/// What the configuration asks for must hold, or the start fails (R14): nothing of it is passed over.
fn refuse_unsupported(linux: &Linux, process: &Process) -> Result<(), LaunchError> {
    let is_set = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
    let asked = [
        ("process.apparmorProfile", is_set(process.apparmor_profile())),
        ("process.selinuxLabel", is_set(process.selinux_label())),
        ("linux.mountLabel", is_set(linux.mount_label())),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.netDevices", linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
    ];
    match asked.into_iter().find(|(_, is_asked)| *is_asked) {
        Some((field, _)) => Err(LaunchError::spec(field, "is not supported yet, and would not hold")),
        None => Ok(()),
    }
}

fn propagation(name: &str) -> Result<skiff_sys::mount::Propagation, LaunchError> {
    use skiff_sys::mount::Propagation;
    Ok(match name.strip_prefix('r').unwrap_or(name) {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => {
            return Err(LaunchError::spec("linux.rootfsPropagation", format!("`{name}` is no propagation")));
        }
    })
}

fn cgroup(
    linux: &Linux,
    layout: Option<&Layout>,
) -> Result<Option<(Layout, CgroupPath, Resources)>, LaunchError> {
    let (Some(path), Some(layout)) = (linux.cgroups_path(), layout) else { return Ok(None) };
    let text = path
        .to_str()
        .ok_or_else(|| LaunchError::spec("linux.cgroupsPath", "is not UTF-8"))?
        .trim_matches('/');
    let path: CgroupPath =
        text.parse().map_err(|error| LaunchError::spec("linux.cgroupsPath", format!("`{text}`: {error}")))?;
    let mut resources = match linux.resources() {
        Some(resources) => Resources::try_from(resources)?,
        None => Resources::default(),
    };
    if !resources.devices.is_empty() {
        // The default devices are there whatever the configuration says, and so may be used (as runc).
        let missing: Vec<_> =
            DeviceRule::DEFAULTS.into_iter().filter(|rule| !resources.devices.contains(rule)).collect();
        resources.devices.extend(missing);
    }
    Ok(Some((layout.clone(), path, resources)))
}

fn id_maps(linux: &Linux, namespaces: &Namespaces) -> Result<Option<IdMaps>, LaunchError> {
    let maps = (linux.uid_mappings(), linux.gid_mappings());
    match (namespaces.is_new(Kind::User), maps) {
        (true, (Some(uids), Some(gids))) if !uids.is_empty() && !gids.is_empty() => {
            Ok(Some(IdMaps { uids: uids.clone(), gids: gids.clone() }))
        }
        (true, _) => Err(LaunchError::spec("linux.uidMappings", "a user namespace needs both id maps")),
        (false, _) => Ok(None),
    }
}

fn time_offsets(
    linux: &Linux,
    namespaces: &Namespaces,
) -> Result<HashMap<String, LinuxTimeOffset>, LaunchError> {
    let offsets = linux.time_offsets().clone().unwrap_or_default();
    if !offsets.is_empty() && !namespaces.is_new(Kind::Time) {
        return Err(LaunchError::spec("linux.timeOffsets", "needs a time namespace of its own"));
    }
    if let Some(clock) = offsets.keys().find(|clock| *clock != "monotonic" && *clock != "boottime") {
        return Err(LaunchError::spec("linux.timeOffsets", format!("`{clock}` is no clock with an offset")));
    }
    Ok(offsets)
}

fn listener(linux: &Linux) -> Option<Listener> {
    let seccomp = linux.seccomp().as_ref()?;
    let path = seccomp.listener_path().clone()?;
    Some(Listener { path, metadata: seccomp.listener_metadata().clone().unwrap_or_default() })
}

/// The directories that are searched when the environment has no PATH (`execvp(3)`, glibc).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

fn program(process: &Process) -> Result<Program, LaunchError> {
    let args = process.args().as_deref().unwrap_or_default();
    let name = args
        .first()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| LaunchError::spec("process.args", "no program is named"))?;
    let env = process.env().as_deref().unwrap_or_default();
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let candidates = if name.contains('/') {
        vec![c_string("process.args", name.as_str())?]
    } else {
        path.split(':')
            .map(|dir| if dir.is_empty() { "." } else { dir })
            .map(|dir| c_string("process.env", format!("{dir}/{name}")))
            .collect::<Result<_, _>>()?
    };
    let strings = |field, values: &[String]| {
        values
            .iter()
            .map(|value| c_string(field, value.as_str()))
            .collect::<Result<Vec<_>, _>>()
            .map(ExecStrings::new)
    };
    Ok(Program {
        name: PathBuf::from(name),
        candidates,
        argv: strings("process.args", args)?,
        envp: strings("process.env", env)?,
    })
}

#[cfg(test)]
mod tests;
