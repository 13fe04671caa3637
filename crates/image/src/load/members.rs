//! The files of an archive of images, hashed and written down, by their names in it.

use crate::archive::{Archive, Entry, EntryKind};
use crate::blob::Ingested;
use crate::content::Content;
use crate::{Error, limits};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

/// What was in the archive.
pub(super) struct Members {
    /// By normalized path; a link leads to another path.
    names: BTreeMap<String, Member>,
    files: Vec<Ingested>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    File(usize),
    Link(String),
}

impl Members {
    /// Reads a whole archive.
    ///
    /// # Errors
    /// [`Error::Refused`] for what such an archive can't have: two files of one name, devices, paths out of it.
    pub fn read(input: impl BufRead, content: &Content<'_>) -> Result<Self, Error> {
        let mut archive = Archive::new(input);
        let mut members = Self { names: BTreeMap::new(), files: Vec::new() };
        while let Some(entry) = archive.next_entry()? {
            let refused = |why| Error::Refused { path: entry.path.clone(), why };
            if members.names.len() == limits::MEMBERS {
                return Err(refused("an archive of images with that many files is not read"));
            }
            let member = match &entry.kind {
                EntryKind::Directory => continue,
                EntryKind::File if entry.sparse.is_some() => {
                    return Err(refused("a sparse file in an archive of images"));
                }
                EntryKind::File => {
                    let mut ingest = content.blobs.begin()?;
                    archive.data(|bytes| ingest.write_all(bytes))?;
                    members.files.push(ingest.finish());
                    Member::File(members.files.len() - 1)
                }
                EntryKind::Symlink(target) => Member::Link(beside(&entry, target)?),
                EntryKind::HardLink(target) => Member::Link(normalized(&entry, target)?),
                _ => return Err(refused("a device or pipe in an archive of images")),
            };
            let name = normalized(&entry, &entry.path)?;
            if members.names.insert(name, member).is_some() {
                return Err(refused("two files of this name"));
            }
        }
        Ok(members)
    }

    /// The number of the file with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        let mut name = name;
        // Docker links the layers that images share; a chain of such links is short.
        for _ in 0..8 {
            match self.names.get(name)? {
                Member::File(number) => return Some(*number),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// The file with a number that [`Members::find`] gave.
    pub fn get(&self, number: usize) -> &Ingested {
        &self.files[number]
    }

    /// The small file with this name.
    pub fn read_named(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let number = self.find(name).ok_or_else(|| Error::document(name, "it is not in the archive"))?;
        self.get(number).read(name, limit)
    }
}

/// The target of a symbolic link, which begins in the directory of the link.
fn beside(entry: &Entry, target: &[u8]) -> Result<String, Error> {
    let slash = entry.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    normalized(entry, &[&entry.path[..slash], target].concat())
}

/// A path without `.` and `..`, which must not lead out of the archive.
fn normalized(entry: &Entry, path: &[u8]) -> Result<String, Error> {
    let refused = |why| Error::Refused { path: entry.path.clone(), why };
    let text = std::str::from_utf8(path).map_err(|_| refused("a name that is no UTF-8"))?;
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| refused("a path out of the archive"))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
