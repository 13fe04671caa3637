//! Runs test binaries, each test in a process and a process group of its own, under a time limit.
//!
//! A process per test, because tests change their namespaces, signal masks and working directory, and `clone3`
//! wants a single-threaded process. Not nextest, because this must also run inside User-Mode Linux and on a fresh
//! machine, as one static program. Every test that a binary lists is run or counted as ignored; a binary that can't be listed fails.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::{Findings, value};

/// What to run, and how.
#[derive(Debug)]
pub struct Options {
    jobs: usize,
    limit: Duration,
    only: Option<String>,
    /// Run only every `.1`th test, beginning with the `.0`th: a part of the suite for one of several machines.
    shard: (usize, usize),
    binaries: Vec<String>,
}

impl Options {
    /// Reads the command line.
    pub fn parse(arguments: &[String]) -> Result<Self, Vec<String>> {
        let limit = Duration::from_secs(120);
        let mut options = Self { jobs: 1, limit, only: None, shard: (0, 1), binaries: Vec::new() };
        let mut rest = arguments.iter();
        let number = |text: String| text.parse::<u32>().map_err(|error| vec![format!("{text}: {error}")]);
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--jobs" => options.jobs = number(value("--jobs", &mut rest)?)?.max(1) as usize,
                "--limit" => {
                    options.limit = Duration::from_secs(number(value("--limit", &mut rest)?)?.into())
                }
                "--only" => options.only = Some(value("--only", &mut rest)?),
                "--shard" => options.shard = shard(&value("--shard", &mut rest)?)?,
                flag if flag.starts_with('-') => return Err(vec![format!("unknown flag {flag}")]),
                binary => options.binaries.push(binary.to_owned()),
            }
        }
        if options.binaries.is_empty() {
            Err(vec!["test: no binaries given".to_owned()])
        } else {
            Ok(options)
        }
    }
}

/// `2/3` is the second of three.
fn shard(text: &str) -> Result<(usize, usize), Vec<String>> {
    let parsed =
        text.split_once('/').and_then(|(part, of)| Some((part.parse::<usize>().ok()?, of.parse().ok()?)));
    match parsed {
        Some((part, of)) if (1..=of).contains(&part) => Ok((part - 1, of)),
        _ => Err(vec![format!("--shard {text}: a part and the number of parts, such as 1/2")]),
    }
}

/// One test of one binary.
#[derive(Debug)]
struct Test {
    binary: String,
    name: String,
}

/// How a test went.
#[derive(Debug)]
struct Outcome {
    test: Test,
    problem: Option<String>,
    output: Vec<u8>,
    took: Duration,
}

/// Runs them all; the summary line is the last that is printed, whatever happened.
pub fn run(options: &Options) -> Findings {
    let started = Instant::now();
    let (mut queue, mut ignored) = (VecDeque::new(), 0);
    for binary in &options.binaries {
        let skipped = list(binary, true)?;
        ignored += skipped.len();
        let skipped: Vec<String> = skipped.into_iter().map(|test| test.name).collect();
        queue.extend(list(binary, false)?.into_iter().filter(|test| !skipped.contains(&test.name)));
    }
    queue.retain(|test| options.only.as_ref().is_none_or(|only| test.name.contains(only)));
    let (part, of) = options.shard;
    let mut index = 0;
    queue.retain(|_| {
        index += 1;
        (index - 1) % of == part
    });
    let total = queue.len();
    let queue = Mutex::new(queue);
    let outcomes = Mutex::new(Vec::with_capacity(total));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(test) = next(&queue) {
                    let outcome = run_one(test, options.limit);
                    report(&outcome);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_default();
    summarise(&outcomes, total, ignored, started.elapsed())
}

fn next(queue: &Mutex<VecDeque<Test>>) -> Option<Test> {
    queue.lock().ok()?.pop_front()
}

/// The tests that a binary has, or only those that it ignores.
fn list(binary: &str, ignored: bool) -> Result<Vec<Test>, Vec<String>> {
    let mut command = Command::new(binary);
    command.args(["--list", "--format", "terse"]);
    if ignored {
        command.arg("--ignored");
    }
    let output = command.output().map_err(|error| vec![format!("run {binary}: {error}")])?;
    if !output.status.success() {
        return Err(vec![format!("{binary} --list: {}", output.status)]);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(|name| Test { binary: binary.to_owned(), name: name.to_owned() }).collect())
}

fn run_one(test: Test, limit: Duration) -> Outcome {
    let started = Instant::now();
    let (problem, output) = match start(&test) {
        Ok((child, reader)) => watch(child, reader, started + limit),
        Err(error) => (Some(format!("couldn't be started: {error}")), Vec::new()),
    };
    Outcome { test, problem, output, took: started.elapsed() }
}

fn start(test: &Test) -> std::io::Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(&test.binary);
    command.args(["--exact", &test.name, "--nocapture", "--test-threads", "1"]);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    Ok((command.spawn()?, reader))
}

/// Takes the output until the test exits; kills its process group when the time is over.
fn watch(mut child: Child, mut reader: PipeReader, deadline: Instant) -> (Option<String>, Vec<u8>) {
    let mut output = Vec::new();
    let ended = wait(&child, &mut reader, &mut output, deadline);
    let in_time = match ended {
        Ok(in_time) => in_time,
        Err(errno) => return (Some(format!("couldn't be watched: {errno}")), output),
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (false, Some(group)) = (in_time, group)
        && let Err(errno) = kill_process_group(group, Signal::KILL)
    {
        output.extend(format!("\nkill the test: {errno}").into_bytes());
    }
    let problem = match child.wait() {
        Ok(_) if !in_time => Some("killed: out of time".to_owned()),
        Ok(status) => failure(status, &output),
        Err(error) => Some(format!("couldn't be waited for: {error}")),
    };
    (problem, output)
}

/// Whether the test exits before the deadline. What it left running may hold the pipe: that isn't waited for.
fn wait(
    child: &Child,
    reader: &mut PipeReader,
    output: &mut Vec<u8>,
    deadline: Instant,
) -> rustix::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).map_err(|_| rustix::io::Errno::INVAL)?;
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        if open {
            fds.push(PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&time)) {
            Ok(0) => return Ok(false),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        let exited = !fds[0].revents().is_empty();
        let readable = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if readable {
            // Output first: all that the test wrote is in the pipe before its exit is seen.
            let mut buffer = [0; 65536];
            let n = reader.read(&mut buffer).map_err(|_| rustix::io::Errno::IO)?;
            output.extend_from_slice(&buffer[..n]);
            open = n > 0;
        } else if exited {
            return Ok(true);
        }
    }
}

/// Exit status 0 isn't enough: the name must have matched exactly one test.
fn failure(status: ExitStatus, output: &[u8]) -> Option<String> {
    if let Some(signal) = status.signal() {
        return Some(format!("died of signal {signal}"));
    }
    if !status.success() {
        return Some(format!("failed ({status})"));
    }
    let ran_one = String::from_utf8_lossy(output).contains("test result: ok. 1 passed");
    (!ran_one).then(|| "exited with 0 without having run".to_owned())
}

fn report(outcome: &Outcome) {
    let word = if outcome.problem.is_none() { "ok  " } else { "FAIL" };
    let problem = outcome.problem.as_deref().map(|problem| format!(": {problem}")).unwrap_or_default();
    eprintln!("{word} {:>7.2}s {}{problem}", outcome.took.as_secs_f64(), outcome.test.name);
    if outcome.problem.is_some() {
        // At once, because the whole run may yet be killed.
        let lines = String::from_utf8_lossy(&outcome.output).trim().replace('\n', "\n     | ");
        eprintln!("     | {lines}");
    }
}

fn summarise(outcomes: &[Outcome], total: usize, ignored: usize, took: Duration) -> Findings {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.problem.is_some()).collect();
    for outcome in &failed {
        eprintln!("failed: {}: {}", outcome.test.name, outcome.problem.as_deref().unwrap_or_default());
    }
    let lost = total - outcomes.len();
    let passed = outcomes.len() - failed.len();
    let mut line =
        format!("tests: {passed} passed, {} failed in {:.1} s", failed.len() + lost, took.as_secs_f64());
    if ignored > 0 {
        line.push_str(&format!(", {ignored} ignored"));
    }
    if failed.is_empty() && lost == 0 && total > 0 { Ok(line) } else { Err(vec![line]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_did_not_run_is_not_passed() {
        let ok = ExitStatus::from_raw(0);
        assert_eq!(failure(ok, b"test result: ok. 1 passed; 0 failed"), None);
        assert!(failure(ok, b"test result: ok. 0 passed; 0 failed").is_some());
        assert!(failure(ExitStatus::from_raw(101 << 8), b"").is_some());
        assert!(failure(ExitStatus::from_raw(9), b"").is_some_and(|text| text.contains("signal 9")));
    }

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!((shard("1/2"), shard("2/2")), (Ok((0, 2)), Ok((1, 2))));
        assert!(shard("0/2").is_err() && shard("3/2").is_err() && shard("1").is_err());
    }

    #[test]
    fn no_tests_at_all_is_a_failure() {
        assert!(summarise(&[], 0, 0, Duration::ZERO).is_err());
    }
}
