//! Every step of a launch fails once, and is killed once: there is one clear error, and nothing is left (P1, F05).
//!
//! The steps that the parents take are named in the sources (`fail::point("…")`), those of the child by
//! `skiff --debug run`, which prints each step that it took. So a new step is tried without being listed here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use skiff_e2e::{Command, Output, Skiff, requires};

/// A run that takes most kinds of steps: mounts, devices, limits, names, identity, filter.
const RUN: &[&str] = &[
    "run",
    "--rm",
    "--name",
    "faulty",
    "--hostname",
    "named",
    "--memory",
    "64m",
    "--pids-limit",
    "100",
    "--tmpfs",
    "/scratch",
    "--ulimit",
    "nofile=64:64",
    "--read-only",
    "--user",
    "1000:1000",
    "host",
    "true",
];

/// Longer than any launch takes, in User-Mode Linux too.
const LIMIT: Duration = Duration::from_secs(10);

/// Less than elsewhere, because a broken step would cost it each time.
const PATIENCE: Duration = Duration::from_secs(2);

fn run(skiff: &Skiff) -> Command {
    skiff.command(RUN).time_limit(LIMIT)
}

/// A run in which `step` does `action`; none if the run succeeds, because it doesn't have this step.
fn faulty(skiff: &Skiff, step: &str, action: &str, verdict: &mut Verdict) -> Option<Output> {
    let running = run(skiff).env("SKIFF_FAIL", format!("{step}={action}")).spawn();
    let Some(output) = running.finish_within(LIMIT) else {
        verdict.problems.push(format!("{step}={action}: hangs, with\n    {}", skiff.left().join("\n    ")));
        skiff.clear();
        return None;
    };
    if output.status.success() {
        return None;
    }
    verdict.reached += 1;
    Some(output)
}

/// A step of the child: its fail point, and its name as messages have it, but for the container's id in it.
struct ChildStep {
    point: String,
    name: String,
}

/// The steps of the child, in their order, from those that a run says it took.
fn child_steps(skiff: &Skiff) -> Vec<ChildStep> {
    let mut arguments = vec!["--debug"];
    arguments.extend(RUN);
    let output = skiff.run(arguments).success();
    let names: Vec<&str> = output
        .stderr()
        .lines()
        .filter_map(|line| line.split_once("µs  "))
        .map(|(_, name)| name.trim())
        .skip_while(|name| *name != "tie the process to its parent")
        .take_while(|name| *name != "in all")
        // The last one is not timed: it may be behind the filter.
        .chain(["exec true"])
        .collect();
    assert!(names.len() > 60, "`--debug` names the steps of a launch, not only {names:?}");
    let numbered = names.iter().enumerate();
    numbered
        .map(|(index, name)| ChildStep { point: format!("child.{index}"), name: without_ids(name) })
        .collect()
}

/// `text` with every run of twelve or more hexadecimal digits, which is an id, as `ID`.
fn without_ids(text: &str) -> String {
    let mut shown = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_hexdigit() {
            word.push(letter);
            continue;
        }
        shown.push_str(if word.len() >= 12 { "ID" } else { &word });
        word.clear();
        shown.push(letter);
    }
    shown.trim_end_matches('\0').to_owned()
}

/// The fail points of the parents, from the sources.
fn parent_steps() -> Vec<String> {
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"), &mut found);
    assert!(found.len() > 20, "the sources have more fail points than {found:?}");
    found.into_iter().collect()
}

fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("read the sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("read a source file");
            for call in ["point(\"", "step(\""] {
                let names = text.split(call).skip(1).filter_map(|rest| Some(rest.split_once("\")")?.0));
                found.extend(names.filter(|name| is_fail_point(name)).map(str::to_owned));
            }
        }
    }
}

/// `area.step-name`, and not the example of a comment or another function of that name.
fn is_fail_point(name: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    name != "area.step-name"
        && name.split_once('.').is_some_and(|(area, step)| is_word(area) && is_word(step))
}

/// The problems of all cases, so that one bad step doesn't hide the others.
#[derive(Debug, Default)]
struct Verdict {
    reached: usize,
    problems: Vec<String>,
}

impl Verdict {
    /// One sentence that starts with the program's name, and no panic. A program that couldn't be executed has
    /// the exit code 126.
    fn is_one_clear_error(&mut self, output: &Output, case: &str) {
        // That something stays behind for the next command is told beside the error.
        let said = output.stderr().lines().filter(|line| line.starts_with("skiff: "));
        let errors = said.filter(|line| !line.starts_with("skiff: left behind")).count();
        let code = output.status.code();
        if !matches!(code, Some(125 | 126)) || errors != 1 || output.stderr().contains("panicked") {
            self.problems.push(format!(
                "{case}: not one clear error: {:?}, {}",
                output.status,
                output.stderr().trim()
            ));
        }
    }

    /// Nothing is left, and the next run works.
    fn as_never_started(&mut self, skiff: &Skiff, case: &str) {
        let left = skiff.left();
        let next = run(skiff).output();
        if !next.status.success() {
            self.problems.push(format!("{case}: the next run fails: {}", next.stderr().trim()));
        }
        if !left.is_empty() {
            self.problems.push(format!("{case}: there is left\n    {}", left.join("\n    ")));
        }
        if !left.is_empty() || !next.status.success() {
            skiff.clear();
        }
    }

    #[track_caller]
    fn pronounce(self, least: usize) {
        let Self { reached, problems } = self;
        assert!(problems.is_empty(), "{} problems:\n  {}", problems.len(), problems.join("\n  "));
        assert!(
            reached >= least,
            "only {reached} fail points were reached: is this a build with fail points?"
        );
    }
}

#[test]
fn f05_each_step_of_the_child_fails_by_name_and_leaves_nothing() {
    requires!(Root, Memory, Pids);
    let skiff = Skiff::with_patience(PATIENCE);
    let mut verdict = Verdict::default();
    for step in child_steps(&skiff) {
        let Some(output) = faulty(&skiff, &step.point, "err:EIO", &mut verdict) else {
            verdict.problems.push(format!("an error in `{}` went unnoticed", step.name));
            continue;
        };
        let case = format!("an error in `{}`", step.name);
        verdict.is_one_clear_error(&output, &case);
        // A program that isn't found is one that couldn't be executed, for the user.
        let wanted = if step.name == "find the program" { "exec true" } else { &step.name };
        let is_named = without_ids(output.stderr()).contains(wanted);
        if !is_named || !output.stderr().contains("Input/output error") {
            verdict
                .problems
                .push(format!("{case}: the message names neither step nor cause: {}", output.stderr()));
        }
        verdict.as_never_started(&skiff, &case);
    }
    verdict.pronounce(60);
}

#[test]
fn f05_a_child_killed_at_any_step_is_an_error_that_leaves_nothing() {
    requires!(Root, Memory, Pids);
    let skiff = Skiff::with_patience(PATIENCE);
    let mut verdict = Verdict::default();
    for step in child_steps(&skiff) {
        let Some(output) = faulty(&skiff, &step.point, "kill", &mut verdict) else {
            verdict.problems.push(format!("a kill at `{}` went unnoticed", step.name));
            continue;
        };
        let case = format!("a kill at `{}`", step.name);
        // Nobody can tell a death in `execve` from one of the program itself.
        if step.name != "exec true" || output.status.code() != Some(128 + 9) {
            verdict.is_one_clear_error(&output, &case);
        }
        verdict.as_never_started(&skiff, &case);
    }
    verdict.pronounce(60);
}

#[test]
fn p1_each_step_of_the_parents_fails_and_leaves_nothing() {
    requires!(Root, Memory, Pids);
    let skiff = Skiff::with_patience(PATIENCE);
    let mut verdict = Verdict::default();
    for step in parent_steps() {
        let Some(output) = faulty(&skiff, &step, "err:ENOSPC", &mut verdict) else { continue };
        let case = format!("an error in {step}");
        verdict.is_one_clear_error(&output, &case);
        after_the_next_command(&skiff, &case, &mut verdict);
    }
    verdict.pronounce(10);
}

#[test]
fn p1_a_parent_killed_at_any_step_is_as_never_started_after_the_next_command() {
    requires!(Root, Memory, Pids);
    let skiff = Skiff::with_patience(PATIENCE);
    let mut verdict = Verdict::default();
    for step in parent_steps() {
        let Some(output) = faulty(&skiff, &step, "kill", &mut verdict) else { continue };
        let case = format!("a kill at {step}");
        if output.status.signal().is_none() {
            verdict.is_one_clear_error(&output, &case);
        }
        after_the_next_command(&skiff, &case, &mut verdict);
    }
    verdict.pronounce(10);
}

/// What a parent couldn't clean up any more is swept by whoever comes next.
fn after_the_next_command(skiff: &Skiff, case: &str, verdict: &mut Verdict) {
    let next = run(skiff).output();
    if !next.status.success() {
        verdict.problems.push(format!("{case}: the sweeping run fails: {}", next.stderr().trim()));
    }
    verdict.as_never_started(skiff, case);
}

#[test]
fn what_cannot_be_swept_stops_no_other_command() {
    requires!(Root);
    let skiff = Skiff::new();
    skiff.run(["ps"]).success();
    let crashed = skiff.state().join("containers").join("a".repeat(64));
    fs::create_dir_all(&crashed).expect("what a crash left");
    let other = run(&skiff).env("SKIFF_FAIL", "store.remove-state=err:EBUSY").output();
    // Its own directory can't be removed either, which is said and is no failure of the program.
    assert!(other.success().stderr().contains("left behind by a crash"), "the message");
    assert!(crashed.exists());
    skiff.run(["ps"]).success().stderr_is("");
    assert!(!crashed.exists());
}
