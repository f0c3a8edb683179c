//! MB/s and CPU-seconds per GB of durable appends, reads and starts. Run with
//! `cargo bench -p shardstore`; `BENCH_DIR` names a folder on the disk to measure.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints and may panic"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::crypto::{hash_shard, sha256};
use model::units::{BridgeId, OwnerTag, SHARD_BYTES_MAX, Serial, ShardId, UnixMs};
use shardstore::{NewShard, RecordKey, Store, StoreConfig, VolumeConfig, Volumes};

/// Writes under way at once.
const WRITERS: u64 = 16;

/// First argument of a process that only starts a store.
const START: &str = "start";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [START, base, volumes, shards] = args.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let (volumes, shards) = (volumes.parse().unwrap(), shards.parse().unwrap());
        return started(Path::new(base), volumes, shards);
    }
    let base = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(base).unwrap();
    println!("{WRITERS} writers, disk of {}", folder.path().display());
    measure(
        &folder.path().join("large"),
        SHARD_BYTES_MAX as usize,
        1_500,
    );
    measure(&folder.path().join("small"), 10_240, 100_000);
    compaction(&folder.path().join("sparse"), 1_000);
    many(&folder.path().join("one"), 1, 1_000_000);
    many(&folder.path().join("four"), 4, 1_000_000);
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

/// Memory and start with a million of the smallest shards on one volume and on four. Each start is
/// a process of its own, so that its memory is its own.
fn many(base: &Path, volumes: usize, shards: u64) {
    let folders = folders(base, volumes);
    for folder in &folders {
        std::fs::create_dir_all(folder).unwrap();
    }
    let store = open_volumes(base, volumes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(write(shards, async |number| {
        let new = small_shard(number);
        let room = store.reserve(new.shard_bytes()).unwrap();
        store.put(new, room).await.unwrap();
    }));
    let per_volume: Vec<u64> = store
        .status()
        .iter()
        .map(|volume| volume.usage.shards)
        .collect();
    println!("{shards} shards on {volumes} volumes: {per_volume:?}");
    drop(store);
    start(base, volumes, shards, "with checkpoint");
    for folder in &folders {
        std::fs::remove_file(folder.join("index.checkpoint")).unwrap();
    }
    start(base, volumes, shards, "from the logs alone");
    start(base, volumes, shards, "with checkpoint again");
}

fn start(base: &Path, volumes: usize, shards: u64, how: &str) {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([OsStr::new(START), base.as_os_str()])
        .args([volumes.to_string(), shards.to_string()])
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    print!("start {how}: {}", String::from_utf8_lossy(&child.stdout));
}

/// The child's part of [`start`].
fn started(base: &Path, volumes: usize, shards: u64) {
    let (start, before, cpu) = (Instant::now(), rss_bytes(), cpu_seconds());
    let store = open_volumes(base, volumes);
    let seconds = start.elapsed().as_secs_f64();
    let (cpu, memory) = (cpu_seconds() - cpu, rss_bytes() - before);
    assert_eq!(store.usage().records, shards);
    println!(
        "{seconds:.3} s, {cpu:.2} CPU-s, {} MB memory",
        memory / 1_000_000
    );
}

fn folders(base: &Path, volumes: usize) -> Vec<PathBuf> {
    (0..volumes)
        .map(|number| base.join(format!("volume{number}")))
        .collect()
}

fn open_volumes(base: &Path, volumes: usize) -> Volumes {
    let config = |folder| VolumeConfig {
        folder,
        store: StoreConfig {
            keep_free_bytes: Some(0),
            ..StoreConfig::new(1 << 40)
        },
        create_folder: false,
    };
    let configs = folders(base, volumes).into_iter().map(config).collect();
    Volumes::open(base, configs).unwrap()
}

/// Time and CPU of rewriting a store of which one shard in four lives, where no holes are punched.
fn compaction(folder: &Path, shards: u64) {
    let config = StoreConfig {
        punch_holes: false,
        log_bytes_max: 64 << 20,
        ..StoreConfig::new(u64::MAX / 4)
    };
    let store = Arc::new(Store::open(folder, config).unwrap());
    // Real ids: what does not match its id is not moved.
    fill_with(&store, shards, |number| {
        let bytes = Bytes::from(number.to_le_bytes().repeat(1 << 17));
        let id = hash_shard(&bytes);
        NewShard::new(key(number), id, OwnerTag([0; 32]), UnixMs(1), bytes).unwrap()
    });
    let gone: Vec<Serial> = (0..shards)
        .filter(|number| number % 4 != 0)
        .map(|number| key(number).serial)
        .collect();
    store.remove_all(key(0).bridge, &gone).unwrap();
    let used = |store: &Store| store.usage().live_bytes + store.usage().overhead_bytes;
    let (before, start, cpu, mut moved) = (used(&store), Instant::now(), cpu_seconds(), 0);
    while let Some(sparse) = store.sparse_log(60).unwrap() {
        let mut rewrite = store.rewrite(sparse).unwrap();
        while let Some(bytes) = rewrite.step(&store).unwrap() {
            moved += bytes;
        }
        store.remove_all(key(0).bridge, &gone[..1]).unwrap();
    }
    println!(
        "compaction: {} MB freed by moving {} MB in {:.2} s, {:.2} CPU-s",
        (before - used(&store)) / 1_000_000,
        moved / 1_000_000,
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu
    );
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
    runtime.block_on(write(shards, async |number| {
        let new = shard(number);
        let room = store.reserve(new.shard_bytes()).unwrap();
        store.put(new, room).await.unwrap();
    }));
}

/// Has `one` write every number below `shards`, several at a time.
async fn write(shards: u64, one: impl AsyncFn(u64)) {
    let writers = (0..WRITERS).map(|writer| {
        let one = &one;
        let write = async move {
            for number in (writer..shards).step_by(usize::try_from(WRITERS).unwrap()) {
                one(number).await;
            }
        };
        Box::pin(write) as std::pin::Pin<Box<dyn Future<Output = ()> + '_>>
    });
    join(writers.collect()).await;
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
