//! What clap refuses, in Skiff's own words: one sentence, and a hint.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::commands::Entry;
use crate::error::CliError;

/// Flags of `docker run` that need what Skiff doesn't have yet; none of them is a slip of the fingers.
const NOT_YET: [&str; 37] = [
    "--add-host",
    "--attach",
    "--detach-keys",
    "--dns",
    "--dns-option",
    "--dns-search",
    "--expose",
    "--gpus",
    "--health-cmd",
    "--health-interval",
    "--health-retries",
    "--health-start-interval",
    "--health-start-period",
    "--health-timeout",
    "--ip",
    "--ip6",
    "--link",
    "--link-local-ip",
    "--log-driver",
    "--log-opt",
    "--mac-address",
    "--network-alias",
    "--no-healthcheck",
    "--platform",
    "--publish",
    "--publish-all",
    "--pull",
    "--quiet",
    "--restart",
    "--runtime",
    "--stop-timeout",
    "--storage-opt",
    "--volume-driver",
    "--volumes-from",
    "-P",
    "-a",
    "-p",
];

/// The error of `command`, or of `skiff` itself, as the user reads it.
pub fn explained(error: &Error, entry: Option<&'static Entry>) -> CliError {
    let mut failure = CliError::message(sentence(error));
    if let Some(entry) = entry {
        failure = failure.doing(entry.name).of_command(entry);
    }
    failure = failure.with_hint(advice(error, entry));
    match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => failure.with_note(usage.to_string().trim_end()),
        _ => failure,
    }
}

fn text(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// What is wrong.
fn sentence(error: &Error) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    // `--cpus <NUMBER>` and `--rm[=<BOOL>]`: the name is enough.
    let flag = argument.split([' ', '[']).next().filter(|flag| !flag.is_empty()).unwrap_or(argument);
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::UnknownArgument, _) if argument.starts_with('-') => format!("unknown flag `{argument}`"),
        (ErrorKind::UnknownArgument, _) => format!("there is no place for `{argument}`"),
        (ErrorKind::InvalidSubcommand, _) => {
            format!("unknown command `{}`", text(error, ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("`{flag}` needs a value"),
        (ErrorKind::InvalidValue, _) => format!("invalid value `{value}` for `{flag}`{}", choice(error)),
        (ErrorKind::ValueValidation, Some(reason)) => {
            format!("invalid value `{value}` for `{flag}`: {reason}")
        }
        _ => rendered(error),
    }
}

/// The values that there are, if they can be counted.
fn choice(error: &Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!(": it is `{}`", values.join("` or `"))
        }
        _ => String::new(),
    }
}

/// Clap's own sentence: the first paragraph of what it would print.
fn rendered(error: &Error) -> String {
    let rendered = error.render().to_string();
    let sentence = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let lines: Vec<&str> = sentence.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    lines.join(" ").replace('\'', "`")
}

/// What the user probably meant, else where to look.
fn advice(error: &Error, entry: Option<&Entry>) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    if entry.is_some_and(|entry| entry.name == "run") && NOT_YET.contains(&argument) {
        return format!("Docker's `{argument}` is still to come; `skiff run --help` lists what there is");
    }
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let suggested = kinds.iter().find_map(|kind| match error.get(*kind) {
        Some(ContextValue::String(text)) => Some(text),
        // From the least to the most alike.
        Some(ContextValue::Strings(texts)) => texts.last(),
        _ => None,
    });
    match (suggested, entry) {
        (Some(text), _) => format!("did you mean `{text}`?"),
        (None, Some(entry)) => format!("`skiff {} --help` lists what it takes", entry.name),
        (None, None) => "`skiff --help` lists the commands".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::arguments::parse;

    /// The sentence for a command line, and its hint.
    fn refused(line: &str) -> (String, String) {
        let words = std::iter::once("skiff").chain(line.split(' ')).map(OsString::from);
        let Err(error) = parse(&words.collect::<Vec<_>>()) else { panic!("`{line}` was taken") };
        (error.sentence(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn each_refusal_is_one_sentence_with_a_hint() {
        for (line, sentence, hint) in [
            ("run --bogus host", "run: unknown flag `--bogus`", "`skiff run --help`"),
            ("run --memry 6m host", "run: unknown flag `--memry`", "did you mean `--memory`?"),
            (
                "run --publish 80 host",
                "run: unknown flag `--publish`",
                "Docker's `--publish` is still to come",
            ),
            ("run --cpus= host", "run: invalid value `` for `--cpus`: a number of processors", "--help"),
            ("run --cpus", "run: `--cpus` needs a value", "--help"),
            ("run -m 10q host", "run: invalid value `10q` for `--memory`: a size is", "--help"),
            ("run --rm=maybe host", "run: invalid value `maybe` for `--rm`: ", "--help"),
            ("load rf.tar", "load: there is no place for `rf.tar`", "`skiff load --help`"),
            ("rnu", "unknown command `rnu`", "`skiff --help` lists the commands"),
            ("ns bogus", "ns: unknown command `bogus`", "`skiff ns --help`"),
            ("run", "run: the following required arguments were not provided: <IMAGE>", "--help"),
        ] {
            let (said, hinted) = refused(line);
            assert!(said.starts_with(sentence), "`{line}`: {said}");
            assert!(hinted.contains(hint), "`{line}`: {hinted}");
        }
    }

    #[test]
    fn the_word_behind_a_flag_is_its_value_as_with_getopt() {
        for (line, sentence) in [
            ("run --cpus -1 host", "run: invalid value `-1` for `--cpus`: "),
            ("run -m -1 host", "run: invalid value `-1` for `--memory`: "),
            ("run --shm-size -5k host", "run: invalid value `-5k` for `--shm-size`: "),
            ("run --blkio-weight x host", "run: invalid value `x` for `--blkio-weight`: a whole number"),
            ("run --oom-score-adj x host", "run: invalid value `x` for `--oom-score-adj`: a whole number"),
            ("run --pids-limit -2 host", "run: invalid value `-2` for `--pids-limit`: a number of processes"),
            ("unshare --setuid abc id", "unshare: invalid value `abc` for `--setuid`: "),
        ] {
            let (said, _) = refused(line);
            assert!(said.starts_with(sentence), "`{line}`: {said}");
        }
    }
}
