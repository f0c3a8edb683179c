//! Writes shards until it is killed or the disk goes away, and says each serial on standard
//! output once its record is durable. `churn` also deletes most of them, and rewrites sparse logs
//! all the while: `?N` says that N is about to be deleted, `-N` that it is. With `check`, reads such
//! lines from standard input and fails unless every one is as it must be: there and whole, or gone.
//! The other half is `tests/power_cut.sh`.
#![expect(clippy::print_stdout, reason = "standard output is its interface")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, Serial, ShardId, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig};

/// A shard is deleted when so many more have been written.
const CHURN_AFTER: u64 = 40;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, verb, folder, first] = args.as_slice() else {
        return Err("usage: power_cut_writer write|churn|check FOLDER FIRST_SERIAL".into());
    };
    let config = StoreConfig {
        keep_free_bytes: Some(0),
        ..StoreConfig::new(1 << 40)
    };
    let config = StoreConfig {
        log_bytes_max: 8 << 20,
        punch_holes: verb != "churn",
        ..config
    };
    let store = Arc::new(Store::open(Path::new(folder), config)?);
    match verb.as_str() {
        "write" => write(&store, first.parse()?).await,
        "churn" => {
            let compacting = Arc::clone(&store);
            std::thread::spawn(move || compact(&compacting));
            churn(&store, first.parse()?).await
        }
        "check" => check(&store),
        _ => Err("unknown verb".into()),
    }
}

/// Four writes at a time, so that batches hold several records.
async fn write(store: &Store, first: u64) -> Outcome {
    for number in (first..).step_by(4) {
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
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn put(store: &Store, number: u64) -> Outcome {
    let bytes = content(number);
    let room = store.reserve(u32::try_from(bytes.len())?)?;
    let (id, owner) = (hash_shard(&bytes), OwnerTag([0; 32]));
    store
        .put(
            NewShard::new(key(number), id, owner, UnixMs(number), bytes)?,
            room,
        )
        .await?;
    Ok(())
}

/// Like [`write`], and deletes three of four a little later.
async fn churn(store: &Store, first: u64) -> Outcome {
    for number in (first..).step_by(4) {
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
        if number >= first + CHURN_AFTER {
            for gone in number - CHURN_AFTER..number - CHURN_AFTER + 3 {
                println!("?{gone}");
                std::io::stdout().flush()?;
                store.remove(key(gone)).await?;
                println!("-{gone}");
            }
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Rewrites sparse logs until the disk fails.
fn compact(store: &Store) {
    while let Ok(found) = store.sparse_log(60) {
        let Some(mut rewrite) = found.and_then(|sparse| store.rewrite(sparse).ok()) else {
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        };
        while let Ok(Some(_)) = rewrite.step(store) {}
    }
}

fn check(store: &Store) -> Outcome {
    let mut wanted = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (state, number) = match line.as_bytes().first() {
            Some(b'?') => (Wanted::Either, line.trim_start_matches('?')),
            Some(b'-') => (Wanted::Gone, line.trim_start_matches('-')),
            _ => (Wanted::Here, line.as_str()),
        };
        wanted.insert(number.parse::<u64>()?, state);
    }
    for (number, wanted) in wanted {
        match (wanted, store.find(key(number))?) {
            (Wanted::Here, None) => return Err(format!("serial {number} is lost").into()),
            (Wanted::Gone, Some(_)) => return Err(format!("serial {number} came back").into()),
            (Wanted::Here, Some((found, _))) => whole(store, number, &found)?,
            (Wanted::Gone | Wanted::Either, None) | (Wanted::Either, Some(_)) => {}
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Wanted {
    Here,
    Gone,
    Either,
}

fn whole(store: &Store, number: u64, found: &ShardId) -> Outcome {
    let shard = store
        .get(found)?
        .ok_or(format!("bytes of {number} are lost"))?;
    let is_its = *found == hash_shard(&content(number));
    if !is_its || shard.read_verified()? != content(number) {
        return Err(format!("serial {number} holds something else").into());
    }
    Ok(())
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
