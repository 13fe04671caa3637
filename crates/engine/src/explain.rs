//! Why a program could not be executed, in one sentence.
//!
//! The kernel says ENOENT for a missing program, a missing interpreter and a missing loader alike. Here the
//! layers of the image are looked at afterwards, when nothing is in a hurry any more, to find out which it was.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use skiff_sys::root::{open_in_root, open_regular};

use crate::request::MountRequest;

/// As much of a program as says what it is.
const HEADER: usize = 4096;

/// What became of the program in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It isn't in any directory of PATH.
    NotInPath {
        /// The directories.
        path: String,
    },
    /// There is no such file.
    Missing,
    /// The interpreter of a script isn't there.
    NoInterpreter(String),
    /// A script whose lines end as on Windows: the carriage return is part of the interpreter's name.
    CarriageReturn(String),
    /// The loader of a dynamic program isn't there.
    NoLoader(String),
    /// It is a directory.
    Directory,
    /// Nobody may execute it.
    NotExecutable,
    /// It is a program for another architecture.
    Foreign(String),
    /// It is no program.
    NotAProgram,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInPath { .. } => f.write_str("no such program in the image's PATH"),
            Self::Missing => f.write_str("no such file in the image"),
            Self::NoInterpreter(path) => write!(f, "it is a script for `{path}`, which isn't in the image"),
            Self::CarriageReturn(path) => {
                write!(
                    f,
                    "it is a script for `{path}\\r`: its lines end with a carriage return, as on Windows"
                )
            }
            Self::NoLoader(path) => write!(f, "it needs the loader `{path}`, which isn't in the image"),
            Self::Directory => f.write_str("it is a directory"),
            Self::NotExecutable => f.write_str("it has no execute permission"),
            Self::Foreign(machine) => {
                write!(f, "it is a program for {machine}, and this machine is {}", std::env::consts::ARCH)
            }
            Self::NotAProgram => f.write_str("it is neither a program nor a script with `#!`"),
        }
    }
}

impl Finding {
    /// What the user can do about it.
    pub fn hint(&self, program: &str) -> Option<String> {
        match self {
            Self::NotInPath { path } => Some(format!("PATH is {path}")),
            Self::NotExecutable => {
                Some(format!("`chmod +x` it, or run it by its interpreter: `sh {program}`"))
            }
            Self::CarriageReturn(_) => Some(format!("`sed -i 's/\\r$//'` takes them out of {program}")),
            Self::Foreign(_) => Some("use an image that is made for this machine".to_owned()),
            Self::NotAProgram => {
                Some(format!("if it is a script, run it by its interpreter: `sh {program}`"))
            }
            Self::Missing | Self::NoInterpreter(_) | Self::NoLoader(_) | Self::Directory => None,
        }
    }
}

/// Where a program was looked for.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// The word of the user.
    pub program: &'a str,
    /// The working directory.
    pub workdir: &'a Path,
    /// The container's PATH.
    pub path: &'a str,
}

/// Finds out what is wrong with the program; nothing when `view` has no answer.
pub fn explain(search: &Search<'_>, view: &View) -> Option<Finding> {
    if search.program.contains('/') {
        let place = search.workdir.join(search.program);
        return match view.find(&place) {
            Some(file) => view.judge(&file),
            None => Some(Finding::Missing),
        };
    }
    let candidates = search.path.split(':').filter(|directory| !directory.is_empty());
    let found =
        candidates.filter_map(|directory| view.find(&Path::new(directory).join(search.program))).next();
    match found {
        Some(file) => view.judge(&file),
        None => Some(Finding::NotInPath { path: search.path.to_owned() }),
    }
}

/// What the container sees: the layers, topmost first, and the mounts of the user's above them.
pub struct View {
    layers: Vec<OwnedFd>,
    /// Where each is, and what is there; nothing for what began empty.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
}

impl View {
    /// A layer that can't be opened has no answers.
    pub fn open(layers: &[PathBuf], mounts: &[MountRequest]) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |layer: &PathBuf| rustix::fs::open(layer, flags, Mode::empty()).ok();
        let mounts = mounts.iter().map(|mount| match mount {
            MountRequest::Bind(bind) => (PathBuf::from(&bind.target), Some(bind.source.clone())),
            MountRequest::Tmpfs(tmpfs) => (PathBuf::from(&tmpfs.target), None),
        });
        Self { layers: layers.iter().rev().filter_map(open).collect(), mounts: mounts.collect() }
    }

    /// The topmost file at `path`. A link that leads from one layer or mount to another is not followed: whoever
    /// asks gets no answer then, and the kernel's own words are shown.
    fn find(&self, path: &Path) -> Option<OwnedFd> {
        use std::os::unix::ffi::OsStrExt as _;
        let below = |(target, source): &(PathBuf, Option<PathBuf>)| {
            let rest = path.strip_prefix(target).ok()?.to_path_buf();
            Some((target.components().count(), source.clone(), rest))
        };
        if let Some((_, source, rest)) = self.mounts.iter().filter_map(below).max_by_key(|found| found.0) {
            let top = rustix::fs::open(source?, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
            if rest.as_os_str().is_empty() {
                return Some(top);
            }
            let rest = CString::new(rest.as_os_str().as_bytes()).ok()?;
            return open_in_root(top.as_fd(), &rest, OFlags::PATH, Mode::empty()).ok();
        }
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let open = |layer: &OwnedFd| open_in_root(layer.as_fd(), &path, OFlags::PATH, Mode::empty()).ok();
        self.layers.iter().find_map(open)
    }

    fn judge(&self, file: &OwnedFd) -> Option<Finding> {
        let stat = rustix::fs::fstat(file).ok()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Some(Finding::Directory),
            FileType::RegularFile => {}
            _ => return Some(Finding::NotExecutable),
        }
        if stat.st_mode & 0o111 == 0 {
            return Some(Finding::NotExecutable);
        }
        let mut header = [0_u8; HEADER];
        // Not before it is known to be a file: a device of the image must stay closed.
        let length = rustix::io::pread(open_regular(file.as_fd()).ok()?, &mut header, 0).ok()?;
        match kind(header.get(..length)?) {
            Kind::Script(interpreter) if interpreter.ends_with('\r') => {
                Some(Finding::CarriageReturn(interpreter.trim_end().to_owned()))
            }
            Kind::Script(interpreter) if self.find(Path::new(&interpreter)).is_none() => {
                Some(Finding::NoInterpreter(interpreter))
            }
            Kind::Program { machine: Some(foreign), .. } => Some(Finding::Foreign(foreign)),
            Kind::Program { loader: Some(loader), .. } if self.find(Path::new(&loader)).is_none() => {
                Some(Finding::NoLoader(loader))
            }
            Kind::Other => Some(Finding::NotAProgram),
            Kind::Script(_) | Kind::Program { .. } => None,
        }
    }
}

/// What a file is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Script(String),
    Program {
        /// `None`: this machine can run it.
        machine: Option<String>,
        loader: Option<String>,
    },
    Other,
}

fn kind(header: &[u8]) -> Kind {
    if let Some(line) = header.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let words = String::from_utf8_lossy(line);
        // The kernel's blanks; a carriage return is none.
        return match words.split([' ', '\t']).find(|word| !word.is_empty()) {
            Some(interpreter) => Kind::Script(interpreter.to_owned()),
            None => Kind::Other,
        };
    }
    match header.get(..20) {
        Some(start) if start.starts_with(b"\x7fELF") => {
            Kind::Program { machine: foreign_machine(start), loader: loader(header) }
        }
        _ => Kind::Other,
    }
}

/// The architecture of an ELF file, unless this machine runs it. See elf(5).
fn foreign_machine(start: &[u8]) -> Option<String> {
    let number = number(start, 18, 2)?;
    let runs = match std::env::consts::ARCH {
        "x86_64" => [62, 3],
        "aarch64" => [183, 40],
        _ => return None,
    };
    if runs.contains(&number) {
        return None;
    }
    Some(match number {
        3 => "x86".to_owned(),
        8 => "mips".to_owned(),
        20 => "powerpc".to_owned(),
        21 => "powerpc64".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        258 => "loongarch64".to_owned(),
        other => format!("the ELF machine {other}"),
    })
}

/// The `PT_INTERP` of an ELF file for 64 bits, if it lies within `header`.
fn loader(header: &[u8]) -> Option<String> {
    const INTERP: u64 = 3;
    if header.get(4) != Some(&2) {
        return None;
    }
    let table = usize::try_from(number(header, 32, 8)?).ok()?;
    let (size, count) = (usize::try_from(number(header, 54, 2)?).ok()?, number(header, 56, 2)?);
    for index in 0..usize::try_from(count).ok()? {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if number(header, entry, 4)? == INTERP {
            let offset = usize::try_from(number(header, entry.checked_add(8)?, 8)?).ok()?;
            let text = header.get(offset..)?.split(|&byte| byte == 0).next()?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}

/// The number of `size` bytes at `offset`, in the byte order that the file says it has.
fn number(header: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = header.get(offset..offset.checked_add(size)?)?;
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    let is_big_endian = header.get(5) == Some(&2);
    Some(if is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
}

#[cfg(test)]
mod tests;
