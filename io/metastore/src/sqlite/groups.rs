//! Groups in SQLite.

use std::ops::Range;

use model::units::{AccountId, BlobId, UnixMs};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, corrupt, number};
use crate::group::Group;
use crate::tables::groups::next_version;
use crate::tables::to_i64;
use crate::{FrozenSegment, GroupKey, GroupRow, GroupTable, StoreError, SwapError};

impl GroupTable for SqliteTx<'_> {
    fn groups(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segments: Range<u64>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let rows = self.many(
            "read groups",
            "SELECT owner, blob, first, version, body FROM groups
             WHERE owner = ?1 AND blob = ?2 AND first < ?4 AND first >= coalesce(
                 (SELECT max(first) FROM groups WHERE owner = ?1 AND blob = ?2 AND first <= ?3), 0)
             ORDER BY first LIMIT ?5",
            params![
                account.0,
                blob.0,
                clamp(segments.start),
                clamp(segments.end),
                bounded(limit)
            ],
            read_group,
        )?;
        Ok(rows
            .into_iter()
            .filter(|row| row.end() > segments.start)
            .collect())
    }

    fn put_group(
        &mut self,
        key: &GroupKey,
        expected: Option<u64>,
        group: &Group,
    ) -> Result<u64, SwapError<u64>> {
        let first = to_i64("first", key.first)?;
        let version = next_version(self.group_version(key)?, expected)?;
        self.execute(
            "write a group",
            "INSERT INTO groups (owner, blob, first, version, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (owner, blob, first)
             DO UPDATE SET version = excluded.version, body = excluded.body",
            params![
                key.account.0,
                key.blob.0,
                first,
                to_i64("version", version)?,
                group.as_bytes()
            ],
        )?;
        Ok(version)
    }

    fn scan_groups(
        &self,
        after: Option<&GroupKey>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let (account, blob, first) = after.map_or((&[][..], &[][..], -1), |after| {
            (
                after.account.as_bytes(),
                after.blob.as_bytes(),
                clamp(after.first),
            )
        });
        self.many(
            "scan groups",
            "SELECT owner, blob, first, version, body FROM groups
             WHERE (owner, blob, first) > (?1, ?2, ?3) ORDER BY owner, blob, first LIMIT ?4",
            params![account, blob, first, bounded(limit)],
            read_group,
        )
    }

    fn freeze_segment(&mut self, segment: &FrozenSegment) -> Result<bool, StoreError> {
        let frozen = self.execute(
            "freeze a segment",
            "INSERT INTO frozen_segments (owner, blob, segment, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![
                segment.account.0,
                segment.blob.0,
                to_i64("segment", segment.segment)?,
                to_i64("at", segment.at.0)?
            ],
        )?;
        Ok(frozen == 1)
    }

    fn scan_frozen(
        &self,
        after: Option<&FrozenSegment>,
        limit: u32,
    ) -> Result<Vec<FrozenSegment>, StoreError> {
        let (account, blob, segment) = after.map_or((&[][..], &[][..], -1), |after| {
            (
                after.account.as_bytes(),
                after.blob.as_bytes(),
                clamp(after.segment),
            )
        });
        self.many(
            "scan frozen segments",
            "SELECT owner, blob, segment, at FROM frozen_segments
             WHERE (owner, blob, segment) > (?1, ?2, ?3) ORDER BY owner, blob, segment LIMIT ?4",
            params![account, blob, segment, bounded(limit)],
            |row| {
                Ok(FrozenSegment {
                    account: AccountId(row.get(0)?),
                    blob: BlobId(row.get(1)?),
                    segment: number(row, 2)?,
                    at: UnixMs(number(row, 3)?),
                })
            },
        )
    }

    fn frozen_segments(&self, account: &AccountId, blob: &BlobId) -> Result<Vec<u64>, StoreError> {
        self.many(
            "list frozen segments",
            "SELECT segment FROM frozen_segments WHERE owner = ?1 AND blob = ?2
             ORDER BY segment LIMIT ?3",
            params![account.0, blob.0, bounded(u32::MAX)],
            |row| number(row, 0),
        )
    }

    fn thaw_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<u64, StoreError> {
        self.execute(
            "thaw a blob",
            "DELETE FROM frozen_segments WHERE owner = ?1 AND blob = ?2",
            params![account.0, blob.0],
        )
    }

    fn delete_groups(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.execute(
            "delete groups",
            "DELETE FROM groups WHERE rowid IN
             (SELECT rowid FROM groups WHERE owner = ?1 AND blob = ?2 ORDER BY first LIMIT ?3)",
            params![account.0, blob.0, bounded(limit)],
        )
    }
}

impl SqliteTx<'_> {
    fn group_version(&self, key: &GroupKey) -> Result<Option<u64>, StoreError> {
        self.one(
            "read the version of a group",
            "SELECT version FROM groups WHERE owner = ?1 AND blob = ?2 AND first = ?3",
            params![key.account.0, key.blob.0, clamp(key.first)],
            |row| number(row, 0),
        )
    }
}

fn read_group(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    let key = GroupKey {
        account: AccountId(row.get(0)?),
        blob: BlobId(row.get(1)?),
        first: number(row, 2)?,
    };
    let group = Group::decode(row.get(4)?).map_err(|error| corrupt(4, error))?;
    Ok(GroupRow {
        key,
        version: number(row, 3)?,
        group,
    })
}
