//! What the Bridge believes of each Host. Every decision is the production's: presence says when
//! silence counts, the breaker when many fall silent at once.

use std::collections::VecDeque;

use bridge::hosts::breaker::Breaker;
use bridge::hosts::presence::presence;
use bridge::repair::judge::{Belief, threshold};

use crate::calendar::Event;
use crate::minutes::{HOUR, Minute, NEVER, minutes, moment};
use crate::simulation::Simulation;

/// Beliefs change at steps of this, for Hosts with a schedule.
const STEP: Minute = 20;
/// The breaker looks back no further than this.
const LOOK_BACK: Minute = 6 * HOUR;
/// Zones that fall silent within this long count together.
const LATELY: Minute = 15;
/// While less than one zone in so many fell silent lately, the breaker, which wants twice as many,
/// is not asked.
const CALM_SHARE: usize = 100;

/// Feeds the breaker; asks it only when it could say yes.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    recent: VecDeque<(Minute, u32)>,
    breaker: Option<Breaker>,
    open_scans: u64,
}

impl Alarm {
    fn fell(&mut self, zone: u32, now: Minute) {
        self.recent.push_back((now, zone));
        if let Some(breaker) = &mut self.breaker {
            breaker.fell_silent(u64::from(zone), moment(now));
        }
    }

    fn back(&mut self, zone: u32) {
        if let Some(breaker) = &mut self.breaker {
            breaker.came_back(u64::from(zone));
        }
    }

    /// Whether an outage is on among `zones`.
    pub(crate) fn is_open(
        &mut self,
        zones: usize,
        now: Minute,
        is_silent: impl Fn(u32) -> bool,
    ) -> bool {
        while let Some((at, _)) = self.recent.front()
            && at + LOOK_BACK < now
        {
            self.recent.pop_front();
        }
        let from = self.recent.partition_point(|(at, _)| at + LATELY < now);
        let calm = (self.recent.len() - from) * CALM_SHARE < zones;
        if calm && self.breaker.is_none() {
            return false;
        }
        let breaker = self.breaker.get_or_insert_with(|| {
            let mut breaker = Breaker::default();
            for (at, zone) in self.recent.iter().filter(|(_, zone)| is_silent(*zone)) {
                breaker.fell_silent(u64::from(*zone), moment(*at));
            }
            breaker
        });
        let open = breaker.is_open(zones, moment(now));
        if !open && calm {
            self.breaker = None;
        }
        self.open_scans += u64::from(open);
        open
    }

    /// Hours in which it was open, scanned every so many minutes.
    pub(crate) fn open_hours(&self, scan_every: Minute) -> f64 {
        self.open_scans as f64 * f64::from(scan_every) / f64::from(HOUR)
    }
}

impl Simulation<'_> {
    /// Whether no Host of a zone can be reached.
    pub(crate) fn is_zone_silent(&self, zone: u32) -> bool {
        let is_online = |host: &u32| self.hosts.online[*host as usize];
        !self.hosts.of_zone(zone).iter().any(is_online)
    }

    /// A Host is gone in an hour that it promised: its zone may be silent.
    pub(crate) fn fell_silent(&mut self, host: u32) {
        let zone = self.hosts.zone[host as usize];
        let promised = self.hosts.schedule(host).promises(moment(self.now));
        if promised && self.is_zone_silent(zone) {
            self.alarm.fell(zone, self.now);
        }
    }

    /// A Host is there again, with everything it has: what was not made anew meanwhile counts.
    pub(crate) fn came_back(&mut self, host: u32) {
        let at = host as usize;
        self.alarm.back(self.hosts.zone[at]);
        let was = self.hosts.belief[at];
        if matches!(was, Belief::Here | Belief::Leaving) {
            return;
        }
        let leaving = self.hosts.all[at].leaving;
        self.hosts.belief[at] = if leaving {
            Belief::Leaving
        } else {
            Belief::Here
        };
        let given_up = u64::from(was == Belief::Gone);
        self.outcome.given_up_returned += given_up;
        let mut slots = std::mem::take(&mut self.hosts.all[at].slots);
        slots.retain(|slot| {
            let kept = self.segments.host[*slot as usize] == host;
            if kept {
                let segment = self.segments.segment_of(*slot);
                self.segments.here[segment as usize] += 1;
                self.outcome.readopted += 1;
            } else {
                self.outcome.wasted += u64::from(!leaving);
            }
            kept
        });
        self.hosts.all[at].slots = slots;
    }

    /// Foresees when the Bridge will change its mind about a silent Host, unless it is back
    /// before: most absences are over long before that, and cost nothing.
    pub(crate) fn expect(&mut self, host: u32) {
        let at = host as usize;
        let (timing, since) = (self.model.timing, self.hosts.all[at].off_since);
        let patience = match self.hosts.belief[at] {
            Belief::Here | Belief::Leaving => timing.absent_after_ms,
            Belief::Away => timing.lost_after_ms,
            Belief::Gone => return,
        };
        let (back, schedule) = (self.hosts.back_at(host), self.hosts.schedule(host));
        if back != NEVER {
            let silence = moment(back).since_ms(moment(since));
            let missed = schedule.promised_ms(moment(since), moment(back));
            if missed < patience && silence < timing.lost_at_last_ms {
                return;
            }
        }
        let patience = minutes(patience.min(timing.lost_after_ms));
        let mut look = self.now.max(since + patience);
        let end = back.min(look.saturating_add(minutes(timing.lost_at_last_ms) + 2 * LOOK_BACK));
        while look < end {
            if self.belief_at(host, look) != self.hosts.belief[at] {
                self.calendar.put(look, Event::Check(host, since));
                return;
            }
            look += STEP;
        }
    }

    /// What production makes of a Host that is silent until then. That a Host means to leave does
    /// not show while it counts.
    fn belief_at(&self, host: u32, at: Minute) -> Belief {
        let since = self.hosts.all[host as usize].off_since;
        let schedule = self.hosts.schedule(host);
        let timing = &self.model.timing;
        let state = presence(timing, false, schedule, moment(since), moment(at));
        match Belief::of(state) {
            Belief::Here if self.hosts.all[host as usize].leaving => Belief::Leaving,
            other => other,
        }
    }

    /// The moment foreseen has come.
    pub(crate) fn check(&mut self, host: u32, since: Minute) {
        let at = host as usize;
        if self.hosts.all[at].off_since != since {
            return;
        }
        let (was, belief) = (self.hosts.belief[at], self.belief_at(host, self.now));
        if belief == was || was == Belief::Gone {
            return;
        }
        self.outcome.given_up += u64::from(belief == Belief::Gone);
        self.believe(host, belief);
        self.expect(host);
    }

    /// Changes what is believed of a Host, and notes segments that may need repair for it.
    pub(crate) fn believe(&mut self, host: u32, belief: Belief) {
        let at = host as usize;
        let counts = |belief| matches!(belief, Belief::Here | Belief::Leaving);
        let was = std::mem::replace(&mut self.hosts.belief[at], belief);
        let uncounted = counts(was) && !counts(belief);
        let limit = threshold(self.segments.k, self.segments.n);
        let slots = std::mem::take(&mut self.hosts.all[at].slots);
        for slot in &slots {
            if self.segments.host[*slot as usize] != host {
                continue;
            }
            let segment = self.segments.segment_of(*slot);
            let here = &mut self.segments.here[segment as usize];
            *here -= u8::from(uncounted);
            // An absent Host matters only where few shards are left: the rule would find nothing.
            if belief != Belief::Away || u16::from(*here) <= limit {
                self.queue.look_at(segment);
            }
        }
        self.hosts.all[at].slots = slots;
    }
}
