//! Groups in memory.

use std::ops::{Bound, Range};

use model::units::{AccountId, BlobId};

use super::{Mem, bounded, count};
use crate::group::Group;
use crate::tables::groups::next_version;
use crate::tables::to_i64;
use crate::{FrozenSegment, GroupKey, GroupRow, GroupTable, StoreError, SwapError};

impl GroupTable for Mem {
    fn groups(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segments: Range<u64>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let key = |first| GroupKey {
            account: *account,
            blob: *blob,
            first,
        };
        let holding_start = self.groups.range(key(0)..=key(segments.start)).next_back();
        let first = holding_start.map_or(segments.start, |(key, _)| key.first);
        if first >= segments.end {
            return Ok(Vec::new());
        }
        let rows = self
            .groups
            .range(key(first)..key(segments.end))
            .map(|(_, row)| row);
        let rows = rows.filter(|row| row.end() > segments.start);
        Ok(rows.take(bounded(limit)).cloned().collect())
    }

    fn put_group(
        &mut self,
        key: &GroupKey,
        expected: Option<u64>,
        group: &Group,
    ) -> Result<u64, SwapError<u64>> {
        to_i64("first", key.first)?;
        let version = next_version(self.groups.get(key).map(|row| row.version), expected)?;
        self.groups.put(
            *key,
            GroupRow {
                key: *key,
                version,
                group: group.clone(),
            },
        );
        Ok(version)
    }

    fn scan_groups(
        &self,
        after: Option<&GroupKey>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let first = after.map_or(Bound::Unbounded, |after| Bound::Excluded(*after));
        let rows = self
            .groups
            .range((first, Bound::Unbounded))
            .map(|(_, row)| row.clone());
        Ok(rows.take(bounded(limit)).collect())
    }

    fn freeze_segment(&mut self, segment: &FrozenSegment) -> Result<bool, StoreError> {
        to_i64("segment", segment.segment)?;
        to_i64("at", segment.at.0)?;
        let key = (segment.account, segment.blob, segment.segment);
        Ok(self.frozen.insert(key, segment.at))
    }

    fn scan_frozen(
        &self,
        after: Option<&FrozenSegment>,
        limit: u32,
    ) -> Result<Vec<FrozenSegment>, StoreError> {
        let key = |after: &FrozenSegment| (after.account, after.blob, after.segment);
        let first = after.map_or(Bound::Unbounded, |after| Bound::Excluded(key(after)));
        let rows = self.frozen.range((first, Bound::Unbounded));
        let rows = rows.map(|((account, blob, segment), at)| FrozenSegment {
            account: *account,
            blob: *blob,
            segment: *segment,
            at: *at,
        });
        Ok(rows.take(bounded(limit)).collect())
    }

    fn frozen_segments(&self, account: &AccountId, blob: &BlobId) -> Result<Vec<u64>, StoreError> {
        let all = (*account, *blob, 0)..=(*account, *blob, u64::MAX);
        let segments = self.frozen.range(all).map(|((_, _, segment), _)| *segment);
        Ok(segments.take(bounded(u32::MAX)).collect())
    }

    fn thaw_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<u64, StoreError> {
        let all = (*account, *blob, 0)..=(*account, *blob, u64::MAX);
        Ok(count(self.frozen.sweep(all, u32::MAX, |_| true).len()))
    }

    fn delete_groups(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let key = |first| GroupKey {
            account: *account,
            blob: *blob,
            first,
        };
        Ok(count(
            self.groups
                .sweep(key(0)..=key(u64::MAX), limit, |_| true)
                .len(),
        ))
    }
}
