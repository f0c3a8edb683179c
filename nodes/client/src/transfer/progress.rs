//! How far an operation is: counters that a user interface reads while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one operation. They only grow; any thread reads them at any time.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of user data that are to be moved.
    pub bytes_planned: Counter,
    /// Bytes read and encrypted (upload).
    pub bytes_encrypted: Counter,
    /// Bytes whose segments have all the shards they will get (upload).
    pub bytes_stored: Counter,
    /// Bytes of shards for which Hosts signed receipts (upload).
    pub shard_bytes_stored: Counter,
    /// Bytes of shards that Hosts had from an earlier run (upload).
    pub shard_bytes_found: Counter,
    /// Bytes whose segments an earlier run had stored (upload).
    pub bytes_resumed: Counter,
    /// Bytes that an interruption does not cost any more: in the tree, or in a journal as stored
    /// (upload).
    pub bytes_kept: Counter,
    /// Bytes of shards received (download).
    pub shard_bytes_received: Counter,
    /// Bytes that matched the manifest and reached the sink (download).
    pub bytes_verified: Counter,
    /// Shards stored or fetched.
    pub shards: Counter,
    /// Shards that another Host, or another shard, had to replace.
    pub shards_replaced: Counter,
    /// Segments stored with fewer shards than wanted (upload), or restored from parity (download).
    pub segments_degraded: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}
