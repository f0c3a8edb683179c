//! Begins repairs and takes what became of them. The Bridge moves no data: it orders, and writes
//! down what was receipted.

use std::sync::Arc;

use metastore::{HostAlias, StoreError, TxError};
use model::units::{Serial, ShardId, UnixMs};
use model::wire::api::Sighting;
use model::wire::control::FromBridge;
use model::wire::repair::{RepairOutcome, Repaired, SourceSeen};

use super::judge::{Belief, Cause, Need};
use super::order::{WantedShard, Work, sign, work};
use super::settle::{Repair, Settled, check, freeze, settle};
use crate::bridge::Bridge;
use crate::healing::Running;
use crate::hosts::directory::Beliefs;
use crate::leave;
use crate::place::SegmentKey;

/// Repairs under way at a time, in the whole network.
const RUNNING_MAX: usize = 256;
/// Repairs that one Host carries out at a time.
const PER_HOST_MAX: usize = 2;
/// Where so many segments in a row cannot be begun, everybody is busy: the next round goes on with
/// those behind them, since these rest.
const FRUITLESS_MAX: usize = 64;
/// How long a segment rests whose repair was not possible or failed.
const REST_MS: u64 = 2_000;

/// Begins what can be begun.
///
/// # Errors
/// [`StoreError`].
pub async fn round(bridge: &Bridge) -> Result<(), TxError<StoreError>> {
    expire(bridge);
    let beliefs = Arc::new(bridge.directory().beliefs(bridge.now()));
    let mut fruitless = 0;
    while fruitless < FRUITLESS_MAX {
        let next = {
            let mut state = bridge.healing().lock();
            if state.running.len() >= RUNNING_MAX {
                return Ok(());
            }
            let running: Vec<SegmentKey> = state
                .running
                .values()
                .map(|running| running.repair.place.segment)
                .collect();
            let outage = state.outage;
            state.queue.take(bridge.now(), |key, need| {
                (!outage || need.critical) && !running.contains(key)
            })
        };
        let Some((key, need)) = next else {
            return Ok(());
        };
        let begun = begin(bridge, &beliefs, (key, need)).await?;
        fruitless = if begun { 0 } else { fruitless + 1 };
    }
    Ok(())
}

/// Orders what a segment needs; `false` where nothing could be ordered that should be.
async fn begin(
    bridge: &Bridge,
    beliefs: &Arc<Beliefs>,
    (key, need): (SegmentKey, Need),
) -> Result<bool, TxError<StoreError>> {
    let seen = Arc::clone(beliefs);
    let read = move |tx: &dyn metastore::Tx| work(tx, &seen, key);
    let Some(work) = bridge.store().read(read).await? else {
        return Ok(true);
    };
    let mut busy = busy(bridge);
    let (mut waits, mut begun) = (false, false);
    for wanted in &work.wanted {
        if !work.restores(wanted) || !may_move(bridge, beliefs, wanted) {
            waits = true;
            continue;
        }
        match choose(bridge, &work, &busy).await? {
            Some(new) => {
                busy.push(new);
                let ordered = order(bridge, beliefs, (&work, wanted, need), new).await;
                begun |= ordered;
                waits |= !ordered;
            }
            None => waits = true,
        }
    }
    if waits {
        let until = bridge.now().plus_ms(REST_MS);
        let mut state = bridge.healing().lock();
        state.queue.offer(key, need);
        state.queue.rest(key, until);
    }
    Ok(begun || !waits)
}

/// A shard that only leaves moves as long as its Host wants to be rid of more.
///
/// What is on its way counts as moved: else all that a Host keeps would set out at once, however
/// little it wants to give back.
fn may_move(bridge: &Bridge, beliefs: &Beliefs, wanted: &WantedShard) -> bool {
    if wanted.cause != Cause::Leaving {
        return true;
    }
    let believed = wanted.old.and_then(|old| Some((old, beliefs.get(old)?)));
    let moving = |old| bridge.healing().lock().moving_bytes(old);
    believed.is_some_and(|(old, it)| it.leaving_bytes > moving(old))
}

/// Hosts that carry out as many repairs as they may.
fn busy(bridge: &Bridge) -> Vec<HostAlias> {
    let state = bridge.healing().lock();
    let mut hosts: Vec<HostAlias> = state.running.values().map(|it| it.repair.new).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.retain(|host| state.repairs_at(*host) >= PER_HOST_MAX);
    hosts
}

/// Draws who is to keep a shard. Zones of those that keep others, failed before or are busy are
/// left out; where nobody is left, those that failed may try again.
async fn choose(
    bridge: &Bridge,
    work: &Work,
    busy: &[HostAlias],
) -> Result<Option<HostAlias>, TxError<StoreError>> {
    let roster = bridge.directory().roster();
    let avoided = bridge.healing().lock().avoided(&work.key).to_vec();
    let mut rng = bridge.rng();
    let mut others = [&work.beside[..], busy, &avoided].concat();
    // Somebody with deletes still to do might delete what it just stored.
    for _ in 0..3 {
        let Ok(picked) = roster.pick(&mut rng, 1, work.shard_size, &others) else {
            break;
        };
        let Some(alias) = picked.first().copied() else {
            break;
        };
        let read = move |tx: &dyn metastore::Tx| tx.pending_orders(alias, 0, 1);
        let idle = bridge.store().read(read).await?.is_empty();
        if idle && bridge.directory().heals(alias) {
            return Ok(Some(alias));
        }
        others.push(alias);
    }
    if !avoided.is_empty() {
        bridge.healing().lock().forgive(&work.key);
    }
    Ok(None)
}

/// Orders one shard; `false` where the Host could not be told.
async fn order(
    bridge: &Bridge,
    beliefs: &Beliefs,
    (work, wanted, need): (&Work, &WantedShard, Need),
    new: HostAlias,
) -> bool {
    let Some(host) = bridge.directory().id_of(new) else {
        return false;
    };
    let (context, mut rng) = (bridge.context(), bridge.rng());
    let (signing, shard) = (work.clone(), *wanted);
    let signed = bridge.slowly(move || sign(&context, &mut rng, (&signing, &shard), host));
    let Ok(ordered) = signed.await else {
        return false;
    };
    let old_belief = wanted.old.and_then(|old| beliefs.get(old));
    let repair = Repair {
        place: work.key.slot(wanted.slot),
        shard: wanted.shard,
        size: work.shard_size,
        old: wanted.old,
        old_remains: old_belief.is_some_and(|it| it.belief != Belief::Gone),
        new,
        host,
        serial: ordered.serial,
    };
    let running = Running {
        repair,
        need,
        cause: wanted.cause,
        until: bridge
            .now()
            .plus_ms(bridge.policy().timing.repair_within_ms),
    };
    let mut state = bridge.healing().lock();
    let message = FromBridge::Repair {
        order: ordered.order,
    };
    if !bridge.directory().send(new, message) {
        state.avoid(work.key, new);
        return false;
    }
    state.running.insert(ordered.id, running);
    drop(state);
    let bytes = u64::from(work.shard_size.bytes());
    bridge.directory().plan_bytes(std::iter::once((new, bytes)));
    metrics::counter!("xcloud_bridge_repair_orders_total").increment(1);
    true
}

/// What became of an order.
///
/// # Errors
/// [`StoreError`].
pub async fn repaired(
    bridge: &Bridge,
    alias: HostAlias,
    repaired: Repaired,
) -> Result<(), TxError<StoreError>> {
    let Some(running) = take(bridge, &repaired.id, alias) else {
        return Ok(());
    };
    take_sightings(bridge, &running, &repaired.saw);
    let outcome = match repaired.outcome {
        RepairOutcome::Stored { receipt } => return stored(bridge, running, receipt.0).await,
        RepairOutcome::Inconsistent { found } => {
            return misfit(bridge, running, found).await;
        }
        RepairOutcome::Sources => "too few sources delivered".to_owned(),
        RepairOutcome::Refused { detail } | RepairOutcome::Malformed { detail } => {
            bridge
                .healing()
                .lock()
                .avoid(running.repair.place.segment, alias);
            detail
        }
    };
    tracing::info!(host = %running.repair.host.short(), reason = outcome, "not repaired");
    again(bridge, &running);
    Ok(())
}

fn take(bridge: &Bridge, id: &Serial, alias: HostAlias) -> Option<Running> {
    let mut state = bridge.healing().lock();
    state
        .running
        .get(id)
        .filter(|running| running.repair.new == alias)?;
    let running = state.running.remove(id);
    drop(state);
    bridge.healing().wake.notify_one();
    running
}

/// Sources that sent something else, or nothing, are asked for proof; that convicts nobody.
fn take_sightings(bridge: &Bridge, running: &Running, saw: &[SourceSeen]) {
    let roster = bridge.directory().roster();
    for seen in saw
        .iter()
        .take(usize::from(model::units::SHARDS_PER_SEGMENT_MAX))
    {
        let Some(alias) = roster.alias_of(&seen.host) else {
            continue;
        };
        match seen.saw {
            Sighting::BadShard | Sighting::Missing => {
                let place = running.repair.place.segment.slot(seen.index);
                bridge.healing().suspect(alias, place);
            }
            Sighting::Silent | Sighting::Slow | Sighting::Refused => {
                bridge.directory().lower(std::iter::once(alias));
            }
        }
    }
}

async fn stored(
    bridge: &Bridge,
    running: Running,
    receipt: Vec<u8>,
) -> Result<(), TxError<StoreError>> {
    let (context, repair) = (bridge.context(), running.repair);
    if let Err(error) = check(&context, &repair, &receipt) {
        tracing::warn!(host = %repair.host.short(), %error, "not repaired");
        bridge
            .healing()
            .lock()
            .avoid(repair.place.segment, repair.new);
        again(bridge, &running);
        return Ok(());
    }
    let write = move |tx: &mut dyn metastore::Tx| settle(tx, &context, &repair, &receipt);
    let settled = bridge.store().write(write).await?;
    let (Settled::Placed(poked) | Settled::Late(poked)) = &settled;
    bridge.directory().ring(poked);
    if matches!(settled, Settled::Placed(_)) {
        metrics::counter!("xcloud_bridge_repair_shards_total").increment(1);
        metrics::counter!("xcloud_bridge_repair_bytes_total")
            .increment(u64::from(repair.size.bytes()));
        if let (Cause::Leaving, Some(old)) = (running.cause, repair.old) {
            leave::moved_away(bridge, old, u64::from(repair.size.bytes())).await?;
        }
    }
    Ok(())
}

/// A segment whose shards do not fit together: a second Host tries; where it finds the same, the
/// segment is frozen and its owner told. A client may have committed parity that does not fit.
async fn misfit(
    bridge: &Bridge,
    running: Running,
    found: ShardId,
) -> Result<(), TxError<StoreError>> {
    let Repair { place, new, .. } = running.repair;
    let first = {
        let mut state = bridge.healing().lock();
        state.avoid(place.segment, new);
        state.misfits.insert(place, (new, found))
    };
    if first.is_none_or(|(by, before)| by == new || before != found) {
        again(bridge, &running);
        return Ok(());
    }
    let at = bridge.now();
    let write = move |tx: &mut dyn metastore::Tx| freeze(tx, &place, at);
    if bridge.store().write(write).await? {
        metrics::counter!("xcloud_bridge_repair_frozen_total").increment(1);
        tracing::warn!(
            blob = %place.segment.blob.short(), segment = place.segment.segment,
            "inconsistent encoding: the segment is frozen, nobody is blamed"
        );
    }
    bridge.healing().lock().misfits.remove(&place);
    Ok(())
}

/// The segment waits again, and rests for a moment.
fn again(bridge: &Bridge, running: &Running) {
    let key = running.repair.place.segment;
    let until: UnixMs = bridge.now().plus_ms(REST_MS);
    let mut state = bridge.healing().lock();
    state.queue.offer(key, running.need);
    state.queue.rest(key, until);
}

/// The channel of a Host has ended: what it was doing ended with it.
pub(crate) fn lost_contact(bridge: &Bridge, alias: HostAlias) {
    let ended = {
        let mut state = bridge.healing().lock();
        state.gone(alias);
        state.end(|running| running.repair.new == alias)
    };
    for running in &ended {
        again(bridge, running);
    }
}

/// Gives up on repairs of which nothing was heard in time.
fn expire(bridge: &Bridge) {
    let now = bridge.now();
    let late = bridge
        .healing()
        .lock()
        .end(|running| running.until <= now || !bridge.directory().heals(running.repair.new));
    for running in late {
        let key = running.repair.place.segment;
        bridge.healing().lock().avoid(key, running.repair.new);
        again(bridge, &running);
    }
}
