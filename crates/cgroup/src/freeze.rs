//! Stopping, continuing and killing all processes of a group.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use skiff_sys::Errno;

use crate::cgroup::{Cgroup, procs_of};
use crate::controller::Controller;
use crate::error::Error;
use crate::file::Dir;
use crate::layout::Version;
use crate::wait::Backoff;

/// How long a group gets to come to rest. A process in an uninterruptible sleep freezes when it wakes.
const FREEZE_MS: u64 = 2_000;
/// How long all processes get to die.
const DIE_MS: u64 = 4_000;

/// How processes are stopped.
enum Freezer<'a> {
    /// `freezer.state`.
    V1(&'a Dir),
    /// `cgroup.freeze`.
    V2(&'a Dir),
}

impl Freezer<'_> {
    fn of(group: &Cgroup) -> Result<Freezer<'_>, Error> {
        group
            .dir_of(Controller::Freezer)
            .map(Freezer::V1)
            .or_else(|| group.unified().map(Freezer::V2))
            .ok_or(Error::Missing { limit: "pausing", controller: Controller::Freezer })
    }

    fn dir(&self) -> &Dir {
        match self {
            Self::V1(dir) | Self::V2(dir) => dir,
        }
    }

    fn ask(&self, state: State) -> Result<(), Error> {
        let (file, value) = match self {
            Self::V1(_) => ("freezer.state", state.on_v1()),
            Self::V2(_) => ("cgroup.freeze", state.on_v2()),
        };
        self.dir().write(file, value).map_err(|source| self.dir().refused(file, value, source))
    }

    /// True when it is so, and not only asked for.
    fn is_frozen(&self) -> Result<bool, Error> {
        Ok(match self {
            Self::V1(dir) => dir.read("freezer.state")?.trim_end() == State::Frozen.on_v1(),
            Self::V2(dir) => dir.read("cgroup.events")?.lines().any(|line| line == "frozen 1"),
        })
    }
}

/// What a group is asked for.
#[derive(Clone, Copy)]
enum State {
    Frozen,
    Thawed,
}

impl State {
    const fn on_v1(self) -> &'static str {
        match self {
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    const fn on_v2(self) -> &'static str {
        match self {
            Self::Frozen => "1",
            Self::Thawed => "0",
        }
    }
}

impl Cgroup {
    /// Stops all processes of the group and of the groups below it, and returns when they stand still.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when one doesn't within two seconds; the group is thawed again then.
    pub fn freeze(&self) -> Result<(), Error> {
        let freezer = Freezer::of(self)?;
        let frozen = reach(&freezer);
        if frozen.is_err() {
            // Not left half-frozen. The first error says more than what thawing may add to it.
            drop(freezer.ask(State::Thawed));
        }
        frozen
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn thaw(&self) -> Result<(), Error> {
        Freezer::of(self)?.ask(State::Thawed)
    }

    /// True when the group is frozen, by itself or by an ancestor.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        Freezer::of(self)?.is_frozen()
    }

    /// Kills all processes of the group and of the groups below it, and returns when none is left but zombies.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when one doesn't die within four seconds.
    pub fn kill(&self) -> Result<(), Error> {
        skiff_sys::fail::point("cgroup.kill").map_err(|source| Error::Kill { pid: 0, source })?;
        let mut backoff = Backoff::new(DIE_MS);
        loop {
            let alive = self.kill_once()?;
            if !alive {
                return Ok(());
            }
            if !backoff.pause() {
                return Err(Error::TimedOut {
                    path: self.path().to_string(),
                    what: "die",
                    milliseconds: DIE_MS,
                });
            }
        }
    }

    /// One round; true when there was somebody to kill.
    fn kill_once(&self) -> Result<bool, Error> {
        let whole = self.nodes.iter().all(|node| node.dir.hierarchy().version() == Version::V2);
        if let Some(dir) = self.unified().filter(|_| whole) {
            match dir.write("cgroup.kill", "1") {
                Ok(()) => {
                    let events = dir.read_if_there("cgroup.events")?.unwrap_or_default();
                    return Ok(events.contains("populated 1") && !procs_below(dir)?.is_empty());
                }
                // Before Linux 5.14, or already removed.
                Err(Errno::NOENT) => {}
                Err(source) => return Err(dir.refused("cgroup.kill", "1", source)),
            }
        }
        // Frozen processes neither fork nor exit, so the list is whole and its numbers stay theirs. Where they
        // can't be frozen (dying ones), the rounds go on until the list is empty.
        if let Ok(freezer) = Freezer::of(self) {
            match freezer.ask(State::Frozen) {
                Ok(()) => {
                    let mut backoff = Backoff::new(20);
                    while !freezer.is_frozen()? && backoff.pause() {}
                }
                // Its directory is gone already.
                Err(Error::Write { source: Errno::NOENT, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let killed = self.kill_listed();
        // Those below as well: a signal does not wake what a container has frozen itself.
        thaw_all(self).and(killed)
    }

    /// Sends SIGKILL to every process that is listed in the group or below it.
    fn kill_listed(&self) -> Result<bool, Error> {
        let mut any = false;
        for node in &self.nodes {
            for pid in procs_below(&node.dir)? {
                any |= kill_member(pid, &node.dir)?;
            }
            // Every hierarchy has the same processes, unless one was moved by hand.
            if any {
                break;
            }
        }
        Ok(any)
    }
}

/// Kills `pid` if it is in the group `dir` or below it: the number alone could be a stranger's by now.
fn kill_member(pid: Pid, dir: &Dir) -> Result<bool, Error> {
    let failed = |source| Error::Kill { pid: pid.as_raw_nonzero().get(), source };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(false),
        Err(source) => return Err(failed(source)),
    };
    let text = match crate::file::read_proc(&format!("/proc/{}/cgroup", pid.as_raw_nonzero())) {
        Ok(text) => text,
        Err(Error::Read { source: Errno::NOENT | Errno::SRCH, .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let own = dir.hierarchy().shown_path(dir.below());
    let is_member = crate::membership::path_in(&text, dir.hierarchy())
        .and_then(|found| found.strip_prefix(own.as_str()))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !is_member {
        return Ok(false);
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(true),
        Err(source) => Err(failed(source)),
    }
}

/// The processes in `dir` and in all groups below it.
fn procs_below(dir: &Dir) -> Result<Vec<Pid>, Error> {
    let mut pids = Vec::new();
    let mut groups = vec![dir.clone()];
    while let Some(group) = groups.pop() {
        pids.extend(procs_of(&group)?);
        groups.extend(group.children()?);
    }
    Ok(pids)
}

/// Asks for FROZEN until it is so. A v1 freezer can stay at FREEZING when a process forks or traces at the
/// wrong moment; asking again, now and then after a thaw, gets it through.
fn reach(freezer: &Freezer<'_>) -> Result<(), Error> {
    skiff_sys::fail::point("cgroup.freeze")
        .map_err(|source| freezer.dir().refused("freezer", "FROZEN", source))?;
    let mut backoff = Backoff::new(FREEZE_MS);
    let mut round = 0_u32;
    loop {
        round = round.wrapping_add(1);
        if round.is_multiple_of(16) {
            freezer.ask(State::Thawed)?;
        }
        freezer.ask(State::Frozen)?;
        if freezer.is_frozen()? {
            return Ok(());
        }
        if !backoff.pause() {
            let path = freezer.dir().shown();
            return Err(Error::TimedOut { path, what: "freeze", milliseconds: FREEZE_MS });
        }
    }
}

/// Thaws the group and every group below it: a container can freeze its own.
pub(crate) fn thaw_all(group: &Cgroup) -> Result<(), Error> {
    let Ok(freezer) = Freezer::of(group) else { return Ok(()) };
    let mut groups = vec![freezer.dir().clone()];
    while let Some(dir) = groups.pop() {
        let below = match freezer {
            Freezer::V1(_) => Freezer::V1(&dir),
            Freezer::V2(_) => Freezer::V2(&dir),
        };
        match below.ask(State::Thawed) {
            Ok(()) | Err(Error::Write { source: Errno::NOENT | Errno::NODEV, .. }) => {}
            Err(error) => return Err(error),
        }
        groups.extend(dir.children()?);
    }
    Ok(())
}
