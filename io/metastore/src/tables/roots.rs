//! Signed roots of volumes. Every root is kept; the current one is the highest numbered.

use model::units::{AccountId, RootHash, UnixMs, VolumeId};

use crate::{StoreError, SwapError};

/// A signed root, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: RootHash,
    /// Body and signature.
    pub bytes: Vec<u8>,
    /// When the Bridge took it.
    pub time: UnixMs,
}

/// Roots by (owner, volume, seq). Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait RootTable {
    /// Returns a volume's current root.
    fn current_root(
        &self,
        account: &AccountId,
        volume: &VolumeId,
    ) -> Result<Option<RootRow>, StoreError>;

    /// Makes `root` current where the current one's hash is `prev` (`None`: the volume has none)
    /// and its number lies below; otherwise [`SwapError::Conflict`] with the current root.
    fn push_root(
        &mut self,
        account: &AccountId,
        volume: &VolumeId,
        prev: Option<&RootHash>,
        root: &RootRow,
    ) -> Result<(), SwapError<RootRow>>;

    /// Returns the root with this number.
    fn root_at(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
    ) -> Result<Option<RootRow>, StoreError>;

    /// Returns up to `limit` roots numbered below `seq`, newest first.
    fn roots_before(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<RootRow>, StoreError>;
}

/// The comparison of [`RootTable::push_root`], the same in every engine.
pub(crate) fn check_push(
    current: Option<RootRow>,
    prev: Option<&RootHash>,
    root: &RootRow,
) -> Result<(), SwapError<RootRow>> {
    let follows = current
        .as_ref()
        .is_none_or(|current| root.seq > current.seq);
    if current.as_ref().map(|current| &current.hash) == prev && follows {
        return Ok(());
    }
    Err(SwapError::Conflict { current })
}
