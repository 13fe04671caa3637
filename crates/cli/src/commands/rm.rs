//! `skiff rm`: removes containers.

use std::process::ExitCode;

use skiff_engine::{EngineError, Force};

use super::run::{engine, explained};
use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// Removes containers, by name, id, or the beginning of an id.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill a container that runs
    #[arg(short, long)]
    force: bool,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Removes each of them, and says which; the first error is returned when all were tried.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let engine = engine(context)?;
    let force = if args.force { Force::Kill } else { Force::No };
    let mut removed = String::new();
    let mut failures = Vec::new();
    for name in &args.containers {
        match engine.remove(name, force) {
            Ok(_id) => removed.push_str(&format!("{name}\n")),
            // As Docker: who forces wants it gone, and it is.
            Err(error @ EngineError::NoContainer { .. }) if args.force => output::aside(&error.to_string()),
            Err(error) => failures.push(explained(error).with_code(1)),
        }
    }
    output::show(&removed)?;
    let mut failures = failures.into_iter();
    let Some(last) = failures.next_back() else { return Ok(ExitCode::SUCCESS) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}
