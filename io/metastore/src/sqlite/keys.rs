//! Kept answers and settings in SQLite.

use model::units::{AccountId, UnixMs};
use rusqlite::params;

use super::{SqliteTx, bounded, clamp};
use crate::tables::{check_value, to_i64};
use crate::{IdempotencyKey, KeyTable, StoreError};

impl KeyTable for SqliteTx<'_> {
    fn idempotent(
        &self,
        account: &AccountId,
        key: &IdempotencyKey,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.one(
            "read a kept answer",
            "SELECT answer FROM idempotency WHERE owner = ?1 AND key = ?2 AND expires > ?3",
            params![account.0, key.0, clamp(now.0)],
            |row| row.get(0),
        )
    }

    fn put_idempotent(
        &mut self,
        account: &AccountId,
        key: &IdempotencyKey,
        answer: &[u8],
        expires: UnixMs,
    ) -> Result<(), StoreError> {
        check_value("answer", answer)?;
        self.execute(
            "keep an answer",
            "INSERT OR REPLACE INTO idempotency (owner, key, expires, answer)
             VALUES (?1, ?2, ?3, ?4)",
            params![account.0, key.0, to_i64("expires", expires.0)?, answer],
        )?;
        Ok(())
    }

    fn sweep_idempotent(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        self.execute(
            "sweep kept answers",
            "DELETE FROM idempotency WHERE rowid IN
             (SELECT rowid FROM idempotency WHERE expires <= ?1 LIMIT ?2)",
            params![clamp(now.0), bounded(limit)],
        )
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        self.one("read a setting", sql, [key], |row| row.get(0))
    }

    fn put_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        check_value("meta", value)?;
        self.execute(
            "write a setting",
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
            params![key, value],
        )?;
        Ok(())
    }
}
