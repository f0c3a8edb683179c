//! Writes shards until it is killed or the disk goes away, and says each serial on standard
//! output once its record is durable; with `check`, reads such serials from standard input and
//! fails unless every one is there, whole. The other half is `tests/power_cut.sh`.
#![expect(clippy::print_stdout, reason = "standard output is its interface")]

use std::io::{BufRead, Write};
use std::path::Path;

use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, Serial, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, verb, folder, first] = args.as_slice() else {
        return Err("usage: power_cut_writer write|check FOLDER FIRST_SERIAL".into());
    };
    let config = StoreConfig {
        keep_free_bytes: Some(0),
        ..StoreConfig::new(1 << 40)
    };
    let config = StoreConfig {
        log_bytes_max: 8 << 20,
        ..config
    };
    let store = Store::open(Path::new(folder), config)?;
    match verb.as_str() {
        "write" => write(&store, first.parse()?).await,
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

fn check(store: &Store) -> Outcome {
    for line in std::io::stdin().lock().lines() {
        let number = line?.parse()?;
        let id = hash_shard(&content(number));
        let (found, _) = store
            .find(key(number))?
            .ok_or(format!("serial {number} is lost"))?;
        let shard = store
            .get(&found)?
            .ok_or(format!("bytes of {number} are lost"))?;
        if found != id || shard.read_verified()? != content(number) {
            return Err(format!("serial {number} holds something else").into());
        }
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
