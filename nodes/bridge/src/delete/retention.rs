//! What goes by itself: uploads that expired, and blobs and pages retired long enough.

use metastore::{RetiredCursor, StoreError, Tx, UploadRow};
use model::wire::control::DeleteReason;

use super::erase::{Erased, remove_blobs, step};
use crate::context::Context;
use crate::corrupt::corrupt;
use crate::upload::abandon::abandon_row;
use crate::upload::record::UploadRecord;

/// Rows looked at in one round.
const ROWS_PER_ROUND: u32 = 64;
/// Pages swept in one round.
const NODES_PER_ROUND: u32 = 1_024;

/// Uploads that expired or were given up, at most a round of them.
///
/// # Errors
/// [`StoreError`].
pub fn expired(tx: &dyn Tx, context: &Context) -> Result<Vec<UploadRow>, StoreError> {
    tx.expired_uploads(context.now, ROWS_PER_ROUND)
}

/// Ends an expired upload, or goes on erasing one that ended.
///
/// # Errors
/// [`StoreError`].
pub fn end_expired(
    tx: &mut dyn Tx,
    context: &Context,
    row: &UploadRow,
) -> Result<Erased, StoreError> {
    // Read again: it may have been committed since it was listed.
    let Some(row) = tx.upload(&row.account, &row.upload)? else {
        return Ok(Erased {
            finished: true,
            ..Erased::default()
        });
    };
    match UploadRecord::decode(&row.body) {
        Ok(UploadRecord::Open(open)) => {
            let poked = abandon_row(tx, context, &row, &open)?;
            Ok(Erased {
                poked,
                finished: false,
            })
        }
        Ok(UploadRecord::Erasing(erasure)) => step(tx, context, &row, erasure),
        Err(_) => Err(corrupt("uploads", "body")),
    }
}

/// Removes a round of blobs that were retired before the retention; returns how many.
///
/// # Errors
/// [`StoreError`].
pub fn remove_retired(tx: &mut dyn Tx, context: &Context) -> Result<u64, StoreError> {
    let Some(until) = context.now.0.checked_sub(context.policy.retention_ms) else {
        return Ok(0);
    };
    let after: Option<&RetiredCursor> = None;
    let rows = tx.retired_blobs(model::units::UnixMs(until), after, ROWS_PER_ROUND)?;
    let mut removed = 0;
    for row in rows {
        let account = row.account;
        removed += remove_blobs(tx, context, &account, (&[row], DeleteReason::Retired))?;
    }
    Ok(removed)
}

/// Removes a round of pages that were retired before the retention, or pending for too long;
/// returns whether more may be left.
///
/// # Errors
/// [`StoreError`].
pub fn sweep_nodes(tx: &mut dyn Tx, context: &Context) -> Result<bool, StoreError> {
    let retired = context.now.0.saturating_sub(context.policy.retention_ms);
    let retired = model::units::UnixMs(retired);
    let swept = tx.sweep_nodes(context.now, retired, NODES_PER_ROUND)?;
    Ok(swept.nodes >= u64::from(NODES_PER_ROUND))
}

/// Removes a round of sessions and remembered sign-ins that ended; returns whether more may be
/// left.
///
/// # Errors
/// [`StoreError`].
pub fn sweep_sessions(tx: &mut dyn Tx, context: &Context) -> Result<bool, StoreError> {
    let sessions = tx.sweep_sessions(context.now, NODES_PER_ROUND)?;
    let answers = tx.sweep_idempotent(context.now, NODES_PER_ROUND)?;
    Ok(sessions.max(answers) >= u64::from(NODES_PER_ROUND))
}
