//! What a Host has done since it started, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use model::units::UnixMs;

/// Bytes of shards moved.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    received: AtomicU64,
    sent: AtomicU64,
}

/// What Bridges asked for and got.
#[derive(Debug, Default)]
pub(crate) struct Done {
    audits: AtomicU64,
    audited_at: AtomicU64,
    repairs: AtomicU64,
}

impl Moved {
    pub(crate) fn count_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes received and bytes sent.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }
}

impl Done {
    /// An audit was answered.
    pub(crate) fn audited(&self, now: UnixMs) {
        self.audits.fetch_add(1, Ordering::Relaxed);
        self.audited_at.store(now.0, Ordering::Relaxed);
    }

    /// A shard was made anew here.
    pub(crate) fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Audits answered, and when the last was.
    pub(crate) fn audits(&self) -> (u64, Option<UnixMs>) {
        let audits = self.audits.load(Ordering::Relaxed);
        let last = self.audited_at.load(Ordering::Relaxed);
        (audits, (audits > 0).then_some(UnixMs(last)))
    }

    /// Shards made anew here.
    pub(crate) fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }
}
