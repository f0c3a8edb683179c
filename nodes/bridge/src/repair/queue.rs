//! Segments that wait for repair, the most urgent first. One that cannot be begun now (its Hosts
//! are away, or busy) rests for a while and holds up nobody: a queue that waited for its first
//! segment lost a third of all others in a model.

use std::collections::{BTreeMap, BTreeSet};

use model::units::UnixMs;

use super::judge::Need;
use crate::place::SegmentKey;

/// Segments that are looked at in one go for one that can be begun.
const TRIES_MAX: usize = 1_000;

/// Segments that wait.
#[derive(Debug, Default)]
pub struct RepairQueue {
    by_need: BTreeSet<(Need, SegmentKey)>,
    needs: BTreeMap<SegmentKey, Need>,
    /// Until when those rest that could not be begun, or were just worked on.
    resting: BTreeMap<SegmentKey, UnixMs>,
}

impl RepairQueue {
    /// What a scan found takes the place of all that waits; who rests goes on resting.
    pub fn replace(&mut self, needs: BTreeMap<SegmentKey, Need>, now: UnixMs) {
        self.by_need = needs.iter().map(|(key, need)| (*need, *key)).collect();
        self.needs = needs;
        self.resting.retain(|_, until| *until > now);
    }

    /// Adds a segment, or makes it as urgent as it is now.
    pub fn offer(&mut self, key: SegmentKey, need: Need) {
        if let Some(before) = self.needs.insert(key, need) {
            self.by_need.remove(&(before, key));
        }
        self.by_need.insert((need, key));
    }

    /// Takes the most urgent segment that `can_begin` and does not rest.
    pub fn take(
        &mut self,
        now: UnixMs,
        can_begin: impl Fn(&SegmentKey, &Need) -> bool,
    ) -> Option<(SegmentKey, Need)> {
        let rests = |key: &SegmentKey| self.resting.get(key).is_some_and(|until| *until > now);
        let ready = self.by_need.iter().filter(|(_, key)| !rests(key));
        let mut ready = ready.take(TRIES_MAX);
        let (need, key) = ready.find(|(need, key)| can_begin(key, need)).copied()?;
        self.by_need.remove(&(need, key));
        self.needs.remove(&key);
        Some((key, need))
    }

    /// A segment that is not begun again before `until`.
    pub fn rest(&mut self, key: SegmentKey, until: UnixMs) {
        self.resting.insert(key, until);
    }

    /// A segment that may be begun again.
    pub fn wake(&mut self, key: &SegmentKey) {
        self.resting.remove(key);
    }

    /// How many wait, those that rest included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use model::units::{AccountId, BlobId};

    use super::*;
    use crate::repair::judge::Cause;

    fn key(segment: u64) -> SegmentKey {
        SegmentKey {
            account: AccountId([1; 16]),
            blob: BlobId([2; 16]),
            segment,
        }
    }

    fn need(spare: i16) -> Need {
        Need {
            cause: Cause::Missing,
            spare,
            nines_tenths: 0,
            critical: false,
        }
    }

    fn drain(queue: &mut RepairQueue, now: UnixMs) -> Vec<u64> {
        std::iter::from_fn(|| queue.take(now, |_, _| true))
            .map(|(key, _)| key.segment)
            .collect()
    }

    /// Head-of-line blocking: segments whose Hosts are all away stood first in a model's queue and
    /// held up every other one.
    #[test]
    fn segments_that_cannot_be_begun_hold_up_nobody() {
        let mut queue = RepairQueue::default();
        (0..500).for_each(|segment| queue.offer(key(segment), need(0)));
        (500..520).for_each(|segment| queue.offer(key(segment), need(2)));
        let begun = |key: &SegmentKey, _: &Need| key.segment >= 500;
        for segment in 500..520 {
            let (taken, _) = queue.take(UnixMs(1), begun).unwrap();
            assert_eq!(taken.segment, segment);
        }
        assert_eq!(queue.take(UnixMs(1), begun), None);
        assert_eq!(queue.len(), 500);
    }

    #[test]
    fn many_that_rest_do_not_hide_those_behind_them() {
        let mut queue = RepairQueue::default();
        for segment in 0..5_000 {
            queue.offer(key(segment), need(0));
            queue.rest(key(segment), UnixMs(100));
        }
        queue.offer(key(9_999), need(3));
        assert_eq!(drain(&mut queue, UnixMs(1)), [9_999]);
        assert_eq!(drain(&mut queue, UnixMs(100)).len(), 5_000);
    }

    #[test]
    fn the_most_urgent_comes_first_and_a_scan_replaces_all() {
        let mut queue = RepairQueue::default();
        queue.offer(key(1), need(2));
        queue.offer(key(2), need(0));
        queue.offer(key(3), need(1));
        queue.offer(key(1), need(-1));
        assert_eq!(queue.len(), 3);
        assert_eq!(drain(&mut queue, UnixMs(1)), [2, 3, 1]);
        queue.offer(key(1), need(0));
        queue.replace(BTreeMap::from([(key(7), need(1))]), UnixMs(1));
        assert_eq!(drain(&mut queue, UnixMs(1)), [7]);
        assert!(queue.is_empty());
    }
}
