//! How often somebody may do something: so many at once, then so many a minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use model::units::UnixMs;

/// Keys remembered; beyond that the ones that are full again are forgotten.
const KEYS_MAX: usize = 16_384;
const MINUTE_MS: u64 = 60_000;

/// A token bucket for each key.
#[derive(Debug)]
pub(crate) struct Throttle<K> {
    burst: u32,
    per_minute: u32,
    buckets: Mutex<BTreeMap<K, Bucket>>,
}

/// What is left, in thousandths of a token, and when that was so.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left_milli: u64,
    at: UnixMs,
}

impl<K: Ord> Throttle<K> {
    /// `burst` at once, then `per_minute`.
    #[must_use]
    pub(crate) const fn new(burst: u32, per_minute: u32) -> Self {
        Self {
            burst,
            per_minute,
            buckets: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes `tokens` for `key`; `false` where it has none left, or too many keys are busy.
    #[must_use]
    pub(crate) fn take(&self, key: K, tokens: u32, now: UnixMs) -> bool {
        let full = u64::from(self.burst) * 1_000;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < full);
            if buckets.len() >= KEYS_MAX {
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            left_milli: full,
            at: now,
        });
        let left = self.filled(*bucket, now);
        let wanted = u64::from(tokens) * 1_000;
        let granted = left >= wanted;
        let left_milli = if granted { left - wanted } else { left };
        *bucket = Bucket {
            left_milli,
            at: now,
        };
        granted
    }

    fn filled(&self, bucket: Bucket, now: UnixMs) -> u64 {
        let gained = now
            .since_ms(bucket.at)
            .saturating_mul(u64::from(self.per_minute) * 1_000);
        let full = u64::from(self.burst) * 1_000;
        bucket
            .left_milli
            .saturating_add(gained / MINUTE_MS)
            .min(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_for_each_key() {
        let throttle = Throttle::new(2, 60);
        let now = UnixMs(1_000_000);
        assert!(throttle.take("a", 1, now));
        assert!(throttle.take("a", 1, now));
        assert!(!throttle.take("a", 1, now));
        assert!(throttle.take("b", 2, now));
        assert!(!throttle.take("a", 1, now.plus_ms(999)));
        assert!(throttle.take("a", 1, now.plus_ms(2_000)));
        assert!(!throttle.take("a", 3, now.plus_ms(1_000_000)));
    }

    #[test]
    fn memory_is_bounded_and_comes_free_again() {
        let throttle = Throttle::new(1, 60);
        let now = UnixMs(1_000_000);
        for key in 0..KEYS_MAX {
            assert!(throttle.take(key, 1, now));
        }
        assert!(!throttle.take(KEYS_MAX, 1, now));
        assert!(throttle.take(KEYS_MAX, 1, now.plus_ms(MINUTE_MS)));
    }
}
