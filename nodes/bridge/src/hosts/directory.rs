//! Who is there now: all Hosts in memory, changed by their control channels.
//!
//! The store keeps what must outlive the process; heartbeats stay here and are written in
//! batches. Every lock is held for a moment and never across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metastore::{HostAlias, HostRow, HostStatus};
use model::placement::{Candidate, Region, online_ppm};
use model::units::{HostId, UnixMs};
use model::wire::api::HostAddress;
use model::wire::control::HostState;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::offer::{StoredOffer, zone_number};
use super::presence::presence;
use super::roster::{HostCard, Roster};
use crate::timing::Timing;

/// Regions that get a number of their own.
const REGIONS_MAX: usize = 1_024;
/// What standing is left after one failure, in percent of what it was.
const STANDING_KEPT_PERCENT: u32 = 70;
/// Standing never falls below this, so that a Host can recover.
const STANDING_MIN_PPM: u32 = 20_000;
const PPM: u32 = 1_000_000;
/// Passed audits after which a Host counts as vetted.
const VETTED_AUDITS: u64 = 100;

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

#[derive(Debug)]
struct Entry {
    id: HostId,
    offer: StoredOffer,
    audits_passed: u64,
    last_seen: UnixMs,
    written: (metastore::HostState, UnixMs),
    /// How it did lately, in this process's eyes only.
    standing_ppm: u32,
    /// Bytes planned for it since its last heartbeat.
    planned_bytes: u64,
    link: Option<Link>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    state: HostState,
    reachable: bool,
    orders: Arc<Notify>,
    end: CancellationToken,
}

/// A control channel's place in the directory; the newest of a Host counts.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// The Host.
    pub alias: HostAlias,
    number: u64,
    /// Rings when orders are waiting.
    pub orders: Arc<Notify>,
    /// Fires when a newer channel of the same Host takes over.
    pub end: CancellationToken,
}

impl Directory {
    /// The Hosts of the store; nobody is connected yet.
    #[must_use]
    pub fn new(timing: Timing, rows: Vec<HostRow>, now: UnixMs) -> Self {
        let entries = rows.into_iter().filter_map(|row| {
            let offer: StoredOffer = serde_json::from_slice(&row.offer)
                .inspect_err(|error| {
                    tracing::error!(host = %row.id.short(), %error, "stored offer is unreadable");
                })
                .ok()?;
            let entry = Entry {
                id: row.id,
                offer,
                audits_passed: row.reputation.audits_passed,
                last_seen: row.last_seen,
                written: (row.state, row.last_seen),
                standing_ppm: PPM,
                planned_bytes: 0,
                link: None,
            };
            Some((row.alias, entry))
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
        let cards = self.lock().cards(now);
        let roster = Arc::new(Roster::new(cards));
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = roster;
    }

    /// Waits until something changed that a new roster would show.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A Host's channel is open: it counts as connected, and for plans once it is reachable.
    pub fn connect(
        &self,
        (alias, id): (HostAlias, HostId),
        offer: StoredOffer,
        state: HostState,
        now: UnixMs,
    ) -> LinkHandle {
        let mut hosts = self.lock();
        hosts.links_made += 1;
        let number = hosts.links_made;
        let link = Link {
            number,
            state,
            reachable: false,
            orders: Arc::new(Notify::new()),
            end: CancellationToken::new(),
        };
        let handle = LinkHandle {
            alias,
            number,
            orders: Arc::clone(&link.orders),
            end: link.end.clone(),
        };
        let entry = hosts.by_alias.entry(alias).or_insert_with(|| Entry {
            id,
            offer: offer.clone(),
            audits_passed: 0,
            last_seen: now,
            written: (metastore::HostState::Online, now),
            standing_ppm: PPM,
            planned_bytes: 0,
            link: None,
        });
        entry.offer = offer;
        entry.last_seen = now;
        if let Some(older) = entry.link.replace(link) {
            older.end.cancel();
        }
        drop(hosts);
        self.changed.notify_one();
        handle
    }

    /// A heartbeat.
    pub fn heard(&self, link: &LinkHandle, state: HostState, now: UnixMs) {
        let mut hosts = self.lock();
        let Some(entry) = hosts.linked(link) else {
            return;
        };
        entry.last_seen = now;
        entry.planned_bytes = 0;
        entry.standing_ppm += (PPM - entry.standing_ppm) / 10;
        if let Some(link) = &mut entry.link {
            link.state = state;
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// Whether the Host's addresses answered.
    pub fn set_reachable(&self, link: &LinkHandle, reachable: bool) {
        let mut hosts = self.lock();
        if let Some(link) = hosts.linked(link).and_then(|entry| entry.link.as_mut()) {
            link.reachable = reachable;
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// The channel is closed: unless a newer one took over, the Host is offline at once.
    pub fn disconnect(&self, link: &LinkHandle, now: UnixMs) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.linked(link) {
            entry.link = None;
            entry.last_seen = now;
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// Rings the channels of Hosts that have new orders.
    pub fn ring(&self, aliases: &[HostAlias]) {
        let hosts = self.lock();
        for alias in aliases {
            if let Some(link) = hosts
                .by_alias
                .get(alias)
                .and_then(|entry| entry.link.as_ref())
            {
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

    /// What is not yet written of Hosts' presence, at most `limit` of them.
    #[must_use]
    pub fn unwritten(&self, limit: usize, now: UnixMs) -> Vec<HostStatus> {
        let hosts = self.lock();
        let statuses = hosts.by_alias.iter().filter_map(|(alias, entry)| {
            let state = entry.presence(&self.timing, now);
            let news = (state, entry.last_seen) != entry.written;
            news.then_some(HostStatus {
                alias: *alias,
                state,
                last_seen: entry.last_seen,
            })
        });
        statuses.take(limit).collect()
    }

    /// These are written now.
    pub fn written(&self, statuses: &[HostStatus]) {
        let mut hosts = self.lock();
        for status in statuses {
            if let Some(entry) = hosts.by_alias.get_mut(&status.alias) {
                entry.written = (status.state, status.last_seen);
            }
        }
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

    fn cards(&mut self, now: UnixMs) -> BTreeMap<HostAlias, HostCard> {
        let Self {
            by_alias, regions, ..
        } = self;
        let card = |(alias, entry): (&HostAlias, &Entry)| {
            let region = entry.offer.offer.region.as_deref();
            let region = region.map_or(Region::UNKNOWN, |name| number_region(regions, name));
            (*alias, entry.card(*alias, region, now))
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

impl Entry {
    fn presence(&self, timing: &Timing, now: UnixMs) -> metastore::HostState {
        presence(
            timing,
            self.link.is_some(),
            &self.offer.offer.schedule,
            self.last_seen,
            now,
        )
    }

    fn card(&self, alias: HostAlias, region: Region, now: UnixMs) -> HostCard {
        let offer = &self.offer.offer;
        let link = self.link.as_ref().filter(|link| link.reachable);
        let promised = offer.schedule.promises(now) && offer.until.is_none_or(|end| now < end);
        let free = link.map_or(0, |link| link.state.free_bytes);
        HostCard {
            address: HostAddress {
                host: self.id,
                name: offer.name.clone(),
                addresses: offer.addresses.clone(),
                zone: self.offer.zone.clone(),
                region: offer.region.clone(),
                online: link.is_some(),
                proved: None,
            },
            candidate: Candidate {
                alias: alias.0,
                zone: zone_number(&self.offer.zone),
                operator: 0,
                asn: 0,
                region,
                open: promised && link.is_some_and(|link| !link.state.paused),
                vetted: self.audits_passed >= VETTED_AUDITS,
                free_bytes: free.saturating_sub(self.planned_bytes),
                bandwidth: offer.bandwidth_down.unwrap_or(0),
                reputation_ppm: self.standing_ppm,
                online_ppm: online_ppm(offer.schedule.hours(), PPM),
            },
            last_seen: self.last_seen,
        }
    }
}

#[cfg(test)]
mod tests;
