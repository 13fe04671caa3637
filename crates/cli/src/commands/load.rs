//! `skiff load`: images from an archive that another engine, or Skiff, has saved.

use std::path::PathBuf;
use std::process::ExitCode;

use skiff_image::{ImageStore, Loaded};
use skiff_store::Store;

use crate::commands::import;
use crate::context::Context;
use crate::error::{CliError, Doing as _};
use crate::output;

/// Load images from an archive
///
/// Reads what `docker save`, `podman save` and `skopeo copy … oci-archive:` or `docker-archive:` write, also
/// compressed as a whole with gzip, zstd or xz. Everything is verified against its digest while it is read.
#[derive(Debug, clap::Args)]
#[command(override_usage = "skiff load [OPTIONS]")]
pub struct Args {
    /// The archive [standard input]
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    input: PathBuf,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
}

/// Loads, and prints what.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let input = import::open(&args.input)?;
    let store = Store::open(&context.root, &context.state)?;
    let loaded = ImageStore::new(&store).load(input).doing("load")?;
    import::say_what_was_dropped(loaded.iter().map(|image| image.dropped_xattrs).sum());
    let line = |image: &Loaded| match (args.quiet, image.names.as_slice()) {
        (true, _) => format!("{}\n", image.id),
        (false, []) => format!("Loaded image ID: {}\n", image.id),
        (false, names) => {
            names.iter().map(|name| format!("Loaded image: {}\n", name.familiar())).collect::<String>()
        }
    };
    output::show(&loaded.iter().map(line).collect::<String>())
}
