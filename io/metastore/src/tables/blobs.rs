//! Blobs by (owner, blob): their shape, and how many entries refer to them.
//!
//! A committed blob is live while entries refer to it and retired while none does; only the
//! number of references decides.

use model::units::{AccountId, BlobId, OwnerTag, ShardSize, UnixMs, UploadId};

use super::add;
use crate::StoreError;

/// Where a blob stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// Planned; its upload is not committed.
    Pending,
    /// Committed and referred to.
    Live,
    /// Committed and referred to by no entry.
    Retired {
        /// Since when.
        at: UnixMs,
    },
}

/// A run of ciphertext as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// Its owner.
    pub account: AccountId,
    /// Its id.
    pub blob: BlobId,
    /// The upload that brings or brought it.
    pub upload: UploadId,
    /// Bytes of ciphertext.
    pub length: u64,
    /// Shards that restore a segment; 1 for mirrors.
    pub k: u16,
    /// Shards of a segment.
    pub n: u16,
    /// Size of every shard but those of the last segment.
    pub shard_size: ShardSize,
    /// Number of segments.
    pub segments: u64,
    /// Who may read and delete its shards without the Bridge.
    pub owner_tag: OwnerTag,
    /// When it was planned.
    pub created: UnixMs,
    /// Entries that refer to it.
    pub references: u64,
    /// Bytes of it that entries refer to, as the owner counts them.
    pub live_bytes: u64,
    /// Where it stands.
    pub state: BlobState,
}

/// What a commit changes about one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceDelta {
    /// Entries added less entries removed.
    pub references: i64,
    /// Bytes added less bytes removed.
    pub live_bytes: i64,
}

/// References that could not be changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The owner has no such blob.
    #[error("blob {blob} does not exist")]
    UnknownBlob {
        /// Its id.
        blob: BlobId,
    },
    /// The blob's upload is not committed.
    #[error("blob {blob} is not committed")]
    Pending {
        /// Its id.
        blob: BlobId,
    },
    /// More would be taken away than there is.
    #[error("blob {blob} has fewer references or live bytes than are taken away")]
    Negative {
        /// Its id.
        blob: BlobId,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Where a listing of retired blobs goes on: after this blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetiredCursor {
    /// When it was retired.
    pub at: UnixMs,
    /// Its owner.
    pub account: AccountId,
    /// Its id.
    pub blob: BlobId,
}

/// Blobs. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait BlobTable {
    /// Returns a blob.
    fn blob(&self, account: &AccountId, blob: &BlobId) -> Result<Option<BlobRow>, StoreError>;

    /// Adds a blob as it is given; `false` where the id is taken, and then nothing changes.
    fn insert_blob(&mut self, row: &BlobRow) -> Result<bool, StoreError>;

    /// Commits the pending blobs of an upload; returns how many. Nothing refers to them yet, so
    /// they are retired at `now` until [`BlobTable::add_references`] revives them.
    fn commit_blobs(
        &mut self,
        account: &AccountId,
        upload: &UploadId,
        now: UnixMs,
    ) -> Result<u64, StoreError>;

    /// Returns up to `limit` pending blobs of an upload, ordered by id, after `after`.
    fn pending_blobs(
        &self,
        account: &AccountId,
        upload: &UploadId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError>;

    /// Changes a committed blob's references: at zero it is retired at `now`, above zero it is
    /// live. Returns the blob as it is afterwards.
    fn add_references(
        &mut self,
        account: &AccountId,
        blob: &BlobId,
        delta: ReferenceDelta,
        now: UnixMs,
    ) -> Result<BlobRow, ReferenceError>;

    /// Returns up to `limit` blobs of all owners retired at or before `until`, the longest retired
    /// first, after `after`.
    fn retired_blobs(
        &self,
        until: UnixMs,
        after: Option<&RetiredCursor>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError>;

    /// Returns up to `limit` live blobs of an owner of which less than half is referred to, ordered
    /// by id, after `after`.
    fn sparse_blobs(
        &self,
        account: &AccountId,
        after: Option<&BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobRow>, StoreError>;

    /// Removes a blob's row, not its groups or receipts; `false` where there was none.
    fn delete_blob(&mut self, account: &AccountId, blob: &BlobId) -> Result<bool, StoreError>;
}

impl BlobRow {
    /// Whether less than half of it is referred to, though some is.
    pub(crate) fn is_sparse(&self) -> bool {
        self.state == BlobState::Live && self.live_bytes < self.length - self.length / 2
    }

    /// The rule of [`BlobTable::add_references`], the same in every engine.
    pub(crate) fn apply(
        &mut self,
        delta: ReferenceDelta,
        now: UnixMs,
    ) -> Result<(), ReferenceError> {
        let blob = self.blob;
        if self.state == BlobState::Pending {
            return Err(ReferenceError::Pending { blob });
        }
        let negative = |_| ReferenceError::Negative { blob };
        self.references = add("references", self.references, delta.references).map_err(negative)?;
        self.live_bytes = add("live_bytes", self.live_bytes, delta.live_bytes).map_err(negative)?;
        self.state = match (self.references, self.state) {
            (0, retired @ BlobState::Retired { .. }) => retired,
            (0, BlobState::Live | BlobState::Pending) => BlobState::Retired { at: now },
            _ => BlobState::Live,
        };
        Ok(())
    }
}
