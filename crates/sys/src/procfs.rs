//! What `/proc` says about processes: read in one go, parsed by functions that take bytes.
//!
//! See `proc(5)`. A process may end at any time, so every reading can fail with `ENOENT` or `ESRCH`; both mean
//! that it is gone. A process names itself (`comm`), so nothing here believes that a name is harmless text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::Pid;

use crate::Errno;

/// More than any of these files has; a reader of a hostile file stops here.
const LIMIT: usize = 4 << 20;

/// What keeps a text from `/proc` from being understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProcError {
    /// The file could not be read.
    #[error("read")]
    Read(#[source] Errno),
    /// The file has not the form that `proc(5)` gives it.
    #[error("the kernel's text for `{0}` is not understood")]
    Malformed(&'static str),
}

impl ProcError {
    /// Whether the process was simply not there any more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Read(Errno::NOENT | Errno::SRCH))
    }
}

/// Some of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The process's number.
    pub pid: i32,
    /// The name that the process gives itself, any bytes.
    pub comm: Vec<u8>,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    /// Its parent's number; 0 for none in this pid namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// How many threads it has.
    pub threads: u32,
    /// When it started, in clock ticks since boot. With the number it names a process for as long as the boot lasts.
    pub start: u64,
}

/// Parses `/proc/PID/stat`.
///
/// # Errors
/// [`ProcError::Malformed`] when it has not the kernel's form.
pub fn parse_stat(text: &[u8]) -> Result<Stat, ProcError> {
    parse_stat_fields(text).ok_or(ProcError::Malformed("stat"))
}

fn parse_stat_fields(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    // The name may itself have `) ` in it; what follows the name has no bracket, so the last one ends it.
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim_end().parse().ok()?;
    let comm = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // Field numbers are those of proc(5): state is 3, so `fields[n - 3]`.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        pid,
        comm,
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        threads: field(20)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
    })
}

/// Some of `/proc/PID/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Real, effective, saved and file system user.
    pub uids: [u32; 4],
    /// Real, effective, saved and file system group.
    pub gids: [u32; 4],
    /// Additional groups.
    pub groups: Vec<u32>,
    /// The process's numbers, from the reader's pid namespace inwards.
    pub pids: Vec<i32>,
    /// Permitted, effective and bounding capabilities.
    pub capabilities: Capabilities,
    /// `NoNewPrivs`.
    pub no_new_privileges: bool,
    /// `Seccomp`: 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
}

/// Capability sets as the kernel prints them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `CapInh`.
    pub inheritable: u64,
    /// `CapPrm`.
    pub permitted: u64,
    /// `CapEff`.
    pub effective: u64,
    /// `CapBnd`.
    pub bounding: u64,
    /// `CapAmb`.
    pub ambient: u64,
}

/// Parses `/proc/PID/status`. Lines that it doesn't know are skipped.
///
/// # Errors
/// [`ProcError::Malformed`] when a line that it knows has another form.
pub fn parse_status(text: &[u8]) -> Result<Status, ProcError> {
    let mut status = Status::default();
    for line in text.split(|byte| *byte == b'\n') {
        // The name line may have any bytes in it; all lines of interest are ASCII.
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let Some((name, value)) = line.split_once(':') else { continue };
        parse_status_line(&mut status, name, value.trim()).ok_or(ProcError::Malformed("status"))?;
    }
    Ok(status)
}

fn parse_status_line(status: &mut Status, name: &str, value: &str) -> Option<()> {
    let capabilities = &mut status.capabilities;
    match name {
        "Uid" => status.uids = numbers(value)?.try_into().ok()?,
        "Gid" => status.gids = numbers(value)?.try_into().ok()?,
        "Groups" => status.groups = numbers(value)?,
        "NSpid" => status.pids = numbers(value)?,
        "CapInh" => capabilities.inheritable = u64::from_str_radix(value, 16).ok()?,
        "CapPrm" => capabilities.permitted = u64::from_str_radix(value, 16).ok()?,
        "CapEff" => capabilities.effective = u64::from_str_radix(value, 16).ok()?,
        "CapBnd" => capabilities.bounding = u64::from_str_radix(value, 16).ok()?,
        "CapAmb" => capabilities.ambient = u64::from_str_radix(value, 16).ok()?,
        "NoNewPrivs" => status.no_new_privileges = value.parse::<u8>().ok()? != 0,
        "Seccomp" => status.seccomp = value.parse().ok()?,
        _ => {}
    }
    Some(())
}

fn numbers<N: std::str::FromStr>(text: &str) -> Option<Vec<N>> {
    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// One line of `/proc/PID/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The number of the hierarchy; 0 is cgroup v2.
    pub hierarchy: u32,
    /// Its controllers, or `name=…`; none for cgroup v2.
    pub controllers: Vec<String>,
    /// The cgroup, as seen from the reader's cgroup namespace.
    pub path: Vec<u8>,
}

/// Parses `/proc/PID/cgroup`.
///
/// # Errors
/// [`ProcError::Malformed`] when it has not the kernel's form.
pub fn parse_cgroup(text: &[u8]) -> Result<Vec<Membership>, ProcError> {
    // Paths may have colons and newlines are escaped by the kernel (cgroup names can't hold them).
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| parse_membership(line).ok_or(ProcError::Malformed("cgroup"))).collect()
}

fn parse_membership(line: &[u8]) -> Option<Membership> {
    let mut parts = line.splitn(3, |byte| *byte == b':');
    let hierarchy = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let controllers = std::str::from_utf8(parts.next()?).ok()?;
    let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Membership { hierarchy, controllers, path: parts.next()?.to_vec() })
}

/// Parses `/proc/PID/cmdline`: the arguments, none for a kernel thread or a zombie.
pub fn parse_cmdline(text: &[u8]) -> Vec<OsString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// The numbers of all processes that `/proc` shows, ascending.
///
/// # Errors
/// Those of reading the directory `/proc`.
pub fn pids() -> Result<Vec<Pid>, Errno> {
    numbered("/proc")
}

/// The threads of a process, ascending.
///
/// # Errors
/// `ENOENT` when the process is gone.
pub fn threads(pid: Pid) -> Result<Vec<Pid>, Errno> {
    numbered(&format!("/proc/{}/task", pid.as_raw_nonzero()))
}

fn numbered(directory: &str) -> Result<Vec<Pid>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let mut pids = Vec::new();
    for entry in Dir::new(directory)? {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok());
        pids.extend(number.and_then(Pid::from_raw));
    }
    pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    Ok(pids)
}

/// Reads and parses `/proc/PID/stat`.
///
/// # Errors
/// [`ProcError`].
pub fn stat(pid: Pid) -> Result<Stat, ProcError> {
    parse_stat(&read(pid, "stat")?)
}

/// Reads and parses `/proc/PID/status`.
///
/// # Errors
/// [`ProcError`].
pub fn status(pid: Pid) -> Result<Status, ProcError> {
    parse_status(&read(pid, "status")?)
}

/// Reads and parses `/proc/PID/cgroup`.
///
/// # Errors
/// [`ProcError`].
pub fn cgroup(pid: Pid) -> Result<Vec<Membership>, ProcError> {
    parse_cgroup(&read(pid, "cgroup")?)
}

/// Reads and parses `/proc/PID/cmdline`.
///
/// # Errors
/// [`ProcError::Read`].
pub fn cmdline(pid: Pid) -> Result<Vec<OsString>, ProcError> {
    Ok(parse_cmdline(&read(pid, "cmdline")?))
}

/// The bytes of `/proc/PID/NAME`.
///
/// # Errors
/// [`ProcError::Read`].
pub fn read(pid: Pid, name: &str) -> Result<Vec<u8>, ProcError> {
    read_whole(&format!("/proc/{}/{name}", pid.as_raw_nonzero())).map_err(ProcError::Read)
}

fn read_whole(path: &str) -> Result<Vec<u8>, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() > LIMIT => return Err(Errno::FBIG),
            Ok(_) if bytes.len() == bytes.capacity() => bytes.reserve(bytes.len()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAIL: &str = "S 1 2 3 34816 2 4194304 1 2 3 4 5 6 7 8 20 0 9 0 12345 100 200 18446744073709551615";

    #[test]
    fn a_name_may_hold_anything_that_the_format_uses() {
        let stat = parse_stat(format!("42 (a) R 0 (x) {TAIL}\n").as_bytes()).unwrap();
        assert_eq!((stat.pid, stat.comm.as_slice(), stat.state), (42, &b"a) R 0 (x"[..], 'S'));
        assert_eq!((stat.parent, stat.group, stat.session), (1, 2, 3));
        assert_eq!((stat.threads, stat.start), (9, 12345));
    }

    #[test]
    fn a_stat_that_is_cut_short_is_an_error() {
        for text in ["", "1", "1 (", "1 (x", "1 (x)", "1 )x(", "1 (x) S 1 2 3"] {
            assert_eq!(parse_stat(text.as_bytes()), Err(ProcError::Malformed("stat")), "{text}");
        }
    }

    #[test]
    fn status_lines_that_are_not_known_are_skipped() {
        let text = b"Name:\t\xff: Uid\nUid:\t1\t2\t3\t4\nNSpid:\t77\t5\t1\nGroups:\t10 20 \nCapEff:\t00000000a80425fb\n\
            Seccomp:\t2\nNoNewPrivs:\t1\nFuture:\tx\n";
        let status = parse_status(text).unwrap();
        assert_eq!(status.uids, [1, 2, 3, 4]);
        assert_eq!((status.pids, status.groups), (vec![77, 5, 1], vec![10, 20]));
        assert_eq!(status.capabilities.effective, 0xa804_25fb);
        assert!(status.no_new_privileges);
        assert_eq!(parse_status(b"Uid:\t1\t2\n"), Err(ProcError::Malformed("status")));
    }

    #[test]
    fn memberships_of_every_layout_are_understood() {
        let text = b"12:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/user.slice\n";
        let groups = parse_cgroup(text).unwrap();
        assert_eq!(groups[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(groups[0].path, b"/a:b");
        assert_eq!(groups[1].controllers, ["name=systemd"]);
        assert_eq!((groups[2].hierarchy, groups[2].controllers.len()), (0, 0));
        assert_eq!(parse_cgroup(b"x::/\n"), Err(ProcError::Malformed("cgroup")));
    }

    #[test]
    fn an_empty_argument_is_an_argument() {
        assert_eq!(parse_cmdline(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert!(parse_cmdline(b"").is_empty());
    }

    #[test]
    fn the_reader_finds_itself() {
        let own = rustix::process::getpid();
        assert!(pids().unwrap().contains(&own));
        assert_eq!(stat(own).unwrap().pid, own.as_raw_nonzero().get());
        assert_eq!(status(own).unwrap().uids[1], rustix::process::geteuid().as_raw());
        assert!(!cmdline(own).unwrap().is_empty());
        assert!(!cgroup(own).unwrap().is_empty());
        assert!(threads(own).unwrap().contains(&own));
    }

    proptest! {
        #[test]
        fn stat_gives_back_every_name(comm in prop::collection::vec(any::<u8>(), 0..16), pid in 1..i32::MAX) {
            let text = [format!("{pid} (").as_bytes(), &comm, format!(") {TAIL}\n").as_bytes()].concat();
            let stat = parse_stat(&text).unwrap();
            prop_assert_eq!((stat.pid, stat.comm), (pid, comm));
        }

        #[test]
        fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _stat = parse_stat(&bytes);
            let _status = parse_status(&bytes);
            let _cgroup = parse_cgroup(&bytes);
            let _arguments = parse_cmdline(&bytes);
        }
    }
}
