//! Clock and randomness, handed in so that a simulated network replays from one seed.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use model::units::UnixMs;

use crate::random::{self, EntropyError};

/// Where the time of day and seeds come from. Waiting uses tokio's clock.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> UnixMs;

    /// 32 bytes that nobody can guess.
    ///
    /// # Errors
    /// [`EntropyError`].
    fn seed(&self) -> Result<[u8; 32], EntropyError>;
}

/// The operating system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        random::seed()
    }
}
