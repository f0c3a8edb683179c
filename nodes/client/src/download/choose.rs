//! Which shard of a segment to ask for next. Pure: what is known goes in, an index comes out.

use std::ops::Range;

/// How far one shard of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShardState {
    /// Nobody was asked.
    Untried,
    /// On its way.
    Coming,
    /// On its way, but late: it counts as missing until it is there.
    Late,
    /// Here, and what the manifest says.
    Good,
    /// Did not come; may be asked for again.
    Failed,
    /// Cannot come: there is no Host for it, or what came was something else.
    Lost,
}

/// What is needed of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// Any so many shards restore the segment.
    pub(super) k: usize,
    /// The shards that hold what is wanted: it is enough to have these. Mirrors are all alike, so
    /// none is wanted in particular.
    pub(super) wanted: Range<usize>,
}

impl Goal {
    /// Whether the segment can be read now.
    pub(super) fn is_reached(&self, states: &[ShardState]) -> bool {
        self.is_reached_by(states, |state| state == ShardState::Good)
    }

    /// The shard to ask for next; `None` where what is on its way will do, or nothing is left.
    /// A lower `rank` is asked first.
    pub(super) fn next<R: Ord>(
        &self,
        states: &[ShardState],
        rank: impl Fn(usize) -> R,
    ) -> Option<usize> {
        let will_do = |state| matches!(state, ShardState::Good | ShardState::Coming);
        if self.is_reached_by(states, will_do) {
            return None;
        }
        let untried = |index: &usize| states.get(*index) == Some(&ShardState::Untried);
        // Only what is wanted, as long as that can still come by itself.
        let direct = |state| will_do(state) || state == ShardState::Untried;
        if !self.wanted.is_empty() && states.get(self.wanted.clone())?.iter().all(|s| direct(*s)) {
            return self.wanted.clone().find(untried);
        }
        (0..states.len())
            .filter(untried)
            .min_by_key(|index| rank(*index))
    }

    /// Whether something that is wanted does not come by itself any more, or is late.
    pub(super) fn must_restore(&self, states: &[ShardState]) -> bool {
        let lacks = |state: &ShardState| {
            matches!(
                state,
                ShardState::Late | ShardState::Failed | ShardState::Lost
            )
        };
        states
            .get(self.wanted.clone())
            .is_some_and(|wanted| wanted.iter().any(lacks))
    }

    fn is_reached_by(&self, states: &[ShardState], counts: impl Fn(ShardState) -> bool) -> bool {
        let wanted = states.get(self.wanted.clone()).unwrap_or_default();
        let all_wanted = !wanted.is_empty() && wanted.iter().all(|state| counts(*state));
        all_wanted || states.iter().filter(|state| counts(**state)).count() >= self.k
    }
}

#[cfg(test)]
mod tests {
    use super::ShardState::{Coming, Failed, Good, Late, Lost, Untried};
    use super::*;

    const K: usize = 4;

    fn next(goal: &Goal, states: &[ShardState]) -> Option<usize> {
        goal.next(states, |index| index)
    }

    /// Asks until nothing more is to be asked.
    fn all_next(goal: &Goal, states: &mut [ShardState]) -> Vec<usize> {
        let mut asked = Vec::new();
        while let Some(index) = next(goal, states) {
            states[index] = Coming;
            asked.push(index);
        }
        asked
    }

    #[test]
    fn exactly_k_are_asked_and_one_more_for_each_that_is_late_or_fails() {
        let goal = Goal { k: K, wanted: 0..K };
        let mut states = [Untried; 8];
        assert_eq!(all_next(&goal, &mut states), [0, 1, 2, 3]);
        states[1] = Late;
        states[2] = Failed;
        assert_eq!(all_next(&goal, &mut states), [4, 5]);
        states[4] = Lost;
        assert_eq!(all_next(&goal, &mut states), [6]);
    }

    #[test]
    fn a_late_shard_still_counts_when_it_comes() {
        let goal = Goal { k: K, wanted: 0..K };
        let mut states = [Good, Good, Good, Late, Coming, Untried, Untried, Untried];
        assert_eq!(next(&goal, &states), None);
        states[3] = Good;
        assert!(goal.is_reached(&states));
    }

    #[test]
    fn a_small_range_asks_for_its_own_shard_only() {
        let goal = Goal { k: K, wanted: 2..3 };
        let mut states = [Untried; 8];
        assert_eq!(all_next(&goal, &mut states), [2]);
        states[2] = Good;
        assert!(goal.is_reached(&states));
    }

    #[test]
    fn a_small_range_whose_shard_fails_is_restored_from_any_k() {
        let goal = Goal { k: K, wanted: 2..3 };
        let mut states = [Untried; 8];
        states[2] = Failed;
        assert_eq!(all_next(&goal, &mut states), [0, 1, 3, 4]);
        assert!(!goal.is_reached(&states));
        [0, 1, 3, 4]
            .into_iter()
            .for_each(|index| states[index] = Good);
        assert!(goal.is_reached(&states));
    }

    #[test]
    fn one_mirror_is_enough() {
        let goal = Goal { k: 1, wanted: 0..0 };
        let mut states = [Untried; 3];
        assert_eq!(goal.next(&states, |index| 3 - index), Some(2));
        states[2] = Late;
        assert_eq!(all_next(&goal, &mut states), [0]);
    }

    #[test]
    fn nothing_is_left_when_everything_failed() {
        let goal = Goal { k: K, wanted: 0..K };
        assert_eq!(
            next(&goal, &[Failed, Lost, Failed, Good, Good, Good, Late, Lost]),
            None
        );
    }
}
