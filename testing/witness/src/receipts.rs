//! A planet that does not run: every shard whose receipt the Bridge holds, and which it counts as
//! stored, is at the Host that signed for it, whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use metastore::{BlobState, GroupKey, GroupRow, HostAlias, Store, StoreConfig, StoreError, Tx};
use model::units::HostId;
use model::wire::StoreReceipt;
use shardstore::RecordKey;

/// Rows read at a time.
const ROWS: u32 = 1_000;

/// A shard that the Bridge counts as stored, and the word of its Host.
struct Placed {
    receipt: StoreReceipt,
    /// The first bytes of the owner's blob, for messages.
    blob: String,
}

pub(crate) async fn check(planet: &Path) -> Result<()> {
    let database = Store::open(&planet.join("bridge/bridge.sqlite"), StoreConfig::default())?;
    let placed = database.read(|tx| all_placed(tx)).await??;
    drop(database);
    let hosts = stores(planet)?;
    for place in &placed {
        let host = place.receipt.host;
        let store = hosts.get(&host);
        let store = store.with_context(|| format!("host {} is not here", host.short()))?;
        honour(store, place)?;
    }
    println!("{}", placed.len());
    Ok(())
}

fn honour(store: &shardstore::Store, place: &Placed) -> Result<()> {
    let Placed { receipt, blob } = place;
    let (host, shard) = (receipt.host.short(), receipt.shard);
    let key = RecordKey {
        bridge: receipt.bridge,
        serial: receipt.serial,
    };
    let found = store.find(key)?.map(|(id, _)| id);
    ensure!(
        found == Some(shard),
        "host {host} lost {shard} of blob {blob}, which it signed for"
    );
    let reader = store.get(&shard)?;
    let reader = reader.with_context(|| format!("host {host} lost the bytes of {shard}"))?;
    ensure!(
        model::crypto::hash_shard(&reader.read_verified()?) == shard,
        "host {host} has other bytes for {shard}"
    );
    Ok(())
}

/// Every Host's store, by the Host's id as it wrote it down.
fn stores(planet: &Path) -> Result<BTreeMap<HostId, shardstore::Store>> {
    let mut stores = BTreeMap::new();
    for entry in fs::read_dir(planet.join("hosts"))? {
        let data = entry?.path();
        let status: serde_json::Value =
            serde_json::from_slice(&fs::read(data.join("status.json"))?)?;
        let id = status["host"]
            .as_str()
            .context("a host's status has no id")?;
        let config = shardstore::StoreConfig::new(1 << 40);
        let store = shardstore::Store::open(&data.join("store"), config)?;
        stores.insert(id.parse()?, store);
    }
    Ok(stores)
}

fn all_placed(tx: &dyn Tx) -> Result<Result<Vec<Placed>>, StoreError> {
    let mut hosts = BTreeMap::new();
    for row in tx.scan_hosts(None, ROWS)? {
        hosts.insert(row.alias, row.id);
    }
    let mut placed = Vec::new();
    let mut after = None;
    loop {
        let groups = tx.scan_groups(after.as_ref(), ROWS)?;
        let Some(last) = groups.last() else {
            return Ok(Ok(placed));
        };
        after = Some(last.key);
        for group in &groups {
            if let Err(error) = place(tx, &hosts, group, &mut placed)? {
                return Ok(Err(error));
            }
        }
    }
}

/// Adds the shards of a group for which there are receipts; those of a committed blob all have one.
fn place(
    tx: &dyn Tx,
    hosts: &BTreeMap<HostAlias, HostId>,
    row: &GroupRow,
    placed: &mut Vec<Placed>,
) -> Result<Result<()>, StoreError> {
    let GroupKey {
        account,
        blob,
        first,
    } = row.key;
    let state = tx.blob(&account, &blob)?.map(|blob| blob.state);
    let committed = matches!(state, Some(BlobState::Live | BlobState::Retired { .. }));
    for within in 0..row.group.segments() {
        let logged = tx.receipts(&account, &blob, first + u64::from(within))?;
        let receipts: Result<Vec<_>> = logged.iter().map(|bytes| open_all(bytes)).collect();
        let receipts = match receipts {
            Ok(receipts) => receipts.concat(),
            Err(error) => return Ok(Err(error)),
        };
        for (slot, alias) in (0..).zip(row.group.hosts(within)) {
            let host = alias.and_then(|alias| hosts.get(&alias));
            let shard = row.group.shard_id(within, slot);
            let fits = |it: &&StoreReceipt| Some(&it.host) == host && Some(it.shard) == shard;
            match receipts.iter().find(fits) {
                Some(receipt) => placed.push(Placed {
                    receipt: *receipt,
                    blob: blob.to_string(),
                }),
                None if committed && alias.is_some() => {
                    let told = format!("slot {slot} of blob {blob} is committed without a receipt");
                    return Ok(Err(anyhow::Error::msg(told)));
                }
                None => {}
            }
        }
    }
    Ok(Ok(()))
}

/// The receipts in a row of the Bridge's log: a version, then an index (2 bytes) before each.
fn open_all(row: &[u8]) -> Result<Vec<StoreReceipt>> {
    let Some((1, mut rest)) = row.split_first().map(|(version, rest)| (*version, rest)) else {
        bail!("a row of receipts is of an unknown version");
    };
    let mut receipts = Vec::new();
    while !rest.is_empty() {
        let entry = rest.split_at_checked(2 + StoreReceipt::BYTES);
        let (entry, after) = entry.context("a row of receipts is cut short")?;
        receipts.push(StoreReceipt::open(&entry[2..])?);
        rest = after;
    }
    Ok(receipts)
}
