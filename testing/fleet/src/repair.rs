//! Repair as the Bridge orders it: every scan judges what changed, and begins with the most urgent
//! as far as bandwidth goes. Which and in what order is [`bridge::repair::judge`]'s word, where to
//! is placement's.

use bridge::repair::judge::{Belief, Need, Tally};
use model::placement::Wanted;
use model::units::{SHARD_BYTES_MAX, ShardSize};

use crate::calendar::Event;
use crate::draw::whole;
use crate::minutes::{Minute, minutes};
use crate::segments::NOWHERE;
use crate::simulation::Simulation;

/// A segment whose sources are away is looked at again after this.
const LOOK_AGAIN: Minute = 30;
/// Destinations that are drawn until one is online.
const DRAWS_MAX: u32 = 12;
/// Downloads are faster than uploads by this.
const DOWN_PER_UP: f64 = 4.0;

/// What came of trying to repair a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// It is under way, as far as destinations were found.
    Begun,
    /// Too few sources are online.
    Blocked,
}

impl Simulation<'_> {
    /// The Bridge goes through what changed and begins repairs.
    pub(crate) fn scan(&mut self, scan_every: Minute) {
        let (zones, now) = (self.table.zones(), self.now);
        // Taken out, so that it may ask about zones.
        let mut alarm = std::mem::take(&mut self.alarm);
        let outage = alarm.is_open(zones, now, |zone| self.is_zone_silent(zone));
        self.outcome.outage_hours = alarm.open_hours(scan_every);
        self.alarm = alarm;
        if !outage {
            self.queue.release();
        }
        for segment in self.queue.take_fresh() {
            match self.need(segment) {
                Some(need) => self.queue.put(segment, need),
                None => self.queue.done(segment),
            }
        }
        let seconds = f64::from(scan_every) * 60.0;
        let budget = self.model.repair_share * self.hosts.bandwidth_online * seconds;
        self.tokens = (self.tokens + budget).min(2.0 * budget);
        self.begin(outage);
        self.samples.note_scan(
            self.queue.waiting_count,
            self.hosts.bandwidth_online * seconds,
        );
    }

    fn begin(&mut self, outage: bool) {
        while self.tokens > 0.0
            && let Some(segment) = self.queue.next()
        {
            let Some(need) = self.need(segment) else {
                self.queue.done(segment);
                continue;
            };
            if outage && !need.critical {
                if self.queue.waits_for_first() {
                    return;
                }
                self.queue.hold(segment);
                continue;
            }
            match self.attempt(segment, need) {
                Attempt::Begun => self.queue.done(segment),
                Attempt::Blocked => {
                    self.outcome.blocked += 1;
                    if self.queue.waits_for_first() {
                        return;
                    }
                    let again = self.now + LOOK_AGAIN;
                    self.calendar.put(again, Event::Look(segment));
                }
            }
        }
    }

    /// What production says of a segment.
    fn need(&self, segment: u32) -> Option<Need> {
        if self.segments.lost[segment as usize] && !self.queue.waits_for_first() {
            // Nothing brings it back; in the queue it would only be put aside again and again.
            return None;
        }
        let tally = self.tally(segment);
        let need = tally.need(self.segments.k, self.segments.n)?;
        let missing = self.segments.slots_of(segment);
        let open = missing.filter(|slot| self.is_missing(*slot, &tally));
        let waiting = open.filter(|slot| !self.flights.contains_key(slot));
        (waiting.count() > 0).then_some(need)
    }

    fn tally(&self, segment: u32) -> Tally {
        let slots = self.segments.slots_of(segment);
        Tally::of(slots.map(|slot| match self.segments.host[slot as usize] {
            NOWHERE => (Belief::Gone, 0),
            host => (
                self.hosts.belief[host as usize],
                self.hosts.zone[host as usize],
            ),
        }))
    }

    /// Whether a shard is to be made anew.
    fn is_missing(&self, slot: u32, tally: &Tally) -> bool {
        let host = self.segments.host[slot as usize];
        if host == NOWHERE {
            return true;
        }
        match self.hosts.belief[host as usize] {
            Belief::Gone => true,
            Belief::Away => tally.takes_absent(self.segments.k, self.segments.n),
            Belief::Leaving => true,
            Belief::Here => false,
        }
    }

    /// Begins the repair of all that is missing.
    fn attempt(&mut self, segment: u32, _need: Need) -> Attempt {
        let Some(slowest) = self.sources(segment) else {
            return Attempt::Blocked;
        };
        let tally = self.tally(segment);
        let mut beside = Vec::with_capacity(usize::from(self.segments.n) + 8);
        for slot in self.segments.slots_of(segment) {
            let host = self.segments.host[slot as usize];
            beside.extend((host != NOWHERE).then_some(host));
            beside.extend(self.flights.get(&slot));
        }
        for slot in self.segments.slots_of(segment) {
            if !self.is_missing(slot, &tally) || self.flights.contains_key(&slot) {
                continue;
            }
            let Some(to) = self.destination(&mut beside) else {
                let again = self.now + LOOK_AGAIN;
                self.calendar.put(again, Event::Look(segment));
                break;
            };
            self.order(slot, to, slowest);
        }
        Attempt::Begun
    }

    /// The upload of the slowest of k sources that are there, in bytes per second; `None` where
    /// there are fewer. A source that turns out to be rotten is struck off.
    fn sources(&mut self, segment: u32) -> Option<f64> {
        let k = usize::from(self.segments.k);
        let mut found = Vec::with_capacity(usize::from(self.segments.n));
        for slot in self.segments.slots_of(segment) {
            let host = self.segments.host[slot as usize];
            if host == NOWHERE || !self.hosts.online[host as usize] {
                continue;
            }
            if self.segments.intact[slot as usize] {
                found.push(f64::from(self.hosts.all[host as usize].bandwidth));
            } else {
                self.strike_off(slot);
            }
            if found.len() == k {
                break;
            }
        }
        (found.len() == k).then(|| found.into_iter().fold(f64::INFINITY, f64::min))
    }

    /// Where placement puts a shard beside those, among Hosts that are online.
    fn destination(&mut self, beside: &mut Vec<u32>) -> Option<u32> {
        for _ in 0..DRAWS_MAX {
            let wanted = Wanted {
                count: 1,
                of: self.segments.n,
                shard_size: ShardSize::MAX,
                near: None,
                beside,
            };
            let picked = self.table.pick(&mut self.draw.0, &wanted).ok()?;
            let host = *picked.first()?;
            beside.push(host);
            if self.hosts.online[host as usize] && !self.hosts.all[host as usize].leaving {
                return Some(host);
            }
        }
        None
    }

    /// Orders the repair of one shard at a Host.
    fn order(&mut self, slot: u32, to: u32, slowest: f64) {
        let (shard, k) = (f64::from(SHARD_BYTES_MAX), f64::from(self.segments.k));
        let share = self.model.repair_share;
        let down = DOWN_PER_UP * f64::from(self.hosts.all[to as usize].bandwidth);
        let seconds = (shard / (share * slowest)).max(k * shard / (share * down));
        let lasts = whole(seconds / 60.0).min(minutes(self.model.timing.repair_within_ms));
        let bytes = self.weight * k * shard;
        self.tokens -= bytes;
        self.bytes_moved += bytes;
        self.flights.insert(slot, to);
        self.calendar
            .put(self.now + lasts, Event::Repaired(slot, to));
    }

    /// A destination has restored a shard: the Bridge enters it, if nothing changed meanwhile.
    pub(crate) fn repaired(&mut self, slot: u32, to: u32) {
        self.flights.remove(&slot);
        let segment = self.segments.segment_of(slot);
        if self.segments.lost[segment as usize] {
            return;
        }
        let from = self.segments.host[slot as usize];
        let belief = match from {
            NOWHERE => Belief::Gone,
            from => self.hosts.belief[from as usize],
        };
        if belief == Belief::Here || !self.hosts.online[to as usize] {
            self.outcome.in_vain += 1;
            self.queue.look_at(segment);
            return;
        }
        self.outcome.repaired += 1;
        if belief != Belief::Leaving {
            self.segments.here[segment as usize] += 1;
        }
        // A shard whose old Host will be back was not really gone.
        if !self.segments.intact[slot as usize] || from == NOWHERE {
            self.segments.left[segment as usize] += 1;
        }
        self.segments.host[slot as usize] = to;
        self.segments.intact[slot as usize] = true;
        self.hosts.all[to as usize].slots.push(slot);
        // Others of the segment may have become missing while it was under way.
        self.queue.look_at(segment);
    }
}
