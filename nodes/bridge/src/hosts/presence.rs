//! What the Bridge believes about a Host that is silent. Offline is not lost: only long silence in
//! the hours it promised makes its shards count as missing, and when it comes back they count
//! again.

use metastore::HostState;
use model::units::UnixMs;
use model::wire::Schedule;

use crate::timing::Timing;

/// The presence of a Host: `serving` where it is connected and not paused, else last heard
/// serving at `last_seen`.
#[must_use]
pub fn presence(
    timing: &Timing,
    serving: bool,
    schedule: &Schedule,
    last_seen: UnixMs,
    now: UnixMs,
) -> HostState {
    if serving {
        return HostState::Online;
    }
    let silence = now.since_ms(last_seen);
    // Missed time is never more than silence: most Hosts are decided here.
    let missed = if silence >= timing.absent_after_ms {
        schedule.promised_ms(last_seen, now)
    } else {
        0
    };
    let at_last = missed > 0 && silence >= timing.lost_at_last_ms;
    if missed >= timing.lost_after_ms || at_last {
        HostState::Lost
    } else if missed >= timing.absent_after_ms {
        HostState::Absent
    } else if schedule.promises(now) {
        HostState::Suspect
    } else {
        HostState::ScheduledOff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    /// A Monday, 00:00 UTC.
    const MONDAY: UnixMs = UnixMs(1_704_067_200_000);

    fn after(schedule: &Schedule, hours: u64) -> HostState {
        let now = MONDAY.plus_ms(hours * HOUR);
        presence(&Timing::STANDARD, false, schedule, MONDAY, now)
    }

    #[test]
    fn silence_counts_for_more_the_longer_it_lasts() {
        let always = Schedule::ALWAYS;
        let now = MONDAY.plus_ms(100 * HOUR);
        let serving = presence(&Timing::STANDARD, true, &always, MONDAY, now);
        assert_eq!(serving, HostState::Online);
        assert_eq!(after(&always, 1), HostState::Suspect);
        assert_eq!(after(&always, 5), HostState::Absent);
        assert_eq!(after(&always, 73), HostState::Lost);
    }

    #[test]
    fn only_promised_hours_count() {
        // The first hour of every day.
        let daily: Schedule = "800000".repeat(7).parse().unwrap();
        assert_eq!(after(&daily, 5), HostState::ScheduledOff);
        assert_eq!(after(&daily, 73), HostState::Absent, "4 hours missed");
        assert_eq!(after(&daily, 24 * 13), HostState::Absent);
        assert_eq!(
            after(&daily, 24 * 15),
            HostState::Lost,
            "two weeks of silence"
        );
        let never: Schedule = "0".repeat(42).parse().unwrap();
        assert_eq!(after(&never, 24 * 60), HostState::ScheduledOff);
    }
}
