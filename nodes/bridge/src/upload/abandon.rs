//! Gives an upload up: by its owner's word, or because it expired.

use metastore::{HostAlias, StoreError, Tx, UploadRow, UsageDelta};
use model::units::{AccountId, UploadId};
use model::wire::control::DeleteReason;

use super::OpenUploadError;
use super::plan::signed;
use super::record::{Erasure, OpenUpload, UploadRecord};
use crate::context::Context;
use crate::orders::Deletions;

/// Gives an open upload up; returns the Hosts that have new orders. One that is not open, or not
/// any more, is left as it is, so repeating it is no error.
///
/// # Errors
/// [`OpenUploadError`].
pub fn abandon(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    upload: &UploadId,
) -> Result<Vec<HostAlias>, OpenUploadError> {
    let Some(row) = tx.upload(account, upload)? else {
        return Ok(Vec::new());
    };
    match UploadRecord::decode(&row.body) {
        Ok(UploadRecord::Open(open)) => Ok(abandon_row(tx, context, &row, &open)?),
        Ok(UploadRecord::Erasing(_)) => Ok(Vec::new()),
        Err(source) => Err(OpenUploadError::Record {
            upload: *upload,
            source,
        }),
    }
}

/// Removes the blobs' rows, gives the reservation back, tells Hosts that had replaced slots, and
/// leaves the places to be erased.
pub(crate) fn abandon_row(
    tx: &mut dyn Tx,
    context: &Context,
    row: &UploadRow,
    open: &OpenUpload,
) -> Result<Vec<HostAlias>, StoreError> {
    let account = &row.account;
    let mut strays = Deletions::default();
    for (slot, hosts) in &open.moved {
        let Some(planned) = open.blobs.get(usize::from(slot.blob)) else {
            continue;
        };
        for host in hosts {
            let place = (&planned.blob, slot.segment, slot.index);
            strays.add(&*tx, &context.keys, place, *host)?;
        }
    }
    let poked = strays.queue(tx, DeleteReason::NotCommitted, context.now)?;
    let reserved_bytes = -signed(open.reserved_bytes);
    tx.add_usage(
        account,
        UsageDelta {
            reserved_bytes,
            ..Default::default()
        },
    )?;
    let blobs: Vec<_> = open.blobs.iter().map(|planned| planned.blob).collect();
    for blob in &blobs {
        tx.delete_blob(account, blob)?;
    }
    let erasure = Erasure {
        reason: DeleteReason::NotCommitted,
        blobs,
    };
    let body = UploadRecord::Erasing(erasure).encode();
    tx.update_upload(&UploadRow {
        body,
        expires: context.now,
        ..row.clone()
    })?;
    Ok(poked)
}
