//! What must hold in the end, seen from outside: what the Bridge counts on is on the Hosts' disks,
//! and nothing waits that should have been done.

use std::collections::{BTreeMap, BTreeSet};

use metastore::group::Group;
use metastore::{HostAlias, StoreError};
use model::units::ShardId;
use shardstore::StoreConfig;

use crate::nodes;
use crate::plan::{HOSTS_LEFT, Node, Sabotage};
use crate::shared::Shared;

/// Rows read at a time.
const ROWS: u32 = 1_000;

/// Hosts by their numbers, and which is which.
type Hosts = BTreeMap<HostAlias, u64>;

/// Orders that wait for Hosts which are there.
pub(crate) fn orders_waiting(shared: &Shared) -> Result<u64, StoreError> {
    let hosts = hosts(shared)?;
    let gone: BTreeSet<HostAlias> = hosts
        .iter()
        .filter(|(_, number)| is_gone(shared, **number))
        .map(|(alias, _)| *alias)
        .collect();
    read(shared, move |tx| {
        let mut waiting = 0;
        for alias in hosts.keys().filter(|alias| !gone.contains(alias)) {
            waiting += tx.pending_orders(*alias, 0, ROWS)?.len() as u64;
        }
        Ok(waiting)
    })
}

/// Cuts the power of all Hosts at once, and looks whether every shard that the Bridge counts on is
/// there afterwards. Returns how many there are.
pub(crate) fn shards_are_there(shared: &Shared) -> Result<u64, StoreError> {
    let expected = expected(shared)?;
    let mut found = 0;
    for host in 1..=shared.plan.hosts {
        let name = Node::Host(host).to_string();
        if shared.plan.is_damaged(host) || is_gone(shared, host) {
            continue;
        }
        let Some(wanted) = expected.get(&host) else {
            continue;
        };
        shared.disks.with(&name, crate::disk::Machine::cut_power);
        shared.disks.restore_power(&name);
        let wanted: Vec<ShardId> = wanted.iter().copied().collect();
        let store = shardstore::Store::open(&nodes::volume_of(host), StoreConfig::new(512 << 20));
        let store = match store {
            Ok(store) => store,
            Err(error) => {
                shared
                    .trace
                    .violation(&name, format_args!("its store does not open: {error}"));
                continue;
            }
        };
        for shard in wanted {
            let read = store.get(&shard).ok().flatten();
            let whole = read.is_some_and(|shard| shard.read_verified().is_ok());
            if whole {
                found += 1;
            } else {
                let text = format_args!("shard {} is not there", shard.short());
                shared.trace.violation(&name, text);
            }
        }
    }
    Ok(found)
}

/// The shards that each Host is to have.
fn expected(shared: &Shared) -> Result<BTreeMap<u64, BTreeSet<ShardId>>, StoreError> {
    let hosts = hosts(shared)?;
    read(shared, move |tx| {
        let mut expected: BTreeMap<u64, BTreeSet<ShardId>> = BTreeMap::new();
        let mut after = None;
        loop {
            let rows = tx.scan_groups(after.as_ref(), ROWS)?;
            let Some(last) = rows.last() else {
                return Ok(expected);
            };
            after = Some(last.key);
            for row in &rows {
                let blob = tx.blob(&row.key.account, &row.key.blob)?;
                let lives = blob.is_some_and(|blob| blob.state == metastore::BlobState::Live);
                let placed = placed(&row.group).filter(|_| lives);
                let known = placed.filter_map(|(alias, id)| Some((*hosts.get(&alias)?, id)));
                known.for_each(|(host, id)| {
                    expected.entry(host).or_default().insert(id);
                });
            }
        }
    })
}

/// Every shard of a group that a Host has.
fn placed(group: &Group) -> impl Iterator<Item = (HostAlias, ShardId)> {
    let places = (0..group.segments())
        .flat_map(move |segment| (0..group.n()).map(move |slot| (segment, slot)));
    places.filter_map(move |(segment, slot)| {
        Some((group.host(segment, slot)?, group.shard_id(segment, slot)?))
    })
}

fn hosts(shared: &Shared) -> Result<Hosts, StoreError> {
    let ids: BTreeMap<_, _> = (1..=shared.plan.hosts)
        .map(|host| (shared.host_id(host), host))
        .collect();
    let rows = read(shared, |tx| tx.scan_hosts(None, ROWS))?;
    let known = rows
        .iter()
        .filter_map(|row| Some((row.alias, *ids.get(&row.id)?)));
    Ok(known.collect())
}

fn is_gone(shared: &Shared, host: u64) -> bool {
    let planned = shared.plan.faults.iter();
    let gone = planned.map(|planned| planned.fault);
    let sabotaged = shared.plan.sabotage == Some(Sabotage::TooManyGone) && host > HOSTS_LEFT;
    sabotaged
        || gone
            .into_iter()
            .any(|fault| fault == crate::plan::Fault::Gone { host })
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
