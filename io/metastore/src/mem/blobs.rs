//! Blobs in memory.

use std::ops::Bound;

use model::units::{AccountId, BlobId, UnixMs, UploadId};

use super::{Mem, bounded, count};
use crate::tables::to_i64;
use crate::{
    BlobRow, BlobState, BlobTable, ReferenceDelta, ReferenceError, RetiredCursor, StoreError,
};

impl BlobTable for Mem {
    fn blob(&self, account: &AccountId, blob: &BlobId) -> Result<Option<BlobRow>, StoreError> {
        Ok(self.blobs.get(&(*account, *blob)).cloned())
    }

    fn insert_blob(&mut self, row: &BlobRow) -> Result<bool, StoreError> {
        to_i64("length", row.length)?;
        to_i64("segments", row.segments)?;
        to_i64("references", row.references)?;
        to_i64("live_bytes", row.live_bytes)?;
        to_i64("created", row.created.0)?;
        if let BlobState::Retired { at } = row.state {
            to_i64("retired", at.0)?;
        }
        Ok(self.blobs.insert((row.account, row.blob), row.clone()))
    }

    fn commit_blobs(
        &mut self,
        account: &AccountId,
        upload: &UploadId,
        now: UnixMs,
    ) -> Result<u64, StoreError> {
        to_i64("retired", now.0)?;
        let pending: Vec<BlobRow> = self.pending(account, upload, None).cloned().collect();
        let committed = count(pending.len());
        for row in pending {
            let key = (row.account, row.blob);
            self.blobs.put(
                key,
                BlobRow {
                    state: BlobState::Retired { at: now },
                    ..row
                },
            );
        }
        Ok(committed)
    }

    fn pending_blobs(
        &self,
        account: &AccountId,
        upload: &UploadId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        Ok(self
            .pending(account, upload, after)
            .take(bounded(limit))
            .cloned()
            .collect())
    }

    fn add_references(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        delta: ReferenceDelta,
        now: UnixMs,
    ) -> Result<BlobRow, ReferenceError> {
        to_i64("retired", now.0)?;
        let unknown = ReferenceError::UnknownBlob { blob: *blob };
        let mut row = self.blobs.get(&(*account, *blob)).cloned().ok_or(unknown)?;
        row.apply(delta, now)?;
        self.blobs.put((*account, *blob), row.clone());
        Ok(row)
    }

    fn retired_blobs(
        &self,
        until: UnixMs,
        after: Option<&RetiredCursor>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        let mut retired = Vec::new();
        for (&(account, blob), row) in self.blobs.range(..) {
            let BlobState::Retired { at } = row.state else {
                continue;
            };
            let place = RetiredCursor { at, account, blob };
            if at <= until && after.is_none_or(|after| place > *after) {
                retired.push((place, row.clone()));
            }
        }
        retired.sort_by_key(|(place, _)| *place);
        Ok(retired
            .into_iter()
            .map(|(_, row)| row)
            .take(bounded(limit))
            .collect())
    }

    fn sparse_blobs(
        &self,
        account: &AccountId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        let sparse = self.after(account, after).filter(|row| row.is_sparse());
        Ok(sparse.take(bounded(limit)).cloned().collect())
    }

    fn delete_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<bool, StoreError> {
        Ok(self.blobs.remove(&(*account, *blob)).is_some())
    }
}

impl Mem {
    fn pending(
        &self,
        account: &AccountId,
        upload: &UploadId,
        after: Option<&BlobId>,
    ) -> impl Iterator<Item = &BlobRow> {
        let upload = *upload;
        let rows = self.after(account, after);
        rows.filter(move |row| row.upload == upload && row.state == BlobState::Pending)
    }
    /// The blobs of an owner by their ids.
    fn after(&self, account: &AccountId, after: Option<&BlobId>) -> impl Iterator<Item = &BlobRow> {
        let first = after.map_or(Bound::Included((*account, BlobId([0; 16]))), |after| {
            Bound::Excluded((*account, *after))
        });
        let last = Bound::Included((*account, BlobId([0xff; 16])));
        self.blobs.range((first, last)).map(|(_, row)| row)
    }
}
