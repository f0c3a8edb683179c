//! The shard id: an RFC 9162 Merkle tree hash with SHA-256 over leaves of 64 KiB.
//!
//! It costs what a flat SHA-256 costs, and gives audits and verified range reads for nothing
//! extra: one leaf and its path prove themselves against the id.

use sha2::{Digest, Sha256};

use crate::units::{LEAF_BYTES, ShardId};

/// Hashes a shard as its bytes arrive.
#[derive(Clone, Debug)]
pub struct TreeHasher {
    leaf: Sha256,
    in_leaf: usize,
    /// Roots of complete subtrees, largest first; sizes are the set bits of `leaves`.
    peaks: Vec<[u8; 32]>,
    leaves: u32,
}

impl Default for TreeHasher {
    fn default() -> Self {
        Self {
            leaf: leaf_hasher(),
            in_leaf: 0,
            peaks: Vec::new(),
            leaves: 0,
        }
    }
}

impl TreeHasher {
    /// Adds the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.in_leaf == LEAF_BYTES {
                self.end_leaf();
            }
            let (now, later) = bytes.split_at(bytes.len().min(LEAF_BYTES - self.in_leaf));
            self.leaf.update(now);
            self.in_leaf += now.len();
            bytes = later;
        }
    }

    /// Ends the shard and returns its id. No bytes at all hash to SHA-256 of nothing.
    #[must_use]
    pub fn finish(mut self) -> ShardId {
        if self.in_leaf > 0 {
            self.end_leaf();
        }
        let root = self
            .peaks
            .into_iter()
            .rev()
            .reduce(|right, left| node_hash(&left, &right));
        ShardId(root.unwrap_or_else(|| Sha256::digest([]).into()))
    }

    fn end_leaf(&mut self) {
        let mut hash = std::mem::replace(&mut self.leaf, leaf_hasher())
            .finalize()
            .into();
        self.in_leaf = 0;
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.leaves += 1;
    }
}

/// The id of a whole shard in memory.
#[must_use]
pub fn hash_shard(bytes: &[u8]) -> ShardId {
    let mut hasher = TreeHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// A leaf that does not belong to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaf {index} with its path does not lead to the shard's id")]
pub struct LeafProofError {
    index: u32,
}

/// The audit path of leaf `index` (RFC 9162, 2.1.3.1), nearest sibling first; `None` where the
/// shard has no such leaf.
#[must_use]
pub fn leaf_path(shard: &[u8], index: u32) -> Option<Vec<[u8; 32]>> {
    let leaves: Vec<[u8; 32]> = shard.chunks(LEAF_BYTES).map(leaf_hash).collect();
    let index = index as usize;
    (index < leaves.len()).then(|| path_in(&leaves, index))
}

/// Checks that `leaf` is leaf `index` of the shard `id` of `shard_bytes` bytes.
///
/// # Errors
/// [`LeafProofError`] where it is not, or the leaf or path has a length it cannot have.
pub fn verify_leaf(
    id: &ShardId,
    shard_bytes: u32,
    index: u32,
    leaf: &[u8],
    path: &[[u8; 32]],
) -> Result<(), LeafProofError> {
    let wrong = LeafProofError { index };
    let total = shard_bytes as usize;
    let start = (index as usize)
        .checked_mul(LEAF_BYTES)
        .filter(|start| *start < total)
        .ok_or(wrong)?;
    if leaf.len() != (total - start).min(LEAF_BYTES) {
        return Err(wrong);
    }
    let root = root_from_path(
        leaf_hash(leaf),
        index as usize,
        total.div_ceil(LEAF_BYTES),
        path,
    );
    if root == Some(id.0) {
        Ok(())
    } else {
        Err(wrong)
    }
}

/// RFC 9162, 2.1.3.2.
fn root_from_path(
    leaf: [u8; 32],
    index: usize,
    leaves: usize,
    path: &[[u8; 32]],
) -> Option<[u8; 32]> {
    let (mut fn_, mut sn) = (index, leaves.checked_sub(1)?);
    let mut hash = leaf;
    for sibling in path {
        if sn == 0 {
            return None;
        }
        if fn_ % 2 == 1 || fn_ == sn {
            hash = node_hash(sibling, &hash);
            while fn_.is_multiple_of(2) && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    (sn == 0).then_some(hash)
}

fn path_in(leaves: &[[u8; 32]], index: usize) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split_point(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (path_in(left, index), root_of(right))
    } else {
        (path_in(right, index - left.len()), root_of(left))
    };
    path.push(sibling);
    path
}

pub(super) fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split_point(leaves.len()));
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two smaller than `leaves`, which is at least 2.
pub(super) const fn split_point(leaves: usize) -> usize {
    1 << (leaves - 1).ilog2()
}

fn leaf_hasher() -> Sha256 {
    Sha256::new_with_prefix([0])
}

/// The hash of one leaf: a full one, or the last of a shard.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    leaf_hasher().chain_update(leaf).finalize().into()
}

pub(super) fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SHARD_BYTES_MAX;

    fn shard(bytes: usize) -> Vec<u8> {
        (0..bytes)
            .map(|i| (i * 31 % 251).to_le_bytes()[0])
            .collect()
    }

    #[test]
    fn streaming_equals_the_recursive_definition() {
        for leaves in 0..=30 {
            for extra in [0, 1, 17] {
                let bytes = shard(leaves * LEAF_BYTES + extra);
                let hashes: Vec<_> = bytes.chunks(LEAF_BYTES).map(leaf_hash).collect();
                let mut hasher = TreeHasher::default();
                bytes.chunks(9_999).for_each(|chunk| hasher.update(chunk));
                assert_eq!(
                    hasher.finish().0,
                    root_of(&hashes),
                    "{leaves} leaves and {extra}"
                );
            }
        }
    }

    #[test]
    fn every_leaf_proves_itself_and_nothing_else() {
        for bytes in [1, LEAF_BYTES, 5 * LEAF_BYTES + 3, SHARD_BYTES_MAX as usize] {
            let shard = shard(bytes);
            let (id, size) = (hash_shard(&shard), u32::try_from(bytes).unwrap());
            for (index, leaf) in (0..).zip(shard.chunks(LEAF_BYTES)) {
                let path = leaf_path(&shard, index).unwrap();
                assert_eq!(verify_leaf(&id, size, index, leaf, &path), Ok(()));
                assert!(verify_leaf(&id, size, index + 1, leaf, &path).is_err());
                let mut bent = leaf.to_vec();
                bent[0] ^= 1;
                assert!(verify_leaf(&id, size, index, &bent, &path).is_err());
                let longer = [path.clone(), vec![[0; 32]]].concat();
                assert!(verify_leaf(&id, size, index, leaf, &longer).is_err());
            }
        }
    }
}
