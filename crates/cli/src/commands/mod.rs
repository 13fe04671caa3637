//! The commands, each in the file of its name.
//!
//! A command is `pub struct Args` (`clap::Args`; its doc comment is the long help) and
//! `pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError>`. To add one: its file, its `mod` line,
//! and one `entry!` line in the group where a user would look for it.

mod cgroup;
mod chroot;
mod containers;
mod images;
mod import;
mod load;
mod lsns;
mod namespaces;
mod ns;
mod nsenter;
mod oci;
mod process;
mod program;
mod ps;
mod rm;
mod rmi;
mod run;
mod units;
mod unshare;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::arguments::{as_typed, with_help, with_version};
use crate::context::Context;
use crate::error::{CliError, ENGINE_FAILED};

/// A command as the frame knows it.
#[derive(Debug)]
pub struct Entry {
    /// What is typed.
    pub name: &'static str,
    /// One line for `skiff --help`.
    pub about: &'static str,
    /// Adds the flags and the help; called only when the command was chosen.
    pub augment: fn(clap::Command) -> clap::Command,
    /// Adds `-V`, for tools that have it elsewhere.
    pub version: fn(clap::Command) -> clap::Command,
    /// Makes clap's spelling out of the command's own, where those differ.
    pub prepare: fn(&[OsString]) -> Vec<OsString>,
    /// Runs it.
    pub run: fn(&clap::ArgMatches, &Context) -> Result<ExitCode, CliError>,
    /// The exit code of failures that have no code of their own.
    pub failure: u8,
    /// What happens when the reader of stdout goes away.
    pub pipe: BrokenPipe,
    /// Whether processes of ours can be seen from inside of a container.
    pub exposure: Exposure,
    /// How many descriptors it may open.
    pub descriptors: Descriptors,
}

/// The limit of descriptors that a command has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptors {
    /// The caller's: the programs that it starts inherit it.
    Callers,
    /// All that the caller may allow itself: the programs that it starts have a limit of their own.
    All,
}

/// Whether a command has processes that others than the caller can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// None.
    Outside,
    /// Some are in a container's namespaces for a while, so the program must not be writable through them.
    Inside,
}

/// What a write to a pipe without a reader does to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenPipe {
    /// It ends, silently (SIGPIPE).
    Ends,
    /// The write fails with EPIPE, and the command deals with it.
    Fails,
}

/// Commands that are shown together.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The commands, in the order they are shown.
    pub entries: &'static [Entry],
}

impl Entry {
    const fn failing_with(mut self, code: u8) -> Self {
        self.failure = code;
        self
    }

    /// For the tools that have `-V` elsewhere.
    const fn with_version_flag(mut self) -> Self {
        self.version = with_version;
        self
    }

    const fn prepared_by(mut self, prepare: fn(&[OsString]) -> Vec<OsString>) -> Self {
        self.prepare = prepare;
        self
    }

    const fn seen_from_inside(mut self) -> Self {
        self.exposure = Exposure::Inside;
        self
    }

    const fn starting_containers(mut self) -> Self {
        self.exposure = Exposure::Inside;
        self.descriptors = Descriptors::All;
        self
    }

    const fn seeing_broken_pipes(mut self) -> Self {
        self.pipe = BrokenPipe::Fails;
        self
    }
}

/// The entry of the command in module `$module`.
macro_rules! entry {
    ($name:literal, $module:ident, $about:literal) => {
        Entry {
            name: $name,
            about: $about,
            augment: |command| with_help(<$module::Args as clap::Args>::augment_args(command)),
            version: |command| command,
            prepare: as_typed,
            run: |matches, context| {
                $module::run(<$module::Args as clap::FromArgMatches>::from_arg_matches(matches)?, context)
            },
            failure: ENGINE_FAILED,
            pipe: BrokenPipe::Ends,
            exposure: Exposure::Outside,
            descriptors: Descriptors::Callers,
        }
    };
}

/// Every command, in groups.
pub static GROUPS: &[Group] = &[
    Group {
        title: "Containers",
        entries: &[
            entry!("run", run, "Run a command in a new container")
                .seeing_broken_pipes()
                .starting_containers(),
            entry!("ps", ps, "List containers"),
            entry!("rm", rm, "Remove containers").failing_with(1),
            entry!("oci", oci, "Run OCI bundles, as runc does").seeing_broken_pipes().starting_containers(),
        ],
    },
    Group {
        title: "Images",
        entries: &[
            entry!("images", images, "List images"),
            entry!("import", import, "Make an image of a root file system in a tar archive"),
            entry!("load", load, "Load images from an archive"),
            entry!("rmi", rmi, "Remove images").failing_with(1),
        ],
    },
    Group {
        title: "What containers are made of",
        entries: &[
            entry!("unshare", unshare, "Run a program with namespaces of its own")
                .failing_with(1)
                .with_version_flag(),
            entry!("nsenter", nsenter, "Run a program in the namespaces of another process")
                .seen_from_inside()
                .failing_with(1)
                .with_version_flag()
                .prepared_by(nsenter::prepare),
            entry!("chroot", chroot, "Run a program with another root directory"),
            entry!("lsns", lsns, "List namespaces")
                .failing_with(1)
                .with_version_flag()
                .prepared_by(lsns::prepare),
            entry!("cgroup", cgroup, "Limit and count what groups of processes use"),
            entry!("ns", ns, "Show who shares which namespaces").failing_with(1),
        ],
    },
];

/// The command that is called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    let called = |entry: &&Entry| entry.name == name;
    GROUPS.iter().flat_map(|group| group.entries).find(called)
}
