//! From the words that were typed to one command and its matches.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args as _, FromArgMatches as _};

use crate::commands::{Entry, GROUPS, find};
use crate::error::CliError;
use crate::refusal;

/// Flags that stand before the command.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// Directory for images, layers and records (env SKIFF_ROOT)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Directory for what dies with the boot (env SKIFF_STATE)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Say what is done and how long each step takes
    #[arg(long, short = 'D')]
    pub debug: bool,
}

/// A command that was found, with its arguments.
pub struct Chosen {
    /// Flags from before the command.
    pub globals: Globals,
    /// The command.
    pub entry: &'static Entry,
    /// What was given to it.
    pub matches: clap::ArgMatches,
}

/// What the command line asks for.
pub enum Parsed {
    /// A command to run.
    Run(Chosen),
    /// Text to print: help or the version.
    Show(String),
}

/// Parses the whole command line.
pub fn parse(argv: &[OsString]) -> Result<Parsed, CliError> {
    let words = prepared(argv);
    if words.len() <= 1 {
        return Ok(Parsed::Show(overview()));
    }
    let matches = match command().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &words),
    };
    let globals = Globals::from_arg_matches(&matches)?;
    match matches.subcommand() {
        Some((name, matches)) => match find(name) {
            Some(entry) => Ok(Parsed::Run(Chosen { globals, entry, matches: matches.clone() })),
            None => Err(CliError::message(format!("unknown command `{name}`"))),
        },
        None => Ok(Parsed::Show(overview())),
    }
}

/// The tree of commands. Only the chosen one gets its flags: building all of them takes longer than most of them run.
fn command() -> clap::Command {
    let skiff = clap::Command::new("skiff")
        .bin_name("skiff")
        .version(concat!(env!("CARGO_PKG_VERSION")))
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .override_help(overview())
        .subcommand_required(false)
        .allow_external_subcommands(false);
    let skiff = Globals::augment_args(skiff).arg(
        clap::Arg::new("version")
            .short('v')
            .long("version")
            .action(clap::ArgAction::Version)
            .help("Print the version"),
    );
    GROUPS.iter().flat_map(|group| group.entries).fold(skiff, |skiff, entry| {
        let command = clap::Command::new(entry.name).about(entry.about);
        let command = (entry.version)(command.disable_help_flag(true).disable_version_flag(true));
        skiff.subcommand(command.defer(entry.augment))
    })
}

/// Where help and version stand among the flags.
const LAST: usize = 1000;

/// The width to which help is wrapped.
const HELP_WIDTH: usize = 100;

/// Adds `--help`, and `-h` unless the command has another meaning for it; all of the help fits together, with the
/// whole text of the command above its flags.
pub fn with_help(command: clap::Command) -> clap::Command {
    let taken = command.get_arguments().any(|argument| argument.get_short() == Some('h'));
    let help = clap::Arg::new("help").long("help").action(clap::ArgAction::HelpShort).display_order(LAST);
    let help = help.help("Print this text");
    let help = if taken { help } else { help.short('h') };
    // Among headings it would belong to the last one.
    let has_headings = command.get_arguments().any(|argument| argument.get_help_heading().is_some());
    let help = if has_headings { help.help_heading("Help") } else { help };
    let command = command.disable_help_flag(true).disable_help_subcommand(true).mut_subcommands(with_help);
    let text = command.get_long_about().or(command.get_about()).map(|text| wrapped(&text.to_string()));
    // As with getopt: the word behind a flag with a value is its value, also if it begins with a dash.
    let command = command.mut_args(|argument| {
        let has_value = !argument.is_positional() && argument.get_action().takes_values();
        if has_value { argument.allow_hyphen_values(true) } else { argument }
    });
    let command = command.arg(help).help_template("Usage: {usage}\n\n{about}\n\n{all-args}{after-help}\n");
    match text {
        Some(text) => command.about(text).long_about(None),
        None => command,
    }
}

/// Adds `-V` and `--version`.
pub fn with_version(command: clap::Command) -> clap::Command {
    let version = clap::Arg::new("version").short('V').long("version").action(clap::ArgAction::Version);
    let name = format!("skiff {}", command.get_name());
    let command = command.display_name(name).version(env!("CARGO_PKG_VERSION"));
    command.arg(version.display_order(LAST).help("Print the version"))
}

/// `text` with its long lines broken between words.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > HELP_WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// The words with `help COMMAND` turned to `COMMAND --help`, and a command's own spelling of options made clap's.
fn prepared(argv: &[OsString]) -> Vec<OsString> {
    let position = command_position(argv);
    let (before, after) = argv.split_at(position.min(argv.len()));
    let mut words = before.to_vec();
    match after.split_first() {
        Some((help, [])) if help == "help" => words.push("--help".into()),
        Some((help, command)) if help == "help" => {
            words.extend_from_slice(command);
            words.push("--help".into());
        }
        Some((name, rest)) => {
            words.push(name.clone());
            match name.to_str().and_then(find) {
                Some(entry) => words.extend((entry.prepare)(rest)),
                None => words.extend_from_slice(rest),
            }
        }
        None => {}
    }
    words
}

/// Where the command stands: behind the global flags and their values.
fn command_position(argv: &[OsString]) -> usize {
    let mut position = 1;
    while let Some(word) = argv.get(position).and_then(|word| word.to_str()) {
        match word {
            "--root" | "--state" => position += 2,
            flag if flag.starts_with('-') => position += 1,
            _ => break,
        }
    }
    position
}

/// Help and version are answers; everything else that clap refuses is an error in Skiff's own words.
fn refused(error: &clap::Error, words: &[OsString]) -> Result<Parsed, CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Ok(Parsed::Show(error.render().to_string()));
        }
        _ => {}
    }
    let entry = words.get(command_position(words)).and_then(|name| name.to_str()).and_then(find);
    Err(refusal::explained(error, entry))
}

/// The help of `skiff` itself: every command on one screen.
fn overview() -> String {
    let mut text = String::from(
        "Usage: skiff [OPTIONS] COMMAND [ARG...]\n\nContainers without a daemon, and the kernel tools that they are made of.\n",
    );
    for group in GROUPS.iter().filter(|group| !group.entries.is_empty()) {
        text.push_str(&format!("\n{}:\n", group.title));
        for entry in group.entries {
            text.push_str(&format!("  {:<10} {}\n", entry.name, entry.about));
        }
    }
    text.push_str(
        "\nOptions:\n  \
         --root DIR       Images, layers and records (env SKIFF_ROOT) [/var/lib/skiff]\n  \
         --state DIR      What dies with the boot (env SKIFF_STATE) [/run/skiff]\n  \
         -D, --debug      Say what is done, and how long each step takes\n  \
         -h, --help       This text; `skiff COMMAND --help` for a command's own\n  \
         -v, --version    The version\n",
    );
    text
}

/// For a command whose words go to clap as they are.
pub fn as_typed(words: &[OsString]) -> Vec<OsString> {
    words.to_vec()
}

/// Gives clap what getopt's optional arguments of short options mean: `-n/run/x` becomes `--net=/run/x`.
///
/// `optional` are the short options whose value may only be attached, with their long names; `valued` those whose
/// value is the rest of the word or the next one. Parsing stops where getopt's `+` does: at the first operand.
pub fn attached_values(words: &[OsString], optional: &[(u8, &str)], valued: &[u8]) -> Vec<OsString> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut prepared = Vec::with_capacity(words.len());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        if !bytes.starts_with(b"-") || bytes == b"-" || bytes == b"--" {
            prepared.push(word.clone());
            break;
        }
        prepared.push(word.clone());
        if bytes.starts_with(b"--") {
            continue;
        }
        for (position, letter) in bytes.iter().enumerate().skip(1) {
            let (cluster, value) = (&bytes[..position], &bytes[position + 1..]);
            if valued.contains(letter) {
                if value.is_empty() {
                    prepared.extend(rest.next().cloned());
                }
                break;
            }
            // `-mu` are two flags: nobody keeps a namespace in a file called `u`.
            let is_path = value.iter().any(|byte| matches!(byte, b'/' | b'.'));
            let long = optional.iter().find(|(short, _)| short == letter).filter(|_known| is_path);
            if let Some((_, long)) = long {
                prepared.pop();
                if cluster.len() > 1 {
                    prepared.push(OsStr::from_bytes(cluster).to_owned());
                }
                prepared.push(OsString::from_vec([b"--", long.as_bytes(), b"=", value].concat()));
                break;
            }
        }
    }
    prepared.extend(rest.cloned());
    prepared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let prepared = attached_values(&words, &[(b'm', "mount"), (b'n', "net")], b"t");
        prepared.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn an_attached_path_becomes_a_long_option() {
        assert_eq!(attached(&["-n/run/x", "sh"]), ["--net=/run/x", "sh"]);
        assert_eq!(attached(&["-mn./x"]), ["--mount=n./x"]);
        assert_eq!(attached(&["-mn"]), ["-mn"]);
    }

    #[test]
    fn values_and_operands_are_left_alone() {
        assert_eq!(attached(&["-t", "-n/x", "-m"]), ["-t", "-n/x", "-m"]);
        assert_eq!(attached(&["-t5", "-n/x"]), ["-t5", "--net=/x"]);
        assert_eq!(attached(&["-m", "ls", "-n/x"]), ["-m", "ls", "-n/x"]);
        assert_eq!(attached(&["--", "-n/x"]), ["--", "-n/x"]);
    }

    #[test]
    fn the_command_is_found_behind_global_flags() {
        let position = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            command_position(&words)
        };
        assert_eq!(position(&["skiff", "run"]), 1);
        assert_eq!(position(&["skiff", "-D", "--root", "run", "--state=x", "lsns"]), 5);
        assert_eq!(position(&["skiff"]), 1);
    }

    #[test]
    fn help_has_every_command_on_one_screen() {
        let text = overview();
        assert!(text.lines().count() <= 50, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn help_is_no_part_of_the_last_group_of_flags() {
        let words = ["skiff", "run", "--help"].map(OsString::from);
        let Ok(Parsed::Show(text)) = parse(&words) else { panic!("no help") };
        assert!(text.trim_end().ends_with("Help:\n      --help  Print this text"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
