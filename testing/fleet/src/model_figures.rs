//! The figures of the world: each with its reason here, with its source in `docs/durability.md`.

use bridge::timing::Timing;
use model::formats::shape::Class;
use serde::{Deserialize, Serialize};

/// How the repair queue treats a segment that cannot be repaired now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueRule {
    /// By urgency, and what is blocked is put aside: as the Bridge does it.
    Urgent,
    /// First come, first served, and the first one that is blocked holds up all behind it. Kept
    /// as a warning.
    WaitForFirst,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Model {
    /// Everything random follows from it.
    pub seed: u64,
    /// Hosts; as many join as leave.
    pub hosts: u32,
    /// Segments that are watched.
    pub segments: u32,
    /// How they are coded.
    pub class: Class,
    /// Days that are counted, behind a week in which Hosts find their rhythm.
    pub days: u32,
    /// The Bridge's patience.
    pub timing: Timing,
    /// The Bridge's queue.
    pub queue: QueueRule,
    /// Whether placement knows how much of what it promised each sort of Host keeps. The Bridge
    /// does not, so far: it goes by what is declared.
    pub history: bool,
    /// Whether anything is repaired at all.
    pub repairs: bool,
    /// What people do.
    pub habits: Habits,
    /// What breaks.
    pub hazards: Hazards,
    /// What a Host stores, in bytes: how many shards each watched one stands for.
    pub stored_bytes_per_host: f64,
    /// The share of declared bandwidth that repair may take.
    pub repair_share: f64,
}

/// How people use their computers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habits {
    /// Share of Hosts with a weekly schedule that they declare and keep, mostly.
    pub scheduled: f64,
    /// Share of Hosts that are off every night and declare nothing of it.
    pub nightly: f64,
    /// The others are meant to be on always; this long on average, in minutes, Weibull …
    pub on_scale_min: f64,
    /// … of this shape.
    pub on_shape: f64,
    /// Then they are off for this long, median in minutes, lognormal …
    pub off_median_min: f64,
    /// … with this σ.
    pub off_sigma: f64,
    /// A day on which a scheduled or nightly Host stays off.
    pub day_skipped: f64,
    /// Going off becomes a long absence, for Hosts that are meant to be on …
    pub absence: f64,
    /// … and for those that are switched off every day.
    pub absence_daily: f64,
    /// A long absence lasts at least this long, Pareto …
    pub absence_least_min: f64,
    /// … with this exponent …
    pub absence_alpha: f64,
    /// … and at most this long.
    pub absence_most_min: f64,
    /// Chance that a Host that is on cannot be reached at a given moment: restarts, bad radio.
    pub hiccup: f64,
    /// How long Hosts stay, Weibull: scale in days …
    pub life_scale_days: f64,
    /// … and shape; below 1 those that stayed long stay longer.
    pub life_shape: f64,
    /// Share of leaving Hosts that say so.
    pub announced: f64,
    /// Median of declared upload bandwidth, bytes per second, lognormal with σ = 1.
    pub bandwidth_median: f64,
}

/// What breaks, by itself and together. Rates are per year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hazards {
    /// Hosts that lose everything they store.
    pub disk: f64,
    /// Shards that rot.
    pub rot: f64,
    /// A scrub finds rot within this many days.
    pub scrub_days: f64,
    /// Outages of a zone, as its Hosts see them …
    pub zone_outages: f64,
    /// … median length in minutes, lognormal …
    pub zone_outage_min: f64,
    /// … with this σ.
    pub zone_outage_sigma: f64,
    /// Zones that lose all their Hosts' disks: fire, flood, theft.
    pub fires: f64,
    /// Outages of an autonomous system …
    pub system_outages: f64,
    /// … median length in minutes, lognormal …
    pub system_outage_min: f64,
    /// … with this σ.
    pub system_outage_sigma: f64,
    /// A bad version of the software, once a year: share of Hosts that it reaches …
    pub version_share: f64,
    /// … of which this share loses everything within a day.
    pub version_loses: f64,
}

impl Model {
    /// The standard world.
    #[must_use]
    pub const fn new(class: Class, hosts: u32, segments: u32, seed: u64) -> Self {
        Self {
            seed,
            hosts,
            segments,
            class,
            days: 365,
            timing: Timing::STANDARD,
            queue: QueueRule::Urgent,
            history: false,
            repairs: true,
            habits: Habits::HOME,
            hazards: Hazards::HOME,
            stored_bytes_per_host: 2e11,
            repair_share: 0.2,
        }
    }

    /// A world where everybody stays, and nothing but what is set breaks.
    #[must_use]
    pub const fn calm(class: Class, hosts: u32, segments: u32, seed: u64) -> Self {
        let mut model = Self::new(class, hosts, segments, seed);
        model.habits = Habits::DEVOTED;
        model.hazards = Hazards::NONE;
        model
    }
}

impl Habits {
    /// Home computers.
    pub const HOME: Self = Self {
        scheduled: 0.25,
        nightly: 0.10,
        // A mean of five days.
        on_scale_min: 4_784.0,
        on_shape: 0.6,
        off_median_min: 42.0,
        off_sigma: 1.5,
        day_skipped: 0.06,
        absence: 0.03,
        absence_daily: 0.01,
        absence_least_min: 720.0,
        absence_alpha: 1.1,
        absence_most_min: 64_800.0,
        hiccup: 0.01,
        life_scale_days: 500.0,
        life_shape: 0.6,
        announced: 0.3,
        bandwidth_median: 2_500_000.0,
    };

    /// Hosts that are always there.
    pub const DEVOTED: Self = Self {
        scheduled: 0.0,
        nightly: 0.0,
        on_scale_min: 1e12,
        on_shape: 1.0,
        absence: 0.0,
        hiccup: 0.0,
        life_scale_days: 1e12,
        life_shape: 1.0,
        ..Self::HOME
    };
}

impl Hazards {
    /// Disks, power and networks as they are at home.
    pub const HOME: Self = Self {
        disk: 0.03,
        rot: 1e-4,
        scrub_days: 30.0,
        zone_outages: 2.0,
        zone_outage_min: 120.0,
        zone_outage_sigma: 1.3,
        fires: 2e-4,
        system_outages: 0.5,
        system_outage_min: 90.0,
        system_outage_sigma: 1.2,
        version_share: 0.10,
        version_loses: 0.10,
    };

    /// Nothing breaks.
    pub const NONE: Self = Self {
        disk: 0.0,
        rot: 0.0,
        zone_outages: 0.0,
        fires: 0.0,
        system_outages: 0.0,
        version_share: 0.0,
        version_loses: 0.0,
        ..Self::HOME
    };
}
