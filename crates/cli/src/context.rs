//! What every command gets beside its own arguments: where the data is, and what was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::arguments::Globals;

/// Where images, layers and the records of containers live when nothing else is said.
const DEFAULT_ROOT: &str = "/var/lib/skiff";
/// Where that lives which dies with the boot.
const DEFAULT_STATE: &str = "/run/skiff";

/// The surroundings of one invocation. Making it reads the environment, and touches no file.
#[derive(Debug)]
pub struct Context {
    /// `--root`, else `SKIFF_ROOT`, else `/var/lib/skiff`.
    pub root: PathBuf,
    /// `--state`, else `SKIFF_STATE`, else `/run/skiff`.
    pub state: PathBuf,
    /// `--debug`: say what is done, and how long each step took, on stderr.
    pub debug: bool,
    /// The command line, word by word, as it was typed.
    pub argv: Vec<OsString>,
}

impl Context {
    /// The context that the global flags and the environment give.
    pub fn new(globals: &Globals, argv: Vec<OsString>) -> Self {
        Self {
            root: directory(globals.root.as_ref(), "SKIFF_ROOT", DEFAULT_ROOT),
            state: directory(globals.state.as_ref(), "SKIFF_STATE", DEFAULT_STATE),
            debug: globals.debug,
            argv,
        }
    }
}

/// The flag's value, else the variable's unless it is empty, else `default`.
fn directory(flag: Option<&PathBuf>, variable: &str, default: &str) -> PathBuf {
    match flag {
        Some(directory) => directory.clone(),
        None => std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map_or_else(|| PathBuf::from(default), PathBuf::from),
    }
}
