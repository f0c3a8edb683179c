//! The outage breaker: where many zones fall silent at once, it is the network, the power or the
//! Bridge that failed. Then nobody is blamed, and all but critical repair waits, for some hours.

use std::collections::BTreeMap;

use model::units::UnixMs;

/// Zones that fall silent within this long count together.
const WINDOW_MS: u64 = 15 * 60_000;
/// So many zones, and
const ZONES_MIN: usize = 10;
/// more than one in so many of all vetted ones.
const ZONES_SHARE: usize = 50;
/// An outage that lasts longer is repaired like any loss.
const OPEN_MAX_MS: u64 = 6 * 3_600_000;

/// Which zones fell silent lately.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    silent: BTreeMap<u64, UnixMs>,
    open: Option<UnixMs>,
}

impl Breaker {
    /// No vetted Host of the zone is there any more.
    pub fn fell_silent(&mut self, zone: u64, now: UnixMs) {
        self.silent.entry(zone).or_insert(now);
    }

    /// One is there again.
    pub fn came_back(&mut self, zone: u64) {
        self.silent.remove(&zone);
    }

    /// Whether an outage is on, among `zones` vetted zones.
    pub fn is_open(&mut self, zones: usize, now: UnixMs) -> bool {
        self.silent
            .retain(|_, since| now.since_ms(*since) <= OPEN_MAX_MS);
        let lately = self
            .silent
            .values()
            .filter(|since| now.since_ms(**since) <= WINDOW_MS);
        let lately = lately.count();
        let many = |silent: usize| silent >= ZONES_MIN && silent * ZONES_SHARE > zones;
        match self.open {
            // Once open it stays open until most are back, or for too long.
            Some(since) if many(self.silent.len()) && now.since_ms(since) <= OPEN_MAX_MS => {}
            Some(_) => {
                self.open = None;
                self.silent.clear();
            }
            None if many(lately) => self.open = Some(now),
            None => {}
        }
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(zones: u64) -> Breaker {
        let mut breaker = Breaker::default();
        (0..zones).for_each(|zone| breaker.fell_silent(zone, UnixMs(zone)));
        breaker
    }

    #[test]
    fn it_takes_many_zones_and_a_share_of_all() {
        assert!(!silent(9).is_open(100, UnixMs(10)));
        assert!(silent(10).is_open(100, UnixMs(10)));
        assert!(!silent(10).is_open(500, UnixMs(10)), "2 % are usual");
        assert!(silent(11).is_open(500, UnixMs(11)));
        assert!(
            !silent(10).is_open(100, UnixMs(WINDOW_MS + 20)),
            "too slowly"
        );
    }

    #[test]
    fn it_closes_when_most_are_back_and_after_six_hours() {
        let mut breaker = silent(20);
        assert!(breaker.is_open(100, UnixMs(20)));
        (0..11).for_each(|zone| breaker.came_back(zone));
        assert!(!breaker.is_open(100, UnixMs(3_600_000)));
        let mut breaker = silent(20);
        assert!(breaker.is_open(100, UnixMs(20)));
        assert!(breaker.is_open(100, UnixMs(OPEN_MAX_MS)));
        assert!(!breaker.is_open(100, UnixMs(OPEN_MAX_MS + 30)));
        assert!(!breaker.is_open(100, UnixMs(OPEN_MAX_MS + 40)));
    }
}
