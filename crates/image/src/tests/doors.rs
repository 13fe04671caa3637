//! Images in by every door.

use super::*;

#[test]
fn an_archive_is_imported_whatever_its_compression() {
    let archive = rootfs("#!");
    for (name, bytes) in
        [("tar", archive.clone()), ("gzip", gzip(&archive)), ("zstd", zstd(&archive)), ("xz", xz(&archive))]
    {
        let temp = TempStore::new();
        let id = temp.import(&bytes, name).unwrap();
        let image = temp.find(name).unwrap();
        assert_eq!((image.id, image.kind), (Some(id), ImageKind::Stored), "{name}");
        assert_eq!(fs::read_to_string(image.layers[0].join("bin/sh")).unwrap(), "#!");
        // The layer is known by its content, not by how it came.
        let diff_id = Digest::of(&archive);
        assert_eq!(*image.config.rootfs().diff_ids(), [diff_id.to_string()]);
        assert!(image.layers[0].ends_with(format!("{}/diff", diff_id.hex())));
        let summary = &temp.images().list().unwrap()[0];
        assert_eq!((summary.size, summary.names.as_slice()), (2, &[reference(name).or_latest()][..]));
    }
}

#[test]
fn what_is_said_about_an_imported_image_is_in_its_configuration() {
    let temp = TempStore::new();
    let options = ImportOptions {
        changes: vec!["CMD [\"/bin/sh\"]".into(), "ENV A=1".into()],
        message: Some("a comment".into()),
        architecture: Some("arm64".into()),
    };
    temp.images().import(rootfs("").as_slice(), Some(&reference("x")), &options).unwrap();
    let config = temp.find("x").unwrap().config;
    assert_eq!(config.architecture().to_string(), "arm64");
    assert_eq!(config.config().as_ref().unwrap().env().as_ref().unwrap(), &["A=1"]);
    assert_eq!(config.history().as_ref().unwrap()[0].comment().as_deref(), Some("a comment"));
    let bad = ImportOptions { changes: vec!["RUN x".into()], ..ImportOptions::default() };
    assert!(matches!(temp.images().import(rootfs("").as_slice(), None, &bad), Err(Error::Change { .. })));
}

#[test]
fn archives_of_docker_and_of_oci_are_the_same_image() {
    let parts = Parts::two();
    let gz: Vec<Vec<u8>> = parts.layers.iter().map(|layer| gzip(layer)).collect();
    let zst: Vec<Vec<u8>> = parts.layers.iter().map(|layer| zstd(layer)).collect();
    let of = |kind: &str, blobs: &[Vec<u8>]| {
        let layers: Vec<(&str, Vec<u8>)> = blobs.iter().map(|blob| (kind, blob.clone())).collect();
        parts.oci("x:1", &parts.manifest(&layers), blobs)
    };
    for archive in [parts.docker(&["x:1"]), of(TAR, &parts.layers), of(GZIP, &gz), of(ZSTD, &zst)] {
        for bytes in [archive.clone().end(), gzip(&archive.end())] {
            let temp = TempStore::new();
            let id = Digest::of(&parts.config);
            let loaded = temp.load(&bytes).unwrap();
            assert_eq!(loaded, [Loaded { id, names: vec![reference("x:1")], dropped_xattrs: 0 }]);
            let image = temp.find("x:1").unwrap();
            let diff_ids: Vec<DiffId> = parts.layers.iter().map(|layer| DiffId(Digest::of(layer))).collect();
            let chain = ChainId::chain(&diff_ids);
            assert!(image.layers[1].ends_with(format!("{}/diff", chain[1].0.hex())));
            assert_eq!(fs::read(image.layers[1].join("d/c")).unwrap(), b"3");
        }
    }
}

#[test]
fn shared_layers_are_unpacked_once_and_repeated_ones_are_links() {
    let layer = rootfs("same");
    let parts = Parts::new(&[layer.clone(), layer]);
    let temp = TempStore::new();
    temp.load(&parts.docker(&["a:1", "b:2"]).end()).unwrap();
    assert_eq!(temp.find("a:1").unwrap().layers.len(), 2);
    assert_eq!(temp.find("b:2").unwrap().id, temp.find("a:1").unwrap().id);
    let layers = temp.base.join("root/layers");
    let before: Vec<_> =
        fs::read_dir(&layers).unwrap().map(|e| e.unwrap().metadata().unwrap().modified().unwrap()).collect();
    temp.load(&parts.docker(&["c:3"]).end()).unwrap();
    let after: Vec<_> =
        fs::read_dir(&layers).unwrap().map(|e| e.unwrap().metadata().unwrap().modified().unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn directories_that_a_layer_only_implies_are_as_below() {
    let lower = Tar::default()
        .add(Head::new("root", b'5', 0).mode(0o700).owner(3, 4).with(136, b"00000000144\0"), b"")
        .end();
    let upper = Tar::default().file("root/.profile", b"").file("new/x", b"").end();
    let temp = TempStore::new();
    temp.load(&Parts::new(&[lower, upper]).docker(&["x"]).end()).unwrap();
    use std::os::unix::fs::MetadataExt;
    let image = temp.find("x").unwrap();
    let root = fs::metadata(image.layers[1].join("root")).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid(), root.mtime()), (0o700, 3, 4, 100));
    assert_eq!(fs::metadata(image.layers[1].join("new")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_index_is_chosen_from_by_platform() {
    let parts = Parts::two();
    let layers: Vec<(&str, Vec<u8>)> = parts.layers.iter().map(|layer| (TAR, layer.clone())).collect();
    let manifest = parts.manifest(&layers).to_string().into_bytes();
    let other = json!({"schemaVersion": 2, "config": {}, "layers": []}).to_string().into_bytes();
    let platform = |mut descriptor: Value, architecture: &str| {
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        descriptor
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let own = skiff_oci::image::Arch::default().to_string();
    let index_of = |entries: Vec<Value>| {
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})
            .to_string()
            .into_bytes()
    };
    let archive = |index: Vec<u8>| {
        let mut entry = descriptor("application/vnd.oci.image.index.v1+json", &index);
        entry["annotations"] = json!({"io.containerd.image.name": "docker.io/library/x:1"});
        let outer = json!({"schemaVersion": 2, "manifests": [entry]});
        let mut blobs = parts.layers.clone();
        blobs.extend([parts.config.clone(), manifest.clone(), other.clone(), index]);
        layout(&outer, &blobs).end()
    };
    let both = index_of(vec![
        platform(descriptor(kind, &other), "other"),
        platform(descriptor(kind, &manifest), &own),
    ]);
    let temp = TempStore::new();
    temp.load(&archive(both)).unwrap();
    assert_eq!(temp.find("x:1").unwrap().id, Some(Digest::of(&parts.config)));
    let none = index_of(vec![platform(descriptor(kind, &manifest), "other")]);
    let error = TempStore::new().load(&archive(none)).unwrap_err();
    assert!(error.to_string().contains(&format!("no image for linux/{own}")), "{error}");
}
