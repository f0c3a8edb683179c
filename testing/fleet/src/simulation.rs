//! The clock: takes what happens minute by minute and lets each part of the world act.

use std::collections::BTreeMap;

use bridge::repair::judge::Belief;
use model::placement::{Table, Wanted};
use model::units::{SHARD_BYTES_MAX, ShardSize};

use crate::belief::Alarm;
use crate::calendar::{Calendar, Event};
use crate::draw::Draw;
use crate::hosts::Hosts;
use crate::minutes::{DAY, HOUR, Minute, NEVER, minutes};
use crate::model_figures::Model;
use crate::outcome::Outcome;
use crate::queue::Queue;
use crate::samples::Samples;
use crate::segments::Segments;

/// Hosts find their rhythm before anything is stored.
const REHEARSAL: Minute = 7 * DAY;
/// Between two pictures of the Hosts for placement, in small fleets and in large ones. The Bridge's
/// are seconds apart; whom it draws here that went offline since is drawn again. No divisor of a
/// day, so that Hosts of all hours are in some.
const TABLE_EVERY: Minute = 5 * HOUR;
const TABLE_EVERY_LARGE: Minute = 17 * HOUR;
const LARGE: u32 = 300_000;
/// Between two looks at what can be read. Not a divisor of a day, so that all its hours are seen.
const SAMPLE_EVERY: Minute = 11 * HOUR;
/// A newcomer for each Host that left comes after so long on average, in minutes.
const ARRIVAL_MEAN: f64 = 1_440.0;

/// The world and its Bridge.
#[derive(Debug)]
pub(crate) struct Simulation<'a> {
    pub(crate) model: &'a Model,
    pub(crate) draw: Draw,
    pub(crate) calendar: Calendar,
    pub(crate) now: Minute,
    pub(crate) hosts: Hosts,
    pub(crate) segments: Segments,
    pub(crate) table: Table,
    pub(crate) alarm: Alarm,
    pub(crate) queue: Queue,
    /// Repairs under way: the slot, and where it goes.
    pub(crate) flights: BTreeMap<u32, u32>,
    /// Bytes that repair may still move.
    pub(crate) tokens: f64,
    pub(crate) bytes_moved: f64,
    /// Real shards that each watched one stands for.
    pub(crate) weight: f64,
    pub(crate) samples: Samples,
    pub(crate) outcome: Outcome,
}

/// Runs a model to its end.
#[must_use]
pub fn simulate(model: &Model) -> Outcome {
    let mut simulation = Simulation::new(model);
    let end = REHEARSAL + model.days * DAY;
    let table_every = if model.hosts < LARGE {
        TABLE_EVERY
    } else {
        TABLE_EVERY_LARGE
    };
    let scan_every = minutes(model.timing.scan_every_ms).max(1);
    for now in 0..end {
        simulation.now = now;
        if now == REHEARSAL {
            simulation.place();
        }
        simulation.happen_all();
        if now % table_every == 0 {
            simulation.rebuild_table();
        }
        if now >= REHEARSAL {
            if now % scan_every == 0 && model.repairs {
                simulation.scan(scan_every);
            }
            if now % SAMPLE_EVERY == 0 {
                simulation.sample();
            }
        }
    }
    simulation.conclude()
}

impl<'a> Simulation<'a> {
    fn new(model: &'a Model) -> Self {
        let mut draw = Draw::new(model.seed);
        let hosts = Hosts::new(model, &mut draw);
        let stored = model.stored_bytes_per_host * f64::from(model.hosts);
        let watched =
            f64::from(model.segments) * f64::from(model.class.n()) * f64::from(SHARD_BYTES_MAX);
        let mut simulation = Self {
            model,
            draw,
            calendar: Calendar::new(REHEARSAL + model.days * DAY),
            now: 0,
            hosts,
            segments: Segments::new(model.class, model.segments),
            table: Table::new(Vec::new()),
            alarm: Alarm::default(),
            queue: Queue::new(model.queue, model.segments),
            flights: BTreeMap::new(),
            tokens: 0.0,
            bytes_moved: 0.0,
            weight: stored / watched,
            samples: Samples::default(),
            outcome: Outcome {
                class: model.class.to_string(),
                seed: model.seed,
                hosts: model.hosts,
                segments: model.segments,
                days: model.days,
                lost_after_hours: model.timing.lost_after_ms as f64 / 3_600_000.0,
                ..Outcome::default()
            },
        };
        for host in 0..model.hosts {
            simulation.settle(host, false);
        }
        simulation.start_storms(REHEARSAL);
        simulation
    }

    /// A Host's life lies ahead of it.
    fn settle(&mut self, host: u32, newcomer: bool) {
        let habit = self.hosts.all[host as usize].own_until;
        self.calendar.put(habit, Event::Habit(host));
        let stay = Hosts::draw_stay(self.model, &mut self.draw, newcomer);
        let end = self.now.saturating_add(stay);
        let announced = self.draw.chance(self.model.habits.announced);
        let event = if announced {
            Event::Leave(host)
        } else {
            Event::Death(host)
        };
        self.calendar.put(end, event);
    }

    fn happen_all(&mut self) {
        loop {
            let events = self.calendar.take(self.now);
            if events.is_empty() {
                return;
            }
            for event in events {
                self.happen(event);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Habit(host) => self.switch(host),
            Event::Calm(host) => self.refresh(host),
            Event::Check(host, since) => self.check(host, since),
            Event::Leave(host) => self.announce(host),
            Event::Death(host) => self.depart(host),
            Event::Arrival => {
                let host = self.hosts.join(self.model, &mut self.draw, self.now);
                self.settle(host, true);
            }
            Event::Look(segment) => self.queue.look_at(segment),
            Event::Repaired(slot, host) => self.repaired(slot, host),
            Event::Disk
            | Event::DiskFound(_)
            | Event::Rot
            | Event::RotFound(..)
            | Event::ZoneOutage
            | Event::Fire
            | Event::SystemOutage(_)
            | Event::BadVersion
            | Event::BadVersionAt(_) => self.strike(event),
        }
    }

    /// Its owner switches a Host on or off.
    fn switch(&mut self, number: u32) {
        let (patterns, habits) = (&self.hosts.patterns, &self.model.habits);
        let host = &mut self.hosts.all[number as usize];
        if !host.alive {
            return;
        }
        host.own_on = !host.own_on;
        let (habit, pattern, region) = (host.habit, host.pattern, host.region);
        let lasts = if host.own_on {
            patterns.on_for((habit, pattern), habits, &mut self.draw, self.now)
        } else {
            patterns.off_for((habit, pattern, region), habits, &mut self.draw, self.now)
        };
        host.own_until = self.now.saturating_add(lasts);
        self.calendar.put(host.own_until, Event::Habit(number));
        self.refresh(number);
    }

    /// Whether a Host is there follows from its owner and the weather.
    pub(crate) fn refresh(&mut self, number: u32) {
        let at = number as usize;
        let host = &mut self.hosts.all[at];
        let up = host.alive && host.own_on && self.now >= host.storm_until;
        let bandwidth = f64::from(host.bandwidth);
        match (self.hosts.online[at], up) {
            (true, false) => {
                host.off_since = self.now;
                self.hosts.online[at] = false;
                self.hosts.bandwidth_online -= bandwidth;
                self.fell_silent(number);
                self.expect(number);
            }
            (false, true) => {
                host.off_since = NEVER;
                self.hosts.online[at] = true;
                self.hosts.bandwidth_online += bandwidth;
                self.came_back(number);
            }
            // What was settled about its return may have changed.
            (false, false) => self.expect(number),
            (true, true) => {}
        }
    }

    /// A Host leaves and says so: its shards are moved while it waits.
    fn announce(&mut self, number: u32) {
        let at = number as usize;
        if !self.hosts.all[at].alive {
            return;
        }
        self.hosts.all[at].leaving = true;
        if self.hosts.belief[at] == Belief::Here {
            self.believe(number, Belief::Leaving);
        }
        self.calendar.put(self.now + 3 * DAY, Event::Death(number));
    }

    /// A Host leaves for good.
    fn depart(&mut self, number: u32) {
        let at = number as usize;
        if !self.hosts.all[at].alive {
            return;
        }
        self.hosts.all[at].alive = false;
        self.outcome.departed += 1;
        self.take_shards(number, |causes| &mut causes.departure);
        if self.hosts.all[at].leaving {
            // It signed its exit.
            self.believe(number, Belief::Gone);
        }
        self.refresh(number);
        let after = crate::draw::whole(self.draw.exponential(ARRIVAL_MEAN));
        self.calendar.put(self.now + after, Event::Arrival);
    }

    pub(crate) fn rebuild_table(&mut self) {
        let candidates = self.hosts.candidates(self.model, self.weight, self.now);
        self.table = Table::new(candidates);
    }

    /// Stores all segments at once, on Hosts that are online.
    fn place(&mut self) {
        self.rebuild_table();
        let n = self.segments.n;
        for segment in 0..self.segments.len() {
            let wanted = Wanted {
                count: n,
                of: n,
                shard_size: ShardSize::MAX,
                near: None,
                beside: &[],
            };
            let Ok(picked) = self.table.pick(&mut self.draw.0, &wanted) else {
                // A fleet too small for the class stores nothing.
                self.segments.lost[segment as usize] = true;
                continue;
            };
            for (slot, host) in self.segments.slots_of(segment).zip(picked) {
                self.segments.host[slot as usize] = host;
                self.segments.intact[slot as usize] = true;
                self.hosts.all[host as usize].slots.push(slot);
            }
            let count = u8::try_from(n).unwrap_or(u8::MAX);
            self.segments.here[segment as usize] = count;
            self.segments.left[segment as usize] = count;
        }
        // What happened in the rehearsal counts for nothing.
        self.outcome.departed = 0;
        self.outcome.disks_lost = 0;
        self.outcome.given_up = 0;
        self.outcome.given_up_returned = 0;
    }

    fn conclude(mut self) -> Outcome {
        let (model, days) = (self.model, f64::from(self.model.days));
        let hosts = f64::from(model.hosts);
        let stored = model.stored_bytes_per_host * hosts;
        self.samples.conclude(&mut self.outcome);
        let outcome = &mut self.outcome;
        outcome.shard_weight = self.weight;
        outcome.repair_bytes_per_host_day = self.bytes_moved / hosts / days;
        outcome.repair_share_of_bandwidth = self.bytes_moved / self.samples.uploadable().max(1.0);
        outcome.repair_bytes_per_stored_byte = self.bytes_moved / stored * 365.0 / days;
        outcome.conclude();
        self.outcome
    }
}
