//! What goes on by itself: the roster, presence, expiry, retention, sweeping.
//!
//! Each worker is a loop that calls rules, a bounded round at a time, and pauses. A failure is
//! logged and tried again after the pause; nothing here keeps state.

use std::time::Duration;

use metastore::{HostLog, StoreError, Tx, TxError};
use model::units::UnixMs;
use model::wire::control::FromBridge;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bridge::Bridge;
use crate::delete::retention;
use crate::hosts::directory::Change;
use crate::hosts::record::Out;
use crate::refusal::chain;
use crate::{audit, events, memory, operator, repair, survey};

/// A roster is rebuilt at least this often, since schedules pass and offers end.
const ROSTER_AGE_MAX: Duration = Duration::from_secs(10);
/// Pause after a rebuild; changes meanwhile share the next one.
const ROSTER_PAUSE_MIN: Duration = Duration::from_millis(100);
/// At most one part in so many of the time is spent on rebuilding,
const ROSTER_SHARE: u32 = 50;
/// but a machine that was busy during one rebuild does not make all uploads wait for long: a Bridge
/// that just started knows no Hosts before its second.
const ROSTER_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often proofs that are due are looked for, and repairs that can be begun.
const HEALING_PERIOD: Duration = Duration::from_secs(1);
/// How long verdicts of audits are kept, and decisions about Hosts.
const LOG_KEPT_MS: u64 = 30 * 24 * 3_600_000;
/// Log rows removed in one round.
const LOG_ROWS_PER_ROUND: u32 = 10_000;
/// Hosts written in one transaction.
const PRESENCE_BATCH_MAX: usize = 1_000;
/// The worker that begins at once when there is something to erase.
const EXPIRY: &str = "expiry";
/// The worker that begins at once when there is something to repair.
const REPAIR: &str = "repair";
const EXPIRY_PERIOD: Duration = Duration::from_secs(5);
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Runs all workers until the Bridge stops.
pub async fn run(bridge: Bridge) {
    let mut workers = JoinSet::new();
    workers.spawn(keep_roster(bridge.clone()));
    let timing = bridge.policy().timing;
    let presence = timing.heartbeat();
    workers.spawn(repeat(bridge.clone(), "presence", presence, write_presence));
    workers.spawn(repeat(bridge.clone(), "memory", presence, keep_memory));
    let survey = Duration::from_millis(timing.scan_every_ms);
    workers.spawn(repeat(bridge.clone(), "survey", survey, survey_all));
    workers.spawn(repeat(bridge.clone(), "audit", HEALING_PERIOD, audit));
    workers.spawn(repeat(bridge.clone(), REPAIR, HEALING_PERIOD, dispatch));
    workers.spawn(repeat(bridge.clone(), EXPIRY, EXPIRY_PERIOD, end_expired));
    workers.spawn(repeat(bridge.clone(), "sweep", SWEEP_PERIOD, sweep));
    bridge.stopping().cancelled().await;
    workers.shutdown().await;
    if let Err(error) = write_presence(bridge).await {
        tracing::warn!(
            error = chain(&error),
            "presence could not be written at the end"
        );
    }
}

async fn keep_roster(bridge: Bridge) {
    loop {
        let begun = Instant::now();
        let rebuilt = bridge.clone();
        let rebuild = move || rebuilt.directory().rebuild(rebuilt.now());
        if let Err(error) = tasks::spawn_blocking(rebuild).await {
            tracing::error!(%error, "roster could not be rebuilt");
        }
        let roster = bridge.directory().roster();
        metrics::gauge!("xcloud_bridge_join_hosts_online").set(roster.online() as f64);
        metrics::gauge!("xcloud_bridge_join_zones_online").set(roster.zones() as f64);
        let pause = begun.elapsed() * ROSTER_SHARE;
        sleep(pause.clamp(ROSTER_PAUSE_MIN, ROSTER_PAUSE_MAX)).await;
        tokio::select! {
            biased;
            () = bridge.directory().changed() => {}
            () = sleep(ROSTER_AGE_MAX) => {}
        }
    }
}

async fn repeat<F: Future<Output = Result<(), TxError<StoreError>>>>(
    bridge: Bridge,
    worker: &'static str,
    period: Duration,
    round: impl Fn(Bridge) -> F,
) {
    loop {
        if let Err(error) = round(bridge.clone()).await {
            tracing::error!(worker, error = chain(&error), "round failed");
        }
        tokio::select! {
            biased;
            () = sleep(period) => {}
            () = bridge.endings().notified(), if worker == EXPIRY => {}
            () = bridge.healing().wake.notified(), if worker == REPAIR => {}
        }
    }
}

/// Decides and writes who is there and who is not, and what is known of each.
async fn write_presence(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    take_operators_word(&bridge).await?;
    watch_for_outage(&bridge);
    loop {
        let changes = bridge.directory().changes(PRESENCE_BATCH_MAX, bridge.now());
        let full = changes.len() == PRESENCE_BATCH_MAX;
        if !changes.is_empty() {
            let (rows, now) = (changes.clone(), bridge.now());
            bridge
                .store()
                .write(move |tx| write_changes(tx, &rows, now))
                .await?;
            bridge.directory().written(&changes);
            let told = changes.iter().filter(|change| !change.events.is_empty());
            let told: Vec<_> = told.map(|change| change.status.alias).collect();
            bridge.directory().ring(&told);
        }
        if !full {
            return Ok(());
        }
    }
}

fn write_changes(tx: &mut dyn Tx, changes: &[Change], now: UnixMs) -> Result<(), StoreError> {
    let statuses: Vec<_> = changes.iter().map(|change| change.status).collect();
    tx.update_hosts(&statuses)?;
    for change in changes {
        let alias = change.status.alias;
        tx.set_record(alias, &change.record.encode())?;
        for (kind, reason) in &change.events {
            events::push(tx, alias, now, (*kind, reason))?;
        }
    }
    Ok(())
}

/// Hosts that the operator declared lost while the Bridge ran.
async fn take_operators_word(bridge: &Bridge) -> Result<(), TxError<StoreError>> {
    let now = bridge.now();
    let declared = bridge
        .store()
        .write(move |tx| operator::take_declared(tx, now))
        .await?;
    for alias in declared {
        bridge
            .directory()
            .remember(alias, |record, _| record.out = Some(Out::Declared));
    }
    Ok(())
}

fn watch_for_outage(bridge: &Bridge) {
    let now = bridge.now();
    let zones = bridge.directory().zones(now);
    let mut state = bridge.healing().lock();
    for (zone, there) in &zones {
        if *there {
            state.breaker.came_back(*zone);
        } else {
            state.breaker.fell_silent(*zone, now);
        }
    }
    let outage = state.breaker.is_open(zones.len(), now);
    if outage != state.outage {
        tracing::warn!(outage, "many zones fell silent together, or are back");
    }
    state.outage = outage;
    metrics::gauge!("xcloud_bridge_repair_outage").set(f64::from(u8::from(outage)));
}

/// How far the memory reaches grows; what a loss of memory left undecided is seen to.
async fn keep_memory(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    let now = bridge.now();
    let memory = bridge
        .store()
        .write(move |tx| memory::grow(tx, now))
        .await?;
    let mark = bridge.mark(&memory);
    bridge.directory().send_all(&FromBridge::Mark { mark });
    Ok(())
}

async fn survey_all(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    survey::round(&bridge).await
}

async fn audit(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    audit::rounds::round(&bridge).await
}

async fn dispatch(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    repair::dispatch::round(&bridge).await
}

/// Whether it is certain that the memory reaches to now: nothing is deleted before. A Bridge that
/// was restored from a backup learns so from the first Hosts that come back.
async fn remembers(bridge: &Bridge) -> Result<bool, TxError<StoreError>> {
    if !bridge.was_corrected() {
        return Ok(false);
    }
    let now = bridge.now();
    bridge
        .store()
        .write(move |tx| memory::settle(tx, now))
        .await
}

/// Ends uploads that expired and goes on erasing, until nothing is left to do now.
async fn end_expired(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    if !remembers(&bridge).await? {
        return Ok(());
    }
    loop {
        let context = bridge.context();
        let rows = bridge
            .store()
            .read(move |tx| retention::expired(tx, &context))
            .await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let context = bridge.context();
            let step = bridge
                .store()
                .write(move |tx| retention::end_expired(tx, &context, &row))
                .await?;
            bridge.directory().ring(&step.poked);
        }
    }
}

/// Lets retired blobs and pages, and ended sessions, go.
async fn sweep(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    if !remembers(&bridge).await? {
        return Ok(());
    }
    loop {
        let context = bridge.context();
        let more = bridge
            .store()
            .write(move |tx| {
                let removed = retention::remove_retired(tx, &context)?;
                let nodes = retention::sweep_nodes(tx, &context)?;
                let sessions = retention::sweep_sessions(tx, &context)?;
                let before = UnixMs(context.now.0.saturating_sub(LOG_KEPT_MS));
                tx.sweep_log(HostLog::Audits, before, LOG_ROWS_PER_ROUND)?;
                tx.sweep_log(HostLog::Events, before, LOG_ROWS_PER_ROUND)?;
                metrics::counter!("xcloud_bridge_delete_blobs_retired_total").increment(removed);
                Ok(removed > 0 || nodes || sessions)
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}
