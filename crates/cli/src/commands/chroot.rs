//! `skiff chroot`: a program with another root directory, as coreutils' `chroot` runs it.
//!
//! Everything is found out before the root is entered: users and groups come from the new root's own files, read
//! through a descriptor of it, and never from the C library, which would load modules from in there.

use std::ffi::{CStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Uid};
use skiff_sys::Errno;
use skiff_sys::root::open_regular_in_root;
use skiff_sys::users::{self, FILE_LIMIT, NameOrId, UserError};

use crate::commands::program;
use crate::context::Context;
use crate::error::{CliError, Doing as _};

/// Run a program with another root directory
///
/// Only the root directory changes, and the working directory to it. Users and groups are looked up in
/// /etc/passwd and /etc/group below NEWROOT.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "skiff chroot [OPTIONS] NEWROOT [PROGRAM [ARG...]]",
    infer_long_args = true,
    args_override_self = true,
    after_help = "What this does not protect: nearly nothing. A program that may change its root again gets out (root\n\
        can, by a second chroot), and processes, networks, users and devices are those of the machine.\n\
        `skiff unshare --mount --pid` adds namespaces; `skiff run` contains a program that you don't trust."
)]
pub struct Args {
    /// User and group of the program, names or numbers
    #[arg(long, value_name = "USER:GROUP")]
    userspec: Option<String>,
    /// Additional groups of the program
    #[arg(long, value_name = "G1,G2,...")]
    groups: Option<String>,
    /// Keep the working directory (only where NEWROOT is the old root)
    #[arg(long)]
    skip_chdir: bool,
    /// The new root directory
    #[arg(value_name = "NEWROOT")]
    root: PathBuf,
    /// The program and its arguments [$SHELL -i]
    #[arg(value_name = "PROGRAM", trailing_var_arg = true)]
    program: Vec<OsString>,
}

/// Who the program is. What is not given stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Credentials {
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
}

/// Becomes the program.
pub fn run(args: Args, _context: &Context) -> Result<ExitCode, CliError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cannot_change = || format!("change the root directory to {}", args.root.display());
    let root = rustix::fs::open(&args.root, flags, Mode::empty())
        .map_err(CliError::from)
        .map_err(|error| error.doing(cannot_change()))?;
    if args.skip_chdir && !is_current_root(root.as_fd())? {
        return Err(CliError::message("`--skip-chdir` is only for a NEWROOT that is the old root")
            .with_hint("without it the working directory would be outside of the new root"));
    }
    let needs_files = args.userspec.is_some() || args.groups.is_some();
    let accounts = if needs_files { Accounts::read(root.as_fd())? } else { Accounts::default() };
    let credentials = credentials(args.userspec.as_deref(), args.groups.as_deref(), &accounts)?;

    // By descriptor, so that it is the directory that was looked at. chroot(2) itself takes only a path.
    let old = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(&root).doing(cannot_change())?;
    rustix::process::chroot(".").doing(cannot_change())?;
    if args.skip_chdir {
        rustix::process::fchdir(&old).doing("return to the working directory")?;
    }
    apply(&credentials)?;
    let named = !args.program.is_empty();
    let words = if named { args.program } else { vec![program::shell(), "-i".into()] };
    let error = program::become_program(&words);
    let hint = format!(
        "it is looked for below {}; so are the interpreter and the libraries that it needs",
        args.root.display()
    );
    Err(if is_current_root(root.as_fd())? && args.root.as_os_str() == "/" {
        error
    } else {
        error.with_hint(hint)
    })
}

fn is_current_root(directory: BorrowedFd<'_>) -> Result<bool, CliError> {
    let (directory, root) = (rustix::fs::fstat(directory)?, rustix::fs::stat("/")?);
    Ok((directory.st_dev, directory.st_ino) == (root.st_dev, root.st_ino))
}

/// The texts of the account files below a root.
#[derive(Debug, Default)]
struct Accounts {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Accounts {
    fn read(root: BorrowedFd<'_>) -> Result<Self, CliError> {
        Ok(Self { passwd: read_in_root(root, c"etc/passwd")?, group: read_in_root(root, c"etc/group")? })
    }
}

/// A regular file below `root`, at most [`FILE_LIMIT`] and one byte of it; empty where there is none.
fn read_in_root(root: BorrowedFd<'_>, path: &CStr) -> Result<Vec<u8>, CliError> {
    let doing = || format!("read {} of the new root", path.to_string_lossy());
    let file = match open_regular_in_root(root, path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(Errno::INVAL) => return Err(CliError::message("it is not a regular file").doing(doing())),
        Err(error) => return Err(error).doing(doing()),
    };
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    std::fs::File::from(file).take(limit).read_to_end(&mut text).doing(doing())?;
    Ok(text)
}

/// Finds out who is meant.
fn credentials(
    userspec: Option<&str>,
    groups: Option<&str>,
    accounts: &Accounts,
) -> Result<Credentials, CliError> {
    let mut credentials = Credentials::default();
    let mut user = None;
    if let Some(spec) = userspec {
        let (name, group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
        if !name.is_empty() {
            let wanted = account(name)?;
            user = find_user(&wanted, accounts)?;
            credentials.uid = Some(uid_of(&wanted, user.as_ref())?);
            credentials.gid = user.as_ref().map(|user| user.gid);
        }
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            credentials.gid = Some(users::resolve_group(&account(group)?, &accounts.group)?);
        }
        if credentials.uid.is_some() && credentials.gid.is_none() {
            return Err(CliError::message(format!(
                "no group given for `{name}`, who is not in the passwd file"
            ))
            .with_hint(format!("`--userspec={name}:GROUP`")));
        }
    }
    credentials.groups = match groups {
        Some(list) => {
            let names = list.split(',').filter(|name| !name.is_empty());
            Some(
                names
                    .map(|name| Ok(users::resolve_group(&account(name)?, &accounts.group)?))
                    .collect::<Result<_, CliError>>()?,
            )
        }
        None if credentials.uid.is_some() => {
            let name = user.map(|user| user.name);
            let own = users::groups(&accounts.group)?
                .filter(|group| name.as_ref().is_some_and(|name| group.members.contains(name)));
            let more = own.map(|group| group.gid).filter(|gid| Some(*gid) != credentials.gid);
            Some(credentials.gid.into_iter().chain(more).collect())
        }
        None => None,
    };
    Ok(credentials)
}

/// A name or number; a plus sign before a number is allowed, as coreutils have it.
fn account(text: &str) -> Result<NameOrId, UserError> {
    match text.strip_prefix('+') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse(),
        _ => text.parse(),
    }
}

fn find_user(wanted: &NameOrId, accounts: &Accounts) -> Result<Option<users::User>, UserError> {
    let mut users = users::users(&accounts.passwd)?;
    Ok(match wanted {
        NameOrId::Name(name) => users.find(|user| user.name == *name),
        NameOrId::Id(id) => users.find(|user| user.uid == *id),
    })
}

fn uid_of(wanted: &NameOrId, entry: Option<&users::User>) -> Result<u32, UserError> {
    match (wanted, entry) {
        (NameOrId::Id(id), _) => Ok(*id),
        (NameOrId::Name(_), Some(user)) => Ok(user.uid),
        (NameOrId::Name(name), None) => Err(UserError::NoUser(name.clone())),
    }
}

/// Becomes who is meant: the user last, as after that the rest is no longer allowed.
fn apply(credentials: &Credentials) -> Result<(), CliError> {
    if let Some(groups) = &credentials.groups {
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).doing("set the additional groups")?;
    }
    if let Some(gid) = credentials.gid.map(Gid::from_raw) {
        rustix::thread::set_thread_res_gid(gid, gid, gid).doing("set the group")?;
    }
    if let Some(uid) = credentials.uid.map(Uid::from_raw) {
        rustix::thread::set_thread_res_uid(uid, uid, uid).doing("set the user")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(userspec: Option<&str>, groups: Option<&str>) -> Result<Credentials, String> {
        let accounts = Accounts {
            passwd: b"root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n".to_vec(),
            group: b"root:x:0:\nadm:x:4:web\nwww:x:34:\n".to_vec(),
        };
        credentials(userspec, groups, &accounts).map_err(|error| error.sentence())
    }

    fn is(
        uid: impl Into<Option<u32>>,
        gid: impl Into<Option<u32>>,
        groups: Option<&[u32]>,
    ) -> Result<Credentials, String> {
        Ok(Credentials { uid: uid.into(), gid: gid.into(), groups: groups.map(<[u32]>::to_vec) })
    }

    #[test]
    fn nothing_given_changes_nothing() {
        assert_eq!(who(None, None), is(None, None, None));
        assert_eq!(who(Some(""), None), is(None, None, None));
        assert_eq!(who(Some(":"), None), is(None, None, None));
    }

    #[test]
    fn a_user_brings_its_groups() {
        let web = is(33, 34, Some(&[34, 4]));
        for spec in ["web", "web:", "33", "+33"] {
            assert_eq!(who(Some(spec), None), web, "{spec}");
        }
        assert_eq!(who(Some("web:adm"), None), is(33, 4, Some(&[4])));
        assert_eq!(who(Some(":adm"), None), is(None, 4, None));
    }

    #[test]
    fn given_groups_replace_the_users() {
        assert_eq!(who(Some("web"), Some("")), is(33, 34, Some(&[])));
        assert_eq!(who(None, Some("adm,7,www")), is(None, None, Some(&[4, 7, 34])));
    }

    #[test]
    fn a_number_without_an_entry_needs_a_group() {
        let refused = "no group given for `1234`, who is not in the passwd file".to_owned();
        assert_eq!(who(Some("1234"), None), Err(refused));
        assert_eq!(who(Some("1234:5"), None), is(1234, 5, Some(&[5])));
    }

    #[test]
    fn unknown_names_are_named() {
        assert_eq!(who(Some("ghost"), None), Err("no user `ghost` in the passwd file".into()));
        assert_eq!(who(None, Some("adm,ghost")), Err("no group `ghost` in the group file".into()));
    }
}
