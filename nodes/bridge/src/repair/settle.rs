//! A repaired shard takes its place: only after the signed receipt, and only where the slot still
//! is as it was when the repair was ordered.

use metastore::{FrozenSegment, HostAlias, StoreError, Tx};
use model::units::{HostId, Serial, ShardId, ShardSize, UnixMs};
use model::wire::control::DeleteReason;
use model::wire::{StoreReceipt, StoreReceiptError};

use crate::context::Context;
use crate::orders::Deletions;
use crate::place::Place;
use crate::upload::receipt_log;

/// A repair that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The place that is to be filled.
    pub place: Place,
    /// The shard.
    pub shard: ShardId,
    /// Its size.
    pub size: ShardSize,
    /// Who kept it before, if anybody.
    pub old: Option<HostAlias>,
    /// Whether the one before still counts: what it has is deleted then.
    pub old_remains: bool,
    /// Who is to keep it.
    pub new: HostAlias,
    /// Its key.
    pub host: HostId,
    /// The serial of the record.
    pub serial: Serial,
}

/// What became of a repaired shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It lies there now. Hosts that have new orders.
    Placed(Vec<HostAlias>),
    /// The slot is not what it was: what was stored is not wanted. Hosts that have new orders.
    Late(Vec<HostAlias>),
}

/// A receipt that is none for the repair.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Not a Host's receipt.
    #[error("not a receipt")]
    Receipt(#[source] StoreReceiptError),
    /// A receipt for something else.
    #[error("a receipt for something else")]
    Other,
}

/// Checks the receipt of a repair.
///
/// # Errors
/// [`SettleError`].
pub fn check(context: &Context, repair: &Repair, signed: &[u8]) -> Result<(), SettleError> {
    let receipt = StoreReceipt::open(signed).map_err(SettleError::Receipt)?;
    let fits = receipt.serial == repair.serial
        && receipt.bridge == context.keys.id
        && receipt.host == repair.host
        && receipt.shard == repair.shard
        && receipt.size == repair.size;
    if fits {
        Ok(())
    } else {
        Err(SettleError::Other)
    }
}

/// Writes the new Host into the slot, keeps the receipt, and has the old record deleted. The
/// receipt was checked.
///
/// # Errors
/// [`StoreError`].
pub fn settle(
    tx: &mut dyn Tx,
    context: &Context,
    repair: &Repair,
    signed: &[u8],
) -> Result<Settled, StoreError> {
    let Place { segment, slot } = repair.place;
    let row = segment.read(&*tx)?;
    let row =
        row.filter(|row| row.host(slot) == repair.old && row.shard(slot) == Some(repair.shard));
    let Some(mut row) = row else {
        let poked = forget(tx, context, repair.place, repair.new)?;
        return Ok(Settled::Late(poked));
    };
    row.put_host(tx, slot, Some(repair.new))?;
    receipt_log::append(tx, &repair.place, signed)?;
    let old = repair
        .old
        .filter(|old| repair.old_remains && *old != repair.new);
    let poked = match old {
        Some(old) => forget(tx, context, repair.place, old)?,
        None => Vec::new(),
    };
    Ok(Settled::Placed(poked))
}

/// Has a Host delete what it keeps for a place.
fn forget(
    tx: &mut dyn Tx,
    context: &Context,
    place: Place,
    host: HostAlias,
) -> Result<Vec<HostAlias>, StoreError> {
    let mut deletions = Deletions::default();
    let slot = (&place.segment.blob, place.segment.segment, place.slot);
    deletions.add(&*tx, &context.keys, slot, host)?;
    deletions.queue(tx, DeleteReason::Replaced, context.now)
}

/// Empties slots whose Host does not have the shard: nobody keeps it from here on, and the next
/// scan has it made anew. Slots that another Host took meanwhile stay. Returns those emptied.
///
/// Nothing is ordered to be deleted: the same Host may get the slot again, under the same serial,
/// and a delete must never come behind that. What it should not have, a retain set finds.
///
/// # Errors
/// [`StoreError`].
pub fn vacate(
    tx: &mut dyn Tx,
    host: HostAlias,
    places: &[Place],
) -> Result<Vec<Place>, StoreError> {
    let mut emptied = Vec::new();
    for place in places {
        let Some(mut row) = place.segment.read(&*tx)? else {
            continue;
        };
        if row.host(place.slot) != Some(host) {
            continue;
        }
        row.put_host(tx, place.slot, None)?;
        emptied.push(*place);
    }
    Ok(emptied)
}

/// Notes a segment whose shards do not fit together. Nobody is to blame that the Bridge could name.
///
/// # Errors
/// [`StoreError`].
pub fn freeze(tx: &mut dyn Tx, place: &Place, at: UnixMs) -> Result<bool, StoreError> {
    tx.freeze_segment(&FrozenSegment {
        account: place.segment.account,
        blob: place.segment.blob,
        segment: place.segment.segment,
        at,
    })
}
