//! Who is there now: all Hosts in memory, changed by their control channels.
//!
//! The store keeps what must outlive the process; heartbeats stay here and are written in
//! batches. Every lock is held for a moment and never across an await.

mod entry;
mod healing;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metastore::{HostAlias, HostRow};
use model::placement::Region;
use model::units::{HostId, UnixMs};
use model::wire::control::{FromBridge, HostState};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use self::entry::{Entry, Link};
pub use self::healing::{Beliefs, Believed};
pub use self::watch::Change;
use super::offer::StoredOffer;
use super::roster::{HostCard, Roster};
use crate::timing::Timing;

/// Regions that get a number of their own.
const REGIONS_MAX: usize = 1_024;
/// What standing is left after one failure, in percent of what it was.
const STANDING_KEPT_PERCENT: u32 = 70;
/// Standing never falls below this, so that a Host can recover.
const STANDING_MIN_PPM: u32 = 20_000;
pub(super) const PPM: u32 = 1_000_000;
/// Messages that wait for a Host's channel; a Host with more is not sent any.
const OUTBOX_MAX: usize = 64;

/// All Hosts that ever joined, and which of them are connected.
#[derive(Debug)]
pub struct Directory {
    timing: Timing,
    hosts: Mutex<Hosts>,
    roster: Mutex<Arc<Roster>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Hosts {
    by_alias: BTreeMap<HostAlias, Entry>,
    regions: BTreeMap<String, Region>,
    links_made: u64,
}

/// A control channel's place in the directory; the newest of a Host counts.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// The Host.
    pub alias: HostAlias,
    number: u64,
    /// Rings when orders or events are waiting.
    pub orders: Arc<Notify>,
    /// Fires when a newer channel of the same Host takes over.
    pub end: CancellationToken,
}

/// A Host that connects.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its small number.
    pub alias: HostAlias,
    /// Its key.
    pub id: HostId,
    /// What it offers.
    pub offer: StoredOffer,
    /// How it is.
    pub state: HostState,
    /// The protocol version spoken with it.
    pub version: u16,
}

impl Directory {
    /// The Hosts of the store; nobody is connected yet. `alive` is when the Bridge was there last:
    /// while it was not, nobody was silent.
    #[must_use]
    pub fn new(timing: Timing, rows: &[HostRow], (alive, now): (UnixMs, UnixMs)) -> Self {
        let entries = rows.iter().filter_map(|row| {
            let alias = row.alias;
            let entry = Entry::of(row, (alive, now)).inspect_err(|error| {
                tracing::error!(host = alias.0, %error, "a stored host is unreadable");
            });
            Some((alias, entry.ok()?))
        });
        let hosts = Hosts {
            by_alias: entries.collect(),
            ..Hosts::default()
        };
        let roster = Arc::new(Roster::new(BTreeMap::new()));
        let directory = Self {
            timing,
            hosts: Mutex::new(hosts),
            roster: Mutex::new(roster),
            changed: Notify::new(),
        };
        directory.rebuild(now);
        directory
    }

    /// The Hosts as they were when the roster was last rebuilt.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Builds a new roster.
    pub fn rebuild(&self, now: UnixMs) {
        let cards = self.lock().cards(&self.timing, now);
        let roster = Arc::new(Roster::new(cards));
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = roster;
    }

    /// Waits until something changed that a new roster would show.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A Host's channel is open: it counts as connected, and for plans once it is reachable.
    /// Returns what is to be sent to it from now on as well.
    pub fn connect(
        &self,
        arrival: Arrival,
        now: UnixMs,
    ) -> (LinkHandle, mpsc::Receiver<FromBridge>) {
        let mut hosts = self.lock();
        hosts.links_made += 1;
        let number = hosts.links_made;
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let Arrival {
            alias,
            id,
            offer,
            state,
            version,
        } = arrival;
        let link = Link {
            number,
            state,
            version,
            reachable: false,
            outbox,
            orders: Arc::new(Notify::new()),
            end: CancellationToken::new(),
        };
        let handle = LinkHandle {
            alias,
            number,
            orders: Arc::clone(&link.orders),
            end: link.end.clone(),
        };
        let entry = hosts.by_alias.entry(alias);
        let entry = entry.or_insert_with(|| Entry::new(id, offer.clone(), now));
        entry.offer = offer;
        if let Some(older) = entry.link.replace(link) {
            older.end.cancel();
        }
        drop(hosts);
        self.changed.notify_one();
        (handle, messages)
    }

    /// A heartbeat.
    pub fn heard(&self, link: &LinkHandle, state: HostState, now: UnixMs) {
        let mut hosts = self.lock();
        let Some(entry) = hosts.linked(link) else {
            return;
        };
        entry.planned_bytes = 0;
        entry.standing_ppm += (PPM - entry.standing_ppm) / 10;
        entry.hear(state, now);
        drop(hosts);
        self.changed.notify_one();
    }

    /// Whether the Host's addresses answered.
    pub fn set_reachable(&self, link: &LinkHandle, reachable: bool, now: UnixMs) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.linked(link) {
            entry.seen(now);
            if let Some(link) = &mut entry.link {
                link.reachable = reachable;
            }
            entry.seen(now);
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// A channel ended. Another one of the same Host stays.
    pub fn disconnect(&self, link: &LinkHandle, now: UnixMs) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.linked(link) {
            entry.seen(now);
            entry.link = None;
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// Rings the channels of Hosts that have new orders or events.
    pub fn ring(&self, aliases: &[HostAlias]) {
        let hosts = self.lock();
        for alias in aliases {
            let entry = hosts.by_alias.get(alias);
            if let Some(link) = entry.and_then(|entry| entry.link.as_ref()) {
                link.orders.notify_one();
            }
        }
    }

    /// Counts bytes that a plan sends to a Host, until its next heartbeat tells.
    pub fn plan_bytes(&self, planned: impl Iterator<Item = (HostAlias, u64)>) {
        let mut hosts = self.lock();
        for (alias, bytes) in planned {
            if let Some(entry) = hosts.by_alias.get_mut(&alias) {
                entry.planned_bytes = entry.planned_bytes.saturating_add(bytes);
            }
        }
    }

    /// Lowers the standing of Hosts that somebody had trouble with; heartbeats restore it.
    pub fn lower(&self, aliases: impl Iterator<Item = HostAlias>) {
        let mut hosts = self.lock();
        for alias in aliases {
            if let Some(entry) = hosts.by_alias.get_mut(&alias) {
                let lowered = entry.standing_ppm / 100 * STANDING_KEPT_PERCENT;
                entry.standing_ppm = lowered.max(STANDING_MIN_PPM);
            }
        }
        drop(hosts);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    /// The entry whose newest channel is `link`.
    fn linked(&mut self, link: &LinkHandle) -> Option<&mut Entry> {
        let entry = self.by_alias.get_mut(&link.alias)?;
        entry
            .link
            .as_ref()
            .is_some_and(|newest| newest.number == link.number)
            .then_some(entry)
    }

    fn cards(&mut self, timing: &Timing, now: UnixMs) -> BTreeMap<HostAlias, HostCard> {
        let Self {
            by_alias, regions, ..
        } = self;
        let card = |(alias, entry): (&HostAlias, &Entry)| {
            let region = entry.offer.offer.region.as_deref();
            let region = region.map_or(Region::UNKNOWN, |name| number_region(regions, name));
            (*alias, entry.card(timing, *alias, region, now))
        };
        by_alias.iter().map(card).collect()
    }
}

fn number_region(regions: &mut BTreeMap<String, Region>, name: &str) -> Region {
    if let Some(region) = regions.get(name) {
        return *region;
    }
    if regions.len() >= REGIONS_MAX {
        return Region::UNKNOWN;
    }
    let region = Region(u16::try_from(regions.len() + 1).unwrap_or(0));
    regions.insert(name.to_owned(), region);
    region
}

#[cfg(test)]
mod tests;
