//! The figures of the Bridge's store: durable commits, lookups, bytes per shard, repair scan.
//!
//! `cargo bench -p metastore` prints them; `METASTORE_BENCH_DIR` names the disk to measure, `-- commits` stops after the commits.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metastore::group::{Group, segments_per_group};
use metastore::{
    BlobRow, BlobState, GroupKey, HostAlias, ReceiptRow, ReferenceDelta, RootRow, Store,
    StoreConfig, Tx, UsageDelta,
};
use model::units::{
    AccountId, BlobId, NodeHash, OwnerTag, RootHash, ShardId, ShardSize, UnixMs, UploadId, VolumeId,
};

const COMMIT_SECONDS: u64 = 5;
const CALLERS: [u64; 3] = [1, 16, 128];
const GROUP_ROWS: u64 = 30_000;
const LOOKUPS: u64 = 20_000;
const HOSTS: u32 = 100_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let folder = match std::env::var_os("METASTORE_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    print(&format!("load before: {}", load.trim()))?;
    print(&format!(
        "one fdatasync of 8 KiB: {:?}",
        sync_time(folder.path())?
    ))?;
    for callers in CALLERS {
        let path = folder.path().join(format!("commits-{callers}"));
        runtime.block_on(commits(&path, callers))?;
    }
    if std::env::args().any(|argument| argument == "commits") {
        return Ok(());
    }
    for (k, n) in [(1, 3), (4, 8), (16, 32)] {
        let path = folder.path().join(format!("groups-{k}-{n}"));
        runtime.block_on(groups(path, k, n))?;
    }
    Ok(())
}

fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// CPU time of this process; the system counts it in steps of 10 ms.
fn cpu_ms() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * 10)
}

/// Bytes that this process has caused to be written to disk.
fn written_bytes() -> Outcome<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}

fn sync_time(folder: &Path) -> io::Result<Duration> {
    let file = File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for number in 0..100 {
        let start = Instant::now();
        file.write_all_at(&[1; 8_192], number * 8_192)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[50])
}

/// Random ids (splitmix64), different for each of them.
fn id<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    for (index, chunk) in (0_u64..).zip(bytes.chunks_mut(8)) {
        let mut mixed = number.wrapping_mul(8).wrapping_add(index);
        for multiplier in [
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0x9e37_79b9_7f4a_7c15,
        ] {
            mixed = (mixed ^ (mixed >> 29)).wrapping_mul(multiplier);
        }
        chunk.copy_from_slice(&(mixed ^ (mixed >> 32)).to_le_bytes()[..chunk.len()]);
    }
    bytes
}

async fn commits(path: &Path, callers: u64) -> Outcome<()> {
    let store = Store::open(path, StoreConfig::default())?;
    let (cpu_before, written_before) = (cpu_ms()?, written_bytes()?);
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            let mut seq = 0;
            while start.elapsed() < Duration::from_secs(COMMIT_SECONDS) {
                seq += 1;
                let begin = Instant::now();
                store
                    .write(move |tx| commit_one_blob(tx, caller, seq))
                    .await?;
                times.push(begin.elapsed());
            }
            Ok::<_, metastore::TxError<Box<dyn std::error::Error + Send + Sync>>>(times)
        });
    }
    let mut times = Vec::new();
    for outcome in tasks.join_all().await {
        times.extend(outcome.map_err(|error| format!("{error:?}"))?);
    }
    let commits = times.len() as u64;
    let rate = commits / COMMIT_SECONDS;
    let (cpu, written) = (cpu_ms()? - cpu_before, written_bytes()? - written_before);
    let (cpu_us, kib) = (cpu * 1_000 / commits, written / 1_024 / commits);
    print(&format!(
        "durable one-blob commits, {callers} callers: {rate}/s, {}, {cpu_us} µs CPU, {kib} KiB written each",
        percentiles(&mut times)
    ))
    .map_err(Into::into)
}

/// What a Bridge writes for a small file: blob, group, 3 receipts, two pages, usage and the root.
fn commit_one_blob(
    tx: &mut dyn Tx,
    caller: u64,
    seq: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (account, volume) = (AccountId(id(caller)), VolumeId(id(caller)));
    let number = (caller << 32) + seq;
    let (blob, upload) = (BlobId(id(number)), UploadId(id(number)));
    let now = UnixMs(1_700_000_000_000 + seq);
    tx.insert_blob(&BlobRow {
        account,
        blob,
        upload,
        length: 1_000_000,
        k: 1,
        n: 3,
        shard_size: ShardSize::MAX,
        segments: 1,
        owner_tag: OwnerTag(id(number)),
        created: now,
        references: 0,
        live_bytes: 0,
        state: BlobState::Pending,
    })?;
    tx.put_group(
        &GroupKey {
            account,
            blob,
            first: 0,
        },
        None,
        &group(1, 3, 1, number)?,
    )?;
    tx.append_receipts(&ReceiptRow {
        account,
        blob,
        segment: 0,
        bytes: vec![7; 3 * 160],
    })?;
    tx.commit_blobs(&account, &upload, now)?;
    let delta = ReferenceDelta {
        references: 1,
        live_bytes: 1_000_000,
    };
    tx.add_references(&account, &blob, delta, now)?;
    for page in 0..2 {
        let hash = |seq: u64| NodeHash(id((caller << 32) + seq * 2 + page));
        tx.retire_nodes(&account, &[hash(seq - 1)], now)?;
        tx.put_pending_node(&account, &hash(seq), &[9; 4_000], now)?;
        tx.commit_nodes(&account, &[hash(seq)])?;
    }
    tx.add_usage(
        &account,
        UsageDelta {
            stored_bytes: 3_000_000,
            reserved_bytes: 0,
        },
    )?;
    let prev = (seq > 1).then(|| RootHash(id(number - 1)));
    let root = RootRow {
        seq,
        hash: RootHash(id(number)),
        bytes: vec![3; 900],
        time: now,
    };
    tx.push_root(&account, &volume, prev.as_ref(), &root)?;
    Ok(())
}

fn group(
    k: u16,
    n: u16,
    segments: u16,
    number: u64,
) -> Result<Group, metastore::group::GroupShapeError> {
    let mut group = Group::new(k, n, segments)?;
    for segment in 0..segments {
        for slot in 0..n {
            let shard = number * 4_096 + u64::from(segment * n + slot);
            let host = u32::from_le_bytes(id(shard)) % HOSTS + 1;
            group.set_shard_id(segment, slot, &ShardId(id(shard)));
            group.set_host(segment, slot, Some(HostAlias(host)));
        }
    }
    Ok(group)
}

async fn groups(path: PathBuf, k: u16, n: u16) -> Outcome<()> {
    let per_group = segments_per_group(k, n);
    let ids = GROUP_ROWS * u64::from(if k == 1 { per_group } else { per_group * n });
    let store = Store::open(&path, StoreConfig::default())?;
    drop(store);
    let empty = path.metadata()?.len();
    let store = Store::open(&path, StoreConfig::default())?;
    // Blobs of four full groups each, their ids in random order.
    for blob in 0..GROUP_ROWS / 4 {
        let rule = move |tx: &mut dyn Tx| {
            for index in 0..4 {
                let key = key(blob, index * u64::from(per_group));
                let group = group(k, n, per_group, blob * 4 + index)?;
                tx.put_group(&key, None, &group)?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        store
            .write(rule)
            .await
            .map_err(|error| format!("{error:?}"))?;
    }
    drop(store);
    let grown = path.metadata()?.len() - empty;
    let bytes = grown as f64 / ids as f64;
    print(&format!(
        "groups {k} of {n}: {bytes:.1} B of file per shard ({ids} shards, full groups)"
    ))?;

    let store = Store::open(&path, StoreConfig::default())?;
    lookups(&store, k, n).await?;
    scan(&store).await
}

fn key(blob: u64, first: u64) -> GroupKey {
    GroupKey {
        account: AccountId(id(blob % 50)),
        blob: BlobId(id(blob)),
        first,
    }
}

/// The layout of 100 shards of a random blob, asked for one after the other.
async fn lookups(store: &Store, k: u16, n: u16) -> Outcome<()> {
    let segments = u64::from(100_u16.div_ceil(if k == 1 { 1 } else { n }));
    let mut times = Vec::new();
    for number in 0..LOOKUPS {
        let blob = u64::from_le_bytes(id(number)) % (GROUP_ROWS / 4);
        let begin = Instant::now();
        let key = key(blob, 0);
        let rows = store
            .read(move |tx| tx.groups(&key.account, &key.blob, 0..segments, 100))
            .await?;
        times.push(begin.elapsed());
        let held: u64 = rows.iter().map(|row| u64::from(row.group.segments())).sum();
        assert!(held >= segments.min(4 * u64::from(segments_per_group(k, n))));
    }
    print(&format!(
        "  layout of 100 shards: {}",
        percentiles(&mut times)
    ))
    .map_err(Into::into)
}

/// What the repair checker does: every group, the state of each Host from a table in memory.
async fn scan(store: &Store) -> Outcome<()> {
    let states: Vec<u8> = (0..=HOSTS).map(|alias| u8::from(alias % 50 != 0)).collect();
    let begin = Instant::now();
    let (mut last, mut slots, mut shards, mut degraded) = (None, 0_u64, 0_u64, 0_u64);
    loop {
        let rows = store
            .read(move |tx| tx.scan_groups(last.as_ref(), 1_000))
            .await?;
        let Some(end) = rows.last() else { break };
        last = Some(end.key);
        for group in rows.iter().map(|row| &row.group) {
            for segment in 0..group.segments() {
                let live: u16 = group
                    .hosts(segment)
                    .map(|host| host.and_then(|host| states.get(host.0 as usize)))
                    .map(|state| state.copied().map_or(0, u16::from))
                    .sum();
                degraded += u64::from(live < group.n());
                slots += u64::from(group.n());
                shards += if group.k() == 1 {
                    1
                } else {
                    u64::from(group.n())
                };
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let rate = shards as f64 / seconds / 1e6;
    let slot_rate = slots as f64 / seconds / 1e6;
    print(&format!(
        "  repair scan: {rate:.2} M shards/s, {slot_rate:.2} M placements/s ({degraded} degraded)"
    ))
    .map_err(Into::into)
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("p50 {:?}, p99 {:?}", at(50), at(99))
}
