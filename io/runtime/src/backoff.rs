//! How long to wait before the next try: twice as long each time, never together with others.

use std::time::Duration;

/// Waits that grow from one limit to another, each drawn between half of it and all of it.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
    state: u64,
}

impl Backoff {
    /// Waits from `first` to `last`. Different `seed`s keep those who failed together apart.
    #[must_use]
    pub const fn new(first: Duration, last: Duration, seed: u64) -> Self {
        Self {
            first,
            last,
            next: first,
            state: seed,
        }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.last);
        let half = whole / 2;
        let span_us = u64::try_from(half.as_micros())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        half + Duration::from_micros(self.draw() % span_us)
    }

    /// It worked: begin anew with the shortest wait.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// SplitMix64; nothing depends on these numbers being hard to guess.
    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew() {
        let (first, last) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut backoff = Backoff::new(first, last, 7);
        for whole in [1, 2, 4, 8, 10, 10].map(Duration::from_secs) {
            let wait = backoff.wait();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= first);
    }

    #[test]
    fn seeds_spread() {
        let wait = |seed| Backoff::new(Duration::from_secs(60), Duration::MAX, seed).wait();
        let waits: std::collections::BTreeSet<_> = (0..100).map(wait).collect();
        assert!(waits.len() > 95, "{}", waits.len());
    }
}
