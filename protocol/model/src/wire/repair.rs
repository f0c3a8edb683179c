//! Repair: a Bridge orders a Host to fetch or restore a shard that lies on too few others, and to
//! keep it. The Bridge moves no data; the Host believes the known id only.

use serde::{Deserialize, Serialize};

use super::api::Sighting;
use super::{Base64, SignedKind};
use crate::units::{BridgeId, HostId, OwnerTag, Serial, ShardId, UnixMs};

/// "Get this shard from one that has it, or restore it from any k others, and keep it."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairOrder {
    /// Who orders.
    pub bridge: BridgeId,
    /// Who is to do it.
    pub host: HostId,
    /// Names the order in its answer.
    pub id: Serial,
    /// The serial of the record that is to be made.
    pub serial: Serial,
    /// Under which owner tag it is kept.
    pub owner_tag: OwnerTag,
    /// The shard that is wanted.
    pub shard: ShardId,
    /// Its size, and that of every other shard of the segment.
    pub shard_bytes: u32,
    /// Its place in the segment.
    pub index: u16,
    /// Shards that restore a segment; 1 for mirrors.
    pub k: u16,
    /// Shards of the segment.
    pub n: u16,
    /// Where shards of the segment are, best first: those with the wanted id are copied, else any
    /// k are decoded. At most [`REPAIR_SOURCES_MAX`](super::limits::REPAIR_SOURCES_MAX).
    pub sources: Vec<RepairSource>,
    /// After this it is not begun.
    pub expires: UnixMs,
}

impl SignedKind for RepairOrder {
    const KIND: &'static str = "repair-order";
}

/// A Host that has a shard of the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairSource {
    /// The Host.
    pub host: HostId,
    /// `ip:port`, best first.
    pub addresses: Vec<String>,
    /// The place of its shard in the segment.
    pub index: u16,
    /// Its shard.
    pub shard: ShardId,
    /// Permits to read it: a signed ticket for `RepairGet`.
    pub ticket: Base64,
}

/// What became of a repair order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// The order.
    pub id: Serial,
    /// How it ended.
    pub outcome: RepairOutcome,
    /// What was seen of sources that did not deliver; convicts nobody.
    #[serde(default)]
    pub saw: Vec<SourceSeen>,
}

/// A source that did not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSeen {
    /// The Host.
    pub host: HostId,
    /// The place of its shard in the segment.
    pub index: u16,
    /// What it did.
    pub saw: Sighting,
}

/// How a repair ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum RepairOutcome {
    /// The shard is durable here.
    Stored {
        /// The signed receipt.
        receipt: Base64,
    },
    /// Too few sources delivered.
    Sources,
    /// Any k verified shards make another shard than the known one: the segment was committed
    /// with parity that does not fit. Nobody on the way is to blame.
    Inconsistent {
        /// What they make.
        found: ShardId,
    },
    /// This Host has no room, is paused or at its limits.
    Refused {
        /// Why, in words.
        detail: String,
    },
    /// The order is not one this Host carries out.
    Malformed {
        /// Why, in words.
        detail: String,
    },
}
