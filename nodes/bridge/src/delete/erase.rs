//! Erases the places of blobs whose rows are gone, a bounded step at a time.

use metastore::{BlobRow, GroupRow, HostAlias, StoreError, Tx, UploadRow, UsageDelta};
use model::formats::shape::{Class, Shape};
use model::units::{AccountId, BlobId, UnixMs, UploadId};
use model::wire::control::DeleteReason;

use crate::account::usage::add_blob_bytes;
use crate::context::Context;
use crate::corrupt::corrupt;
use crate::orders::Deletions;
use crate::upload::plan::signed;
use crate::upload::record::{Erasure, UploadRecord};

/// Groups erased in one step.
const GROUPS_PER_STEP: u32 = 256;
/// Blobs looked at in one step.
const BLOBS_PER_STEP: usize = 256;
/// Rows of the receipts log removed at a time.
const RECEIPTS_PER_STEP: u32 = 8_192;

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Hosts that have new orders.
    pub poked: Vec<HostAlias>,
    /// Whether nothing is left to erase.
    pub finished: bool,
}

/// Removes the rows of committed blobs, gives their bytes back, and lists them for erasure.
/// Returns how many were there.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn remove_blobs(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    (rows, reason): (&[BlobRow], DeleteReason),
) -> Result<u64, StoreError> {
    let mut blobs = Vec::with_capacity(rows.len());
    let (mut stored, mut lengths) = (0_u64, 0_u64);
    for row in rows {
        if !tx.delete_blob(account, &row.blob)? {
            continue;
        }
        let shape = Class::of(row.k, row.n)
            .ok()
            .and_then(|c| Shape::new(row.length, c).ok());
        let shape = shape.ok_or(corrupt("blobs", "class"))?;
        stored = stored.saturating_add(shape.stored_bytes());
        lengths = lengths.saturating_add(row.length);
        blobs.push(row.blob);
    }
    let (removed, first) = (blobs.len(), blobs.first().copied());
    let Some(first) = first else { return Ok(0) };
    tx.add_usage(
        account,
        UsageDelta {
            stored_bytes: -signed(stored),
            ..Default::default()
        },
    )?;
    add_blob_bytes(tx, account, -signed(lengths))?;
    // The list goes by the id of its first blob: ids of uploads are random as well, and the same
    // blob is never listed twice, since its row is gone.
    list(
        tx,
        context.now,
        (account, &UploadId(first.0)),
        Erasure { reason, blobs },
    )?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

fn list(
    tx: &mut dyn Tx,
    now: UnixMs,
    (account, upload): (&AccountId, &UploadId),
    erasure: Erasure,
) -> Result<(), StoreError> {
    let body = UploadRecord::Erasing(erasure).encode();
    let row = UploadRow {
        account: *account,
        upload: *upload,
        body,
        expires: now,
    };
    if tx.insert_upload(&row)? {
        return Ok(());
    }
    Err(corrupt("uploads", "erasure"))
}

/// Erases some of what `row` lists.
///
/// # Errors
/// [`StoreError`].
pub fn step(
    tx: &mut dyn Tx,
    context: &Context,
    row: &UploadRow,
    mut erasure: Erasure,
) -> Result<Erased, StoreError> {
    let account = &row.account;
    let mut deletions = Deletions::default();
    let mut groups_left = GROUPS_PER_STEP;
    for _ in 0..BLOBS_PER_STEP {
        let Some(blob) = erasure.blobs.last().filter(|_| groups_left > 0) else {
            break;
        };
        let groups = tx.groups(account, blob, 0..u64::MAX >> 1, groups_left)?;
        for group in &groups {
            name_records(&*tx, context, blob, group, &mut deletions)?;
        }
        let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        tx.delete_groups(account, blob, count)?;
        let all = count < groups_left;
        groups_left = groups_left.saturating_sub(count.max(1));
        if !all || tx.delete_receipts(account, blob, RECEIPTS_PER_STEP)? >= RECEIPTS_PER_STEP.into()
        {
            continue;
        }
        tx.thaw_blob(account, blob)?;
        erasure.blobs.pop();
    }
    let poked = deletions.queue(tx, erasure.reason, context.now)?;
    let finished = erasure.blobs.is_empty();
    if finished {
        tx.delete_upload(account, &row.upload)?;
    } else {
        let body = UploadRecord::Erasing(erasure).encode();
        tx.update_upload(&UploadRow {
            body,
            ..row.clone()
        })?;
    }
    Ok(Erased { poked, finished })
}

/// Names what each Host stores, or may have stored, of a group.
fn name_records(
    tx: &dyn Tx,
    context: &Context,
    blob: &BlobId,
    row: &GroupRow,
    deletions: &mut Deletions,
) -> Result<(), StoreError> {
    for within in 0..row.group.segments() {
        let segment = row.key.first + u64::from(within);
        for (index, host) in (0..).zip(row.group.hosts(within)) {
            if let Some(host) = host {
                deletions.add(tx, &context.keys, (blob, segment, index), host)?;
            }
        }
    }
    Ok(())
}
