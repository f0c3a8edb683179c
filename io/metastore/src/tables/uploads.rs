//! Uploads between their plan and their commit, by (owner, upload).

use model::units::{AccountId, UnixMs, UploadId};

use crate::StoreError;

/// A planned upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// The owner.
    pub account: AccountId,
    /// Its id.
    pub upload: UploadId,
    /// The plan, in the Bridge's own encoding.
    pub body: Vec<u8>,
    /// When it is given up.
    pub expires: UnixMs,
}

/// Uploads. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait UploadTable {
    /// Returns an upload.
    fn upload(
        &self,
        account: &AccountId,
        upload: &UploadId,
    ) -> Result<Option<UploadRow>, StoreError>;

    /// Adds an upload; `false` where the id is taken, and then nothing changes.
    fn insert_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError>;

    /// Replaces an upload's body and expiry; `false` where there is none.
    fn update_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError>;

    /// Removes an upload; `false` where there was none.
    fn delete_upload(&mut self, account: &AccountId, upload: &UploadId)
    -> Result<bool, StoreError>;

    /// Returns up to `limit` uploads of all owners that expired at or before `now`, oldest first.
    fn expired_uploads(&self, now: UnixMs, limit: u32) -> Result<Vec<UploadRow>, StoreError>;
}
