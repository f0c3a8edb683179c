//! Hashes of many leaves, by the fastest instructions of the machine. Every kernel gives the
//! same hashes.

use std::cmp::Reverse;

use super::Hash;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// Which instructions hash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKernel {
    /// One leaf after the other, as `model` does.
    Portable,
    /// Four interleaved streams of SHA instructions.
    #[cfg(target_arch = "x86_64")]
    ShaNi,
    /// Sixteen leaves side by side in 512-bit vectors, what is left over by SHA instructions.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl HashKernel {
    /// The kernels this machine can run, fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        kernels.extend(x86::available());
        kernels.push(Self::Portable);
        kernels
    }

    /// The kernel that this machine works with.
    #[must_use]
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = x86::available().next() {
            return kernel;
        }
        Self::Portable
    }

    /// How many leaves it hashes at once.
    pub(super) const fn lanes(self) -> usize {
        match self {
            Self::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => 4,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
        }
    }

    /// The hash of each leaf; none is empty or larger than a leaf may be. Those of equal length
    /// go together, whichever shard they are of.
    pub(super) fn hash_leaves(self, leaves: &[&[u8]]) -> Vec<Hash> {
        let mut by_length: Vec<(usize, &[u8])> = leaves.iter().copied().enumerate().collect();
        by_length.sort_by_key(|(_, leaf)| Reverse(leaf.len()));
        let mut hashes = vec![[0; 32]; leaves.len()];
        for equal in by_length.chunk_by(|a, b| a.1.len() == b.1.len()) {
            let leaves: Vec<&[u8]> = equal.iter().map(|(_, leaf)| *leaf).collect();
            for ((at, _), hash) in equal.iter().zip(self.hash_equal(&leaves)) {
                hashes[*at] = hash;
            }
        }
        hashes
    }

    /// The hash of each leaf; all are equally long.
    fn hash_equal(self, leaves: &[&[u8]]) -> Vec<Hash> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi | Self::Avx512 if leaves.iter().all(|leaf| leaf.len() >= x86::LEAF_MIN) => {
                x86::hash_equal(self, leaves)
            }
            // A shard of one leaf has the hash of the leaf.
            _ => leaves
                .iter()
                .map(|leaf| model::crypto::hash_shard(leaf).0)
                .collect(),
        }
    }
}
