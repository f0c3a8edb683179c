//! Records by their keys: which are here, told from the index, and all of them in steps.
//!
//! Slots are ordered by a salted hash, so a walk meets the serials of a Bridge in no order. It
//! reads one header for each record, in the order in which a step's headers lie on the disk.

use std::ops::Bound::{Excluded, Unbounded};

use model::units::{BridgeId, Serial, ShardId, UnixMs};

use crate::index::Slot;
use crate::reader::ReadError;
use crate::store::{RecordKey, Store, Stored};

/// Whether a record is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// It is, and its bytes have rotted.
    Rotten,
    /// It is not on any volume that can be seen; it may be on one that cannot.
    Unseen,
    /// It is not.
    NotHere,
}

/// A record as a walk over all of them meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFound {
    /// What names it.
    pub key: RecordKey,
    /// When it was stored.
    pub created: UnixMs,
    /// Bytes of its shard.
    pub shard_bytes: u32,
}

/// How far a walk over all records has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordCursor(Slot);

impl Store {
    /// Which records of `bridge` are here, in the order of `serials`. Reads no header as long as
    /// nothing here has rotted.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn presence(
        &self,
        bridge: &BridgeId,
        serials: &[Serial],
    ) -> Result<Vec<Presence>, ReadError> {
        let all_sound = self.bad_shards() == 0;
        let of = |serial: &Serial| {
            if self.shared.index().records_of(bridge, serial).is_empty() {
                return Ok(Presence::NotHere);
            }
            let (bridge, serial) = (*bridge, *serial);
            let rotten = !all_sound && self.is_rotten(RecordKey { bridge, serial })?;
            Ok(if rotten {
                Presence::Rotten
            } else {
                Presence::Here
            })
        };
        serials.iter().map(of).collect()
    }

    /// The record of `key` as it is, rotten or not.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn record(&self, key: RecordKey) -> Result<Option<(ShardId, Stored, bool)>, ReadError> {
        let Some((header, at)) = self.shared.find_record(key)? else {
            return Ok(None);
        };
        let stored = Stored {
            created: header.created,
            shard_bytes: header.shard_bytes,
            new: false,
        };
        let rotten = self.shared.scrub.is_bad(header.held(at).bytes_at);
        Ok(Some((header.shard, stored, rotten)))
    }

    /// Up to `limit` records behind `cursor`, and the cursor for the next step; `None` after the
    /// last. One that is moved meanwhile may be met twice, one that is deleted not at all. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn records_after(
        &self,
        cursor: Option<RecordCursor>,
        limit: usize,
    ) -> Result<(Vec<RecordFound>, Option<RecordCursor>), ReadError> {
        let start = cursor.map_or(Unbounded, |cursor| Excluded(cursor.0));
        let mut slots: Vec<Slot> = {
            let index = self.shared.index();
            let behind = index.records.range((start, Unbounded));
            behind.take(limit).copied().collect()
        };
        let next = slots.last().copied().map(RecordCursor);
        slots.sort_unstable_by_key(|slot| slot.at);
        let mut found = Vec::with_capacity(slots.len());
        for slot in slots {
            let header = self.shared.header_at(slot.at)?;
            let live = |header: &_| self.shared.index().holds_record(header, slot.at);
            if let Some(header) = header.filter(live) {
                found.push(RecordFound {
                    key: header.key(),
                    created: header.created,
                    shard_bytes: header.shard_bytes,
                });
            }
        }
        Ok((found, next))
    }
}
