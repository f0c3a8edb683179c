//! How far the Bridge's memory reaches. A mark grows for as long as the database lives; Hosts keep
//! the highest. One that knows a higher mark than the database proves that this is an older backup:
//! then nothing that was stored since, or might have been, is deleted.

use metastore::{
    BlobState, ROWS_PER_CALL_MAX, ReferenceDelta, ReferenceError, RetiredCursor, StoreError, Tx,
    UsageDelta,
};
use model::units::{BridgeId, UnixMs};
use model::wire::Signed;
use model::wire::upkeep::Mark;
use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;
use crate::corrupt::corrupt;
use crate::upload::plan::signed;
use crate::upload::record::UploadRecord;

const KEY: &str = "memory";
/// What was planned within this before the backup may have been committed after it.
const PLANNED_MS: u64 = 26 * 3_600_000;
/// After a loss the mark is this far above what any Host knows.
const MARK_STEP: u64 = 1_000;
/// Losses that are remembered; the oldest are forgotten.
const LOST_MAX: usize = 32;
/// Rows looked at in one step.
const ROWS_PER_STEP: u32 = 256;

/// What the Bridge knows of its own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The mark.
    pub mark: u64,
    /// When it was written.
    pub at: UnixMs,
    /// Times (from, to) of which nothing is remembered.
    #[serde(default)]
    pub lost: Vec<(UnixMs, UnixMs)>,
    /// Uploads and retired blobs from before the last loss are still to be seen to.
    #[serde(default)]
    pub unsettled: bool,
}

/// Reads it.
///
/// # Errors
/// [`StoreError`].
pub fn read(tx: &dyn Tx) -> Result<Memory, StoreError> {
    let Some(bytes) = tx.meta(KEY)? else {
        return Ok(Memory::default());
    };
    serde_json::from_slice(&bytes).map_err(|_| corrupt("meta", KEY))
}

impl Bridge {
    /// How far the memory reaches, signed for Hosts.
    pub(crate) fn mark(&self, memory: &Memory) -> Signed<Mark> {
        let mark = Mark {
            bridge: self.keys().id,
            mark: memory.mark,
            at: memory.at,
        };
        Signed::new(&self.keys().signing, &mark)
    }
}

fn write(tx: &mut dyn Tx, memory: &Memory) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(memory).map_err(|_| corrupt("meta", KEY))?;
    tx.put_meta(KEY, &bytes)
}

/// The mark grows by one; returns it.
///
/// # Errors
/// [`StoreError`].
pub fn grow(tx: &mut dyn Tx, now: UnixMs) -> Result<Memory, StoreError> {
    let mut memory = read(&*tx)?;
    memory.mark += 1;
    memory.at = now;
    write(tx, &memory)?;
    Ok(memory)
}

/// A Host shows the highest mark it keeps. Where that is above our own, the database is an older
/// backup: the time since is noted as lost, orders that wait are forgotten, and nothing is deleted
/// before [`settle`] has seen to the rest. Returns whether that is so.
///
/// # Errors
/// [`StoreError`].
pub fn shown(
    tx: &mut dyn Tx,
    bridge: &BridgeId,
    shown: &Signed<Mark>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let Ok(mark) = shown.open(&bridge.0) else {
        return Ok(false);
    };
    let mut memory = read(&*tx)?;
    if mark.bridge != *bridge || mark.mark <= memory.mark {
        return Ok(false);
    }
    let from = UnixMs(memory.at.0.saturating_sub(PLANNED_MS));
    tracing::error!(
        known = mark.mark,
        ours = memory.mark,
        "this database is an older backup: nothing stored since is deleted"
    );
    memory.lost.push((from, now));
    let surplus = memory.lost.len().saturating_sub(LOST_MAX);
    memory.lost.drain(..surplus);
    memory.mark = mark.mark + MARK_STEP;
    memory.at = now;
    memory.unsettled = true;
    write(tx, &memory)?;
    forget_orders(tx)?;
    Ok(true)
}

/// Orders from before the loss may name what was committed since.
fn forget_orders(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let rows = tx.scan_hosts(after, ROWS_PER_STEP)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.alias);
        for row in &rows {
            tx.acknowledge_orders(row.alias, u64::MAX)?;
        }
    }
}

/// Sees to some of what a loss leaves undecided; returns whether all is done. Uploads that were open
/// may have been committed since: they are forgotten, and what they stored stays with the Hosts.
/// Blobs that were retired may be in use again: their retention begins anew.
///
/// # Errors
/// [`StoreError`].
pub fn settle(tx: &mut dyn Tx, now: UnixMs) -> Result<bool, StoreError> {
    let mut memory = read(&*tx)?;
    if !memory.unsettled {
        return Ok(true);
    }
    let far = UnixMs(u64::MAX >> 1);
    let uploads = tx.expired_uploads(far, ROWS_PER_CALL_MAX)?;
    let mut forgotten = 0;
    for row in uploads {
        if let Ok(UploadRecord::Open(open)) = UploadRecord::decode(&row.body) {
            for planned in &open.blobs {
                while tx.delete_groups(&row.account, &planned.blob, ROWS_PER_CALL_MAX)? > 0 {}
                tx.delete_blob(&row.account, &planned.blob)?;
            }
            let delta = UsageDelta {
                reserved_bytes: -signed(open.reserved_bytes),
                ..UsageDelta::default()
            };
            tx.add_usage(&row.account, delta)?;
            tx.delete_upload(&row.account, &row.upload)?;
            forgotten += 1;
        }
    }
    let lost_at = memory.at;
    let retired = tx.retired_blobs(
        UnixMs(lost_at.0.saturating_sub(1)),
        None::<&RetiredCursor>,
        ROWS_PER_STEP,
    )?;
    let renewed = retired.len();
    for row in retired {
        if !matches!(row.state, BlobState::Retired { .. }) {
            continue;
        }
        for references in [1, -1] {
            let delta = ReferenceDelta {
                references,
                live_bytes: 0,
            };
            tx.add_references(&row.account, &row.blob, delta, now.max(lost_at))
                .map_err(|error| match error {
                    ReferenceError::Store(error) => error,
                    ReferenceError::UnknownBlob { .. }
                    | ReferenceError::Pending { .. }
                    | ReferenceError::Negative { .. } => corrupt("blobs", "references"),
                })?;
        }
    }
    let done = forgotten == 0 && renewed == 0;
    memory.unsettled = !done;
    write(tx, &memory)?;
    Ok(done)
}

#[cfg(test)]
mod tests;
