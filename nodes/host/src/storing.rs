//! What every way to store a shard shares, be it an upload or a repair: whether it is here already,
//! whether there is room, and the receipt once it is durable.

use model::units::{BridgeId, ShardId, ShardSize};
use model::wire::{Problem, ProblemCode, StoreReceipt};
use shardstore::{NoSpace, PutError, RecordKey, Room, Stored, WriteError};

use crate::bridges::QuotaRoom;
use crate::host::Node;
use crate::join::with_causes;
use crate::refusal::Refusal;

/// A retry of what is stored already is answered like the first time, its body unread.
pub(crate) fn already_stored(
    node: &Node,
    key: RecordKey,
    id: ShardId,
) -> Result<Option<Stored>, Refusal> {
    match node.volumes.find(key) {
        Ok(None) => Ok(None),
        Ok(Some((found, stored))) if found == id => Ok(Some(stored)),
        Ok(Some((bound, _))) => Err(serial_bound(bound)),
        Err(error) => Err(not_stored(&PutError::Write(error))),
    }
}

/// Room in the Bridge's quota and on a volume.
pub(crate) fn room(
    node: &Node,
    bridge: BridgeId,
    size: ShardSize,
) -> Result<(Option<QuotaRoom>, Room), Refusal> {
    let bytes = size.bytes();
    let held = node.volumes.held_by(&bridge).bytes;
    // It is one of ours: its ticket was honoured, or its order came over its channel.
    let quota = match node.bridges.of(&bridge) {
        Some(link) => link.reserve(held, bytes).map_err(|over| {
            let facts = serde_json::json!({
                "needed": over.wanted_bytes, "free": over.free_bytes, "quota": over.quota_bytes,
            });
            Problem::new(ProblemCode::NoSpace, over.to_string()).with_facts(facts)
        })?,
        None => None,
    };
    let room = node.volumes.reserve(bytes).map_err(|error| match error {
        NoSpace::NoVolume => Refusal::new(ProblemCode::Unavailable, error.to_string()),
        NoSpace::Quota { .. } | NoSpace::FileSystem { .. } => Refusal::new(
            ProblemCode::NoSpace,
            format!("this host has no space left: {error}"),
        ),
    })?;
    Ok((quota, room))
}

/// The receipt for what is durable.
pub(crate) fn signed_receipt(
    node: &Node,
    key: RecordKey,
    (shard, size): (ShardId, ShardSize),
    stored: &Stored,
) -> Vec<u8> {
    let receipt = StoreReceipt {
        serial: key.serial,
        bridge: key.bridge,
        host: node.id,
        shard,
        size,
        stored: stored.created,
    };
    receipt.sign(&node.key)
}

/// Why a shard was not stored, as an answer.
pub(crate) fn not_stored(error: &PutError) -> Refusal {
    match error {
        PutError::SerialBound { bound } => serial_bound(*bound),
        PutError::Write(WriteError::DiskFull) => {
            Refusal::new(ProblemCode::NoSpace, "this host's disk is full")
        }
        PutError::Write(error) => {
            tracing::error!(error = with_causes(error), "shard not stored");
            Refusal::new(ProblemCode::Internal, "this host could not store the shard")
        }
    }
}

fn serial_bound(bound: ShardId) -> Refusal {
    let detail = format!("the ticket's serial is bound to shard {bound}");
    Refusal::new(ProblemCode::SerialBound, detail)
}
