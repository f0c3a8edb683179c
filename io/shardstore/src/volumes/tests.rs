//! Several volumes as one: spread, gone, back, and never mistaken for empty.

use std::path::PathBuf;

use bytes::Bytes;
use model::crypto::hash_shard;
use model::units::{OwnerTag, UnixMs};

use super::*;
use crate::store::{StoreConfig, StoreId};

const BRIDGE: BridgeId = BridgeId([1; 32]);

/// A data folder and the folders of two volumes.
struct Rig {
    dir: tempfile::TempDir,
    space_bytes: [u64; 2],
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["data", "a", "b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            space_bytes: [36 << 20, 33 << 20],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn try_open(&self, names: &[&str]) -> Result<Volumes, VolumesError> {
        let config = |(name, space_bytes): (&&str, u64)| VolumeConfig {
            folder: self.path(name),
            store: StoreConfig {
                keep_free_bytes: Some(0),
                ..StoreConfig::new(space_bytes)
            },
            create_folder: false,
        };
        let wanted = names.iter().zip(self.space_bytes).map(config).collect();
        Volumes::open(&self.path("data"), wanted)
    }

    fn open(&self) -> Volumes {
        self.try_open(&["a", "b"]).unwrap()
    }

    fn rename(&self, from: &str, to: &str) {
        // Not by `mv`: a new process holds the locks of all stores here until it runs.
        rustix::fs::rename(self.path(from), self.path(to)).unwrap();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn content(seed: u8) -> Bytes {
    Bytes::from(vec![seed; 1_000_000 / 64 * 64])
}

fn id(seed: u8) -> ShardId {
    hash_shard(&content(seed))
}

fn put_as(volumes: &Volumes, bridge: BridgeId, serial: u8, seed: u8) -> Stored {
    let key = RecordKey {
        bridge,
        serial: Serial([serial; 16]),
    };
    let bytes = content(seed);
    let shard = NewShard::new(key, id(seed), OwnerTag([2; 32]), UnixMs(1), bytes).unwrap();
    let room = volumes.reserve(shard.shard_bytes()).unwrap();
    wait(volumes.put(shard, room)).unwrap()
}

fn put(volumes: &Volumes, serial: u8) {
    put_as(volumes, BRIDGE, serial, serial);
}

/// One letter for each shard 0..6: here, rotten, unseen, not here.
fn seen(volumes: &Volumes) -> String {
    let letter = |seed| match volumes.look_up(&BRIDGE, &id(seed)) {
        Seen::Here(shard) => {
            assert_eq!(shard.read_verified().unwrap(), content(seed));
            'H'
        }
        Seen::Rotten => 'R',
        Seen::Unseen => 'U',
        Seen::NotHere => '-',
    };
    (0..6).map(letter).collect()
}

fn ids(volumes: &Volumes) -> Vec<StoreId> {
    volumes.status().iter().map(|volume| volume.id).collect()
}

fn shards(volumes: &Volumes) -> Vec<u64> {
    let status = volumes.status();
    status.iter().map(|volume| volume.usage.shards).collect()
}

/// Two volumes with shards 0..6: the first few on the first, which has more space.
fn filled(rig: &Rig) -> Volumes {
    let volumes = rig.open();
    (0..6).for_each(|serial| put(&volumes, serial));
    assert!(shards(&volumes).iter().all(|shards| *shards > 0));
    volumes
}

#[test]
fn shards_go_where_most_space_is_free_and_are_found_everywhere() {
    let mut rig = Rig::new();
    rig.space_bytes = [40_000_000, 39_500_000];
    let volumes = rig.open();
    for serial in 0..6 {
        put(&volumes, serial);
    }
    assert_eq!(shards(&volumes), [3, 3]);
    assert_eq!(seen(&volumes), "HHHHHH");
    assert_eq!(
        (volumes.usage().records, volumes.held_by(&BRIDGE).records),
        (6, 6)
    );
    let before = ids(&volumes);
    drop(volumes);
    let volumes = rig.open();
    assert_eq!(
        (seen(&volumes), ids(&volumes)),
        ("HHHHHH".to_owned(), before)
    );
    assert_eq!(
        volumes
            .remove(BRIDGE, &[Serial([0; 16]), Serial([1; 16])])
            .unwrap(),
        2
    );
    assert_eq!(seen(&volumes), "--HHHH");
}

#[test]
fn what_is_known_anywhere_goes_to_the_same_volume() {
    let mut rig = Rig::new();
    rig.space_bytes = [33_000_000, 32_500_000];
    let volumes = rig.open();
    put(&volumes, 0);
    put(&volumes, 1);
    assert_eq!(shards(&volumes), [1, 1]);
    let other = BridgeId([9; 32]);
    assert!(put_as(&volumes, other, 7, 1).new);
    assert!(!put_as(&volumes, BRIDGE, 1, 1).new);
    assert_eq!((shards(&volumes), volumes.usage().records), (vec![1, 1], 3));
    assert_eq!(volumes.remove(other, &[Serial([7; 16])]).unwrap(), 1);
    assert_eq!(seen(&volumes), "HH----");
}

#[test]
fn a_volume_that_is_not_mounted_is_away_and_never_made_anew() {
    let rig = Rig::new();
    drop(filled(&rig));
    rig.rename("a", "elsewhere");
    std::fs::create_dir(rig.path("a")).unwrap();

    let volumes = rig.open();
    let there = usize::try_from(shards(&volumes)[1]).unwrap();
    assert_eq!(seen(&volumes).replace('H', ""), "U".repeat(6 - there));
    assert_eq!(volumes.away(), 1);
    assert_eq!(std::fs::read_dir(rig.path("a")).unwrap().count(), 0);
    let (known, unknown) = (Serial([0; 16]), Serial([77; 16]));
    volumes.remove(BRIDGE, &[known, unknown]).unwrap();
    put_as(&volumes, BRIDGE, 50, 50);
    drop(volumes);

    // Still away after another start; then back, and the order is carried out.
    drop(rig.open());
    std::fs::remove_dir(rig.path("a")).unwrap();
    rig.rename("elsewhere", "a");
    let volumes = rig.open();
    assert_eq!((volumes.away(), seen(&volumes).as_str()), (0, "-HHHHH"));
    assert_eq!(std::fs::read_dir(rig.path("data/away")).unwrap().count(), 0);
}

#[test]
fn a_volume_that_goes_while_in_use_is_noticed_and_taken_back() {
    let rig = Rig::new();
    let volumes = filled(&rig);
    rig.rename("a", "elsewhere");
    volumes.look();
    assert_eq!(volumes.away(), 1);
    assert!(seen(&volumes).starts_with('U'));
    assert!(matches!(
        volumes.status()[0].state,
        VolumeState::Away { .. }
    ));
    put_as(&volumes, BRIDGE, 60, 60);
    volumes.remove(BRIDGE, &[Serial([1; 16])]).unwrap();

    rig.rename("elsewhere", "a");
    // Its old writer lets the lock go in its own time.
    while volumes.away() > 0 {
        volumes.look();
        std::thread::yield_now();
    }
    assert_eq!(seen(&volumes), "H-HHHH");
}

#[test]
fn another_store_in_a_volumes_folder_is_left_alone() {
    let rig = Rig::new();
    drop(filled(&rig));
    let other = Rig::new();
    drop(other.open());
    rig.rename("b", "elsewhere");
    rustix::fs::rename(other.path("b"), rig.path("b")).unwrap();
    let volumes = rig.open();
    let VolumeState::Away { reason } = &volumes.status()[1].state else {
        panic!("it is away");
    };
    assert_eq!(reason, "another volume lies in its folder");
}

#[test]
fn disks_may_change_places() {
    let rig = Rig::new();
    let before = {
        let volumes = filled(&rig);
        ids(&volumes)
    };
    rig.rename("a", "c");
    rig.rename("b", "a");
    rig.rename("c", "b");
    let volumes = rig.open();
    assert_eq!(ids(&volumes), [before[1], before[0]]);
    assert_eq!((volumes.away(), seen(&volumes).as_str()), (0, "HHHHHH"));
}

#[test]
fn a_volume_that_is_configured_no_more_is_away_until_it_is_forgotten() {
    let rig = Rig::new();
    let first = ids(&filled(&rig))[0];
    let only_second = || {
        let config = VolumeConfig {
            folder: rig.path("b"),
            store: StoreConfig::new(32 << 20),
            create_folder: false,
        };
        Volumes::open(&rig.path("data"), vec![config]).unwrap()
    };
    let volumes = only_second();
    volumes.look();
    assert_eq!((volumes.away(), seen(&volumes).contains('U')), (1, true));
    drop(volumes);
    assert_eq!(
        Volumes::forget(&rig.path("data"), first).unwrap().folder,
        rig.path("a")
    );
    let volumes = only_second();
    assert_eq!((volumes.away(), seen(&volumes).contains('U')), (0, false));
    drop(volumes);
    assert!(matches!(
        Volumes::forget(&rig.path("data"), first),
        Err(VolumesError::Unknown { .. })
    ));
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let rig = Rig::new();
    let no_folder = rig.try_open(&["nowhere"]).unwrap_err();
    assert!(
        no_folder.to_string().contains("does not exist; make it"),
        "{no_folder}"
    );
    let twice = rig.try_open(&["a", "a"]).unwrap_err();
    assert!(matches!(twice, VolumesError::Same { .. }), "{twice}");
    drop(rig.open());
    crate::durable::replace(&rig.path("data/volumes.json"), b"{").unwrap();
    assert!(matches!(rig.try_open(&["a"]), Err(VolumesError::Known(_))));
}

#[test]
fn a_limit_below_what_is_used_takes_no_more_and_keeps_serving() {
    let mut rig = Rig::new();
    drop(filled(&rig));
    rig.space_bytes = [500_000, 500_000];
    let volumes = rig.open();
    assert_eq!(seen(&volumes), "HHHHHH");
    assert!(matches!(volumes.reserve(64), Err(NoSpace::Quota { .. })));
    assert_eq!(volumes.usage().free_bytes, 0);
}

#[test]
fn rot_on_one_volume_is_rot_unless_another_cannot_be_seen() {
    let rig = Rig::new();
    let volumes = filled(&rig);
    let store = volumes.stores().remove(0);
    let shard = store.get(&id(0)).unwrap().unwrap();
    store.mark_bad(shard.location(), "a test says so");
    assert_eq!(seen(&volumes).chars().next(), Some('R'));
    assert_eq!(volumes.bad_shards(), 1);
    rig.rename("b", "elsewhere");
    volumes.look();
    assert_eq!(seen(&volumes).chars().next(), Some('U'));
}
