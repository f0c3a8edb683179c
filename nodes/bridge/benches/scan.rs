//! How fast a survey's scan is: `cargo bench -p bridge --bench scan`. A million shards and more, in
//! SQLite, judged by what is believed of 100,000 Hosts of which one in fifty is away.

use std::io::{self, Write};
use std::time::Instant;

use bridge::hosts::directory::{Beliefs, Believed};
use bridge::repair::judge::Belief;
use bridge::repair::scan::Scan;
use metastore::group::{Group, segments_per_group};
use metastore::{GroupKey, HostAlias, Store, StoreConfig, StoreError};
use model::units::{AccountId, BlobId, ShardId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

const HOSTS: u32 = 100_000;
const SHARDS: u64 = 1_000_000;
const GROUPS_PER_WRITE: u64 = 1_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    writeln!(io::stdout(), "load before: {}", load.trim())?;
    for (k, n) in [(1, 3), (4, 8), (16, 32)] {
        let path = folder.path().join(format!("{k}-{n}"));
        let store = Store::open(&path, StoreConfig::default())?;
        runtime.block_on(fill(&store, k, n))?;
        runtime.block_on(scan(&store, k, n))?;
    }
    Ok(())
}

async fn fill(store: &Store, k: u16, n: u16) -> Outcome<()> {
    let segments = segments_per_group(k, n);
    let groups = SHARDS / (u64::from(segments) * u64::from(n)) + 1;
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut first = 0;
    while first < groups {
        let end = groups.min(first + GROUPS_PER_WRITE);
        let mut draws = ChaCha20Rng::from_rng(&mut rng);
        let write = move |tx: &mut dyn metastore::Tx| {
            for number in first..end {
                let mut group = Group::new(k, n, segments).map_err(|_| StoreError::Closed)?;
                let slots = (0..segments).flat_map(|within| (0..n).map(move |slot| (within, slot)));
                for (within, slot) in slots {
                    group.set_shard_id(within, slot, &ShardId([7; 32]));
                    let host = HostAlias(draws.next_u32() % HOSTS + 1);
                    group.set_host(within, slot, Some(host));
                }
                let key = GroupKey {
                    account: AccountId([1; 16]),
                    blob: BlobId([2; 16]),
                    first: number * u64::from(segments),
                };
                drop(tx.put_group(&key, None, &group));
            }
            Ok::<_, StoreError>(())
        };
        store.write(write).await?;
        first = end;
    }
    Ok(())
}

async fn scan(store: &Store, k: u16, n: u16) -> Outcome<()> {
    let believed = |alias: u32| Believed {
        belief: if alias.is_multiple_of(50) {
            Belief::Away
        } else {
            Belief::Here
        },
        zone: alias,
        serves: true,
        leaving_bytes: 0,
    };
    let beliefs = Beliefs::of((1..=HOSTS).map(|alias| (HostAlias(alias), believed(alias))));
    let mut scan = Scan::new(beliefs, std::iter::empty());
    let (began, before) = (Instant::now(), cpu_ms()?);
    loop {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let read = move |tx: &dyn metastore::Tx| {
            let more = scan.page(tx, &mut rng)?;
            Ok::<_, StoreError>((scan, more))
        };
        let (scanned, more) = store.read(read).await?;
        scan = scanned;
        if !more {
            break;
        }
    }
    let (wall, cpu) = (began.elapsed(), cpu_ms()? - before);
    let found = scan.finish();
    let rate = found.shards as f64 / (cpu.max(10) as f64 / 1e3) / 1e6;
    writeln!(
        io::stdout(),
        "{k} of {n}: {} shards in {wall:?}, {cpu} ms of CPU: {rate:.1} million shards/s per core; {} \
         segments need repair",
        found.shards,
        found.needs.len()
    )?;
    Ok(())
}

/// CPU time of this process; the system counts it in steps of 10 ms.
fn cpu_ms() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or("");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * 10)
}
