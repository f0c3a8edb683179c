//! Receipts in memory.

use model::units::{AccountId, BlobId};

use super::{Mem, bounded, count};
use crate::tables::{ROWS_PER_CALL_MAX, check_value, to_i64};
use crate::{ReceiptRow, ReceiptTable, StoreError};

impl ReceiptTable for Mem {
    fn append_receipts(&mut self, row: &ReceiptRow) -> Result<(), StoreError> {
        check_value("receipts", &row.bytes)?;
        to_i64("segment", row.segment)?;
        let key = |number| (row.account, row.blob, row.segment, number);
        let last = self.receipts.range(key(0)..=key(u64::MAX)).next_back();
        let number = last.map_or(0, |((.., number), _)| number + 1);
        self.receipts.put(key(number), row.bytes.clone());
        Ok(())
    }

    fn receipts(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segment: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let key = |number| (*account, *blob, segment, number);
        let rows = self.receipts.range(key(0)..=key(u64::MAX)).rev();
        let mut rows: Vec<Vec<u8>> = rows
            .map(|(_, bytes)| bytes.clone())
            .take(bounded(ROWS_PER_CALL_MAX))
            .collect();
        rows.reverse();
        Ok(rows)
    }

    fn delete_receipts(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let all = (*account, *blob, 0, 0)..=(*account, *blob, u64::MAX, u64::MAX);
        Ok(count(self.receipts.sweep(all, limit, |_| true).len()))
    }
}
