//! Measures how long a container's whole life takes (start, `/bin/true`, clean-up), for skiff, its peers and the
//! bare kernel work, interleaved in one run, one at a time and 100 at once.
//!
//! ```text
//! cargo build --release -p skiff-cli
//! cargo run -p skiff-bench -- [--rounds N] [--crowds N] [--only NAME,…]
//! ```
//!
//! As root. Peers that aren't installed are named as absent, those that can't do it on this machine with their reason.

mod contenders;
mod report;
mod scene;

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use contenders::Contender;
use scene::Scene;

/// How many start at once in a crowd.
const CROWD: usize = 100;

/// What the measurement found for one contender.
#[derive(Debug)]
struct Samples {
    name: &'static str,
    single: Vec<Duration>,
    crowd: Vec<Duration>,
}

#[derive(Debug)]
struct Options {
    rounds: usize,
    crowds: usize,
    only: Option<Vec<String>>,
}

/// Where the driver runs: in a mount namespace of its own, so that no peer's mount outlives it. A hybrid layout's v2
/// tree is not mounted in there, because crun refuses a hybrid with controllers in both. `/run` is memory, as it is on
/// every machine that was booted by an init system: there everybody keeps what dies with the boot.
const STAGE: &str = "umount /sys/fs/cgroup/unified 2>/dev/null; \
                     mount -t tmpfs tmpfs /run && mkdir /run/skiff-bench && exec \"$@\"";
const ON_STAGE: &str = "SKIFF_BENCH_ON_STAGE";

fn main() -> ExitCode {
    if std::env::var_os(ON_STAGE).is_none() {
        let mut again = Command::new("unshare");
        again
            .args(["--mount", "--propagation", "private", "sh", "-c", STAGE, "sh"])
            .args(std::env::args_os());
        return match again.env(ON_STAGE, "1").status() {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("bench: unshare: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match options().and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { rounds: 40, crowds: 3, only: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse().map_err(|error| format!("{flag} {value}: {error}"));
        match flag.as_str() {
            "--rounds" => options.rounds = number()?,
            "--crowds" => options.crowds = number()?,
            "--only" => options.only = Some(value.split(',').map(str::to_owned).collect()),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<(), String> {
    let scene = Scene::set()?;
    let (mut ready, mut absent) = (Vec::new(), Vec::new());
    for contender in contenders::all(&scene) {
        let wanted = options.only.as_ref().is_none_or(|only| only.iter().any(|name| name == contender.name));
        if contender.name != contenders::FLOOR && !wanted {
            continue;
        }
        match contender.try_once() {
            Ok(()) => ready.push(contender),
            Err(reason) => absent.push((contender.name, reason)),
        }
    }
    let mut samples: Vec<Samples> =
        ready.iter().map(|one| Samples { name: one.name, single: Vec::new(), crowd: Vec::new() }).collect();
    for round in 0..options.rounds {
        for (contender, samples) in ready.iter().zip(&mut samples) {
            samples.single.push(contender.start(round, 1)?);
        }
    }
    for round in 0..options.crowds {
        for (contender, samples) in ready.iter().zip(&mut samples) {
            eprintln!("crowd {} of {}: {}", round + 1, options.crowds, contender.name);
            samples.crowd.push(contender.start(options.rounds + round, CROWD)?);
        }
    }
    report::write(&samples, &absent, options.rounds, options.crowds)
}

impl Contender {
    /// Runs it once with its messages kept: whether it works here, and a warm-up.
    fn try_once(&self) -> Result<(), String> {
        let output =
            self.process("try").stderr(Stdio::piped()).output().map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "not installed".to_owned(),
                _ => error.to_string(),
            })?;
        if output.status.success() {
            return Ok(());
        }
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = messages.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        Err(format!("{}: {}", output.status, last.trim()))
    }

    /// Starts `count` at once; the time until the last is gone.
    fn start(&self, round: usize, count: usize) -> Result<Duration, String> {
        let mut commands: Vec<Command> =
            (0..count).map(|number| self.process(&format!("{round}-{number}"))).collect();
        let started = Instant::now();
        let children: Result<Vec<Child>, _> = commands.iter_mut().map(Command::spawn).collect();
        let mut failed = 0;
        for mut child in children.map_err(|error| format!("{}: {error}", self.name))? {
            let status = child.wait().map_err(|error| format!("{}: {error}", self.name))?;
            failed += usize::from(!status.success());
        }
        let took = started.elapsed();
        if failed > 0 { Err(format!("{}: {failed} of {count} failed", self.name)) } else { Ok(took) }
    }

    fn process(&self, suffix: &str) -> Command {
        let arguments = (self.arguments)(&format!("bench-{}-{suffix}", std::process::id()));
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}
