//! When a shard is late, and when its segment is good enough without it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::formats::shape::Class;
use tasks::time::{Instant, sleep_until};
use tokio::sync::Notify;

/// A Host that is known to be slow or away is waited for at least this long.
const AVOIDED_MIN: Duration = Duration::from_secs(1);
/// No shard is late before this.
const LATE_MIN: Duration = Duration::from_secs(2);
/// A shard is late after this many times the median of its segment.
const LATE_MEDIANS: u32 = 3;
/// A late shard without a spare is waited for at least this long.
const GIVE_UP_MIN: Duration = Duration::from_secs(6);
/// And this many times the median of its segment.
const GIVE_UP_MEDIANS: u32 = 10;

/// Fewest shards of a segment with which it may be committed: k + ⌈(n − k) / 2⌉.
pub(super) const fn shards_needed(class: Class) -> u16 {
    class.k() + (class.n() - class.k()).div_ceil(2)
}

/// How fast the shards of a segment get there: tells a shard when it is late.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) began: Instant,
    n: usize,
    needed: usize,
    /// How long each stored shard took, so also sorted.
    stored: Mutex<Vec<Duration>>,
    /// Rings with each of them. No watch channel: that one wakes in random order.
    news: Notify,
}

impl Pace {
    pub(super) fn new(class: Class) -> Self {
        Self {
            began: Instant::now(),
            n: usize::from(class.n()),
            needed: usize::from(shards_needed(class)),
            stored: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn settled(&self, is_stored: bool) {
        if is_stored {
            self.stored().push(self.began.elapsed());
            self.news.notify_waiters();
        }
    }

    /// Returns once a shard under way since `since` is late: half of its segment is stored, and
    /// three times as long has passed.
    pub(super) async fn late(&self, since: Instant) {
        let enough = self.n.div_ceil(2);
        let median = self.median_of(enough).await;
        sleep_until(since + (median * LATE_MEDIANS).max(LATE_MIN)).await;
    }

    /// Returns once the segment is good enough to do without a late shard. A Host that is known
    /// to be slow or away gets hardly more time than the others took.
    pub(super) async fn good_enough(&self, is_avoided: bool) {
        let median = self.median_of(self.needed).await;
        let wait = if is_avoided {
            (median * LATE_MEDIANS).max(AVOIDED_MIN)
        } else {
            (median * GIVE_UP_MEDIANS).max(GIVE_UP_MIN)
        };
        sleep_until(self.began + wait).await;
    }

    /// The median once `enough` shards are stored.
    async fn median_of(&self, enough: usize) -> Duration {
        loop {
            let news = self.news.notified();
            if let Some(median) = self.median_if(enough) {
                return median;
            }
            news.await;
        }
    }

    fn median_if(&self, enough: usize) -> Option<Duration> {
        let stored = self.stored();
        let median = stored.get(stored.len() / 2).copied().unwrap_or_default();
        (stored.len() >= enough).then_some(median)
    }

    fn stored(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tasks::time::sleep;

    use super::*;

    fn coded() -> Class {
        Class::coded(4, 8).unwrap()
    }

    #[test]
    fn degraded_means_half_of_the_parity() {
        assert_eq!(shards_needed(coded()), 6);
        assert_eq!(shards_needed(Class::mirrors(3).unwrap()), 2);
        assert_eq!(shards_needed(Class::mirrors(1).unwrap()), 1);
        assert_eq!(shards_needed(Class::coded(16, 32).unwrap()), 24);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_late_before_half_of_the_segment_is_stored() {
        let pace = Pace::new(coded());
        (0..3).for_each(|_| pace.settled(true));
        let late = tasks::time::timeout(Duration::from_secs(3_600), pace.late(pace.began)).await;
        assert!(late.is_err());
        pace.settled(true);
        pace.late(pace.began).await;
    }

    #[tokio::test(start_paused = true)]
    pub(super) async fn late_is_three_times_the_median_and_good_enough_needs_more() {
        let pace = Pace::new(coded());
        sleep(Duration::from_secs(5)).await;
        (0..6).for_each(|_| pace.settled(true));
        pace.late(pace.began).await;
        assert_eq!(pace.began.elapsed().as_secs(), 15);
        pace.good_enough(true).await;
        assert_eq!(pace.began.elapsed().as_secs(), 15);
        pace.good_enough(false).await;
        assert_eq!(pace.began.elapsed().as_secs(), 50);
    }
}
