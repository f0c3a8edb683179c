//! A shard store: acknowledged means that `put` returned, which is when a Host signs its receipt, or
//! that `remove` did, which is when it says that an order is done.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, Serial, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig};

/// Logs are small, so that cuts fall upon new ones as well.
const LOG_BYTES_MAX: u32 = 8 << 20;
/// Shards looked for behind the last acknowledged one of a run: they may be there, but only whole.
const BEYOND: u64 = 16;
/// A shard is deleted when so many more have been written.
const CHURN_AFTER: u64 = 40;
/// A log of which less is live is rewritten.
const SPARSE_PERCENT: u8 = 60;
/// Numbers of one run lie below those of the next by this.
const RUN: u64 = 1_000_000;

fn open(folder: &Path, punch_holes: bool) -> Result<Store> {
    let config = StoreConfig {
        keep_free_bytes: Some(0),
        log_bytes_max: LOG_BYTES_MAX,
        punch_holes,
        ..StoreConfig::new(1 << 40)
    };
    Store::open(folder, config).with_context(|| format!("opening {}", folder.display()))
}

/// Writes on and on.
pub(crate) async fn write(folder: &Path, first: u64) -> Result<()> {
    let store = open(folder, true)?;
    for number in (first..).step_by(4) {
        put_four(&store, number).await?;
    }
    Ok(())
}

/// Writes on and on, deletes three of four a little later, and rewrites what has become sparse.
pub(crate) async fn churn(folder: &Path, first: u64) -> Result<()> {
    let store = Arc::new(open(folder, false)?);
    let rewritten = Arc::clone(&store);
    std::thread::spawn(move || rewrite_sparse(&rewritten));
    for number in (first..).step_by(4) {
        put_four(&store, number).await?;
        let Some(old) = number.checked_sub(CHURN_AFTER).filter(|old| *old >= first) else {
            continue;
        };
        for gone in old..old + 3 {
            println!("?{gone}");
            std::io::stdout().flush()?;
            store.remove(key(gone)).await?;
            println!("-{gone}");
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Rewrites sparse logs until the disk fails.
fn rewrite_sparse(store: &Store) {
    while let Ok(found) = store.sparse_log(SPARSE_PERCENT) {
        let Some(mut rewrite) = found.and_then(|sparse| store.rewrite(sparse).ok()) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        while let Ok(Some(_)) = rewrite.step(store) {}
    }
}

/// Four at a time, so that batches hold several records; says each when it is durable.
async fn put_four(store: &Store, number: u64) -> Result<()> {
    let puts = tokio::join!(
        put(store, number),
        put(store, number + 1),
        put(store, number + 2),
        put(store, number + 3),
    );
    for (number, put) in (number..).zip([puts.0, puts.1, puts.2, puts.3]) {
        put?;
        println!("{number}");
    }
    Ok(std::io::stdout().flush()?)
}

async fn put(store: &Store, number: u64) -> Result<()> {
    let bytes = content(number);
    let room = store.reserve(u32::try_from(bytes.len())?)?;
    let (id, owner) = (hash_shard(&bytes), OwnerTag([0; 32]));
    let shard = NewShard::new(key(number), id, owner, UnixMs(number), bytes)?;
    store.put(shard, room).await?;
    Ok(())
}

/// What must be true of a shard, by the last line about it.
#[derive(Clone, Copy)]
enum Wanted {
    Here,
    Gone,
    Either,
}

pub(crate) fn check(folder: &Path) -> Result<()> {
    let store = open(folder, true)?;
    let wanted = wanted()?;
    for (number, wanted) in &wanted {
        let here = is_whole(&store, *number)?;
        match wanted {
            Wanted::Here => ensure!(here, "shard {number} is lost"),
            Wanted::Gone => ensure!(!here, "shard {number} was deleted and came back"),
            Wanted::Either => {}
        }
    }
    let runs: BTreeSet<u64> = wanted.keys().map(|number| number / RUN).collect();
    let mut unasked = 0;
    for run in runs {
        let last = wanted.range(run * RUN..(run + 1) * RUN).next_back();
        let beyond = last.map_or(0, |(last, _)| last + 1);
        for number in beyond..beyond + BEYOND {
            unasked += u64::from(is_whole(&store, number)?);
        }
    }
    println!("{} {unasked}", wanted.len());
    Ok(())
}

fn wanted() -> Result<BTreeMap<u64, Wanted>> {
    let mut wanted = BTreeMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let (state, number) = match (line.strip_prefix('?'), line.strip_prefix('-')) {
            (Some(number), _) => (Wanted::Either, number),
            (_, Some(number)) => (Wanted::Gone, number),
            (None, None) => (Wanted::Here, line.as_str()),
        };
        let number = number.parse();
        let number = number.with_context(|| format!("`{line}` is no acknowledgement"))?;
        wanted.insert(number, state);
    }
    Ok(wanted)
}

/// Whether the shard is there; an error where it is there and not what was written.
fn is_whole(store: &Store, number: u64) -> Result<bool> {
    let Some((found, _)) = store.find(key(number))? else {
        return Ok(false);
    };
    let bytes = content(number);
    let shard = store.get(&found)?;
    let shard = shard.with_context(|| format!("the bytes of shard {number} are lost"))?;
    ensure!(
        found == hash_shard(&bytes) && shard.read_verified()? == bytes,
        "shard {number} holds something else"
    );
    Ok(true)
}

fn key(number: u64) -> RecordKey {
    let mut serial = [0; 16];
    serial[..8].copy_from_slice(&number.to_le_bytes());
    RecordKey {
        bridge: BridgeId([1; 32]),
        serial: Serial(serial),
    }
}

/// Between 64 B and about 200 kB, different for every number.
fn content(number: u64) -> Bytes {
    let seed = sha256(&number.to_le_bytes());
    let blocks = 1 + (usize::from(seed[0]) << 4 | usize::from(seed[1]) >> 4) % 3_200;
    (0..blocks)
        .flat_map(|block| {
            let [low, high, ..] = block.to_le_bytes();
            [seed.map(|byte| byte ^ low), seed.map(|byte| byte ^ high)].concat()
        })
        .collect()
}
