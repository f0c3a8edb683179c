//! MB/s and CPU-seconds per GB of durable appends, reads and starts. Run with
//! `cargo bench -p shardstore`; `BENCH_DIR` names a folder on the disk to measure.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints and may panic"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, SHARD_BYTES_MAX, Serial, ShardId, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig};

/// Writes under way at once.
const WRITERS: u64 = 16;

fn main() {
    let base = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(base).unwrap();
    println!("{WRITERS} writers, disk of {}", folder.path().display());
    measure(
        &folder.path().join("large"),
        SHARD_BYTES_MAX as usize,
        1_500,
    );
    measure(&folder.path().join("small"), 10_240, 100_000);
    many(&folder.path().join("many"), 1_000_000);
}

fn measure(folder: &Path, shard_bytes: usize, shards: u64) {
    let store = Arc::new(open(folder));
    let bytes = Bytes::from(vec![7; shard_bytes]);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    fill(&store, &bytes, shards);
    report("append", shard_bytes, shards, start, cpu);

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut out = vec![0; shard_bytes];
    for number in 0..shards {
        store
            .get(&id(number))
            .unwrap()
            .unwrap()
            .read_at(0, &mut out)
            .unwrap();
    }
    report("read", shard_bytes, shards, start, cpu);
}

/// Memory and start with a million of the smallest shards.
fn many(folder: &Path, shards: u64) {
    let store = Arc::new(open(folder));
    let before = rss_bytes();
    fill_with(&store, shards, small_shard);
    println!(
        "{shards} shards: {} MB more memory",
        (rss_bytes() - before) / 1_000_000
    );
    drop(store);
    let (start, before) = (Instant::now(), rss_bytes());
    let store = open(folder);
    println!(
        "start with checkpoint: {:.3} s",
        start.elapsed().as_secs_f64()
    );
    println!(
        "memory of a fresh start: {} MB",
        rss_bytes().saturating_sub(before) / 1_000_000
    );
    drop(store);
    std::fs::remove_file(folder.join("index.checkpoint")).unwrap();
    let start = Instant::now();
    let store = open(folder);
    println!(
        "start from the logs alone: {:.3} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(store.usage().records, shards);
}

fn open(folder: &Path) -> Store {
    Store::open(folder, StoreConfig::new(u64::MAX / 4)).unwrap()
}

fn fill(store: &Arc<Store>, bytes: &Bytes, shards: u64) {
    fill_with(store, shards, |number| shard(number, bytes));
}

fn fill_with(store: &Arc<Store>, shards: u64, shard: impl Fn(u64) -> NewShard) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| {
            let shard = &shard;
            let write = async move {
                for number in (writer..shards).step_by(usize::try_from(WRITERS).unwrap()) {
                    let new = shard(number);
                    let room = store.reserve(new.shard_bytes()).unwrap();
                    store.put(new, room).await.unwrap();
                }
            };
            Box::pin(write) as std::pin::Pin<Box<dyn Future<Output = ()> + '_>>
        });
        let writers = writers.collect();
        join(writers).await;
    });
}

/// Waits for all of `futures`, which share one thread.
async fn join(mut futures: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>>) {
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// A shard under an id that stands for its number: the store does not hash what it is given.
fn shard(number: u64, bytes: &Bytes) -> NewShard {
    NewShard::new(
        key(number),
        id(number),
        OwnerTag([0; 32]),
        UnixMs(1),
        bytes.clone(),
    )
    .unwrap()
}

/// 64 bytes and their true id: a start re-hashes the last records.
fn small_shard(number: u64) -> NewShard {
    let bytes = Bytes::from(number.to_le_bytes().repeat(8));
    let id = hash_shard(&bytes);
    NewShard::new(key(number), id, OwnerTag([0; 32]), UnixMs(1), bytes).unwrap()
}

fn key(number: u64) -> RecordKey {
    let mut serial = [0; 16];
    serial[..8].copy_from_slice(&number.to_le_bytes());
    RecordKey {
        bridge: BridgeId([1; 32]),
        serial: Serial(serial),
    }
}

fn id(number: u64) -> ShardId {
    ShardId(sha256(&number.to_le_bytes()))
}

fn report(what: &str, shard_bytes: usize, shards: u64, start: Instant, cpu: f64) {
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let bytes = shard_bytes as f64 * shards as f64;
    println!(
        "{what} {shard_bytes} B: {:.0} MB/s, {:.0} shards/s, {:.2} CPU-s per GB",
        bytes / 1e6 / seconds,
        shards as f64 / seconds,
        cpu / (bytes / 1e9)
    );
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = [11, 12]
        .map(|field| fields[field].parse::<f64>().unwrap())
        .iter()
        .sum();
    ticks / 100.0
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4_096
}
