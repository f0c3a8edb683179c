//! What each account occupies. Limits are the Bridge's.

use model::units::AccountId;

use super::add;
use crate::StoreError;

/// Bytes an account occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of shards of committed blobs.
    pub stored_bytes: u64,
    /// Bytes of shards planned by uploads that are not resolved.
    pub reserved_bytes: u64,
    /// Bytes of pages, whatever their state; counted by the store.
    pub node_bytes: u64,
    /// Bytes of pending pages, contained in `node_bytes`; counted by the store.
    pub pending_node_bytes: u64,
}

/// A change of what an account occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageDelta {
    /// Added to [`Usage::stored_bytes`].
    pub stored_bytes: i64,
    /// Added to [`Usage::reserved_bytes`].
    pub reserved_bytes: i64,
}

/// Usage. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait UsageTable {
    /// Returns what an account occupies: nothing, where it is unknown.
    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError>;

    /// Changes what an account occupies and returns the new sums. [`StoreError::OutOfRange`]
    /// where one would fall below zero.
    fn add_usage(&mut self, account: &AccountId, delta: UsageDelta) -> Result<Usage, StoreError>;
}

impl Usage {
    /// The sums after a change by the Bridge.
    pub(crate) fn after(self, delta: UsageDelta) -> Result<Self, StoreError> {
        Ok(Self {
            stored_bytes: add("stored_bytes", self.stored_bytes, delta.stored_bytes)?,
            reserved_bytes: add("reserved_bytes", self.reserved_bytes, delta.reserved_bytes)?,
            ..self
        })
    }

    /// The sums after a change of pages.
    pub(crate) fn after_nodes(self, bytes: i64, pending_bytes: i64) -> Result<Self, StoreError> {
        let pending = self.pending_node_bytes;
        Ok(Self {
            node_bytes: add("node_bytes", self.node_bytes, bytes)?,
            pending_node_bytes: add("pending_node_bytes", pending, pending_bytes)?,
            ..self
        })
    }
}
