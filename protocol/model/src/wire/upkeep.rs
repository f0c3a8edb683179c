//! What a Bridge and a Host tell each other beside orders: events with their reasons, which
//! records are here, which are to stay, how far a Bridge's memory reaches, and how leaving goes.

use serde::{Deserialize, Serialize};

use super::{Base64, SignedKind};
use crate::units::{BridgeId, HostId, Serial, UnixMs};

/// A decision about a Host, signed by the Bridge that took it, with its reason in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEvent {
    /// Who decided.
    pub bridge: BridgeId,
    /// About whom.
    pub host: HostId,
    /// Its number: from 1 per Host, without gaps.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// What.
    pub kind: HostEventKind,
    /// Why, and the way out; for people.
    pub reason: String,
}

impl SignedKind for HostEvent {
    const KIND: &'static str = "host-event";
}

/// What was decided about a Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostEventKind {
    /// It joined for the first time.
    Joined,
    /// It gets a full share of new shards from now on.
    Vetted,
    /// It is silent beyond its hours: its shards count as missing.
    Absent,
    /// It is given up: what it kept is made anew elsewhere.
    Lost,
    /// It came back after it was absent or lost: what is still wanted of its shards counts again.
    Returned,
    /// An audit proved that it does not keep a shard it signed for.
    AuditFailed,
    /// It did not answer an audit in time, again and again.
    AuditUnanswered,
    /// It said by itself that shards are gone or have rotted.
    ShardsLost,
    /// Its record of audits is too bad: it gets no more shards, and those it has move away.
    Disqualified,
    /// It asked to leave, or to give space back.
    LeavingBegun,
    /// All that was to move has moved.
    LeavingDone,
    /// It took that back.
    LeavingCancelled,
    /// The Bridge's operator declared it lost.
    DeclaredLost,
    /// The Bridge's memory went back: it deletes nothing on its word until it has caught up.
    Frozen,
}

/// "Which of these records do you have?" Cheap: no disk is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Names the question in its answer.
    pub id: Serial,
    /// Serials, 16 bytes each; at most
    /// [`SERIALS_PER_INVENTORY_MAX`](super::limits::SERIALS_PER_INVENTORY_MAX).
    pub serials: Base64,
}

/// A Host's word on an inventory, given over its own channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The question.
    pub id: Serial,
    /// Places in the question of records that are gone, or whose bytes have rotted. Those that
    /// may lie on a volume that is away are not among them.
    pub gone: Vec<u32>,
    /// Places of those that may lie on a volume that is away.
    #[serde(default)]
    pub unseen: Vec<u32>,
}

/// "Of your records with serials in this range, stored before that time, these are to stay."
/// Others go into the Host's trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainSet {
    /// Whose records.
    pub bridge: BridgeId,
    /// At which Host.
    pub host: HostId,
    /// Newest order when the set was made: a Host that has done later ones refuses the set.
    pub order_seq: u64,
    /// How far the Bridge's memory reached: see [`Mark`].
    pub mark: u64,
    /// Records stored at or after this are not looked at.
    pub created_before: UnixMs,
    /// Times (from, to) of which the Bridge remembers nothing: records stored in them stay.
    #[serde(default)]
    pub except: Vec<(UnixMs, UnixMs)>,
    /// First serial of the range.
    pub first: Serial,
    /// Last serial of the range, inclusive.
    pub last: Serial,
    /// Serials that stay, 16 bytes each, ascending; at most
    /// [`SERIALS_PER_RETAIN_SET_MAX`](super::limits::SERIALS_PER_RETAIN_SET_MAX).
    pub live: Base64,
}

impl SignedKind for RetainSet {
    const KIND: &'static str = "retain-set";
}

/// How far a Bridge's memory reaches: grows by one with every minute that its database lives
/// through. A Host keeps the highest; a lower one means that the Bridge was restored from an
/// older backup, and then nothing is deleted on its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The Bridge.
    pub bridge: BridgeId,
    /// The count.
    pub mark: u64,
    /// When it was reached.
    pub at: UnixMs,
}

impl SignedKind for Mark {
    const KIND: &'static str = "bridge-mark";
}

/// A Host's wish to leave, wholly or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The Host.
    pub host: HostId,
    /// Which Bridge.
    pub bridge: BridgeId,
    /// What is wished.
    pub wish: LeaveWish,
    /// When; a Bridge goes by the latest.
    pub at: UnixMs,
}

impl SignedKind for Leave {
    const KIND: &'static str = "host-leave";
}

/// How much of what it keeps a Host wants to be rid of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum LeaveWish {
    /// Nothing: it stays.
    Stay,
    /// So many bytes.
    Part {
        /// Bytes of shards that are to move elsewhere.
        bytes: u64,
    },
    /// Everything.
    All,
}

/// How leaving goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveProgress {
    /// What is being done.
    pub wish: LeaveWish,
    /// Bytes that have moved.
    pub moved_bytes: u64,
    /// Shards that have moved.
    pub moved_shards: u64,
    /// Bytes that are still to move, as far as the last scan found.
    pub left_bytes: u64,
    /// Shards that are still to move.
    pub left_shards: u64,
    /// Whether nothing is left to do.
    pub done: bool,
}
