//! How patient a Bridge is: when silence counts, how often it asks for proofs and looks for what
//! to repair. Two profiles: for a network, and for trying one out on one machine.

use std::time::Duration;

const S: u64 = 1_000;
const MIN: u64 = 60 * S;
const HOUR: u64 = 60 * MIN;
const DAY: u64 = 24 * HOUR;

/// The spans that liveness, audits, repair and retain sets go by, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a Host.
    pub heartbeat_ms: u64,
    /// Silence after which a channel is given up.
    pub silence_max_ms: u64,
    /// Silence in promised hours after which a Host's shards count as missing.
    pub absent_after_ms: u64,
    /// Silence in promised hours after which a Host is given up.
    pub lost_after_ms: u64,
    /// Silence after which a Host is given up that missed any promised hour.
    pub lost_at_last_ms: u64,
    /// Between two audits of one Host, on average.
    pub audit_every_ms: u64,
    /// How long a Host may take to answer one.
    pub audit_within_ms: u64,
    /// How long a Host that did not answer is left alone before it is asked again.
    pub audit_again_ms: u64,
    /// Between two scans of all groups.
    pub scan_every_ms: u64,
    /// How long a repair may take.
    pub repair_within_ms: u64,
    /// Between two retain sets for one Host.
    pub retain_every_ms: u64,
    /// Records younger than this are in no retain set.
    pub retain_older_than_ms: u64,
    /// Passed audits after which a Host counts as vetted.
    pub vetted_audits: u64,
}

impl Timing {
    /// For a network of home computers.
    pub const STANDARD: Self = Self {
        heartbeat_ms: 20 * S,
        silence_max_ms: 70 * S,
        absent_after_ms: 4 * HOUR,
        lost_after_ms: 72 * HOUR,
        lost_at_last_ms: 14 * DAY,
        // 180 a day: of a Host that dropped one shard in a hundred, three days find one with
        // 1 - 0.99^540 = 99.6 %, at 12 MB a day.
        audit_every_ms: 8 * MIN,
        audit_within_ms: 2 * MIN,
        audit_again_ms: HOUR,
        scan_every_ms: 5 * MIN,
        repair_within_ms: 30 * MIN,
        retain_every_ms: 7 * DAY,
        retain_older_than_ms: 26 * HOUR,
        vetted_audits: 100,
    };

    /// For trying a network out: everything within seconds, and new Hosts trusted at once.
    pub const DEV: Self = Self {
        heartbeat_ms: 2 * S,
        silence_max_ms: 10 * S,
        absent_after_ms: 20 * S,
        lost_after_ms: MIN,
        lost_at_last_ms: MIN,
        audit_every_ms: 5 * S,
        audit_within_ms: 10 * S,
        audit_again_ms: 5 * S,
        scan_every_ms: 5 * S,
        repair_within_ms: MIN,
        retain_every_ms: MIN,
        retain_older_than_ms: 26 * HOUR,
        vetted_audits: 0,
    };

    /// Time between heartbeats.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// Silence after which a channel is given up.
    #[must_use]
    pub const fn silence_max(&self) -> Duration {
        Duration::from_millis(self.silence_max_ms)
    }
}
