//! The three spellings of mounts: `-v`, `--mount` and `--tmpfs`.

use std::path::{Path, PathBuf};

use skiff_engine::request::{Access, BindMount, IdMapWish, MountRequest, Propagation, Recursion, TmpfsMount};

use super::values::{self, ValueError};

/// Why a mount means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// Not `-v`.
    #[error("SOURCE:TARGET[:OPTIONS] is needed, such as /srv/data:/data:ro")]
    Volume,
    /// Not `--tmpfs`.
    #[error("TARGET[:OPTIONS] is needed, such as /run:size=64m")]
    Tmpfs,
    /// A volume by name, or without one.
    #[error("volumes can't be made yet: give the absolute path of a directory as source")]
    Named,
    /// No such option of `-v`.
    #[error("a mount has no option `{0}`")]
    Option(String),
    /// An option that is not for bind mounts.
    #[error("`{0}` is for volumes, and this is a directory of the host")]
    VolumeOption(&'static str),
    /// An option that will be there later.
    #[error("`{option}` can't be done yet: {instead}")]
    Later {
        /// The option.
        option: &'static str,
        /// What can be done.
        instead: &'static str,
    },
    /// Two options that say different things.
    #[error("`{0}` and `{1}` exclude each other")]
    Conflict(&'static str, &'static str),
    /// Not `key=value`.
    #[error("`{0}` is no field of a mount: type, source, target, readonly and others are")]
    Field(String),
    /// A field without its value.
    #[error("the field `{0}` needs a value")]
    FieldValue(String),
    /// A value that the field doesn't take.
    #[error("the field `{field}` takes no `{value}`")]
    FieldMeaning {
        /// The field.
        field: String,
        /// What was given.
        value: String,
    },
    /// A field that belongs to another type.
    #[error("the field `{field}` doesn't go with `type={kind}`")]
    FieldOfOther {
        /// The field.
        field: String,
        /// The type.
        kind: String,
    },
    /// A field that is needed.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A type that isn't there.
    #[error("mounts of type `{0}` can't be made yet: `bind` and `tmpfs` can")]
    Kind(String),
    /// A quote that never ends.
    #[error("a quote isn't closed")]
    Quote,
    /// A part is no value.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// `-v SOURCE:TARGET[:OPTIONS]`; a relative source starts at `here`.
pub fn volume(text: &str, here: &Path) -> Result<MountRequest, MountError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] if target.starts_with('/') => return Err(MountError::Named),
        [source, target] => (*source, *target, ""),
        [source, target, options @ ..] if !options.is_empty() => {
            // A colon in `idmap=1000:1000` belongs to the option.
            let length = source.len() + target.len() + 2;
            (*source, *target, text.get(length..).unwrap_or_default())
        }
        _ => return Err(MountError::Volume),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(MountError::Volume);
    }
    let source = host_path(source, here).ok_or(MountError::Named)?;
    let mut mount = bind(source, target);
    let mut access_word = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" => {
                let (word, access) =
                    if option == "ro" { ("ro", Access::ReadOnly) } else { ("rw", Access::ReadWrite) };
                if access_word.is_some_and(|earlier| earlier != word) {
                    return Err(MountError::Conflict("ro", "rw"));
                }
                access_word = Some(word);
                mount.access = access;
            }
            "rro" if access_word == Some("rw") => return Err(MountError::Conflict("rro", "rw")),
            // As Podman: nothing below it can be written either, or the start fails.
            "rro" => {
                access_word = Some("ro");
                mount.access = Access::ReadOnly;
                mount.recursion = Recursion::ReadOnly;
            }
            // Labels of SELinux mean nothing without it, and hints about consistency nothing on Linux: as Docker.
            "z" | "Z" | "cached" | "delegated" | "consistent" | "default" => {}
            "nocopy" => return Err(MountError::VolumeOption("nocopy")),
            "O" => return Err(MountError::Later { option: "O", instead: "mount it `ro`, or copy it" }),
            "U" => {
                return Err(MountError::Later {
                    option: "U",
                    instead: "`idmap` shows the files as the user's own",
                });
            }
            "idmap" => mount.idmap = Some(IdMapWish::ProcessUser),
            other => match (propagation(other), other.strip_prefix("idmap=")) {
                (Some(propagation), _) => mount.propagation = Some(propagation),
                (None, Some(ids)) => mount.idmap = Some(id_map(ids, "idmap")?),
                (None, None) => return Err(MountError::Option(other.to_owned())),
            },
        }
    }
    Ok(MountRequest::Bind(mount))
}

/// An absolute path stays; `.` and `..` start at `here`; anything else is a name.
fn host_path(source: &str, here: &Path) -> Option<PathBuf> {
    if source.starts_with('/') {
        return Some(PathBuf::from(source));
    }
    let first = source.split('/').next().unwrap_or_default();
    (first == "." || first == "..").then(|| here.join(source))
}

fn bind(source: PathBuf, target: &str) -> BindMount {
    BindMount {
        source,
        target: target.to_owned(),
        access: Access::ReadWrite,
        recursion: Recursion::Enabled,
        propagation: None,
        idmap: None,
    }
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::Private,
        "rprivate" => Propagation::Rprivate,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        _ => return None,
    })
}

fn id_map(ids: &str, field: &str) -> Result<IdMapWish, MountError> {
    let meaning = || MountError::FieldMeaning { field: field.to_owned(), value: ids.to_owned() };
    let (uid, gid) = ids.split_once(':').ok_or_else(meaning)?;
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok(IdMapWish::Ids { uid, gid }),
        _ => Err(meaning()),
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
pub fn tmpfs(text: &str) -> Result<MountRequest, MountError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(MountError::Tmpfs);
    }
    let options = options.split(',').filter(|option| !option.is_empty());
    let options = options.map(tmpfs_option).collect::<Result<_, _>>()?;
    Ok(MountRequest::Tmpfs(TmpfsMount { target: target.to_owned(), options }))
}

/// Sizes are written in bytes, as the kernel knows fewer spellings than we do; `50%` of memory it knows.
fn tmpfs_option(option: &str) -> Result<String, MountError> {
    match option.strip_prefix("size=") {
        Some(size) if !size.ends_with('%') => Ok(format!("size={}", values::bytes(size)?)),
        _ => Ok(option.to_owned()),
    }
}

/// `--mount type=…,source=…,target=…`.
pub fn mount(text: &str, here: &Path) -> Result<MountRequest, MountError> {
    let fields = fields(text)?;
    let kind = fields.iter().find(|(name, _)| name == "type").map_or("volume", |(_, value)| value);
    match kind {
        "bind" => bind_fields(&fields, here),
        "tmpfs" => tmpfs_fields(&fields),
        other => {
            match fields.iter().find(|(name, _)| unknown(name, other) == MountError::Field(name.clone())) {
                Some((name, _)) if !COMMON.contains(&name.as_str()) => Err(MountError::Field(name.clone())),
                _ => Err(MountError::Kind(other.to_owned())),
            }
        }
    }
}

/// The fields that every type of mount has.
const COMMON: [&str; 7] = ["type", "target", "dst", "destination", "readonly", "ro", "consistency"];

/// The fields of a line of CSV, in which quotes hold commas together; a field without `=` has an empty value.
fn fields(text: &str) -> Result<Vec<(String, String)>, MountError> {
    let mut fields = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let field = fields.last_mut().ok_or(MountError::Quote)?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted {
        return Err(MountError::Quote);
    }
    let pair = |field: String| match field.split_once('=') {
        Some((name, value)) => (name.to_ascii_lowercase(), value.to_owned()),
        None => (field.to_ascii_lowercase(), String::new()),
    };
    Ok(fields.into_iter().map(pair).collect())
}

fn bind_fields(fields: &[(String, String)], here: &Path) -> Result<MountRequest, MountError> {
    let mut source = None;
    let mut mount = bind(PathBuf::new(), "");
    for (name, value) in fields {
        let meaning = || MountError::FieldMeaning { field: name.clone(), value: value.clone() };
        match name.as_str() {
            "type" | "consistency" => {}
            "source" | "src" => source = Some(filled(name, value)?),
            "target" | "dst" | "destination" => filled(name, value)?.clone_into(&mut mount.target),
            "readonly" | "ro" => mount.access = access(value).ok_or_else(meaning)?,
            "bind-propagation" => mount.propagation = Some(propagation(value).ok_or_else(meaning)?),
            "bind-nonrecursive" => {
                mount.recursion =
                    if switch(value).ok_or_else(meaning)? { Recursion::Disabled } else { Recursion::Enabled };
            }
            "bind-recursive" => {
                mount.recursion = match value.as_str() {
                    "enabled" => Recursion::Enabled,
                    "disabled" => Recursion::Disabled,
                    "writable" => Recursion::Writable,
                    "readonly" => Recursion::ReadOnly,
                    _ => return Err(meaning()),
                };
            }
            "idmap" if value.is_empty() => mount.idmap = Some(IdMapWish::ProcessUser),
            "idmap" => mount.idmap = Some(id_map(value, name)?),
            other => return Err(unknown(other, "bind")),
        }
    }
    let source = source.ok_or(MountError::Missing("source"))?;
    mount.source = if source.starts_with('/') { PathBuf::from(source) } else { here.join(source) };
    if mount.target.is_empty() {
        return Err(MountError::Missing("target"));
    }
    Ok(MountRequest::Bind(mount))
}

fn tmpfs_fields(fields: &[(String, String)]) -> Result<MountRequest, MountError> {
    let mut target = None;
    let mut options = Vec::new();
    for (name, value) in fields {
        let meaning = || MountError::FieldMeaning { field: name.clone(), value: value.clone() };
        match name.as_str() {
            "type" | "consistency" => {}
            "source" | "src" => return Err(unknown(name, "tmpfs")),
            "target" | "dst" | "destination" => target = Some(filled(name, value)?.to_owned()),
            "readonly" | "ro" => match access(value).ok_or_else(meaning)? {
                Access::ReadOnly => options.push("ro".to_owned()),
                Access::ReadWrite => {}
            },
            "tmpfs-size" => options.push(format!("size={}", values::bytes(filled(name, value)?)?)),
            "tmpfs-mode" => match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o7777 => options.push(format!("mode={mode:o}")),
                _ => return Err(meaning()),
            },
            other => return Err(unknown(other, "tmpfs")),
        }
    }
    let target = target.ok_or(MountError::Missing("target"))?;
    Ok(MountRequest::Tmpfs(TmpfsMount { target, options }))
}

fn filled<'a>(name: &str, value: &'a str) -> Result<&'a str, MountError> {
    if value.is_empty() { Err(MountError::FieldValue(name.to_owned())) } else { Ok(value) }
}

fn access(value: &str) -> Option<Access> {
    switch(value).map(|readonly| if readonly { Access::ReadOnly } else { Access::ReadWrite })
}

/// A field alone means yes.
fn switch(value: &str) -> Option<bool> {
    if value.is_empty() { Some(true) } else { values::truth(value).ok() }
}

/// A field of another type, or of none.
fn unknown(field: &str, kind: &str) -> MountError {
    let exists = ["source", "src", "bind-", "volume-", "tmpfs-", "image-", "idmap"]
        .iter()
        .any(|known| field.starts_with(known));
    match exists {
        true => MountError::FieldOfOther { field: field.to_owned(), kind: kind.to_owned() },
        false => MountError::Field(field.to_owned()),
    }
}

#[cfg(test)]
mod tests;
