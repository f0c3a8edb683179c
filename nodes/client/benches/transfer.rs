//! How fast whole transfers are, and what they cost: client, Bridge and eight Hosts in memory, all
//! in this process, over real sockets and TLS. `cargo bench -p client [--bench transfer] [-- MB]`.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]
#![expect(clippy::unwrap_used, reason = "what fails ends the bench")]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../tests/network/mod.rs"]
mod network;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::download::{Downloader, FileSink, Piece};
use network::{Network, file_on_disk};

/// Size of the file, in MB of 10^6 bytes, where no other is asked for.
const MEGABYTES: usize = 500;

fn main() {
    let asked = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let bytes = asked.unwrap_or(MEGABYTES) * 1_000_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for class in ["coded:4/8", "mirrors:3"] {
        runtime.block_on(transfer(class, bytes));
    }
    println!(
        "peak memory of all parties together: {} MB",
        peak_memory_kb() / 1_000
    );
}

async fn transfer(class: &str, bytes: usize) {
    let network = Network::start(8);
    let owner = network.owner();
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("in"), folder.path().join("out"));
    std::io::Write::write_all(
        &mut std::fs::File::create(&path).unwrap(),
        &network::bytes(bytes),
    )
    .unwrap();
    let (source, mut file) = file_on_disk(&path, &network::bytes(bytes));
    let start = Stopwatch::start();
    let staged = owner.stage(vec![source], class.parse().ok()).await.unwrap();
    owner.commit(&staged).await;
    start.report(&format!("up   {class}"), bytes);
    file.access.manifest = staged.blobs[0].manifest;

    let sink = Arc::new(FileSink::new(std::fs::File::create_new(&out).unwrap(), 0));
    let start = Stopwatch::start();
    let piece: Piece = file.piece(0..bytes as u64, sink);
    let downloader = Downloader::new(owner.transfer.clone());
    downloader
        .fetch(&file.access, vec![piece], &owner.progress)
        .await
        .unwrap();
    start.report(&format!("down {class}"), bytes);
    assert!(
        std::fs::read(&out).unwrap() == file.plain,
        "what came out is what went in"
    );
    assert_eq!(
        owner.progress.shards_replaced.get(),
        0,
        "no shard was asked for twice"
    );
}

struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    fn report(&self, what: &str, bytes: usize) {
        let (wall, cpu) = (self.wall.elapsed(), cpu_time() - self.cpu);
        let gigabytes = bytes as f64 / 1e9;
        println!(
            "{what}: {:.0} MB/s, {:.2} CPU-s per GB of all parties together",
            gigabytes * 1e3 / wall.as_secs_f64(),
            cpu.as_secs_f64() / gigabytes,
        );
    }
}

/// Processor time of this process, user and system.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
