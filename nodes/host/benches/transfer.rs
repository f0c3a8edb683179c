//! Uploads and downloads over real sockets: MB/s, CPU-seconds per GB of both sides together, and
//! the memory of the process. Run with `cargo bench -p host --bench transfer`; `BENCH_DIR` names
//! a folder on the disk to measure.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints and may panic"
)]

#[path = "../tests/flows/rig/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod rig;

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use model::crypto::hash_shard;
use model::units::{OwnerTag, SHARD_BYTES_MAX, Serial, ShardId};
use model::wire::{Action, Ticket};
use rig::{TestBridge, TestHost, settings};

const SHARDS: u64 = 512;
/// Different contents; the store keeps each once.
const CONTENTS: u64 = 512;
/// Transfers under way at once.
const AT_ONCE: usize = 6;

fn main() {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(measure());
}

async fn measure() {
    let base = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let data = tempfile::tempdir_in(base).unwrap();
    let bridge = TestBridge::start(0);
    let space_bytes = 10_000_000_000;
    let mut host = TestHost::start(host::Settings {
        volumes: vec![host::VolumeSettings {
            folder: None,
            space_bytes,
        }],
        ..settings(data.path(), bridge.port)
    });
    host.joined().await;
    let before = memory_bytes();

    let ids: Vec<ShardId> = (0..CONTENTS)
        .map(|number| hash_shard(&content(number)))
        .collect();
    let action = Action::Put {
        owner_tag: OwnerTag([6; 32]),
    };
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let put = async |number: u64| {
        let ticket = ticket(&bridge, &host, number, action);
        let id = ids[usize::try_from(number % CONTENTS).unwrap()];
        let answer = host.put_as(&ticket, &id, &content(number)).await;
        assert_eq!(answer.status.as_u16(), 201);
    };
    stream::iter(0..SHARDS)
        .for_each_concurrent(AT_ONCE, put)
        .await;
    report("upload", start, cpu);

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let get = async |number: u64| {
        let shard = ids[usize::try_from(number % CONTENTS).unwrap()];
        let ticket = ticket(&bridge, &host, SHARDS + number, Action::Get { shard });
        let answer = host.get(&ticket, &shard).await;
        assert_eq!(answer.body.len(), SHARD_BYTES_MAX as usize);
    };
    stream::iter(0..SHARDS)
        .for_each_concurrent(AT_ONCE, get)
        .await;
    report("download", start, cpu);
    println!(
        "memory: {} MB more than before",
        (memory_bytes() - before) / 1_000_000
    );
    host.end().await;
}

fn ticket(bridge: &TestBridge, host: &TestHost, number: u64, action: Action) -> Vec<u8> {
    let mut serial = [0; 16];
    serial[..8].copy_from_slice(&number.to_le_bytes());
    let ticket = bridge.ticket(host.id, 0, action, u64::from(SHARD_BYTES_MAX));
    Ticket {
        serial: Serial(serial),
        ..ticket
    }
    .sign(&bridge.key)
}

fn content(number: u64) -> Bytes {
    let word = (number % CONTENTS).to_le_bytes();
    Bytes::from(word.repeat(SHARD_BYTES_MAX as usize / word.len()))
}

fn report(what: &str, start: Instant, cpu: f64) {
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let megabytes = f64::from(SHARD_BYTES_MAX) * SHARDS as f64 / 1e6;
    println!(
        "{what}: {:.0} MB/s, {:.2} CPU-s per GB",
        megabytes / seconds,
        cpu / megabytes * 1e3
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

fn memory_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4_096
}
