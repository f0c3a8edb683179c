//! Randomness from the operating system, drawn where a request comes in and handed to the rules.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct EntropyError(#[source] getrandom::Error);

/// A generator with a fresh seed.
///
/// # Errors
/// [`EntropyError`].
pub fn fresh() -> Result<ChaCha20Rng, EntropyError> {
    Ok(ChaCha20Rng::from_seed(seed()?))
}

/// 32 bytes from the operating system.
pub(crate) fn seed() -> Result<[u8; 32], EntropyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(EntropyError)?;
    Ok(seed)
}
