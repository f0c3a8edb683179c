//! Uploads in memory.

use model::units::{AccountId, UnixMs, UploadId};

use super::{Mem, bounded};
use crate::tables::{check_value, to_i64};
use crate::{StoreError, UploadRow, UploadTable};

impl UploadTable for Mem {
    fn upload(
        &self,
        account: &AccountId,
        upload: &UploadId,
    ) -> Result<Option<UploadRow>, StoreError> {
        Ok(self.uploads.get(&(*account, *upload)).cloned())
    }

    fn insert_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError> {
        check(row)?;
        Ok(self.uploads.insert((row.account, row.upload), row.clone()))
    }

    fn update_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError> {
        check(row)?;
        let key = (row.account, row.upload);
        let known = self.uploads.get(&key).is_some();
        if known {
            self.uploads.put(key, row.clone());
        }
        Ok(known)
    }

    fn delete_upload(
        &mut self,
        account: &AccountId,
        upload: &UploadId,
    ) -> Result<bool, StoreError> {
        Ok(self.uploads.remove(&(*account, *upload)).is_some())
    }

    fn expired_uploads(&self, now: UnixMs, limit: u32) -> Result<Vec<UploadRow>, StoreError> {
        let rows = self.uploads.range(..).map(|(_, row)| row);
        let mut rows: Vec<&UploadRow> = rows.filter(|row| row.expires <= now).collect();
        rows.sort_by_key(|row| (row.expires, row.account, row.upload));
        Ok(rows.into_iter().take(bounded(limit)).cloned().collect())
    }
}

fn check(row: &UploadRow) -> Result<(), StoreError> {
    check_value("upload", &row.body)?;
    to_i64("expires", row.expires.0).map(|_| ())
}
