//! Extended headers of the pax format: `LENGTH KEY=VALUE\n`, strictly.

use super::{Problem, Timestamp};
use crate::limits;

/// The records that change what an entry means; all others are vendors' own or of no effect.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Timestamp>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

/// What pax says of a sparse file (format 1.0).
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
}

impl Records {
    /// Parses the body of an `x` header.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut records = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for record in split(body) {
            let (key, value) = record?;
            if !seen.insert(key) {
                return Err(Problem::Pax("a key occurs twice"));
            }
            records.take(key, value)?;
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => self.path = Some(text(value)?),
            b"linkpath" => self.link = Some(text(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or(Problem::Pax("a time is no number"))?),
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value)?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(decimal(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(text(value)?),
            b"GNU.sparse.realsize" => self.sparse.real_size = Some(decimal(value)?),
            b"hdrcharset" if value != b"BINARY" && value != b"ISO-IR 10646 2000 UTF-8" => {
                return Err(Problem::Pax("a character set other than UTF-8"));
            }
            b"hdrcharset" | b"charset" | b"atime" | b"ctime" | b"uname" | b"gname" | b"comment" => {}
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(Problem::Sparse("formats 0.0 and 0.1 are not supported"));
            }
            b"SCHILY.realsize" => return Err(Problem::Sparse("star's format is not supported")),
            _ => match key.strip_prefix(b"SCHILY.xattr.") {
                Some(name) => self.take_xattr(name, value)?,
                // A vendor's key has a dot and leaves the entry's meaning alone.
                None if key.contains(&b'.') => {}
                None => return Err(Problem::Pax("an unknown key")),
            },
        }
        Ok(())
    }

    fn take_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), Problem> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(Problem::Pax("the name of an extended attribute"));
        }
        if value.len() > limits::XATTR_VALUE {
            return Err(limit("bytes of an extended attribute", limits::XATTR_VALUE));
        }
        if self.xattrs.len() == limits::XATTRS {
            return Err(limit("extended attributes of one entry", limits::XATTRS));
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Checks a global header: it may comment on the archive, and nothing else.
///
/// # Errors
/// [`Problem::Ambiguous`] when it would change the entries that follow: readers differ in how.
pub(super) fn check_global(body: &[u8]) -> Result<(), Problem> {
    for record in split(body) {
        let (key, _) = record?;
        if key != b"comment" {
            return Err(Problem::Ambiguous("a global header that changes all entries"));
        }
    }
    Ok(())
}

fn limit(what: &'static str, limit: usize) -> Problem {
    Problem::Limit { what, limit: limit as u64 }
}

/// The records of a body, until the first that is malformed.
fn split(mut body: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Problem>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = next_record(body);
        match record {
            Some((key, value, rest)) => {
                body = rest;
                Some(Ok((key, value)))
            }
            None => {
                body = &[];
                Some(Err(Problem::Pax("a record's length, key or newline")))
            }
        }
    })
}

fn next_record(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = body.iter().take(8).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&body[..space]).ok()?).ok()?;
    let record = body.get(space + 1..length)?;
    let (&newline, record) = record.split_last()?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let is_valid = newline == b'\n' && !key.is_empty() && !key.contains(&0) && body[0] != b'0';
    is_valid.then_some((key, value, &body[length..]))
}

/// A path: not empty (which would mean "forget it", and not to all readers) and without a NUL.
fn text(value: &[u8]) -> Result<Vec<u8>, Problem> {
    if value.is_empty() || value.contains(&0) {
        return Err(Problem::Pax("an empty path, or a NUL in one"));
    }
    Ok(value.to_vec())
}

/// As many digits as the largest number has.
pub(super) const DECIMAL_MAX: usize = 20;

/// Decimal digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Result<u64, Problem> {
    let bad = Problem::Pax("a number");
    if digits.is_empty() || digits.len() > DECIMAL_MAX {
        return Err(bad);
    }
    digits
        .iter()
        .try_fold(0_u64, |value, &digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(bad)
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are dropped.
fn time(value: &[u8]) -> Option<Timestamp> {
    let (is_negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?).ok()?).ok()?;
    let fraction = parts.next().unwrap_or(b"0");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    match (is_negative, nanoseconds) {
        (false, _) => Some(Timestamp { seconds, nanoseconds }),
        (true, 0) => Some(Timestamp { seconds: -seconds, nanoseconds: 0 }),
        // −1.25 is 0.75 after −2.
        (true, _) => Some(Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }),
    }
}
