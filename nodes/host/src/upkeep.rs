//! Upkeep: looks whether volumes have gone or come back, reads every shard again now and then, and
//! has sparse logs rewritten. Slow on purpose, and gives way to transfers.

use std::sync::Arc;
use std::time::Duration;

use model::units::UnixMs;
use shardstore::{CompactError, LogRewrite, ReadError, ScrubProgress, Store};
use tasks::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::host::Node;
use crate::limits::{
    COMPACT_BELOW_PERCENT, SCRUB_STEP_BYTES, UPKEEP_GIVES_WAY, UPKEEP_LOOK, UPKEEP_PAUSE,
    VOLUMES_LOOK,
};

/// Notices volumes that go and takes back those that return, until `stop` is cancelled.
pub(crate) async fn watch_volumes(node: Arc<Node>, stop: CancellationToken) {
    while pause(&stop, VOLUMES_LOOK).await {
        let looking = Arc::clone(&node);
        spawn_blocking(move || looking.volumes.look()).await.ok();
    }
}

/// Reads every shard again within the configured time, until `stop` is cancelled.
pub(crate) async fn scrub(node: Arc<Node>, stop: CancellationToken) {
    let within = node.config.settings().scrub_within;
    loop {
        let mut worked = false;
        for store in node.volumes.stores() {
            if stop.is_cancelled() {
                return;
            }
            let now = node.environment.now();
            if is_due(&store, within, now) {
                give_way(&node, &stop).await;
                worked |= scrub_step(&node, &store, now).await;
            }
        }
        let wait = if worked { Duration::ZERO } else { UPKEEP_LOOK };
        if !pause(&stop, wait).await {
            return;
        }
    }
}

/// Rewrites sparse logs, one at a time, until `stop` is cancelled.
pub(crate) async fn compact(node: Arc<Node>, stop: CancellationToken) {
    while pause(&stop, UPKEEP_LOOK).await {
        for store in node.volumes.stores() {
            if let Err(error) = compact_sparsest(&node, &store, &stop).await {
                tracing::warn!(volume = %store.id(), %error, "log not rewritten; trying again");
                node.volumes.suspect(&store);
            }
        }
    }
}

/// Whether a scrub of `store` lags behind the pace at which it is done after three quarters of
/// `within`, so that every shard is read again in time.
fn is_due(store: &Store, within: Duration, now: UnixMs) -> bool {
    let usage = store.usage();
    usage.shards > 0 && lags(store.scrub_progress(), usage.live_bytes, within, now)
}

fn lags(progress: ScrubProgress, live_bytes: u64, within: Duration, now: UnixMs) -> bool {
    let round_ms = (within.as_millis() * 3 / 4).max(1);
    let since = |moment: UnixMs| u128::from(now.0.saturating_sub(moment.0));
    let live_bytes = u128::from(live_bytes.max(1));
    match (progress.started, progress.finished) {
        (Some(started), _) => u128::from(progress.bytes) * round_ms <= live_bytes * since(started),
        (None, None) => true,
        // The last step of a round was due this much before the round's time was over.
        (None, Some(finished)) => {
            let last_step_bytes = (live_bytes - 1) % u128::from(SCRUB_STEP_BYTES) + 1;
            since(finished) * live_bytes >= round_ms * last_step_bytes
        }
    }
}

/// Returns whether anything was read.
async fn scrub_step(node: &Arc<Node>, store: &Arc<Store>, now: UnixMs) -> bool {
    let scrubbing = Arc::clone(store);
    let step = spawn_blocking(move || scrubbing.scrub(now, SCRUB_STEP_BYTES)).await;
    match step {
        Ok(Ok(step)) => {
            if step.round_done {
                tracing::info!(volume = %store.id(), "scrub has read every shard");
            }
            node.upkeep
                .grant(usize::try_from(step.bytes).unwrap_or(usize::MAX))
                .await;
            step.bytes > 0
        }
        Ok(Err(error)) => {
            scrub_failed(node, store, &error);
            false
        }
        Err(_) => false,
    }
}

fn scrub_failed(node: &Node, store: &Arc<Store>, error: &ReadError) {
    tracing::warn!(volume = %store.id(), %error, "scrub cannot read the volume");
    node.volumes.suspect(store);
}

async fn compact_sparsest(
    node: &Arc<Node>,
    store: &Arc<Store>,
    stop: &CancellationToken,
) -> Result<(), CompactError> {
    let looking = Arc::clone(store);
    let found = spawn_blocking(move || looking.sparse_log(COMPACT_BELOW_PERCENT)).await;
    let Ok(Some(sparse)) = found.unwrap_or(Ok(None)) else {
        return Ok(());
    };
    tracing::info!(
        volume = %store.id(), log = sparse.log, live_bytes = sparse.live_bytes,
        disk_bytes = sparse.disk_bytes, "sparse log is rewritten"
    );
    let mut rewrite = store.rewrite(sparse)?;
    while !stop.is_cancelled() {
        give_way(node, stop).await;
        let Some((bytes, going_on)) = rewrite_step(store, rewrite).await? else {
            return Ok(());
        };
        rewrite = going_on;
        // Each is read and written.
        node.upkeep
            .grant(usize::try_from(2 * bytes).unwrap_or(usize::MAX))
            .await;
    }
    Ok(())
}

/// One step on a thread that may wait; `None` where the log is done with.
async fn rewrite_step(
    store: &Arc<Store>,
    mut rewrite: LogRewrite,
) -> Result<Option<(u64, LogRewrite)>, CompactError> {
    let store = Arc::clone(store);
    let step = spawn_blocking(move || {
        let moved = rewrite.step(&store)?;
        Ok(moved.map(|bytes| (bytes, rewrite)))
    });
    step.await.unwrap_or(Ok(None))
}

/// Waits while transfers are under way, but not for good.
async fn give_way(node: &Node, stop: &CancellationToken) {
    let until = Instant::now() + UPKEEP_GIVES_WAY;
    while node.is_busy() && !stop.is_cancelled() && Instant::now() < until {
        sleep(UPKEEP_PAUSE).await;
    }
}

/// `false` once `stop` is cancelled.
async fn pause(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = sleep(time) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(4_000);

    /// Seconds at which a step is due within two times `WITHIN`, where each reads what it may.
    fn due(live_bytes: u64) -> Vec<u64> {
        let (mut progress, mut due) = (ScrubProgress::default(), Vec::new());
        for second in 1..2 * WITHIN.as_secs() {
            let now = UnixMs(second * 1_000);
            while lags(progress, live_bytes, WITHIN, now) {
                due.push(second);
                progress.started.get_or_insert(now);
                progress.bytes += SCRUB_STEP_BYTES;
                if progress.bytes >= live_bytes {
                    progress = ScrubProgress {
                        finished: Some(now),
                        ..ScrubProgress::default()
                    };
                }
                assert!(due.len() < 100, "it never rests");
            }
        }
        due
    }

    #[test]
    fn a_small_volume_rests_between_two_scrubs() {
        assert_eq!(due(64), [1, 3_001, 6_001]);
        assert_eq!(due(SCRUB_STEP_BYTES), [1, 3_001, 6_001]);
        // Two steps, the second one small.
        assert_eq!(
            due(SCRUB_STEP_BYTES * 3 / 2),
            [1, 2_001, 3_001, 5_001, 6_001]
        );
        assert_eq!(due(10 * SCRUB_STEP_BYTES)[..3], [1, 301, 601]);
    }
}
