//! Receipts in SQLite.

use model::units::{AccountId, BlobId};
use rusqlite::params;

use super::{SqliteTx, bounded, clamp};
use crate::tables::{ROWS_PER_CALL_MAX, check_value, to_i64};
use crate::{ReceiptRow, ReceiptTable, StoreError};

impl ReceiptTable for SqliteTx<'_> {
    fn append_receipts(&mut self, row: &ReceiptRow) -> Result<(), StoreError> {
        check_value("receipts", &row.bytes)?;
        self.execute(
            "append receipts",
            "INSERT INTO receipts (owner, blob, segment, bytes) VALUES (?1, ?2, ?3, ?4)",
            params![
                row.account.0,
                row.blob.0,
                to_i64("segment", row.segment)?,
                row.bytes
            ],
        )?;
        Ok(())
    }

    fn receipts(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segment: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut rows: Vec<Vec<u8>> = self.many(
            "read receipts",
            "SELECT bytes FROM receipts WHERE owner = ?1 AND blob = ?2 AND segment = ?3
             ORDER BY rowid DESC LIMIT ?4",
            params![account.0, blob.0, clamp(segment), ROWS_PER_CALL_MAX],
            |row| row.get(0),
        )?;
        rows.reverse();
        Ok(rows)
    }

    fn delete_receipts(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.execute(
            "delete receipts",
            "DELETE FROM receipts WHERE rowid IN
             (SELECT rowid FROM receipts WHERE owner = ?1 AND blob = ?2 LIMIT ?3)",
            params![account.0, blob.0, bounded(limit)],
        )
    }
}
