//! Clock and randomness, handed in so that a simulated network replays from one seed.

use std::fmt;
use tasks::time::SystemTime;

use model::crypto::{Secret, SigningKey};
use model::units::UnixMs;

/// Where the time of day and randomness come from. Waiting uses the clock of [`tasks`].
pub trait Environment: fmt::Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> UnixMs;

    /// Fills `out` with bytes that nobody can guess.
    fn random(&self, out: &mut [u8]);
}

impl dyn Environment + '_ {
    /// A fresh key of one transfer, unlinkable to the account.
    pub(crate) fn fresh_key(&self) -> SigningKey {
        SigningKey::from_seed(&self.fresh_secret())
    }

    /// A fresh secret.
    pub(crate) fn fresh_secret(&self) -> Secret {
        let mut bytes = [0; 32];
        self.random(&mut bytes);
        Secret::new(bytes)
    }

    /// A fair draw from `0..below`, for jitter; 0 where `below` is 0.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(below).unwrap_or(0)
    }
}

/// The operating system's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> UnixMs {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    #[expect(
        clippy::expect_used,
        reason = "without randomness no secret can be kept"
    )]
    fn random(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the system gives randomness");
    }
}
