//! A shard store: acknowledged means that `put` returned, which is when a Host signs its receipt.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, Serial, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig};

/// Logs are small, so that cuts fall upon new ones as well.
const LOG_BYTES_MAX: u32 = 8 << 20;
/// Shards looked for behind the last acknowledged one of a run: they may be there, but only whole.
const BEYOND: u64 = 16;
/// Numbers of one run lie below those of the next by this.
const RUN: u64 = 1_000_000;

fn open(folder: &Path) -> Result<Store> {
    let config = StoreConfig {
        keep_free_bytes: Some(0),
        log_bytes_max: LOG_BYTES_MAX,
        ..StoreConfig::new(1 << 40)
    };
    Store::open(folder, config).with_context(|| format!("opening {}", folder.display()))
}

/// Four writes at a time, so that batches hold several records.
pub(crate) async fn write(folder: &Path, first: u64) -> Result<()> {
    let store = open(folder)?;
    for number in (first..).step_by(4) {
        let puts = tokio::join!(
            put(&store, number),
            put(&store, number + 1),
            put(&store, number + 2),
            put(&store, number + 3),
        );
        for (number, put) in (number..).zip([puts.0, puts.1, puts.2, puts.3]) {
            put?;
            println!("{number}");
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn put(store: &Store, number: u64) -> Result<()> {
    let bytes = content(number);
    let room = store.reserve(u32::try_from(bytes.len())?)?;
    let (id, owner) = (hash_shard(&bytes), OwnerTag([0; 32]));
    let shard = NewShard::new(key(number), id, owner, UnixMs(number), bytes)?;
    store.put(shard, room).await?;
    Ok(())
}

pub(crate) fn check(folder: &Path) -> Result<()> {
    let store = open(folder)?;
    let acknowledged: BTreeSet<u64> = crate::acknowledged()?.into_iter().map(|[n]| n).collect();
    for number in &acknowledged {
        ensure!(is_whole(&store, *number)?, "shard {number} is lost");
    }
    let runs: BTreeSet<u64> = acknowledged.iter().map(|number| number / RUN).collect();
    let mut unasked = 0;
    for run in runs {
        let last = acknowledged.range(run * RUN..(run + 1) * RUN).next_back();
        let beyond = last.map_or(0, |last| last + 1);
        for number in beyond..beyond + BEYOND {
            unasked += u64::from(is_whole(&store, number)?);
        }
    }
    println!("{} {unasked}", acknowledged.len());
    Ok(())
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
