//! Manifests and indexes: JSON that describes images, read with limits and with one meaning.
//!
//! The types are ours and small: what an engine needs of a manifest, with digests that were checked. A document
//! is stored and passed on as the bytes that it came as.

use crate::{Error, limits};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use skiff_oci::Digest;
use skiff_oci::image::ImageConfiguration;
use std::collections::BTreeMap;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";

/// Where content is: its kind, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What machine it is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// In Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// `v7` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The parts of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Several images, or one for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    /// What it leads to.
    pub manifests: Vec<Descriptor>,
}

/// What a descriptor of an image leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice.
    Index(Index),
}

/// How a layer's media type says that it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A tar archive.
    Tar,
    /// With gzip around it.
    Gzip,
    /// With zstd around it.
    Zstd,
}

impl Manifest {
    /// The manifest of an image that came without one.
    pub fn new(config: (Digest, u64), layers: impl IntoIterator<Item = (Packing, Digest, u64)>) -> Self {
        let descriptor = |media_type: &str, digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        };
        Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: descriptor(OCI_CONFIG, config.0, config.1),
            layers: layers
                .into_iter()
                .map(|(packing, digest, size)| descriptor(packing.media_type(), digest, size))
                .collect(),
        }
    }

    /// The descriptor of this manifest when it is stored as `bytes`.
    pub fn descriptor(&self, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone().unwrap_or_else(|| OCI_MANIFEST.to_owned()),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

impl Packing {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// The packing that a media type names.
    ///
    /// # Errors
    /// Layers that are somewhere else (`foreign`), encrypted, or no layers at all.
    pub fn of(media_type: &str) -> Result<Self, Error> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar" => Ok(Self::Tar),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => Ok(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Self::Zstd),
            other => Err(Error::document("manifest", format!("layers of type {other:?} are not supported"))),
        }
    }
}

impl Document {
    /// Reads what a descriptor of type `media_type` leads to.
    ///
    /// # Errors
    /// [`Error::Json`], and [`Error::Document`] for what has two meanings, breaks a limit or isn't supported.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default)]
            media_type: Option<String>,
            #[serde(default)]
            schema_version: Option<u32>,
            layers: Option<IgnoredAny>,
            config: Option<IgnoredAny>,
            manifests: Option<IgnoredAny>,
        }
        if media_type.starts_with(DOCKER_SCHEMA_1) {
            return Err(Error::document("manifest", "Docker's schema 1 is not supported, only 2 is"));
        }
        let shape: Shape = json("manifest", bytes, limits::MANIFEST)?;
        match shape.schema_version {
            Some(2) => {}
            Some(1) => {
                return Err(Error::document("manifest", "Docker's schema 1 is not supported, only 2 is"));
            }
            _ => return Err(Error::document("manifest", "`schemaVersion` is not 2")),
        }
        // The type in the descriptor, in the document and what the document is must be one (R22).
        if shape.media_type.as_deref().is_some_and(|own| own != media_type) {
            return Err(Error::document("manifest", "its media type is not that of its descriptor"));
        }
        let is_image = shape.layers.is_some() || shape.config.is_some();
        match (is_image, shape.manifests.is_some()) {
            (true, true) => Err(Error::document("manifest", "it is a manifest and an index at once")),
            (true, false) if matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST) => {
                Ok(Self::Manifest(json("manifest", bytes, limits::MANIFEST)?))
            }
            (false, true) if matches!(media_type, OCI_INDEX | DOCKER_LIST) => Ok(Self::Index(index(bytes)?)),
            _ => Err(Error::document("manifest", format!("it is not what {media_type:?} says"))),
        }
    }
}

/// The `index.json` of an OCI layout.
///
/// # Errors
/// As of [`Document::parse`].
pub fn layout_index(bytes: &[u8]) -> Result<Index, Error> {
    let index = index(bytes)?;
    if index.schema_version != 2 || index.media_type.as_deref().is_some_and(|own| own != OCI_INDEX) {
        return Err(Error::document("index.json", "it is no OCI index"));
    }
    Ok(index)
}

fn index(bytes: &[u8]) -> Result<Index, Error> {
    let index: Index = json("index", bytes, limits::MANIFEST)?;
    if index.manifests.len() > limits::INDEX_ENTRIES {
        let text = format!("more than {} entries", limits::INDEX_ENTRIES);
        return Err(Error::document("index", text));
    }
    Ok(index)
}

/// Reads an image configuration and checks what it has to have in common with its manifest.
///
/// # Errors
/// [`Error::Json`], [`Error::Document`].
pub fn configuration(bytes: &[u8]) -> Result<ImageConfiguration, Error> {
    json("image configuration", bytes, limits::CONFIG)
}

/// Checks that a manifest describes an image that can be run from the layers it lists.
///
/// # Errors
/// [`Error::Document`]
pub fn check_image(manifest: &Manifest, config: &ImageConfiguration) -> Result<(), Error> {
    let wrong = |why: String| Err(Error::document("manifest", why));
    if !matches!(manifest.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
        return wrong(format!("it is no image but {:?}", manifest.config.media_type));
    }
    if config.os().to_string() != "linux" {
        return wrong(format!("the image is for {:?}, not for linux", config.os().to_string()));
    }
    if manifest.layers.is_empty() {
        return wrong("the image has no layers".into());
    }
    if manifest.layers.len() > limits::LAYERS {
        return wrong(format!("more than {} layers", limits::LAYERS));
    }
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs().diff_ids().len());
    if layers != diff_ids {
        return wrong(format!("{layers} layers, but the configuration has {diff_ids}"));
    }
    Ok(())
}

/// Parses JSON of at most `limit` bytes and of a depth that no parser minds.
///
/// # Errors
/// [`Error::Document`] for the limits, [`Error::Json`].
pub fn json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8], limit: u64) -> Result<T, Error> {
    if bytes.len() as u64 > limit {
        return Err(Error::document(what, format!("more than {limit} bytes")));
    }
    if depth(bytes) > limits::JSON_DEPTH {
        return Err(Error::document(what, format!("nested more than {} deep", limits::JSON_DEPTH)));
    }
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what: what.to_owned(), source })
}

/// How deep brackets are nested outside of strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut is_escaped) = (false, false);
    for &byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
