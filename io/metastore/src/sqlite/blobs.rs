//! Blobs in SQLite.

use model::units::{AccountId, BlobId, OwnerTag, ShardSize, UnixMs, UploadId};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, corrupt, number};
use crate::tables::to_i64;
use crate::{
    BlobRow, BlobState, BlobTable, ReferenceDelta, ReferenceError, RetiredCursor, StoreError,
};

impl BlobTable for SqliteTx<'_> {
    fn blob(&self, account: &AccountId, blob: &BlobId) -> Result<Option<BlobRow>, StoreError> {
        self.one(
            "read a blob",
            "SELECT owner, blob, upload, length, k, n, shard_size, segments, owner_tag, created,
             refs, live_bytes, state, retired FROM blobs WHERE owner = ?1 AND blob = ?2",
            [account.0, blob.0],
            read_blob,
        )
    }

    fn insert_blob(&mut self, row: &BlobRow) -> Result<bool, StoreError> {
        let (state, retired) = columns(row.state)?;
        let added = self.execute(
            "add a blob",
            "INSERT INTO blobs (owner, blob, upload, length, k, n, shard_size, segments,
             owner_tag, created, refs, live_bytes, state, retired)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT DO NOTHING",
            params![
                row.account.0,
                row.blob.0,
                row.upload.0,
                to_i64("length", row.length)?,
                row.k,
                row.n,
                row.shard_size.bytes(),
                to_i64("segments", row.segments)?,
                row.owner_tag.0,
                to_i64("created", row.created.0)?,
                to_i64("references", row.references)?,
                to_i64("live_bytes", row.live_bytes)?,
                state,
                retired,
            ],
        )?;
        Ok(added == 1)
    }

    fn commit_blobs(
        &mut self,
        account: &AccountId,
        upload: &UploadId,
        now: UnixMs,
    ) -> Result<u64, StoreError> {
        self.execute(
            "commit blobs",
            "UPDATE blobs SET state = 2, retired = ?3
             WHERE owner = ?1 AND upload = ?2 AND state = 0",
            params![account.0, upload.0, to_i64("retired", now.0)?],
        )
    }

    fn pending_blobs(
        &self,
        account: &AccountId,
        upload: &UploadId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        let after = after.map_or(&[][..], |after| after.as_bytes());
        self.many(
            "list pending blobs",
            "SELECT owner, blob, upload, length, k, n, shard_size, segments, owner_tag, created,
             refs, live_bytes, state, retired FROM blobs
             WHERE owner = ?1 AND upload = ?2 AND state = 0 AND blob > ?3 ORDER BY blob LIMIT ?4",
            params![account.0, upload.0, after, bounded(limit)],
            read_blob,
        )
    }

    fn add_references(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        delta: ReferenceDelta,
        now: UnixMs,
    ) -> Result<BlobRow, ReferenceError> {
        let unknown = ReferenceError::UnknownBlob { blob: *blob };
        let mut row = self.blob(account, blob)?.ok_or(unknown)?;
        row.apply(delta, now)?;
        let (state, retired) = columns(row.state)?;
        self.execute(
            "change the references of a blob",
            "UPDATE blobs SET refs = ?3, live_bytes = ?4, state = ?5, retired = ?6
             WHERE owner = ?1 AND blob = ?2",
            params![
                account.0,
                blob.0,
                to_i64("references", row.references)?,
                to_i64("live_bytes", row.live_bytes)?,
                state,
                retired,
            ],
        )?;
        Ok(row)
    }

    fn retired_blobs(
        &self,
        until: UnixMs,
        after: Option<&RetiredCursor>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        let (at, account, blob) = after.map_or((-1, &[][..], &[][..]), |after| {
            (
                clamp(after.at.0),
                after.account.as_bytes(),
                after.blob.as_bytes(),
            )
        });
        self.many(
            "list retired blobs",
            "SELECT owner, blob, upload, length, k, n, shard_size, segments, owner_tag, created,
             refs, live_bytes, state, retired FROM blobs
             WHERE state = 2 AND retired <= ?1 AND (retired, owner, blob) > (?2, ?3, ?4)
             ORDER BY retired, owner, blob LIMIT ?5",
            params![clamp(until.0), at, account, blob, bounded(limit)],
            read_blob,
        )
    }

    fn sparse_blobs(
        &self,
        account: &AccountId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError> {
        let after = after.map_or(&[][..], |after| after.as_bytes());
        self.many(
            "list sparse blobs",
            "SELECT owner, blob, upload, length, k, n, shard_size, segments, owner_tag, created,
             refs, live_bytes, state, retired FROM blobs
             WHERE owner = ?1 AND blob > ?2 AND state = 1 AND live_bytes < length - length / 2
             ORDER BY blob LIMIT ?3",
            params![account.0, after, bounded(limit)],
            read_blob,
        )
    }

    fn delete_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM blobs WHERE owner = ?1 AND blob = ?2";
        Ok(self.execute("delete a blob", sql, [account.0, blob.0])? == 1)
    }
}

fn columns(state: BlobState) -> Result<(i64, i64), StoreError> {
    Ok(match state {
        BlobState::Pending => (0, 0),
        BlobState::Live => (1, 0),
        BlobState::Retired { at } => (2, to_i64("retired", at.0)?),
    })
}

fn read_blob(row: &Row<'_>) -> rusqlite::Result<BlobRow> {
    let shard_size: u32 = row.get(6)?;
    let state = match row.get(12)? {
        0 => BlobState::Pending,
        1 => BlobState::Live,
        2 => BlobState::Retired {
            at: UnixMs(number(row, 13)?),
        },
        state => return Err(corrupt(12, format!("no state of a blob: {state}"))),
    };
    Ok(BlobRow {
        account: AccountId(row.get(0)?),
        blob: BlobId(row.get(1)?),
        upload: UploadId(row.get(2)?),
        length: number(row, 3)?,
        k: row.get(4)?,
        n: row.get(5)?,
        shard_size: ShardSize::new(shard_size).map_err(|error| corrupt(6, error))?,
        segments: number(row, 7)?,
        owner_tag: OwnerTag(row.get(8)?),
        created: UnixMs(number(row, 9)?),
        references: number(row, 10)?,
        live_bytes: number(row, 11)?,
        state,
    })
}
