//! Ends uploads: each segment has enough receipts, and Hosts that stored in vain are told so.

use metastore::{GroupRow, HostAlias, StoreError, Tx, UsageDelta};
use model::units::{AccountId, BlobId, ShardId, UploadId};
use model::wire::control::DeleteReason;

use super::CommitError;
use crate::account::usage::add_blob_bytes;
use crate::context::Context;
use crate::orders::Deletions;
use crate::upload::plan::signed;
use crate::upload::record::{OpenUpload, SlotKey};

/// Groups read at a time.
const GROUPS_PER_READ: u32 = 256;

/// Ends an upload whose segments are all stored: its blobs are committed, its reservation becomes
/// usage, and Hosts that stored in vain are told so.
pub(super) fn resolve(
    tx: &mut dyn Tx,
    context: &Context,
    (account, upload): (&AccountId, &UploadId),
    open: &OpenUpload,
) -> Result<Vec<HostAlias>, CommitError> {
    let strays = check_complete(&*tx, context, account, open)?;
    tx.commit_blobs(account, upload, context.now)?;
    let usage = UsageDelta {
        stored_bytes: signed(open.stored_bytes()),
        reserved_bytes: -signed(open.reserved_bytes),
    };
    tx.add_usage(account, usage)?;
    let length = open
        .blobs
        .iter()
        .map(|planned| planned.shape.length())
        .sum();
    add_blob_bytes(tx, account, signed(length))?;
    tx.delete_upload(account, upload)?;
    Ok(strays.queue(tx, DeleteReason::NotCommitted, context.now)?)
}

/// Receipts a segment needs to be committed: k + ⌈(n − k) / 2⌉.
#[must_use]
pub const fn receipts_needed(k: u16, n: u16) -> u16 {
    k + (n - k).div_ceil(2)
}

/// Checks that every segment has enough receipts; gathers the Hosts that had a ticket and are
/// not the one that counts.
fn check_complete(
    tx: &dyn Tx,
    context: &Context,
    account: &AccountId,
    open: &OpenUpload,
) -> Result<Deletions, CommitError> {
    let mut strays = Deletions::default();
    for (at, planned) in (0..).zip(&open.blobs) {
        let (blob, segments) = (planned.blob, planned.shape.segments());
        let needed = receipts_needed(open.class.k(), open.class.n());
        let too_few = |segment, have| CommitError::TooFewReceipts {
            blob,
            segment,
            have,
            needed,
        };
        let mut next = 0;
        while next < segments {
            let rows = tx.groups(account, &blob, next..segments, GROUPS_PER_READ)?;
            let begins = rows.first().is_some_and(|row| row.key.first == next);
            if !begins {
                return Err(too_few(next, 0));
            }
            for row in &rows {
                if row.key.first != next {
                    break;
                }
                if let Some((segment, have)) = short_segment(row, needed) {
                    return Err(too_few(segment, have));
                }
                next += u64::from(row.group.segments());
                gather_strays(tx, context, (open, at, &blob), row, &mut strays)?;
            }
        }
    }
    Ok(strays)
}

/// The first segment of a group with fewer receipts than needed, and how many it has.
fn short_segment(row: &GroupRow, needed: u16) -> Option<(u64, u16)> {
    (0..row.group.segments()).find_map(|within| {
        let planned = row.group.shard_id(within, 0) == Some(ShardId::default());
        let stored = u16::try_from(row.group.hosts(within).flatten().count()).unwrap_or(u16::MAX);
        let have = if planned { 0 } else { stored };
        (have < needed).then(|| (row.key.first + u64::from(within), have))
    })
}

/// Hosts that had a ticket for a slot of the group and do not count in it.
fn gather_strays(
    tx: &dyn Tx,
    context: &Context,
    (open, at, blob): (&OpenUpload, u16, &BlobId),
    row: &GroupRow,
    strays: &mut Deletions,
) -> Result<(), StoreError> {
    let first = row.key.first;
    let slot = |segment| SlotKey {
        blob: at,
        segment,
        index: 0,
    };
    let group = slot(first)..slot(first + u64::from(row.group.segments()));
    for (slot, hosts) in open.moved.range(group) {
        let within = u16::try_from(slot.segment - first).unwrap_or(u16::MAX);
        let kept = row.group.host(within, slot.index);
        for host in hosts.iter().filter(|host| Some(**host) != kept) {
            strays.add(tx, &context.keys, (blob, slot.segment, slot.index), *host)?;
        }
    }
    Ok(())
}
