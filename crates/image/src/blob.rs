//! Content by digest.
//!
//! Invariant (R22): a file in `blobs/sha256/` has the digest that is its name, because it was hashed while it
//! was written elsewhere and got its name after that. What has no name yet lies in `ingest/` and belongs to who
//! writes it.

use crate::Error;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use skiff_oci::Digest;
use skiff_store::{Directory, random_hex};
use skiff_sys::{Errno, fail};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

/// The blobs of a store.
#[derive(Debug)]
pub(crate) struct Blobs {
    named: Directory,
    ingest: Arc<Directory>,
}

impl Blobs {
    pub fn open(content: &Directory) -> Result<Self, Error> {
        let named = content.subdirectory("blobs")?.subdirectory("sha256")?;
        Ok(Self { named, ingest: Arc::new(content.subdirectory("ingest")?) })
    }

    /// Begins a blob whose digest will be known at its end.
    pub fn begin(&self) -> Result<Ingest, Error> {
        let name = random_hex::<16>()?;
        let file = File::from(self.ingest.create_new(&name)?);
        let pending = Pending { directory: Arc::clone(&self.ingest), name };
        Ok(Ingest { file, hasher: Sha256::new(), size: 0, pending })
    }

    /// Gives a finished blob its name. That another process had the same blob is success.
    pub fn publish(&self, ingested: &Ingested) -> Result<(), Error> {
        fail::point("image.publish-blob").map_err(self.failed("store", ingested.digest))?;
        let (from, to) = (&ingested.pending.name, ingested.digest.hex());
        match rustix::fs::linkat(
            self.ingest.fd(),
            from.as_str(),
            self.named.fd(),
            to.as_str(),
            rustix::fs::AtFlags::empty(),
        ) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.failed("store", ingested.digest)(errno)),
        }
    }

    /// Stores a small blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if self.has(digest)? {
            return Ok(digest);
        }
        let mut ingest = self.begin()?;
        ingest.write_all(bytes).map_err(|source| Error::Read { what: "blob".into(), source })?;
        self.publish(&ingest.finish())?;
        Ok(digest)
    }

    pub fn has(&self, digest: Digest) -> Result<bool, Error> {
        match rustix::fs::statat(self.named.fd(), digest.hex(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("stat", digest)(errno)),
        }
    }

    /// A small blob.
    ///
    /// # Errors
    /// [`Error::Missing`] names `what` is missing.
    pub fn read(&self, what: &'static str, digest: Digest, limit: u64) -> Result<Vec<u8>, Error> {
        self.named.read(&digest.hex(), limit)?.ok_or(Error::Missing { what, digest })
    }

    /// Removes all blobs that `keep` doesn't want, and what was left in `ingest`. The caller holds the content lock
    /// alone, so nobody is writing.
    pub fn retain(&self, keep: impl Fn(Digest) -> bool) -> Result<Vec<Digest>, Error> {
        let mut removed = Vec::new();
        for name in self.named.names()? {
            match Digest::from_hex(&name) {
                Ok(digest) if keep(digest) => {}
                Ok(digest) => {
                    self.named.unlink(&name)?;
                    removed.push(digest);
                }
                Err(_) => self.named.unlink(&name)?,
            }
        }
        self.sweep()?;
        Ok(removed)
    }

    /// Removes what crashed writers left. The caller holds the content lock alone.
    pub fn sweep(&self) -> Result<(), Error> {
        for name in self.ingest.names()? {
            self.ingest.unlink(&name)?;
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, digest: Digest) -> impl FnOnce(Errno) -> Error {
        let path = self.named.path().join(digest.hex());
        move |source| skiff_store::Error::File { what, path, source }.into()
    }
}

/// A file in `ingest/` that goes when this is dropped.
#[derive(Debug)]
struct Pending {
    directory: Arc<Directory>,
    name: String,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // It may be swept already, and a drop has nobody to tell; what stays is swept by a later command.
        let _swept_later = self.directory.unlink(&self.name);
    }
}

/// A blob that is being written.
#[derive(Debug)]
pub(crate) struct Ingest {
    file: File,
    hasher: Sha256,
    size: u64,
    pending: Pending,
}

/// A blob that was written and has no name yet.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub digest: Digest,
    pub size: u64,
    pending: Pending,
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fail::point("image.write-blob").map_err(io::Error::from)?;
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest {
    pub fn finish(self) -> Ingested {
        let digest = Digest::from_bytes(self.hasher.finalize().into());
        Ingested { digest, size: self.size, pending: self.pending }
    }
}

impl Ingested {
    /// All its bytes, when they are few.
    ///
    /// # Errors
    /// [`Error::Document`] when they are more than `limit`.
    pub fn read(&self, what: &str, limit: u64) -> Result<Vec<u8>, Error> {
        if self.size > limit {
            return Err(Error::document(what, format!("more than {limit} bytes")));
        }
        let bytes = self.pending.directory.read(&self.pending.name, limit)?;
        bytes.ok_or_else(|| Error::document(what, "it was removed while it was read"))
    }

    /// The bytes, for reading.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub fn open(&self) -> Result<File, Error> {
        let Pending { directory, name } = &self.pending;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory.fd(), name.as_str(), flags, Mode::empty()) {
            Ok(fd) => Ok(File::from(fd)),
            Err(source) => {
                Err(skiff_store::Error::File { what: "open", path: directory.path().join(name), source }
                    .into())
            }
        }
    }
}
