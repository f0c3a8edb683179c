//! What goes on by itself: the roster, presence, expiry, retention, sweeping.
//!
//! Each worker is a loop that calls rules, a bounded round at a time, and pauses. A failure is
//! logged and tried again after the pause; nothing here keeps state.

use std::time::Duration;

use metastore::{StoreError, TxError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bridge::Bridge;
use crate::delete::retention;
use crate::refusal::chain;

/// A roster is rebuilt at least this often, since schedules pass and offers end.
const ROSTER_AGE_MAX: Duration = Duration::from_secs(10);
/// Pause after a rebuild; changes meanwhile share the next one.
const ROSTER_PAUSE_MIN: Duration = Duration::from_millis(100);
/// At most one part in so many of the time is spent on rebuilding,
const ROSTER_SHARE: u32 = 50;
/// but a machine that was busy during one rebuild does not make all uploads wait for long: a Bridge
/// that just started knows no Hosts before its second.
const ROSTER_PAUSE_MAX: Duration = Duration::from_secs(1);
const PRESENCE_PERIOD: Duration = Duration::from_secs(60);
/// Hosts written in one transaction.
const PRESENCE_BATCH_MAX: usize = 1_000;
/// The worker that begins at once when there is something to erase.
const EXPIRY: &str = "expiry";
const EXPIRY_PERIOD: Duration = Duration::from_secs(5);
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Runs all workers until the Bridge stops.
pub async fn run(bridge: Bridge) {
    let mut workers = JoinSet::new();
    workers.spawn(keep_roster(bridge.clone()));
    workers.spawn(repeat(
        bridge.clone(),
        "presence",
        PRESENCE_PERIOD,
        write_presence,
    ));
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
        }
    }
}

/// Writes who is there and who is not.
async fn write_presence(bridge: Bridge) -> Result<(), TxError<StoreError>> {
    loop {
        let statuses = bridge
            .directory()
            .unwritten(PRESENCE_BATCH_MAX, bridge.now());
        let full = statuses.len() == PRESENCE_BATCH_MAX;
        if !statuses.is_empty() {
            let rows = statuses.clone();
            bridge
                .store()
                .write(move |tx| tx.update_hosts(&rows))
                .await?;
            bridge.directory().written(&statuses);
        }
        if !full {
            return Ok(());
        }
    }
}

/// Ends uploads that expired and goes on erasing, until nothing is left to do now.
async fn end_expired(bridge: Bridge) -> Result<(), TxError<StoreError>> {
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
    loop {
        let context = bridge.context();
        let more = bridge
            .store()
            .write(move |tx| {
                let removed = retention::remove_retired(tx, &context)?;
                let nodes = retention::sweep_nodes(tx, &context)?;
                let sessions = retention::sweep_sessions(tx, &context)?;
                metrics::counter!("xcloud_bridge_delete_blobs_retired_total").increment(removed);
                Ok(removed > 0 || nodes || sessions)
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}
