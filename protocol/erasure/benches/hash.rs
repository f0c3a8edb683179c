//! Measures GB hashed per second of CPU time: `cargo bench -p erasure --bench hash`.
//!
//! "segment" hashes the 8 shards of a segment together, "shard" one, "stream" one while it grows
//! by 64 KiB as in a Host.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench prints, times itself and stops at the first surprise"
)]

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use erasure::{HashKernel, StreamHasher};

const SHARDS: usize = 8;
const SHARD_BYTES: usize = 1_966_080;
const STEP_BYTES: usize = 65_536;
const RUN: Duration = Duration::from_millis(700);

fn main() {
    let byte = |at: usize| (at * 31 + at / 251).to_le_bytes()[0];
    let segment: Vec<u8> = (0..SHARDS * SHARD_BYTES).map(byte).collect();
    let shards: Vec<&[u8]> = segment.chunks(SHARD_BYTES).collect();
    let one_by_one = |hash: &dyn Fn(&[u8])| rate(|| shards.iter().for_each(|shard| hash(shard)));

    println!("GB per CPU-s  segment  shard  stream");
    let single = one_by_one(&|shard| {
        black_box(model::crypto::hash_shard(shard));
    });
    println!("{:<13} {:>14.2}", "model", single);
    for kernel in HashKernel::available() {
        println!(
            "{:<13} {:>7.2} {:>6.2} {:>7.2}",
            format!("{kernel:?}"),
            rate(|| drop(black_box(kernel.hash_shards(&shards)))),
            one_by_one(&|shard| drop(black_box(kernel.hash_shards(&[shard])))),
            one_by_one(&|shard| grow(kernel, shard)),
        );
    }
}

fn grow(kernel: HashKernel, shard: &[u8]) {
    let mut hasher = StreamHasher::with(kernel);
    for upto in (0..shard.len()).step_by(STEP_BYTES) {
        hasher.advance(&shard[..upto]);
    }
    black_box(hasher.finish(shard));
}

/// GB per CPU second of `work`, which hashes the segment once.
fn rate(mut work: impl FnMut()) -> f64 {
    work();
    let (start, cpu_start, mut rounds) = (Instant::now(), cpu_seconds(), 0_u32);
    while start.elapsed() < RUN {
        work();
        rounds += 1;
    }
    f64::from(rounds) * (SHARDS * SHARD_BYTES) as f64 / (cpu_seconds() - cpu_start) / 1e9
}

/// CPU time of this thread, so far: other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
