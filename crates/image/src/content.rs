//! All of a store's content, opened to be changed.
//!
//! Who adds holds the content lock shared, who collects garbage holds it alone: so nothing is collected that
//! somebody is about to name. What is durable in which order (R27): blobs and layers, one `syncfs`, then the record
//! of the image, then its names.

use crate::blob::{Blobs, Ingested};
use crate::document::{self, Descriptor, Manifest, Packing, json};
use crate::layer::{Draft, Layers, Record};
use crate::names::{Names, Target};
use crate::unpack::{Position, Unpacked};
use crate::{Error, limits};
use serde::{Deserialize, Serialize};
use skiff_oci::image::ImageConfiguration;
use skiff_oci::{ChainId, DiffId, Digest, Reference};
use skiff_store::{Directory, Durability, Kind, Lock, Patience, Store};
use skiff_sys::{Errno, fail};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const LOCK: &str = "lock";
const RECORD_MAX: u64 = 64 << 10;
/// Layers that are unpacked at once; each has a second thread that decodes.
const UNPACKERS: usize = 2;

/// What is known of an image beside its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Its manifest.
    pub manifest: Descriptor,
}

/// The content of a store.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    store: &'a Store,
    pub blobs: Blobs,
    pub layers: Layers,
    pub names: Names,
    pub records: Directory,
    _lock: Lock,
}

/// An image whose blobs and layers are in the store, and that is about to be named.
pub(crate) struct NewImage {
    pub manifest: Manifest,
    pub manifest_bytes: Vec<u8>,
    pub config: Digest,
    pub names: Vec<Reference>,
}

impl<'a> Content<'a> {
    /// Opens the content and takes its lock.
    pub fn open(store: &'a Store, kind: Kind, patience: Patience) -> Result<Self, Error> {
        let content = store.root().subdirectory("content")?;
        let lock = Lock::acquire(&content, LOCK, kind, patience)?;
        Ok(Self {
            store,
            blobs: Blobs::open(&content)?,
            layers: Layers::open(store)?,
            names: Names::open(&content)?,
            records: content.subdirectory("images")?,
            _lock: lock,
        })
    }

    /// Opens the content to add to it. If nobody else is at it, what crashed commands left is swept first.
    pub fn open_to_add(store: &'a Store) -> Result<Self, Error> {
        match Self::open(store, Kind::Exclusive, Patience::Never) {
            Ok(alone) => {
                alone.blobs.sweep()?;
                alone.layers.sweep()?;
                drop(alone);
            }
            Err(Error::Store(skiff_store::Error::Locked { .. })) => {}
            Err(error) => return Err(error),
        }
        Self::open(store, Kind::Shared, Patience::Forever)
    }

    pub const fn store(&self) -> &'a Store {
        self.store
    }

    /// The record of an image, if it is here.
    pub fn record(&self, image: Digest) -> Result<Option<ImageRecord>, Error> {
        match self.records.read(&image.hex(), RECORD_MAX)? {
            Some(bytes) => json("image record", &bytes, RECORD_MAX).map(Some),
            None => Ok(None),
        }
    }

    /// Makes an image visible: everything it needs is durable before, its names come last.
    pub fn publish(&self, image: &NewImage) -> Result<(), Error> {
        self.blobs.put(&image.manifest_bytes)?;
        fail::point("image.sync").and_then(|()| rustix::fs::syncfs(self.store.root().fd())).map_err(
            |source| skiff_store::Error::File {
                what: "sync",
                path: self.store.root().path().clone(),
                source,
            },
        )?;
        let manifest = image.manifest.descriptor(&image.manifest_bytes);
        let record = ImageRecord { manifest: manifest.clone() };
        let bytes = serde_json::to_vec(&record)
            .map_err(|source| Error::Json { what: "image record".into(), source })?;
        self.records.replace(&image.config.hex(), &bytes, Durability::Fsync)?;
        for name in &image.names {
            self.names.set(name, &Target { image: image.config, descriptor: manifest.clone() })?;
        }
        Ok(())
    }

    /// Unpacks the layers of an image that are not here yet; returns how many extended attributes were left out.
    ///
    /// `open` gives the stored bytes of a layer. Layers are independent directories, so several are unpacked at
    /// once; they are named in order, because what an archive doesn't say about a directory comes from below.
    pub fn unpack_layers(
        &self,
        config: &ImageConfiguration,
        packing: &[Option<Packing>],
        open: &(dyn Fn(usize) -> Result<File, Error> + Sync),
    ) -> Result<u64, Error> {
        let diff_ids = diff_ids(config)?;
        let chain = ChainId::chain(&diff_ids);
        let mut wanted = Vec::new();
        for (index, &id) in chain.iter().enumerate() {
            if !self.layers.has(id)? {
                wanted.push(index);
            }
        }
        let drafts = Mutex::new(BTreeMap::new());
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Error> {
            while let Some(&index) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let draft = self.layers.draft()?;
                let position = if index == 0 { Position::Lowest } else { Position::Above };
                let packing = packing.get(index).copied().flatten();
                let unpacked = draft.unpack(open(index)?, packing, diff_ids[index], position)?;
                lock(&drafts).insert(index, (draft, unpacked));
            }
            Ok(())
        };
        run_workers(wanted.len().min(UNPACKERS), &work)?;
        let drafts = std::mem::take(&mut *lock(&drafts));
        let mut dropped = 0;
        for (index, (draft, unpacked)) in drafts {
            dropped += unpacked.dropped_xattrs;
            let below: Vec<PathBuf> = chain[..index].iter().map(|&id| self.layers.path(id)).collect();
            self.name_layer(draft, &unpacked, diff_ids[index], chain[index], &below)?;
        }
        Ok(dropped)
    }

    /// Gives an unpacked layer its name.
    pub fn name_layer(
        &self,
        draft: Draft,
        unpacked: &Unpacked,
        diff_id: DiffId,
        chain: ChainId,
        below: &[PathBuf],
    ) -> Result<(), Error> {
        draft.adopt(&unpacked.implied, below)?;
        self.layers.publish(draft, chain, &Record { diff_id, size: unpacked.size })
    }

    /// Stores what was written, and hands back its digest.
    pub fn keep(&self, ingested: &Ingested) -> Result<Digest, Error> {
        self.blobs.publish(ingested)?;
        Ok(ingested.digest)
    }

    /// Reads the configuration of an image.
    pub fn configuration(&self, image: Digest) -> Result<ImageConfiguration, Error> {
        document::configuration(&self.blobs.read("image configuration", image, limits::CONFIG)?)
    }
}

/// Runs `work` in `count` threads, at least here, and returns the first error.
fn run_workers(count: usize, work: &(dyn Fn() -> Result<(), Error> + Sync)) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..count).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            let answer = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(answer);
        }
        result
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic of a worker is passed on by `run_workers`; the map itself is whole at any time.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The digests of an image's layers.
///
/// # Errors
/// [`Error::Digest`]
pub(crate) fn diff_ids(config: &ImageConfiguration) -> Result<Vec<DiffId>, Error> {
    let parse = |text: &String| text.parse().map(DiffId);
    config
        .rootfs()
        .diff_ids()
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Digest { what: "image configuration".into(), source })
}

/// Reads a file that isn't there as an empty one: for a store that nobody wrote to yet.
pub(crate) fn absent_is_none<T>(result: Result<Option<T>, skiff_store::Error>) -> Result<Option<T>, Error> {
    match result {
        Err(skiff_store::Error::File { source: Errno::NOENT, .. }) => Ok(None),
        other => Ok(other?),
    }
}
