//! Answers kept for retried requests, and the store's own few settings.

use model::units::{AccountId, UnixMs};

use crate::StoreError;

/// The SHA-256 of a request's idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(pub [u8; 32]);

/// Answers and settings. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait KeyTable {
    /// Returns the answer kept under a key that has not expired at `now`.
    fn idempotent(
        &self,
        account: &AccountId,
        key: &IdempotencyKey,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps an answer until `expires`, in the place of any other.
    fn put_idempotent(
        &mut self,
        account: &AccountId,
        key: &IdempotencyKey,
        answer: &[u8],
        expires: UnixMs,
    ) -> Result<(), StoreError>;

    /// Removes up to `limit` answers that expired at or before `now`; returns how many.
    fn sweep_idempotent(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError>;

    /// Returns a setting.
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes a setting. The name `schema_version` belongs to the store.
    fn put_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError>;
}
