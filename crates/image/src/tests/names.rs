//! Names, ids, holding, removing, and many at once.

use super::*;

#[test]
fn the_name_host_stays_built_in() {
    let temp = TempStore::new();
    assert!(matches!(temp.import(&rootfs(""), "host"), Err(Error::BuiltIn(_))));
    assert!(matches!(temp.load(&Parts::two().docker(&["host:latest"]).end()), Err(Error::BuiltIn(_))));
    assert!(matches!(temp.remove("host", Force::Yes), Err(Error::BuiltIn(_))));
    let image = temp.find("host").unwrap();
    assert_eq!((image.kind, image.id, image.layers), (ImageKind::Host, None, vec![PathBuf::from("/")]));
    temp.import(&rootfs(""), "host:other").unwrap();
    assert_eq!(temp.find("host:other").unwrap().kind, ImageKind::Stored);
}

#[test]
fn an_image_is_found_by_name_and_by_the_beginning_of_its_id() {
    let temp = TempStore::new();
    let id = temp.import(&rootfs("1"), "example.com:5000/a/b:tag").unwrap();
    for text in ["example.com:5000/a/b:tag", &id.to_string(), &id.hex(), &id.hex()[..12], &id.hex()[..1]] {
        assert_eq!(temp.find(text).unwrap().id, Some(id), "{text}");
    }
    for text in ["example.com:5000/a/b", "b:tag", "nothing", "zz", "", "sha256:", "../x", "UPPER"] {
        assert!(temp.find(text).is_none(), "{text}");
    }
    // A name that looks like the beginning of an id is a name first.
    let other = temp.import(&rootfs("2"), &id.hex()[..4]).unwrap();
    assert_eq!(temp.find(&id.hex()[..4]).unwrap().id, Some(other));
}

#[test]
fn names_move_and_images_without_one_stay_until_they_are_removed() {
    let temp = TempStore::new();
    let old = temp.import(&rootfs("1"), "x").unwrap();
    let new = temp.import(&rootfs("2"), "x").unwrap();
    let list = temp.images().list().unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list.iter().find(|image| image.id == old).unwrap().names, []);
    temp.remove(&old.hex()[..12], Force::No).unwrap();
    assert_eq!(temp.images().list().unwrap()[0].id, new);
}

#[test]
fn removing_the_last_name_removes_everything_and_other_names_keep_it() {
    let temp = TempStore::new();
    temp.load(&Parts::two().docker(&["a:1", "b:2"]).end()).unwrap();
    let removed = temp.remove("a:1", Force::No).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, 0));
    assert!(temp.find("a:1").is_none() && temp.find("b:2").is_some());
    let removed = temp.remove("b:2", Force::No).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len(), removed.layers.len()), (1, 1, 2));
    assert_eq!(temp.content(), Vec::<PathBuf>::new());
    assert!(matches!(temp.remove("b:2", Force::No), Err(Error::NotFound(_))));
}

#[test]
fn shared_layers_stay_while_one_image_has_them() {
    let temp = TempStore::new();
    let base = rootfs("base");
    temp.load(&Parts::new(std::slice::from_ref(&base)).docker(&["base"]).end()).unwrap();
    temp.load(&Parts::new(&[base.clone(), rootfs("more")]).docker(&["more"]).end()).unwrap();
    temp.remove("more", Force::No).unwrap();
    assert!(temp.find("base").unwrap().layers[0].join("bin/sh").exists());
    temp.remove("base", Force::No).unwrap();
    assert_eq!(temp.content(), Vec::<PathBuf>::new());
}

#[test]
fn an_id_with_names_in_several_repositories_needs_force() {
    let temp = TempStore::new();
    temp.load(&Parts::two().docker(&["a:1", "b:2"]).end()).unwrap();
    let id = Digest::of(&Parts::two().config).hex();
    let error = temp.remove(&id, Force::No).unwrap_err();
    assert!(error.to_string().contains("a:1, b:2"), "{error}");
    assert_eq!(temp.remove(&id, Force::Yes).unwrap().untagged.len(), 2);
    assert_eq!(temp.content(), Vec::<PathBuf>::new());
}

#[test]
fn a_container_holds_its_image_and_its_layers() {
    let temp = TempStore::new();
    temp.import(&rootfs("1"), "x").unwrap();
    let image = temp.find("x").unwrap();
    let container = temp.store.create_container().unwrap();
    image.hold(&temp.store, &container).unwrap();
    let layer = image.layers[0].clone();
    drop(image);
    let error = temp.remove("x", Force::No).unwrap_err();
    assert!(error.to_string().contains(container.id().short()), "{error}");
    temp.remove("x", Force::Yes).unwrap();
    assert!(temp.find("x").is_none());
    assert!(layer.join("bin/sh").exists(), "the layer of a living container is gone");
    temp.store.remove_container(container, None).unwrap();
    temp.images().collect(Patience::Never).unwrap();
    assert_eq!(temp.content(), Vec::<PathBuf>::new());
}

#[test]
fn nothing_is_collected_while_an_image_is_looked_at_or_added() {
    let temp = TempStore::new();
    temp.import(&rootfs("1"), "x").unwrap();
    let image = temp.find("x").unwrap();
    let patience = Patience::For(Duration::from_millis(5));
    let error = temp.images().remove("x", Force::Yes, patience).unwrap_err();
    assert!(matches!(error, Error::Store(skiff_store::Error::Locked { .. })), "{error}");
    drop(image);
    temp.remove("x", Force::No).unwrap();
}

#[test]
fn r34_what_a_crashed_import_left_is_swept_by_the_next() {
    let temp = TempStore::new();
    temp.import(&rootfs("1"), "x").unwrap();
    let root = temp.base.join("root");
    fs::write(root.join("content/ingest/0123"), "half").unwrap();
    fs::create_dir_all(root.join("drafts/4567/diff/a")).unwrap();
    // Somebody is adding right now: their parts must not be taken for left ones.
    let lock = Lock::acquire(temp.store.root(), "content/lock", Kind::Shared, Patience::Never).unwrap();
    temp.import(&rootfs("2"), "y").unwrap();
    assert!(root.join("content/ingest/0123").exists() && root.join("drafts/4567").exists());
    drop(lock);
    temp.import(&rootfs("3"), "z").unwrap();
    assert!(!root.join("content/ingest/0123").exists() && !root.join("drafts/4567").exists());
}

#[test]
fn a_damaged_store_is_not_collected_from() {
    let temp = TempStore::new();
    temp.import(&rootfs("1"), "x").unwrap();
    temp.import(&rootfs("2"), "y").unwrap();
    let manifest = temp.images().list().unwrap()[0].manifest;
    fs::remove_file(temp.base.join("root/content/blobs/sha256").join(manifest.hex())).unwrap();
    let layers = fs::read_dir(temp.base.join("root/layers")).unwrap().count();
    assert!(matches!(temp.images().collect(Patience::Never), Err(Error::Missing { .. })));
    assert_eq!(fs::read_dir(temp.base.join("root/layers")).unwrap().count(), layers);
}

#[test]
fn many_imports_at_once_do_not_disturb_each_other() {
    let temp = TempStore::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let temp = &temp;
            // Half of them are the same layer.
            scope.spawn(move || {
                temp.import(&rootfs(&(number / 2).to_string()), &format!("x:{number}")).unwrap()
            });
        }
    });
    for number in 0..8 {
        let image = temp.find(&format!("x:{number}")).unwrap();
        assert_eq!(fs::read_to_string(image.layers[0].join("bin/sh")).unwrap(), (number / 2).to_string());
    }
    assert_eq!(fs::read_dir(temp.base.join("root/layers")).unwrap().count(), 4);
}
