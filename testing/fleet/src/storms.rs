//! What breaks: disks and shards by themselves, and zones, networks and versions, many at once.

use crate::calendar::Event;
use crate::draw::whole;
use crate::minutes::{DAY, HOUR, Minute};
use crate::outcome::Causes;
use crate::segments::NOWHERE;
use crate::simulation::Simulation;

const YEAR_MIN: f64 = 525_600.0;
/// What comes more often than this is counted minute by minute.
const OFTEN_PER_MIN: f64 = 0.1;
/// From the audit that fails to having asked for all that a Host stores, in minutes.
const INVENTORY: Minute = 30;
/// The days of the year in which the bad version may come.
const BAD_VERSION_FROM: Minute = 60;
const BAD_VERSION_DAYS: u32 = 240;
/// A Host is away so long after a fire.
const FIRE_AWAY: Minute = 7 * DAY;

impl Simulation<'_> {
    /// Sets everything off that comes by itself.
    pub(crate) fn start_storms(&mut self, rehearsal: Minute) {
        for event in [Event::Disk, Event::Rot, Event::ZoneOutage, Event::Fire] {
            self.put_next(event);
        }
        for system in 0..u32::try_from(self.hosts.systems.len()).unwrap_or(0) {
            self.put_next(Event::SystemOutage(system));
        }
        if self.model.hazards.version_loses > 0.0 {
            // Short runs see it as well.
            let days = self.model.days;
            let (from, span) = (
                BAD_VERSION_FROM.min(days / 4),
                BAD_VERSION_DAYS.min(days / 2),
            );
            let day = from + self.draw.below(span.max(1));
            self.calendar.put(rehearsal + day * DAY, Event::BadVersion);
        }
    }

    /// How often a kind of event comes, per minute, as many as there are now.
    fn rate(&self, event: Event) -> f64 {
        let hazards = &self.model.hazards;
        let hosts = f64::from(self.hosts.len());
        let per_year = match event {
            Event::Disk => hazards.disk * hosts,
            Event::Rot => hazards.rot * f64::from(self.segments.slots()),
            Event::ZoneOutage => hazards.zone_outages * hosts,
            Event::Fire => hazards.fires * hosts,
            Event::SystemOutage(_) => hazards.system_outages,
            _ => 0.0,
        };
        per_year / YEAR_MIN
    }

    /// When the next of its kind comes: frequent ones are counted every minute.
    fn put_next(&mut self, event: Event) {
        let rate = self.rate(event);
        if rate > 0.0 {
            let wait = if rate < OFTEN_PER_MIN {
                whole(self.draw.exponential(rate.recip()))
            } else {
                1
            };
            self.calendar.put(self.now.saturating_add(wait), event);
        }
    }

    /// How many of a kind come within this minute.
    fn count_now(&mut self, event: Event) -> u32 {
        let rate = self.rate(event);
        if rate < OFTEN_PER_MIN {
            return 1;
        }
        let mut count = 0;
        let mut left = rate - self.draw.exponential(1.0);
        while left > 0.0 {
            count += 1;
            left -= self.draw.exponential(1.0);
        }
        count
    }

    pub(crate) fn strike(&mut self, event: Event) {
        match event {
            Event::Disk | Event::Rot | Event::ZoneOutage | Event::Fire => {
                for _ in 0..self.count_now(event) {
                    self.strike_once(event);
                }
                self.put_next(event);
            }
            Event::SystemOutage(system) => self.system_outage(system),
            Event::BadVersion => self.bad_version(),
            Event::BadVersionAt(host) => self.lose_disk(host, |causes| &mut causes.version),
            Event::DiskFound(host) => self.disk_found(host),
            Event::RotFound(slot, host) => self.rot_found(slot, host),
            _ => {}
        }
    }

    fn strike_once(&mut self, event: Event) {
        match event {
            Event::Disk => {
                let host = self.draw.below(self.hosts.len());
                self.lose_disk(host, |causes| &mut causes.disk);
            }
            Event::Rot => self.rot(),
            Event::ZoneOutage => self.zone_outage(),
            Event::Fire => {
                for host in self.draw_zone().unwrap_or_default() {
                    self.lose_disk(host, |causes| &mut causes.fire);
                    self.storm(host, FIRE_AWAY);
                }
            }
            _ => {}
        }
    }

    /// The Hosts of some zone, each zone with the same chance.
    fn draw_zone(&mut self) -> Option<Vec<u32>> {
        let host = self.draw.below(self.hosts.len());
        let members = self.hosts.of_zone(self.hosts.zone[host as usize]);
        let chance = (members.len() as f64).recip();
        self.draw.chance(chance).then_some(members)
    }

    fn zone_outage(&mut self) {
        let Some(members) = self.draw_zone() else {
            return;
        };
        let hazards = &self.model.hazards;
        let lasts = self
            .draw
            .lognormal(hazards.zone_outage_min, hazards.zone_outage_sigma);
        for host in members {
            self.storm(host, whole(lasts));
        }
    }

    fn system_outage(&mut self, system: u32) {
        let hazards = &self.model.hazards;
        let lasts = self
            .draw
            .lognormal(hazards.system_outage_min, hazards.system_outage_sigma);
        let members = std::mem::take(&mut self.hosts.systems[system as usize]);
        for host in &members {
            self.storm(*host, whole(lasts));
        }
        self.hosts.systems[system as usize] = members;
        self.put_next(Event::SystemOutage(system));
    }

    /// A Host cannot be reached for so long.
    fn storm(&mut self, number: u32, lasts: Minute) {
        let host = &mut self.hosts.all[number as usize];
        if !host.alive {
            return;
        }
        host.storm_until = host.storm_until.max(self.now.saturating_add(lasts));
        let end = host.storm_until;
        self.refresh(number);
        self.calendar.put(end, Event::Calm(number));
    }

    fn bad_version(&mut self) {
        for host in 0..self.hosts.len() {
            let hit = self.hosts.all[host as usize].early
                && self.hosts.all[host as usize].alive
                && self.draw.chance(self.model.hazards.version_loses);
            if hit {
                let at = self.now + self.draw.below(DAY);
                self.calendar.put(at, Event::BadVersionAt(host));
            }
        }
    }

    /// A Host loses everything it stores and does not know it yet.
    fn lose_disk(&mut self, host: u32, cause: fn(&mut Causes) -> &mut u64) {
        if !self.hosts.all[host as usize].alive {
            return;
        }
        self.outcome.disks_lost += 1;
        self.take_shards(host, cause);
        let audit = self.model.timing.audit_every_ms as f64 / 60_000.0;
        let found = whole(self.draw.exponential(audit)) + INVENTORY;
        self.calendar.put(self.now + found, Event::DiskFound(host));
    }

    /// What a Host stores is really gone from now on.
    pub(crate) fn take_shards(&mut self, host: u32, cause: fn(&mut Causes) -> &mut u64) {
        let slots = std::mem::take(&mut self.hosts.all[host as usize].slots);
        for slot in &slots {
            if self.segments.host[*slot as usize] == host {
                self.spoil(*slot, cause);
            }
        }
        self.hosts.all[host as usize].slots = slots;
    }

    fn spoil(&mut self, slot: u32, cause: fn(&mut Causes) -> &mut u64) {
        let intact = std::mem::replace(&mut self.segments.intact[slot as usize], false);
        if intact && self.segments.shard_gone(slot) {
            self.outcome.losses += 1;
            *cause(&mut self.outcome.causes) += 1;
        }
    }

    /// Audits found that shards are missing: no Host has them.
    fn disk_found(&mut self, host: u32) {
        let at = host as usize;
        if !self.hosts.all[at].alive {
            return;
        }
        if !self.hosts.online[at] {
            self.calendar.put(self.now + HOUR, Event::DiskFound(host));
            return;
        }
        let mut slots = std::mem::take(&mut self.hosts.all[at].slots);
        slots.retain(|slot| {
            let held = self.segments.host[*slot as usize] == host;
            if held && !self.segments.intact[*slot as usize] {
                self.strike_off(*slot);
                return false;
            }
            held
        });
        self.hosts.all[at].slots = slots;
    }

    fn rot(&mut self) {
        let slot = self.draw.below(self.segments.slots());
        let host = self.segments.host[slot as usize];
        let intact = self.segments.intact[slot as usize];
        let within = whole(self.draw.unit() * self.model.hazards.scrub_days * f64::from(DAY));
        if host != NOWHERE && intact && self.hosts.all[host as usize].alive {
            self.spoil(slot, |causes| &mut causes.rot);
            self.calendar
                .put(self.now + within, Event::RotFound(slot, host));
        }
    }

    fn rot_found(&mut self, slot: u32, host: u32) {
        let is_it = self.segments.host[slot as usize] == host;
        if !is_it || self.segments.intact[slot as usize] {
            return;
        }
        if self.hosts.online[host as usize] {
            self.strike_off(slot);
        } else {
            self.calendar
                .put(self.now + HOUR, Event::RotFound(slot, host));
        }
    }

    /// The Bridge learns that a Host, which is there, does not have a shard.
    pub(crate) fn strike_off(&mut self, slot: u32) {
        let segment = self.segments.segment_of(slot);
        self.segments.host[slot as usize] = NOWHERE;
        self.segments.here[segment as usize] -= 1;
        self.queue.look_at(segment);
    }
}
