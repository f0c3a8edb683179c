//! Tests of the store through its handle: every state survives reopening, with and without its
//! checkpoint, and every way to cut or bend a log leaves the rest readable.

use std::fs::OpenOptions;
use std::future::Future;

use model::crypto::hash_shard;
use proptest::prelude::*;

mod compact;
mod records;
mod scrub;

use super::*;
use crate::checkpoint;
use crate::record::HEADER_LEN;
use crate::recover::Damage;

const BRIDGE: BridgeId = BridgeId([1; 32]);
const NOW: UnixMs = UnixMs(1_000);

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn config() -> StoreConfig {
    StoreConfig {
        space_bytes: 1 << 30,
        keep_free_bytes: Some(0),
        log_bytes_max: LOG_BYTES_MIN,
        punch_holes: true,
    }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, config()).unwrap()
}

fn key(serial: u8) -> RecordKey {
    RecordKey {
        bridge: BRIDGE,
        serial: Serial([serial; 16]),
    }
}

fn content(seed: u8, bytes: usize) -> Bytes {
    (0..bytes)
        .map(|i| u8::try_from(i * 7 % 251).unwrap() ^ seed)
        .collect::<Vec<_>>()
        .into()
}

fn shard(serial: u8, bytes: &Bytes) -> NewShard {
    NewShard::new(
        key(serial),
        hash_shard(bytes),
        OwnerTag([2; 32]),
        NOW,
        bytes.clone(),
    )
    .unwrap()
}

fn put(store: &Store, serial: u8, bytes: &Bytes) -> Result<Stored, PutError> {
    let new = shard(serial, bytes);
    let room = store
        .reserve(new.size().bytes())
        .map_err(|_| WriteError::DiskFull)?;
    wait(store.put(new, room))
}

fn read(store: &Store, bytes: &Bytes) -> Option<Vec<u8>> {
    store
        .get(&hash_shard(bytes))
        .unwrap()
        .map(|reader| reader.read_verified().unwrap())
}

fn forget_checkpoint(folder: &Path) {
    std::fs::remove_file(folder.join(checkpoint::FILE_NAME)).unwrap();
}

/// Closes and reopens, with the checkpoint and without; both ways must lead to the same index.
fn reopen(store: Store, folder: &Path) -> Store {
    let live = store.index_snapshot();
    store.close();
    let again = open(folder);
    assert_eq!(again.index_snapshot(), live, "with the checkpoint");
    again.close();
    forget_checkpoint(folder);
    let rebuilt = open(folder);
    assert_eq!(rebuilt.index_snapshot(), live, "from the logs alone");
    assert_eq!(rebuilt.recovery().damaged, 0);
    rebuilt
}

#[test]
fn every_operation_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (content(1, 128), content(2, 100_032));
    let store = open(folder.path());

    assert_eq!(
        put(&store, 1, &one).unwrap(),
        Stored {
            created: NOW,
            shard_bytes: 128,
            new: true
        }
    );
    let store = reopen(store, folder.path());
    put(&store, 2, &two).unwrap();
    let store = reopen(store, folder.path());
    assert!(wait(store.remove(key(2))).unwrap());
    let store = reopen(store, folder.path());

    assert_eq!(read(&store, &one).as_deref(), Some(&one[..]));
    assert_eq!(read(&store, &two), None);
    assert!(wait(store.remove(key(1))).unwrap());
    assert!(!wait(store.remove(key(1))).unwrap());
    let store = reopen(store, folder.path());
    assert_eq!(read(&store, &one), None);
    assert_eq!(store.usage().live_bytes, 0);
}

#[test]
fn a_serial_is_bound_to_its_shard() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (one, two) = (content(1, 64), content(2, 64));
    put(&store, 1, &one).unwrap();

    let again = put(&store, 1, &one).unwrap();
    let other = put(&store, 1, &two).unwrap_err();

    assert_eq!(
        again,
        Stored {
            created: NOW,
            shard_bytes: 64,
            new: false
        }
    );
    assert!(matches!(other, PutError::SerialBound { bound } if bound == hash_shard(&one)));
    assert_eq!(read(&store, &two), None);
}

#[test]
fn shared_bytes_live_until_their_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let bytes = content(1, 64_000);
    for serial in 1..=3 {
        put(&store, serial, &bytes).unwrap();
    }
    assert_eq!(store.usage().live_bytes, 64_000);
    for serial in [1, 3, 2] {
        assert_eq!(read(&store, &bytes).as_deref(), Some(&bytes[..]));
        wait(store.remove(key(serial))).unwrap();
        store = reopen(store, folder.path());
    }
    assert_eq!(read(&store, &bytes), None);
    assert_eq!(store.usage().live_bytes, 0);
    put(&store, 4, &bytes).unwrap();
    assert_eq!(
        read(&reopen(store, folder.path()), &bytes).as_deref(),
        Some(&bytes[..])
    );
}

#[test]
fn writes_at_the_same_time_share_bytes_and_serials_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (one, two) = (content(1, 640), content(2, 640));
    let room = || store.reserve(640).unwrap();

    let answers = wait(async {
        tokio::join!(
            store.put(shard(1, &one), room()),
            store.put(shard(1, &one), room()),
            store.put(shard(1, &two), room()),
            store.put(shard(2, &one), room()),
            store.remove(key(2)),
        )
    });

    assert!(answers.0.unwrap().new);
    assert!(!answers.1.unwrap().new);
    assert!(matches!(answers.2, Err(PutError::SerialBound { .. })));
    assert!(answers.3.unwrap().new);
    assert!(answers.4.unwrap());
    assert_eq!(store.usage().live_bytes, 640);
    reopen(store, folder.path());
}

#[test]
fn dead_logs_are_deleted_and_stay_dead() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let shards: Vec<Bytes> = (0..20).map(|seed| content(seed, 500_032)).collect();
    for (serial, bytes) in (0..).zip(&shards) {
        put(&store, serial, bytes).unwrap();
    }
    let before = store.shared.files.list().unwrap().len();
    let used_before = store.usage().live_bytes + store.usage().overhead_bytes;
    for serial in 0..19 {
        wait(store.remove(key(serial))).unwrap();
    }
    let store = reopen(store, folder.path());

    let used = store.usage().live_bytes + store.usage().overhead_bytes;
    assert!(before >= 5 && store.shared.files.list().unwrap().len() <= 2);
    assert!(
        used * 5 < used_before,
        "{used} of {used_before} bytes are still taken"
    );
    assert_eq!(read(&store, &shards[19]).as_deref(), Some(&shards[19][..]));
    assert!(
        shards[..19]
            .iter()
            .all(|bytes| read(&store, bytes).is_none())
    );
}

#[test]
fn a_deleted_shard_gives_its_blocks_back_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, 1, &content(1, 1_000_000)).unwrap();
    put(&store, 2, &content(2, 500_032)).unwrap();
    let full = store.shared.files.allocated(1).unwrap();

    wait(store.remove(key(1))).unwrap();
    reopen(store, folder.path());

    let log = folder.path().join("logs/00000001.log");
    let left = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(log).unwrap()) * 512;
    assert!(
        left + 900_000 < full,
        "{left} of {full} bytes are still allocated"
    );
}

#[test]
fn a_full_store_refuses_before_it_reads_and_recovers_with_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let small = StoreConfig {
        space_bytes: 300_000,
        ..config()
    };
    let store = Store::open(folder.path(), small).unwrap();
    put(&store, 1, &content(1, 200_000)).unwrap();

    assert!(matches!(store.reserve(200_000), Err(NoSpace::Quota { .. })));
    wait(store.remove(key(1))).unwrap();
    // The answer goes out before the blocks are given back; another write waits for that.
    wait(store.remove(key(1))).unwrap();
    put(&store, 2, &content(2, 200_000)).unwrap();
}

#[test]
fn two_processes_cannot_open_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(
        Store::open(folder.path(), config()),
        Err(OpenError::Locked { .. })
    ));
    drop(store);
    open(folder.path());
}

#[test]
fn a_lost_format_file_is_restored_from_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1, 64);
    let store = open(folder.path());
    put(&store, 1, &bytes).unwrap();
    store.close();
    std::fs::remove_file(folder.path().join("format")).unwrap();
    assert!(read(&open(folder.path()), &bytes).is_some());
}

#[test]
fn reads_stay_in_range_and_whats_here_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bytes = content(1, 64_000);
    put(&store, 1, &bytes).unwrap();
    let reader = store.get(&hash_shard(&bytes)).unwrap().unwrap();
    let mut part = [0; 100];
    reader.read_at(63_900, &mut part).unwrap();
    assert_eq!(part[..], bytes[63_900..]);
    assert!(matches!(
        reader.read_at(63_901, &mut part),
        Err(ReadError::Range { .. })
    ));
    let ids = [hash_shard(&bytes), ShardId([0; 32])];
    assert_eq!(store.have(&ids).unwrap(), [true, false]);
}

#[test]
fn a_damaged_header_costs_one_record_and_nothing_forged_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // A shard whose content is a record of this very log, copied from where it stands.
    put(&store, 1, &content(1, 192)).unwrap();
    let mut forged = vec![0; 384];
    store
        .shared
        .files
        .get(1)
        .unwrap()
        .read_exact_at(&mut forged, 64)
        .unwrap();
    put(&store, 2, &forged.into()).unwrap();
    put(&store, 3, &content(3, 192)).unwrap();
    let second = Location {
        log: 1,
        offset: 64 + 384,
    };
    store
        .shared
        .files
        .get(1)
        .unwrap()
        .write_all_at(&[0; 8], u64::from(second.offset))
        .unwrap();
    store.close();
    forget_checkpoint(folder.path());

    let store = open(folder.path());

    let gap = Damage::Unreadable {
        at: second,
        bytes: 192 + 384,
    };
    assert_eq!(store.recovery().damage, [gap]);
    assert!(store.find(key(1)).unwrap().is_some());
    assert!(store.find(key(2)).unwrap().is_none());
    assert!(store.find(key(3)).unwrap().is_some());
}

/// What a power cut can leave of the last batch: all of it up to some byte, the rest zeros or
/// missing.
#[derive(Clone, Copy, Debug)]
enum Torn {
    Cut,
    Zeros,
}

fn tear(folder: &Path, log: &str, at: u64, torn: Torn) {
    let file = OpenOptions::new()
        .write(true)
        .open(folder.join("logs").join(log))
        .unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(at).unwrap();
    if matches!(torn, Torn::Zeros) {
        file.set_len(len).unwrap();
    }
}

/// Builds a store of three records, tears the last one `bytes` after its start, and reopens.
fn torn_store(last: &Bytes, bytes: u32, torn: Torn) {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (content(1, 320), content(2, 320));
    let store = open(folder.path());
    put(&store, 1, &one).unwrap();
    put(&store, 2, &two).unwrap();
    store.close();
    let end = 64 + 2 * (HEADER_LEN + 320);
    let checkpoint = std::fs::read(folder.path().join(checkpoint::FILE_NAME)).unwrap();
    let store = open(folder.path());
    put(&store, 3, last).unwrap();
    store.close();
    durable::replace(&folder.path().join(checkpoint::FILE_NAME), &checkpoint).unwrap();
    let whole = HEADER_LEN + u32::try_from(last.len()).unwrap();
    tear(folder.path(), "00000001.log", u64::from(end + bytes), torn);

    let store = open(folder.path());

    assert_eq!(read(&store, &one).as_deref(), Some(&one[..]));
    assert_eq!(read(&store, &two).as_deref(), Some(&two[..]));
    let expected = (bytes >= whole).then_some(&last[..]);
    assert_eq!(
        read(&store, last).as_deref(),
        expected,
        "torn {torn:?} at {bytes}"
    );
    put(&store, 3, last).unwrap();
    assert_eq!(
        read(&reopen(store, folder.path()), last).as_deref(),
        Some(&last[..])
    );
}

#[test]
fn a_last_record_torn_at_any_byte_leaves_the_others() {
    let last = Bytes::from(vec![7; 64]);
    for bytes in 0..=HEADER_LEN + 64 {
        torn_store(&last, bytes, Torn::Cut);
        torn_store(&last, bytes, Torn::Zeros);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_large_last_record_torn_anywhere_leaves_the_others(bytes in 0..100_256_u32, zeros: bool) {
        torn_store(&Bytes::from(vec![7; 100_032]), bytes, if zeros { Torn::Zeros } else { Torn::Cut });
    }

    /// A random life with compaction and scrub against a model: what the model holds is what the store serves, always, and
    /// a rebuild of the index from the logs equals the live one.
    #[test]
    fn a_random_life_equals_its_model(
        steps in prop::collection::vec((0..6_u8, 0..12_u8, 0..6_u8), 1..60),
        holes: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), StoreConfig { punch_holes: holes, ..config() }).unwrap();
        let mut model: std::collections::BTreeMap<u8, u8> = Default::default();
        let content = |seed: u8| content(seed, 200_000 + 64 * usize::from(seed));
        for (step, serial, seed) in steps {
            match step {
                0 | 1 => {
                    let bound = model.get(&serial).copied();
                    let answer = put(&store, serial, &content(seed));
                    match bound {
                        Some(other) if other != seed => {
                            let refused = matches!(answer, Err(PutError::SerialBound { .. }));
                            prop_assert!(refused);
                        }
                        _ => {
                            prop_assert_eq!(answer.unwrap().new, bound.is_none());
                            model.entry(serial).or_insert(seed);
                        }
                    }
                }
                4 => compact::compact(&store),
                5 => prop_assert_eq!(store.scrub(NOW, 1 << 30).unwrap().rotten, 0),
                _ => {
                    let gone = wait(store.remove(key(serial))).unwrap();
                    prop_assert_eq!(gone, model.remove(&serial).is_some());
                }
            }
            if step == 3 {
                store = reopen(store, folder.path());
            }
        }
        let store = reopen(store, folder.path());
        for seed in 0..6 {
            let held = model.values().any(|held| *held == seed);
            prop_assert_eq!(read(&store, &content(seed)).is_some(), held);
        }
        for serial in 0..12 {
            prop_assert_eq!(store.find(key(serial)).unwrap().is_some(), model.contains_key(&serial));
        }
    }
}
