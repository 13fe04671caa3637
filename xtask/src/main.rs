//! Checks of the workspace, and the runner of its tests.
//!
//! `cargo xtask layers` · `cargo xtask tidy [--release BINARY] [--symbols BINARY]` ·
//! `cargo xtask test [--jobs N] [--limit SECONDS] [--only TEXT] [--shard K/N] BINARY…`. `tests/run` calls all of them.

mod layers;
mod run_tests;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask layers
       cargo xtask tidy [--release BINARY] [--symbols BINARY]
       cargo xtask test [--jobs N] [--limit SECONDS] [--only TEXT] [--shard K/N] BINARY...";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match task.as_str() {
        "layers" => layers::check(),
        "tidy" => tidy::Options::parse(&rest).and_then(|options| tidy::check(&options)),
        "test" => run_tests::Options::parse(&rest).and_then(|options| run_tests::run(&options)),
        _ => Err(vec![USAGE.to_owned()]),
    };
    match result {
        Ok(summary) => {
            eprintln!("{summary}");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What a task found: its summary, or every problem as a line.
pub(crate) type Findings = Result<String, Vec<String>>;

/// The value after `flag` in a list of arguments being parsed.
pub(crate) fn value<'a>(
    flag: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<String, Vec<String>> {
    rest.next().cloned().ok_or_else(|| vec![format!("{flag} needs a value"), USAGE.to_owned()])
}
