//! One Host in memory.

use std::sync::Arc;

use metastore::{HostRow, Reputation, StoreError};
use model::placement::{Candidate, Region, online_ppm};
use model::units::{HostId, UnixMs};
use model::wire::api::HostAddress;
use model::wire::control::{FromBridge, HostState};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::PPM;
use crate::audit::reputation::score_ppm;
use crate::corrupt::corrupt;
use crate::hosts::offer::{StoredOffer, zone_number};
use crate::hosts::presence::presence;
use crate::hosts::record::HostRecord;
use crate::hosts::roster::HostCard;
use crate::timing::Timing;

/// What is known of a Host.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: HostId,
    pub(super) offer: StoredOffer,
    pub(super) reputation: Reputation,
    pub(super) record: HostRecord,
    /// The record as it was last written.
    pub(super) record_written: HostRecord,
    /// When it was last heard serving.
    pub(super) last_seen: UnixMs,
    pub(super) written: (metastore::HostState, UnixMs),
    /// How it did lately, in this process's eyes only.
    pub(super) standing_ppm: u32,
    /// Bytes planned for it since its last heartbeat.
    pub(super) planned_bytes: u64,
    /// Until when its hours were counted.
    pub(super) counted: UnixMs,
    /// When it is audited next.
    pub(super) audit_at: UnixMs,
    pub(super) link: Option<Link>,
}

/// A control channel.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) state: HostState,
    pub(super) version: u16,
    pub(super) reachable: bool,
    pub(super) outbox: mpsc::Sender<FromBridge>,
    pub(super) orders: Arc<Notify>,
    pub(super) end: CancellationToken,
}

impl Entry {
    /// A Host that was never there before.
    pub(super) fn new(id: HostId, offer: StoredOffer, now: UnixMs) -> Self {
        Self {
            id,
            offer,
            reputation: Reputation::default(),
            record: HostRecord::default(),
            record_written: HostRecord::default(),
            last_seen: now,
            written: (metastore::HostState::Online, now),
            standing_ppm: PPM,
            planned_bytes: 0,
            counted: now,
            audit_at: now,
            link: None,
        }
    }

    /// A Host of the store.
    pub(super) fn of(row: &HostRow, (alive, now): (UnixMs, UnixMs)) -> Result<Self, StoreError> {
        let record = HostRecord::of(row)?;
        let offer = serde_json::from_slice(&row.offer).map_err(|_| corrupt("hosts", "offer"))?;
        Ok(Self {
            reputation: row.reputation,
            record: record.clone(),
            record_written: record,
            last_seen: row.last_seen.plus_ms(now.since_ms(alive)),
            written: (row.state, row.last_seen),
            ..Self::new(row.id, offer, now)
        })
    }

    /// Whether it serves shards now, as far as the Bridge can tell.
    pub(super) fn serves(&self) -> bool {
        let serves = |link: &Link| link.reachable && !link.state.paused;
        self.link.as_ref().is_some_and(serves)
    }

    /// It is heard now; that counts where it serves.
    pub(super) fn seen(&mut self, now: UnixMs) {
        if self.serves() {
            self.last_seen = self.last_seen.max(now);
        }
    }

    /// A heartbeat.
    pub(super) fn hear(&mut self, state: HostState, now: UnixMs) {
        self.seen(now);
        if let Some(link) = &mut self.link {
            if state.shards_rotten > link.state.shards_rotten
                || state.volumes_away < link.state.volumes_away
            {
                // It says by itself that something changed about what it keeps.
                self.record.check = true;
            }
            link.state = state;
            self.record.volume_away = match (state.volumes_away, self.record.volume_away) {
                (0, _) => None,
                (_, since) => since.or(Some(now)),
            };
            self.record.volume_lost &= state.volumes_away > 0;
        }
        self.seen(now);
    }

    /// What is believed of its presence.
    pub(super) fn presence(&self, timing: &Timing, now: UnixMs) -> metastore::HostState {
        let schedule = &self.offer.offer.schedule;
        let presence = presence(timing, self.serves(), schedule, self.last_seen, now);
        self.record.believed(presence)
    }

    /// Bytes of shards that are to move elsewhere, at most: as many as it wishes, all where its
    /// offer ends before long.
    pub(super) fn leaving_bytes(&self, timing: &Timing, now: UnixMs) -> u64 {
        let wished = self.record.leaving.map_or(0, |it| it.wanted_bytes());
        let ends = |end: UnixMs| end.since_ms(now) <= timing.lost_after_ms;
        if self.offer.offer.until.is_some_and(ends) {
            u64::MAX
        } else {
            wished
        }
    }

    /// Whether it is trusted with a full share of shards.
    pub(super) const fn is_vetted(&self, timing: &Timing) -> bool {
        self.reputation.audits_passed >= timing.vetted_audits
    }

    /// How others see it.
    pub(super) fn card(
        &self,
        timing: &Timing,
        alias: metastore::HostAlias,
        region: Region,
        now: UnixMs,
    ) -> HostCard {
        let offer = &self.offer.offer;
        let promised = offer.schedule.promises(now) && offer.until.is_none_or(|end| now < end);
        let stays = self.record.out.is_none() && self.leaving_bytes(timing, now) == 0;
        let free = self.link.as_ref().map_or(0, |link| link.state.free_bytes);
        let reputation = u64::from(self.standing_ppm) * u64::from(score_ppm(self.reputation));
        HostCard {
            address: HostAddress {
                host: self.id,
                name: offer.name.clone(),
                addresses: offer.addresses.clone(),
                zone: self.offer.zone.clone(),
                region: offer.region.clone(),
                online: self.link.is_some(),
                proved: self.record.proved,
            },
            candidate: Candidate {
                alias: alias.0,
                zone: zone_number(&self.offer.zone),
                operator: 0,
                asn: 0,
                region,
                open: promised && stays && self.serves(),
                vetted: self.is_vetted(timing),
                free_bytes: free.saturating_sub(self.planned_bytes),
                bandwidth: offer.bandwidth_down.unwrap_or(0),
                reputation_ppm: u32::try_from(reputation / u64::from(PPM)).unwrap_or(PPM),
                online_ppm: online_ppm(offer.schedule.hours(), self.record.kept_ppm()),
            },
            last_seen: self.last_seen,
        }
    }
}
