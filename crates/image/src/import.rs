//! `import`: a root file system in a tar archive becomes an image of one layer.

use crate::blob::{Ingest, Ingested};
use crate::compression::{self, Compression};
use crate::content::{Content, NewImage};
use crate::document::{Manifest, Packing};
use crate::hashing::Hashing;
use crate::images::ImageStore;
use crate::layer::{decode_to, one_error};
use crate::load::Loaded;
use crate::unpack::Position;
use crate::{Error, change, host, pipeline};
use skiff_oci::image::{
    Arch, Config, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, Os, RootFsBuilder,
};
use skiff_oci::{ChainId, DiffId, Digest, Reference};
use std::io::{self, BufReader, Read, Write};

const READ_BUFFER: usize = 256 << 10;

/// What is said about an image that is imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Instructions that change its configuration: `CMD ["sh"]`, `ENV A=1`.
    pub changes: Vec<String>,
    /// A comment in its history.
    pub message: Option<String>,
    /// The machine that its programs are for, in Go's words (`arm64`); this one otherwise.
    pub architecture: Option<String>,
}

impl ImageStore<'_> {
    /// Makes an image of the root file system in the tar archive `input`, which may be compressed. With a name it
    /// is given that name.
    ///
    /// # Errors
    /// [`Error::Archive`] and [`Error::Refused`] for archives that are malformed or hostile; nothing of them stays.
    pub fn import(
        &self,
        input: impl Read + Send,
        name: Option<&Reference>,
        options: &ImportOptions,
    ) -> Result<Loaded, Error> {
        if let Some(name) = name.filter(|name| host::is_host(name)) {
            return Err(Error::BuiltIn(name.clone()));
        }
        let mut inner = Config::default();
        for text in &options.changes {
            change::apply(&mut inner, text)?;
        }
        let content = Content::open_to_add(self.store)?;
        let failed = |source| Error::Read { what: "archive".into(), source };
        let (compression, input) = compression::sniff(input).map_err(failed)?;
        let draft = content.layers.draft()?;
        let mut blob = content.blobs.begin()?;
        let is_stored_as_tar = packing(compression) == Packing::Tar;
        let (produced, consumed) = pipeline::run(
            |sender| store_and_decode(sender, input, compression, &mut blob),
            |receiving| {
                let mut hashing = Hashing::new(receiving);
                let unpacked = draft.unpack_tar(&mut hashing, Position::Lowest)?;
                Ok::<_, Error>((unpacked, hashing.finish()))
            },
        );
        let (unpacked, (found, _)) =
            one_error(produced, consumed).map_err(|error| error.into_error(failed))?;
        let blob = blob.finish();
        debug_assert!(!is_stored_as_tar || blob.digest == found);
        let diff_id = DiffId(found);
        content.name_layer(draft, &unpacked, diff_id, ChainId::first(diff_id), &[])?;
        let config = configuration(inner, diff_id, options)?;
        let id = self.publish(&content, &blob, packing(compression), &config, name)?;
        let names = name.map(|name| name.clone().or_latest()).into_iter().collect();
        Ok(Loaded { id, names, dropped_xattrs: unpacked.dropped_xattrs })
    }

    fn publish(
        &self,
        content: &Content<'_>,
        blob: &Ingested,
        packing: Packing,
        config: &ImageConfiguration,
        name: Option<&Reference>,
    ) -> Result<Digest, Error> {
        let bytes = serde_json::to_vec(config)
            .map_err(|source| Error::Json { what: "image configuration".into(), source })?;
        let id = content.blobs.put(&bytes)?;
        let layer = content.keep(blob)?;
        let manifest = Manifest::new((id, bytes.len() as u64), [(packing, layer, blob.size)]);
        let manifest_bytes = serde_json::to_vec(&manifest)
            .map_err(|source| Error::Json { what: "manifest".into(), source })?;
        let names = name.map(|name| name.clone().or_latest()).into_iter().collect();
        content.publish(&NewImage { manifest, manifest_bytes, config: id, names })?;
        Ok(id)
    }
}

/// How a layer is stored that came compressed like this: as it came, where the image format knows that.
const fn packing(compression: Compression) -> Packing {
    match compression {
        Compression::Gzip => Packing::Gzip,
        Compression::Zstd => Packing::Zstd,
        Compression::None | Compression::Xz => Packing::Tar,
    }
}

/// Decodes `input` for the consumer and writes what is stored of it to `blob` on the way.
fn store_and_decode(
    sender: &mut pipeline::Sender,
    input: impl Read + Send,
    compression: Compression,
    blob: &mut Ingest,
) -> io::Result<()> {
    if compression == Compression::Xz {
        let mut input = BufReader::with_capacity(READ_BUFFER, input);
        sender.send_all(Tee { input: compression::decode(&mut input, compression)?, blob })?;
        return pipeline::expect_end(input);
    }
    decode_to(sender, BufReader::with_capacity(READ_BUFFER, Tee { input, blob }), compression)
}

/// A reader that writes down what is read.
struct Tee<'a, R> {
    input: R,
    blob: &'a mut Ingest,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(into)?;
        self.blob.write_all(&into[..length])?;
        Ok(length)
    }
}

fn configuration(
    inner: Config,
    diff_id: DiffId,
    options: &ImportOptions,
) -> Result<ImageConfiguration, Error> {
    let failed = |error: skiff_oci::SpecError| Error::document("image configuration", error.to_string());
    let now = jiff::Timestamp::now().to_string();
    let architecture = options.architecture.as_deref().map_or_else(Arch::default, Arch::from);
    let mut history = HistoryBuilder::default().created(now.clone());
    if let Some(message) = &options.message {
        history = history.comment(message.clone());
    }
    ImageConfigurationBuilder::default()
        .created(now)
        .architecture(architecture)
        .os(Os::Linux)
        .config(inner)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers".to_owned())
                .diff_ids(vec![diff_id.to_string()])
                .build()
                .map_err(failed)?,
        )
        .history(vec![history.build().map_err(failed)?])
        .build()
        .map_err(failed)
}
