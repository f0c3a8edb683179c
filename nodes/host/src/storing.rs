//! What every way to store a shard shares, be it an upload or a repair: whether it is here already,
//! whether there is room, and the receipt once it is durable.

use std::sync::Arc;

use model::units::{BridgeId, ShardId, ShardSize};
use model::wire::{Problem, ProblemCode, StoreReceipt};
use shardstore::{NoSpace, PutError, RecordKey, Room, Stored, WriteError};

use crate::bridges::{OverQuota, QuotaRoom};
use crate::host::Node;
use crate::join::with_causes;
use crate::limits::TRASH_ROUNDS_MAX;
use crate::refusal::Refusal;
use crate::trash;

/// A retry of what is stored already is answered like the first time, its body unread.
/// What was in the trash is out of it before that is said.
pub(crate) async fn already_stored(
    node: &Arc<Node>,
    key: RecordKey,
    id: ShardId,
) -> Result<Option<Stored>, Refusal> {
    let settled = trash::settle(node, key, id).await;
    settled.map_err(|error| {
        tracing::error!(error = with_causes(&error), "trash not settled");
        Refusal::new(ProblemCode::Internal, "this host could not store the shard")
    })?;
    match node.volumes.find(key) {
        Ok(None) => Ok(None),
        Ok(Some((found, stored))) if found == id => Ok(Some(stored)),
        Ok(Some((bound, _))) => Err(serial_bound(bound)),
        Err(error) => Err(not_stored(&PutError::Write(error))),
    }
}

/// Room in the Bridge's quota and on a volume. Where there is none, the oldest trash makes room.
pub(crate) async fn room(
    node: &Arc<Node>,
    bridge: BridgeId,
    size: ShardSize,
) -> Result<(Option<QuotaRoom>, Room), Refusal> {
    for _ in 0..TRASH_ROUNDS_MAX {
        let refused = match try_room(node, bridge, size) {
            Ok(room) => return Ok(room),
            Err(refused) => refused,
        };
        let (of, wanted_bytes) = match &refused {
            NoRoom::Quota(over) => (Some(bridge), over.wanted_bytes - over.free_bytes),
            NoRoom::Volumes(NoSpace::NoVolume) => return Err(refused.into()),
            NoRoom::Volumes(_) => (None, u64::from(size.bytes())),
        };
        if !trash::give_up(node, of, wanted_bytes).await {
            return Err(refused.into());
        }
    }
    Ok(try_room(node, bridge, size)?)
}

/// Why there is no room.
enum NoRoom {
    Quota(OverQuota),
    Volumes(NoSpace),
}

impl From<NoRoom> for Refusal {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Quota(over) => {
                let facts = serde_json::json!({
                    "needed": over.wanted_bytes, "free": over.free_bytes, "quota": over.quota_bytes,
                });
                Self(Problem::new(ProblemCode::NoSpace, over.to_string()).with_facts(facts))
            }
            NoRoom::Volumes(error @ NoSpace::NoVolume) => {
                Self::new(ProblemCode::Unavailable, error.to_string())
            }
            NoRoom::Volumes(error @ (NoSpace::Quota { .. } | NoSpace::FileSystem { .. })) => {
                let detail = format!("this host has no space left: {error}");
                Self::new(ProblemCode::NoSpace, detail)
            }
        }
    }
}

fn try_room(
    node: &Node,
    bridge: BridgeId,
    size: ShardSize,
) -> Result<(Option<QuotaRoom>, Room), NoRoom> {
    let bytes = size.bytes();
    let held = node.volumes.held_by(&bridge).bytes;
    // It is one of ours: its ticket was honoured, or its order came over its channel.
    let quota = match node.bridges.of(&bridge) {
        Some(link) => link.reserve(held, bytes).map_err(NoRoom::Quota)?,
        None => None,
    };
    let (wanted_bytes, free_bytes) = (u64::from(bytes), node.offered_left());
    if wanted_bytes > free_bytes {
        return Err(NoRoom::Volumes(NoSpace::Quota {
            wanted_bytes,
            free_bytes,
        }));
    }
    let room = node.volumes.reserve(bytes).map_err(NoRoom::Volumes)?;
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
