//! Uploads in SQLite.

use model::units::{AccountId, UnixMs, UploadId};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, number};
use crate::tables::{check_value, to_i64};
use crate::{StoreError, UploadRow, UploadTable};

impl UploadTable for SqliteTx<'_> {
    fn upload(
        &self,
        account: &AccountId,
        upload: &UploadId,
    ) -> Result<Option<UploadRow>, StoreError> {
        self.one(
            "read an upload",
            "SELECT owner, upload, expires, body FROM uploads WHERE owner = ?1 AND upload = ?2",
            [account.0, upload.0],
            read_upload,
        )
    }

    fn insert_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError> {
        check_value("upload", &row.body)?;
        let added = self.execute(
            "add an upload",
            "INSERT INTO uploads (owner, upload, expires, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![
                row.account.0,
                row.upload.0,
                to_i64("expires", row.expires.0)?,
                row.body
            ],
        )?;
        Ok(added == 1)
    }

    fn update_upload(&mut self, row: &UploadRow) -> Result<bool, StoreError> {
        check_value("upload", &row.body)?;
        let updated = self.execute(
            "update an upload",
            "UPDATE uploads SET expires = ?3, body = ?4 WHERE owner = ?1 AND upload = ?2",
            params![
                row.account.0,
                row.upload.0,
                to_i64("expires", row.expires.0)?,
                row.body
            ],
        )?;
        Ok(updated == 1)
    }

    fn delete_upload(
        &mut self,
        account: &AccountId,
        upload: &UploadId,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM uploads WHERE owner = ?1 AND upload = ?2";
        Ok(self.execute("delete an upload", sql, [account.0, upload.0])? == 1)
    }

    fn expired_uploads(&self, now: UnixMs, limit: u32) -> Result<Vec<UploadRow>, StoreError> {
        self.many(
            "list expired uploads",
            "SELECT owner, upload, expires, body FROM uploads WHERE expires <= ?1
             ORDER BY expires, owner, upload LIMIT ?2",
            params![clamp(now.0), bounded(limit)],
            read_upload,
        )
    }
}

fn read_upload(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    Ok(UploadRow {
        account: AccountId(row.get(0)?),
        upload: UploadId(row.get(1)?),
        expires: UnixMs(number(row, 2)?),
        body: row.get(3)?,
    })
}
