//! `skiff import`: an image from the tar archive of a root file system.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use skiff_image::{ImageStore, ImportOptions};
use skiff_oci::Reference;
use skiff_store::Store;

use crate::context::Context;
use crate::error::{CliError, Doing as _};
use crate::output;

/// Make an image of a root file system in a tar archive
///
/// The archive may be compressed with gzip, zstd or xz. It is unpacked by strict rules: what two readers could read
/// differently, or what would reach out of the root file system, refuses the whole archive.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skiff import [OPTIONS] FILE|- [NAME[:TAG]]",
    after_help = "Example:\n  debootstrap stable root && tar -C root -c . | skiff import - debian\n  skiff run --rm debian cat /etc/os-release"
)]
pub struct Args {
    /// Configure the image as a line of a Dockerfile does: 'CMD ["sh"]', 'ENV A=1', 'USER 1000' and so on
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Set a comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The machine that the programs are for, such as linux/arm64 [this one]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// The archive; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The name of the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Imports, and prints the id of the image.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let name = args.name.as_deref().map(str::parse::<Reference>).transpose()?;
    let architecture = args.platform.as_deref().map(architecture).transpose()?;
    let options = ImportOptions { changes: args.changes, message: args.message, architecture };
    let input = open(&args.file)?;
    let store = Store::open(&context.root, &context.state)?;
    let image = ImageStore::new(&store)
        .import(input, name.as_ref(), &options)
        .doing(format!("import {}", args.file.display()))?;
    say_what_was_dropped(image.dropped_xattrs);
    output::show(&format!("{}\n", image.id))
}

/// Says that an image has fewer extended attributes than its archive.
pub fn say_what_was_dropped(count: u64) {
    if count > 0 {
        output::aside(&format!(
            "{count} extended attributes were left out: labels of another machine, or more than the disk can hold"
        ));
    }
}

/// The archive `path`, or standard input for `-`.
pub fn open(path: &PathBuf) -> Result<Box<dyn Read + Send>, CliError> {
    if path.as_os_str() != "-" {
        let text = path.to_string_lossy();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(CliError::message("archives are not downloaded")
                .with_hint(format!("try: curl -fL {text} | skiff import - NAME")));
        }
        let file = File::open(path).doing(format!("open {}", path.display()))?;
        return Ok(Box::new(file));
    }
    if io::stdin().is_terminal() {
        return Err(CliError::message("standard input is a terminal, not an archive")
            .with_hint("give a file, or pipe an archive in"));
    }
    Ok(Box::new(io::stdin()))
}

/// The part of `OS/ARCH[/VARIANT]` that the image keeps.
fn architecture(platform: &str) -> Result<String, CliError> {
    let mut parts = platform.split('/');
    match (parts.next(), parts.next()) {
        (Some("linux"), Some(architecture)) if !architecture.is_empty() => Ok(architecture.to_owned()),
        _ => Err(CliError::message(format!("invalid platform {platform:?}"))
            .with_hint("it is written as linux/amd64 or linux/arm64")),
    }
}
