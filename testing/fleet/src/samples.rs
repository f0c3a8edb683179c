//! What can be read at a given moment, and how long the queue is: looked at now and then.

use crate::outcome::Outcome;
use crate::segments::NOWHERE;
use crate::simulation::Simulation;

/// Segments looked at each time.
const SEGMENTS: u32 = 20_000;

/// Sums over all looks.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    looks: f64,
    unreadable: f64,
    unreadable_worst: f64,
    online: f64,
    scans: f64,
    waiting: f64,
    waiting_worst: f64,
    /// Bytes that all online Hosts could have uploaded.
    uploadable: f64,
}

impl Samples {
    pub(crate) fn note_scan(&mut self, waiting: u32, uploadable: f64) {
        self.scans += 1.0;
        self.waiting += f64::from(waiting);
        self.waiting_worst = self.waiting_worst.max(f64::from(waiting));
        self.uploadable += uploadable;
    }

    /// Shares and means.
    pub(crate) fn conclude(&self, outcome: &mut Outcome) {
        let (looks, scans) = (self.looks.max(1.0), self.scans.max(1.0));
        let segments = f64::from(outcome.segments.max(1));
        outcome.unreadable_mean = self.unreadable / looks;
        outcome.unreadable_worst = self.unreadable_worst;
        outcome.online_mean = self.online / looks;
        outcome.queue_mean = self.waiting / scans / segments;
        outcome.queue_worst = self.waiting_worst / segments;
    }

    pub(crate) const fn uploadable(&self) -> f64 {
        self.uploadable
    }
}

impl Simulation<'_> {
    /// Looks how many segments could be read now.
    pub(crate) fn sample(&mut self) {
        let step = (self.segments.len() / SEGMENTS).max(1);
        let offset = self.draw.below(step);
        let (mut looked, mut unreadable) = (0.0, 0.0);
        let mut segment = offset;
        while segment < self.segments.len() {
            if !self.segments.lost[segment as usize] {
                looked += 1.0;
                unreadable += f64::from(u8::from(!self.is_readable(segment)));
            }
            segment += step;
        }
        let share = unreadable / f64::max(looked, 1.0);
        let alive = self.hosts.all.iter().filter(|host| host.alive).count();
        let online = self.hosts.online.iter().filter(|online| **online).count();
        let samples = &mut self.samples;
        samples.looks += 1.0;
        samples.unreadable += share;
        samples.unreadable_worst = samples.unreadable_worst.max(share);
        samples.online += online as f64 / alive.max(1) as f64;
    }

    /// Whether k shards could be fetched, short interruptions counted.
    fn is_readable(&mut self, segment: u32) -> bool {
        let hiccup = self.model.habits.hiccup;
        let mut found = 0;
        for slot in self.segments.slots_of(segment) {
            let host = self.segments.host[slot as usize];
            let there = host != NOWHERE
                && self.hosts.online[host as usize]
                && self.segments.intact[slot as usize]
                && !(hiccup > 0.0 && self.draw.chance(hiccup));
            found += u16::from(there);
            if found == self.segments.k {
                return true;
            }
        }
        false
    }
}
