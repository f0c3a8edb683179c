//! Clocks and randomness of simulated nodes.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge::random::EntropyError;
use model::units::UnixMs;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::disk::Disks;

/// The time of day at which every run begins: the start of 2026.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

/// How much of the simulated time has passed, to the tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms, Ordering::Relaxed);
    }
}

/// By how many milliseconds a node's clock is ahead of the true one. A clone is the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew(Arc<AtomicI64>);

impl Skew {
    pub(crate) fn set_ms(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

/// What a node takes for the time of day and for randomness, from one start to its end.
pub(crate) struct NodeEnvironment {
    clock: Clock,
    skew: Skew,
    /// The node's own clock and the true one when it started.
    started: (Instant, u64),
    /// What takes its power away.
    machine: (Disks, String),
    rng: Mutex<ChaCha20Rng>,
}

impl NodeEnvironment {
    /// That of the node `name` of the run of `seed`, started for the `start`-th time. It is made on
    /// the node.
    pub(crate) fn new(
        seed: u64,
        (name, start): (&str, u64),
        disks: Disks,
        (clock, skew): (Clock, Skew),
    ) -> Self {
        let started = (Instant::now(), clock.ms());
        let digest = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(start.to_le_bytes())
            .chain_update(name.as_bytes())
            .finalize();
        Self {
            clock,
            skew,
            started,
            machine: (disks, name.to_owned()),
            rng: Mutex::new(ChaCha20Rng::from_seed(digest.into())),
        }
    }

    fn unix(&self) -> UnixMs {
        // It may be the last that the node does.
        let (disks, name) = &self.machine;
        disks.with(name, |machine| machine.access().ok());
        // While a crash drops the node's parts there is no runtime to ask.
        let passed_ms = match Handle::try_current() {
            Ok(_) => {
                let (instant, ms) = self.started;
                ms + u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
            Err(_) => self.clock.ms(),
        };
        UnixMs((EPOCH_MS + passed_ms).saturating_add_signed(self.skew.0.load(Ordering::Relaxed)))
    }

    fn rng(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NodeEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeEnvironment")
            .field("skew", &self.skew)
            .finish_non_exhaustive()
    }
}

impl host::Environment for NodeEnvironment {
    fn now(&self) -> UnixMs {
        self.unix()
    }

    fn draw(&self) -> u64 {
        self.rng().next_u64()
    }
}

impl bridge::environment::Environment for NodeEnvironment {
    fn now(&self) -> UnixMs {
        self.unix()
    }

    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        let mut seed = [0; 32];
        self.rng().fill_bytes(&mut seed);
        Ok(seed)
    }
}

impl client::transfer::Environment for NodeEnvironment {
    fn now(&self) -> UnixMs {
        self.unix()
    }

    fn random(&self, out: &mut [u8]) {
        self.rng().fill_bytes(out);
    }
}
