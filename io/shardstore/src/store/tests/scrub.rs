//! Scrub: rot is found, remembered, never served, and healed by storing the shard anew.

use super::*;

fn bend(store: &Store, bytes: &Bytes) {
    let at = store.get(&hash_shard(bytes)).unwrap().unwrap().location();
    let file = store.shared.files.get(at.log).unwrap();
    file.write_all_at(b"rot", u64::from(at.offset + HEADER_LEN))
        .unwrap();
}

fn round(store: &Store) -> (u64, u64) {
    let (mut shards, mut rotten) = (0, 0);
    loop {
        let step = store.scrub(NOW, 100_000).unwrap();
        shards += step.shards;
        rotten += step.rotten;
        if step.round_done {
            return (shards, rotten);
        }
    }
}

#[test]
fn rot_is_found_kept_in_mind_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let shards: Vec<Bytes> = (0..10).map(|seed| content(seed, 64_000)).collect();
    for (serial, bytes) in (0..).zip(&shards) {
        put(&store, serial, bytes).unwrap();
    }
    assert_eq!(round(&store), (10, 0));
    bend(&store, &shards[3]);
    assert_eq!(round(&store), (10, 1));
    let id = hash_shard(&shards[3]);
    let location = store.bad()[0].0;

    assert!(matches!(
        store.look_up(&BRIDGE, &id).unwrap(),
        Lookup::Rotten
    ));
    assert!(store.get(&id).unwrap().is_none());
    assert_eq!(store.bad(), [(location, Some(id))]);
    assert_eq!(store.scrub_progress().finished, Some(NOW));
    let store = reopen(store, folder.path());
    assert!(matches!(
        store.look_up(&BRIDGE, &id).unwrap(),
        Lookup::Rotten
    ));
    assert!(store.is_rotten(key(3)).unwrap() && !store.is_rotten(key(2)).unwrap());
    assert_eq!(store.bad_shards(), 1);
}

#[test]
fn a_rotten_shard_is_healed_by_storing_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bytes = content(1, 64_000);
    put(&store, 1, &bytes).unwrap();
    bend(&store, &bytes);
    round(&store);

    let again = shard(1, &bytes);
    let later = NewShard {
        created: UnixMs(2_000),
        ..again
    };
    let stored = wait(store.put(later, store.reserve(64_000).unwrap())).unwrap();

    assert!(stored.new);
    assert_eq!(stored.created, NOW, "the receipt is the same");
    assert_eq!(read(&store, &bytes).as_deref(), Some(&bytes[..]));
    assert_eq!(
        (
            store.usage().records,
            store.usage().live_bytes,
            store.bad_shards()
        ),
        (1, 64_000, 0)
    );
    let store = reopen(store, folder.path());
    assert_eq!(read(&store, &bytes).as_deref(), Some(&bytes[..]));
    assert_eq!(round(&store), (1, 0));
    wait(store.remove(key(1))).unwrap();
    assert_eq!(reopen(store, folder.path()).usage().live_bytes, 0);
}

#[test]
fn a_scrub_goes_on_where_it_was_and_forgets_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for serial in 0..10 {
        put(&store, serial, &content(serial, 64_000)).unwrap();
    }
    bend(&store, &content(5, 64_000));
    let step = store.scrub(NOW, 256_000).unwrap();
    assert_eq!((step.shards, step.round_done), (4, false));
    store.close();
    let store = open(folder.path());
    assert_eq!(store.scrub_progress().shards, 4);
    let rest = store.scrub(UnixMs(2_000), 1 << 30).unwrap();
    assert_eq!((rest.shards, rest.round_done), (6, true));
    assert_eq!(store.bad_shards(), 1);
    wait(store.remove(key(5))).unwrap();
    assert_eq!(store.bad_shards(), 0);
    assert_eq!(reopen(store, folder.path()).bad_shards(), 0);
}

#[test]
fn a_bridge_reads_only_what_its_own_records_hold() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (bytes, other) = (content(1, 640), BridgeId([9; 32]));
    put(&store, 1, &bytes).unwrap();
    let id = hash_shard(&bytes);
    let here = |bridge: &BridgeId| matches!(store.look_up(bridge, &id).unwrap(), Lookup::Here(_));
    assert!(here(&BRIDGE) && !here(&other));
    let theirs = RecordKey {
        bridge: other,
        serial: Serial([1; 16]),
    };
    let mut new = shard(1, &bytes);
    new.key = theirs;
    wait(store.put(new, store.reserve(640).unwrap())).unwrap();
    assert!(here(&BRIDGE) && here(&other));
    wait(store.remove(key(1))).unwrap();
    assert!(!here(&BRIDGE) && here(&other));
    assert_eq!(
        store.held_by(&other),
        Holding {
            records: 1,
            bytes: 832
        }
    );
}

#[test]
fn what_was_deleted_has_not_rotted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (kept, gone) = (content(1, 64_000), content(2, 64_000));
    put(&store, 1, &kept).unwrap();
    put(&store, 2, &gone).unwrap();
    bend(&store, &gone);
    wait(store.remove(key(2))).unwrap();
    store.recheck(&hash_shard(&gone)).unwrap();
    assert_eq!((round(&store), store.bad_shards()), ((1, 0), 0));
}
