//! Compaction: what lives survives it, also where it breaks off at any byte, and space comes back
//! where no holes can be punched.

use std::collections::BTreeMap;

use super::*;

/// Rewrites every sparse log, to the end, as the Host's worker does.
pub(super) fn compact(store: &Store) {
    while let Some(sparse) = store.sparse_log(60).unwrap() {
        let mut rewrite = store.rewrite(sparse).unwrap();
        while rewrite.step(store).unwrap().is_some() {}
        settle(store);
    }
}

/// Logs that were let go are deleted before the writer answers again.
fn settle(store: &Store) {
    for _ in 0..2 {
        wait(store.remove(key(250))).unwrap();
    }
}

fn open_without_holes(folder: &Path) -> Store {
    let config = StoreConfig {
        punch_holes: false,
        ..config()
    };
    Store::open(folder, config).unwrap()
}

/// Twenty shards in several logs, of which three of four are deleted again.
fn sparse_store(folder: &Path) -> (Store, BTreeMap<u8, Bytes>) {
    let store = open_without_holes(folder);
    let mut kept = BTreeMap::new();
    for serial in 0..20 {
        let bytes = content(serial, 300_032 + 64 * usize::from(serial));
        put(&store, serial, &bytes).unwrap();
        kept.insert(serial, bytes);
    }
    for serial in (0..20).filter(|serial| serial % 4 != 0) {
        assert!(wait(store.remove(key(serial))).unwrap());
        kept.remove(&serial);
    }
    (store, kept)
}

fn assert_holds(store: &Store, kept: &BTreeMap<u8, Bytes>) {
    assert_eq!(store.usage().records, kept.len() as u64);
    assert_eq!(store.usage().shards, kept.len() as u64);
    for serial in 0..20 {
        let found = store.find(key(serial)).unwrap().map(|(id, _)| id);
        assert_eq!(found, kept.get(&serial).map(|bytes| hash_shard(bytes)));
    }
    for bytes in kept.values() {
        assert_eq!(read(store, bytes).as_deref(), Some(&bytes[..]));
    }
    let held: u64 = kept.values().map(|bytes| 192 + bytes.len() as u64).sum();
    let holding = store.held_by(&BRIDGE);
    assert_eq!((holding.records, holding.bytes), (kept.len() as u64, held));
}

fn disk_bytes(store: &Store) -> u64 {
    store.usage().live_bytes + store.usage().overhead_bytes
}

#[test]
fn sparse_logs_give_their_space_back_without_holes() {
    let folder = tempfile::tempdir().unwrap();
    let (store, kept) = sparse_store(folder.path());
    let before = disk_bytes(&store);

    compact(&store);

    assert!(
        disk_bytes(&store) * 2 < before,
        "{} of {before}",
        disk_bytes(&store)
    );
    assert_holds(&store, &kept);
    assert_eq!(store.sparse_log(60).unwrap(), None);
    let store = reopen(store, folder.path());
    assert_holds(&store, &kept);
    for serial in kept.keys() {
        assert!(wait(store.remove(key(*serial))).unwrap());
    }
    let store = reopen(store, folder.path());
    assert_holds(&store, &BTreeMap::new());
}

#[test]
fn hollow_logs_are_rewritten_where_holes_are_punched_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for serial in 0..20 {
        put(&store, serial, &content(serial, 300_032)).unwrap();
    }
    let small = content(99, 64);
    put(&store, 21, &small).unwrap();
    for serial in 0..20 {
        wait(store.remove(key(serial))).unwrap();
    }
    put(&store, 22, &content(22, 1_500_032)).unwrap();
    put(&store, 23, &content(23, 1_500_032)).unwrap();
    compact(&store);
    let logs = store.shared.files.list().unwrap();
    assert!(logs.len() <= 3, "{logs:?}");
    assert_eq!(read(&store, &small).as_deref(), Some(&small[..]));
    reopen(store, folder.path());
}

#[test]
fn references_move_and_shared_bytes_stay_until_they_are_no_longer_shared() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_without_holes(folder.path());
    let shared = content(1, 200_000);
    let filler: Vec<Bytes> = (0..12).map(|seed| content(100 + seed, 400_000)).collect();
    put(&store, 1, &shared).unwrap();
    for (serial, bytes) in (10..).zip(&filler) {
        put(&store, serial, bytes).unwrap();
        if serial == 15 {
            put(&store, 2, &shared).unwrap();
        }
    }
    for serial in 10..22 {
        wait(store.remove(key(serial))).unwrap();
    }
    compact(&store);
    assert!(
        store.shared.files.list().unwrap().contains(&1),
        "shared bytes do not move"
    );
    assert_eq!(read(&store, &shared).as_deref(), Some(&shared[..]));

    wait(store.remove(key(2))).unwrap();
    compact(&store);

    assert!(!store.shared.files.list().unwrap().contains(&1));
    assert_eq!(read(&store, &shared).as_deref(), Some(&shared[..]));
    let store = reopen(store, folder.path());
    wait(store.remove(key(1))).unwrap();
    assert_eq!(read(&reopen(store, folder.path()), &shared), None);
}

#[test]
fn what_is_deleted_while_its_log_is_rewritten_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut kept) = sparse_store(folder.path());
    let sparse = store.sparse_log(60).unwrap().unwrap();
    let mut rewrite = store.rewrite(sparse).unwrap();
    rewrite.step(&store).unwrap();
    assert!(wait(store.remove(key(0))).unwrap());
    kept.remove(&0);
    while rewrite.step(&store).unwrap().is_some() {}
    compact(&store);
    assert_holds(&reopen(store, folder.path()), &kept);
}

/// Every file of a store as it was.
fn snapshot(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(folder, copy.path());
    copy
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("logs")).unwrap();
    for part in ["", "logs"] {
        for entry in std::fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let copied = std::fs::copy(entry.path(), to.join(part).join(entry.file_name()));
            // A store that is open may rename what it has just written: gone under its old name.
            let vanished = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            assert!(!is_file || copied.is_ok() || copied.is_err_and(|error| vanished(&error)));
        }
    }
}

/// A rewrite that a crash ends at any byte of what it writes: nothing is lost, nothing is there
/// twice, nothing comes back, and the next rewrite ends it.
#[test]
fn a_rewrite_torn_anywhere_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, kept) = sparse_store(folder.path());
    drop(store);
    let before = snapshot(folder.path());
    let store = open_without_holes(folder.path());
    let active = *store.shared.files.list().unwrap().last().unwrap();
    let from = u64::from(store.shared.files.len(active).unwrap());
    let sparse = store.sparse_log(60).unwrap().unwrap();
    let mut rewrite = store.rewrite(sparse).unwrap();
    rewrite.step(&store).unwrap();
    let grown: Vec<u32> = store.shared.files.list().unwrap();
    let grown: Vec<u32> = grown.into_iter().filter(|log| *log >= active).collect();
    let after = snapshot(folder.path());
    drop(store);

    for log in grown {
        let name = format!("logs/{log:08}.log");
        let whole = std::fs::metadata(after.path().join(&name)).unwrap().len();
        let start = if log == active { from } else { 0 };
        let offsets = (0..5).map(|part| start + (whole - start) * part / 4);
        let edges = [start + 64, start + 191, start + 193];
        for at in offsets.chain(edges.into_iter().filter(|at| *at <= whole)) {
            for torn in [Torn::Cut, Torn::Zeros] {
                let crashed = snapshot(before.path());
                for earlier in active..=log {
                    let name = format!("logs/{earlier:08}.log");
                    std::fs::copy(after.path().join(&name), crashed.path().join(&name)).unwrap();
                }
                tear(crashed.path(), &format!("{log:08}.log"), at, torn);
                let store = open_without_holes(crashed.path());
                assert_holds(&store, &kept);
                compact(&store);
                assert_holds(&store, &kept);
                assert_holds(&reopen(store, crashed.path()), &kept);
            }
        }
    }
}

/// A crash between the last record moved and the deletion of the old log, and after the
/// checkpoint that forgets it.
#[test]
fn an_old_log_that_survives_its_deletion_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut kept) = sparse_store(folder.path());
    drop(store);
    let before = snapshot(folder.path());
    let store = open_without_holes(folder.path());
    compact(&store);
    for serial in [0, 8] {
        assert!(wait(store.remove(key(serial))).unwrap());
        kept.remove(&serial);
    }
    drop(store);
    for log in std::fs::read_dir(before.path().join("logs")).unwrap() {
        let (path, name) = (log.as_ref().unwrap().path(), log.unwrap().file_name());
        let gone = folder.path().join("logs").join(name);
        if !gone.exists() {
            std::fs::copy(path, gone).unwrap();
        }
    }
    let after = snapshot(folder.path());
    assert_holds(&open_without_holes(folder.path()), &kept);
    forget_checkpoint(after.path());
    let rebuilt = open_without_holes(after.path());
    assert_holds(&rebuilt, &kept);
    compact(&rebuilt);
    assert_holds(&reopen(rebuilt, after.path()), &kept);
}
