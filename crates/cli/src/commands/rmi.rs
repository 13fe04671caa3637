//! `skiff rmi`: takes names and images away.

use std::process::ExitCode;
use std::time::Duration;

use skiff_image::{Error, Force, ImageStore, Removed};
use skiff_store::{Patience, Store};

use crate::context::Context;
use crate::error::{CliError, Doing as _};
use crate::output;

/// Remove images
///
/// An image that has other names only loses the one that is given. Layers that other images or containers need
/// stay.
#[derive(Debug, clap::Args)]
#[command(override_usage = "skiff rmi [OPTIONS] IMAGE...")]
pub struct Args {
    /// Remove the image although a container was made of it, or although it has several names
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// How long a wait is silent.
const SILENCE: Duration = Duration::from_secs(2);

/// Removes all that can be removed, and fails with the first error.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let store = Store::open(&context.root, &context.state)?;
    let images = ImageStore::new(&store);
    let force = if args.force { Force::Yes } else { Force::No };
    let mut failed: Option<CliError> = None;
    for name in &args.images {
        match remove(&images, name, force) {
            Ok(removed) => {
                output::show(&lines(&removed))?;
            }
            Err(error) => match &failed {
                None => failed = Some(error),
                Some(_) => output::aside(&error.sentence()),
            },
        }
    }
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => Err(error),
    }
}

/// Waits for whoever is adding to the store, and says so when that takes long.
fn remove(images: &ImageStore<'_>, name: &str, force: Force) -> Result<Removed, CliError> {
    let doing = || format!("remove {name}");
    match images.remove(name, force, Patience::For(SILENCE)) {
        Err(Error::Store(locked @ skiff_store::Error::Locked { .. })) => {
            output::aside(&format!("waiting: {locked}"));
            images.remove(name, force, Patience::Forever).doing(doing())
        }
        // It names the image itself.
        Err(error @ Error::NotFound(_)) => {
            Err(CliError::from(error).with_hint("`skiff images` lists those that are here"))
        }
        Err(error @ Error::InUse { .. }) => {
            Err(CliError::from(error).with_hint("remove what uses it, or add `--force`"))
        }
        other => other.doing(doing()),
    }
}

fn lines(removed: &Removed) -> String {
    let untagged = removed.untagged.iter().map(|name| format!("Untagged: {}\n", name.familiar()));
    let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}\n"));
    let layers = removed.layers.iter().map(|id| format!("Deleted: {id}\n"));
    untagged.chain(deleted).chain(layers).collect()
}
