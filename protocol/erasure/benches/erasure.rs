//! Measures GB of data per second of CPU time: `cargo bench -p erasure`.
//!
//! "worst" loses as many data shards as the code can restore. "column" works on 64 KiB columns
//! that stay in cache, as a client does; "whole" on full shards out of memory.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench prints, times itself and stops at the first surprise"
)]

use std::fs;
use std::time::{Duration, Instant};

use erasure::{Code, Kernel};

const COLUMN_BYTES: usize = 65_536;
const SHARD_BYTES: usize = 1_966_080;
const RUN: Duration = Duration::from_millis(400);

fn main() {
    println!(
        "kernel in use {:?}, available {:?}",
        Kernel::fastest(),
        Kernel::available()
    );
    println!("GB of data per CPU-s     encode column  whole   decode worst column  whole   one");
    for (k, n) in [(1, 3), (4, 8), (10, 20), (16, 32)] {
        let code = Code::new(k, n).unwrap();
        let column = Segment::new(code, COLUMN_BYTES);
        let whole = Segment::new(code, SHARD_BYTES);
        println!(
            "{k:>2} of {n:<2}                       {:>6.2} {:>6.2}                {:>6.2} {:>6.2} {:>6.2}",
            column.encode(),
            whole.encode(),
            column.decode(n - k),
            whole.decode(n - k),
            whole.decode(1),
        );
    }
    println!("\n10 of 20, encode in 64 KiB columns by kernel");
    for kernel in Kernel::available() {
        let code = Code::new(10, 20).unwrap();
        println!(
            "{:<10} {:>6.2}",
            format!("{kernel:?}"),
            Segment::new(code, COLUMN_BYTES).kernel(kernel)
        );
    }
}

struct Segment {
    code: Code,
    shards: Vec<Vec<u8>>,
}

impl Segment {
    fn new(code: Code, bytes: usize) -> Self {
        let shard = |s: u16| {
            (0..bytes)
                .map(|at| (at * 31 + usize::from(s) * 7 + at / 251).to_le_bytes()[0])
                .collect()
        };
        let mut segment = Self {
            code,
            shards: (0..code.n()).map(shard).collect(),
        };
        segment.parity();
        segment
    }

    fn parity(&mut self) {
        let (data, parity) = self.shards.split_at_mut(usize::from(self.code.k()));
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        self.code.encode(&data, &mut parity).unwrap();
    }

    fn data(&self) -> Vec<&[u8]> {
        self.shards
            .iter()
            .take(usize::from(self.code.k()))
            .map(Vec::as_slice)
            .collect()
    }

    fn buffers(&self, count: u16) -> Vec<Vec<u8>> {
        vec![vec![0; self.shards[0].len()]; usize::from(count)]
    }

    fn encode(&self) -> f64 {
        let mut parity = self.buffers(self.code.n() - self.code.k());
        self.rate(|| {
            let mut outs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            self.code.encode(&self.data(), &mut outs).unwrap();
        })
    }

    fn decode(&self, lost: u16) -> f64 {
        let lost: Vec<u16> = (0..lost.min(self.code.k())).collect();
        let mut restored = self.buffers(self.code.k());
        let present: Vec<(u16, &[u8])> = (0..)
            .zip(&self.shards)
            .skip(lost.len())
            .map(|(i, shard)| (i, shard.as_slice()))
            .collect();
        let rate = self.rate(|| {
            let mut outs: Vec<&mut [u8]> = restored
                .iter_mut()
                .take(lost.len())
                .map(Vec::as_mut_slice)
                .collect();
            self.code.restore_each(&present, &lost, &mut outs).unwrap();
        });
        assert!(
            restored[..lost.len()] == self.shards[..lost.len()],
            "the code restores"
        );
        rate
    }

    fn kernel(&self, kernel: Kernel) -> f64 {
        let extra = self.code.n() - self.code.k();
        let rows: Vec<Vec<u8>> = (0..extra)
            .map(|r| {
                (0..self.code.k())
                    .map(|j| (r * 37 + j * 11 + 2).to_le_bytes()[0])
                    .collect()
            })
            .collect();
        let mut parity = self.buffers(extra);
        self.rate(|| {
            let mut outs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            kernel.combine(&rows, &self.data(), &mut outs);
        })
    }

    /// GB of data per CPU second of `work`, which covers the segment once.
    fn rate(&self, mut work: impl FnMut()) -> f64 {
        work();
        let (start, cpu_start, mut rounds) = (Instant::now(), cpu_seconds(), 0_u32);
        while start.elapsed() < RUN {
            work();
            rounds += 1;
        }
        let bytes = usize::from(self.code.k()) * self.shards[0].len();
        f64::from(rounds) * bytes as f64 / (cpu_seconds() - cpu_start) / 1e9
    }
}

/// CPU time of this thread, so far: other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
