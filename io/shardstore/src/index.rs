//! Where every record and every shard lies: the state that replaying the logs leads to.
//!
//! Two ordered sets of 16-byte slots, keyed by a salted 64-bit hash. A slot only says where to
//! look; whoever looks compares the full key in the record's header, so a hash that two keys
//! share costs a read and nothing else. 10^6 shards take about 50 MB.
//!
//! [`Index::apply`] is the only way the state changes. The writer and recovery both call it with
//! the headers they wrote or read, so a rebuilt index equals the one that was lost.

mod logs;

use std::collections::{BTreeMap, BTreeSet};

use model::units::{BridgeId, Serial, ShardId};
use sha2::{Digest, Sha256};

pub(crate) use logs::LogPins;

use crate::record::{HEADER_LEN, Header, Held, Kind, Location, Salt};

/// One entry of an index: the hash of a key and the record that holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) at: Location,
}

/// Who holds shard bytes that more than their own record has held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    /// Whether the record that brought the bytes still holds them.
    pub(crate) own: bool,
    /// Other records, by Bridge.
    pub(crate) others: BTreeMap<BridgeId, u32>,
}

/// What the records of one Bridge hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Its records.
    pub records: u64,
    /// Their headers and shards, also of shards that several records share.
    pub bytes: u64,
}

/// What a header changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The state changed, or the header was without consequence.
    Done,
    /// Nobody refers to these shard bytes any more.
    Freed {
        bytes_at: Location,
        shard_bytes: u32,
    },
    /// A reference whose bytes are not here.
    BytesMissing,
}

/// The live state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    salt: Salt,
    pub(crate) records: BTreeSet<Slot>,
    pub(crate) shards: BTreeSet<Slot>,
    /// Bytes that other records hold than the one that brought them; almost always empty.
    pub(crate) shared: BTreeMap<Location, Holders>,
    pub(crate) logs: BTreeMap<u32, LogPins>,
    pub(crate) bridges: BTreeMap<BridgeId, Holding>,
    /// Bytes of live shards, each counted once.
    pub(crate) live_bytes: u64,
}

impl Index {
    pub(crate) fn new(salt: Salt) -> Self {
        Self {
            salt,
            ..Self::default()
        }
    }

    /// Changes the state by what the record at `at` says.
    pub(crate) fn apply(&mut self, header: &Header, at: Location) -> Applied {
        self.logs.entry(at.log).or_default();
        if let Some(held) = header.ends() {
            self.guard(at.log, held.target.log);
        }
        match header.kind {
            Kind::Put { replaces } => {
                let ended = replaces.map(|held| self.remove(header, held));
                let slot = Slot {
                    hash: self.shard_hash(&header.shard),
                    at,
                };
                if self.shards.insert(slot) {
                    self.pin(at.log, header.shard_bytes);
                    self.live_bytes += u64::from(header.shard_bytes);
                }
                self.add_record(header, at);
                ended.unwrap_or(Applied::Done)
            }
            Kind::Reference { bytes_at, .. } => self.refer(header, at, bytes_at),
            Kind::Tombstone { target, bytes_at } => self.remove(header, Held { target, bytes_at }),
            Kind::Void => Applied::Done,
        }
    }

    /// Records that may be the one of this key, newest first.
    pub(crate) fn records_of(&self, bridge: &BridgeId, serial: &Serial) -> Vec<Location> {
        candidates(&self.records, self.record_hash(bridge, serial))
    }

    /// Records that may hold the bytes of this shard, newest first.
    pub(crate) fn bytes_of(&self, shard: &ShardId) -> Vec<Location> {
        candidates(&self.shards, self.shard_hash(shard))
    }

    /// The entries of what may be the bytes of this shard.
    pub(crate) fn slots_of(&self, shard: &ShardId) -> Vec<Slot> {
        let hash = self.shard_hash(shard);
        let places = self.bytes_of(shard).into_iter();
        places.map(|at| Slot { hash, at }).collect()
    }

    /// Whether the record with this header lives at `at`.
    pub(crate) fn holds_record(&self, header: &Header, at: Location) -> bool {
        let hash = self.record_hash(&header.bridge, &header.serial);
        self.records.contains(&Slot { hash, at })
    }

    /// Whether the shard bytes at `at` still belong to somebody.
    pub(crate) fn holds_bytes(&self, shard: &ShardId, at: Location) -> bool {
        self.shards.contains(&Slot {
            hash: self.shard_hash(shard),
            at,
        })
    }

    /// Whether a record of `bridge` holds the bytes that `header` brought to `at`.
    pub(crate) fn holds_for(&self, bridge: &BridgeId, header: &Header, at: Location) -> bool {
        let own = header.bridge == *bridge && self.holds_record(header, at);
        let other = |holders: &Holders| holders.others.contains_key(bridge);
        own || self.shared.get(&at).is_some_and(other)
    }

    fn refer(&mut self, header: &Header, at: Location, bytes_at: Location) -> Applied {
        if !self.holds_bytes(&header.shard, bytes_at) {
            return Applied::BytesMissing;
        }
        let holders = self.shared.entry(bytes_at).or_insert_with(|| Holders {
            own: true,
            others: BTreeMap::new(),
        });
        *holders.others.entry(header.bridge).or_default() += 1;
        self.add_record(header, at);
        match header.ends() {
            Some(held) => self.remove(header, held),
            None => Applied::Done,
        }
    }

    fn add_record(&mut self, header: &Header, at: Location) {
        let slot = Slot {
            hash: self.record_hash(&header.bridge, &header.serial),
            at,
        };
        if self.records.insert(slot) {
            self.pin(at.log, HEADER_LEN);
            let holding = self.bridges.entry(header.bridge).or_default();
            holding.records += 1;
            holding.bytes += header.charge();
        }
    }

    /// Takes away a record of the key and shard of `header`, and its bytes with their last holder.
    fn remove(&mut self, header: &Header, Held { target, bytes_at }: Held) -> Applied {
        let record = Slot {
            hash: self.record_hash(&header.bridge, &header.serial),
            at: target,
        };
        if !self.records.remove(&record) {
            return Applied::Done;
        }
        self.unpin(target.log, HEADER_LEN);
        self.discharge(header);
        if self.let_go(header, target, bytes_at) {
            return Applied::Done;
        }
        let bytes = Slot {
            hash: self.shard_hash(&header.shard),
            at: bytes_at,
        };
        if !self.shards.remove(&bytes) {
            return Applied::Done;
        }
        self.unpin(bytes_at.log, header.shard_bytes);
        self.live_bytes -= u64::from(header.shard_bytes);
        Applied::Freed {
            bytes_at,
            shard_bytes: header.shard_bytes,
        }
    }

    /// One holder less for the bytes at `bytes_at`; returns whether there are others.
    fn let_go(&mut self, header: &Header, target: Location, bytes_at: Location) -> bool {
        let Some(holders) = self.shared.get_mut(&bytes_at) else {
            return false;
        };
        if target == bytes_at {
            holders.own = false;
        } else if let Some(records) = holders.others.get_mut(&header.bridge) {
            *records -= 1;
            if *records == 0 {
                holders.others.remove(&header.bridge);
            }
        }
        let (own, others) = (holders.own, !holders.others.is_empty());
        if !others {
            self.shared.remove(&bytes_at);
        }
        own || others
    }

    fn discharge(&mut self, header: &Header) {
        let Some(holding) = self.bridges.get_mut(&header.bridge) else {
            return;
        };
        holding.records -= 1;
        holding.bytes -= header.charge();
        if holding.records == 0 {
            self.bridges.remove(&header.bridge);
        }
    }

    fn record_hash(&self, bridge: &BridgeId, serial: &Serial) -> u64 {
        self.hash(b"record", &[&bridge.0, &serial.0])
    }

    fn shard_hash(&self, shard: &ShardId) -> u64 {
        self.hash(b"shard ", &[&shard.0])
    }

    fn hash(&self, label: &[u8; 6], parts: &[&[u8]]) -> u64 {
        let mut hasher = Sha256::new_with_prefix(self.salt).chain_update(label);
        parts.iter().for_each(|part| hasher.update(part));
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize()[..8]);
        u64::from_le_bytes(first)
    }
}

fn candidates(slots: &BTreeSet<Slot>, hash: u64) -> Vec<Location> {
    const LAST: Location = Location {
        log: u32::MAX,
        offset: u32::MAX,
    };
    const FIRST: Location = Location { log: 0, offset: 0 };
    let range = Slot { hash, at: FIRST }..=Slot { hash, at: LAST };
    slots.range(range).rev().map(|slot| slot.at).collect()
}

#[cfg(test)]
mod tests {
    use model::units::{OwnerTag, UnixMs};

    use super::*;

    const fn at(log: u32, offset: u32) -> Location {
        Location { log, offset }
    }

    fn header(serial: u8, shard: u8, kind: Kind) -> Header {
        Header {
            kind,
            bridge: BridgeId([1; 32]),
            serial: Serial([serial; 16]),
            shard: ShardId([shard; 32]),
            owner: OwnerTag([0; 32]),
            shard_bytes: 64,
            created: UnixMs(1),
        }
    }

    #[test]
    fn bytes_are_freed_with_their_last_reference() {
        let mut index = Index::new([0; 16]);
        let shared = Kind::Reference {
            bytes_at: at(1, 64),
            replaces: None,
        };
        index.apply(&header(1, 9, Kind::PUT), at(1, 64));
        index.apply(&header(2, 9, shared), at(1, 320));
        let first = Kind::Tombstone {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        let second = Kind::Tombstone {
            target: at(1, 320),
            bytes_at: at(1, 64),
        };

        assert_eq!(index.apply(&header(1, 9, first), at(1, 512)), Applied::Done);
        assert_eq!(index.live_bytes, 64);
        let freed = Applied::Freed {
            bytes_at: at(1, 64),
            shard_bytes: 64,
        };
        assert_eq!(index.apply(&header(2, 9, second), at(1, 704)), freed);
        assert_eq!(index.live_bytes, 0);
        assert_eq!(index.logs[&1].slots, 0);
    }

    #[test]
    fn a_tombstone_twice_is_without_consequence() {
        let mut index = Index::new([0; 16]);
        index.apply(&header(1, 9, Kind::PUT), at(1, 64));
        let gone = Kind::Tombstone {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        index.apply(&header(1, 9, gone), at(1, 320));
        let once = index.clone();
        assert_eq!(index.apply(&header(1, 9, gone), at(1, 512)), Applied::Done);
        assert_eq!(index, once);
        assert!(index.bridges.is_empty());
    }

    #[test]
    fn a_log_of_tombstones_outlives_the_log_they_speak_about() {
        let mut index = Index::new([0; 16]);
        index.apply(&header(1, 8, Kind::PUT), at(1, 64));
        index.apply(&header(2, 9, Kind::PUT), at(1, 320));
        let first = Kind::Tombstone {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        index.apply(&header(1, 8, first), at(2, 64));
        assert_eq!(index.dead_logs(3), Vec::<u32>::new());

        let second = Kind::Tombstone {
            target: at(1, 320),
            bytes_at: at(1, 320),
        };
        index.apply(&header(2, 9, second), at(3, 64));
        assert_eq!(index.dead_logs(3), [1, 2]);
    }

    #[test]
    fn a_reference_without_its_bytes_is_not_indexed() {
        let mut index = Index::new([0; 16]);
        let lost = Kind::Reference {
            bytes_at: at(1, 64),
            replaces: None,
        };
        assert_eq!(
            index.apply(&header(2, 9, lost), at(1, 320)),
            Applied::BytesMissing
        );
        assert!(index.records.is_empty());
    }

    #[test]
    fn a_bridge_holds_bytes_as_long_as_one_of_its_records_does() {
        let mut index = Index::new([0; 16]);
        let (one, two) = (BridgeId([1; 32]), BridgeId([2; 32]));
        let put = header(1, 9, Kind::PUT);
        let reference = Header {
            bridge: two,
            ..header(
                1,
                9,
                Kind::Reference {
                    bytes_at: at(1, 64),
                    replaces: None,
                },
            )
        };
        index.apply(&put, at(1, 64));
        assert!(index.holds_for(&one, &put, at(1, 64)) && !index.holds_for(&two, &put, at(1, 64)));
        index.apply(&reference, at(1, 320));
        assert!(index.holds_for(&one, &put, at(1, 64)) && index.holds_for(&two, &put, at(1, 64)));
        assert_eq!(
            index.bridges[&two],
            Holding {
                records: 1,
                bytes: 256
            }
        );

        let gone = Kind::Tombstone {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        assert_eq!(index.apply(&header(1, 9, gone), at(1, 512)), Applied::Done);
        assert!(!index.holds_for(&one, &put, at(1, 64)) && index.holds_for(&two, &put, at(1, 64)));
        let last = Kind::Tombstone {
            target: at(1, 320),
            bytes_at: at(1, 64),
        };
        let last = Header {
            bridge: two,
            ..header(1, 9, last)
        };
        assert!(matches!(
            index.apply(&last, at(1, 704)),
            Applied::Freed { .. }
        ));
        assert!(index.bridges.is_empty() && index.shared.is_empty());
    }

    #[test]
    fn a_record_that_replaces_another_leaves_nothing_of_it() {
        let mut index = Index::new([0; 16]);
        index.apply(&header(1, 9, Kind::PUT), at(1, 64));
        let fresh = {
            let mut fresh = Index::new([0; 16]);
            fresh.apply(&header(1, 9, Kind::PUT), at(2, 64));
            fresh
        };
        let held = Held {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        let moved = header(
            1,
            9,
            Kind::Put {
                replaces: Some(held),
            },
        );
        let freed = Applied::Freed {
            bytes_at: at(1, 64),
            shard_bytes: 64,
        };
        assert_eq!(index.apply(&moved, at(2, 64)), freed);
        assert_eq!(
            (&index.records, &index.shards),
            (&fresh.records, &fresh.shards)
        );
        assert_eq!((&index.bridges, index.live_bytes), (&fresh.bridges, 64));
        assert_eq!(index.dead_logs(3), [1]);
    }
}
