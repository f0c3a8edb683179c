//! What lies on the disks of Hosts, looked at from outside: on a copy of them whose power was just
//! cut, so that nobody notices; and, for a Host that cheats, what it drops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::units::{Serial, ShardId};
use shardstore::disk::SimulatedDisk;
use shardstore::{Store, StoreConfig};

use crate::audit::{self, Counted};
use crate::disk::Machine;
use crate::nodes;
use crate::plan::Node;
use crate::shared::Shared;

/// Shards that are not on the disk of the Host they are counted on, or not whole; each as a violation.
pub(crate) fn missing(shared: &Shared, counted: &[Counted]) -> Vec<String> {
    let mut by_host: BTreeMap<u64, BTreeSet<ShardId>> = BTreeMap::new();
    for shard in counted {
        by_host.entry(shard.host).or_default().insert(shard.shard);
    }
    let mut missing = Vec::new();
    for (host, wanted) in by_host {
        match whole(shared, host, &wanted) {
            Ok(whole) => {
                let lost = wanted.difference(&whole);
                let lost =
                    lost.map(|shard| format!("h{host}: shard {} is not there", shard.short()));
                missing.extend(lost);
            }
            Err(error) => missing.push(format!("h{host}: its store does not open: {error:#}")),
        }
    }
    missing
}

/// Which of `wanted` the Host `host` would have, whole, if its power were cut now.
pub(crate) fn whole(
    shared: &Shared,
    host: u64,
    wanted: &BTreeSet<ShardId>,
) -> anyhow::Result<BTreeSet<ShardId>> {
    let name = Node::Host(host).to_string();
    let copy = shared.disks.copy_of(&name);
    copy.with(&name, Machine::cut_power);
    copy.restore_power(&name);
    let _copy = SimulatedDisk::here(Arc::new(copy));
    let store = open(host)?;
    let is_whole = |shard: &&ShardId| {
        let read = store.get(shard).ok().flatten();
        read.is_some_and(|shard| shard.read_verified().is_ok())
    };
    Ok(wanted.iter().filter(is_whole).copied().collect())
}

/// Removes every second shard that the Bridge counts on from the disk of `host`, which does not run.
/// Returns how many.
pub(crate) fn drop_half(shared: &Shared, host: u64) -> anyhow::Result<u64> {
    let mut its = audit::counted(shared)?;
    its.retain(|shard| shard.host == host);
    its.sort_unstable();
    if its.is_empty() {
        return Ok(0);
    }
    let id = shared.host_id(host);
    let dropped = its.iter().step_by(2);
    let serials: Vec<Serial> = dropped
        .map(|shard| shard.place.serial(&shared.bridge, &id))
        .collect();
    Ok(open(host)?.remove_all(shared.bridge.id, &serials)?)
}

fn open(host: u64) -> anyhow::Result<Store> {
    let folder = nodes::volume_of(host);
    Ok(Store::open(&folder, StoreConfig::new(nodes::SPACE_BYTES))?)
}
