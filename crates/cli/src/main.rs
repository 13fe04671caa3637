//! The `skiff` command: finds out what was asked for, does it, and says how it went.
//!
//! Everything a user reads on stderr as an error is printed here, once; commands return it. A command is one file
//! in `commands/`, and is built (its flags, its help) only when it was chosen: a start takes about a millisecond.

// The doc comments of arguments are help for people: `[64m]` there is a default, not a link.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod arguments;
mod commands;
mod context;
mod error;
mod output;
mod refusal;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use context::Context;
use error::CliError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skiff_sys::process::ExecStrings;
use skiff_sys::{Errno, own_binary};

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if argv.first().is_some_and(|name| name == skiff_runtime::init::NAME) {
        // Process 1 of a container (`--init`): no command line of ours, and nothing but its one duty.
        return ExitCode::from(skiff_runtime::init::main(argv));
    }
    match chosen(argv) {
        Ok(code) => code,
        Err(error) => error.seen_by(rustix::process::geteuid()).report(),
    }
}

/// Parses the command line and runs the command in it.
fn chosen(argv: Vec<OsString>) -> Result<ExitCode, CliError> {
    // The usual place of the command: what it needs of the process is done before the work of parsing, which would
    // be done twice.
    if let Some(entry) = argv.get(1).and_then(|word| word.to_str()).and_then(commands::find) {
        make_ready(entry, &argv)?;
    }
    let parsed = match arguments::parse(&argv)? {
        arguments::Parsed::Run(parsed) => parsed,
        arguments::Parsed::Show(text) => return output::show(&text),
    };
    if parsed.entry.pipe == commands::BrokenPipe::Ends {
        // The Rust runtime ignores SIGPIPE; `skiff lsns | head -1` shall end quietly, as any other tool.
        skiff_sys::signal::set_default(rustix::process::Signal::PIPE.as_raw())?;
    }
    make_ready(parsed.entry, &argv)?;
    let context = Context::new(&parsed.globals, argv);
    (parsed.entry.run)(&parsed.matches, &context).map_err(|error| error.of_command(parsed.entry))
}

/// Makes the process what the command needs it to be; doing it again changes nothing.
fn make_ready(entry: &commands::Entry, argv: &[OsString]) -> Result<(), CliError> {
    if entry.descriptors == commands::Descriptors::All {
        raise_descriptor_limit()?;
    }
    if entry.exposure == commands::Exposure::Inside && !own_binary::is_read_only()? {
        hide_program(argv)?;
    }
    Ok(())
}

/// Allows us as many descriptors as we may have: those that the caller left open can be as many as its limit.
fn raise_descriptor_limit() -> Result<(), CliError> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        // The whole system allows less by now (`fs.nr_open`).
        Err(Errno::PERM) => Ok(()),
        other => Ok(other?),
    }
}

/// Goes on from a read-only clone of the program's mount, before any process of ours is in a container. Without
/// the right to make one there is none that could write to the program either: that takes the same capability.
fn hide_program(argv: &[OsString]) -> Result<(), CliError> {
    let strings = |values: Vec<Vec<u8>>| {
        values.into_iter().filter_map(|value| CString::new(value).ok()).collect::<Vec<_>>()
    };
    let argv = strings(argv.iter().map(|arg| arg.as_bytes().to_vec()).collect());
    let environment =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let (argv, envp) = (ExecStrings::new(argv), ExecStrings::new(strings(environment.collect())));
    match own_binary::execute_read_only(&argv, &envp) {
        Errno::PERM => Ok(()),
        errno => Err(errno.into()),
    }
}
