//! From a plan to a running process: the parent's side.
//!
//! ```text
//! cgroup, sources, rootfs, filter ready ─▶ clone3 ─▶ id maps ─▶ child is in its cgroup ─▶ Go
//! ─▶ terminal, hooks, listener as the child comes to them ─▶ the socket closes ─▶ started, or why not
//! ```
//!
//! Everything that can fail for the host's reasons happens before the clone. After an error nothing is
//! left: the child is killed and waited for, and the cgroup is removed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use skiff_cgroup::{Applied, Cgroup};
use skiff_oci::runtime::LinuxNamespaceType as Kind;
use skiff_sys::Errno;
use skiff_sys::clone::{Cloned, wait_for};
use skiff_sys::report::{Report, now};
use skiff_sys::{fail, ns};

use crate::bundle::{InitProcess, Rootfs};
use crate::child::{Child, Message, State as ChildState, receive, send, send_descriptor};
use crate::hooks::{self, State};
use crate::source::{Owners, Tree};
use crate::step::Step;
use crate::{LaunchError, LaunchPlan, id_maps, init, limits, listener, scheduling, spawn};

/// What the container's stdin, stdout and stderr are.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own. With a terminal in the plan: the container's terminal.
    Inherit,
    /// These.
    Files([OwnedFd; 3]),
}

/// A started container, as its parent holds it.
#[derive(Debug)]
pub struct Init {
    /// The init process, as the caller numbers it.
    pub pid: Pid,
    /// The same, for signals and waiting.
    pub pidfd: OwnedFd,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// What the limits came to on this machine.
    pub applied: Applied,
    /// The other end of its terminal.
    pub terminal: Option<OwnedFd>,
    /// The listener of its seccomp filter, if the configuration names no socket for it.
    pub notify: Option<OwnedFd>,
    /// How long each step took, the parent's and the child's, in their order.
    pub timings: Vec<(String, Duration)>,
}

/// Starts the container.
///
/// # Errors
/// The step that failed; nothing of the container is left then, but for what could not be removed, which
/// the error does not hide: it is the error.
pub fn launch(plan: &mut LaunchPlan, stdio: Stdio) -> Result<Init, LaunchError> {
    let mut launch = Launch::default();
    match launch.run(plan, stdio) {
        Ok(()) => launch.finish(plan),
        Err(error) => Err(launch.undo(error)),
    }
}

/// What has been made so far.
#[derive(Debug, Default)]
struct Launch {
    cgroup: Option<Cgroup>,
    applied: Applied,
    child: Option<(Pid, OwnedFd)>,
    terminal: Option<OwnedFd>,
    notify: Option<OwnedFd>,
    timings: Vec<(String, Duration)>,
    since: Option<u64>,
}

/// What the parent opens for the child.
#[derive(Debug, Default)]
struct Opened {
    rootfs: Option<OwnedFd>,
    trees: Vec<Tree>,
    joined: Vec<OwnedFd>,
    cgroup_files: Vec<OwnedFd>,
    init: Option<init::Binary>,
}

impl Launch {
    fn run(&mut self, plan: &mut LaunchPlan, stdio: Stdio) -> Result<(), LaunchError> {
        self.since = Some(now());
        limits::reset(&asked_limits(&plan.steps))?;
        let opened = self.open(plan)?;
        let report = Report::new().map_err(LaunchError::host("map the report of the child"))?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(LaunchError::host("make the socket to the child"))?;
        let ours = self.clone(plan, &opened, &report, (ours, theirs), stdio)?;
        self.prepare(plan, &opened, ours.as_fd(), &report)?;
        self.accompany(plan, ours.as_fd(), &report)?;
        self.time_child(plan, &report);
        Ok(())
    }

    /// Everything that the child will use, and its cgroup.
    fn open(&mut self, plan: &mut LaunchPlan) -> Result<Opened, LaunchError> {
        let mut opened = Opened::default();
        step("launch.cgroup")?;
        if let Some((layout, path, resources)) = &plan.cgroup {
            let (cgroup, applied) = Cgroup::create(layout, path, resources)?;
            opened.cgroup_files = match cgroup.join_files() {
                Ok(files) => files,
                Err(error) => {
                    self.cgroup = Some(cgroup);
                    return Err(error.into());
                }
            };
            (self.cgroup, self.applied) = (Some(cgroup), applied);
        }
        self.lap("make the cgroup");
        step("launch.sources")?;
        let own_users = plan.namespaces.is_host(Kind::User);
        opened.rootfs = match std::mem::replace(&mut plan.rootfs, Rootfs::Joined) {
            Rootfs::Dir(path) => Some(crate::source::Source::root(path).open(None)?.mount),
            Rootfs::Mount(mount) => Some(mount),
            Rootfs::Overlay(overlay) if own_users => Some(overlay.mount_detached()?),
            other => {
                plan.rootfs = other;
                None
            }
        };
        let rootfs = opened.rootfs.as_ref().map(AsFd::as_fd);
        for source in &plan.sources {
            opened.trees.push(source.open(rootfs)?);
        }
        for (kind, path) in plan.namespaces.joined_by_child() {
            let doing = format!("open the {kind} namespace {}", path.display());
            opened.joined.push(ns::open(path).map_err(LaunchError::host(doing))?);
        }
        if plan.init == InitProcess::Builtin {
            opened.init = Some(init::Binary::open(plan)?);
        }
        scheduling::reset().map_err(LaunchError::host("reset nice value, scheduler and affinity"))?;
        self.lap("open what the container gets");
        Ok(opened)
    }

    fn clone(
        &mut self,
        plan: &LaunchPlan,
        opened: &Opened,
        report: &Report,
        (ours, theirs): (OwnedFd, OwnedFd),
        stdio: Stdio,
    ) -> Result<OwnedFd, LaunchError> {
        step("launch.clone")?;
        let cgroup = self.cgroup.as_ref().map(Cgroup::dir_fd).transpose()?.flatten();
        let stdio = match &stdio {
            Stdio::Inherit => None,
            Stdio::Files([stdin, stdout, stderr]) => Some([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]),
        };
        let child = Child {
            steps: &plan.steps,
            program: &plan.program,
            init: opened.init.as_ref().map(init::Binary::parts),
            filter: plan.filter.as_ref(),
            trees: &opened.trees,
            joined: &opened.joined,
            cgroup_files: &opened.cgroup_files,
            stdio,
            socket: theirs.as_fd(),
            report,
            fail: fail_point(&plan.steps),
            state: ChildState { rootfs: opened.rootfs.as_ref().map(AsFd::as_fd), ..ChildState::default() },
        };
        match spawn::spawn(plan, cgroup.as_ref().map(AsFd::as_fd), report)? {
            Cloned::Child => {
                // With a copy of the parent's end the child would never see the parent go.
                drop(ours);
                child.run()
            }
            Cloned::Parent { pid, pidfd } => self.child = Some((pid, pidfd)),
        }
        self.lap("make the process and its namespaces");
        Ok(ours)
    }

    /// What only the parent may do for the waiting child.
    fn prepare(
        &mut self,
        plan: &mut LaunchPlan,
        opened: &Opened,
        socket: BorrowedFd<'_>,
        report: &Report,
    ) -> Result<(), LaunchError> {
        let Some((pid, _)) = &self.child else { return Ok(()) };
        let pid = *pid;
        step("launch.id-maps")?;
        if let Some(maps) = &plan.id_maps {
            id_maps::write(pid, &maps.uids, &maps.gids)?;
        }
        let users = if plan.namespaces.is_host(Kind::User) {
            None
        } else {
            Some(ns::open_of(pid, ns::Kind::User).map_err(LaunchError::host("open the user namespace"))?)
        };
        map_owners(plan, opened, users.as_ref())?;
        let rootfs = match (std::mem::replace(&mut plan.rootfs, Rootfs::Joined), &users) {
            (Rootfs::Overlay(overlay), Some(users)) => Some(overlay.mount_detached_idmapped(users.as_fd())?),
            _ => None,
        };
        step("launch.oom-score")?;
        if let Some(score) = plan.oom_score_adj {
            let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
            id_maps::write_file(&path, score.to_string().as_bytes())
                .map_err(LaunchError::host(format!("set the oom score to {score}")))?;
        }
        step("launch.enter-cgroup")?;
        self.await_cgroup(plan, pid, socket, report)?;
        step("launch.go")?;
        let go = match &rootfs {
            Some(rootfs) => send_descriptor(socket, Message::Go, rootfs.as_fd()),
            None => send(socket, Message::Go),
        };
        go_on(go)?;
        self.lap("write its id maps, see it in its cgroup");
        Ok(())
    }

    /// Waits until the child says that it is in its cgroup, and proves it, hierarchy by hierarchy (R15).
    fn await_cgroup(
        &self,
        plan: &LaunchPlan,
        pid: Pid,
        socket: BorrowedFd<'_>,
        report: &Report,
    ) -> Result<(), LaunchError> {
        match receive(socket, RecvFlags::empty()).map_err(LaunchError::host("hear from the child"))? {
            Some((Message::Joined, _)) => {}
            _ => return self.outcome(plan, report),
        }
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        if spawn::is_staged(plan) && cgroup.dir_fd()?.is_some() {
            // A process that has joined another user namespace can't clone into a cgroup of the host's.
            cgroup.add(pid)?;
        }
        match cgroup.verify(pid) {
            // A process that has ended is in no cgroup; then its own story is the right one.
            Err(_) if report.failure().is_some() || self.has_ended()? => self.outcome(plan, report),
            verified => Ok(verified?),
        }
    }

    fn has_ended(&self) -> Result<bool, LaunchError> {
        let Some((_, pidfd)) = &self.child else { return Ok(true) };
        let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut waited, Some(&now)).map(|ready| ready > 0).map_err(LaunchError::host("look at the child"))
    }

    /// Serves the child until its socket closes: by execve, or by its end.
    fn accompany(
        &mut self,
        plan: &LaunchPlan,
        socket: BorrowedFd<'_>,
        report: &Report,
    ) -> Result<(), LaunchError> {
        loop {
            match receive(socket, RecvFlags::empty()).map_err(LaunchError::host("hear from the child"))? {
                None => return self.outcome(plan, report),
                Some((Message::Terminal, Some(master))) => self.terminal = Some(master),
                Some((Message::Listener, Some(descriptor))) => self.listener(plan, descriptor)?,
                Some((Message::Hooks, _)) => {
                    self.hooks(plan, report)?;
                    go_on(send(socket, Message::Go))?;
                }
                Some(_) => return Err(LaunchError::host("hear from the child")(Errno::PROTO)),
            }
        }
    }

    fn listener(&mut self, plan: &LaunchPlan, descriptor: OwnedFd) -> Result<(), LaunchError> {
        match (&plan.listener, &self.child) {
            (Some(to), Some((pid, _))) => listener::hand_over(to, plan, *pid, &descriptor),
            _ => {
                self.notify = Some(descriptor);
                Ok(())
            }
        }
    }

    fn hooks(&self, plan: &LaunchPlan, report: &Report) -> Result<(), LaunchError> {
        let (Some(all), Some((pid, pidfd))) = (&plan.hooks, &self.child) else { return Ok(()) };
        let step = usize::try_from(report.step()).ok().and_then(|index| plan.steps.get(index));
        let Some(Step::AwaitHooks(kind)) = step else { return Ok(()) };
        let creating = State::new(plan, "creating", Some(*pid));
        let list = |hooks: &Option<Vec<_>>| hooks.clone().unwrap_or_default();
        match *kind {
            "prestart" => hooks::run(kind, &list(all.prestart()), hooks::Place::Host, &creating),
            "createRuntime" => hooks::run(kind, &list(all.create_runtime()), hooks::Place::Host, &creating),
            "createContainer" => {
                let place = hooks::Place::Mounts(pidfd.as_fd());
                hooks::run(kind, &list(all.create_container()), place, &creating)
            }
            _ => {
                let created = State::new(plan, "created", Some(*pid));
                let place = hooks::Place::Container(pidfd.as_fd());
                hooks::run(kind, &list(all.start_container()), place, &created)
            }
        }
    }

    /// What became of the child whose socket is closed.
    fn outcome(&self, plan: &LaunchPlan, report: &Report) -> Result<(), LaunchError> {
        let index = usize::try_from(report.step()).unwrap_or(usize::MAX);
        let step = plan.steps.get(index);
        if let Some(source) = report.failure() {
            return Err(match step {
                Some(Step::FindProgram | Step::Exec(_)) => {
                    LaunchError::Exec { program: plan.program.name.clone(), source }
                }
                Some(step) => LaunchError::Step { step: step.to_string(), source },
                None => LaunchError::Step { step: "begin".into(), source },
            });
        }
        if matches!(step, Some(Step::Exec(_))) {
            return Ok(());
        }
        let status = match &self.child {
            Some((_, pidfd)) => {
                wait_for(pidfd.as_fd()).map_err(LaunchError::host("wait for the init process"))?
            }
            None => 255,
        };
        let step = step.map_or_else(|| "begin".into(), ToString::to_string);
        Err(LaunchError::Died { step, status })
    }

    fn finish(self, plan: &LaunchPlan) -> Result<Init, LaunchError> {
        let Some((pid, pidfd)) = self.child else {
            return Err(LaunchError::host("find the init process")(Errno::CHILD));
        };
        let init = Init {
            pid,
            pidfd,
            cgroup: self.cgroup,
            applied: self.applied,
            terminal: self.terminal,
            notify: self.notify,
            timings: self.timings,
        };
        if let Some(list) = plan.hooks.as_ref().and_then(|hooks| hooks.poststart().as_ref()) {
            let running = State::new(plan, "running", Some(pid));
            if let Err(error) = hooks::run("poststart", list, hooks::Place::Host, &running) {
                // As runc since 1.2: a container whose poststart hook fails does not run.
                let Init { pidfd, cgroup, applied, .. } = init;
                let launch = Launch { cgroup, applied, child: Some((pid, pidfd)), ..Launch::default() };
                return Err(launch.undo(error));
            }
        }
        Ok(init)
    }

    /// Ends the child and removes the cgroup; `error` is why.
    fn undo(self, error: LaunchError) -> LaunchError {
        let mut error = error;
        if let Some((_, pidfd)) = &self.child {
            match pidfd_send_signal(pidfd, Signal::KILL) {
                // It ended and was waited for already.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    error = LaunchError::host(format!("end the init process after: {error}"))(errno)
                }
            }
            match wait_for(pidfd.as_fd()) {
                Ok(_) | Err(Errno::CHILD) => {}
                Err(errno) => error = LaunchError::host(format!("wait for its end after: {error}"))(errno),
            }
        }
        if let Some(cgroup) = self.cgroup
            && let Err(left) = cgroup.remove()
        {
            return LaunchError::Leftover { error: error.to_string(), source: left };
        }
        error
    }

    fn lap(&mut self, name: &str) {
        let time = now();
        if let Some(since) = self.since.replace(time) {
            self.timings.push((name.to_owned(), Duration::from_nanos(time.saturating_sub(since))));
        }
    }

    fn time_child(&mut self, plan: &LaunchPlan, report: &Report) {
        let end = now();
        for (index, step) in plan.steps.iter().enumerate() {
            let Some(begun) = report.begun(index) else { continue };
            let until = report.begun(index + 1).unwrap_or(end);
            self.timings.push((step.to_string(), Duration::from_nanos(until.saturating_sub(begun))));
        }
    }
}

impl Init {
    /// Removes what is left of the container once its init has ended, and runs its poststop hooks.
    ///
    /// # Errors
    /// The cgroup that could not be removed, or the hook that failed; both are tried in any case.
    pub fn delete(self, plan: &LaunchPlan) -> Result<(), LaunchError> {
        step("launch.delete")?;
        let removed = self.cgroup.map_or(Ok(()), |cgroup| cgroup.remove().map_err(LaunchError::from));
        let hooks = plan.hooks.as_ref().and_then(|hooks| hooks.poststop().as_ref());
        let stopped = State::new(plan, "stopped", None);
        let hooked = hooks.map_or(Ok(()), |list| hooks::run("poststop", list, hooks::Place::Host, &stopped));
        removed.and(hooked)
    }
}

/// The resource limits that the configuration sets itself, with the hard ones.
fn asked_limits(steps: &[Step]) -> Vec<(&'static str, Option<u64>)> {
    let asked = |step: &Step| match step {
        Step::Rlimit { name, limits: (_, hard), .. } => Some((*name, *hard)),
        _ => None,
    };
    steps.iter().filter_map(asked).collect()
}

/// Maps the owners of the sources that ask for it.
fn map_owners(plan: &LaunchPlan, opened: &Opened, users: Option<&OwnedFd>) -> Result<(), LaunchError> {
    for (source, tree) in plan.sources.iter().zip(&opened.trees) {
        let doing = || format!("map the owners of {}", source.what.shown().display());
        match &source.owners {
            Owners::AsOnDisk => {}
            Owners::Container(depth) => {
                // Without a user namespace of the container's the ids are the host's: nothing to map.
                if let Some(users) = users {
                    tree.map_owners(users.as_fd(), *depth).map_err(LaunchError::host(doing()))?;
                }
            }
            Owners::Mapped(depth, uids, gids) => {
                let namespace = id_maps::user_namespace(uids, gids)?;
                tree.map_owners(namespace.as_fd(), *depth).map_err(LaunchError::host(doing()))?;
            }
        }
    }
    Ok(())
}

/// The child's step at which the environment wants something to happen (tests only): named by its slug, or by
/// its number, as the names of some contain the container's id.
fn fail_point(steps: &[Step]) -> Option<(usize, fail::Action)> {
    if !cfg!(feature = "failpoints") {
        return None;
    }
    steps.iter().enumerate().find_map(|(index, step)| {
        fail::action(&format!("child.{}", step.slug()))
            .or_else(|| fail::action(&format!("child.{index}")))
            .map(|action| (index, action))
    })
}

/// Reaches the fail point `name` of the parent.
fn step(name: &'static str) -> Result<(), LaunchError> {
    fail::point(name).map_err(LaunchError::host(name))
}

/// What came of telling the child to go on. A child that is gone is no error here: the report or its status
/// say why.
fn go_on(sent: Result<(), Errno>) -> Result<(), LaunchError> {
    match sent {
        Err(Errno::PIPE) => Ok(()),
        other => other.map_err(LaunchError::host("let the child go on")),
    }
}
