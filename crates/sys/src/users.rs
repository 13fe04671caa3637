//! Users and groups out of the text of `passwd`, `group`, `subuid` and `subgid` files.
//!
//! Skiff is static, so it never asks the C library for a user (that would load the host's modules), and the files
//! are often those of an image, so nothing in them is trusted. Reading them is the caller's business; the functions
//! here take bytes. See `passwd(5)`, `group(5)`, `subuid(5)`.
//!
//! Digits are always a number, from 0 to 2³¹−1, never the name of an entry, and never silently 0.

use std::fmt;

/// The most that is taken from one file.
pub const FILE_LIMIT: usize = 1 << 20;

/// The largest number of a user or group: where signed and unsigned readers agree, and −1 isn't meant.
pub const ID_LIMIT: u32 = i32::MAX.unsigned_abs();

/// Why a user or group could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The file is larger than [`FILE_LIMIT`].
    #[error("`{0}` is larger than 1 MiB")]
    FileTooLarge(&'static str),
    /// A number above [`ID_LIMIT`].
    #[error("`{0}` is not a number from 0 to {ID_LIMIT}")]
    OutOfRange(String),
    /// A name that `passwd` doesn't have.
    #[error("no user `{0}` in the passwd file")]
    NoUser(String),
    /// A name that `group` doesn't have.
    #[error("no group `{0}` in the group file")]
    NoGroup(String),
    /// Neither a name nor a number.
    #[error("`{0}` is neither a name nor a number")]
    Malformed(String),
}

/// A line of `passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Home directory, may be empty.
    pub home: String,
    /// Login shell, may be empty.
    pub shell: String,
}

/// A line of `group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Names of the users who have it as an additional group.
    pub members: Vec<String>,
}

/// A line of `subuid` or `subgid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateRange {
    /// Login name, or number as text.
    pub owner: String,
    /// First number of the range.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

/// The users in the text of a `passwd` file. Lines that are not in the form of `passwd(5)` are skipped, as the C
/// library skips them.
///
/// # Errors
/// [`UserError::FileTooLarge`].
pub fn users(text: &[u8]) -> Result<impl Iterator<Item = User>, UserError> {
    Ok(lines(text, "passwd")?.filter_map(|line| {
        let [name, _password, uid, gid, _comment, home, shell] = fields(line)?;
        let (name, home, shell) = (name.to_owned(), home.to_owned(), shell.to_owned());
        Some(User { name, uid: id(uid)?, gid: id(gid)?, home, shell })
    }))
}

/// The groups in the text of a `group` file. Malformed lines are skipped.
///
/// # Errors
/// [`UserError::FileTooLarge`].
pub fn groups(text: &[u8]) -> Result<impl Iterator<Item = Group>, UserError> {
    Ok(lines(text, "group")?.filter_map(|line| {
        let [name, _password, gid, members] = fields(line)?;
        let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
        Some(Group { name: name.to_owned(), gid: id(gid)?, members })
    }))
}

/// The ranges in the text of a `subuid` or `subgid` file. Malformed and empty ranges are skipped.
///
/// # Errors
/// [`UserError::FileTooLarge`].
pub fn subordinate_ranges(text: &[u8]) -> Result<impl Iterator<Item = SubordinateRange>, UserError> {
    Ok(lines(text, "subuid")?.filter_map(|line| {
        let [owner, first, count] = fields(line)?;
        let range = SubordinateRange {
            owner: owner.to_owned(),
            first: first.parse().ok()?,
            count: count.parse().ok().filter(|count| *count > 0)?,
        };
        range.first.checked_add(range.count).map(|_end| range)
    }))
}

fn lines<'a>(text: &'a [u8], file: &'static str) -> Result<impl Iterator<Item = &'a str>, UserError> {
    if text.len() > FILE_LIMIT {
        return Err(UserError::FileTooLarge(file));
    }
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
}

/// The fields of a line, if it has exactly as many and the first isn't empty.
fn fields<const COUNT: usize>(line: &str) -> Option<[&str; COUNT]> {
    let fields: Vec<&str> = line.split(':').collect();
    fields.try_into().ok().filter(|fields: &[&str; COUNT]| !fields[0].is_empty())
}

/// A number in a file.
fn id(text: &str) -> Option<u32> {
    is_number(text).then(|| text.parse().ok()).flatten().filter(|id| *id <= ID_LIMIT)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A user or a group as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// Anything with a character that is no digit.
    Name(String),
    /// Digits.
    Id(u32),
}

impl std::str::FromStr for NameOrId {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        if is_number(text) {
            return id(text).map(Self::Id).ok_or_else(|| UserError::OutOfRange(text.to_owned()));
        }
        // A sign, a blank or a field separator: something that no file can hold, or a number that was meant otherwise.
        let foreign = |character: char| character.is_control() || matches!(character, ':' | ',' | '/' | ' ');
        if text.is_empty() || text.starts_with(['-', '+']) || text.contains(foreign) {
            return Err(UserError::Malformed(text.to_owned()));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for NameOrId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Id(id) => id.fmt(formatter),
        }
    }
}

/// `user[:group]`, each a name or a number: the value of `--user`, and `User` of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSpec {
    /// The user; none means root.
    pub user: Option<NameOrId>,
    /// The group; none means the user's own.
    pub group: Option<NameOrId>,
}

impl std::str::FromStr for UserSpec {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let part = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some) };
        Ok(Self { user: part(user)?, group: group.map_or(Ok(None), part)? })
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            user.fmt(formatter)?;
        }
        if let Some(group) = &self.group {
            write!(formatter, ":{group}")?;
        }
        Ok(())
    }
}

/// Who a process is: what a [`UserSpec`] comes to in a given root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, ascending, the primary one among them.
    pub groups: Vec<u32>,
    /// The login name, where the user has an entry.
    pub name: Option<String>,
    /// The home directory, where the user has an entry that names one.
    pub home: Option<String>,
    /// The login shell, where the user has an entry that names one.
    pub shell: Option<String>,
}

/// Finds out who `spec` is, with the text of the `passwd` and `group` files of the root it is meant for.
///
/// As Docker does: a number needs no entry and then has group 0; a group that was given replaces the additional
/// groups; without one, they are those that list the user.
///
/// # Errors
/// [`UserError`] when a name has no entry or a file is too large.
pub fn resolve(spec: &UserSpec, passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let wanted = spec.user.as_ref().unwrap_or(&NameOrId::Id(0));
    let entry = match wanted {
        NameOrId::Name(name) => users(passwd)?.find(|user| user.name == *name),
        NameOrId::Id(id) => users(passwd)?.find(|user| user.uid == *id),
    };
    let (uid, own_gid) = match (&entry, wanted) {
        (Some(user), _) => (user.uid, user.gid),
        (None, NameOrId::Id(id)) => (*id, 0),
        (None, NameOrId::Name(name)) => return Err(UserError::NoUser(name.clone())),
    };
    let gid = match &spec.group {
        Some(group_wanted) => resolve_group(group_wanted, group)?,
        None => own_gid,
    };
    let mut all = vec![gid];
    if let (Some(user), None) = (&entry, &spec.group) {
        all.extend(groups(group)?.filter(|group| group.members.contains(&user.name)).map(|group| group.gid));
    }
    all.sort_unstable();
    all.dedup();
    let (name, home, shell) = match entry {
        Some(user) => (Some(user.name), filled(user.home), filled(user.shell)),
        None => (None, None, None),
    };
    Ok(Identity { uid, gid, groups: all, name, home, shell })
}

/// The number of a group, by the text of a `group` file.
///
/// # Errors
/// [`UserError::NoGroup`] when a name has no entry.
pub fn resolve_group(wanted: &NameOrId, group: &[u8]) -> Result<u32, UserError> {
    match wanted {
        NameOrId::Id(id) => Ok(*id),
        NameOrId::Name(name) => {
            let found = groups(group)?.find(|group| group.name == *name);
            found.map(|group| group.gid).ok_or_else(|| UserError::NoGroup(name.clone()))
        }
    }
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
