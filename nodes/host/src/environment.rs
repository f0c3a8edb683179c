//! Clock and randomness, handed in so that a simulated network replays from one seed.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::units::UnixMs;

/// Where the time of day and jitter come from. Waiting uses tokio's clock.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> UnixMs;

    /// A draw from all 64-bit numbers; for jitter, not for secrets.
    fn draw(&self) -> u64;
}

impl dyn Environment {
    /// A random time from three quarters of `span` to five quarters.
    pub(crate) fn around(&self, span: Duration) -> Duration {
        let half_ms = u64::try_from(span.as_millis() / 2).unwrap_or(u64::MAX);
        let jitter_ms = self.draw().checked_rem(half_ms).unwrap_or(0);
        span - span / 4 + Duration::from_millis(jitter_ms)
    }
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

    fn draw(&self) -> u64 {
        // Without randomness there is no jitter, which nobody is hurt by.
        getrandom::u64().unwrap_or_default()
    }
}
