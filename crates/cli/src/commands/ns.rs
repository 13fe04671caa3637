//! `skiff ns`: namespaces for people who want to understand them.

mod show;

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CliError;

/// Show who shares which namespaces
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// A table of namespaces against processes: the same letter is the same namespace
    Show(show::Args),
}

/// Runs the subcommand.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Show(args) => show::run(&args, context),
    }
}
