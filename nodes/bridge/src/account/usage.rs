//! What an account uses, and the most it may.

use metastore::{StoreError, Tx};
use model::units::AccountId;
use model::wire::api::Usage;

use crate::context::Policy;
use crate::corrupt::corrupt;

/// What `account` uses.
///
/// # Errors
/// [`StoreError`].
pub fn usage(tx: &dyn Tx, policy: &Policy, account: &AccountId) -> Result<Usage, StoreError> {
    let usage = tx.usage(account)?;
    Ok(Usage {
        blob_bytes: blob_bytes(tx, account)?,
        shard_bytes: usage.stored_bytes,
        node_bytes: usage.node_bytes,
        reserved_bytes: usage.reserved_bytes,
        quota_bytes: policy.quota_bytes,
    })
}

/// Adds to the bytes of blobs that an account keeps.
///
/// # Errors
/// [`StoreError::OutOfRange`] where less than nothing would be left.
pub(crate) fn add_blob_bytes(
    tx: &mut dyn Tx,
    account: &AccountId,
    change: i64,
) -> Result<(), StoreError> {
    let field = "blob bytes";
    let sum = blob_bytes(&*tx, account)?.checked_add_signed(change);
    let sum = sum.ok_or(StoreError::OutOfRange { field })?;
    tx.put_meta(&key(account), &sum.to_le_bytes())
}

fn blob_bytes(tx: &dyn Tx, account: &AccountId) -> Result<u64, StoreError> {
    let Some(value) = tx.meta(&key(account))? else {
        return Ok(0);
    };
    let wrong = corrupt("meta", "blob bytes");
    value.try_into().map(u64::from_le_bytes).map_err(|_| wrong)
}

fn key(account: &AccountId) -> String {
    format!("blob-bytes/{account}")
}
