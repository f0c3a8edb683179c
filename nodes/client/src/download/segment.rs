//! One segment from its Hosts: exactly k shards are asked for, another one at once for each that
//! is late, silent or bad, and nothing is used before it matched the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use model::crypto::LeafRange;
use model::formats::shape::Class;
use model::units::{BlobId, ShardId};
use model::wire::api::{Report, Sighting};
use tasks::time::{Instant, sleep};

use super::DownloadError;
use super::block::Block;
use super::choose::{Goal, ShardState};
use super::get::{Ask, GetError, get_shard};
use super::layout::{LayoutDesk, ReadPlaces};
use super::restore::restore;
use crate::transfer::buffers::{Buffer, Room};
use crate::transfer::hosts::{Strike, Way};
use crate::transfer::{Progress, Transfer, chain};

/// A shard is late after this many times what its Host should take …
const LATE_TIMES: u32 = 2;
/// … and this. Before some Host was measured nobody who sends is late: the line may be slow.
const LATE_MARGIN: Duration = Duration::from_millis(400);
/// But who has not begun to answer by then is: no line is that slow.
const UNHEARD_LATE: Duration = Duration::from_secs(2);
/// What is known of Hosts changes by what happens elsewhere; it is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A Host is slow where it should take so many times as long as all do on average …
const SLOW_TIMES: u32 = 4;
/// … and this.
const SLOW_MARGIN: Duration = Duration::from_millis(400);
/// When every Host failed, all are asked once more after this, if it went fast so far.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_WITHIN: Duration = Duration::from_secs(8);

/// A block to be fetched.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) blob: BlobId,
    pub(super) class: Class,
    pub(super) block: Block,
    /// One per shard of the segment; one for all mirrors.
    pub(super) ids: Vec<ShardId>,
    pub(super) room: Arc<Room>,
}

impl Wanted {
    /// What shard `index` must be.
    pub(super) fn id(&self, index: usize) -> ShardId {
        let at = if self.ids.len() == 1 { 0 } else { index };
        self.ids.get(at).copied().unwrap_or_default()
    }

    fn goal(&self) -> Goal {
        let wanted = match self.class {
            Class::Mirrors { .. } => 0..0,
            Class::Coded { .. } => {
                usize::from(self.block.shards.start)..usize::from(self.block.shards.end)
            }
        };
        Goal {
            k: usize::from(self.class.k()),
            wanted,
        }
    }
}

/// A block whose bytes were verified.
#[derive(Debug)]
pub(super) struct FetchedBlock {
    pub(super) block: Block,
    /// Data shards by their index: their leaves of the block, or all of them.
    pub(super) shards: BTreeMap<u16, Buffer>,
    /// Bytes of each before the block begins.
    pub(super) skipped: usize,
}

/// Shards that came, by their index, and which leaves of each.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) shards: BTreeMap<u16, Buffer>,
    pub(super) leaves: LeafRange,
}

/// What all segments of a download share.
#[derive(Clone, Debug)]
pub(super) struct Road {
    pub(super) transfer: Transfer,
    pub(super) desk: LayoutDesk,
    pub(super) progress: Arc<Progress>,
}

/// Fetches a block; what was seen of Hosts comes with the result, good or bad.
pub(super) async fn fetch_block(
    road: Road,
    wanted: Wanted,
    places: ReadPlaces,
) -> (Result<FetchedBlock, DownloadError>, Vec<Report>) {
    let fetching = Fetching::new(&road, &wanted, places);
    let (good, reports) = fetching.run().await;
    let fetched = match good {
        Ok(good) => restore(&road, wanted, good).await,
        Err(error) => Err(error),
    };
    (fetched, reports)
}

/// A shard on its way.
struct Asked {
    at: Instant,
    heard: Arc<AtomicBool>,
}

struct Fetching<'a> {
    road: &'a Road,
    wanted: &'a Wanted,
    goal: Goal,
    began: Instant,
    places: ReadPlaces,
    states: Vec<ShardState>,
    /// The leaves that are asked for of every shard: the block's, or all.
    leaves: LeafRange,
    /// Shards on their way that are not late yet.
    asked: BTreeMap<usize, Asked>,
    gets: FuturesUnordered<BoxFuture<'a, (usize, Result<Buffer, GetError>)>>,
    good: BTreeMap<u16, Buffer>,
    failures: Vec<(String, String)>,
    reports: Vec<Report>,
    may_ask_again: bool,
}

impl<'a> Fetching<'a> {
    fn new(road: &'a Road, wanted: &'a Wanted, places: ReadPlaces) -> Self {
        let mut fetching = Self {
            road,
            wanted,
            goal: wanted.goal(),
            began: Instant::now(),
            states: vec![ShardState::Untried; places.len()],
            leaves: wanted.block.leaves,
            places: Vec::new(),
            asked: BTreeMap::new(),
            gets: FuturesUnordered::new(),
            good: BTreeMap::new(),
            failures: Vec::new(),
            reports: Vec::new(),
            may_ask_again: true,
        };
        fetching.set_places(places);
        fetching
    }

    async fn run(mut self) -> (Result<Good, DownloadError>, Vec<Report>) {
        while !self.goal.is_reached(&self.states) {
            if self.needs_whole_shards() {
                self.ask_for_whole_shards();
            }
            while let Some(index) = self.goal.next(&self.states, |index| self.rank(index)) {
                self.ask(index);
            }
            if self.gets.is_empty() && !self.ask_again().await {
                return (Err(self.too_few()), self.reports);
            }
            let look = self
                .asked
                .keys()
                .filter_map(|index| self.late_at(*index))
                .min();
            let look = look.map_or(LOOK_AGAIN, |at| {
                at.saturating_duration_since(Instant::now())
            });
            tokio::select! {
                biased;
                Some((index, got)) = self.gets.next() => self.note(index, got),
                () = sleep(look.min(LOOK_AGAIN)) => self.mark_late(),
            }
        }
        self.strike_overtaken();
        let (shards, leaves) = (self.good, self.leaves);
        (Ok(Good { shards, leaves }), self.reports)
    }

    /// Whether leaves of a data shard do not come as they should: others restore it, and what is
    /// restored can only be checked from end to end.
    fn needs_whole_shards(&self) -> bool {
        let is_coded = matches!(self.wanted.class, Class::Coded { .. });
        is_coded && !self.leaves.is_whole() && self.goal.must_restore(&self.states)
    }

    /// Begins again with all leaves. What is known of the Hosts stays.
    fn ask_for_whole_shards(&mut self) {
        let Ok(whole) = LeafRange::whole(self.leaves.shard_bytes()) else {
            return;
        };
        self.leaves = whole;
        self.gets.clear();
        self.asked.clear();
        self.good.clear();
        for state in &mut self.states {
            if matches!(state, ShardState::Good | ShardState::Coming) {
                *state = ShardState::Untried;
            }
        }
    }

    /// Whom to ask first: Hosts that are there and not slow, data before parity, idle before busy.
    fn rank(&self, index: usize) -> (bool, bool, bool, u32, usize) {
        let Some(Some(place)) = self.places.get(index) else {
            return (true, true, true, 0, index);
        };
        let (book, size) = (self.road.transfer.hosts(), self.leaves.len());
        let usual = book.expected_of_all(Way::Down, size).unwrap_or_default();
        let own = book
            .expected(&place.host.id, Way::Down, size)
            .unwrap_or_default();
        let is_slow = own > usual * SLOW_TIMES + SLOW_MARGIN;
        let is_parity = index >= usize::from(self.wanted.class.k()) && self.goal.k > 1;
        let is_away = !place.host.online || book.is_avoided(&place.host.id);
        (
            is_away,
            is_slow,
            is_parity,
            book.in_flight(&place.host.id),
            index,
        )
    }

    fn ask(&mut self, index: usize) {
        let Some(Some(place)) = self.places.get(index).cloned() else {
            self.set(index, ShardState::Lost);
            return;
        };
        let (id, heard) = (self.wanted.id(index), Arc::default());
        let ask = Ask {
            place,
            id,
            leaves: self.leaves,
            heard,
        };
        let asked = Asked {
            at: Instant::now(),
            heard: Arc::clone(&ask.heard),
        };
        self.asked.insert(index, asked);
        self.set(index, ShardState::Coming);
        if !self.failures.is_empty() || self.states.contains(&ShardState::Late) {
            self.road.progress.shards_replaced.add(1);
        }
        let get = get(self.road, ask, self.wanted);
        self.gets.push(async move { (index, get.await) }.boxed());
    }

    fn note(&mut self, index: usize, got: Result<Buffer, GetError>) {
        self.asked.remove(&index);
        match got {
            Ok(buffer) => {
                self.set(index, ShardState::Good);
                self.good
                    .insert(u16::try_from(index).unwrap_or(u16::MAX), buffer);
                self.road.progress.shards.add(1);
            }
            Err(error) => {
                let saw = error.sighting();
                self.set(
                    index,
                    match saw {
                        Sighting::BadShard => ShardState::Lost,
                        _ => ShardState::Failed,
                    },
                );
                self.failed(index, chain(&error));
                self.report(index, saw);
            }
        }
    }

    fn mark_late(&mut self) {
        let now = Instant::now();
        let is_due = |index: &usize| self.late_at(*index).is_some_and(|at| at <= now);
        let due: Vec<usize> = self.asked.keys().copied().filter(is_due).collect();
        for index in due {
            self.asked.remove(&index);
            self.set(index, ShardState::Late);
        }
    }

    /// When a shard on its way will be late, by what is known of its Host now.
    fn late_at(&self, index: usize) -> Option<Instant> {
        let size = self.leaves.len();
        let host = &self.places.get(index)?.as_ref()?.host.id;
        let asked = self.asked.get(&index)?;
        match self.road.transfer.hosts().expected(host, Way::Down, size) {
            Some(expected) => Some(asked.at + expected * LATE_TIMES + LATE_MARGIN),
            None if asked.heard.load(Ordering::Relaxed) => None,
            None => Some(asked.at + UNHEARD_LATE),
        }
    }

    /// Those that are late when the segment is there were overtaken.
    fn strike_overtaken(&mut self) {
        let late = self
            .states
            .iter()
            .enumerate()
            .filter(|(_, state)| **state == ShardState::Late);
        let late: Vec<usize> = late.map(|(index, _)| index).collect();
        for index in late {
            if let Some(Some(place)) = self.places.get(index) {
                self.road
                    .transfer
                    .hosts()
                    .strike(&place.host.id, Strike::Slow);
            }
            self.report(index, Sighting::Slow);
        }
    }

    /// With nobody left to ask: asks all that may have come back, once, where they are by now.
    async fn ask_again(&mut self) -> bool {
        if !self.may_ask_again || self.began.elapsed() > AGAIN_WITHIN {
            return false;
        }
        self.may_ask_again = false;
        sleep(AGAIN_AFTER).await;
        if let Some(places) = self
            .road
            .desk
            .refresh(self.wanted.block.segment.index)
            .await
        {
            self.set_places(places);
        }
        let mut any = false;
        for state in &mut self.states {
            // Nobody is asked any more, so what was late will not come either.
            if matches!(state, ShardState::Failed | ShardState::Late) {
                *state = ShardState::Untried;
                any = true;
            }
        }
        any
    }

    fn set_places(&mut self, places: ReadPlaces) {
        for (index, place) in places.iter().enumerate() {
            let state = self.states.get(index).copied();
            if place.is_none() && state == Some(ShardState::Untried) {
                self.set(index, ShardState::Lost);
                self.failures
                    .push((format!("shard {index}"), "no host has it".to_owned()));
            }
        }
        self.places = places;
    }

    fn set(&mut self, index: usize, state: ShardState) {
        if let Some(slot) = self.states.get_mut(index) {
            *slot = state;
        }
    }

    fn failed(&mut self, index: usize, why: String) {
        if let Some(Some(place)) = self.places.get(index) {
            let name = place.host.name.clone();
            self.failures.retain(|(host, _)| *host != name);
            self.failures.push((name, why));
        }
    }

    fn report(&mut self, index: usize, saw: Sighting) {
        if let Some(Some(place)) = self.places.get(index) {
            self.reports.push(Report {
                host: place.host.id,
                saw,
                shard: Some(self.wanted.id(index)),
                blob: Some(self.wanted.blob),
                segment: Some(self.wanted.block.segment.index),
                index: u16::try_from(index).ok(),
            });
        }
    }

    fn too_few(&mut self) -> DownloadError {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let bad = self
            .reports
            .iter()
            .filter(|report| report.saw == Sighting::BadShard)
            .count();
        DownloadError::TooFewShards {
            blob: self.wanted.blob,
            segment: self.wanted.block.segment.index,
            have: count(self.good.len()),
            needed: self.wanted.class.k(),
            spoilt: self.states.len().saturating_sub(bad) < self.goal.k,
            hosts: std::mem::take(&mut self.failures),
        }
    }
}

fn get<'a>(
    road: &'a Road,
    ask: Ask,
    wanted: &'a Wanted,
) -> impl Future<Output = Result<Buffer, GetError>> + Send + 'a {
    let size = ask.leaves.len();
    async move {
        let buffer = road.transfer.buffers().take(size, &wanted.room);
        get_shard(&road.transfer, &ask, buffer, &road.progress).await
    }
}
