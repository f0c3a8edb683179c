//! Hosts' signed store receipts: an append-only log by (owner, blob, segment).

use model::units::{AccountId, BlobId};

use crate::StoreError;

/// Receipts that came together: one or several of one segment, in the Bridge's own encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The owner.
    pub account: AccountId,
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// The receipts.
    pub bytes: Vec<u8>,
}

/// Receipts. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait ReceiptTable {
    /// Appends to a segment's receipts.
    fn append_receipts(&mut self, row: &ReceiptRow) -> Result<(), StoreError>;

    /// Returns a segment's receipts in the order they were appended, the latest
    /// [`crate::ROWS_PER_CALL_MAX`] at most.
    fn receipts(
        &self,
        account: &AccountId,
        blob: &BlobId,
        segment: u64,
    ) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Removes up to `limit` rows of a blob; returns how many. Fewer than `limit`: none is left.
    fn delete_receipts(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
