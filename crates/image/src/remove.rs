//! Taking names and images away, and collecting what nobody needs any more.

use crate::content::{Content, diff_ids};
use crate::document::{self, Descriptor, Document};
use crate::images::{HOLD, ImageStore};
use crate::{Error, host, limits};
use skiff_oci::{ChainId, Digest, Reference};
use skiff_store::{ContainerId, Kind, Patience};
use std::collections::{BTreeMap, BTreeSet};

/// Whether an image goes although something needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It stays, and that is an error.
    No,
    /// Its names go; what containers need stays until they are removed.
    Yes,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names.
    pub untagged: Vec<Reference>,
    /// Images, by id.
    pub deleted: Vec<Digest>,
    /// Layers, by chain id.
    pub layers: Vec<ChainId>,
}

impl ImageStore<'_> {
    /// Removes the image that `text` names, or only that name of it when it has others.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InUse`], [`Error::BuiltIn`], and [`skiff_store::Error::Locked`] when somebody is
    /// adding to the store and `patience` ended.
    pub fn remove(&self, text: &str, force: Force, patience: Patience) -> Result<Removed, Error> {
        let reference: Option<Reference> = text.parse().ok();
        if let Some(reference) = reference.as_ref().filter(|reference| host::is_host(reference)) {
            return Err(Error::BuiltIn(reference.clone()));
        }
        if self.store.root().existing_subdirectory("content")?.is_none() {
            return Err(Error::NotFound(text.to_owned()));
        }
        let content = Content::open(self.store, Kind::Exclusive, patience)?;
        let named = match &reference {
            Some(reference) => {
                content.names.get(reference)?.map(|target| (reference.clone().or_latest(), target))
            }
            None => None,
        };
        let removed = match named {
            Some((name, target)) => self.remove_name(&content, name, target.image, force)?,
            None => match self.find_id(text)? {
                Some(id) => self.remove_id(&content, id, force)?,
                None => return Err(Error::NotFound(text.to_owned())),
            },
        };
        drop(content);
        // The lock is free again: deleting many files may take a while.
        self.store.empty_trash()?;
        Ok(removed)
    }

    /// Removes all content that no image and no container needs.
    ///
    /// # Errors
    /// Errors of damaged documents: then nothing is removed, because it is not known what is needed.
    pub fn collect(&self, patience: Patience) -> Result<Removed, Error> {
        let content = Content::open(self.store, Kind::Exclusive, patience)?;
        let layers = self.collect_held(&content)?;
        drop(content);
        self.store.empty_trash()?;
        Ok(Removed { layers, ..Removed::default() })
    }

    fn remove_name(
        &self,
        content: &Content<'_>,
        name: Reference,
        id: Digest,
        force: Force,
    ) -> Result<Removed, Error> {
        let others = names_of(content, id)?.into_iter().any(|other| other != name);
        if !others && force == Force::No {
            self.check_unused(&name.familiar(), id)?;
        }
        content.names.remove(&name)?;
        let mut removed = Removed { untagged: vec![name], ..Removed::default() };
        if !others {
            self.delete(content, id, &mut removed)?;
        }
        Ok(removed)
    }

    fn remove_id(&self, content: &Content<'_>, id: Digest, force: Force) -> Result<Removed, Error> {
        let names = names_of(content, id)?;
        if force == Force::No {
            let repositories: BTreeSet<String> = names.iter().map(Reference::name).collect();
            if repositories.len() > 1 {
                let list: Vec<String> = names.iter().map(Reference::familiar).collect();
                return Err(Error::InUse {
                    name: short(id),
                    users: format!("the names {}", list.join(", ")),
                });
            }
            self.check_unused(&short(id), id)?;
        }
        for name in &names {
            content.names.remove(name)?;
        }
        let mut removed = Removed { untagged: names, ..Removed::default() };
        self.delete(content, id, &mut removed)?;
        Ok(removed)
    }

    fn delete(&self, content: &Content<'_>, id: Digest, removed: &mut Removed) -> Result<(), Error> {
        content.records.unlink(&id.hex())?;
        removed.deleted.push(id);
        removed.layers = self.collect_held(content)?;
        Ok(())
    }

    fn check_unused(&self, name: &str, id: Digest) -> Result<(), Error> {
        let users: Vec<String> = self
            .held()?
            .into_iter()
            .filter(|(_, (digest, _))| *digest == id)
            .map(|(container, _)| container.short().to_owned())
            .collect();
        if users.is_empty() {
            return Ok(());
        }
        Err(Error::InUse { name: name.to_owned(), users: format!("container {}", users.join(", ")) })
    }

    /// The images that containers hold, with their configurations.
    fn held(&self) -> Result<BTreeMap<ContainerId, (Digest, Vec<u8>)>, Error> {
        let mut held = BTreeMap::new();
        for container in self.store.container_ids()? {
            let Some(data) = self.store.view(&container)?.data else { continue };
            if let Some(bytes) = data.read(HOLD, limits::CONFIG)? {
                held.insert(container, (Digest::of(&bytes), bytes));
            }
        }
        Ok(held)
    }

    /// Removes what neither an image nor a container needs; the content lock is held alone.
    fn collect_held(&self, content: &Content<'_>) -> Result<Vec<ChainId>, Error> {
        let mut needed = Needed::default();
        for name in content.records.names()? {
            let Ok(id) = Digest::from_hex(&name) else { continue };
            let Some(record) = content.record(id)? else { continue };
            needed.manifest(content, &record.manifest)?;
            needed.blobs.insert(id);
            needed.layers.extend(ChainId::chain(&diff_ids(&content.configuration(id)?)?));
        }
        for (_, target) in content.names.list()? {
            needed.manifest(content, &target.descriptor)?;
        }
        for (_, (_, config)) in self.held()? {
            needed.layers.extend(ChainId::chain(&diff_ids(&document::configuration(&config)?)?));
        }
        let trash = content.store().root().subdirectory("trash")?;
        let layers = content.layers.retain(|id| needed.layers.contains(&id), &trash)?;
        content.blobs.retain(|digest| needed.blobs.contains(&digest))?;
        Ok(layers)
    }
}

#[derive(Default)]
struct Needed {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<ChainId>,
}

impl Needed {
    /// Adds a manifest and the blobs that it leads to; an index leads to what was chosen from it, which has its own
    /// record.
    fn manifest(&mut self, content: &Content<'_>, descriptor: &Descriptor) -> Result<(), Error> {
        if !self.blobs.insert(descriptor.digest) {
            return Ok(());
        }
        let bytes = content.blobs.read("manifest", descriptor.digest, limits::MANIFEST)?;
        if let Document::Manifest(manifest) = Document::parse(&bytes, &descriptor.media_type)? {
            self.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
        }
        Ok(())
    }
}

fn names_of(content: &Content<'_>, id: Digest) -> Result<Vec<Reference>, Error> {
    let names = content.names.list()?;
    Ok(names.into_iter().filter(|(_, target)| target.image == id).map(|(name, _)| name).collect())
}

fn short(id: Digest) -> String {
    id.hex()[..12].to_owned()
}
