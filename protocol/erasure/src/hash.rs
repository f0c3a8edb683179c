//! Shard ids, several leaves at a time: the same ids as [`model::crypto::hash_shard`], sooner.
//!
//! One SHA-256 is a chain in which each step waits for the last, so a core that hashes one leaf
//! is idle most of the time. The leaves of a shard do not depend on each other: they are hashed
//! in lockstep, those of several shards together.

mod kernel;
#[cfg(target_arch = "x86_64")]
mod x86;

use model::crypto::sha256;
use model::units::{LEAF_BYTES, ShardId};

pub use kernel::HashKernel;

type Hash = [u8; 32];

/// The id of a shard in memory; equals [`model::crypto::hash_shard`].
#[must_use]
pub fn hash_shard(shard: &[u8]) -> ShardId {
    StreamHasher::default().finish(shard)
}

/// The id of each of several shards in memory, hashed together. Quickest where they are equally
/// long, as the shards of a segment are.
#[must_use]
pub fn hash_shards(shards: &[&[u8]]) -> Vec<ShardId> {
    HashKernel::fastest().hash_shards(shards)
}

impl HashKernel {
    /// As [`hash_shards`], by this kernel.
    ///
    /// # Panics
    /// Where the machine cannot run the kernel.
    #[must_use]
    pub fn hash_shards(self, shards: &[&[u8]]) -> Vec<ShardId> {
        let leaves: Vec<&[u8]> = shards.iter().flat_map(|s| s.chunks(LEAF_BYTES)).collect();
        let mut hashes = self.hash_leaves(&leaves).into_iter();
        let id = |shard: &&[u8]| {
            let leaves = shard.len().div_ceil(LEAF_BYTES);
            ShardId(root(&hashes.by_ref().take(leaves).collect::<Vec<_>>()))
        };
        shards.iter().map(id).collect()
    }
}

/// Hashes a shard that grows in one buffer, each time enough leaves are complete.
///
/// It keeps no bytes, so it is handed the buffer again and again; what it has seen of the buffer
/// must not change.
#[derive(Clone, Debug)]
pub struct StreamHasher {
    kernel: HashKernel,
    /// Of the leaves hashed so far.
    hashes: Vec<Hash>,
}

impl Default for StreamHasher {
    fn default() -> Self {
        Self::with(HashKernel::fastest())
    }
}

impl StreamHasher {
    /// Hashes by `kernel`.
    #[must_use]
    pub const fn with(kernel: HashKernel) -> Self {
        Self {
            kernel,
            hashes: Vec::new(),
        }
    }

    /// Hashes what can be hashed at full speed of `buffer_so_far`, all bytes of the shard up to
    /// now. Costs nothing while too few leaves have been completed.
    pub fn advance(&mut self, buffer_so_far: &[u8]) {
        let lanes = self.kernel.lanes();
        let (complete, _) = self.rest(buffer_so_far).as_chunks::<LEAF_BYTES>();
        for batch in complete.chunks_exact(lanes) {
            let leaves: Vec<&[u8]> = batch.iter().map(<[u8; LEAF_BYTES]>::as_slice).collect();
            self.hashes.extend(self.kernel.hash_leaves(&leaves));
        }
    }

    /// Hashes the rest of the `whole` shard and returns its id.
    #[must_use]
    pub fn finish(self, whole: &[u8]) -> ShardId {
        ShardId(root(&self.finish_leaves(whole)))
    }

    /// Hashes the rest of the `whole` shard, or of the whole run of leaves, and returns the hash
    /// of each leaf.
    #[must_use]
    pub fn finish_leaves(mut self, whole: &[u8]) -> Vec<[u8; 32]> {
        let leaves: Vec<&[u8]> = self.rest(whole).chunks(LEAF_BYTES).collect();
        self.hashes.extend(self.kernel.hash_leaves(&leaves));
        self.hashes
    }

    /// What is not hashed yet.
    fn rest<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        let done = self.hashes.len() * LEAF_BYTES;
        buffer.get(done..).unwrap_or_default()
    }
}

/// The tree hash over leaf hashes, as RFC 9162 defines it.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let largest_power_below = 1 << (leaves.len() - 1).ilog2();
            let (left, right) = leaves.split_at(largest_power_below);
            let mut node = [1; 65];
            node[1..33].copy_from_slice(&root(left));
            node[33..].copy_from_slice(&root(right));
            sha256(&node)
        }
    }
}

#[cfg(test)]
mod tests;
