//! Where a shard lies: a slot of a segment of a blob.

use metastore::group::segments_per_group;
use metastore::{BlobRow, BlobState, GroupKey, GroupRow, HostAlias, StoreError, Tx};
use model::formats::shape::{Class, Shape};
use model::units::{AccountId, BlobId, HostId, Serial, ShardId, ShardSize};

use crate::corrupt::corrupt;
use crate::keys::BridgeKeys;

/// A segment of a blob of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    /// The owner.
    pub account: AccountId,
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
}

/// A shard's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its segment.
    pub segment: SegmentKey,
    /// Its slot.
    pub slot: u16,
}

/// A committed segment as it stands in the store.
#[derive(Clone, Debug)]
pub struct SegmentRow {
    /// Its group.
    pub group: GroupRow,
    /// Its place in the group.
    pub within: u16,
    /// Its blob.
    pub blob: BlobRow,
    /// The size of its shards.
    pub shard_size: ShardSize,
}

impl SegmentKey {
    /// A segment of a group.
    #[must_use]
    pub fn within(key: &GroupKey, within: u16) -> Self {
        Self {
            account: key.account,
            blob: key.blob,
            segment: key.first + u64::from(within),
        }
    }

    /// One of its slots.
    #[must_use]
    pub const fn slot(self, slot: u16) -> Place {
        Place {
            segment: self,
            slot,
        }
    }

    /// Reads it; `None` where its blob is gone or not committed.
    ///
    /// # Errors
    /// [`StoreError`], also where the store holds what cannot be.
    pub fn read(&self, tx: &dyn Tx) -> Result<Option<SegmentRow>, StoreError> {
        let blob = tx.blob(&self.account, &self.blob)?;
        let Some(blob) = blob.filter(|row| row.state != BlobState::Pending) else {
            return Ok(None);
        };
        let shape = Class::of(blob.k, blob.n)
            .ok()
            .and_then(|class| Shape::new(blob.length, class).ok())
            .ok_or(corrupt("blobs", "class"))?;
        let Some(shape) = shape.segment(self.segment) else {
            return Ok(None);
        };
        let per_group = u64::from(segments_per_group(blob.k, blob.n).max(1));
        let first = self.segment - self.segment % per_group;
        let rows = tx.groups(&self.account, &self.blob, first..first + 1, 1)?;
        let Some(group) = rows.into_iter().find(|row| row.key.first == first) else {
            return Ok(None);
        };
        let within = u16::try_from(self.segment - first).map_err(|_| corrupt("groups", "first"))?;
        Ok(Some(SegmentRow {
            group,
            within,
            blob,
            shard_size: shape.shard_size,
        }))
    }
}

impl SegmentRow {
    /// Shards that restore it.
    #[must_use]
    pub const fn k(&self) -> u16 {
        self.blob.k
    }

    /// Its shards.
    #[must_use]
    pub const fn n(&self) -> u16 {
        self.blob.n
    }

    /// Who keeps a shard.
    #[must_use]
    pub fn host(&self, slot: u16) -> Option<HostAlias> {
        self.group.group.host(self.within, slot)
    }

    /// The id of a shard; `None` where it is not known.
    #[must_use]
    pub fn shard(&self, slot: u16) -> Option<ShardId> {
        let id = self.group.group.shard_id(self.within, slot)?;
        (id != ShardId::default()).then_some(id)
    }

    /// Writes another Host into a slot.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_host(
        &mut self,
        tx: &mut dyn Tx,
        slot: u16,
        host: Option<HostAlias>,
    ) -> Result<(), StoreError> {
        self.group.group.set_host(self.within, slot, host);
        let put = tx.put_group(&self.group.key, Some(self.group.version), &self.group.group);
        self.group.version = put.map_err(|error| match error {
            metastore::SwapError::Store(error) => error,
            // Read in the same transaction.
            metastore::SwapError::Conflict { .. } => corrupt("groups", "version"),
        })?;
        Ok(())
    }
}

impl Place {
    /// The serial of its record at `host`.
    #[must_use]
    pub fn serial(&self, keys: &BridgeKeys, host: &HostId) -> Serial {
        let SegmentKey { blob, segment, .. } = &self.segment;
        keys.serials.serial(blob, *segment, self.slot, host)
    }
}
