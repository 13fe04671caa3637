//! `load`: images from an archive that `docker save`, `podman save`, `skopeo` or Skiff wrote.
//!
//! Two kinds are read: an OCI layout (`oci-layout`, `index.json`, `blobs/sha256/…`) and Docker's own
//! (`manifest.json`). The archive is a stream and its description may come last, so every file in it is hashed
//! and written down once; what an image needs gets its name then, and the rest goes.

mod docker;
mod layout;
mod members;

use crate::blob::Ingested;
use crate::content::{Content, NewImage};
use crate::document::{self, Manifest, Packing};
use crate::images::ImageStore;
use crate::layer::{decode_to, one_error};
use crate::{Error, compression, host, limits, pipeline};
use members::Members;
use skiff_oci::{Digest, Reference};
use std::io::{BufReader, Read};

const READ_BUFFER: usize = 256 << 10;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// The names that it got.
    pub names: Vec<Reference>,
    /// Extended attributes that were left out: labels of another machine, or more than the disk can hold.
    pub dropped_xattrs: u64,
}

/// An image as an archive describes it, with its parts still among the members.
struct Described {
    /// The manifest and its bytes, if the archive has one.
    manifest: Option<(Manifest, Vec<u8>)>,
    /// Members by number: the configuration, and the layers, lowest first, with the packing that was claimed.
    config: usize,
    layers: Vec<(usize, Option<Packing>)>,
    names: Vec<Reference>,
}

impl ImageStore<'_> {
    /// Loads all images of the archive `input`, which may be compressed as a whole.
    ///
    /// # Errors
    /// The archive is refused as a whole by the rules of [`Error::Archive`]; an image whose parts are missing or not
    /// what they should be is an error too, and is not named then.
    pub fn load(&self, input: impl Read + Send) -> Result<Vec<Loaded>, Error> {
        let content = Content::open_to_add(self.store)?;
        let failed = |source| Error::Read { what: "archive".into(), source };
        let (compression, input) = compression::sniff(input).map_err(failed)?;
        let (produced, consumed) = pipeline::run(
            |sender| decode_to(sender, BufReader::with_capacity(READ_BUFFER, input), compression),
            |receiving| Members::read(receiving, &content),
        );
        let members = one_error(produced, consumed).map_err(|error| error.into_error(failed))?;
        let described = if members.find("oci-layout").is_some() {
            layout::describe(&members)?
        } else if members.find("manifest.json").is_some() {
            docker::describe(&members)?
        } else {
            return Err(Error::NoImages);
        };
        described.into_iter().map(|image| install(&content, &members, image)).collect()
    }
}

/// Stores the parts of an image, unpacks its layers and names it.
fn install(content: &Content<'_>, members: &Members, image: Described) -> Result<Loaded, Error> {
    for name in &image.names {
        if host::is_host(name) {
            return Err(Error::BuiltIn(name.clone()));
        }
    }
    let config_bytes = members.get(image.config).read("image configuration", limits::CONFIG)?;
    let config = document::configuration(&config_bytes)?;
    let layers: Vec<&Ingested> = image.layers.iter().map(|&(member, _)| members.get(member)).collect();
    let mut packing: Vec<Option<Packing>> = image.layers.iter().map(|&(_, packing)| packing).collect();
    let (manifest, manifest_bytes) = match image.manifest {
        Some(given) => given,
        None => {
            for (layer, packing) in layers.iter().zip(&mut packing) {
                *packing = Some(found_packing(layer)?);
            }
            let parts = layers
                .iter()
                .zip(&packing)
                .map(|(layer, packing)| (packing.unwrap_or(Packing::Tar), layer.digest, layer.size));
            let manifest = Manifest::new((Digest::of(&config_bytes), config_bytes.len() as u64), parts);
            let bytes = serde_json::to_vec(&manifest)
                .map_err(|source| Error::Json { what: "manifest".into(), source })?;
            (manifest, bytes)
        }
    };
    document::check_image(&manifest, &config)?;
    let dropped_xattrs = content.unpack_layers(&config, &packing, &|index| layers[index].open())?;
    for layer in layers {
        content.keep(layer)?;
    }
    let id = content.blobs.put(&config_bytes)?;
    let new = NewImage { manifest, manifest_bytes, config: id, names: image.names };
    content.publish(&new)?;
    Ok(Loaded { id, names: new.names, dropped_xattrs })
}

/// How a layer is packed that nobody says anything about. What a manifest can't say is refused.
fn found_packing(layer: &Ingested) -> Result<Packing, Error> {
    let failed = |source| Error::Read { what: format!("layer {}", layer.digest), source };
    let (compression, _) = compression::sniff(layer.open()?).map_err(failed)?;
    match compression {
        compression::Compression::None => Ok(Packing::Tar),
        compression::Compression::Gzip => Ok(Packing::Gzip),
        compression::Compression::Zstd => Ok(Packing::Zstd),
        compression::Compression::Xz => {
            Err(Error::document(format!("layer {}", layer.digest), "layers packed with xz are not supported"))
        }
    }
}
