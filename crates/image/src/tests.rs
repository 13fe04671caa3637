//! Whole images: in by every door, listed, held, and gone.

mod doors;
mod hostile;
mod names;

use crate::fixture::{Head, Tar};
use crate::{Error, Force, Image, ImageKind, ImageStore, ImportOptions, Loaded};
use serde_json::{Value, json};
use skiff_oci::{ChainId, DiffId, Digest, Reference};
use skiff_store::{Kind, Lock, Patience, Store};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// A store of its own, removed when it is dropped.
struct TempStore {
    base: PathBuf,
    store: Store,
}

impl TempStore {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("skiff-image-{}-{number}", std::process::id()));
        let store = Store::open(&base.join("root"), &base.join("state")).unwrap();
        Self { base, store }
    }

    fn images(&self) -> ImageStore<'_> {
        ImageStore::new(&self.store)
    }

    fn import(&self, archive: &[u8], name: &str) -> Result<Digest, Error> {
        let options = ImportOptions::default();
        self.images().import(archive, Some(&reference(name)), &options).map(|image| image.id)
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<Loaded>, Error> {
        self.images().load(archive)
    }

    fn find(&self, name: &str) -> Option<Image> {
        self.images().find(name).unwrap()
    }

    fn remove(&self, name: &str, force: Force) -> Result<crate::Removed, Error> {
        self.images().remove(name, force, Patience::Never)
    }

    /// All that the store has besides its frame: blobs, layers, names, drafts.
    fn content(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for place in [
            "content/blobs/sha256",
            "content/ingest",
            "content/images",
            "content/refs",
            "layers",
            "drafts",
            "trash",
        ] {
            for entry in fs::read_dir(self.base.join("root").join(place)).into_iter().flatten() {
                found.push(PathBuf::from(place).join(entry.unwrap().file_name()));
            }
        }
        found
    }
}

impl Drop for TempStore {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.base).unwrap();
    }
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// A small root file system.
fn rootfs(text: &str) -> Vec<u8> {
    Tar::default().dir("bin").file("bin/sh", text.as_bytes()).symlink("sbin", "bin").end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The encoder is a tool of Debian that the tests may use.
fn xz(bytes: &[u8]) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let mut child =
        Command::new("xz").args(["-0", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// Parts of an image, and archives of it.
struct Parts {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Parts {
    fn new(layers: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": skiff_oci::image::Arch::default().to_string(), "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["/bin/sh"], "Env": ["A=1"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self { config: serde_json::to_vec(&config).unwrap(), layers: layers.to_vec() }
    }

    fn two() -> Self {
        let lower = Tar::default().dir("d").file("d/a", b"1").file("d/b", b"2").file("keep", b"k").end();
        let upper = Tar::default().file("d/.wh.a", b"").file("d/c", b"3").end();
        Self::new(&[lower, upper])
    }

    /// As `docker save` wrote it up to version 24: layers in directories, shared ones as links, the manifest last.
    fn docker(&self, tags: &[&str]) -> Tar {
        let mut tar = Tar::default();
        let mut names: Vec<String> = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("{number:064}/layer.tar");
            tar = tar.dir(&format!("{number:064}/")).file(&format!("{number:064}/VERSION"), b"1.0");
            tar = match self.layers[..number].iter().position(|other| other == layer) {
                Some(same) => tar.symlink(&name, &format!("../{same:064}/layer.tar")),
                None => tar.file(&name, layer),
            };
            names.push(name);
        }
        let config = format!("{}.json", Digest::of(&self.config).hex());
        let manifest = json!([{"Config": config, "RepoTags": tags, "Layers": names}]);
        let tar = tar.file(&config, &self.config);
        tar.file("manifest.json", manifest.to_string().as_bytes()).file("repositories", b"{}")
    }

    fn manifest(&self, layers: &[(&str, Vec<u8>)]) -> Value {
        let layers: Vec<Value> = layers.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect();
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": layers,
        })
    }

    fn oci(&self, name: &str, manifest: &Value, blobs: &[Vec<u8>]) -> Tar {
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let all = blobs.iter().chain([&self.config, &manifest]);
        layout(&index, &all.cloned().collect::<Vec<_>>())
    }
}

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

fn layout(index: &Value, blobs: &[Vec<u8>]) -> Tar {
    let tar = Tar::default()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes())
        .dir("blobs/")
        .dir("blobs/sha256/");
    blobs.iter().fold(tar, |tar, blob| {
        // Long names need an extended header.
        let path = format!("blobs/sha256/{}", Digest::of(blob).hex());
        tar.file(&path, blob)
    })
}
