//! Layers, unpacked once and shared by all images that have them.
//!
//! Invariant: `layers/<chain id>/diff` is whole, and came from a tar whose digest was what its chain id says. It is
//! filled in `drafts/`, where nobody looks, and gets its name by a rename.

use crate::archive::{Archive, Problem};
use crate::compression::{self, Compression};
use crate::document::Packing;
use crate::hashing::Hashing;
use crate::unpack::{self, Position, Unpacked};
use crate::{Error, pipeline};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use serde::{Deserialize, Serialize};
use skiff_oci::{ChainId, DiffId, Digest};
use skiff_store::{Directory, Store, random_hex};
use skiff_sys::root::open_in_root;
use skiff_sys::{Errno, fail};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

const RECORD: &str = "layer.json";
const RECORD_MAX: u64 = 64 << 10;
const READ_BUFFER: usize = 256 << 10;

/// What is known of a layer, beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of all its files.
    pub size: u64,
}

/// The layers of a store.
#[derive(Debug)]
pub(crate) struct Layers {
    named: Directory,
    drafts: Arc<Directory>,
}

impl Layers {
    pub fn open(store: &Store) -> Result<Self, Error> {
        let root = store.root();
        Ok(Self { named: root.subdirectory("layers")?, drafts: Arc::new(root.subdirectory("drafts")?) })
    }

    /// Where the files of a layer are.
    pub fn path(&self, chain: ChainId) -> PathBuf {
        self.named.path().join(chain.0.hex()).join("diff")
    }

    pub fn has(&self, chain: ChainId) -> Result<bool, Error> {
        match rustix::fs::statat(self.named.fd(), chain.0.hex(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(source) => Err(self.failed("stat", chain)(source)),
        }
    }

    pub fn record(&self, chain: ChainId) -> Result<Option<Record>, Error> {
        let Some(directory) = self.named.existing_subdirectory(&chain.0.hex())? else { return Ok(None) };
        match directory.read(RECORD, RECORD_MAX)? {
            Some(bytes) => crate::document::json(RECORD, &bytes, RECORD_MAX).map(Some),
            None => Ok(None),
        }
    }

    /// A place to unpack into.
    pub fn draft(&self) -> Result<Draft, Error> {
        let name = random_hex::<16>()?;
        let directory = self.drafts.subdirectory(&name)?;
        let pending = Pending { drafts: Arc::clone(&self.drafts), name };
        let diff = directory.subdirectory("diff")?;
        // The container's `/`, unless the layer says otherwise.
        rustix::fs::fchmod(diff.fd(), Mode::from_raw_mode(0o755)).map_err(|source| {
            skiff_store::Error::File { what: "set mode of", path: diff.path().clone(), source }
        })?;
        Ok(Draft { directory, diff, pending })
    }

    /// Gives a draft its name. That another process was faster with the same layer is success.
    pub fn publish(&self, draft: Draft, chain: ChainId, record: &Record) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(record).map_err(|source| Error::Json { what: RECORD.into(), source })?;
        draft.directory.write_new(RECORD, &bytes)?;
        fail::point("image.publish-layer").map_err(self.failed("store", chain))?;
        let (from, to) = (draft.pending.name.as_str(), chain.0.hex());
        match rustix::fs::renameat(self.drafts.fd(), from, self.named.fd(), to.as_str()) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(source) => Err(self.failed("store", chain)(source)),
        }
    }

    /// Takes all layers away that `keep` doesn't want: they are in `trash`, under names of their own, when this
    /// returns. The caller holds the content lock alone.
    pub fn retain(&self, keep: impl Fn(ChainId) -> bool, trash: &Directory) -> Result<Vec<ChainId>, Error> {
        let mut removed = Vec::new();
        for name in self.named.names()? {
            let chain = Digest::from_hex(&name).ok().map(ChainId);
            if chain.is_some_and(&keep) {
                continue;
            }
            let to = format!("layer-{}", random_hex::<16>()?);
            rustix::fs::renameat(self.named.fd(), name.as_str(), trash.fd(), to.as_str()).map_err(
                |source| skiff_store::Error::File {
                    what: "remove",
                    path: self.named.path().join(&name),
                    source,
                },
            )?;
            removed.extend(chain);
        }
        self.sweep()?;
        Ok(removed)
    }

    /// Removes what crashed unpackers left. The caller holds the content lock alone.
    pub fn sweep(&self) -> Result<(), Error> {
        for name in self.drafts.names()? {
            self.drafts.remove_tree(&name)?;
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, chain: ChainId) -> impl FnOnce(Errno) -> Error {
        let path = self.named.path().join(chain.0.hex());
        move |source| skiff_store::Error::File { what, path, source }.into()
    }
}

/// A layer that is being made, and goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    directory: Directory,
    diff: Directory,
    pending: Pending,
}

#[derive(Debug)]
struct Pending {
    drafts: Arc<Directory>,
    name: String,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // A drop has nobody to tell; what stays is swept by a later command.
        let _swept_later = self.drafts.remove_tree(&self.name);
    }
}

impl Draft {
    /// Unpacks the stored bytes of a layer, which must be packed as `packing` says and must be `diff_id`.
    pub fn unpack(
        &self,
        blob: File,
        packing: Option<Packing>,
        diff_id: DiffId,
        position: Position,
    ) -> Result<Unpacked, Error> {
        let failed = |source| Error::Read { what: format!("layer {diff_id}"), source };
        let (compression, input) = compression::sniff(blob).map_err(failed)?;
        check_packing(packing, compression)?;
        let (produced, consumed) = pipeline::run(
            |sender| decode_to(sender, BufReader::with_capacity(READ_BUFFER, input), compression),
            |receiving| {
                let mut hashing = Hashing::new(receiving);
                let unpacked = self.unpack_tar(&mut hashing, position)?;
                Ok::<_, Error>((unpacked, hashing.finish().0))
            },
        );
        let (unpacked, found) = one_error(produced, consumed).map_err(|error| error.into_error(failed))?;
        if found != diff_id.0 {
            let what = "the digest of a layer's content".to_owned();
            return Err(Error::Mismatch { what, expected: diff_id.to_string(), found: found.to_string() });
        }
        Ok(unpacked)
    }

    /// Unpacks an uncompressed archive.
    pub fn unpack_tar(&self, input: impl io::BufRead, position: Position) -> Result<Unpacked, Error> {
        unpack::unpack(&mut Archive::new(input), self.diff.fd(), position)
    }

    /// Gives the directories that the archive only implied what the layers below (lowest first) say about them.
    pub fn adopt(&self, implied: &[Vec<u8>], below: &[PathBuf]) -> Result<(), Error> {
        for path in implied {
            for lower in below.iter().rev() {
                if adopt_from(&self.diff, lower, path)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn adopt_from(diff: &Directory, lower: &PathBuf, path: &[u8]) -> Result<bool, Error> {
    let failed = |what| {
        let path = path.to_vec();
        move |source| Error::Entry { path, what, source }
    };
    let Ok(name) = std::ffi::CString::new(path) else { return Ok(false) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lower = rustix::fs::open(lower, flags, Mode::empty()).map_err(|source| skiff_store::Error::File {
        what: "open layer",
        path: lower.clone(),
        source,
    })?;
    let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
    let there = match rustix::fs::openat2(&lower, &name, flags, Mode::empty(), resolve) {
        Ok(directory) => rustix::fs::fstat(&directory).map_err(failed("stat"))?,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(source) => return Err(failed("open directory of a lower layer")(source)),
    };
    let own = open_in_root(diff.fd(), &name, flags, Mode::empty()).map_err(failed("open directory"))?;
    let (owner, group) = (Uid::from_raw(there.st_uid), Gid::from_raw(there.st_gid));
    rustix::fs::fchown(&own, Some(owner), Some(group)).map_err(failed("set owner"))?;
    rustix::fs::fchmod(&own, Mode::from_raw_mode(there.st_mode & 0o7777)).map_err(failed("set mode"))?;
    let time = Timespec { tv_sec: there.st_mtime, tv_nsec: i64::try_from(there.st_mtime_nsec).unwrap_or(0) };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(&own, &times).map_err(failed("set times"))?;
    Ok(true)
}

/// The bytes must be packed as the media type says, or another reader takes them for something else (R22).
fn check_packing(packing: Option<Packing>, found: Compression) -> Result<(), Error> {
    let expected = match packing {
        None => return Ok(()),
        Some(Packing::Tar) => Compression::None,
        Some(Packing::Gzip) => Compression::Gzip,
        Some(Packing::Zstd) => Compression::Zstd,
    };
    if expected == found {
        return Ok(());
    }
    let what = "the packing of a layer".to_owned();
    Err(Error::Mismatch { what, expected: expected.name().into(), found: found.name().into() })
}

/// Decodes all of `input`, after which nothing may follow.
pub(crate) fn decode_to(
    sender: &mut pipeline::Sender,
    mut input: impl io::BufRead + Send,
    compression: Compression,
) -> io::Result<()> {
    sender.send_all(compression::decode(&mut input, compression)?)?;
    pipeline::expect_end(input)
}

/// What went wrong on which side of a pipeline.
pub(crate) enum Side {
    Producer(io::Error),
    Consumer(Error),
}

impl Side {
    pub fn into_error(self, producer: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Producer(error) => producer(error),
            Self::Consumer(error) => error,
        }
    }
}

/// The answer of a pipeline: when the consumer saw the stream break off, the producer knows why.
pub(crate) fn one_error<T>(produced: io::Result<()>, consumed: Result<T, Error>) -> Result<T, Side> {
    match (produced, consumed) {
        (Ok(()), Ok(value)) => Ok(value),
        (Ok(()), Err(error)) => Err(Side::Consumer(error)),
        (Err(error), Ok(_)) => Err(Side::Producer(error)),
        (Err(source), Err(error)) => {
            let broke_off = matches!(
                &error,
                Error::Archive(archive) if matches!(&archive.problem, Problem::Read(_))
            );
            Err(if broke_off { Side::Producer(source) } else { Side::Consumer(error) })
        }
    }
}
