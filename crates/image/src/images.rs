//! The images of a store, as the crates above use them.

use crate::content::{Content, LOCK, absent_is_none, diff_ids};
use crate::document::json;
use crate::names::{Names, Target};
use crate::{Error, document, host, limits};
use rustix::fs::AtFlags;
use skiff_oci::image::ImageConfiguration;
use skiff_oci::{ChainId, Digest, Reference};
use skiff_store::{Container, Kind, Lock, Patience, Store};
use skiff_sys::Errno;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container's link to the configuration of its image: what holds the image.
pub(crate) const HOLD: &str = "image.json";

/// The images of a store.
#[derive(Debug, Clone, Copy)]
pub struct ImageStore<'a> {
    pub(crate) store: &'a Store,
}

/// An image that can be run.
#[derive(Debug)]
pub struct Image {
    /// The digest of its configuration; none for the built-in one.
    pub id: Option<Digest>,
    /// What it says about running it.
    pub config: ImageConfiguration,
    /// Its layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Where it comes from.
    pub kind: ImageKind,
    /// Keeps it from being collected until this is dropped; after [`Image::hold`] the container does that.
    _lock: Option<Lock>,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// The machine's own root: see [`crate::host`].
    Host,
    /// Of the store.
    Stored,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its names, sorted; none for an image that lost them.
    pub names: Vec<Reference>,
    /// When it was made, in the words of the image.
    pub created: Option<String>,
    /// Bytes of all files of all its layers.
    pub size: u64,
}

impl<'a> ImageStore<'a> {
    /// The images of `store`. Nothing is opened before it is needed.
    pub const fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// The image with this name, if it is here.
    ///
    /// # Errors
    /// [`Error::Store`], and errors of documents that were damaged.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        if host::is_host(reference) {
            return Ok(Some(Image {
                id: None,
                config: host::configuration(),
                layers: vec![PathBuf::from("/")],
                kind: ImageKind::Host,
                _lock: None,
            }));
        }
        let Some(lock) = self.lock_to_read()? else { return Ok(None) };
        match self.target(reference)? {
            Some(target) => self.image(target.image, lock).map(Some),
            None => Ok(None),
        }
    }

    /// The image that a user means by `text`: a name, an id, or the beginning of an id.
    ///
    /// # Errors
    /// [`Error::Ambiguous`], and those of [`ImageStore::resolve`].
    pub fn find(&self, text: &str) -> Result<Option<Image>, Error> {
        if let Ok(reference) = text.parse()
            && let Some(image) = self.resolve(&reference)?
        {
            return Ok(Some(image));
        }
        let Some(lock) = self.lock_to_read()? else { return Ok(None) };
        match self.find_id(text)? {
            Some(id) => self.image(id, lock).map(Some),
            None => Ok(None),
        }
    }

    /// All images, newest first.
    ///
    /// # Errors
    /// As of [`ImageStore::resolve`].
    pub fn list(&self) -> Result<Vec<Summary>, Error> {
        if self.lock_to_read()?.is_none() {
            return Ok(Vec::new());
        }
        let content = Content::open(self.store, Kind::Shared, Patience::Forever)?;
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for (name, target) in content.names.list()? {
            names.entry(target.image).or_default().push(name);
        }
        let mut found = Vec::new();
        for name in content.records.names()? {
            let Ok(id) = Digest::from_hex(&name) else { continue };
            let Some(record) = content.record(id)? else { continue };
            let config = content.configuration(id)?;
            let mut size = 0_u64;
            for chain in ChainId::chain(&diff_ids(&config)?) {
                size = size.saturating_add(content.layers.record(chain)?.map_or(0, |layer| layer.size));
            }
            found.push(Summary {
                id,
                manifest: record.manifest.digest,
                names: names.remove(&id).unwrap_or_default(),
                created: config.created().clone(),
                size,
            });
        }
        found.sort_by(|one, other| other.created.cmp(&one.created).then(one.id.cmp(&other.id)));
        Ok(found)
    }

    /// The id that begins with `text`, which may have `sha256:` before it.
    pub(crate) fn find_id(&self, text: &str) -> Result<Option<Digest>, Error> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(is_hex) {
            return Ok(None);
        }
        let Some(records) = absent_is_none(self.store.root().existing_subdirectory("content/images"))? else {
            return Ok(None);
        };
        let mut ids = records.names()?.into_iter().filter(|name| name.starts_with(digits));
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(Digest::from_hex(&id).ok()),
            (Some(_), Some(_)) => Err(Error::Ambiguous(text.to_owned())),
            (None, _) => Ok(None),
        }
    }

    /// What a name means. This is on the way of every `run`: one file is opened.
    pub(crate) fn target(&self, reference: &Reference) -> Result<Option<Target>, Error> {
        let path = format!("content/refs/{}", Names::path(reference));
        let limit = limits::CONFIG;
        match absent_is_none(self.store.root().read(&path, limit))? {
            Some(bytes) => json("reference", &bytes, limit).map(Some),
            None => Ok(None),
        }
    }

    /// The lock that keeps the garbage collector away; nothing when there is no content at all.
    fn lock_to_read(&self) -> Result<Option<Lock>, Error> {
        let path = format!("content/{LOCK}");
        match Lock::acquire(self.store.root(), &path, Kind::Shared, Patience::Forever) {
            Ok(lock) => Ok(Some(lock)),
            Err(skiff_store::Error::File { source: Errno::NOENT, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn image(&self, id: Digest, lock: Lock) -> Result<Image, Error> {
        let path = format!("content/blobs/sha256/{}", id.hex());
        let bytes = absent_is_none(self.store.root().read(&path, limits::CONFIG))?
            .ok_or(Error::Missing { what: "image configuration", digest: id })?;
        let config = document::configuration(&bytes)?;
        let layers = self.store.root().path().join("layers");
        let chain = ChainId::chain(&diff_ids(&config)?);
        let layers = chain.iter().map(|id| layers.join(id.0.hex()).join("diff")).collect();
        Ok(Image { id: Some(id), config, layers, kind: ImageKind::Stored, _lock: Some(lock) })
    }
}

impl Image {
    /// Makes the container hold the image: as long as its directory is there, the image is not collected.
    ///
    /// It is one hard link to the image's configuration, which the container then also has in case the image's
    /// names are taken away.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub fn hold(&self, store: &Store, container: &Container) -> Result<(), Error> {
        let Some(id) = self.id else { return Ok(()) };
        let path = format!("content/blobs/sha256/{}", id.hex());
        let root = store.root();
        rustix::fs::linkat(root.fd(), &path, container.data().fd(), HOLD, AtFlags::empty()).map_err(
            |source| {
                skiff_store::Error::File { what: "link", path: container.data().path().join(HOLD), source }
                    .into()
            },
        )
    }
}
