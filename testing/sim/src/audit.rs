//! What must hold in the end, seen from outside: every segment lies on as many Hosts as it should,
//! what the Bridge counts on is on their disks, nothing waits that should have been done, and nobody
//! was convicted who did nothing.

use std::collections::{BTreeMap, BTreeSet};

use bridge::audit::verdict::{KeptVerdict, Outcome};
use bridge::place::{Place, SegmentKey};
use metastore::{BlobState, GroupRow, HostAlias, HostLog, StoreError};
use model::units::ShardId;

use crate::plan::{Fault, HOSTS_LEFT, Sabotage};
use crate::shared::Shared;

/// Rows read at a time.
const ROWS: u32 = 1_000;

/// A shard that the Bridge counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counted {
    pub(crate) host: u64,
    pub(crate) shard: ShardId,
    pub(crate) place: Place,
}

/// A segment of a file that somebody may want.
#[derive(Debug)]
struct Segment {
    key: SegmentKey,
    n: usize,
    shards: Vec<Counted>,
}

/// Orders that wait for Hosts which are there.
pub(crate) fn orders_waiting(shared: &Shared) -> Result<u64, StoreError> {
    let hosts = hosts(shared)?;
    let there = hosts
        .into_iter()
        .filter(|(_, host)| !is_gone(shared, *host));
    let there: Vec<HostAlias> = there.map(|(alias, _)| alias).collect();
    read(shared, move |tx| {
        let mut waiting = 0;
        for alias in there {
            waiting += tx.pending_orders(alias, 0, ROWS)?.len() as u64;
        }
        Ok(waiting)
    })
}

/// Segments that lie on fewer Hosts than they should, each with what is amiss.
pub(crate) fn unhealed(shared: &Shared) -> Result<Vec<String>, StoreError> {
    let leaving = shared.leaving();
    let joined = hosts(shared)?.into_values();
    let joined: BTreeSet<u64> = joined.filter(|host| !is_gone(shared, *host)).collect();
    let stay: BTreeSet<u64> = joined.difference(&leaving).copied().collect();
    let mut amiss = Vec::new();
    for segment in segments(shared)? {
        // Who leaves keeps what nobody else can take.
        let homes = if stay.len() >= segment.n {
            &stay
        } else {
            &joined
        };
        let wanted = segment.n.min(stay.len());
        let on: BTreeSet<u64> = segment.shards.iter().map(|shard| shard.host).collect();
        let here = on.intersection(homes).count();
        if here < wanted {
            let (key, n) = (segment.key, segment.n);
            amiss.push(format!(
                "segment {} of blob {} lies on {here} of {n} hosts: {on:?}",
                key.segment,
                key.blob.short()
            ));
        }
    }
    let frozen = read(shared, |tx| tx.scan_frozen(None, ROWS))?;
    amiss.extend(frozen.iter().map(|row| format!("{row:?} is frozen")));
    Ok(amiss)
}

/// Audits that Hosts failed which kept everything.
pub(crate) fn convictions(shared: &Shared) -> Result<Vec<String>, StoreError> {
    if shared.plan.sabotage == Some(Sabotage::DisksLie) {
        return Ok(Vec::new());
    }
    let honest = hosts(shared)?.into_iter();
    let honest: Vec<(HostAlias, u64)> = honest
        .filter(|(_, host)| !shared.plan.is_damaged(*host))
        .collect();
    read(shared, move |tx| {
        let mut convicted = Vec::new();
        for (alias, host) in honest {
            for row in tx.host_log(alias, HostLog::Audits, 0, ROWS)? {
                let Ok(verdict) = serde_json::from_slice::<KeptVerdict>(&row.body) else {
                    convicted.push(format!("h{host}: a verdict that cannot be read"));
                    continue;
                };
                if verdict.outcome == Outcome::Failed {
                    convicted.push(format!("h{host} failed for shard {}", verdict.shard));
                }
            }
        }
        Ok(convicted)
    })
}

/// Every shard that the Bridge counts on, and that should be somewhere.
pub(crate) fn counted(shared: &Shared) -> Result<Vec<Counted>, StoreError> {
    let shards = segments(shared)?.into_iter();
    let shards = shards.flat_map(|segment| segment.shards);
    Ok(shards
        .filter(|shard| !is_gone(shared, shard.host))
        .collect())
}

/// All segments of blobs that live, with the shards that lie on known Hosts.
fn segments(shared: &Shared) -> Result<Vec<Segment>, StoreError> {
    let hosts = hosts(shared)?;
    read(shared, move |tx| {
        let mut segments = Vec::new();
        let mut after = None;
        loop {
            let rows = tx.scan_groups(after.as_ref(), ROWS)?;
            let Some(last) = rows.last() else {
                return Ok(segments);
            };
            after = Some(last.key);
            for row in &rows {
                let blob = tx.blob(&row.key.account, &row.key.blob)?;
                if blob.is_some_and(|blob| blob.state == BlobState::Live) {
                    segments.extend(segments_of(row, &hosts));
                }
            }
        }
    })
}

fn segments_of(row: &GroupRow, hosts: &BTreeMap<HostAlias, u64>) -> Vec<Segment> {
    let group = &row.group;
    let segment = |within| {
        let key = SegmentKey::within(&row.key, within);
        let shards = (0..group.n()).filter_map(|slot| {
            Some(Counted {
                host: *hosts.get(&group.host(within, slot)?)?,
                shard: group.shard_id(within, slot)?,
                place: key.slot(slot),
            })
        });
        Segment {
            key,
            n: usize::from(group.n()),
            shards: shards.collect(),
        }
    };
    (0..group.segments()).map(segment).collect()
}

/// Hosts by the numbers that the Bridge gave them, and which is which.
fn hosts(shared: &Shared) -> Result<BTreeMap<HostAlias, u64>, StoreError> {
    let ids: BTreeMap<_, _> = (1..=shared.plan.hosts)
        .map(|host| (shared.host_id(host), host))
        .collect();
    let rows = read(shared, |tx| tx.scan_hosts(None, ROWS))?;
    let known = rows
        .iter()
        .filter_map(|row| Some((row.alias, *ids.get(&row.id)?)));
    Ok(known.collect())
}

/// Whether `host` never comes back.
pub(crate) fn is_gone(shared: &Shared, host: u64) -> bool {
    let sabotaged = shared.plan.sabotage == Some(Sabotage::TooManyGone) && host > HOSTS_LEFT;
    let mut faults = shared.plan.faults.iter();
    sabotaged || faults.any(|planned| planned.fault == Fault::Gone { host })
}

fn read<T: Send + 'static>(
    shared: &Shared,
    rule: impl FnOnce(&dyn metastore::Tx) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    use futures_util::FutureExt as _;
    let read = async move {
        shared
            .store()
            .read(rule)
            .await
            .map_err(|error| match error {
                metastore::TxError::Rule(error) | metastore::TxError::Store(error) => error,
            })
    };
    // The store in memory never waits.
    read.now_or_never().unwrap_or(Err(StoreError::Closed))
}
