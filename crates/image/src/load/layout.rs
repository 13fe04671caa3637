//! An OCI image layout: `index.json` leads to manifests, and everything lies in `blobs/` under its digest.

use super::{Described, Members};
use crate::document::{Descriptor, Document, Manifest, Packing, Platform, json, layout_index};
use crate::{Error, limits};
use serde::Deserialize;
use skiff_oci::Reference;
use skiff_oci::image::Arch;

/// What containerd and Docker call an image by.
const FULL_NAME: &str = "io.containerd.image.name";
/// What the specification calls it by: a name, or only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

pub(super) fn describe(members: &Members) -> Result<Vec<Described>, Error> {
    let bytes = members.read_named("oci-layout", limits::MANIFEST)?;
    let file: LayoutFile = json("oci-layout", &bytes, limits::MANIFEST)?;
    if !file.image_layout_version.starts_with("1.") {
        let text = format!("version {:?} is not supported", file.image_layout_version);
        return Err(Error::document("oci-layout", text));
    }
    let index = layout_index(&members.read_named("index.json", limits::MANIFEST)?)?;
    let mut found: Vec<Described> = Vec::new();
    for descriptor in &index.manifests {
        let (manifest, bytes) = manifest(members, descriptor, limits::INDEX_DEPTH)?;
        let named = name(descriptor)?;
        // Docker lists an image once for each of its names.
        match found.iter_mut().find(|one| one.manifest.as_ref().is_some_and(|(_, old)| *old == bytes)) {
            Some(same) => same.names.extend(named),
            None => found.push(image(members, manifest, bytes, named)?),
        }
    }
    if found.is_empty() { Err(Error::NoImages) } else { Ok(found) }
}

fn image(
    members: &Members,
    manifest: Manifest,
    bytes: Vec<u8>,
    named: Option<Reference>,
) -> Result<Described, Error> {
    if manifest.layers.len() > limits::LAYERS {
        return Err(Error::document("manifest", format!("more than {} layers", limits::LAYERS)));
    }
    let config = blob(members, "image configuration", &manifest.config)?;
    let layer = |descriptor: &Descriptor| {
        let packing = Packing::of(&descriptor.media_type)?;
        Ok((blob(members, "layer", descriptor)?, Some(packing)))
    };
    let layers = manifest.layers.iter().map(layer).collect::<Result<_, Error>>()?;
    Ok(Described { manifest: Some((manifest, bytes)), config, layers, names: named.into_iter().collect() })
}

/// The manifest that a descriptor leads to, through indexes if need be.
fn manifest(members: &Members, descriptor: &Descriptor, depth: u32) -> Result<(Manifest, Vec<u8>), Error> {
    let number = blob(members, "manifest", descriptor)?;
    let bytes = members.get(number).read("manifest", limits::MANIFEST)?;
    match Document::parse(&bytes, &descriptor.media_type)? {
        Document::Manifest(manifest) => Ok((manifest, bytes)),
        Document::Index(_) if depth == 0 => Err(Error::document("index", "indexes lead to indexes")),
        Document::Index(index) => manifest(members, choose(&index.manifests)?, depth - 1),
    }
}

/// The entry of an index for this machine.
fn choose(entries: &[Descriptor]) -> Result<&Descriptor, Error> {
    let own = Arch::default().to_string();
    let is_own = |platform: &Platform| platform.os == "linux" && platform.architecture == own;
    let fits = |one: &&Descriptor| one.platform.as_ref().is_some_and(is_own);
    let mut fitting = entries.iter().filter(fits);
    match (fitting.next(), entries) {
        (Some(one), _) => Ok(one),
        // One entry without a platform leaves no choice.
        (None, [only]) if only.platform.is_none() => Ok(only),
        _ => Err(Error::document("index", format!("it has no image for linux/{own}"))),
    }
}

/// The member that a descriptor means, with the size and the digest that it promises (R22).
fn blob(members: &Members, what: &'static str, descriptor: &Descriptor) -> Result<usize, Error> {
    let missing = || Error::Missing { what, digest: descriptor.digest };
    let number = members.find(&format!("blobs/sha256/{}", descriptor.digest.hex())).ok_or_else(missing)?;
    let found = members.get(number);
    if found.digest != descriptor.digest {
        return Err(Error::Mismatch {
            what: format!("the digest of the {what}"),
            expected: descriptor.digest.to_string(),
            found: found.digest.to_string(),
        });
    }
    if found.size != descriptor.size {
        return Err(Error::Mismatch {
            what: format!("the size of the {what} {}", descriptor.digest),
            expected: descriptor.size.to_string(),
            found: found.size.to_string(),
        });
    }
    Ok(number)
}

/// The name of an image, where the archive says one.
fn name(descriptor: &Descriptor) -> Result<Option<Reference>, Error> {
    let annotations = &descriptor.annotations;
    let Some(text) = annotations.get(FULL_NAME).or_else(|| annotations.get(REF_NAME)) else {
        return Ok(None);
    };
    let failed = |error: skiff_oci::ReferenceError| Error::document("index.json", error.to_string());
    text.parse().map(Reference::or_latest).map(Some).map_err(failed)
}
