//! Random numbers that a seed repeats, and contents made of them.

/// A small generator of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of `choices`; `None` where there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.next()).unwrap_or(0);
        choices.get(at.checked_rem(choices.len())?)
    }
}

/// The same `bytes` bytes for the same seed, unlike any others.
#[must_use]
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        out.extend_from_slice(&dice.next().to_le_bytes());
    }
    out.truncate(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_others_differ() {
        assert_eq!(noise(1, 1_001), noise(1, 1_001));
        assert_eq!(noise(1, 1_001).len(), 1_001);
        assert_ne!(noise(1, 100), noise(2, 100));
        let (mut dice, faces) = (Dice::new(3), [1, 2, 3, 4, 5, 6]);
        let seen: std::collections::BTreeSet<_> =
            (0..100).filter_map(|_| dice.pick(&faces)).collect();
        assert_eq!(seen.len(), 6);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
