//! What the Bridge believes about a Host that is silent. Offline is not lost: only long silence,
//! beyond the hours it promised, makes its shards count as missing.

use metastore::HostState;
use model::units::UnixMs;
use model::wire::Schedule;

/// Silence after which a Host's shards count as missing.
pub const ABSENT_AFTER_MS: u64 = 4 * 3_600_000;
/// Silence after which a Host is given up.
pub const LOST_AFTER_MS: u64 = 72 * 3_600_000;

/// The presence of a Host.
#[must_use]
pub fn presence(connected: bool, schedule: &Schedule, last_seen: UnixMs, now: UnixMs) -> HostState {
    match now.since_ms(last_seen) {
        _ if connected => HostState::Online,
        silence if silence >= LOST_AFTER_MS => HostState::Lost,
        _ if !schedule.promises(now) => HostState::ScheduledOff,
        silence if silence >= ABSENT_AFTER_MS => HostState::Absent,
        _ => HostState::Suspect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_for_more_the_longer_it_lasts() {
        let (now, always) = (UnixMs(1_000 * 3_600_000), Schedule::ALWAYS);
        let never: Schedule = "0".repeat(42).parse().unwrap();
        let seen = |hours: u64| UnixMs(now.0 - hours * 3_600_000);
        assert_eq!(presence(true, &always, seen(100), now), HostState::Online);
        assert_eq!(presence(false, &always, seen(1), now), HostState::Suspect);
        assert_eq!(presence(false, &always, seen(5), now), HostState::Absent);
        assert_eq!(
            presence(false, &never, seen(5), now),
            HostState::ScheduledOff
        );
        assert_eq!(presence(false, &never, seen(73), now), HostState::Lost);
    }
}
