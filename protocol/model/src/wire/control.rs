//! The control channel: one WebSocket per Host and Bridge, dialled by the Host at
//! `/v1/hosts/control`, so that a Host needs no open port to take orders.
//!
//! Bridge: [`FromBridge::Challenge`]; Host: [`FromHost::Hello`]; Bridge: [`FromBridge::Welcome`]
//! (or [`FromBridge::Refused`] and close). Then heartbeats one way and orders the other. Every
//! message is one JSON text frame of at most
//! [`CONTROL_MESSAGE_BYTES_MAX`](super::limits::CONTROL_MESSAGE_BYTES_MAX).

use serde::{Deserialize, Serialize};

pub use super::ProtocolVersions;
use super::audit::{Challenge, Proof};
use super::repair::{RepairOrder, Repaired};
use super::upkeep::{Holdings, HostEvent, Inventory, Leave, LeaveProgress, Mark, RetainSet};
use super::{Problem, Schedule, Signed, SignedKind};
use crate::units::{BridgeId, HostId, Serial, UnixMs};

/// What a Bridge says to a Host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromBridge {
    /// First message: the Host must sign the nonce.
    Challenge {
        /// The Bridge that asks.
        bridge: BridgeId,
        /// 32 fresh random bytes, hexadecimal.
        nonce: String,
        /// Protocol version spoken, and the oldest accepted.
        protocol: ProtocolVersions,
    },
    /// The Host is known and counted as online from now on.
    Welcome {
        /// Milliseconds between heartbeats; more than three missed mean suspect.
        heartbeat_ms: u64,
        /// The zone the Bridge counts this Host in.
        zone: String,
        /// The highest order the Bridge knows to be done.
        orders_done: u64,
    },
    /// The Host is not accepted; the channel closes.
    Refused {
        /// Why.
        problem: Problem,
    },
    /// Whether the Bridge reached the offered addresses. Unreachable Hosts get no shards.
    Reachability {
        /// It did.
        reachable: bool,
        /// What happened, and the way out.
        detail: String,
    },
    /// An order, signed by the Bridge.
    Order {
        /// The order.
        order: Signed<Order>,
    },
    /// A challenge; the Host answers with [`FromHost::Proof`]. One at a time. This and all below
    /// from version [`HEALS`](super::HEALS) on.
    Audit {
        /// The challenge.
        challenge: Signed<Challenge>,
    },
    /// A shard to be made anew; the Host answers with [`FromHost::Repaired`].
    Repair {
        /// The order.
        order: Signed<RepairOrder>,
    },
    /// Which records are there; the Host answers with [`FromHost::Holdings`].
    Inventory {
        /// The question.
        inventory: Inventory,
    },
    /// Which records are to stay; the Host answers with [`FromHost::Retained`].
    Retain {
        /// The set.
        set: Signed<RetainSet>,
    },
    /// A decision about the Host. All since the one the Host saw last, in order.
    Event {
        /// The event.
        event: Signed<HostEvent>,
    },
    /// How far the Bridge's memory reaches.
    Mark {
        /// The mark.
        mark: Signed<Mark>,
    },
    /// How leaving goes.
    Leaving {
        /// So far.
        progress: LeaveProgress,
    },
}

/// What a Host says to a Bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHost {
    /// Answer to the challenge: who the Host is and what it offers.
    Hello {
        /// Signed by the Host's key.
        hello: Signed<Hello>,
    },
    /// The Host is there.
    Heartbeat {
        /// How it is.
        state: HostState,
    },
    /// The order `seq` and all before it are done and durable.
    OrdersDone {
        /// The highest order done.
        seq: u64,
    },
    /// The answer to a challenge.
    Proof {
        /// The answer.
        proof: Proof,
    },
    /// What became of a repair order.
    Repaired {
        /// Its end.
        repaired: Repaired,
    },
    /// The answer to an inventory.
    Holdings {
        /// The answer.
        holdings: Holdings,
    },
    /// A retain set was taken or refused.
    Retained {
        /// Records that went into the trash.
        trashed: u64,
        /// Why nothing was done, where that is so.
        #[serde(default)]
        refused: Option<String>,
    },
    /// The Host wants to leave, or to stay after all.
    Leave {
        /// Signed by the Host's key.
        leave: Signed<Leave>,
    },
}

/// A Host's proof of its key and its signed offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The Host.
    pub host: HostId,
    /// The Bridge it believes to talk to.
    pub bridge: BridgeId,
    /// The challenge's nonce.
    pub nonce: String,
    /// Protocol versions.
    pub protocol: ProtocolVersions,
    /// Program and version, `xcore/0.1.0` say.
    pub agent: String,
    /// What it offers.
    pub offer: Offer,
    /// How it is now.
    pub state: HostState,
    /// The highest event of this Bridge that it keeps.
    #[serde(default)]
    pub events_seen: u64,
    /// The highest mark of this Bridge that it keeps, as the Bridge signed it.
    #[serde(default)]
    pub mark: Option<Signed<Mark>>,
    /// The highest order of this Bridge that it has done.
    #[serde(default)]
    pub orders_done: u64,
}

impl SignedKind for Hello {
    const KIND: &'static str = "hello";
}

/// How much, when and for how long a Host rents out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// A name for people, at most [`NAME_BYTES_MAX`](super::limits::NAME_BYTES_MAX) bytes.
    pub name: String,
    /// Where its data plane listens, `ip:port`.
    pub addresses: Vec<String>,
    /// Bytes offered to this Bridge.
    pub space_bytes: u64,
    /// Most bytes per second it sends, if capped.
    #[serde(default)]
    pub bandwidth_up: Option<u64>,
    /// Most bytes per second it receives, if capped.
    #[serde(default)]
    pub bandwidth_down: Option<u64>,
    /// Promised hours.
    #[serde(default)]
    pub schedule: Schedule,
    /// The zone it says it is in; counts only where the Bridge trusts it.
    #[serde(default)]
    pub zone: Option<String>,
    /// The region it says it is in, `eu-west` say.
    #[serde(default)]
    pub region: Option<String>,
    /// When the offer ends, if it does.
    #[serde(default)]
    pub until: Option<UnixMs>,
}

/// How a Host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Bytes on disk for shards, including overhead and what waits to be freed.
    pub used_bytes: u64,
    /// Bytes that new shards may take.
    pub free_bytes: u64,
    /// Records stored.
    pub shards: u64,
    /// Paused by its owner, or outside its hours: takes no new shards and serves none.
    pub paused: bool,
    /// Volumes that it cannot see now; what lies on them is not lost.
    #[serde(default)]
    pub volumes_away: u32,
    /// Shards that have rotted on its disks.
    #[serde(default)]
    pub shards_rotten: u64,
    /// Bytes in its trash: they make room for new shards when it is needed.
    #[serde(default)]
    pub trash_bytes: u64,
}

/// What a Bridge orders a Host to do. Orders are numbered from 1 per Host, without gaps; the Host
/// refuses to go back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The Bridge that orders.
    pub bridge: BridgeId,
    /// The Host that is to do it.
    pub host: HostId,
    /// Its number.
    pub seq: u64,
    /// When it was given.
    pub at: UnixMs,
    /// What to do.
    pub kind: OrderKind,
}

impl SignedKind for Order {
    const KIND: &'static str = "order";
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum OrderKind {
    /// Remove these records. Unknown serials are done already.
    Delete {
        /// At most [`SERIALS_PER_ORDER_MAX`](super::limits::SERIALS_PER_ORDER_MAX).
        serials: Vec<Serial>,
        /// Why.
        reason: DeleteReason,
    },
}

/// Why records are to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteReason {
    /// Their upload was never committed, or another Host took the slot. Until this order a Host
    /// keeps what it stored: silence means keep.
    NotCommitted,
    /// Nothing refers to them any more and their retention is over.
    Retired,
    /// The owner destroyed them.
    Purged,
    /// They lie elsewhere now. From version [`HEALS`](super::HEALS) on; before, `Retired` is said.
    Replaced,
}
