//! The store as its users see it: two directories, containers, names, locks.

use crate::{Container, ContainerId, Durability, Error, Kind, Lock, Patience, Store};
use skiff_sys::Errno;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A store of its own, removed when it is dropped.
struct TempStore {
    base: PathBuf,
    store: Store,
}

impl TempStore {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("skiff-store-{}-{name}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let store = Store::open(&base.join("a/root"), &base.join("state")).unwrap();
        Self { base, store }
    }

    fn again(&self) -> Result<Store, Error> {
        Store::open(&self.base.join("a/root"), &self.base.join("state"))
    }

    /// All paths below the two directories that aren't the store's own frame.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.base.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let is_frame = ["a", "root", "state", "containers", "names", "trash"]
                    .iter()
                    .any(|name| path.file_name().unwrap() == *name);
                if !is_frame {
                    found.push(path.clone());
                }
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                }
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

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn id_of(digit: char) -> ContainerId {
    digit.to_string().repeat(64).parse().unwrap()
}

#[test]
fn r26_directories_are_private_and_checked_at_each_start() {
    let temp = TempStore::new("private");
    assert_eq!(mode(&temp.base.join("a/root")), 0o700);
    assert_eq!(mode(&temp.base.join("a")), 0o755);
    temp.store.root().write_new("file", b"x").unwrap();
    assert_eq!(mode(&temp.base.join("a/root/file")), 0o600);
    temp.again().unwrap();
    for bad in [0o777, 0o755, 0o710, 0o701] {
        fs::set_permissions(temp.base.join("state"), fs::Permissions::from_mode(bad)).unwrap();
        assert!(matches!(temp.again(), Err(Error::Mode { mode, .. }) if mode == bad));
    }
    fs::set_permissions(temp.base.join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(temp.base.join("state"), Some(12345), None).unwrap();
    assert!(matches!(temp.again(), Err(Error::Owner { owner: 12345, .. })));
}

#[test]
fn a_file_in_the_place_of_a_directory_is_refused() {
    let temp = TempStore::new("file");
    let path = temp.base.join("plain");
    fs::write(&path, "").unwrap();
    let error = Store::open(&path, &temp.base.join("state")).unwrap_err();
    assert_eq!(error.errno(), Errno::NOTDIR);
}

#[test]
fn replaced_files_are_whole_and_leave_nothing_beside_them() {
    let temp = TempStore::new("replace");
    let root = temp.store.root();
    root.replace("file", b"one", Durability::None).unwrap();
    root.replace("file", b"two", Durability::Fsync).unwrap();
    assert_eq!(root.read("file", 10).unwrap().unwrap(), b"two");
    assert_eq!(root.read("none", 10).unwrap(), None);
    assert_eq!(root.write_new("file", b"three").unwrap_err().errno(), Errno::EXIST);
    assert_eq!(temp.leftovers(), [temp.base.join("a/root/file")]);
    // A directory can't be replaced by a file: the temporary one must go.
    fs::create_dir(root.path().join("dir")).unwrap();
    root.replace("dir", b"x", Durability::None).unwrap_err();
    assert_eq!(temp.leftovers().len(), 2);
}

#[test]
fn r40_files_are_read_with_a_limit_and_links_are_not_followed() {
    let temp = TempStore::new("limit");
    let root = temp.store.root();
    root.write_new("file", &[b'x'; 5000]).unwrap();
    assert_eq!(root.read("file", 5000).unwrap().unwrap().len(), 5000);
    assert!(matches!(root.read("file", 4999), Err(Error::TooLarge { limit: 4999, .. })));
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
    assert_eq!(root.read("link", 5000).unwrap_err().errno(), Errno::LOOP);
}

#[test]
fn a_container_lives_and_leaves_nothing() {
    let temp = TempStore::new("life");
    let container = temp.store.create_container().unwrap();
    let id = container.id().clone();
    temp.store.claim_name("web", &id).unwrap();
    let overlay = container.create_overlay(vec!["/".into()]).unwrap();
    assert_eq!(mode(&overlay.upper), mode(Path::new("/")));
    container.data().write_new("config.json", b"{}").unwrap();
    assert_eq!(temp.store.container_ids().unwrap(), [id.clone()].into());
    assert_eq!(temp.store.find_name("web").unwrap(), Some(id.clone()));
    assert!(temp.store.view(&id).unwrap().data.unwrap().read("config.json", 10).unwrap().is_some());
    temp.store.remove_container(container, Some("web")).unwrap();
    assert_eq!(temp.store.find_name("web").unwrap(), None);
    assert_eq!(temp.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn r29_a_living_container_is_not_held_twice_and_a_dead_one_can_be() {
    let temp = TempStore::new("hold");
    let container = temp.store.create_container().unwrap();
    let id = container.id().clone();
    assert!(temp.store.try_hold(&id).unwrap().is_none());
    drop(container);
    let held = temp.store.try_hold(&id).unwrap().unwrap();
    temp.store.remove_container(held, None).unwrap();
    assert!(temp.store.try_hold(&id).unwrap().is_none());
    assert_eq!(temp.leftovers(), Vec::<PathBuf>::new());
}

/// Makes in a store's base directory what a crash left.
type Leave = fn(&Path);

/// Every half that a crash can leave of a creation or a removal, swept.
#[test]
fn r34_half_made_and_half_removed_containers_are_swept() {
    let halves: [(&str, Leave); 6] = [
        ("state only", |base| {
            fs::create_dir_all(base.join("state/containers").join("a".repeat(64))).unwrap()
        }),
        ("data only", |base| {
            fs::create_dir_all(base.join("a/root/containers").join("a".repeat(64))).unwrap()
        }),
        ("in the trash", |base| {
            fs::create_dir_all(base.join("state/containers").join("a".repeat(64))).unwrap();
            fs::create_dir_all(base.join("a/root/trash").join("a".repeat(64)).join("upper/x")).unwrap();
        }),
        ("in the trash and made again", |base| {
            fs::create_dir_all(base.join("a/root/trash").join("a".repeat(64)).join("upper/x")).unwrap();
            fs::create_dir_all(base.join("a/root/containers").join("a".repeat(64)).join("work/work"))
                .unwrap();
        }),
        ("with a lock", |base| {
            let dir = base.join("state/containers").join("a".repeat(64));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("lock"), "99999999\n").unwrap();
        }),
        ("nothing", |_| {}),
    ];
    for (index, (what, make)) in halves.iter().enumerate() {
        let temp = TempStore::new(&format!("half-{index}"));
        make(&temp.base);
        for _ in 0..2 {
            for id in temp.store.container_ids().unwrap() {
                let held = temp.store.try_hold(&id).unwrap().unwrap();
                temp.store.remove_container(held, None).unwrap();
            }
            temp.store.empty_trash().unwrap();
            assert_eq!(temp.leftovers(), Vec::<PathBuf>::new(), "{what}");
        }
    }
}

#[test]
fn exactly_one_of_many_gets_a_name() {
    let temp = TempStore::new("one");
    let containers: Vec<Container> = (0..8).map(|_| temp.store.create_container().unwrap()).collect();
    // A name left behind by a crash makes them all go through the lock.
    fs::create_dir(temp.base.join("state/names")).unwrap();
    std::os::unix::fs::symlink(format!("../containers/{}", id_of('a')), temp.base.join("state/names/wanted"))
        .unwrap();
    let wins = std::thread::scope(|scope| {
        let claim = |container: &Container| temp.store.claim_name("wanted", container.id()).is_ok();
        let threads: Vec<_> = containers.iter().map(|one| scope.spawn(move || claim(one))).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(wins, 1);
    let owner = temp.store.find_name("wanted").unwrap().unwrap();
    assert!(containers.iter().any(|container| *container.id() == owner));
    let error = temp.store.claim_name("wanted", containers[0].id()).unwrap_err();
    assert!(matches!(error, Error::NameTaken { id, .. } if id == owner));
}

#[test]
fn r25_names_and_ids_keep_to_their_grammar() {
    let temp = TempStore::new("grammar");
    let id = temp.store.create_container().unwrap().id().clone();
    for name in ["", "a", ".a", "-ab", "_ab", "a/b", "../x", "a b", "ä1", "a\n", &"a".repeat(256)] {
        assert!(matches!(temp.store.claim_name(name, &id), Err(Error::NameSyntax(_))), "{name:?}");
        assert_eq!(temp.store.find_name(name).unwrap(), None);
    }
    temp.store.claim_name("A.b-c_9", &id).unwrap();
    for text in ["", "ab", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65), "../../etc"] {
        assert!(text.parse::<ContainerId>().is_err(), "{text}");
    }
}

#[test]
fn releasing_the_name_of_another_does_nothing() {
    let temp = TempStore::new("release");
    let one = temp.store.create_container().unwrap();
    let other = temp.store.create_container().unwrap();
    temp.store.claim_name("one", one.id()).unwrap();
    temp.store.release_name("one", other.id()).unwrap();
    assert_eq!(temp.store.find_name("one").unwrap().as_ref(), Some(one.id()));
    assert_eq!(temp.store.container_names().unwrap(), [("one".to_owned(), one.id().clone())]);
}

#[test]
fn r29_a_waiter_learns_who_holds_the_lock() {
    let temp = TempStore::new("waiter");
    let held = Lock::acquire(temp.store.state(), "some.lock", Kind::Exclusive, Patience::Never).unwrap();
    let start = Instant::now();
    let patience = Patience::For(Duration::from_millis(30));
    let error = Lock::acquire(temp.store.state(), "some.lock", Kind::Shared, patience).unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(30));
    let Error::Locked { holder, .. } = error else { panic!("{error}") };
    assert_eq!(holder.process.unwrap().0, std::process::id());
    drop(held);
    Lock::acquire(temp.store.state(), "some.lock", Kind::Exclusive, Patience::Forever).unwrap();
}

#[test]
fn shared_locks_are_shared() {
    let temp = TempStore::new("shared");
    let take = |kind| Lock::acquire(temp.store.state(), "l", kind, Patience::Never);
    let one = take(Kind::Shared).unwrap();
    let two = take(Kind::Shared).unwrap();
    assert!(take(Kind::Exclusive).is_err());
    drop((one, two));
    take(Kind::Exclusive).unwrap();
}

#[test]
fn a_lock_whose_file_was_removed_is_taken_on_the_new_file() {
    let temp = TempStore::new("unlinked");
    let first = Lock::acquire(temp.store.state(), "l", Kind::Exclusive, Patience::Never).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiter = scope
            .spawn(|| Lock::acquire(temp.store.state(), "l", Kind::Exclusive, Patience::Forever).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        temp.store.state().unlink("l").unwrap();
        drop(first);
        waiter.join().unwrap()
    });
    // Whoever comes next must meet the waiter's lock, not a file of their own.
    assert!(Lock::acquire(temp.store.state(), "l", Kind::Exclusive, Patience::Never).is_err());
    drop(waiting);
}

#[test]
fn short_ids_are_never_all_digits() {
    for _ in 0..2000 {
        let id = ContainerId::random().unwrap();
        assert!(id.short().parse::<u64>().is_err());
    }
}
