//! How much may be stored: the quota, what is promised to uploads on their way, and the part of
//! the file system that is never used.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk;
use crate::record::RECORD_HEADER_BYTES;

/// Never filled, where the configuration says nothing else: 1 GiB or 1 % of the file system,
/// whichever is more.
const KEEP_FREE_BYTES_MIN: u64 = 1 << 30;
const KEEP_FREE_DIVISOR: u64 = 100;
/// What one record may take beyond its shard: header, alignment and the rest of a block.
const RECORD_OVERHEAD_BYTES: u64 = RECORD_HEADER_BYTES as u64 + 4_096;

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSpace {
    /// The store would grow beyond its quota.
    #[error("{wanted_bytes} bytes do not fit into the {free_bytes} left of the quota")]
    Quota {
        /// Bytes asked for.
        wanted_bytes: u64,
        /// Bytes left.
        free_bytes: u64,
    },
    /// The file system would fall below what is kept free on it.
    #[error("{wanted_bytes} bytes would leave less than {keep_free_bytes} on the file system")]
    FileSystem {
        /// Bytes asked for.
        wanted_bytes: u64,
        /// Bytes kept free.
        keep_free_bytes: u64,
    },
    /// No volume is there, or none takes writes.
    #[error("no volume of this host takes shards now")]
    NoVolume,
}

/// What a store takes and has, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most the store may take.
    pub space_bytes: u64,
    /// Live shards, each counted once.
    pub live_bytes: u64,
    /// On disk beyond live shards: headers, dead records not yet given back, rounding.
    pub overhead_bytes: u64,
    /// Promised to uploads on their way.
    pub reserved_bytes: u64,
    /// Left for new shards.
    pub free_bytes: u64,
    /// Live records.
    pub records: u64,
    /// Live shards.
    pub shards: u64,
}

impl Usage {
    /// What both take and have together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            space_bytes: self.space_bytes.saturating_add(other.space_bytes),
            live_bytes: self.live_bytes + other.live_bytes,
            overhead_bytes: self.overhead_bytes + other.overhead_bytes,
            reserved_bytes: self.reserved_bytes + other.reserved_bytes,
            free_bytes: self.free_bytes.saturating_add(other.free_bytes),
            records: self.records + other.records,
            shards: self.shards + other.shards,
        }
    }
}

/// The counters behind quota and reservations.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    quota_bytes: u64,
    keep_free_bytes: Option<u64>,
    /// What the logs take on the disk.
    allocated_bytes: AtomicU64,
    reserved_bytes: AtomicU64,
}

impl Space {
    pub(crate) fn new(folder: PathBuf, quota_bytes: u64, keep_free_bytes: Option<u64>) -> Self {
        Self {
            folder,
            quota_bytes,
            keep_free_bytes,
            allocated_bytes: AtomicU64::new(0),
            reserved_bytes: AtomicU64::new(0),
        }
    }

    /// Promises room for a shard of `shard_bytes`.
    pub(crate) fn reserve(self: &Arc<Self>, shard_bytes: u32) -> Result<Reservation, NoSpace> {
        let wanted_bytes = u64::from(shard_bytes) + RECORD_OVERHEAD_BYTES;
        let reserved = self
            .reserved_bytes
            .fetch_add(wanted_bytes, Ordering::Relaxed);
        let reservation = Reservation {
            space: Arc::clone(self),
            bytes: wanted_bytes,
        };
        let free_bytes = self.quota_bytes.saturating_sub(self.allocated() + reserved);
        if wanted_bytes > free_bytes {
            return Err(NoSpace::Quota {
                wanted_bytes,
                free_bytes,
            });
        }
        let (available, keep_free_bytes) = self.file_system();
        if available < keep_free_bytes + reserved + wanted_bytes {
            return Err(NoSpace::FileSystem {
                wanted_bytes,
                keep_free_bytes,
            });
        }
        Ok(reservation)
    }

    /// Whether the disk has room for a record that another one makes way for, if need be out of
    /// what is kept free: without that, a full disk could never be tidied.
    pub(crate) fn has_room_to_move(&self, record_bytes: u32) -> bool {
        let (available, keep_free) = self.file_system();
        available >= keep_free / 2 + u64::from(record_bytes)
    }

    pub(crate) fn grow(&self, bytes: u64) {
        self.allocated_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn shrink(&self, bytes: u64) {
        let less = |allocated: u64| Some(allocated.saturating_sub(bytes));
        self.allocated_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok();
    }

    /// The byte counts; records and shards are left at 0.
    pub(crate) fn usage(&self, live_bytes: u64) -> Usage {
        let (allocated, reserved_bytes) = (
            self.allocated(),
            self.reserved_bytes.load(Ordering::Relaxed),
        );
        let (available, keep_free) = self.file_system();
        let in_quota = self.quota_bytes.saturating_sub(allocated + reserved_bytes);
        let on_disk = available.saturating_sub(keep_free + reserved_bytes);
        Usage {
            space_bytes: self.quota_bytes,
            live_bytes,
            overhead_bytes: allocated.saturating_sub(live_bytes),
            reserved_bytes,
            free_bytes: in_quota.min(on_disk),
            ..Usage::default()
        }
    }

    fn allocated(&self) -> u64 {
        self.allocated_bytes.load(Ordering::Relaxed)
    }

    /// Bytes available to us on the file system, and bytes to keep free there.
    fn file_system(&self) -> (u64, u64) {
        let Ok(capacity) = disk::capacity(&self.folder) else {
            return (0, 0);
        };
        let one_percent = capacity.total_bytes / KEEP_FREE_DIVISOR;
        let keep_free = self
            .keep_free_bytes
            .unwrap_or(one_percent.max(KEEP_FREE_BYTES_MIN));
        (capacity.available_bytes, keep_free)
    }
}

/// Room that is promised to one shard; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space
            .reserved_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_count_until_they_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let space = Arc::new(Space::new(folder.path().to_owned(), 20_000, Some(0)));

        let first = space.reserve(6_000).unwrap();
        let refused = space.reserve(6_000).unwrap_err();
        assert_eq!(
            refused,
            NoSpace::Quota {
                wanted_bytes: 10_288,
                free_bytes: 9_712
            }
        );
        assert_eq!(space.usage(0).reserved_bytes, 10_288);

        drop(first);
        assert_eq!(space.usage(0).reserved_bytes, 0);
        drop(space.reserve(6_000).unwrap());
    }

    #[test]
    fn part_of_the_file_system_is_kept_free() {
        let folder = tempfile::tempdir().unwrap();
        let space = Arc::new(Space::new(
            folder.path().to_owned(),
            u64::MAX / 2,
            Some(1 << 60),
        ));
        assert!(matches!(space.reserve(64), Err(NoSpace::FileSystem { .. })));
        assert_eq!(space.usage(0).free_bytes, 0);
    }
}
