//! A run of leaves of a shard, and the proof that it belongs to the shard's id.
//!
//! The proof holds the hashes of the largest subtrees beside the run, from left to right. How many
//! there are follows from the shard's size and the run alone; a verifier takes no other number.

use std::ops::Range;

use super::tree_hash::{leaf_hash, node_hash, root_of, split_point};
use crate::units::{LEAF_BYTES, SHARD_BYTES_MAX, ShardId};

/// A hash of the tree.
type Hash = [u8; 32];

/// Most hashes in the proof of any run of leaves of any shard.
pub const RANGE_PROOF_HASHES_MAX: usize = 8;

/// Consecutive leaves of a shard of known size: at least one, all of them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeafRange {
    shard_bytes: u32,
    first: u32,
    end: u32,
}

/// A run that no shard of this size has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bytes {start} to {end} are no run of whole leaves of {LEAF_BYTES} bytes in a shard of \
     {shard_bytes}"
)]
pub struct LeafRangeError {
    start: u32,
    end: u32,
    shard_bytes: u32,
}

/// Leaves that do not belong to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaves {first} to {end} with their proof do not lead to the shard's id")]
pub struct RangeProofError {
    first: u32,
    end: u32,
}

impl LeafRange {
    /// Exactly the bytes `start..end` of a shard: from a multiple of the leaf to another, or to the
    /// shard's end.
    ///
    /// # Errors
    /// [`LeafRangeError`] where these are no whole leaves of such a shard.
    pub fn of_bytes(shard_bytes: u32, bytes: Range<u32>) -> Result<Self, LeafRangeError> {
        let Range { start, end } = bytes;
        let whole = start.is_multiple_of(LEAF) && (end.is_multiple_of(LEAF) || end == shard_bytes);
        if !whole || start >= end || end > shard_bytes || shard_bytes > SHARD_BYTES_MAX {
            return Err(LeafRangeError {
                start,
                end,
                shard_bytes,
            });
        }
        Ok(Self {
            shard_bytes,
            first: start / LEAF,
            end: end.div_ceil(LEAF),
        })
    }

    /// The fewest leaves that hold the bytes `start..end` of a shard.
    ///
    /// # Errors
    /// [`LeafRangeError`] where there are no such bytes.
    pub fn around(shard_bytes: u32, bytes: Range<u32>) -> Result<Self, LeafRangeError> {
        let Range { start, end } = bytes;
        if start >= end || end > shard_bytes {
            return Err(LeafRangeError {
                start,
                end,
                shard_bytes,
            });
        }
        Self::of_leaves(shard_bytes, start / LEAF..end.div_ceil(LEAF))
    }

    /// The leaves with these places in a shard.
    ///
    /// # Errors
    /// [`LeafRangeError`] where there are no such leaves.
    pub fn of_leaves(shard_bytes: u32, leaves: Range<u32>) -> Result<Self, LeafRangeError> {
        let at = |leaf: u32| leaf.saturating_mul(LEAF);
        let end = if leaves.end == shard_bytes.div_ceil(LEAF) {
            shard_bytes
        } else {
            at(leaves.end)
        };
        Self::of_bytes(shard_bytes, at(leaves.start)..end)
    }

    /// All leaves of a shard.
    ///
    /// # Errors
    /// [`LeafRangeError`] for a shard without bytes or above the largest.
    pub fn whole(shard_bytes: u32) -> Result<Self, LeafRangeError> {
        Self::of_bytes(shard_bytes, 0..shard_bytes)
    }

    /// The size of the shard.
    #[must_use]
    pub const fn shard_bytes(&self) -> u32 {
        self.shard_bytes
    }

    /// The places of the leaves in the shard.
    #[must_use]
    pub const fn leaves(&self) -> Range<u32> {
        self.first..self.end
    }

    /// Where its bytes lie in the shard.
    #[must_use]
    pub fn bytes(&self) -> Range<u32> {
        let end = self.end.saturating_mul(LEAF).min(self.shard_bytes);
        self.first * LEAF..end
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        let bytes = self.bytes();
        (bytes.end - bytes.start) as usize
    }

    /// Never: a run holds at least one leaf.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether these are all leaves of the shard.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.bytes().end == self.shard_bytes
    }

    /// The proof of the run, given the hashes of all leaves of the shard; `None` for another number
    /// of them.
    #[must_use]
    pub fn proof(&self, leaves: &[Hash]) -> Option<Vec<Hash>> {
        let mut proof = Vec::new();
        (leaves.len() == self.total()).then(|| self.collect(leaves, 0, &mut proof))?;
        Some(proof)
    }

    /// Checks that `bytes` are these leaves of shard `id`.
    ///
    /// # Errors
    /// [`RangeProofError`] where they are not, or where the bytes or the proof have another length
    /// than theirs.
    pub fn verify(
        &self,
        id: &ShardId,
        bytes: &[u8],
        proof: &[Hash],
    ) -> Result<(), RangeProofError> {
        let hashes: Vec<Hash> = bytes.chunks(LEAF_BYTES).map(leaf_hash).collect();
        if bytes.len() == self.len() {
            self.verify_hashes(id, &hashes, proof)
        } else {
            Err(self.wrong())
        }
    }

    /// As [`Self::verify`], for leaves that were hashed while they arrived.
    ///
    /// # Errors
    /// [`RangeProofError`].
    pub fn verify_hashes(
        &self,
        id: &ShardId,
        hashes: &[Hash],
        proof: &[Hash],
    ) -> Result<(), RangeProofError> {
        let mut proof = proof.iter();
        let root = self.root(0..self.total(), hashes, &mut proof);
        if root == Some(id.0) && proof.next().is_none() {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    fn total(&self) -> usize {
        (self.shard_bytes as usize).div_ceil(LEAF_BYTES)
    }

    fn meets(&self, subtree: &Range<usize>) -> bool {
        subtree.start < self.end as usize && subtree.end > self.first as usize
    }

    fn holds(&self, subtree: &Range<usize>) -> bool {
        subtree.start >= self.first as usize && subtree.end <= self.end as usize
    }

    /// The subtrees beside the run in `leaves`, the first of which has the place `from`.
    fn collect(&self, leaves: &[Hash], from: usize, proof: &mut Vec<Hash>) {
        let here = from..from + leaves.len();
        if self.holds(&here) {
            return;
        }
        if !self.meets(&here) {
            return proof.push(root_of(leaves));
        }
        let (left, right) = leaves.split_at(split_point(leaves.len()));
        self.collect(left, from, proof);
        self.collect(right, from + left.len(), proof);
    }

    /// The hash of `subtree`, from the run's leaves and what the proof says of the others.
    fn root(
        &self,
        subtree: Range<usize>,
        hashes: &[Hash],
        proof: &mut std::slice::Iter<'_, Hash>,
    ) -> Option<Hash> {
        if !self.meets(&subtree) {
            return proof.next().copied();
        }
        if self.holds(&subtree) {
            let first = self.first as usize;
            return hashes
                .get(subtree.start - first..subtree.end - first)
                .map(root_of);
        }
        let middle = subtree.start + split_point(subtree.len());
        let left = self.root(subtree.start..middle, hashes, proof)?;
        let right = self.root(middle..subtree.end, hashes, proof)?;
        Some(node_hash(&left, &right))
    }

    const fn wrong(&self) -> RangeProofError {
        RangeProofError {
            first: self.first,
            end: self.end,
        }
    }
}

/// The size of a leaf, as positions in a shard are counted.
const LEAF: u32 = 65_536;
const _: () = assert!(LEAF as usize == LEAF_BYTES, "one size of leaves");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{hash_shard, leaf_path};

    fn shard(bytes: u32) -> Vec<u8> {
        (0..bytes)
            .map(|i| (i * 31 % 251).to_le_bytes()[0])
            .collect()
    }

    fn hashes(shard: &[u8]) -> Vec<Hash> {
        shard.chunks(LEAF_BYTES).map(leaf_hash).collect()
    }

    #[test]
    fn every_run_of_every_shard_proves_itself_within_the_bound() {
        for leaves in 1..=30 {
            let size = leaves * LEAF - 64;
            let (bytes, mut longest) = (shard(size), 0);
            let (id, hashes) = (hash_shard(&bytes), hashes(&bytes));
            for first in 0..leaves {
                for end in first + 1..=leaves {
                    let range =
                        LeafRange::around(size, first * LEAF..(end * LEAF).min(size)).unwrap();
                    let proof = range.proof(&hashes).unwrap();
                    let run = &hashes[first as usize..end as usize];
                    assert_eq!(range.verify_hashes(&id, run, &proof), Ok(()));
                    longest = longest.max(proof.len());
                }
            }
            assert!(longest <= RANGE_PROOF_HASHES_MAX, "{leaves}: {longest}");
        }
    }

    #[test]
    fn the_proof_of_one_leaf_has_the_hashes_of_its_path() {
        let bytes = shard(7 * LEAF);
        for index in 0..7 {
            let range = LeafRange::around(7 * LEAF, index * LEAF..index * LEAF + 1).unwrap();
            let mut proof = range.proof(&hashes(&bytes)).unwrap();
            let mut path = leaf_path(&bytes, index).unwrap();
            proof.sort_unstable();
            path.sort_unstable();
            assert_eq!(proof, path);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let size = 9 * LEAF + 64;
        let bytes = shard(size);
        let id = hash_shard(&bytes);
        let range = LeafRange::of_bytes(size, 2 * LEAF..5 * LEAF).unwrap();
        let proof = range.proof(&hashes(&bytes)).unwrap();
        let run = &bytes[2 * LEAF_BYTES..5 * LEAF_BYTES];
        assert_eq!(range.verify(&id, run, &proof), Ok(()));

        let mut bent = run.to_vec();
        bent[LEAF_BYTES] ^= 1;
        assert!(range.verify(&id, &bent, &proof).is_err());
        assert!(range.verify(&id, &run[1..], &proof).is_err());
        assert!(range.verify(&id, &run[..2 * LEAF_BYTES], &proof).is_err());
        assert!(range.verify(&id, run, &proof[1..]).is_err());
        assert!(
            range
                .verify(&id, run, &[proof.clone(), vec![[0; 32]]].concat())
                .is_err()
        );
        let swapped: Vec<Hash> = proof.iter().rev().copied().collect();
        assert!(range.verify(&id, run, &swapped).is_err());
        let moved = LeafRange::of_bytes(size, 3 * LEAF..6 * LEAF).unwrap();
        assert!(moved.verify(&id, run, &proof).is_err());
        let shorter = LeafRange::of_bytes(8 * LEAF, 2 * LEAF..5 * LEAF).unwrap();
        assert!(shorter.verify(&id, run, &proof).is_err());
        assert_eq!(range.proof(&hashes(&bytes)[1..]), None);
    }

    #[test]
    fn runs_are_whole_leaves_of_the_shard() {
        let size = 3 * LEAF + 128;
        for (start, end) in [(0, LEAF), (LEAF, size), (3 * LEAF, size), (0, size)] {
            let range = LeafRange::of_bytes(size, start..end).unwrap();
            assert_eq!(range.bytes(), start..end);
        }
        for (start, end) in [
            (0, 0),
            (LEAF, LEAF),
            (2 * LEAF, LEAF),
            (1, LEAF),
            (0, LEAF - 1),
            (0, size - 1),
            (0, 4 * LEAF),
            (4 * LEAF, 5 * LEAF),
        ] {
            assert!(
                LeafRange::of_bytes(size, start..end).is_err(),
                "{start}..{end}"
            );
        }
        let around = LeafRange::around(size, LEAF - 1..LEAF + 1).unwrap();
        assert_eq!((around.leaves(), around.bytes()), (0..2, 0..2 * LEAF));
        let last = LeafRange::around(size, size - 1..size).unwrap();
        assert_eq!((last.leaves(), last.len()), (3..4, 128));
        assert!(LeafRange::around(size, size..size + 1).is_err());
        assert!(LeafRange::whole(size).unwrap().is_whole() && !last.is_whole());
        assert!(LeafRange::whole(0).is_err() && LeafRange::whole(SHARD_BYTES_MAX + 64).is_err());
    }
}
