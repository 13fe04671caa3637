//! `skiff run`: a command in a new container, in the foreground.

mod args;
mod environment;
mod mounts;
mod values;
mod wishes;

use std::process::ExitCode;

pub use args::Args;

use crate::context::Context;
use crate::error::CliError;
use wishes::Surroundings;
