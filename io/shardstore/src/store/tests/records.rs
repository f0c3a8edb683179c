//! Records are told by their keys, and all of them are met in steps.

use std::collections::BTreeSet;

use super::*;
use crate::records::Presence;

#[test]
fn every_record_is_met_once_and_those_removed_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for serial in 0..10 {
        // Two and two hold the same bytes.
        put(&store, serial, &content(serial / 2, 64)).unwrap();
    }
    wait(store.remove(key(3))).unwrap();
    let (mut cursor, mut met) = (None, Vec::new());
    loop {
        let (page, next) = store.records_after(cursor, 4).unwrap();
        met.extend(page);
        match next {
            Some(_) => cursor = next,
            None => break,
        }
    }
    let serials: BTreeSet<u8> = met.iter().map(|record| record.key.serial.0[0]).collect();
    assert_eq!(met.len(), 9);
    assert_eq!(serials, [0, 1, 2, 4, 5, 6, 7, 8, 9].into());
    assert!(met.iter().all(|record| record.created == NOW
        && record.key.bridge == BRIDGE
        && record.shard_bytes == 64));
}

#[test]
fn presence_tells_what_has_rotted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bytes = content(1, 64_000);
    put(&store, 1, &bytes).unwrap();
    put(&store, 2, &bytes).unwrap();
    put(&store, 3, &content(3, 64)).unwrap();
    let ask = || {
        let serials = [1, 2, 3, 4].map(|serial| key(serial).serial);
        store.presence(&BRIDGE, &serials).unwrap()
    };
    use Presence::{Here, NotHere, Rotten};
    assert_eq!(ask(), [Here, Here, Here, NotHere]);
    store
        .shared
        .files
        .get(1)
        .unwrap()
        .write_all_at(b"rot", 2_000)
        .unwrap();
    store.recheck(&hash_shard(&bytes)).unwrap();
    assert_eq!(ask(), [Rotten, Rotten, Here, NotHere]);
    assert!(matches!(
        store.record(key(2)),
        Ok(Some((_, Stored { created: NOW, .. }, true)))
    ));
}
