//! Blobs of which little is referred to any more: their owner may bring what is left into new ones.

use metastore::{StoreError, Tx};
use model::units::{AccountId, BlobId};
use model::wire::api::{SparseBlob, SparseBlobs};
use model::wire::limits::SPARSE_BLOBS_PER_PAGE_MAX;

/// Up to `limit` blobs of `account` that are less than half alive, by their ids, after `after`.
///
/// # Errors
/// [`StoreError`].
pub fn after(
    tx: &dyn Tx,
    account: &AccountId,
    after: Option<&BlobId>,
    limit: usize,
) -> Result<SparseBlobs, StoreError> {
    let limit = u32::try_from(limit.min(SPARSE_BLOBS_PER_PAGE_MAX)).unwrap_or(0);
    let rows = tx.sparse_blobs(account, after, limit)?;
    let blobs = rows.into_iter().map(|row| SparseBlob {
        blob: row.blob,
        length: row.length,
        live_bytes: row.live_bytes,
        references: row.references,
    });
    Ok(SparseBlobs {
        blobs: blobs.collect(),
    })
}
