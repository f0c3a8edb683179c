//! One segment to its Hosts: all shards at once, spares for those that fail or are late.
//!
//! Each shard goes its own way ([`store_shard`]); they share a [`Pace`], from which a shard learns
//! that it is late, and when to stop waiting because the segment is good enough without it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use model::units::HostId;
use model::wire::Base64;
use model::wire::api::{FailedSlot, Report, SegmentReceipts, Sighting};
use model::wire::limits::REPLACEMENTS_PER_SLOT_MAX;
use tasks::time::{Instant, sleep};

use super::UploadError;
use super::log::SegmentLog;
use super::pace::{Pace, shards_needed};
use super::plan::Place;
use super::prepare::PreparedSegment;
use super::put::{OutgoingShard, PutError, TakenShard, put_shard};
use super::spare::SpareDesk;
use crate::transfer::hosts::Strike;
use crate::transfer::{Progress, Transfer, chain};

/// How often a shard is offered again to its first Host, where there is no spare.
const REPEATS_MAX: u32 = 2;
/// Wait before it is; triples.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// The Hosts that are asked for one shard may together be silent so many times as long as one may.
const SILENCES_MAX: u32 = 2;
/// With less than this left of it, nobody else is asked.
const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// What all segments of an upload share.
#[derive(Clone, Debug)]
pub(super) struct Road {
    pub(super) transfer: Transfer,
    pub(super) spares: SpareDesk,
    pub(super) progress: std::sync::Arc<Progress>,
    /// Where the upload is written down, if it is.
    pub(super) log: Option<std::sync::Arc<dyn SegmentLog>>,
}

/// A segment that is stored well enough.
#[derive(Debug)]
pub(super) struct SentSegment {
    pub(super) receipts: SegmentReceipts,
    /// What was seen of Hosts.
    pub(super) reports: Vec<Report>,
    /// From the first byte sent to the last receipt.
    pub(super) took: Duration,
}

/// Sends every shard of `segment`, one to each of `places`.
pub(super) async fn send_segment(
    road: Road,
    places: Vec<Place>,
    segment: PreparedSegment,
) -> Result<SentSegment, UploadError> {
    let sending = Sending {
        road: &road,
        segment: &segment,
        pace: Pace::new(segment.class),
        used: Mutex::new(places.iter().map(|place| place.host.id).collect()),
    };
    let ways = (0..)
        .zip(places)
        .map(|(index, place)| sending.store_shard(index, place));
    let outcomes = join_all(ways).await;
    let stored = outcomes
        .iter()
        .filter(|outcome| outcome.receipt.is_some())
        .count();
    let have = u16::try_from(stored).unwrap_or(u16::MAX);
    let needed = shards_needed(segment.class);
    if have < needed {
        let hosts = newest_failures(outcomes);
        return Err(UploadError::TooFewHosts {
            blob: segment.blob,
            segment: segment.index,
            have,
            needed,
            hosts,
        });
    }
    if have < segment.class.n() {
        road.progress.segments_degraded.add(1);
        tracing::warn!(
            segment = segment.index,
            have,
            n = segment.class.n(),
            "stored degraded"
        );
    }
    let length = u64::from(segment.length);
    road.progress.bytes_stored.add(length);
    let took = sending.pace.began.elapsed();
    let reports = outcomes
        .iter()
        .flat_map(|outcome| outcome.reports.clone())
        .collect();
    let receipts: Vec<Option<Base64>> = outcomes
        .into_iter()
        .map(|outcome| outcome.receipt)
        .collect();
    if let Some(log) = &road.log {
        let signed = receipts
            .iter()
            .map(|receipt| Some(receipt.as_ref()?.0.clone()));
        log.stored((segment.blob, segment.index), signed.collect())?;
        road.progress.bytes_kept.add(length);
    }
    let (blob, index, ids) = (segment.blob, segment.index, segment.ids);
    let receipts = SegmentReceipts {
        blob,
        segment: index,
        ids,
        receipts,
    };
    Ok(SentSegment {
        receipts,
        reports,
        took,
    })
}

/// The last failure of each Host.
fn newest_failures(outcomes: Vec<Outcome>) -> Vec<(String, String)> {
    let mut newest: Vec<(String, String)> = Vec::new();
    for (host, why) in outcomes.into_iter().flat_map(|outcome| outcome.failures) {
        newest.retain(|(other, _)| *other != host);
        newest.push((host, why));
    }
    newest
}

struct Sending<'a> {
    road: &'a Road,
    segment: &'a PreparedSegment,
    pace: Pace,
    /// Hosts that have or may get a shard of the segment.
    used: Mutex<BTreeSet<HostId>>,
}

/// How it went with one shard.
#[derive(Debug, Default)]
struct Outcome {
    receipt: Option<Base64>,
    /// Who did not take it, and why.
    failures: Vec<(String, String)>,
    reports: Vec<Report>,
}

/// The ways of one shard that are being tried.
struct Ways<'a> {
    index: u16,
    first: Place,
    shard: OutgoingShard,
    puts: FuturesUnordered<BoxFuture<'a, (Place, Result<TakenShard, PutError>)>>,
    spare: Option<BoxFuture<'a, Option<Place>>>,
    /// When the first Host is asked again.
    repeat: Option<BoxFuture<'a, ()>>,
    repeats_left: u32,
    /// How long its Hosts may still be silent.
    patience: Duration,
    /// Up to when their silence was counted.
    counted: Instant,
    /// Whether the first Host is known to be slow or silent.
    first_is_away: bool,
    outcome: Outcome,
}

impl<'a> Sending<'a> {
    /// Stores shard `index`, at `first` or at spares; the first good receipt wins, and what is
    /// still under way is dropped.
    async fn store_shard(&'a self, index: u16, first: Place) -> Outcome {
        let Some((id, bytes)) = self.segment.shard(index) else {
            return Outcome::default();
        };
        let avoided = self.road.transfer.hosts().is_avoided(&first.host.id);
        let mut ways = Ways {
            index,
            first,
            shard: OutgoingShard {
                id,
                bytes,
                sent_before: self.segment.sent_before,
            },
            puts: FuturesUnordered::new(),
            spare: None,
            repeat: None,
            repeats_left: if avoided { 0 } else { REPEATS_MAX },
            patience: self.road.transfer.limits().silent_after * SILENCES_MAX,
            counted: Instant::now(),
            first_is_away: avoided,
            outcome: Outcome::default(),
        };
        if avoided {
            ways.spare = Some(self.spare(&ways, ways.first.host.id));
        } else {
            ways.puts.push(self.put(&ways, ways.first.clone()));
        }
        self.race(&mut ways, avoided).await;
        self.pace.settled(ways.outcome.receipt.is_some());
        ways.outcome
    }

    async fn race(&'a self, ways: &mut Ways<'a>, first_is_avoided: bool) {
        let mut untried = first_is_avoided;
        // No spare is to be had.
        let mut alone = false;
        let mut hedges_left = REPLACEMENTS_PER_SLOT_MAX;
        let mut newest = (self.pace.began, ways.first.host.id);
        while !(ways.puts.is_empty() && ways.spare.is_none() && ways.repeat.is_none()) {
            tokio::select! {
                biased;
                Some((place, result)) = ways.puts.next() => match result {
                    Ok(taken) => return self.won(ways, &place, taken),
                    Err(error) => self.lost(ways, &place, &error),
                },
                spare = maybe(&mut ways.spare) => match spare.filter(|place| self.is_new(place)) {
                    Some(place) => {
                        newest = (Instant::now(), place.host.id);
                        ways.puts.push(self.put(ways, place));
                    }
                    None if untried => {
                        (untried, alone) = (false, true);
                        ways.puts.push(self.put(ways, ways.first.clone()));
                    }
                    None if ways.puts.is_empty() && ways.repeats_left > 0 => {
                        alone = true;
                        self.wait_to_repeat(ways);
                    }
                    None => (hedges_left, alone) = (0, true),
                },
                () = maybe(&mut ways.repeat) => {
                    ways.puts.push(self.put(ways, ways.first.clone()));
                }
                () = self.pace.late(newest.0), if hedges_left > 0 && ways.may_ask_another() => {
                    hedges_left -= 1;
                    ways.spare = Some(self.spare(ways, newest.1));
                }
                () = self.pace.good_enough(ways.first_is_away && alone) => return self.gave_up(ways),
            }
        }
    }

    fn won(&self, ways: &mut Ways<'_>, place: &Place, taken: TakenShard) {
        let progress = &self.road.progress;
        progress.shards.add(1);
        let bytes = ways.shard.bytes.len() as u64;
        if taken.was_there {
            progress.shard_bytes_found.add(bytes);
        } else {
            progress.shard_bytes_stored.add(bytes);
        }
        if place.host.id != ways.first.host.id {
            progress.shards_replaced.add(1);
            if ways.outcome.failures.is_empty() && !ways.puts.is_empty() {
                self.overtaken(ways);
            }
        }
        ways.outcome.receipt = Some(taken.receipt);
    }

    fn lost(&'a self, ways: &mut Ways<'a>, place: &Place, error: &PutError) {
        ways.outcome
            .failures
            .push((place.host.name.clone(), chain(error)));
        ways.outcome
            .reports
            .push(self.report(ways, place, sighting(error)));
        if place.host.id == ways.first.host.id && !error.may_pass() {
            ways.repeats_left = 0;
        }
        if place.host.id == ways.first.host.id && error.silence() > Duration::ZERO {
            ways.first_is_away = true;
        }
        ways.count(error.silence());
        if ways.may_ask_another() {
            ways.spare = Some(self.spare(ways, place.host.id));
        }
    }

    /// The first Host is late, with nobody else to ask, and the segment can do without it.
    fn gave_up(&self, ways: &mut Ways<'_>) {
        self.overtaken(ways);
        ways.outcome
            .failures
            .push((ways.first.host.name.clone(), "too slow".to_owned()));
    }

    fn overtaken(&self, ways: &mut Ways<'_>) {
        self.road
            .transfer
            .hosts()
            .strike(&ways.first.host.id, Strike::Slow);
        let report = self.report(ways, &ways.first, Sighting::Slow);
        ways.outcome.reports.push(report);
    }

    /// Whether a spare has nothing of the segment yet; from now on it counts as having some.
    fn is_new(&self, spare: &Place) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(spare.host.id)
    }

    fn wait_to_repeat(&self, ways: &mut Ways<'_>) {
        let wait = REPEAT_AFTER * 3_u32.pow(REPEATS_MAX - ways.repeats_left);
        ways.repeats_left -= 1;
        ways.repeat = Some(sleep(wait).boxed());
    }

    fn put(
        &'a self,
        ways: &Ways<'_>,
        place: Place,
    ) -> BoxFuture<'a, (Place, Result<TakenShard, PutError>)> {
        let (shard, patience) = (ways.shard.clone(), ways.patience);
        async move {
            let result = put_shard(&self.road.transfer, &place, &shard, patience).await;
            (place, result)
        }
        .boxed()
    }

    fn spare(&'a self, ways: &Ways<'_>, failed: HostId) -> BoxFuture<'a, Option<Place>> {
        let (blob, segment) = (self.segment.blob, self.segment.index);
        self.road
            .spares
            .spare(FailedSlot {
                blob,
                segment,
                index: ways.index,
                failed,
            })
            .boxed()
    }

    fn report(&self, ways: &Ways<'_>, place: &Place, saw: Sighting) -> Report {
        Report {
            host: place.host.id,
            saw,
            shard: Some(ways.shard.id),
            blob: Some(self.segment.blob),
            segment: Some(self.segment.index),
            index: Some(ways.index),
        }
    }
}

impl Ways<'_> {
    /// A Host was silent for so long until now. Where several were at the same time, it counts once.
    fn count(&mut self, silence: Duration) {
        if silence > Duration::ZERO {
            let silence = silence.min(self.counted.elapsed());
            self.patience = self.patience.saturating_sub(silence);
            self.counted = Instant::now();
        }
    }

    fn may_ask_another(&self) -> bool {
        self.spare.is_none() && self.patience >= PATIENCE_MIN
    }
}

/// Waits for the future in `slot` and empties it; for ever where there is none.
async fn maybe<T>(slot: &mut Option<BoxFuture<'_, T>>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

const fn sighting_of(strike: Strike) -> Sighting {
    match strike {
        Strike::Busy | Strike::Slow => Sighting::Slow,
        Strike::Silent => Sighting::Silent,
        Strike::Refused | Strike::Dishonest => Sighting::Refused,
    }
}

fn sighting(error: &PutError) -> Sighting {
    sighting_of(error.strike())
}
