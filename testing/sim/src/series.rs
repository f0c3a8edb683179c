//! Many seeds over all cores.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use sim::run_seed;

/// How seeds are run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    pub(crate) threads: usize,
    /// Every so many-th seed runs twice; 0 for none.
    pub(crate) twice: u64,
}

/// What came of them.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) runs: u64,
    /// Seeds that failed, or were not the same twice.
    pub(crate) failed: Vec<u64>,
    compared: u64,
    cpu: Duration,
    wall: Duration,
    simulated: Duration,
    slowest: (Duration, u64),
    /// Shards that were there in the end: runs in which none is have shown nothing.
    pub(crate) shards: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Series {
    pub(crate) fn run(&self, seeds: Range<u64>) -> Summary {
        let (began, cpu) = (Instant::now(), cpu_time(ClockId::ProcessCPUTime));
        let next = AtomicU64::new(seeds.start);
        let work = || {
            let mut part = Summary::default();
            let draw = || next.fetch_add(1, Ordering::Relaxed);
            while let Some(seed) = Some(draw()).filter(|seed| *seed < seeds.end) {
                part.add(seed, self.twice);
            }
            part
        };
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            let parts = threads.into_iter().map(|thread| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            parts.collect::<Vec<_>>()
        });
        let mut all = parts.into_iter().fold(Summary::default(), Summary::plus);
        all.failed.sort_unstable();
        all.wall = began.elapsed();
        all.cpu = cpu_time(ClockId::ProcessCPUTime).saturating_sub(cpu);
        all
    }
}

impl Summary {
    fn add(&mut self, seed: u64, twice: u64) {
        let began = cpu_time(ClockId::ThreadCPUTime);
        let report = run_seed(seed);
        let took = cpu_time(ClockId::ThreadCPUTime).saturating_sub(began);
        self.slowest = self.slowest.max((took, seed));
        self.runs += 1;
        self.simulated += report.simulated;
        self.shards += report.shards;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        let mut good = report.is_good();
        if twice > 0 && seed.is_multiple_of(twice) {
            self.compared += 1;
            self.runs += 1;
            good &= run_seed(seed).hash == report.hash;
        }
        if !good {
            self.failed.push(seed);
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.runs += other.runs;
        self.failed.extend(other.failed);
        self.compared += other.compared;
        self.simulated += other.simulated;
        self.shards += other.shards;
        self.slowest = self.slowest.max(other.slowest);
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        writeln!(f, "met: {}", kinds.join(", "))?;
        let runs = u32::try_from(self.runs.max(1)).unwrap_or(u32::MAX);
        let (slowest, seed) = self.slowest;
        write!(
            f,
            "{} runs, {} failed, {} compared with a second run; {:.2} CPU-s a run, {:.0} s in all, \
             slowest seed {seed} with {:.2} CPU-s; {} simulated seconds and {} shards a run",
            self.runs,
            self.failed.len(),
            self.compared,
            (self.cpu / runs).as_secs_f64(),
            self.wall.as_secs_f64(),
            slowest.as_secs_f64(),
            self.simulated.as_secs() / (self.runs - self.compared).max(1),
            self.shards / (self.runs - self.compared).max(1),
        )
    }
}

/// The seed to go on with.
pub(crate) fn next_seed(state: &Path) -> Result<u64> {
    match fs::read_to_string(state) {
        Ok(text) => text
            .trim()
            .parse()
            .with_context(|| format!("{} holds no seed", state.display())),
        Err(_) => Ok(1),
    }
}

/// Remembers the seed to go on with.
#[expect(
    clippy::disallowed_methods,
    reason = "a note that may be lost: seeds are run once more then"
)]
pub(crate) fn remember(state: &Path, seed: u64) -> Result<()> {
    if let Some(folder) = state.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(state, format!("{seed}\n"))?)
}

/// What was used of the processors.
fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
