//! Where every record and every shard lies: the state that replaying the logs leads to.
//!
//! Two ordered sets of 16-byte slots, keyed by a salted 64-bit hash. A slot only says where to
//! look; whoever looks compares the full key in the record's header, so a hash that two keys
//! share costs a read and nothing else. 10^6 shards take about 50 MB.
//!
//! [`Index::apply`] is the only way the state changes. The writer and recovery both call it with
//! the headers they wrote or read, so a rebuilt index equals the one that was lost.

use std::collections::{BTreeMap, BTreeSet};

use model::units::{BridgeId, Serial, ShardId};
use sha2::{Digest, Sha256};

use crate::record::{Header, Kind, Location, Salt};

/// One entry of an index: the hash of a key and the record that holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) at: Location,
}

/// What keeps a log from being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPins {
    /// Slots that point into the log.
    pub(crate) slots: u32,
    /// Logs whose records this log's tombstones speak about. While one of them
    /// exists, a rebuild needs the tombstones.
    pub(crate) guards: BTreeSet<u32>,
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
    /// References beyond the first to the bytes at a place; almost always empty.
    pub(crate) extra_refs: BTreeMap<Location, u32>,
    pub(crate) logs: BTreeMap<u32, LogPins>,
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
        match header.kind {
            Kind::Put => {
                let slot = Slot {
                    hash: self.shard_hash(&header.shard),
                    at,
                };
                if self.shards.insert(slot) {
                    self.pin(at.log);
                    self.live_bytes += u64::from(header.shard_bytes);
                }
                self.add_record(header, at);
                Applied::Done
            }
            Kind::Reference { bytes_at } => {
                let slot = Slot {
                    hash: self.shard_hash(&header.shard),
                    at: bytes_at,
                };
                if !self.shards.contains(&slot) {
                    return Applied::BytesMissing;
                }
                *self.extra_refs.entry(bytes_at).or_default() += 1;
                self.add_record(header, at);
                Applied::Done
            }
            Kind::Tombstone { target, bytes_at } => {
                self.guard(at.log, target.log);
                self.remove(header, target, bytes_at)
            }
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

    /// Whether the shard bytes at `at` still belong to somebody.
    pub(crate) fn holds_bytes(&self, shard: &ShardId, at: Location) -> bool {
        self.shards.contains(&Slot {
            hash: self.shard_hash(shard),
            at,
        })
    }

    /// Logs but `active` that hold nothing a reader or a rebuild needs.
    pub(crate) fn dead_logs(&self, active: u32) -> Vec<u32> {
        let mut dead = BTreeSet::new();
        loop {
            let before = dead.len();
            for (log, pins) in &self.logs {
                let free = pins.guards.iter().all(|guarded| {
                    guarded == log || dead.contains(guarded) || !self.logs.contains_key(guarded)
                });
                if *log != active && pins.slots == 0 && free {
                    dead.insert(*log);
                }
            }
            if dead.len() == before {
                return dead.into_iter().collect();
            }
        }
    }

    fn add_record(&mut self, header: &Header, at: Location) {
        let slot = Slot {
            hash: self.record_hash(&header.bridge, &header.serial),
            at,
        };
        if self.records.insert(slot) {
            self.pin(at.log);
        }
    }

    fn remove(&mut self, header: &Header, target: Location, bytes_at: Location) -> Applied {
        let record = Slot {
            hash: self.record_hash(&header.bridge, &header.serial),
            at: target,
        };
        if !self.records.remove(&record) {
            return Applied::Done;
        }
        self.unpin(target.log);
        if let Some(extra) = self.extra_refs.get_mut(&bytes_at) {
            *extra -= 1;
            if *extra == 0 {
                self.extra_refs.remove(&bytes_at);
            }
            return Applied::Done;
        }
        let bytes = Slot {
            hash: self.shard_hash(&header.shard),
            at: bytes_at,
        };
        if !self.shards.remove(&bytes) {
            return Applied::Done;
        }
        self.unpin(bytes_at.log);
        self.live_bytes -= u64::from(header.shard_bytes);
        Applied::Freed {
            bytes_at,
            shard_bytes: header.shard_bytes,
        }
    }

    fn guard(&mut self, log: u32, target: u32) {
        if log != target {
            self.logs.entry(log).or_default().guards.insert(target);
        }
    }

    fn pin(&mut self, log: u32) {
        self.logs.entry(log).or_default().slots += 1;
    }

    fn unpin(&mut self, log: u32) {
        let pins = self.logs.entry(log).or_default();
        pins.slots = pins.slots.saturating_sub(1);
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
        };
        index.apply(&header(1, 9, Kind::Put), at(1, 64));
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
        index.apply(&header(1, 9, Kind::Put), at(1, 64));
        let gone = Kind::Tombstone {
            target: at(1, 64),
            bytes_at: at(1, 64),
        };
        index.apply(&header(1, 9, gone), at(1, 320));
        let once = index.clone();
        assert_eq!(index.apply(&header(1, 9, gone), at(1, 512)), Applied::Done);
        assert_eq!(index, once);
    }

    #[test]
    fn a_log_of_tombstones_outlives_the_log_they_speak_about() {
        let mut index = Index::new([0; 16]);
        index.apply(&header(1, 8, Kind::Put), at(1, 64));
        index.apply(&header(2, 9, Kind::Put), at(1, 320));
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
        };
        assert_eq!(
            index.apply(&header(2, 9, lost), at(1, 320)),
            Applied::BytesMissing
        );
        assert!(index.records.is_empty());
    }
}
