//! The memory of transfers: bounded by a budget, and used again.
//!
//! A segment takes [`Room`] for its shards before it takes a buffer, so what is in memory never
//! depends on how slow Hosts are.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::units::SHARD_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in pieces of this many bytes.
const UNIT_BYTES: u64 = 4_096;
/// Part of the budget that unused buffers may keep.
const KEPT_SHARE: u64 = 2;

/// Buffers for shards. A clone shares them.
#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    budget: Arc<Semaphore>,
    units: u32,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    kept_max: usize,
}

/// Permission to hold so many bytes of shards; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A buffer of exactly one shard. Its bytes are whatever was there before.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
    _room: Arc<Room>,
}

impl Buffers {
    /// Buffers of at most `bytes_max` bytes in all.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let units = u32::try_from(bytes_max / UNIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        let kept_max = bytes_max / KEPT_SHARE / u64::from(SHARD_BYTES_MAX);
        Self {
            budget: Arc::new(Semaphore::new(units as usize)),
            units,
            kept: Arc::default(),
            kept_max: usize::try_from(kept_max).unwrap_or(usize::MAX),
        }
    }

    /// Waits for room for `bytes`. More than there is in all counts as all there is.
    pub(crate) async fn room(&self, bytes: u64) -> Arc<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units);
        let permit = Arc::clone(&self.budget).acquire_many_owned(units).await;
        #[expect(clippy::expect_used, reason = "the semaphore is never closed")]
        let permit = permit.expect("the budget is open");
        Arc::new(Room { _permit: permit })
    }

    /// A buffer of `bytes`, within `room`.
    pub(crate) fn take(&self, bytes: usize, room: &Arc<Room>) -> Buffer {
        let full = SHARD_BYTES_MAX as usize;
        let kept = if bytes > full / 2 {
            self.kept().pop()
        } else {
            None
        };
        let mut buffer = kept.unwrap_or_else(|| vec![0; bytes]);
        buffer.resize(bytes, 0);
        Buffer {
            bytes: buffer,
            home: self.clone(),
            _room: Arc::clone(room),
        }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut kept = self.kept();
        if bytes.capacity() >= SHARD_BYTES_MAX as usize && kept.len() < self.kept_max {
            kept.push(bytes);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// The buffer as shared bytes; it comes home when the last slice of them is dropped.
    pub(crate) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    const FULL: usize = SHARD_BYTES_MAX as usize;

    #[tokio::test]
    async fn room_is_bounded_and_comes_back_with_the_last_slice() {
        let buffers = Buffers::new(2 * FULL as u64);
        let room = buffers.room(2 * FULL as u64).await;
        let shared = buffers.take(FULL, &room).share();
        drop(room);
        let slice = shared.slice(7..9);
        drop(shared);
        let mut next = pin!(buffers.room(1));
        assert!(poll!(&mut next).is_pending());
        drop(slice);
        assert!(matches!(poll!(&mut next), Poll::Ready(_)));
    }

    #[tokio::test]
    async fn more_than_all_is_let_through_alone() {
        let buffers = Buffers::new(FULL as u64);
        let _room = buffers.room(100 * FULL as u64).await;
        assert!(poll!(pin!(buffers.room(1))).is_pending());
    }

    #[tokio::test]
    async fn full_buffers_are_used_again_and_small_ones_are_not_kept() {
        let buffers = Buffers::new(2 * FULL as u64);
        let room = buffers.room(1).await;
        drop((buffers.take(FULL, &room), buffers.take(64, &room)));
        assert_eq!(buffers.kept().len(), 1);
        assert_eq!(buffers.take(FULL - 64, &room).len(), FULL - 64);
        assert_eq!(buffers.kept().len(), 1, "it came home whole");
        drop((buffers.take(FULL, &room), buffers.take(FULL, &room)));
        assert_eq!(buffers.kept().len(), 1, "half of the budget is kept");
    }
}
