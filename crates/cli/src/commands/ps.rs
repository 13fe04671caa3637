//! `skiff ps`: lists containers.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use skiff_engine::Summary;

use super::run::{engine, explained};
use crate::commands::units;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Align, Table, one_line};

/// Lists the containers that run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Those that have ended too
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
}

/// Prints the table.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let engine = engine(context)?;
    let mut containers = engine.containers().map_err(explained)?;
    containers.retain(|container| args.all || container.exit.is_none());
    output::show(&text(&args, &containers, now()))
}

/// Records count in nanoseconds.
const SECOND: u64 = 1_000_000_000;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(args: &Args, containers: &[Summary], now: u64) -> String {
    let id = |container: &Summary| match args.no_trunc {
        true => container.id.to_string(),
        false => container.id.short().to_owned(),
    };
    if args.quiet {
        return containers.iter().map(|container| id(container) + "\n").collect();
    }
    let columns = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for container in containers {
        let record = &container.record;
        let command = one_line(record.command.join(" ").as_bytes());
        table.row([
            id(container),
            one_line(record.image.as_bytes()),
            format!("\"{}\"", if args.no_trunc { command } else { shortened(&command) }),
            format!("{} ago", units::span(now.saturating_sub(record.created_at) / SECOND)),
            status(container, now),
            record.name.clone(),
        ]);
    }
    table.render()
}

/// As Docker: twenty characters, the last one a dot-dot-dot.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 20 { text.to_owned() } else { text.chars().take(19).chain(['…']).collect() }
}

fn status(container: &Summary, now: u64) -> String {
    match &container.exit {
        None => format!("Up {}", units::span(now.saturating_sub(container.record.created_at) / SECOND)),
        Some(exit) => {
            let code = exit.exit_code.map_or_else(|| "?".to_owned(), |code| code.to_string());
            format!("Exited ({code}) {} ago", units::span(now.saturating_sub(exit.finished_at) / SECOND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_at_twenty_characters() {
        assert_eq!(shortened("12345678901234567890"), "12345678901234567890");
        assert_eq!(shortened("123456789012345678901"), "1234567890123456789…");
    }
}
