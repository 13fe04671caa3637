//! Reader of `/proc/PID/mountinfo` (see proc_pid_mountinfo(5)), one borrowed [`Mount`] a line.
//!
//! Nothing is copied but the paths that hold an escape: a host with a thousand mounts costs one pass over
//! the text. Lines are bytes, because a mount point may be any bytes but NUL.

use std::borrow::Cow;
use std::fmt;

/// One line of mountinfo. Paths are as the kernel wrote them; [`unescape`] makes them real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Id of the mount, unique until it is unmounted.
    pub id: u32,
    /// Id of the mount it is mounted on, or its own at the top of the tree.
    pub parent: u32,
    /// Major number of the filesystem's device.
    pub major: u32,
    /// Minor number of the filesystem's device.
    pub minor: u32,
    /// The directory of the filesystem that forms the root of this mount, escaped.
    pub root: &'a [u8],
    /// Where it is mounted, relative to the root of the process, escaped.
    pub mount_point: &'a [u8],
    /// Options of the mount, comma-separated.
    pub options: &'a [u8],
    /// Zero or more of `shared:N`, `master:N`, `propagate_from:N`, `unbindable`, separated by spaces.
    pub optional: &'a [u8],
    /// Filesystem type, with a subtype after a dot (`fuse.sshfs`), escaped.
    pub fs_type: &'a [u8],
    /// What was mounted, or `none`, escaped.
    pub source: &'a [u8],
    /// Options of the filesystem, comma-separated.
    pub super_options: &'a [u8],
}

/// A line that is not one of mountinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mountinfo line {line} has no valid {field}")]
pub struct Malformed {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is missing or wrong there.
    pub field: Field,
}

/// The parts of a line, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The mount's id.
    Id,
    /// The parent's id.
    Parent,
    /// `major:minor`.
    Device,
    /// The root inside the filesystem.
    Root,
    /// The mount point.
    MountPoint,
    /// The mount's options.
    Options,
    /// The `-` after the optional fields.
    Separator,
    /// The filesystem's type.
    FsType,
    /// The source.
    Source,
    /// The filesystem's options.
    SuperOptions,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Id => "mount id",
            Field::Parent => "parent id",
            Field::Device => "device number",
            Field::Root => "root",
            Field::MountPoint => "mount point",
            Field::Options => "options",
            Field::Separator => "separator",
            Field::FsType => "filesystem type",
            Field::Source => "source",
            Field::SuperOptions => "filesystem options",
        })
    }
}

/// The mounts of a mountinfo text, in the kernel's order: a later mount at the same place hides an earlier.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Result<Mount<'_>, Malformed>> {
    text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()).map(|(index, line)| {
        line_of(line).map_err(|field| Malformed { line: index.saturating_add(1), field })
    })
}

fn line_of(line: &[u8]) -> Result<Mount<'_>, Field> {
    let mut rest = line;
    let id = number(word(&mut rest)).ok_or(Field::Id)?;
    let parent = number(word(&mut rest)).ok_or(Field::Parent)?;
    let (major, minor) = device(word(&mut rest)).ok_or(Field::Device)?;
    let root = word(&mut rest).ok_or(Field::Root)?;
    let mount_point = word(&mut rest).ok_or(Field::MountPoint)?;
    let options = word(&mut rest).ok_or(Field::Options)?;
    let optional = until_separator(&mut rest).ok_or(Field::Separator)?;
    let fs_type = word(&mut rest).ok_or(Field::FsType)?;
    // The kernel writes an empty source as two spaces, so this one word may be empty.
    let source = maybe_empty_word(&mut rest).ok_or(Field::Source)?;
    let super_options = word(&mut rest).ok_or(Field::SuperOptions)?;
    Ok(Mount {
        id,
        parent,
        major,
        minor,
        root,
        mount_point,
        options,
        optional,
        fs_type,
        source,
        super_options,
    })
}

/// Takes one word and the space after it.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    maybe_empty_word(rest).filter(|word| !word.is_empty())
}

fn maybe_empty_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let whole = *rest;
    match whole.iter().position(|&byte| byte == b' ').and_then(|at| whole.split_at_checked(at)) {
        Some((word, after)) => {
            *rest = after.get(1..).unwrap_or_default();
            Some(word)
        }
        None => {
            *rest = &[];
            Some(whole)
        }
    }
}

/// Takes the optional fields and the `-` that ends them.
fn until_separator<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *rest;
    if let Some(after) = whole.strip_prefix(b"- ") {
        *rest = after;
        return Some(&[]);
    }
    let at = whole.windows(3).position(|window| window == b" - ")?;
    let (optional, after) = whole.split_at_checked(at)?;
    *rest = after.get(3..)?;
    Some(optional)
}

fn number(word: Option<&[u8]>) -> Option<u32> {
    let word = word.filter(|word| word.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn device(word: Option<&[u8]>) -> Option<(u32, u32)> {
    let word = word?;
    let colon = word.iter().position(|&byte| byte == b':')?;
    Some((number(word.get(..colon))?, number(word.get(colon.saturating_add(1)..))?))
}

/// Undoes the kernel's octal escapes: `\040` space, `\011` tab, `\012` newline, `\134` backslash, and any
/// other `\NNN` up to 255. Text that only looks like an escape stays as it is.
pub fn unescape(escaped: &[u8]) -> Cow<'_, [u8]> {
    if !escaped.contains(&b'\\') {
        return Cow::Borrowed(escaped);
    }
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&first, after)) = rest.split_first() {
        match octal(rest) {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&[backslash, a, b, c], after) = text.split_first_chunk::<4>()?;
    if backslash != b'\\' {
        return None;
    }
    let mut value: u8 = 0;
    for digit in [a, b, c] {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value = value.checked_mul(8)?.checked_add(digit)?;
    }
    Some((value, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Result<Mount<'_>, Malformed> {
        parse(line.as_bytes()).next().expect("a line")
    }

    #[test]
    fn a_line_with_optional_fields_is_taken_apart() {
        let mount =
            one("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n")
                .expect("valid");
        assert_eq!((mount.id, mount.parent, mount.major, mount.minor), (36, 35, 98, 0));
        assert_eq!((mount.root, mount.mount_point), (&b"/mnt1"[..], &b"/mnt2"[..]));
        assert_eq!(mount.optional, b"master:1 shared:7");
        assert_eq!((mount.fs_type, mount.source), (&b"ext3"[..], &b"/dev/root"[..]));
        assert_eq!(mount.super_options, b"rw,errors=continue");
    }

    #[test]
    fn optional_fields_and_the_source_may_be_empty() {
        let mount = one("32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup  rw,cpu").expect("valid");
        assert_eq!((mount.optional, mount.source), (&b""[..], &b""[..]));
        assert_eq!(mount.super_options, b"rw,cpu");
    }

    #[test]
    fn a_malformed_line_is_named() {
        assert_eq!(one("x 31 0:29 / / rw - t s o").expect_err("id").field, Field::Id);
        assert_eq!(one("1 31 0-29 / / rw - t s o").expect_err("device").field, Field::Device);
        assert_eq!(one("1 31 0:29 / / rw shared:1 t s o").expect_err("separator").field, Field::Separator);
        let second = parse(b"1 31 0:29 / / rw - t s o\n1 31 0:29 / / rw - t s").nth(1).expect("two");
        assert_eq!(second, Err(Malformed { line: 2, field: Field::SuperOptions }));
    }

    #[test]
    fn escapes_become_bytes_and_look_alikes_stay() {
        assert_eq!(&*unescape(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(&*unescape(br"\999\7\400"), br"\999\7\400");
        assert!(matches!(unescape(b"/plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_mounts_of_this_process_parse() {
        let text = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
        let mounts: Vec<_> = parse(&text).collect::<Result<_, _>>().expect("all lines are valid");
        assert!(mounts.iter().any(|mount| mount.mount_point == b"/"));
    }

    /// Escapes as the kernel's `seq_path` and `mangle` do.
    fn escape(plain: &[u8]) -> Vec<u8> {
        plain.iter().fold(Vec::new(), |mut out, &byte| {
            if b" \t\n\\#".contains(&byte) {
                out.extend(format!("\\{byte:03o}").bytes());
            } else {
                out.push(byte);
            }
            out
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            path in proptest::collection::vec(1u8.., 1..40),
            source in proptest::collection::vec(1u8.., 0..20),
            id: u32,
        ) {
            let mut line = format!("{id} 1 0:7 / ").into_bytes();
            line.extend(escape(&path));
            line.extend(b" rw shared:3 - tmpfs ");
            line.extend(escape(&source));
            line.extend(b" rw\n");
            let mount = parse(&line).next().expect("a line").expect("valid");
            prop_assert_eq!(mount.id, id);
            prop_assert_eq!(&*unescape(mount.mount_point), &path[..]);
            prop_assert_eq!(&*unescape(mount.source), &source[..]);
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            for mount in parse(&text).flatten() {
                prop_assert!(unescape(mount.root).len() <= mount.root.len());
            }
        }
    }
}
