//! Where shards lie: one row per run of segments, with shard ids and Host aliases packed in it.

use std::ops::Range;

use model::units::{AccountId, BlobId, UnixMs};

use crate::group::Group;
use crate::{StoreError, SwapError};

/// The key of a group; the order of keys is the order of scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The owner.
    pub account: AccountId,
    /// The blob.
    pub blob: BlobId,
    /// The first segment of the group.
    pub first: u64,
}

/// A group as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its key.
    pub key: GroupKey,
    /// Its version: 1 when new, one more with every replacement.
    pub version: u64,
    /// The placements.
    pub group: Group,
}

/// A segment whose shards do not fit together: nobody can repair it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrozenSegment {
    /// The owner.
    pub account: AccountId,
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// Since when.
    pub at: UnixMs,
}

impl GroupRow {
    /// The segment after its last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.key.first.saturating_add(self.group.segments().into())
    }
}

/// Groups. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait GroupTable {
    /// Returns up to `limit` groups of a blob that hold any of `segments`, in order.
    fn groups(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segments: Range<u64>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError>;

    /// Adds a group (`expected` is `None`) or replaces the one whose version is `expected`;
    /// returns the version it now has. [`SwapError::Conflict`] gives the current version.
    fn put_group(
        &mut self,
        key: &GroupKey,
        expected: Option<u64>,
        group: &Group,
    ) -> Result<u64, SwapError<u64>>;

    /// Returns up to `limit` groups of all owners in the order of their keys, after `after`.
    fn scan_groups(
        &self,
        after: Option<&GroupKey>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError>;

    /// Notes a segment as one that nobody can repair; `false` where that is known.
    fn freeze_segment(&mut self, segment: &FrozenSegment) -> Result<bool, StoreError>;

    /// Returns up to `limit` frozen segments of all owners in order, after `after`.
    fn scan_frozen(
        &self,
        after: Option<&FrozenSegment>,
        limit: u32,
    ) -> Result<Vec<FrozenSegment>, StoreError>;

    /// Returns the frozen segments of a blob, in order, at most
    /// [`ROWS_PER_CALL_MAX`](crate::ROWS_PER_CALL_MAX).
    fn frozen_segments(&self, account: &AccountId, blob: &BlobId) -> Result<Vec<u64>, StoreError>;

    /// Forgets the frozen segments of a blob; returns how many there were.
    fn thaw_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<u64, StoreError>;

    /// Removes up to `limit` groups of a blob; returns how many. Fewer than `limit`: none is left.
    fn delete_groups(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError>;
}

/// The comparison of [`GroupTable::put_group`], the same in every engine: the next version.
pub(crate) fn next_version(
    current: Option<u64>,
    expected: Option<u64>,
) -> Result<u64, SwapError<u64>> {
    if current != expected {
        return Err(SwapError::Conflict { current });
    }
    Ok(current.unwrap_or(0).saturating_add(1))
}
