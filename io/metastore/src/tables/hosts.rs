//! Hosts under small numbers that never change, and the orders that wait for each of them.

use model::units::{HostId, UnixMs};

use crate::StoreError;

/// The small number a Host goes by in groups; 0 in a group means "not stored".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAlias(pub u32);

/// What the Bridge believes about a Host's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostState {
    /// Connected.
    Online,
    /// Away within hours it declared.
    ScheduledOff,
    /// Silent for a while.
    Suspect,
    /// Silent for long: its shards count as missing.
    Absent,
    /// Given up, or gone with a signed exit.
    Lost,
}

/// What changes about a Host from minute to minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// The Host.
    pub alias: HostAlias,
    /// Its presence.
    pub state: HostState,
    /// When it was last heard.
    pub last_seen: UnixMs,
}

/// A Host's record of audits, as a beta distribution in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reputation {
    /// Weight of passed audits, in millionths.
    pub alpha_millionths: u64,
    /// Weight of failed audits, in millionths.
    pub beta_millionths: u64,
    /// Audits passed, ever.
    pub audits_passed: u64,
}

/// A Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// Its number: from 1, never reused.
    pub alias: HostAlias,
    /// Its public key.
    pub id: HostId,
    /// What it offers (addresses, zone, capacity, schedule), in the Bridge's own encoding.
    pub offer: Vec<u8>,
    /// When it first joined.
    pub joined: UnixMs,
    /// Its presence.
    pub state: HostState,
    /// When it was last heard.
    pub last_seen: UnixMs,
    /// Its record of audits.
    pub reputation: Reputation,
    /// What else is known of it, in the Bridge's own encoding; empty for a new one.
    pub record: Vec<u8>,
}

/// Which log of a Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostLog {
    /// Decisions about it.
    Events,
    /// Verdicts of audits.
    Audits,
}

/// An entry of a Host's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLogRow {
    /// Its number in that log of that Host: from 1, never reused, without gaps but those asked for.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// The entry, in the Bridge's own encoding.
    pub body: Vec<u8>,
}

/// An order that waits for a Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Its number for that Host: from 1, never reused.
    pub seq: u64,
    /// The order, in the Bridge's own encoding.
    pub body: Vec<u8>,
}

/// Hosts and orders. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait HostTable {
    /// Adds a Host under the next free alias, online and heard at `now`, or replaces the offer of
    /// a known one and nothing else. Returns its alias.
    fn upsert_host(
        &mut self,
        id: &HostId,
        offer: &[u8],
        now: UnixMs,
    ) -> Result<HostAlias, StoreError>;

    /// Returns a Host by its alias.
    fn host(&self, alias: HostAlias) -> Result<Option<HostRow>, StoreError>;

    /// Returns a Host by its key.
    fn host_by_id(&self, id: &HostId) -> Result<Option<HostRow>, StoreError>;

    /// Returns up to `limit` Hosts in the order of their aliases, after `after`.
    fn scan_hosts(&self, after: Option<HostAlias>, limit: u32) -> Result<Vec<HostRow>, StoreError>;

    /// Sets presence and last time heard of many Hosts; returns how many exist.
    fn update_hosts(&mut self, statuses: &[HostStatus]) -> Result<u64, StoreError>;

    /// Sets a Host's record of audits; `false` where there is no such Host.
    fn set_reputation(
        &mut self,
        alias: HostAlias,
        reputation: Reputation,
    ) -> Result<bool, StoreError>;

    /// Replaces what else is known of a Host; `false` where there is no such Host.
    fn set_record(&mut self, alias: HostAlias, record: &[u8]) -> Result<bool, StoreError>;

    /// Appends to a log of a Host and returns the entry's number: the next one, and above the number
    /// given with the log.
    /// `None` where there is no such Host.
    fn append_log(
        &mut self,
        alias: HostAlias,
        log: (HostLog, u64),
        at: UnixMs,
        body: &[u8],
    ) -> Result<Option<u64>, StoreError>;

    /// Returns up to `limit` entries of a log numbered above `after`, in order.
    fn host_log(
        &self,
        alias: HostAlias,
        log: HostLog,
        after: u64,
        limit: u32,
    ) -> Result<Vec<HostLogRow>, StoreError>;

    /// Returns the number of the newest entry of a log; 0 where there is none.
    fn newest_log(&self, alias: HostAlias, log: HostLog) -> Result<u64, StoreError>;

    /// Removes up to `limit` entries of a log, of all Hosts, that are older than `before`, but never
    /// a Host's newest; returns how many.
    fn sweep_log(&mut self, log: HostLog, before: UnixMs, limit: u32) -> Result<u64, StoreError>;

    /// Queues an order and returns its number; `None` where there is no such Host.
    fn push_order(&mut self, alias: HostAlias, body: &[u8]) -> Result<Option<u64>, StoreError>;

    /// Returns up to `limit` waiting orders numbered above `after`, in order.
    fn pending_orders(
        &self,
        alias: HostAlias,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, StoreError>;

    /// The next order's number will be above `seq`; numbers never go back.
    fn raise_order_seq(&mut self, alias: HostAlias, seq: u64) -> Result<(), StoreError>;

    /// Removes the orders up to and with number `up_to`; returns how many. Numbers go on.
    fn acknowledge_orders(&mut self, alias: HostAlias, up_to: u64) -> Result<u64, StoreError>;
}
