//! The child between `clone3` and `execve`: it walks the list of steps and performs each.
//!
//! It allocates nothing, takes no lock and never unwinds; only system calls on descriptors and strings that
//! were made before the clone. What went wrong it writes to the shared report, which needs no system call,
//! and the parent learns of it when the socket closes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::RecvFlags;
use rustix::process::Signal;
use skiff_sys::clone::{close_all_from, exit_now};
use skiff_sys::fail::Action;
use skiff_sys::ns::Kind;
use skiff_sys::process::{self, ExecStrings};
use skiff_sys::report::Report;
use skiff_sys::{Errno, net};

use crate::limits;
use crate::plan::Program;
use crate::seccomp::Filter;
use crate::source::Tree;
use crate::step::{Step, Survive};

mod attributes;
mod filesystem;
mod message;
mod mounts;
mod terminal;

pub use message::{Message, receive, send, send_descriptor};
pub use mounts::new_filesystem;

/// What the child starts with, all of it made by the parent.
#[derive(Debug)]
pub struct Child<'p> {
    /// The plan's steps.
    pub steps: &'p [Step],
    /// The plan's program.
    pub program: &'p Program,
    /// Skiff's own init and its arguments, where it goes between.
    pub init: Option<(BorrowedFd<'p>, &'p ExecStrings)>,
    /// The compiled filter.
    pub filter: Option<&'p Filter>,
    /// The detached trees, by the index that steps use.
    pub trees: &'p [Tree],
    /// The namespaces to join, by the index that steps use.
    pub joined: &'p [OwnedFd],
    /// The files through which it puts itself into its v1 cgroups.
    pub cgroup_files: &'p [OwnedFd],
    /// What becomes stdin, stdout and stderr.
    pub stdio: Option<[BorrowedFd<'p>; 3]>,
    /// The child's end of the socket to the parent.
    pub socket: BorrowedFd<'p>,
    /// Where it says what it does.
    pub report: &'p Report,
    /// The step at which a test wants something to happen.
    pub fail: Option<(usize, Action)>,
    /// What the steps leave for each other.
    pub state: State<'p>,
}

/// What the steps leave for each other.
#[derive(Debug, Default)]
pub struct State<'p> {
    /// The root filesystem before it is attached, if the parent made it before the clone.
    pub rootfs: Option<BorrowedFd<'p>>,
    /// The same, if the parent sent it later.
    pub sent_rootfs: Option<OwnedFd>,
    /// The root directory of the container, once it is known.
    pub root: Option<OwnedFd>,
    /// The container's own devpts.
    pub devpts: Option<OwnedFd>,
    /// The private procfs through which kernel parameters are written.
    pub procfs: Option<OwnedFd>,
    /// The empty directory that masks others, once it is mounted somewhere.
    pub empty_dir: Option<OwnedFd>,
    /// Which of the program's candidates it is.
    pub candidate: usize,
}

impl Child<'_> {
    /// Performs all steps; ends with the program in this process's place, or with the process.
    pub fn run(mut self) -> ! {
        for (index, step) in self.steps.iter().enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            match step {
                // The filter may be in force: on machines whose vDSO has no clock, the time is a system call.
                Step::Exec(_) => self.report.begin_untimed(number),
                _ => self.report.begin(number),
            }
            let allowed = match self.fail {
                // The first process of a pid namespace is immune to its own SIGKILL.
                Some((at, Action::Kill)) if at == index => exit_now(137),
                Some((at, action)) if at == index => skiff_sys::fail::perform(action),
                _ => Ok(()),
            };
            if let Err(errno) = allowed.and_then(|()| self.perform(step)) {
                self.report.fail(errno);
                exit_now(1);
            }
        }
        exit_now(0)
    }

    fn perform(&mut self, step: &Step) -> Result<(), Errno> {
        match step {
            Step::DieWithParent => die_with_parent(),
            Step::JoinCgroup => self.join_cgroup(),
            Step::AwaitParent => self.await_parent(),
            Step::FillStdio => self.fill_stdio(),
            Step::NewSession => process::new_session(),
            Step::NewKeyring => new_keyring(),
            Step::Join { kind, file } => self.join(*kind, *file),
            Step::Unshare(kind) => skiff_sys::ns::unshare(&[*kind]),
            Step::BecomeRoot => attributes::become_root(),
            Step::CutPropagation => mounts::cut_propagation(),
            Step::AttachRootfs(place) => self.attach_rootfs(place),
            Step::Mount(mount) => self.mount(mount),
            Step::Remount { target, change } => self.remount(target, *change),
            Step::Device(device) => self.device(device),
            Step::Link { path, target } => self.link(path, target),
            Step::Terminal(terminal) => self.terminal(*terminal),
            Step::AwaitHooks(_) => self.await_hooks(),
            Step::CreateWorkdir(path) => self.create_workdir(path),
            Step::ReadOnlyRootfs => self.read_only_rootfs(),
            Step::Pivot => self.pivot(),
            Step::RootPropagation(propagation) => self.root_propagation(*propagation),
            Step::Hostname(name) => rustix::system::sethostname(name.to_bytes()),
            Step::Domainname(name) => rustix::system::setdomainname(name.to_bytes()),
            Step::LoopbackUp => net::loopback_up(),
            Step::Sysctl { path, value } => self.sysctl(path, value),
            Step::Mask(path) => self.mask(path),
            Step::ReadOnlyPath(path) => self.read_only_path(path),
            Step::Rlimit { resource, limits, .. } => attributes::rlimit(*resource, *limits),
            Step::DescriptorLimit => limits::default_descriptors(),
            Step::Scheduler(attr) => process::set_scheduler(attr),
            Step::IoPriority(class, level) => process::set_io_priority(*class, *level),
            Step::MemoryPolicy(mode, nodes) => process::set_memory_policy(*mode, nodes),
            Step::Personality(persona) => process::set_personality(*persona),
            Step::ResetSignals => process::reset_signals(),
            Step::Workdir(path) => filesystem::enter(path),
            Step::BoundingSet(kept) => attributes::keep_bounding(*kept),
            Step::Identity(identity) => attributes::become_user(identity),
            Step::Capabilities(sets) => attributes::set_capabilities(*sets),
            Step::Umask(mask) => {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(*mask));
                Ok(())
            }
            Step::FindProgram => self.find_program(),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Step::CloseDescriptors(first) => self.close_descriptors(*first),
            Step::ParentDeath(Survive::Yes) => rustix::process::set_parent_process_death_signal(None),
            Step::ParentDeath(Survive::No) => die_with_parent(),
            Step::Seccomp => self.install_filter(),
            Step::Exec(_) => Err(self.exec()),
        }
    }

    /// A thread that moves itself needs no grace period of the kernel: microseconds where moving another
    /// process takes milliseconds. On v2 `clone3` has done it already.
    fn join_cgroup(&self) -> Result<(), Errno> {
        for file in self.cgroup_files {
            rustix::io::write(file, skiff_cgroup::Cgroup::JOIN)?;
        }
        send(self.socket, Message::Joined)
    }

    /// Waits for the parent's word. A parent that is gone by now closed its end of the socket; one that
    /// dies later takes this process along, as the death signal is set already.
    fn await_parent(&mut self) -> Result<(), Errno> {
        match receive(self.socket, RecvFlags::empty())? {
            Some((Message::Go, descriptor)) => self.state.sent_rootfs = descriptor,
            _ => return Err(Errno::PIPE),
        }
        match receive(self.socket, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
            Ok(_) => Err(Errno::PIPE),
        }
    }

    fn await_hooks(&self) -> Result<(), Errno> {
        send(self.socket, Message::Hooks)?;
        match receive(self.socket, RecvFlags::empty())? {
            Some((Message::Go, _)) => Ok(()),
            _ => Err(Errno::PIPE),
        }
    }

    fn fill_stdio(&self) -> Result<(), Errno> {
        let Some([stdin, stdout, stderr]) = self.stdio else { return Ok(()) };
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)
    }

    fn join(&self, kind: Kind, file: usize) -> Result<(), Errno> {
        let file = self.joined.get(file).ok_or(Errno::BADF)?;
        skiff_sys::ns::join(file.as_fd(), kind)
    }

    /// Closes what is neither passed on purpose nor needed until exec; the rest goes with exec. What is open
    /// afterwards counts against the limit of descriptors.
    fn close_descriptors(&self, first: u32) -> Result<(), Errno> {
        match self.init {
            None => close_all_from(first, &[self.socket]),
            Some((binary, _)) if binary.as_raw_fd() < self.socket.as_raw_fd() => {
                close_all_from(first, &[binary, self.socket])
            }
            Some((binary, _)) => close_all_from(first, &[self.socket, binary]),
        }
    }

    fn install_filter(&self) -> Result<(), Errno> {
        let filter = self.filter.ok_or(Errno::INVAL)?;
        match skiff_sys::seccomp::install(&filter.program, filter.flags)? {
            // The filter must let sendmsg pass; a profile that asks for notifications but forbids their
            // hand-over can't work (as with runc).
            Some(listener) => send_descriptor(self.socket, Message::Listener, listener.as_fd()),
            None => Ok(()),
        }
    }

    /// Executes the program, or Skiff's init, which then executes it.
    fn exec(&self) -> Errno {
        if let Some((binary, argv)) = self.init {
            return process::fexecve(binary, argv, &self.program.envp);
        }
        match self.program.candidates.get(self.state.candidate) {
            Some(path) => process::execve(path, &self.program.argv, &self.program.envp),
            None => Errno::NOENT,
        }
    }
}

/// The kernel forgets the death signal whenever user, group or capabilities change, so it is asked for
/// again after each of these.
fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// A kernel without keyrings has none to inherit either.
fn new_keyring() -> Result<(), Errno> {
    match process::join_new_session_keyring() {
        Err(Errno::NOSYS) => Ok(()),
        result => result,
    }
}
