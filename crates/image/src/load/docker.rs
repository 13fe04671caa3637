//! Docker's own format: `manifest.json` lists images by the names of their files.

use super::{Described, Members};
use crate::document::json;
use crate::{Error, limits};
use serde::Deserialize;
use skiff_oci::{Digest, Reference};

const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn describe(members: &Members) -> Result<Vec<Described>, Error> {
    let bytes = members.read_named(MANIFEST, limits::MANIFEST)?;
    let items: Vec<Item> = json(MANIFEST, &bytes, limits::MANIFEST)?;
    if items.is_empty() {
        return Err(Error::NoImages);
    }
    items.into_iter().map(|item| describe_one(members, &item)).collect()
}

fn describe_one(members: &Members, item: &Item) -> Result<Described, Error> {
    let find = |name: &String| {
        members.find(name).ok_or_else(|| Error::document(MANIFEST, format!("{name:?} is not in the archive")))
    };
    let mut names = Vec::new();
    for text in item.repo_tags.iter().flatten() {
        let name: Reference = text
            .parse()
            .map_err(|error: skiff_oci::ReferenceError| Error::document(MANIFEST, error.to_string()))?;
        names.push(name.or_latest());
    }
    if item.layers.len() > limits::LAYERS {
        return Err(Error::document(MANIFEST, format!("more than {} layers", limits::LAYERS)));
    }
    let config = find(&item.config)?;
    check_name(&item.config, members.get(config).digest)?;
    Ok(Described {
        manifest: None,
        config,
        layers: item.layers.iter().map(|name| Ok((find(name)?, None))).collect::<Result<_, Error>>()?,
        names,
    })
}

/// A configuration that is named by a digest must have it (R22).
fn check_name(name: &str, found: Digest) -> Result<(), Error> {
    let last = name.rsplit('/').next().unwrap_or(name);
    match Digest::from_hex(last.strip_suffix(".json").unwrap_or(last)) {
        Ok(expected) if expected != found => Err(Error::Mismatch {
            what: "the digest of the image configuration".to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}
