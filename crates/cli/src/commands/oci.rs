//! `skiff oci`: bundles of the OCI runtime specification.

use std::path::PathBuf;
use std::process::ExitCode;

use skiff_engine::{BundleRun, run_bundle, template};

use super::run::explained;
use crate::context::Context;
use crate::error::{CliError, Doing as _};

/// Runs OCI bundles, as runc does.
///
/// A bundle is a directory with a root filesystem and a `config.json`. `run` starts its process in the
/// foreground, with the caller's own stdio.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a bundle in the foreground
    Run(RunArgs),
    /// Write a default config.json
    Spec(SpecArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Write the process id of the init to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Unix socket that gets the other end of the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Pass this many descriptors after 2 on to the process
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct SpecArgs {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
}

/// Runs the subcommand.
pub fn run(args: Args, _context: &Context) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Run(args) => {
            let code = run_bundle(&BundleRun {
                id: args.id,
                directory: args.bundle,
                pid_file: args.pid_file,
                console_socket: args.console_socket,
                preserved_fds: args.preserve_fds,
            });
            code.map(ExitCode::from).map_err(explained)
        }
        Command::Spec(args) => write_template(&args.bundle.join("config.json")),
    }
}

/// Writes the document; one that is there already stays.
fn write_template(path: &std::path::Path) -> Result<ExitCode, CliError> {
    let doing = format!("write {}", path.display());
    let file = std::fs::File::create_new(path).doing(&doing)?;
    let mut file = std::io::BufWriter::new(file);
    serde_json::to_writer_pretty(&mut file, &template().map_err(|error| explained(error.into()))?)
        .doing(&doing)?;
    std::io::Write::flush(&mut file).doing(doing)?;
    Ok(ExitCode::SUCCESS)
}
