//! Every Host that ever joined: what it is, how it is, and which slots were given to it.

use bridge::repair::judge::Belief;
use model::placement::Candidate;
use model::placement::{Region, online_ppm};
use model::units::SHARD_BYTES_MAX;
use model::wire::Schedule;

use crate::draw::{Draw, whole};
use crate::habits::{Habit, Patterns};
use crate::minutes::{DAY, Minute, NEVER};
use crate::model_figures::Model;

/// Hosts in one autonomous system, on average …
const HOSTS_PER_SYSTEM: u32 = 400;
/// … of which there are at least so many.
const SYSTEMS_MIN: u32 = 50;
/// One Host in so many stands in a zone with others, of so many on average.
const CLUSTERED_SHARE: f64 = 0.10;
const CLUSTER_MEAN: f64 = 5.0;
/// Ages of the Hosts that are there at the start, at most, in days.
const AGE_DAYS_MAX: f64 = 730.0;
/// The slowest upload that is let in, in bytes per second.
const BANDWIDTH_MIN: f64 = 125_000.0;
/// What a Host can store, as a multiple of what it stores.
const ROOM: f64 = 2.0;
/// Presence in which a newcomer passes a hundred audits, in minutes.
pub(crate) const VETTED_AFTER: Minute = 800;

/// One Host.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, a byte each: there are millions of Hosts"
)]
#[derive(Debug)]
pub(crate) struct Host {
    /// Slots that were given to it, also those that were given to others since.
    pub(crate) slots: Vec<u32>,
    /// When its owner switches it on or off next.
    pub(crate) own_until: Minute,
    /// It cannot be reached before this.
    pub(crate) storm_until: Minute,
    /// Since when it is offline; [`NEVER`] while it is not.
    pub(crate) off_since: Minute,
    pub(crate) joined: Minute,
    /// Upload, in bytes per second.
    pub(crate) bandwidth: f32,
    pub(crate) habit: Habit,
    pub(crate) region: u8,
    /// Its schedule, by number.
    pub(crate) pattern: u16,
    /// Its owner has it switched on.
    pub(crate) own_on: bool,
    pub(crate) alive: bool,
    pub(crate) leaving: bool,
    /// Gets new versions first.
    pub(crate) early: bool,
}

/// All of them. What is read for many Hosts at a time lies apart, close together.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) all: Vec<Host>,
    /// Whether each can be reached.
    pub(crate) online: Vec<bool>,
    /// What the Bridge believes of each.
    pub(crate) belief: Vec<Belief>,
    /// The zone of each: the number of its first Host.
    pub(crate) zone: Vec<u32>,
    /// Members of zones of several.
    clusters: std::collections::BTreeMap<u32, Vec<u32>>,
    pub(crate) systems: Vec<Vec<u32>>,
    /// Sum of shares by which a system is drawn.
    system_shares: Vec<f64>,
    /// Bytes per second of all that are online.
    pub(crate) bandwidth_online: f64,
    pub(crate) patterns: Patterns,
}

impl Hosts {
    /// Those that are there at the start, of every age.
    pub(crate) fn new(model: &Model, draw: &mut Draw) -> Self {
        let systems = (model.hosts / HOSTS_PER_SYSTEM).max(SYSTEMS_MIN);
        let mut sum = 0.0;
        let shares = (1..=systems).map(|rank| {
            // Zipf, but no giant: the first has some percent of all Hosts.
            sum += f64::from(rank + 4).recip();
            sum
        });
        let mut hosts = Self {
            system_shares: shares.collect(),
            systems: vec![Vec::new(); systems as usize],
            patterns: Patterns::new(),
            ..Self::default()
        };
        for _ in 0..model.hosts {
            hosts.join(model, draw, 0);
        }
        hosts
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Somebody joins; returns the Host.
    pub(crate) fn join(&mut self, model: &Model, draw: &mut Draw, now: Minute) -> u32 {
        let number = self.len();
        let zone = self.draw_zone(draw, number);
        let system = self.draw_system(draw);
        let region = self.patterns.draw_region(draw);
        let habit = Habit::draw(&model.habits, draw);
        let host = Host {
            slots: Vec::new(),
            own_until: now + 1 + draw.below(DAY),
            storm_until: 0,
            off_since: NEVER,
            joined: now,
            bandwidth: {
                let drawn = draw.lognormal(model.habits.bandwidth_median, 1.0);
                narrow(drawn.max(BANDWIDTH_MIN))
            },
            habit,
            region,
            pattern: self.patterns.draw(habit, region, draw),
            own_on: true,
            alive: true,
            leaving: false,
            early: draw.chance(model.hazards.version_share),
        };
        self.bandwidth_online += f64::from(host.bandwidth);
        self.all.push(host);
        self.online.push(true);
        self.belief.push(Belief::Here);
        self.zone.push(zone);
        if let Some(members) = self.systems.get_mut(system as usize) {
            members.push(number);
        }
        number
    }

    /// How long a Host stays that is there now: a newcomer, or one of any age.
    pub(crate) fn draw_stay(model: &Model, draw: &mut Draw, newcomer: bool) -> Minute {
        let (scale, shape) = (model.habits.life_scale_days, model.habits.life_shape);
        let mut age = 0.0;
        if !newcomer {
            // Of each age as many as are left of those that joined then.
            age = loop {
                let age = AGE_DAYS_MAX * draw.unit();
                if draw.chance((-(age / scale).powf(shape)).exp()) {
                    break age;
                }
            };
        }
        let left = (age / scale).powf(shape) - draw.unit().ln();
        let days = scale * left.powf(shape.recip()) - age;
        whole(days * f64::from(DAY))
    }

    /// Zones are mostly of one Host.
    fn draw_zone(&mut self, draw: &mut Draw, number: u32) -> u32 {
        if number == 0 || !draw.chance(CLUSTERED_SHARE) {
            return number;
        }
        // Beside the Host before, or the first of a zone that others will join.
        let before = number - 1;
        let first = match self.clusters.keys().next_back() {
            Some(first) if !draw.chance(CLUSTER_MEAN.recip()) => *first,
            _ => before,
        };
        let zone = self.zone.get(first as usize).copied().unwrap_or(number);
        self.clusters
            .entry(zone)
            .or_insert_with(|| vec![zone])
            .push(number);
        zone
    }

    fn draw_system(&self, draw: &mut Draw) -> u32 {
        let total = self.system_shares.last().copied().unwrap_or(0.0);
        let drawn = draw.unit() * total;
        let at = self.system_shares.partition_point(|sum| *sum < drawn);
        u32::try_from(at).unwrap_or(0)
    }

    /// All Hosts of a zone.
    pub(crate) fn of_zone(&self, zone: u32) -> Vec<u32> {
        let members = self.clusters.get(&zone);
        members.cloned().unwrap_or_else(|| vec![zone])
    }

    pub(crate) fn schedule(&self, host: u32) -> &Schedule {
        self.patterns.schedule(self.all[host as usize].pattern)
    }

    /// When a Host that is offline may be back, as far as is settled: never before this.
    pub(crate) fn back_at(&self, host: u32) -> Minute {
        let host = &self.all[host as usize];
        if !host.alive {
            NEVER
        } else if host.own_on {
            host.storm_until
        } else {
            host.storm_until.max(host.own_until)
        }
    }

    /// The Hosts as placement sees them. As in the Bridge, systems and operators are unknown, and
    /// the chance to be online is what was declared.
    pub(crate) fn candidates(&self, model: &Model, weight: f64, now: Minute) -> Vec<Candidate> {
        let room = ROOM * model.stored_bytes_per_host;
        let kept = |belief: &Belief| *belief != Belief::Gone;
        let mut candidates = Vec::with_capacity(self.all.len());
        for (alias, host) in (0..).zip(&self.all) {
            let at = alias as usize;
            if !host.alive || !self.belief.get(at).is_some_and(kept) {
                continue;
            }
            let held = host.slots.len() as f64 * weight * f64::from(SHARD_BYTES_MAX);
            let hours = self.patterns.hours(host.pattern);
            candidates.push(Candidate {
                alias,
                zone: u64::from(self.zone[at]),
                operator: 0,
                asn: 0,
                region: Region(u16::from(host.region) + 1),
                open: self.online[at] && !host.leaving,
                vetted: host.joined == 0 || now >= host.joined + VETTED_AFTER,
                free_bytes: wide((room - held).max(0.0)),
                bandwidth: wide(f64::from(host.bandwidth)),
                reputation_ppm: 1_000_000,
                online_ppm: online_ppm(hours, kept_ppm(model, host.habit)),
            });
        }
        candidates
    }
}

/// What a Host keeps of what it promised, as far as placement knows; see the tests of `habits`.
const fn kept_ppm(model: &Model, habit: Habit) -> u32 {
    match habit {
        _ if !model.history => 1_000_000,
        Habit::Always => 970_000,
        Habit::Scheduled => 920_000,
        Habit::Nightly => 420_000,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "bandwidth needs no more precision"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate"
)]
const fn wide(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::formats::shape::Class;

    #[test]
    fn zones_and_systems_have_their_members() {
        let model = Model::new(Class::Mirrors { n: 3 }, 20_000, 1, 3);
        let hosts = Hosts::new(&model, &mut Draw::new(3));
        let alone =
            (0..20_000_u32).filter(|host| hosts.of_zone(hosts.zone[*host as usize]).len() == 1);
        let alone = alone.count();
        assert!((16_000..18_500).contains(&alone), "{alone}");
        for host in 0..20_000_u32 {
            assert!(hosts.of_zone(hosts.zone[host as usize]).contains(&host));
        }
        let largest = hosts.systems.iter().map(Vec::len).max().unwrap();
        assert!((500..2_500).contains(&largest), "{largest}");
        assert_eq!(hosts.systems.iter().map(Vec::len).sum::<usize>(), 20_000);
    }

    #[test]
    fn those_that_stayed_long_stay_longer() {
        let model = Model::new(Class::Mirrors { n: 3 }, 1, 1, 3);
        let mut draw = Draw::new(3);
        let mut median = |newcomer| {
            let mut stays: Vec<Minute> = (0..10_001)
                .map(|_| Hosts::draw_stay(&model, &mut draw, newcomer))
                .collect();
            stays.sort_unstable();
            f64::from(stays[5_000]) / f64::from(DAY)
        };
        let newcomers = median(true);
        assert!((newcomers / 271.0 - 1.0).abs() < 0.1, "{newcomers}");
        assert!(median(false) > 1.3 * newcomers);
    }
}
