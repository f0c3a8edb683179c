//! What audits and repair keep in memory: all of it is found again by the next scan.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use metastore::HostAlias;
use model::units::{Serial, ShardId, UnixMs};
use tokio::sync::Notify;

use crate::audit::ask::Question;
use crate::hosts::breaker::Breaker;
use crate::place::{Place, SegmentKey};
use crate::repair::judge::{Cause, Need};
use crate::repair::queue::RepairQueue;
use crate::repair::scan::Sample;
use crate::repair::settle::Repair;

/// Shards of one Host that are to be asked for before any drawn one.
const SUSPECTS_PER_HOST_MAX: usize = 1_024;
/// Inventories that wait for their answers.
const INVENTORIES_MAX: usize = 256;
/// Segments of which it is remembered who failed to repair them.
const AVOIDED_MAX: usize = 10_000;

/// Everything that heals.
#[derive(Debug, Default)]
pub struct Healing {
    state: Mutex<State>,
    /// Rings when repairs may be begun.
    pub(crate) wake: Notify,
}

/// See [`Healing`].
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Segments that wait for repair.
    pub(crate) queue: RepairQueue,
    /// Repairs that were ordered, by the name of the order.
    pub(crate) running: BTreeMap<Serial, Running>,
    /// Shards drawn by the last scan.
    pub(crate) samples: BTreeMap<HostAlias, Sample>,
    /// Shards that somebody had trouble with.
    suspects: BTreeMap<HostAlias, VecDeque<Place>>,
    /// Questions that wait for their answers, one for each Host at most.
    pub(crate) questions: BTreeMap<HostAlias, Asked>,
    /// Hosts that did not answer and will be asked again for the same shard.
    pub(crate) contained: BTreeMap<HostAlias, Contained>,
    /// Inventories that wait for their answers.
    inventories: BTreeMap<Serial, (HostAlias, Vec<Place>)>,
    /// Hosts that failed to repair a segment lately.
    avoided: BTreeMap<SegmentKey, Vec<HostAlias>>,
    /// What the first Host found of a segment that does not fit together.
    pub(crate) misfits: BTreeMap<Place, (HostAlias, ShardId)>,
    /// Whether an outage is on.
    pub(crate) breaker: Breaker,
    /// What the breaker said last.
    pub(crate) outage: bool,
}

/// A repair that was ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) repair: Repair,
    pub(crate) need: Need,
    pub(crate) cause: Cause,
    pub(crate) until: UnixMs,
}

/// A question on its way.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) until: UnixMs,
    /// How often it was asked before.
    pub(crate) tries: u32,
}

/// A Host that did not answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contained {
    pub(crate) place: Place,
    pub(crate) tries: u32,
    pub(crate) again: UnixMs,
}

impl Healing {
    /// All of it, for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `alias` asked for its shard at `place` before any other.
    pub fn suspect(&self, alias: HostAlias, place: Place) {
        let mut state = self.lock();
        let suspects = state.suspects.entry(alias).or_default();
        if suspects.len() < SUSPECTS_PER_HOST_MAX && !suspects.contains(&place) {
            suspects.push_back(place);
        }
    }
}

impl State {
    /// The next shard of `alias` that somebody had trouble with.
    pub(crate) fn next_suspect(&mut self, alias: HostAlias) -> Option<Place> {
        let suspects = self.suspects.get_mut(&alias)?;
        let next = suspects.pop_front();
        if suspects.is_empty() {
            self.suspects.remove(&alias);
        }
        next
    }

    /// Hosts with shards that somebody had trouble with.
    pub(crate) fn suspected(&self) -> Vec<HostAlias> {
        self.suspects.keys().copied().collect()
    }

    /// Remembers what an inventory asked for; `false` where too many wait.
    pub(crate) fn asks(&mut self, id: Serial, alias: HostAlias, places: Vec<Place>) -> bool {
        if self.inventories.len() >= INVENTORIES_MAX {
            return false;
        }
        self.inventories.insert(id, (alias, places));
        true
    }

    /// What an inventory asked `alias` for.
    pub(crate) fn asked_for(&mut self, id: &Serial, alias: HostAlias) -> Option<Vec<Place>> {
        let asked = self.inventories.get(id);
        asked.filter(|(of, _)| *of == alias)?;
        self.inventories.remove(id).map(|(_, places)| places)
    }

    /// Nothing that was asked of `alias` will be answered any more.
    pub(crate) fn gone(&mut self, alias: HostAlias) {
        self.inventories.retain(|_, (of, _)| *of != alias);
        // Offline is no verdict.
        self.questions.remove(&alias);
    }

    /// Takes out the repairs that are over.
    pub(crate) fn end(&mut self, is_over: impl Fn(&Running) -> bool) -> Vec<Running> {
        let over = self.running.extract_if(.., |_, running| is_over(running));
        over.map(|(_, running)| running).collect()
    }

    /// How many repairs a Host is carrying out.
    pub(crate) fn repairs_at(&self, alias: HostAlias) -> usize {
        let its = |running: &&Running| running.repair.new == alias;
        self.running.values().filter(its).count()
    }

    /// Bytes that are on their way from a Host that leaves to others.
    pub(crate) fn moving_bytes(&self, from: HostAlias) -> u64 {
        let moves = |running: &&Running| {
            running.cause == Cause::Leaving && running.repair.old == Some(from)
        };
        let moving = self.running.values().filter(moves);
        moving
            .map(|running| u64::from(running.repair.size.bytes()))
            .sum()
    }

    /// Hosts that failed to repair a segment.
    pub(crate) fn avoided(&self, key: &SegmentKey) -> &[HostAlias] {
        self.avoided.get(key).map_or(&[], Vec::as_slice)
    }

    /// `alias` failed to repair a segment.
    pub(crate) fn avoid(&mut self, key: SegmentKey, alias: HostAlias) {
        if self.avoided.len() >= AVOIDED_MAX {
            self.avoided.clear();
        }
        let avoided = self.avoided.entry(key).or_default();
        if !avoided.contains(&alias) {
            avoided.push(alias);
        }
    }

    /// Everybody may try again.
    pub(crate) fn forgive(&mut self, key: &SegmentKey) {
        self.avoided.remove(key);
    }
}
