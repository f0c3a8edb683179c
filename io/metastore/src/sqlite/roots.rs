//! Roots in SQLite.

use model::units::{AccountId, RootHash, UnixMs, VolumeId};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, number};
use crate::tables::roots::check_push;
use crate::tables::{check_value, to_i64};
use crate::{RootRow, RootTable, StoreError, SwapError};

impl RootTable for SqliteTx<'_> {
    fn current_root(
        &self,
        account: &AccountId,
        volume: &VolumeId,
    ) -> Result<Option<RootRow>, StoreError> {
        self.one(
            "read the current root",
            "SELECT seq, hash, time, bytes FROM roots
             WHERE owner = ?1 AND volume = ?2 ORDER BY seq DESC LIMIT 1",
            [account.0, volume.0],
            read_root,
        )
    }

    fn push_root(
        &mut self,
        account: &AccountId,
        volume: &VolumeId,
        prev: Option<&RootHash>,
        root: &RootRow,
    ) -> Result<(), SwapError<RootRow>> {
        check_value("root", &root.bytes)?;
        let (seq, time) = (to_i64("seq", root.seq)?, to_i64("time", root.time.0)?);
        check_push(self.current_root(account, volume)?, prev, root)?;
        self.execute(
            "add a root",
            "INSERT INTO roots (owner, volume, seq, hash, time, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![account.0, volume.0, seq, root.hash.0, time, root.bytes],
        )?;
        Ok(())
    }

    fn root_at(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
    ) -> Result<Option<RootRow>, StoreError> {
        self.one(
            "read a root",
            "SELECT seq, hash, time, bytes FROM roots
             WHERE owner = ?1 AND volume = ?2 AND seq = ?3",
            params![account.0, volume.0, clamp(seq)],
            read_root,
        )
    }

    fn roots_before(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<RootRow>, StoreError> {
        self.many(
            "list roots",
            "SELECT seq, hash, time, bytes FROM roots
             WHERE owner = ?1 AND volume = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
            params![account.0, volume.0, clamp(seq), bounded(limit)],
            read_root,
        )
    }
}

fn read_root(row: &Row<'_>) -> rusqlite::Result<RootRow> {
    Ok(RootRow {
        seq: number(row, 0)?,
        hash: RootHash(row.get(1)?),
        time: UnixMs(number(row, 2)?),
        bytes: row.get(3)?,
    })
}
