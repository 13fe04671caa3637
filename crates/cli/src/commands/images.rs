//! `skiff images`: what is in the store.

use std::process::ExitCode;

use jiff::Timestamp;
use skiff_image::{ImageStore, Summary, host};
use skiff_oci::Reference;
use skiff_store::Store;

use crate::commands::units;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Align, Table};

/// List images
///
/// The image `host` is built in: it is the root file system of this machine, read-only below a layer that is thrown
/// away. It takes no place and can't be removed.
#[derive(Debug, clap::Args)]
#[command(override_usage = "skiff images [OPTIONS] [NAME[:TAG]]")]
pub struct Args {
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Show the digests of manifests
    #[arg(long)]
    digests: bool,
    /// Only images of this repository, or with this name and tag
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// One line: an image under one of its names.
struct Line<'a> {
    name: Option<&'a Reference>,
    image: &'a Summary,
}

/// Prints the table.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let wanted = args.name.as_deref().map(str::parse::<Reference>).transpose()?;
    let store = Store::open(&context.root, &context.state)?;
    let images = ImageStore::new(&store).list()?;
    let lines: Vec<Line<'_>> =
        images.iter().flat_map(lines_of).filter(|line| fits(line, wanted.as_ref())).collect();
    let id = |image: &Summary| match args.no_trunc {
        true => image.id.to_string(),
        false => image.id.hex().chars().take(12).collect(),
    };
    if args.quiet {
        let mut ids: Vec<String> = lines.iter().map(|line| id(line.image)).collect();
        ids.dedup();
        return output::show(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let mut columns = vec![("REPOSITORY", Align::Left), ("TAG", Align::Left)];
    if args.digests {
        columns.push(("DIGEST", Align::Left));
    }
    columns.extend([("IMAGE ID", Align::Left), ("CREATED", Align::Left), ("SIZE", Align::Left)]);
    let mut table = Table::new(&columns);
    let now = Timestamp::now();
    for line in &lines {
        let mut cells = name_cells(line.name);
        if args.digests {
            cells.push(line.image.manifest.to_string());
        }
        cells.extend([id(line.image), created(line.image, now), units::size(line.image.size)]);
        table.row(cells);
    }
    if wanted.as_ref().is_none_or(host::is_host) {
        let mut cells = vec![host::NAME.to_owned(), "latest".to_owned()];
        cells.extend(std::iter::repeat_n("-".to_owned(), usize::from(args.digests)));
        cells.extend(["built in".to_owned(), "-".to_owned(), "0B".to_owned()]);
        table.row(cells);
    }
    output::show(&table.render())
}

fn lines_of(image: &Summary) -> Vec<Line<'_>> {
    if image.names.is_empty() {
        return vec![Line { name: None, image }];
    }
    image.names.iter().map(|name| Line { name: Some(name), image }).collect()
}

/// Whether a line is of the repository, and has the tag if one was given.
fn fits(line: &Line<'_>, wanted: Option<&Reference>) -> bool {
    match (wanted, line.name) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wanted), Some(name)) => {
            wanted.name() == name.name()
                && wanted.tag().is_none_or(|tag| name.tag() == Some(tag))
                && wanted.digest().is_none_or(|digest| name.digest() == Some(digest))
        }
    }
}

fn name_cells(name: Option<&Reference>) -> Vec<String> {
    let none = || "<none>".to_owned();
    match name {
        Some(name) => vec![name.familiar_name(), name.tag().map_or_else(none, str::to_owned)],
        None => vec![none(), none()],
    }
}

/// When the image was made. Its own words are from outside and may be no time at all.
fn created(image: &Summary, now: Timestamp) -> String {
    match image.created.as_deref().map(str::parse::<Timestamp>) {
        Some(Ok(then)) => units::ago(then, now),
        _ => "N/A".to_owned(),
    }
}
