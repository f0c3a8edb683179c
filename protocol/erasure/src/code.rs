//! The shape of a code and the weights that tie its shards to each other.

use model::units::{SHARD_ALIGN, SHARD_BYTES_MAX, SHARDS_PER_SEGMENT_MAX};

use crate::field::{div, mul};

/// A code that cuts a segment into `k` data shards and adds `n − k` parity shards; any `k` of the
/// `n` restore the rest. `k = 1` is mirroring: every shard has the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    k: u16,
    n: u16,
}

/// Counts of shards that no code has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{k} of {n} shards is no code: 1 ≤ k ≤ n ≤ {SHARDS_PER_SEGMENT_MAX}")]
pub struct CodeError {
    k: u16,
    n: u16,
}

/// A shard whose size does not fit the code or the other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No shard has this size.
    #[error("a shard of {bytes} bytes is no multiple of 64 in 64..={SHARD_BYTES_MAX}")]
    Unfit {
        /// Size of the first shard.
        bytes: usize,
    },
    /// The shards of a segment are equally long.
    #[error("a shard of {found} bytes among shards of {expected}")]
    Unequal {
        /// Size of the first shard, in bytes.
        expected: usize,
        /// Size of the shard that differs, in bytes.
        found: usize,
    },
}

impl Code {
    /// The code that restores `n` shards from any `k`.
    ///
    /// # Errors
    /// [`CodeError`] unless 1 ≤ k ≤ n ≤ 64.
    pub const fn new(k: u16, n: u16) -> Result<Self, CodeError> {
        if k == 0 || k > n || n > SHARDS_PER_SEGMENT_MAX {
            return Err(CodeError { k, n });
        }
        Ok(Self { k, n })
    }

    /// Number of shards that restore the segment.
    #[must_use]
    pub const fn k(self) -> u16 {
        self.k
    }

    /// Number of shards of a segment.
    #[must_use]
    pub const fn n(self) -> u16 {
        self.n
    }

    /// How each of `wanted` follows from `sources` (k different indices below n): it is the sum
    /// of the sources, each times its weight.
    ///
    /// Lagrange interpolation between values scaled by [`Self::scale`]: the weight of source s in
    /// w is `scale(w) · Π_{m ≠ s} (w ⊕ m) / (scale(s) · Π_{m ≠ s} (s ⊕ m))`, m over the sources.
    pub(crate) fn weights(self, sources: &[u8], wanted: &[u8]) -> Vec<Vec<u8>> {
        let below = |s: &u8| mul(self.scale(*s), distances(*s, sources));
        let belows: Vec<u8> = sources.iter().map(below).collect();
        let row = |w: &u8| {
            let above = mul(self.scale(*w), distances(*w, sources));
            let weight = |(s, below): (&u8, &u8)| match (sources.contains(w), s == w) {
                (false, _) => div(above, mul(*below, w ^ s)),
                (true, itself) => u8::from(itself),
            };
            sources.iter().zip(&belows).map(weight).collect()
        };
        wanted.iter().map(row).collect()
    }

    /// Shard `index` is the polynomial's value at `index` times this; never zero. The scale makes
    /// the weights of data in parity i the plain i / (i ⊕ j).
    fn scale(self, index: u8) -> u8 {
        let data: Vec<u8> = (0..u8::MAX).take(usize::from(self.k)).collect();
        let factor = if u16::from(index) < self.k { 1 } else { index };
        div(factor, distances(index, &data))
    }
}

/// The product of the differences between `from` and every other of `points`.
fn distances(from: u8, points: &[u8]) -> u8 {
    points
        .iter()
        .filter(|m| **m != from)
        .fold(1, |product, m| mul(product, from ^ m))
}

/// Checks that all sizes are one size that a shard can have, and returns it.
pub(crate) fn common_size(mut sizes: impl Iterator<Item = usize>) -> Result<usize, SizeError> {
    let expected = sizes.next().unwrap_or(0);
    if expected == 0
        || expected > SHARD_BYTES_MAX as usize
        || !expected.is_multiple_of(SHARD_ALIGN as usize)
    {
        return Err(SizeError::Unfit { bytes: expected });
    }
    match sizes.find(|found| *found != expected) {
        Some(found) => Err(SizeError::Unequal { expected, found }),
        None => Ok(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_bounded() {
        for (k, n) in [
            (0, 0),
            (0, 1),
            (2, 1),
            (1, 65),
            (65, 65),
            (u16::MAX, u16::MAX),
        ] {
            assert_eq!(Code::new(k, n), Err(CodeError { k, n }));
        }
        assert_eq!(
            Code::new(9, 8).unwrap_err().to_string(),
            "9 of 8 shards is no code: 1 ≤ k ≤ n ≤ 64"
        );
    }

    #[test]
    fn parity_weights_are_the_ones_of_the_specification() {
        for k in 1..64 {
            let code = Code::new(k, 64).unwrap();
            let data: Vec<u8> = (0..64).take(usize::from(k)).collect();
            for i in (0..64).skip(usize::from(k)) {
                let expected: Vec<u8> = data.iter().map(|j| div(i, i ^ j)).collect();
                assert_eq!(
                    code.weights(&data, &[i]),
                    [expected],
                    "{k} of 64, parity {i}"
                );
            }
        }
    }

    #[test]
    fn sizes_are_equal_and_aligned() {
        assert_eq!(
            common_size([].into_iter()),
            Err(SizeError::Unfit { bytes: 0 })
        );
        assert_eq!(
            common_size([65].into_iter()),
            Err(SizeError::Unfit { bytes: 65 })
        );
        let oversized = SHARD_BYTES_MAX as usize + 64;
        assert_eq!(
            common_size([oversized].into_iter()),
            Err(SizeError::Unfit { bytes: oversized })
        );
        let unequal = SizeError::Unequal {
            expected: 64,
            found: 128,
        };
        assert_eq!(common_size([64, 64, 128].into_iter()), Err(unequal));
        assert_eq!(
            common_size([SHARD_BYTES_MAX as usize; 3].into_iter()),
            Ok(SHARD_BYTES_MAX as usize)
        );
    }
}
