//! `skiff ns show`: a table of namespaces against processes.
//!
//! Each kind of namespace has a row, each process a column. In a row, the same namespace has the same letter and
//! colour, beginning with A for the host's. Below it stands in words who shares what with whom.

use std::collections::BTreeMap;
use std::process::ExitCode;

use rustix::process::Pid;
use skiff_sys::ns::{self, Inode, Kind};
use skiff_sys::procfs;

use crate::commands::containers::Containers;
use crate::commands::namespaces::{command_of, namespaces_of};
use crate::commands::process::ProcessName;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Align, Palette, Table};

/// A name for the process that was there first.
const HOST: &str = "host";

/// A table of namespaces against processes: the same letter is the same namespace
///
/// The first column is the host. Without arguments, the others are the calling shell and all running containers.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skiff ns show [OPTIONS] [PID|CONTAINER|host]...",
    after_help = "\
        mnt     mount points                    pid     process numbers\n\
        uts     host and domain name            user    user and group numbers, capabilities\n\
        ipc     System V IPC, message queues    cgroup  where the tree of cgroups begins\n\
        net     devices, addresses, ports       time    monotonic and boot clock"
)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Processes by number, containers by name or id
    #[arg(value_name = "PID|CONTAINER")]
    processes: Vec<ProcessName>,
}

/// A process with its namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// What it is called above its column.
    name: String,
    /// Its number.
    pid: Pid,
    /// Its program.
    command: String,
    /// Its namespaces, as far as they are readable.
    namespaces: BTreeMap<Kind, Inode>,
    /// The namespaces of its future children, where they differ from its own.
    for_children: BTreeMap<Kind, Inode>,
}

/// Prints the table.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let subjects = subjects(args, context)?;
    let palette = Palette::stdout();
    let text = if args.json {
        json(&subjects)
    } else {
        format!("{}\n{}", table(&subjects, palette), words(&subjects))
    };
    output::show(&text)
}

fn subjects(args: &Args, context: &Context) -> Result<Vec<Subject>, CliError> {
    let mut subjects = vec![host()?];
    let mut add = |name: String, pid: Pid| -> Result<(), CliError> {
        if subjects.iter().all(|subject: &Subject| subject.name != name) {
            subjects.push(subject(name, pid)?);
        }
        Ok(())
    };
    for process in &args.processes {
        match process {
            ProcessName::Container(name) if name == HOST => {}
            ProcessName::Container(name) => add(name.clone(), process.find(context)?)?,
            ProcessName::Number(pid) if *pid == Pid::INIT => {}
            ProcessName::Number(pid) => add(pid.as_raw_nonzero().to_string(), *pid)?,
        }
    }
    if args.processes.is_empty() {
        // Run by `sudo` and the like, the caller may be out of reach; this process shares everything with it.
        let is_readable = |pid: &Pid| ns::inode_of(*pid, Kind::Uts).is_ok();
        let shell = rustix::process::getppid().filter(is_readable).unwrap_or_else(rustix::process::getpid);
        add(shell.as_raw_nonzero().to_string(), shell)?;
        for (name, pid) in Containers::if_readable(context).running() {
            add(name, pid)?;
        }
    }
    Ok(subjects)
}

/// The first process of all. Where it may not be looked at, its first kernel thread may be, which never left the
/// namespaces that the kernel began with; their numbers are also known (`include/linux/proc_ns.h`).
fn host() -> Result<Subject, CliError> {
    const FIRST: [(Kind, u64); 6] = [
        (Kind::Ipc, 0xEFFF_FFFF),
        (Kind::Uts, 0xEFFF_FFFE),
        (Kind::User, 0xEFFF_FFFD),
        (Kind::Pid, 0xEFFF_FFFC),
        (Kind::Cgroup, 0xEFFF_FFFB),
        (Kind::Time, 0xEFFF_FFFA),
    ];
    let mut host = subject(HOST.to_owned(), Pid::INIT)?;
    if host.namespaces.is_empty() {
        host.namespaces = first_kernel_thread().map(namespaces_of).unwrap_or_default();
    }
    if host.namespaces.is_empty() {
        host.namespaces = FIRST.into_iter().map(|(kind, number)| (kind, Inode(number))).collect();
    }
    Ok(host)
}

/// `kthreadd`, where it is visible: not from inside a pid namespace.
fn first_kernel_thread() -> Option<Pid> {
    let pid = Pid::from_raw(2)?;
    let stat = procfs::stat(pid).ok()?;
    let is_kernel_thread = stat.parent == 0 && procfs::cmdline(pid).is_ok_and(|words| words.is_empty());
    (is_kernel_thread && stat.comm == b"kthreadd").then_some(pid)
}

fn subject(name: String, pid: Pid) -> Result<Subject, CliError> {
    let namespaces = namespaces_of(pid);
    if namespaces.is_empty() && name != HOST {
        return Err(match ns::inode_of(pid, Kind::Uts) {
            Err(skiff_sys::Errno::NOENT) => CliError::message(format!("there is no process {name}")),
            Err(error) => CliError::from(error)
                .doing(format_args!("read the namespaces of {name}"))
                .with_hint("it takes the right to trace that process: try as root"),
            Ok(_) => CliError::message(format!("the process {name} has ended")),
        });
    }
    // ENOENT: a namespace that has no process yet has no link.
    let for_children = [Kind::Pid, Kind::Time]
        .into_iter()
        .filter_map(|kind| Some((kind, ns::inode_at(pid, kind.for_children_file_name()).ok()?)))
        .filter(|(kind, inode)| namespaces.get(kind).is_some_and(|own| own != inode))
        .collect();
    let command = command_of(pid);
    let program = command.split(' ').next().unwrap_or_default();
    let command = program.rsplit('/').next().unwrap_or_default().chars().take(20).collect();
    Ok(Subject { name, pid, command, namespaces, for_children })
}

/// For each kind, the namespaces in the order in which they appear: their place is their letter.
fn letters(subjects: &[Subject], of: impl Fn(&Subject) -> Option<Inode>) -> Vec<Inode> {
    let mut seen = Vec::new();
    for inode in subjects.iter().filter_map(of) {
        if !seen.contains(&inode) {
            seen.push(inode);
        }
    }
    seen
}

/// A, B, … Z, then A1, B1, …
fn letter(place: usize) -> String {
    let letter = char::from(u8::try_from(place % 26).unwrap_or(0) + b'A');
    match place / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

fn table(subjects: &[Subject], palette: Palette) -> String {
    let names: Vec<String> = subjects.iter().map(|subject| subject.name.clone()).collect();
    let headings =
        std::iter::once(("", Align::Left)).chain(names.iter().map(|name| (name.as_str(), Align::Left)));
    let mut table = Table::new(&headings.collect::<Vec<_>>());
    table.painted_row(std::iter::once((String::new(), String::new())).chain(subjects.iter().map(
        |subject| {
            let text = format!("{} {}", subject.pid.as_raw_nonzero(), subject.command);
            let painted = palette.dim(&text);
            (text, painted)
        },
    )));
    for kind in Kind::ALL {
        let own = |subject: &Subject| subject.namespaces.get(&kind).copied();
        table.painted_row(row(kind.file_name(), subjects, own, palette));
        let next = |subject: &Subject| subject.for_children.get(&kind).copied();
        if subjects.iter().any(|subject| next(subject).is_some()) {
            let either = |subject: &Subject| next(subject).or_else(|| own(subject));
            table.painted_row(row(kind.for_children_file_name(), subjects, either, palette));
        }
    }
    table.render()
}

fn row(
    name: &str,
    subjects: &[Subject],
    of: impl Fn(&Subject) -> Option<Inode>,
    palette: Palette,
) -> Vec<(String, String)> {
    let seen = letters(subjects, &of);
    let cell = |subject: &Subject| {
        let Some(inode) = of(subject) else { return ("?".to_owned(), palette.dim("?")) };
        let place = seen.iter().position(|known| *known == inode).unwrap_or(0);
        let text = format!("{} {inode}", letter(place));
        let painted = palette.distinct(place, &text);
        (text, painted)
    };
    std::iter::once((name.to_owned(), palette.bold(name))).chain(subjects.iter().map(cell)).collect()
}

/// A line for each process but the host: which namespaces are its own, and which it shares with whom.
fn words(subjects: &[Subject]) -> String {
    subjects.iter().enumerate().skip(1).map(|(place, _)| sentence(subjects, place)).collect()
}

fn sentence(subjects: &[Subject], place: usize) -> String {
    let Some(subject) = subjects.get(place) else { return String::new() };
    // The first other process with the same namespace stands for all of them; the host is always first.
    let mut shared: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut own = Vec::new();
    for (kind, inode) in &subject.namespaces {
        let others = subjects.iter().enumerate().filter(|(other, _)| *other != place);
        let with = others.map(|(_, other)| other).find(|other| other.namespaces.get(kind) == Some(inode));
        let hidden = subjects.first().is_some_and(|host| !host.namespaces.contains_key(kind));
        match with {
            Some(other) => match shared.iter_mut().find(|(name, _)| *name == other.name) {
                Some((_, kinds)) => kinds.push(kind.file_name()),
                None => shared.push((&other.name, vec![kind.file_name()])),
            },
            // It can't be called its own as long as the host's isn't known.
            None if hidden => {}
            None => own.push(kind.file_name()),
        }
    }
    let own = if own.is_empty() { "nothing".to_owned() } else { own.join(" ") };
    let shared = shared.iter().map(|(name, kinds)| format!("; shares {} with {name}", kinds.join(" ")));
    format!("{} has {own} to itself{}\n", subject.name, shared.collect::<String>())
}

fn json(subjects: &[Subject]) -> String {
    let named = |namespaces: &BTreeMap<Kind, Inode>| -> serde_json::Value {
        namespaces
            .iter()
            .map(|(kind, inode)| (kind.file_name().to_owned(), inode.0.into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let one = |subject: &Subject| {
        serde_json::json!({
            "name": subject.name,
            "pid": subject.pid.as_raw_nonzero().get(),
            "command": subject.command,
            "namespaces": named(&subject.namespaces),
            "for_children": named(&subject.for_children),
        })
    };
    format!("{:#}\n", subjects.iter().map(one).collect::<serde_json::Value>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str, namespaces: &[(Kind, u64)]) -> Subject {
        Subject {
            name: name.to_owned(),
            pid: Pid::INIT,
            command: "sh".to_owned(),
            namespaces: namespaces.iter().map(|(kind, number)| (*kind, Inode(*number))).collect(),
            for_children: BTreeMap::new(),
        }
    }

    fn three() -> Vec<Subject> {
        vec![
            subject(HOST, &[(Kind::Net, 1), (Kind::Uts, 10)]),
            subject("web", &[(Kind::Net, 2), (Kind::Uts, 10)]),
            subject("db", &[(Kind::Net, 2), (Kind::Uts, 11)]),
        ]
    }

    #[test]
    fn the_same_namespace_has_the_same_letter() {
        let table = table(&three(), Palette::plain());
        let line = |name: &str| {
            table.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(line("net"), ["net", "A", "1", "B", "2", "B", "2"]);
        assert_eq!(line("uts"), ["uts", "A", "10", "A", "10", "B", "11"]);
        assert_eq!(line("pid"), ["pid", "?", "?", "?"]);
    }

    #[test]
    fn words_say_what_is_shared_with_whom() {
        let expected = "web has nothing to itself; shares uts with host; shares net with db\n\
            db has uts to itself; shares net with web\n";
        assert_eq!(words(&three()), expected);
    }

    #[test]
    fn nothing_is_called_its_own_while_the_hosts_is_unknown() {
        let subjects = [subject(HOST, &[(Kind::Uts, 1)]), subject("a", &[(Kind::Net, 2), (Kind::Uts, 3)])];
        assert_eq!(words(&subjects), "a has uts to itself\n");
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([letter(0), letter(25), letter(26), letter(53)], ["A", "Z", "A1", "B2"]);
    }

    #[test]
    fn children_in_another_namespace_have_a_row_of_their_own() {
        let mut subjects = three();
        subjects[1].for_children.insert(Kind::Pid, Inode(7));
        assert!(table(&subjects, Palette::plain()).contains("pid_for_children"));
    }
}
