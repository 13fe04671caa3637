//! From a request to a container that is ready to start: the straight line of `run`.
//!
//! Each step has a name and a duration. When one fails, everything that was made is removed again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use skiff_cgroup::{CgroupPath, Layout};
use skiff_image::{Image, ImageKind, ImageStore};
use skiff_monitor::{Custody, ExitStatus, Fate, MonitorError, SignalProxy, Stdin};
use skiff_oci::Reference;
use skiff_oci::image::Config;
use skiff_oci::runtime::Spec;
use skiff_runtime::{Bundle, InitProcess, LaunchPlan, Options, Rootfs};
use skiff_store::{Container, Overlay, Store};

use crate::engine::discard;
use crate::explain::{Finding, Search, View, explain};
use crate::facts::{self, HostFacts};
use crate::record::{self, Record};
use crate::request::{MountRequest, RunRequest, Sharing};
use crate::spec::{self, Hidden, Inputs, Place, cgroup_path, user_sharing};
use crate::user::{Identity, identify, identify_by_number};
use crate::{Engine, EngineError, etc};

/// A container that is ready to start.
#[derive(Debug)]
pub struct Prepared {
    /// Its id.
    pub id: String,
    /// What the user should know before.
    pub warnings: Vec<String>,
    /// How long each step took so far.
    pub timings: Vec<(String, Duration)>,
    monitor: skiff_monitor::Request,
    program: Program,
}

/// What is needed to say why a program could not be executed.
#[derive(Debug)]
struct Program {
    name: String,
    path: String,
    workdir: PathBuf,
    layers: Vec<PathBuf>,
    mounts: Vec<MountRequest>,
}

/// Docker's exit code for a program that isn't there.
const NOT_FOUND: u8 = 127;

/// Measures steps.
#[derive(Debug)]
struct Clock {
    last: Instant,
    timings: Vec<(String, Duration)>,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), timings: Vec::new() }
    }

    fn lap(&mut self, step: &str) {
        let now = Instant::now();
        self.timings.push((step.to_owned(), now - self.last));
        self.last = now;
    }
}

impl Engine {
    /// Makes everything for the container that `request` asks for; `argv` is what was typed, for the records.
    ///
    /// # Errors
    /// When the request can't be met; nothing of the container is left then.
    pub fn prepare(
        self,
        request: &RunRequest,
        argv: &[String],
        signals: SignalProxy,
    ) -> Result<Prepared, EngineError> {
        let mut clock = Clock::start();
        let image = self.image(&request.image)?;
        clock.lap("find the image");
        let host = facts::gather(request)?;
        let hidden = self.hidden(&image);
        let layout = Layout::detect()?;
        clock.lap("look at the machine");
        let container = self.store.create_container()?;
        let mut making = Making {
            store: &self.store,
            container: &container,
            request,
            image: &image,
            hidden: &hidden,
            host: &host,
            clock,
        };
        match making.furnish(argv, &layout) {
            Ok(furnished) => {
                let timings = making.clock.timings;
                let fate = match request.remove {
                    true => Fate::Removed { name: Some(furnished.name) },
                    false => Fate::Kept { record: record::EXIT.to_owned() },
                };
                let id = container.id().to_string();
                let monitor = skiff_monitor::Request {
                    plan: furnished.plan,
                    stdin: if request.interactive { Stdin::Open } else { Stdin::Empty },
                    signals,
                    cgroup: Some(furnished.cgroup),
                    custody: Some(Custody { store: self.store, container, fate }),
                };
                Ok(Prepared {
                    id,
                    warnings: furnished.warnings,
                    timings,
                    monitor,
                    program: furnished.program,
                })
            }
            Err(cause) => Err(match discard(&self.store, container) {
                Ok(()) => cause,
                Err(left) => EngineError::Undo { cause: Box::new(cause), left: Box::new(left) },
            }),
        }
    }

    fn image(&self, name: &str) -> Result<Image, EngineError> {
        if let Some(image) = ImageStore::new(&self.store).find(name)? {
            return Ok(image);
        }
        match name.parse::<Reference>() {
            Ok(_) => Err(EngineError::NoImage { name: name.to_owned() }),
            Err(source) => Err(EngineError::Reference(source)),
        }
    }

    /// What the image `host` keeps from its containers, as far as it may be there.
    fn hidden(&self, image: &Image) -> Hidden {
        match image.kind {
            ImageKind::Stored => Hidden::default(),
            ImageKind::Host => {
                let paths = skiff_image::host::masked_paths(&self.store).into_iter();
                let there = paths.filter(|path| may_be_in_root_filesystem(path));
                let paths = there.filter_map(|path| path.to_str().map(str::to_owned)).collect();
                Hidden { paths, private: skiff_image::host::PRIVATE }
            }
        }
    }
}

/// Whether the root filesystem may have something at `path`: it has what is seen there, and below another
/// filesystem's mount point what the mount hides from us and not from the overlay.
fn may_be_in_root_filesystem(path: &Path) -> bool {
    let found = path.ancestors().find_map(|place| Some((place, rustix::fs::stat(place).ok()?.st_dev)));
    let root = rustix::fs::stat("/").map(|root| root.st_dev);
    found.is_some_and(|(place, device)| place == path || root != Ok(device))
}

/// A container whose directories were just made.
struct Making<'a> {
    store: &'a Store,
    container: &'a Container,
    request: &'a RunRequest,
    image: &'a Image,
    hidden: &'a Hidden,
    host: &'a HostFacts,
    clock: Clock,
}

/// A container with all its files.
struct Furnished {
    name: String,
    plan: LaunchPlan,
    cgroup: CgroupPath,
    warnings: Vec<String>,
    program: Program,
}

impl Making<'_> {
    /// Everything between the directories and the launch.
    fn furnish(&mut self, argv: &[String], layout: &Layout) -> Result<Furnished, EngineError> {
        self.image.hold(self.store, self.container)?;
        // What is made anew for each start lives where everything dies with the boot.
        let place =
            Place { id: self.container.id().to_string(), directory: self.container.state().path().clone() };
        let cgroup = cgroup_path(self.request.cgroup_parent.as_deref(), &place)?;
        let name = self.claim_name()?;
        let config = self.image.config.config().clone().unwrap_or_default();
        let record = Record {
            name: name.clone(),
            image: self.request.image.clone(),
            command: spec::program(self.request, &config)?,
            created_at: record::now(),
            cgroup: cgroup.to_string(),
        };
        // A container that is removed at its end doesn't outlive the boot, and nor need its records: on most
        // machines that is memory, where making a file costs a tenth.
        let records = if self.request.remove { self.container.state() } else { self.container.data() };
        record::write(records, record::STATE, &record)?;
        record::write(records, record::ARGV, &argv)?;
        record::write(records, record::REQUEST, self.request)?;
        self.clock.lap("write down what was meant");

        let (rootfs, identity) = self.rootfs(&config)?;
        self.clock.lap("make the root filesystem");
        let inputs = Inputs {
            request: self.request,
            image: &config,
            hidden: self.hidden,
            identity: &identity,
            host: self.host,
            place: &place,
        };
        let spec::Built { spec, warnings } = spec::build(&inputs)?;
        record::write(records, record::CONFIG, &spec)?;
        etc::write(self.container.state(), &inputs)?;
        self.clock.lap("build the configuration");

        let program = self.program(&spec, &record);
        let init = if self.request.init { InitProcess::Builtin } else { InitProcess::Program };
        let dir = self.container.data().path().clone();
        let bundle = Bundle { id: place.id, dir, spec, rootfs };
        let plan = LaunchPlan::new(bundle, &Options { init, ..Options::default() }, Some(layout))?;
        self.clock.lap("plan the launch");
        Ok(Furnished { name, plan, cgroup, warnings, program })
    }

    /// The user's name, or the first generated one that is free.
    fn claim_name(&self) -> Result<String, EngineError> {
        let id = self.container.id();
        if let Some(name) = &self.request.name {
            self.store.claim_name(name, id)?;
            return Ok(name.clone());
        }
        let mut taken = None;
        for name in record::name_candidates(id.as_str()) {
            match self.store.claim_name(&name, id) {
                Ok(()) => return Ok(name),
                Err(error @ skiff_store::Error::NameTaken { .. }) => taken = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(taken.map_or(EngineError::NoName, EngineError::Store))
    }

    /// The root filesystem, and who the process is in it.
    fn rootfs(&self, config: &Config) -> Result<(Rootfs, Identity), EngineError> {
        let user = self.request.user.as_deref().or(config.user().as_deref()).unwrap_or_default();
        let groups = &self.request.groups;
        if self.request.namespaces.mount != Sharing::Private {
            return Ok((Rootfs::Joined, identify_by_number(user, groups)?));
        }
        let overlay = self.container.create_overlay(self.image.layers.clone())?;
        if user_sharing(self.request) == Sharing::Host {
            use std::os::fd::AsFd as _;
            let mount = overlay.mount_detached()?;
            let identity = identify(mount.as_fd(), user, groups)?;
            return Ok((Rootfs::Mount(mount), identity));
        }
        // The runtime mounts it when the id maps are there; until then we look into it through another one, as
        // one upper layer can't be in two mounts.
        let identity = self.look_up(&overlay, user)?;
        self.give_to_users_of_namespace("upper")?;
        Ok((Rootfs::Overlay(overlay), identity))
    }

    /// The owner of a directory of ours becomes the same user of the container's user namespace.
    fn give_to_users_of_namespace(&self, name: &str) -> Result<(), EngineError> {
        let data = self.container.data();
        let failed = |source| EngineError::File { name: "the owner of the root", source };
        let Some(range) = spec::id_range(self.request, self.container.id().as_str())? else { return Ok(()) };
        let stat = rustix::fs::statat(data.fd(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        // What the namespace has no number for stays nobody's.
        let mapped = |id: u32| (id < range.size()).then(|| range.host_id() + id);
        let (owner, group) = (mapped(stat.st_uid).map(Uid::from_raw), mapped(stat.st_gid).map(Gid::from_raw));
        rustix::fs::chownat(data.fd(), name, owner, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        // Changing the owner cleared bits of the mode.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(data.fd(), name, mode, AtFlags::empty()).map_err(failed)
    }

    fn look_up(&self, overlay: &Overlay, user: &str) -> Result<Identity, EngineError> {
        use std::os::fd::AsFd as _;
        let data = self.container.data();
        let (upper, work) = (data.path().join("lookup"), data.path().join("lookup-work"));
        for name in ["lookup", "lookup-work"] {
            rustix::fs::mkdirat(data.fd(), name, Mode::RWXU)
                .map_err(|source| EngineError::File { name: "the view of the image", source })?;
        }
        let view = Overlay { lowers: overlay.lowers.clone(), upper, work }.mount_detached()?;
        Ok(identify(view.as_fd(), user, &self.request.groups)?)
    }

    fn program(&self, spec: &Spec, record: &Record) -> Program {
        let process = spec.process().as_ref();
        let environment = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH="));
        Program {
            name: record.command.first().cloned().unwrap_or_default(),
            path: path.unwrap_or_default().to_owned(),
            workdir: process.map(|process| process.cwd().clone()).unwrap_or_default(),
            layers: self.image.layers.clone(),
            mounts: self.request.mounts.clone(),
        }
    }
}

impl Prepared {
    /// Removes everything again, for a caller that can't go on.
    ///
    /// # Errors
    /// When something can't be removed; the next command tries it again.
    pub fn discard(self) -> Result<(), EngineError> {
        match self.monitor.custody {
            Some(Custody { store, container, .. }) => discard(&store, container),
            None => Ok(()),
        }
    }

    /// Runs the container in the foreground.
    ///
    /// # Errors
    /// When it can't be started; nothing of it is left then.
    pub fn run(self) -> Result<ExitStatus, EngineError> {
        skiff_monitor::run(self.monitor).map_err(|error| match error {
            MonitorError::Launch(failure) if failure.exit_code != 125 => self.program.explained(failure),
            other => other.into(),
        })
    }
}

impl Program {
    /// The kernel's error, in the words of what is in the image.
    fn explained(&self, failure: skiff_monitor::Failure) -> EngineError {
        let search = Search { program: &self.name, workdir: &self.workdir, path: &self.path };
        match explain(&search, &View::open(&self.layers, &self.mounts)) {
            // The kernel saw it, behind a link or a mount that we don't see through.
            Some(Finding::Missing | Finding::NotInPath { .. }) if failure.exit_code != NOT_FOUND => {
                MonitorError::Launch(failure).into()
            }
            Some(finding) => {
                EngineError::Program { program: self.name.clone(), finding, exit_code: failure.exit_code }
            }
            None => MonitorError::Launch(failure).into(),
        }
    }
}
