//! Proofs that leaves belong to a shard: the hashes of all its leaves, remembered for those that
//! were asked for lately.
//!
//! A proof needs every leaf of the shard once, about a millisecond for the largest. Readers come
//! back to the same shard, in a stream as in a pack of small files, so 960 bytes are kept for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use erasure::StreamHasher;
use model::crypto::LeafRange;
use model::units::ShardId;
use model::wire::ProblemCode;
use shardstore::{ReadError, ShardReader};
use tokio::sync::Semaphore;

use crate::buffers::Buffer;
use crate::host::Node;
use crate::limits::{LEAF_LISTS_MAX, PROOFS_AT_ONCE_MAX, READ_CHUNK_BYTES};
use crate::refusal::Refusal;

type Hash = [u8; 32];

/// The leaf hashes of shards that were read by ranges lately.
#[derive(Debug)]
pub(crate) struct LeafLists {
    lists: Mutex<Lists>,
    hashing: Semaphore,
}

#[derive(Debug, Default)]
struct Lists {
    by_shard: BTreeMap<ShardId, Arc<[Hash]>>,
    /// As they came: the oldest is forgotten first.
    order: VecDeque<ShardId>,
}

impl Default for LeafLists {
    fn default() -> Self {
        Self {
            lists: Mutex::default(),
            hashing: Semaphore::new(PROOFS_AT_ONCE_MAX),
        }
    }
}

/// No proof can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    /// The shard's bytes have changed; the store knows it by now.
    #[error("shard {id} is damaged here")]
    Damaged {
        /// The shard.
        id: ShardId,
    },
    /// The disk does not read it.
    #[error("this host cannot read the shard")]
    Unreadable(#[from] ReadError),
    /// The Host stops before it is done.
    #[error("this host is stopping")]
    Stopping,
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        let code = match &error {
            ProofError::Damaged { .. } => ProblemCode::ShardRotten,
            ProofError::Unreadable(source) => {
                tracing::error!(error = %source, "shard not read");
                ProblemCode::Internal
            }
            ProofError::Stopping => ProblemCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

/// The proof of `leaves`. Shards are hashed a few at a time, whoever asks.
pub(crate) async fn of(
    node: &Arc<Node>,
    shard: &ShardReader,
    leaves: LeafRange,
) -> Result<Vec<Hash>, ProofError> {
    let (book, id) = (&node.leaf_lists, shard.id());
    let hashes = match book.get(&id) {
        Some(hashes) => hashes,
        None => {
            // Never closed; whoever waits holds one of the turns to send.
            let _turn = book.hashing.acquire().await;
            let (shard, buffer) = (shard.clone(), node.body_buffers.take(None));
            let hashed = tasks::spawn_blocking(move || hash(&shard, buffer)).await;
            let hashes = hashed.map_err(|_| ProofError::Stopping)??;
            // Rot, or a shard that was deleted a moment ago: nothing to be proven.
            if proves_whole(&leaves, &id, &hashes) {
                book.keep(id, &hashes);
            } else {
                recheck(node, id).await?;
                return Err(ProofError::Damaged { id });
            }
            hashes
        }
    };
    leaves.proof(&hashes).ok_or(ProofError::Damaged { id })
}

/// Has the store read the shard again and remember whether it has rotted.
pub(crate) async fn recheck(node: &Arc<Node>, id: ShardId) -> Result<(), ProofError> {
    let checking = Arc::clone(node);
    let checked = tasks::spawn_blocking(move || checking.volumes.recheck(&id));
    checked.await.map_err(|_| ProofError::Stopping)
}

fn proves_whole(leaves: &LeafRange, id: &ShardId, hashes: &[Hash]) -> bool {
    LeafRange::whole(leaves.shard_bytes())
        .is_ok_and(|whole| whole.verify_hashes(id, hashes, &[]).is_ok())
}

/// The hash of every leaf. Blocks.
fn hash(shard: &ShardReader, mut buffer: Buffer) -> Result<Arc<[Hash]>, ReadError> {
    let bytes = buffer.fill(shard.shard_bytes() as usize);
    let (mut hasher, mut start) = (StreamHasher::default(), 0);
    while start < bytes.len() {
        let end = (start + READ_CHUNK_BYTES).min(bytes.len());
        let chunk = bytes.get_mut(start..end).unwrap_or_default();
        shard.read_at(u32::try_from(start).unwrap_or(u32::MAX), chunk)?;
        hasher.advance(bytes.get(..end).unwrap_or_default());
        start = end;
    }
    Ok(hasher.finish_leaves(bytes).into())
}

impl LeafLists {
    fn get(&self, id: &ShardId) -> Option<Arc<[Hash]>> {
        self.lists().by_shard.get(id).cloned()
    }

    fn keep(&self, id: ShardId, hashes: &Arc<[Hash]>) {
        let mut lists = self.lists();
        if lists.by_shard.insert(id, Arc::clone(hashes)).is_none() {
            lists.order.push_back(id);
        }
        if lists.order.len() > LEAF_LISTS_MAX
            && let Some(oldest) = lists.order.pop_front()
        {
            lists.by_shard.remove(&oldest);
        }
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let (book, list) = (LeafLists::default(), Arc::from([[7; 32]]));
        let id = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            ShardId(id)
        };
        for number in 0..=LEAF_LISTS_MAX {
            book.keep(id(number), &list);
            book.keep(id(number), &list);
        }
        assert_eq!(book.get(&id(0)), None);
        assert!(book.get(&id(1)).is_some() && book.get(&id(LEAF_LISTS_MAX)).is_some());
        let lists = book.lists();
        assert_eq!(
            (lists.order.len(), lists.by_shard.len()),
            (LEAF_LISTS_MAX, LEAF_LISTS_MAX)
        );
    }
}
