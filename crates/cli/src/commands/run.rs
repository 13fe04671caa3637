//! `skiff run`: a command in a new container, in the foreground.

mod args;
mod environment;
mod mounts;
mod values;
mod wishes;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use skiff_engine::{Engine, EngineError, Roots, SignalProxy};

pub use args::Args;

use crate::context::Context;
use crate::error::{CliError, Doing as _};
use crate::output;
use wishes::Surroundings;

/// Runs the command in a new container and returns its exit code.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let signals = if args.container.sig_proxy { SignalProxy::On } else { SignalProxy::Off };
    let cidfile = args.container.cidfile.clone();
    let request = wishes::request(
        args,
        &Surroundings {
            variable: &|name| std::env::var(name).ok(),
            // A directory that was removed has no name, but nothing relative may be looked for elsewhere then.
            directory: std::env::current_dir().unwrap_or_else(|_| Path::new("/proc/self/cwd").to_path_buf()),
            read: &|path| std::fs::read(path),
        },
    )?;
    let argv: Vec<String> = context.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let engine = engine(context)?;
    let id_file = cidfile.map(|path| IdFile::create(&path)).transpose()?;
    let prepared = match engine.prepare(&request, &argv, signals) {
        Ok(prepared) => prepared,
        Err(error) => return Err(id_file.map_or(Ok(()), IdFile::remove).err().unwrap_or(explained(error))),
    };
    for warning in &prepared.warnings {
        output::aside(warning);
    }
    if let Some(file) = id_file
        && let Err(error) = file.write(&prepared.id)
    {
        prepared.discard().map_err(explained)?;
        return Err(error);
    }
    let timings = prepared.timings.clone();
    let status = prepared.run().map_err(explained)?;
    if context.debug {
        show_timings(timings.iter().chain(&status.timings));
    }
    // What could not be limited is known only when the cgroup is made, in the monitor.
    for warning in &status.warnings {
        output::aside(warning);
    }
    for left in &status.left {
        output::aside(&format!("left behind: {left}"));
    }
    Ok(ExitCode::from(status.code()))
}

/// The engine whose data is where `context` says.
pub(super) fn engine(context: &Context) -> Result<Engine, CliError> {
    let roots = Roots { root: context.root.clone(), state: context.state.clone() };
    let mut engine = Engine::open(&roots).map_err(explained)?;
    for error in engine.take_unswept() {
        output::aside(&format!("left behind by a crash: {}", CliError::from(error).sentence()));
    }
    Ok(engine)
}

/// An error of the engine with its exit code and hint.
pub(super) fn explained(error: EngineError) -> CliError {
    let (code, hint) = (error.exit_code(), error.hint());
    let error = CliError::from(error).with_code(code);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The file of `--cidfile`, made before the container is.
struct IdFile {
    path: PathBuf,
    file: File,
}

impl IdFile {
    /// As Docker: a file that is there already belongs to another container.
    fn create(path: &Path) -> Result<Self, CliError> {
        let file = File::create_new(path).doing(format!("make `--cidfile {}`", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(mut self, id: &str) -> Result<(), CliError> {
        self.file.write_all(id.as_bytes()).doing(format!("write `--cidfile {}`", self.path.display()))
    }

    /// An empty file would be in the way of the next attempt.
    fn remove(self) -> Result<(), CliError> {
        std::fs::remove_file(&self.path).doing(format!("remove `--cidfile {}`", self.path.display()))
    }
}

fn show_timings<'a>(timings: impl Iterator<Item = &'a (String, Duration)>) {
    let mut total = Duration::ZERO;
    for (step, duration) in timings {
        total += *duration;
        output::aside(&format!("{:>8.1} µs  {step}", duration.as_secs_f64() * 1e6));
    }
    output::aside(&format!("{:>8.1} µs  in all", total.as_secs_f64() * 1e6));
}
