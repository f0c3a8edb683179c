//! Whether a segment needs repair, and how urgently. Pure arithmetic over what is believed of the
//! Hosts, shared with the fleet simulation.
//!
//! Silence is not loss: a segment whose Hosts are merely absent is repaired only when few shards
//! are left, since most come back (declaring them lost at once cost sixteen times the traffic in a
//! model). What is gone for good is made anew at once, if nothing more urgent waits: putting it
//! off saves nothing, for every shard is restored by itself.

use std::cmp::Ordering;

use metastore::HostState;

/// What is believed of the Host of a shard, one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Belief {
    /// It is there, or away as planned, or for a short while.
    Here,
    /// As `Here`, and on its way out: its shards move elsewhere.
    Leaving,
    /// Silent for long.
    Away,
    /// Given up, or no Host has the shard.
    Gone,
}

impl Belief {
    /// What presence means for shards.
    #[must_use]
    pub const fn of(state: HostState) -> Self {
        match state {
            HostState::Online | HostState::ScheduledOff | HostState::Suspect => Self::Here,
            HostState::Absent => Self::Away,
            HostState::Lost => Self::Gone,
        }
    }
}

/// The shards of a segment by what is believed of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Shards that count, those of leaving Hosts included.
    pub here: u16,
    /// Of those, shards of Hosts that leave.
    pub leaving: u16,
    /// Shards of Hosts that are silent for long.
    pub away: u16,
    /// Shards that are nowhere.
    pub gone: u16,
    /// Shards beyond the first in one zone.
    pub clumped: u16,
}

/// Why a segment is repaired, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Shards are missing.
    Missing,
    /// Two shards share a zone.
    Clumped,
    /// A Host wants to leave.
    Leaving,
}

/// A segment that needs repair. Orders by urgency: what is to be done first is least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Why.
    pub cause: Cause,
    /// Shards that may still be lost before it cannot be restored; negative where it cannot now.
    pub spare: i16,
    /// Tenths of decimal places in the chance that it is lost before long: expected time to loss.
    pub nines_tenths: u16,
    /// Whether it is repaired also while an outage is on.
    pub critical: bool,
}

impl Ord for Need {
    fn cmp(&self, other: &Self) -> Ordering {
        // What cannot be restored now comes behind all that can: it waits for Hosts to return.
        let hopeless = |need: &Self| need.spare < 0;
        (hopeless(self), self.cause, self.spare, self.nines_tenths).cmp(&(
            hopeless(other),
            other.cause,
            other.spare,
            other.nines_tenths,
        ))
    }
}

impl PartialOrd for Need {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Shards left at which absent Hosts are no longer waited for: k + ⌈(n − k) / 2⌉; mirrors are
/// made anew at once.
#[must_use]
pub const fn threshold(k: u16, n: u16) -> u16 {
    if k == 1 {
        n.saturating_sub(1)
    } else {
        k + n.saturating_sub(k).div_ceil(2)
    }
}

/// Shards left at which a segment is repaired whatever else goes on: k + ⌈(n − k) / 4⌉.
#[must_use]
pub const fn critical(k: u16, n: u16) -> u16 {
    k + n.saturating_sub(k).div_ceil(4)
}

impl Tally {
    /// Of a segment's shards; `zone` is any number that tells zones apart.
    pub fn of(slots: impl Iterator<Item = (Belief, u32)>) -> Self {
        let mut tally = Self::default();
        // At most 64 shards: looking through those before is cheaper than any set.
        let mut zones = [0; model::units::SHARDS_PER_SEGMENT_MAX as usize];
        let mut used = 0;
        for (belief, zone) in slots {
            match belief {
                Belief::Away => tally.away += 1,
                Belief::Gone => tally.gone += 1,
                Belief::Here | Belief::Leaving => {
                    tally.here += 1;
                    tally.leaving += u16::from(belief == Belief::Leaving);
                    let before = zones.get(..used).unwrap_or_default();
                    if before.contains(&zone) {
                        tally.clumped += 1;
                    } else if let Some(place) = zones.get_mut(used) {
                        *place = zone;
                        used += 1;
                    }
                }
            }
        }
        tally
    }

    /// What the segment needs; `None` where it is well.
    #[must_use]
    pub fn need(&self, k: u16, n: u16) -> Option<Need> {
        let missing = self.gone > 0 || (self.away > 0 && self.here <= threshold(k, n));
        let cause = if missing {
            Cause::Missing
        } else if self.clumped > 0 {
            Cause::Clumped
        } else if self.leaving > 0 {
            Cause::Leaving
        } else {
            return None;
        };
        let spare = i16::try_from(self.here).unwrap_or(i16::MAX) - i16::try_from(k).unwrap_or(1);
        Some(Need {
            cause,
            spare,
            nines_tenths: nines_tenths(self.here, k),
            critical: missing && self.here <= critical(k, n),
        })
    }

    /// Whether shards of absent Hosts are made anew as well.
    #[must_use]
    pub const fn takes_absent(&self, k: u16, n: u16) -> bool {
        self.here <= threshold(k, n)
    }
}

/// −10 · log₁₀ of the chance that more than here − k of `here` shards are lost, where one in a
/// hundred is. Only compared with itself.
fn nines_tenths(here: u16, k: u16) -> u16 {
    let Some(spare) = here.checked_sub(k) else {
        return 0;
    };
    let lost = f64::from(spare) + 1.0;
    // log₁₀ of here choose (spare + 1), term by term.
    let ways: f64 = (0..=spare)
        .map(|i| (f64::from(here - i) / (f64::from(i) + 1.0)).log10())
        .sum();
    let nines = 10.0 * (2.0 * lost - ways);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    let tenths = nines.clamp(0.0, 65_535.0) as u16;
    tenths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(here: u16, away: u16, gone: u16) -> Tally {
        Tally {
            here,
            away,
            gone,
            ..Tally::default()
        }
    }

    #[test]
    fn absent_hosts_are_waited_for_until_the_threshold() {
        assert_eq!(threshold(4, 8), 6);
        assert_eq!(threshold(16, 32), 24);
        assert_eq!(threshold(1, 3), 2);
        assert_eq!(tally(7, 1, 0).need(4, 8), None);
        let need = tally(6, 2, 0).need(4, 8).unwrap();
        assert_eq!(
            (need.cause, need.spare, need.critical),
            (Cause::Missing, 2, false)
        );
        assert!(tally(5, 3, 0).need(4, 8).unwrap().critical);
        assert!(tally(2, 1, 0).need(1, 3).is_some(), "mirrors at once");
    }

    #[test]
    fn what_is_gone_is_made_anew_at_once() {
        let need = tally(7, 0, 1).need(4, 8).unwrap();
        assert_eq!((need.cause, need.spare), (Cause::Missing, 3));
        assert!(!tally(7, 0, 1).takes_absent(4, 8));
    }

    #[test]
    fn zones_are_shared_by_those_that_are_here_only() {
        use Belief::{Away, Gone, Here, Leaving};
        let slots = [(Here, 1), (Leaving, 1), (Here, 2), (Away, 2), (Gone, 2)];
        let found = Tally::of(slots.into_iter());
        let expected = Tally {
            here: 3,
            leaving: 1,
            away: 1,
            gone: 1,
            clumped: 1,
        };
        assert_eq!(found, expected);
        let well = Tally::of((0..8).map(|zone| (Here, zone)));
        assert_eq!(well.need(4, 8), None);
    }

    #[test]
    fn the_order_is_by_what_is_left_and_the_hopeless_come_last() {
        let need = |here, away, gone, k, n| tally(here, away, gone).need(k, n).unwrap();
        let leaving = Tally {
            here: 8,
            leaving: 1,
            ..Tally::default()
        };
        let clumped = Tally {
            here: 8,
            clumped: 1,
            ..Tally::default()
        };
        let mut needs = [
            leaving.need(4, 8).unwrap(),
            need(3, 5, 0, 4, 8),
            clumped.need(4, 8).unwrap(),
            need(6, 2, 0, 4, 8),
            need(4, 4, 0, 4, 8),
            need(17, 15, 0, 16, 32),
            need(5, 3, 0, 4, 8),
        ];
        needs.sort_unstable();
        let order: Vec<(Cause, i16)> = needs.iter().map(|need| (need.cause, need.spare)).collect();
        use Cause::{Clumped, Leaving, Missing};
        let expected = [
            (Missing, 0),
            (Missing, 1),
            (Missing, 1),
            (Missing, 2),
            (Clumped, 4),
            (Leaving, 4),
            (Missing, -1),
        ];
        assert_eq!(order, expected);
        // Of two with one to spare the one with more Hosts that may fail comes first.
        assert!(needs[1].nines_tenths < needs[2].nines_tenths);
    }
}
