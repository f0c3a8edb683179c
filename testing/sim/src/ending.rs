//! The end of a run: once everything works again the network heals, within bounds; then, in some
//! runs, the Bridge is restored from an old backup, and nothing that was there may be deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use metastore::{Store, StoreError};
use model::units::ShardId;
use turmoil::Sim;

use crate::audit;
use crate::plan::Node;
use crate::platter;
use crate::shared::Shared;

/// How long healing may take once everything works again and every device has found everything. A
/// Host that dropped one shard of few is found by chance: it is asked for one of them every 10 s,
/// and for small ones not every time.
const HEAL_MAX: Duration = Duration::from_secs(1_200);
/// The same where something is broken on purpose and will not heal.
const SABOTAGED_MAX: Duration = Duration::from_secs(120);
/// Between two looks at the network.
const LOOK_EVERY_MS: u64 = 5_000;
/// How long a restored Bridge is watched.
const RESTORED_FOR_MS: u64 = 150_000;
/// Violations of one kind that are told.
const TOLD_MAX: usize = 8;

/// How far the end has come.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    checked_at_ms: Option<u64>,
    looked_at_ms: u64,
    restored: Option<Restored>,
    /// Shards that were there in the end.
    pub(crate) shards: u64,
}

/// A Bridge that was restored, and what lay on which Host before.
#[derive(Debug)]
struct Restored {
    at_ms: u64,
    before: BTreeSet<ShardId>,
}

impl Ending {
    /// Whether the run is over.
    pub(crate) fn step(
        &mut self,
        shared: &Shared,
        sim: &mut Sim<'_>,
        backup: Option<&Store>,
    ) -> bool {
        let now_ms = shared.clock.ms();
        if !shared.devices.iter().all(|device| device.has_checked()) {
            return false;
        }
        let since_ms = *self.checked_at_ms.get_or_insert(now_ms);
        if now_ms < self.looked_at_ms + LOOK_EVERY_MS {
            return false;
        }
        self.looked_at_ms = now_ms;
        if let Some(restored) = &self.restored {
            return restored.look(shared);
        }
        let amiss = amiss(shared).unwrap_or_else(|error| vec![error.to_string()]);
        if amiss.is_empty() {
            let shards = audit::counted(shared).unwrap_or_default();
            self.shards = shards.len() as u64;
            let text = format!("healed: {} shards are there", shards.len());
            shared.trace.note("!", text);
            convict(shared);
            let before = shards.iter().map(|shard| shard.shard).collect();
            return !self.restore(shared, sim, backup, before);
        }
        let heal_max = match shared.plan.sabotage {
            Some(_) => SABOTAGED_MAX,
            None => HEAL_MAX,
        };
        if Duration::from_millis(now_ms - since_ms) <= heal_max {
            return false;
        }
        tell(shared, &amiss);
        convict(shared);
        true
    }

    /// Has the Bridge forget what happened since the backup, where the run is to end so.
    fn restore(
        &mut self,
        shared: &Shared,
        sim: &mut Sim<'_>,
        backup: Option<&Store>,
        before: BTreeSet<ShardId>,
    ) -> bool {
        let Some(backup) = backup.filter(|_| shared.plan.restores) else {
            return false;
        };
        shared.trace.note("b", "restored from the backup");
        sim.crash(Node::Bridge.ip());
        shared.restore(backup.clone());
        sim.bounce(Node::Bridge.ip());
        let at_ms = shared.clock.ms();
        self.restored = Some(Restored { at_ms, before });
        true
    }
}

impl Restored {
    /// Whether it was watched for long enough. Everything that lay on some Host still does.
    fn look(&self, shared: &Shared) -> bool {
        if shared.clock.ms() < self.at_ms + RESTORED_FOR_MS {
            return false;
        }
        let mut left = self.before.clone();
        for host in (1..=shared.plan.hosts).filter(|host| !audit::is_gone(shared, *host)) {
            match platter::whole(shared, host, &left) {
                Ok(whole) => left.retain(|shard| !whole.contains(shard)),
                Err(error) => shared
                    .trace
                    .violation("!", format_args!("h{host}: {error:#}")),
            }
        }
        let lost: Vec<String> = left
            .iter()
            .map(|shard| format!("shard {} was deleted for a restored bridge", shard.short()))
            .collect();
        tell(shared, &lost);
        if let Ok(waiting @ 1..) = audit::orders_waiting(shared) {
            let text = format_args!("{waiting} orders wait after a restore");
            shared.trace.violation("b", text);
        }
        convict(shared);
        true
    }
}

/// What is not yet as it should be.
fn amiss(shared: &Shared) -> Result<Vec<String>, StoreError> {
    let waiting = audit::orders_waiting(shared)?;
    let mut amiss = audit::unhealed(shared)?;
    if waiting > 0 {
        amiss.insert(0, format!("b: {waiting} orders are never carried out"));
    }
    if amiss.is_empty() || shared.plan.sabotage.is_some() {
        // What is lost is told first.
        let mut missing = platter::missing(shared, &audit::counted(shared)?);
        missing.append(&mut amiss);
        amiss = missing;
    }
    Ok(amiss)
}

fn convict(shared: &Shared) {
    match audit::convictions(shared) {
        Ok(convicted) => tell(shared, &convicted),
        Err(error) => shared.trace.violation("b", error),
    }
}

fn tell(shared: &Shared, amiss: &[String]) {
    for text in amiss.iter().take(TOLD_MAX) {
        shared.trace.violation("!", text);
    }
}
