//! Which name means which image: one small file a reference, at the reference's own path.
//!
//! `refs/docker.io/library/alpine/_tags/latest`: a component of a repository begins with a letter or digit, so
//! `_tags` and `_digests` are never one. Looking a name up opens one file, whatever the number of images.

use crate::Error;
use crate::document::{Descriptor, json};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};
use skiff_oci::{Digest, Reference};
use skiff_store::{Directory, Durability};
use skiff_sys::Errno;
use skiff_sys::root::create_dirs_in_root;
use std::ffi::CString;

const RECORD_MAX: u64 = 64 << 10;
const TAGS: &str = "_tags";
const DIGESTS: &str = "_digests";

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The image: the digest of its configuration.
    pub image: Digest,
    /// What was asked for by this name: a manifest, or an index from which one was chosen.
    pub descriptor: Descriptor,
}

/// The names of a store.
#[derive(Debug)]
pub(crate) struct Names {
    root: Directory,
}

impl Names {
    pub fn open(content: &Directory) -> Result<Self, Error> {
        Ok(Self { root: content.subdirectory("refs")? })
    }

    /// Where a reference is kept, below `refs`. A digest says exactly what is meant, so a tag beside one adds nothing.
    pub fn path(reference: &Reference) -> String {
        let repository = reference.name();
        match reference.digest() {
            Some(digest) => format!("{repository}/{DIGESTS}/{}", digest.hex()),
            None => format!("{repository}/{TAGS}/{}", reference.tag().unwrap_or("latest")),
        }
    }

    pub fn get(&self, reference: &Reference) -> Result<Option<Target>, Error> {
        match self.root.read(&Self::path(reference), RECORD_MAX)? {
            Some(bytes) => json("reference", &bytes, RECORD_MAX).map(Some),
            None => Ok(None),
        }
    }

    pub fn set(&self, reference: &Reference, target: &Target) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(target).map_err(|source| Error::Json { what: "reference".into(), source })?;
        let path = Self::path(reference);
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", &path));
        Ok(self.make(directory)?.replace(name, &bytes, Durability::Fsync)?)
    }

    /// Forgets a name, and the directories that only it needed.
    pub fn remove(&self, reference: &Reference) -> Result<(), Error> {
        let path = Self::path(reference);
        self.root.unlink(&path)?;
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            match rustix::fs::unlinkat(self.root.fd(), parent, AtFlags::REMOVEDIR) {
                Ok(()) => above = parent,
                Err(Errno::NOTEMPTY | Errno::NOENT | Errno::EXIST) => break,
                Err(source) => {
                    let path = self.root.path().join(parent);
                    return Err(skiff_store::Error::File { what: "remove", path, source }.into());
                }
            }
        }
        Ok(())
    }

    /// All names, sorted.
    pub fn list(&self) -> Result<Vec<(Reference, Target)>, Error> {
        let mut found = Vec::new();
        for domain in self.root.names()? {
            if let Some(directory) = self.root.existing_subdirectory(&domain)? {
                self.list_below(&directory, &domain, &mut found)?;
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    fn list_below(
        &self,
        directory: &Directory,
        repository: &str,
        found: &mut Vec<(Reference, Target)>,
    ) -> Result<(), Error> {
        for name in directory.names()? {
            let Some(below) = directory.existing_subdirectory(&name)? else { continue };
            let separator = match name.as_str() {
                TAGS => ":",
                DIGESTS => "@sha256:",
                _ => {
                    self.list_below(&below, &format!("{repository}/{name}"), found)?;
                    continue;
                }
            };
            for last in below.names()? {
                let text = format!("{repository}{separator}{last}");
                if let (Ok(reference), Some(bytes)) = (text.parse(), below.read(&last, RECORD_MAX)?) {
                    found.push((reference, json("reference", &bytes, RECORD_MAX)?));
                }
            }
        }
        Ok(())
    }

    fn make(&self, path: &str) -> Result<Directory, Error> {
        let failed = |source| skiff_store::Error::File {
            what: "create directory",
            path: self.root.path().join(path),
            source,
        };
        let name = CString::new(path).map_err(|_| failed(Errno::INVAL))?;
        create_dirs_in_root(self.root.fd(), &name, Mode::RWXU).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.root.fd(), path, flags, Mode::empty()).map_err(failed)?;
        Ok(Directory::new(fd, self.root.path().join(path)))
    }
}
