//! Archives and documents that must be refused, and what is left of them.

use super::*;

#[test]
fn r22_every_blob_has_its_digest_for_a_name() {
    let temp = TempStore::new();
    temp.import(&gzip(&rootfs("a")), "a").unwrap();
    temp.load(&Parts::two().docker(&["b:1"]).end()).unwrap();
    let blobs = fs::read_dir(temp.base.join("root/content/blobs/sha256")).unwrap();
    let mut count = 0;
    for blob in blobs {
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), path.file_name().unwrap().to_str().unwrap());
        count += 1;
    }
    assert_eq!(count, 3 + 4);
}

#[test]
fn r18_a_refused_archive_leaves_nothing() {
    let bomb = Tar::default().file("ok", b"x").file("../evil", b"x").end();
    for bytes in [
        bomb.clone(),
        gzip(&bomb),
        b"no archive at all, but long enough to be a block".repeat(20),
        gzip(&rootfs("x"))[..60].to_vec(),
        [gzip(&rootfs("x")), b"more".to_vec()].concat(),
    ] {
        let temp = TempStore::new();
        let error = temp.import(&bytes, "x").unwrap_err();
        assert!(temp.find("x").is_none());
        assert_eq!(temp.content(), Vec::<PathBuf>::new(), "{error}");
    }
}

#[test]
fn r18_a_link_of_a_lower_layer_is_not_followed() {
    let temp = TempStore::new();
    let canary = temp.base.join("canary");
    fs::create_dir(&canary).unwrap();
    let lower =
        Tar::default().symlink("link", canary.to_str().unwrap()).symlink("up", "../../../../canary").end();
    let upper = Tar::default().file("link/a", b"evil").file("up/b", b"evil").end();
    temp.load(&Parts::new(&[lower, upper]).docker(&["x"]).end()).unwrap();
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
    let layers = temp.find("x").unwrap().layers;
    assert!(layers[1].join("link/a").exists() && layers[0].join("link").is_symlink());
}

/// Loads an archive that must be refused with these words, and leave nothing that has a name.
#[track_caller]
fn refused(archive: Tar, words: &str) {
    let temp = TempStore::new();
    let error = temp.load(&archive.end()).unwrap_err();
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    assert!(text.contains(words), "other words: {text}");
    assert!(temp.images().list().unwrap().is_empty());
    assert!(
        temp.content().iter().all(|path| !path.starts_with("content/ingest") && !path.starts_with("drafts"))
    );
}

#[test]
fn r22_content_that_is_not_what_was_promised_is_refused() {
    let parts = Parts::two();
    let layers: Vec<(&str, Vec<u8>)> = parts.layers.iter().map(|layer| (TAR, layer.clone())).collect();
    let manifest = parts.manifest(&layers);
    let oci = |manifest: &Value| parts.oci("x", manifest, &parts.layers);
    assert!(TempStore::new().load(&oci(&manifest).end()).is_ok());

    let changed = |path: &str, value: Value| {
        let mut manifest = manifest.clone();
        *manifest.pointer_mut(path).unwrap() = value;
        manifest
    };
    refused(oci(&changed("/layers/0/size", json!(1))), "the size of the layer");
    refused(oci(&changed("/layers/0/size", json!(-1))), "invalid value");
    refused(oci(&changed("/layers/0/digest", json!(Digest::of(b"x").to_string()))), "is missing");
    refused(oci(&changed("/layers/0/digest", json!("sha512:00"))), "not supported");
    refused(oci(&changed("/layers/0/digest", json!("sha256:../../x"))), "not `sha256:`");
    refused(oci(&changed("/layers/0/mediaType", json!(GZIP))), "the packing of a layer is uncompressed");
    refused(oci(&changed("/layers/0/mediaType", json!("application/octet-stream"))), "are not supported");
    refused(oci(&changed("/config/mediaType", json!("application/x"))), "it is no image");
    refused(
        oci(&changed("/config/digest", changed("/layers/0/digest", json!(0))["layers"][1]["digest"].clone())),
        "the size of the image configuration",
    );
    refused(oci(&changed("/layers", json!([]))), "the image has no layers");
    refused(
        oci(&changed("/layers", json!([manifest["layers"][0]]))),
        "1 layers, but the configuration has 2",
    );
    refused(
        oci(&changed("/layers", json!(vec![manifest["layers"][0].clone(); 128]))),
        "more than 127 layers",
    );
    refused(
        oci(&changed("/layers", json!([manifest["layers"][1], manifest["layers"][0]]))),
        "the digest of a layer's content",
    );
    refused(oci(&changed("/schemaVersion", json!(1))), "schema 1");
    refused(oci(&changed("/schemaVersion", json!("2"))), "invalid type");
    refused(
        oci(&changed("/mediaType", json!("application/vnd.oci.image.index.v1+json"))),
        "not that of its descriptor",
    );
    let mut both = manifest.clone();
    both["manifests"] = json!([]);
    refused(oci(&both), "a manifest and an index at once");

    // A blob under the name of another.
    let lie = layout(&json!({"schemaVersion": 2, "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", b"a")]}), &[])
        .file(&format!("blobs/sha256/{}", Digest::of(b"a").hex()), b"b");
    refused(lie, "the digest of the manifest");
    // A configuration under the name of another.
    let name = format!("{}.json", Digest::of(b"other").hex());
    let docker = Tar::default()
        .file(&name, &parts.config)
        .file("l", &parts.layers[0])
        .file("manifest.json", json!([{"Config": name, "Layers": ["l", "l"]}]).to_string().as_bytes());
    refused(docker, "the digest of the image configuration");
}

#[test]
fn malformed_documents_are_refused() {
    let manifest = |text: &str| Tar::default().file("manifest.json", text.as_bytes());
    for (text, words) in [
        ("", "EOF"),
        ("[]", "neither"),
        ("{}", "invalid type"),
        ("[{}]", "missing field"),
        ("\u{feff}[]", "expected value"),
        ("[{\"Config\": \"a\", \"Config\": \"b\", \"Layers\": []}]", "duplicate field"),
        ("[{\"Config\": \"../../etc/passwd\", \"Layers\": []}]", "is not in the archive"),
        ("[{\"Config\": \"manifest.json\", \"Layers\": []}]", "image configuration"),
        ("[{\"Config\": \"manifest.json\", \"Layers\": [], \"RepoTags\": [\"A:b:c\"]}]", "lower case"),
        ("[{\"Config\": \"manifest.json\", \"Layers\": [1e400]}]", "out of range"),
    ] {
        refused(manifest(text), words);
    }
    refused(manifest(&"[".repeat(100_000)), "nested more than 64 deep");
    refused(manifest(&format!("[{}]", " ".repeat(5 << 20))), "more than 4194304 bytes");
    refused(Tar::default().file("x", b""), "neither");
    let layout = |version: &str, index: &str| {
        let version = format!("{{\"imageLayoutVersion\": \"{version}\"}}");
        Tar::default().file("oci-layout", version.as_bytes()).file("index.json", index.as_bytes())
    };
    refused(layout("2.0.0", "{}"), "version");
    refused(layout("1.0.0", "{\"schemaVersion\": 1, \"manifests\": []}"), "no OCI index");
    refused(layout("1.0.0", "{\"schemaVersion\": 2, \"manifests\": []}"), "neither");
    refused(Tar::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), "not in the archive");
}

#[test]
fn indexes_that_lead_in_circles_end() {
    let kind = "application/vnd.oci.image.index.v1+json";
    let level = |below: &[u8], kind_below: &str| {
        json!({"schemaVersion": 2, "manifests": [descriptor(kind_below, below)]}).to_string().into_bytes()
    };
    let leaf = b"{}".to_vec();
    let (one, mut blobs) = (level(&leaf, kind), vec![leaf]);
    let mut top = one;
    for _ in 0..4 {
        blobs.push(top.clone());
        top = level(&top, kind);
    }
    blobs.push(top.clone());
    let outer = json!({"schemaVersion": 2, "manifests": [descriptor(kind, &top)]});
    refused(layout(&outer, &blobs), "indexes lead to indexes");
}

#[test]
fn archives_of_images_have_one_meaning_too() {
    let docker = Parts::two().docker(&["x"]);
    refused(docker.clone().file("manifest.json", b"[]"), "two files of this name");
    refused(docker.clone().file("./manifest.json", b"[]"), "two files of this name");
    refused(docker.clone().file("../x", b""), "a path out of the archive");
    refused(docker.clone().symlink("x", "../../y"), "a path out of the archive");
    refused(docker.add(Head::new("dev", b'3', 0).device(1, 3), b""), "a device or pipe");
    let looped = Tar::default().symlink("manifest.json", "b").symlink("b", "manifest.json");
    refused(looped, "neither");
}
