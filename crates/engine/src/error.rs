//! What can go wrong between what was meant and its end.

use skiff_sys::Errno;

use crate::explain::Finding;
use crate::spec::RequestError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request contradicts itself or the machine.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The image's name isn't one.
    #[error(transparent)]
    Reference(skiff_oci::ReferenceError),
    /// No such image here.
    #[error("there is no image `{name}` here")]
    NoImage {
        /// What was given.
        name: String,
    },
    /// The images can't be read.
    #[error(transparent)]
    Image(#[from] skiff_image::Error),
    /// The directories of Skiff or of a container.
    #[error(transparent)]
    Store(#[from] skiff_store::Error),
    /// The cgroups of the machine, or the group of a container.
    #[error(transparent)]
    Cgroup(#[from] skiff_cgroup::Error),
    /// The container can't be planned.
    #[error(transparent)]
    Launch(#[from] skiff_runtime::LaunchError),
    /// The container can't be run.
    #[error(transparent)]
    Monitor(#[from] skiff_monitor::MonitorError),
    /// The program can't be executed.
    #[error("run `{program}`: {finding}")]
    Program {
        /// The word of the user.
        program: String,
        /// Why.
        finding: Finding,
        /// Docker's exit code for it.
        exit_code: u8,
    },
    /// A file of the container can't be written.
    #[error("write {name} of the container")]
    File {
        /// Which.
        name: &'static str,
        /// Why.
        source: Errno,
    },
    /// A file of a container can't be looked at.
    #[error("look at {}", path.display())]
    Look {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: Errno,
    },
    /// A record can't be put into words.
    #[error("write {name} of the container")]
    Record {
        /// Which.
        name: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The document of a bundle isn't one.
    #[error("read {}", path.display())]
    Config {
        /// Where it is.
        path: std::path::PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The id for a bundle's container isn't one.
    #[error("invalid container id {id:?}: letters, digits, `_`, `+`, `-` and `.`, at most 128")]
    BundleId {
        /// What was given.
        id: String,
    },
    /// A bundle can't be run in the foreground.
    #[error("{doing}")]
    Foreground {
        /// What was being done.
        doing: &'static str,
        /// Why it went wrong.
        source: Errno,
    },
    /// As many names as there could be are taken.
    #[error("no name is free for the container")]
    NoName,
    /// Something failed, and something of the container could not be removed.
    #[error("{cause}; left behind: {left}")]
    Undo {
        /// What failed.
        cause: Box<EngineError>,
        /// What could not be removed.
        left: Box<EngineError>,
    },
    /// No such container.
    #[error("there is no container `{name}`")]
    NoContainer {
        /// What was given.
        name: String,
    },
    /// More than one container begins with these digits.
    #[error("`{name}` is the beginning of more than one container's id")]
    Ambiguous {
        /// What was given.
        name: String,
    },
    /// It runs, and was not to be killed.
    #[error("the container `{name}` is running")]
    Running {
        /// What was given.
        name: String,
    },
    /// It was killed, and its monitor doesn't let go of it.
    #[error("the container `{name}` was killed, and its monitor doesn't finish")]
    Stuck {
        /// What was given.
        name: String,
    },
}

impl EngineError {
    /// Docker's exit code: 127 for a program that isn't there, 126 for one that can't be executed, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Program { exit_code, .. } => *exit_code,
            Self::Monitor(error) => error.exit_code(),
            Self::Launch(error) => error.exit_code(),
            Self::Undo { cause, .. } => cause.exit_code(),
            _ => 125,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Request(error) => error.hint(),
            Self::Undo { cause, .. } => cause.hint(),
            Self::NoImage { .. } => Some(
                "`skiff images` lists those that are; `host` is always there, and `skiff import` and `skiff load` \
                 bring others"
                    .to_owned(),
            ),
            Self::Program { program, finding, .. } => finding.hint(program),
            Self::Monitor(error) => error.hint().map(str::to_owned),
            Self::Launch(error) => error.hint(),
            Self::Running { name } => Some(format!("`skiff rm -f {name}` kills it first")),
            Self::Look { path, source: Errno::NOENT } if path.ends_with("config.json") => {
                Some("`skiff oci spec` writes one; `--bundle DIR` says where it is".to_owned())
            }
            Self::NoContainer { .. } => Some("`skiff ps -a` lists all of them".to_owned()),
            Self::Store(skiff_store::Error::NameTaken { name, .. }) => {
                Some(format!("`skiff rm {name}` removes that one, if it is no longer needed"))
            }
            _ => None,
        }
    }
}
