//! The Bridges this Host serves. Each has a control channel, a counter of orders, a quota and
//! records of its own, and none can touch what is another's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use model::units::{BridgeId, UnixMs};
use model::wire::upkeep::LeaveProgress;
use net::BridgeUrl;
use serde::{Deserialize, Serialize};
use shardstore::RECORD_HEADER_BYTES;
use tokio::sync::{Notify, watch};

use crate::config::BridgeSettings;
use crate::status::JoinState;

/// All Bridges of a Host, in the order they were named.
#[derive(Debug)]
pub(crate) struct Bridges {
    links: Vec<Arc<BridgeLink>>,
    /// Held while a link learns its Bridge's id, so that no two learn the same.
    claiming: Mutex<()>,
    /// Rings when one of them was joined or lost.
    pub(crate) news: Arc<Notify>,
}

/// One Bridge as this Host knows it.
#[derive(Debug)]
pub(crate) struct BridgeLink {
    pub(crate) url: BridgeUrl,
    /// Most that its records may hold; without it, whatever the volumes take.
    pub(crate) quota_bytes: Option<u64>,
    id: OnceLock<BridgeId>,
    reserved_bytes: Arc<AtomicU64>,
    state: watch::Sender<JoinState>,
    /// Where its memory is behind: the mark it came with, and the highest before.
    behind: Mutex<Option<Behind>>,
    /// How leaving goes, as it said last.
    leaving: Mutex<Option<LeaveProgress>>,
    /// The wish to leave that it was told last: when that was made.
    leave_told: AtomicU64,
    news: Arc<Notify>,
}

/// A Bridge whose memory went back: it was restored from an older backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// How far its memory reaches.
    pub mark: u64,
    /// How far it reached before.
    pub before: u64,
}

/// A Bridge whose quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this bridge's share of this host is used up: {wanted_bytes} bytes do not fit into the \
     {free_bytes} left of {quota_bytes}"
)]
pub(crate) struct OverQuota {
    pub(crate) wanted_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) quota_bytes: u64,
}

/// Part of a Bridge's quota promised to a shard on its way; given back when dropped.
#[derive(Debug)]
pub(crate) struct QuotaRoom {
    reserved_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl Bridges {
    /// Those of `settings`; `known` are the ids of those that were joined before.
    pub(crate) fn new(settings: &[BridgeSettings], known: &[Option<BridgeId>]) -> Self {
        let news = Arc::new(Notify::new());
        let links = settings.iter().zip(known).map(|(bridge, id)| {
            Arc::new(BridgeLink {
                url: bridge.url.clone(),
                quota_bytes: bridge.space_bytes,
                id: id.map_or_else(OnceLock::new, OnceLock::from),
                reserved_bytes: Arc::default(),
                state: watch::Sender::new(JoinState::default()),
                behind: Mutex::default(),
                leaving: Mutex::default(),
                leave_told: AtomicU64::new(0),
                news: Arc::clone(&news),
            })
        });
        Self {
            links: links.collect(),
            claiming: Mutex::new(()),
            news,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<BridgeLink>] {
        &self.links
    }

    /// The one with this id, if it is one of ours.
    pub(crate) fn of(&self, id: &BridgeId) -> Option<&Arc<BridgeLink>> {
        self.links.iter().find(|link| link.id() == Some(*id))
    }

    /// The first one's id, for those who know of one only.
    pub(crate) fn first_id(&self) -> Option<BridgeId> {
        self.links.first().and_then(|link| link.id())
    }

    /// `link` leads to the Bridge `id`; `false` where another link does.
    pub(crate) fn claim(&self, link: &BridgeLink, id: BridgeId) -> bool {
        let _claiming = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        let by_another =
            |other: &&Arc<BridgeLink>| !std::ptr::eq(&***other, link) && other.id() == Some(id);
        if self.links.iter().any(|other| by_another(&other)) {
            return false;
        }
        *link.id.get_or_init(|| id) == id
    }
}

impl BridgeLink {
    /// The Bridge, once it was joined for the first time.
    pub(crate) fn id(&self) -> Option<BridgeId> {
        self.id.get().copied()
    }

    /// How the control channel stands, now and from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<JoinState> {
        self.state.subscribe()
    }

    /// How the control channel stands.
    pub(crate) fn state(&self) -> JoinState {
        self.state.borrow().clone()
    }

    /// The control channel stands otherwise now.
    pub(crate) fn change(&self, change: impl FnOnce(&mut JoinState)) {
        self.state.send_modify(change);
        self.news.notify_one();
    }

    /// Whether its memory is behind: then nothing is deleted on its word.
    pub(crate) fn is_frozen(&self) -> bool {
        self.behind().is_some()
    }

    /// How far its memory is behind, if it is.
    pub(crate) fn behind(&self) -> Option<Behind> {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its memory is behind, or no more; returns whether that is new.
    pub(crate) fn set_behind(&self, behind: Option<Behind>) -> bool {
        let mut now = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = now.is_some() != behind.is_some();
        *now = behind;
        drop(now);
        self.news.notify_one();
        changed
    }

    /// How leaving goes, as the Bridge said last.
    pub(crate) fn leaving(&self) -> Option<LeaveProgress> {
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Bridge says how leaving goes.
    pub(crate) fn set_leaving(&self, progress: LeaveProgress) {
        let mut now = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Some(progress);
        drop(now);
        self.news.notify_one();
    }

    /// The Bridge was told a wish of this time.
    pub(crate) fn told_leave(&self, at: UnixMs) {
        let before = self.leave_told.swap(at.0, Ordering::Relaxed);
        if before != at.0 {
            // What it said was about another wish.
            *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.news.notify_one();
    }

    /// When the wish was made that the Bridge was told last.
    pub(crate) fn leave_told(&self) -> UnixMs {
        UnixMs(self.leave_told.load(Ordering::Relaxed))
    }

    /// Takes room for a shard of `shard_bytes` from the quota, of which records hold `held_bytes`.
    pub(crate) fn reserve(
        &self,
        held_bytes: u64,
        shard_bytes: u32,
    ) -> Result<Option<QuotaRoom>, OverQuota> {
        let Some(quota_bytes) = self.quota_bytes else {
            return Ok(None);
        };
        let wanted_bytes = u64::from(shard_bytes) + RECORD_HEADER_BYTES as u64;
        let reserved = self
            .reserved_bytes
            .fetch_add(wanted_bytes, Ordering::Relaxed);
        let room = QuotaRoom {
            reserved_bytes: Arc::clone(&self.reserved_bytes),
            bytes: wanted_bytes,
        };
        let free_bytes = quota_bytes.saturating_sub(held_bytes + reserved);
        if wanted_bytes > free_bytes {
            return Err(OverQuota {
                wanted_bytes,
                free_bytes,
                quota_bytes,
            });
        }
        Ok(Some(room))
    }

    /// What is left of the quota, at most `free_bytes`.
    pub(crate) fn free_bytes(&self, held_bytes: u64, free_bytes: u64) -> u64 {
        let reserved = self.reserved_bytes.load(Ordering::Relaxed);
        self.quota_bytes.map_or(free_bytes, |quota| {
            quota.saturating_sub(held_bytes + reserved).min(free_bytes)
        })
    }
}

impl Drop for QuotaRoom {
    fn drop(&mut self) {
        self.reserved_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridges() -> Bridges {
        let settings = |port: u16, space_bytes| BridgeSettings {
            url: format!("http://127.0.0.1:{port}").parse().unwrap(),
            space_bytes,
        };
        let settings = [settings(1, Some(1_000)), settings(2, None)];
        Bridges::new(&settings, &[None, Some(BridgeId([2; 32]))])
    }

    #[test]
    fn two_urls_never_lead_to_the_same_bridge() {
        let bridges = bridges();
        let (first, second) = (&bridges.all()[0], &bridges.all()[1]);
        assert!(!bridges.claim(first, BridgeId([2; 32])));
        assert!(bridges.claim(first, BridgeId([1; 32])));
        assert!(bridges.claim(first, BridgeId([1; 32])));
        assert!(
            !bridges.claim(first, BridgeId([3; 32])),
            "its id never changes"
        );
        assert!(bridges.claim(second, BridgeId([2; 32])));
        assert!(bridges.of(&BridgeId([1; 32])).is_some());
        assert!(bridges.of(&BridgeId([3; 32])).is_none());
    }

    #[test]
    fn a_quota_counts_what_is_held_and_what_is_on_its_way() {
        let bridges = bridges();
        let (first, second) = (&bridges.all()[0], &bridges.all()[1]);
        let room = first.reserve(500, 128).unwrap().unwrap();
        let refused = first.reserve(500, 128).unwrap_err();
        assert_eq!((refused.wanted_bytes, refused.free_bytes), (320, 180));
        assert_eq!(first.free_bytes(500, u64::MAX), 180);
        assert_eq!(first.free_bytes(500, 7), 7);
        drop(room);
        assert!(first.reserve(500, 128).is_ok());
        assert!(second.reserve(u64::MAX / 2, 128).unwrap().is_none());
    }
}
