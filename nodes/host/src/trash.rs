//! The trash: records that a Bridge has no use for any more, kept for a while in case its word was
//! wrong. They stay readable, and make room for new shards, the oldest first, when it is needed.
//!
//! What is absent: a record that leaves the store before the trash is asked, and one that was
//! stored again and is removed all the same. Whoever moves records in or out holds the book, and
//! what is written in it is durable before anybody is told.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::units::{BridgeId, Serial, ShardId, UnixMs};
use shardstore::{RECORD_HEADER_BYTES, RecordKey, RecordSeen, RemoveError, Volumes};
use tasks::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::host::Node;
use crate::limits::{TRASH_LOOK, TRASH_RECORDS_MAX, TRASH_STEP_RECORDS};
use crate::upkeep::pause;
use book::Book;

/// What is in the trash, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Trash {
    keep_ms: u64,
    /// Held while records go in or out.
    book: Mutex<Book>,
    items: Mutex<Items>,
}

/// The trash cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrashError {
    /// Its file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record cannot be removed.
    #[error("cannot remove records")]
    Remove(#[from] RemoveError),
    /// The Host stops before it is done.
    #[error("the host is stopping")]
    Stopping,
}

/// A record in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// When it is removed.
    due: UnixMs,
    /// What its removal gives back; 0 where it may lie on a volume that is away.
    bytes: u32,
}

#[derive(Debug, Default)]
struct Items {
    by_key: BTreeMap<RecordKey, Item>,
    by_due: BTreeSet<(UnixMs, RecordKey)>,
    bytes: BTreeMap<BridgeId, u64>,
}

impl Trash {
    /// Reads the trash in the folder `data`; what goes in from now on stays for `keep`.
    ///
    /// # Errors
    /// [`TrashError`] where it cannot be read, or written anew.
    pub(crate) fn open(data: &Path, keep: Duration) -> Result<Self, TrashError> {
        let (book, kept) = Book::open(data)?;
        let mut items = Items::default();
        for (key, item) in kept {
            items.insert(key, item);
        }
        Ok(Self {
            keep_ms: u64::try_from(keep.as_millis()).unwrap_or(u64::MAX),
            book: Mutex::new(book),
            items: Mutex::new(items),
        })
    }

    /// Bytes that could be given up for new shards.
    pub(crate) fn bytes(&self) -> u64 {
        self.items().bytes.values().sum()
    }

    /// Those of one Bridge.
    pub(crate) fn bytes_of(&self, bridge: &BridgeId) -> u64 {
        self.items().bytes.get(bridge).copied().unwrap_or_default()
    }

    /// Records in it.
    pub(crate) fn records(&self) -> u64 {
        self.items().by_key.len() as u64
    }

    pub(crate) fn contains(&self, key: &RecordKey) -> bool {
        self.items().by_key.contains_key(key)
    }

    /// Puts the records of `serials` in that are here or may be, durably, or removes them at once
    /// where nothing is kept. Returns how many. Blocks.
    fn put_in(
        &self,
        volumes: &Volumes,
        bridge: BridgeId,
        serials: &[Serial],
        now: UnixMs,
    ) -> Result<u64, TrashError> {
        if self.keep_ms == 0 {
            return self.destroy(volumes, bridge, serials);
        }
        let mut book = self.book();
        let due = now.plus_ms(self.keep_ms);
        let keys = serials.iter().map(|serial| RecordKey {
            bridge,
            serial: *serial,
        });
        let new: BTreeMap<RecordKey, Item> = keys
            .filter(|key| !self.contains(key))
            .filter_map(|key| Some((key, Item::of(volumes, key, due)?)))
            .collect();
        book.put_in(&new)?;
        let mut items = self.items();
        for (key, item) in &new {
            items.insert(*key, *item);
        }
        let beyond = items.by_key.len().saturating_sub(TRASH_RECORDS_MAX);
        let oldest = items.oldest(beyond);
        drop(items);
        self.remove(volumes, &mut book, &oldest)?;
        self.tidy(&mut book)?;
        Ok(new.len() as u64)
    }

    /// Takes those of `serials` that are in it out again: they stay. Blocks.
    fn rescue(&self, bridge: BridgeId, serials: &[Serial]) -> Result<u64, TrashError> {
        let mut book = self.book();
        let keys: Vec<RecordKey> = {
            let items = self.items();
            let keys = serials.iter().map(|serial| RecordKey {
                bridge,
                serial: *serial,
            });
            keys.filter(|key| items.by_key.contains_key(key)).collect()
        };
        self.take_out(&mut book, &keys)?;
        Ok(keys.len() as u64)
    }

    /// Shard `id` is stored under `key` again: takes the record out if it holds it, and removes it
    /// if it holds another, so that the serial is free. Blocks.
    fn settle(&self, volumes: &Volumes, key: RecordKey, id: ShardId) -> Result<(), TrashError> {
        let mut book = self.book();
        if !self.contains(&key) {
            return Ok(());
        }
        match volumes.record(key) {
            RecordSeen::Here { shard, .. } | RecordSeen::Rotten { shard, .. } if shard != id => {
                self.remove(volumes, &mut book, &[key])
            }
            RecordSeen::Here { .. }
            | RecordSeen::Rotten { .. }
            | RecordSeen::Unseen
            | RecordSeen::NotHere => self.take_out(&mut book, &[key]),
        }
    }

    /// Removes the records of `serials` for good, be they in it or not. Blocks.
    fn destroy(
        &self,
        volumes: &Volumes,
        bridge: BridgeId,
        serials: &[Serial],
    ) -> Result<u64, TrashError> {
        let mut book = self.book();
        let removed = volumes.remove(bridge, serials)?;
        let keys = serials.iter().map(|serial| RecordKey {
            bridge,
            serial: *serial,
        });
        let keys: Vec<RecordKey> = keys.filter(|key| self.contains(key)).collect();
        self.take_out(&mut book, &keys)?;
        Ok(removed)
    }

    /// Removes some of what is due; returns how many. Blocks.
    fn sweep(&self, volumes: &Volumes, now: UnixMs) -> Result<usize, TrashError> {
        let mut book = self.book();
        let due = {
            let items = self.items();
            let due = items.by_due.iter().take_while(|(due, _)| *due <= now);
            due.take(TRASH_STEP_RECORDS)
                .map(|(_, key)| *key)
                .collect::<Vec<_>>()
        };
        self.remove(volumes, &mut book, &due)?;
        self.tidy(&mut book)?;
        Ok(due.len())
    }

    /// Gives up what volumes hold beyond their limits, as far as it goes. Blocks.
    pub(crate) fn shrink_by(&self, volumes: &Volumes, bytes: u64) {
        match self.give_up(volumes, None, bytes) {
            Ok(records) => tracing::info!(records, "trash given up: volumes hold too much"),
            Err(error) => tracing::error!(%error, "trash not given up"),
        }
    }

    /// Removes the oldest, of `bridge` alone where one is named, until `wanted_bytes` are given
    /// back or nothing is left; returns how many. Blocks.
    fn give_up(
        &self,
        volumes: &Volumes,
        bridge: Option<BridgeId>,
        wanted_bytes: u64,
    ) -> Result<usize, TrashError> {
        let mut book = self.book();
        let oldest = self.items().oldest_of(bridge, wanted_bytes);
        self.remove(volumes, &mut book, &oldest)?;
        if let Some(RecordKey { bridge, serial }) = oldest.last() {
            // A store gives blocks back after it has answered, and before it takes another
            // command: once this is answered there is as much room as there will be.
            for store in volumes.stores() {
                store.remove_all(*bridge, &[*serial]).ok();
            }
        }
        Ok(oldest.len())
    }

    fn remove(
        &self,
        volumes: &Volumes,
        book: &mut Book,
        keys: &[RecordKey],
    ) -> Result<(), TrashError> {
        let mut by_bridge: BTreeMap<BridgeId, Vec<Serial>> = BTreeMap::new();
        for key in keys {
            by_bridge.entry(key.bridge).or_default().push(key.serial);
        }
        for (bridge, serials) in by_bridge {
            volumes.remove(bridge, &serials)?;
        }
        self.take_out(book, keys)
    }

    fn take_out(&self, book: &mut Book, keys: &[RecordKey]) -> Result<(), TrashError> {
        book.take_out(keys)?;
        let mut items = self.items();
        keys.iter().for_each(|key| items.remove(key));
        Ok(())
    }

    /// Writes the book anew when most of it speaks of what is gone.
    fn tidy(&self, book: &mut Book) -> Result<(), TrashError> {
        let items = self.items();
        if book.is_worth_rewriting(items.by_key.len()) {
            book.rewrite(&items.by_key)?;
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    /// A record that is here, or may be on a volume that is away.
    fn of(volumes: &Volumes, key: RecordKey, due: UnixMs) -> Option<Self> {
        let bytes = match volumes.record(key) {
            RecordSeen::Here { stored, .. } | RecordSeen::Rotten { stored, .. } => {
                stored.shard_bytes + u32::try_from(RECORD_HEADER_BYTES).unwrap_or(0)
            }
            RecordSeen::Unseen => 0,
            RecordSeen::NotHere => return None,
        };
        Some(Self { due, bytes })
    }
}

impl Items {
    fn insert(&mut self, key: RecordKey, item: Item) {
        self.remove(&key);
        self.by_due.insert((item.due, key));
        *self.bytes.entry(key.bridge).or_default() += u64::from(item.bytes);
        self.by_key.insert(key, item);
    }

    fn remove(&mut self, key: &RecordKey) {
        let Some(item) = self.by_key.remove(key) else {
            return;
        };
        self.by_due.remove(&(item.due, *key));
        if let Some(bytes) = self.bytes.get_mut(&key.bridge) {
            *bytes -= u64::from(item.bytes);
        }
    }

    /// Up to `max`, those first that have been in it for longest.
    fn oldest(&self, max: usize) -> Vec<RecordKey> {
        let keys = self.by_due.iter().map(|(_, key)| *key);
        keys.take(max).collect()
    }

    /// The oldest that give back `wanted_bytes`, of `bridge` alone where one is named.
    fn oldest_of(&self, bridge: Option<BridgeId>, wanted_bytes: u64) -> Vec<RecordKey> {
        let (mut bytes, mut oldest) = (0, Vec::new());
        for (_, key) in &self.by_due {
            if bytes >= wanted_bytes || oldest.len() >= TRASH_STEP_RECORDS {
                break;
            }
            let item = self.by_key.get(key).filter(|item| item.bytes > 0);
            if let Some(item) = item
                && bridge.is_none_or(|bridge| key.bridge == bridge)
            {
                bytes += u64::from(item.bytes);
                oldest.push(*key);
            }
        }
        oldest
    }
}

/// Something is done with the trash of `node` on a thread that may wait.
async fn off_thread<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Trash, &Volumes) -> Result<T, TrashError> + Send + 'static,
) -> Result<T, TrashError> {
    let node = Arc::clone(node);
    let done = spawn_blocking(move || work(&node.trash, &node.volumes)).await;
    done.map_err(|_| TrashError::Stopping)?
}

/// Puts records of `bridge` into the trash; returns how many were here.
pub(crate) async fn put_in(
    node: &Arc<Node>,
    bridge: BridgeId,
    serials: Vec<Serial>,
) -> Result<u64, TrashError> {
    let now = node.environment.now();
    off_thread(node, move |trash, volumes| {
        trash.put_in(volumes, bridge, &serials, now)
    })
    .await
}

/// Takes records of `bridge` out again that are to stay; returns how many were in it.
pub(crate) async fn rescue(
    node: &Arc<Node>,
    bridge: BridgeId,
    serials: Vec<Serial>,
) -> Result<u64, TrashError> {
    off_thread(node, move |trash, _| trash.rescue(bridge, &serials)).await
}

/// Removes records of `bridge` for good; returns how many were here.
pub(crate) async fn destroy(
    node: &Arc<Node>,
    bridge: BridgeId,
    serials: Vec<Serial>,
) -> Result<u64, TrashError> {
    off_thread(node, move |trash, volumes| {
        trash.destroy(volumes, bridge, &serials)
    })
    .await
}

/// Shard `id` is to be stored under `key`: after this the trash has nothing to do with it.
pub(crate) async fn settle(
    node: &Arc<Node>,
    key: RecordKey,
    id: ShardId,
) -> Result<(), TrashError> {
    if !node.trash.contains(&key) {
        return Ok(());
    }
    off_thread(node, move |trash, volumes| trash.settle(volumes, key, id)).await
}

/// Gives up `wanted_bytes` of the trash, of one Bridge's where one is named; `false` where nothing
/// could be given up.
pub(crate) async fn give_up(node: &Arc<Node>, bridge: Option<BridgeId>, wanted_bytes: u64) -> bool {
    let given = off_thread(node, move |trash, volumes| {
        trash.give_up(volumes, bridge, wanted_bytes)
    });
    match given.await {
        Ok(0) => false,
        Ok(records) => {
            tracing::info!(records, "trash given up for new shards");
            true
        }
        Err(error) => {
            tracing::error!(%error, "trash not given up");
            false
        }
    }
}

/// Removes what is due, until `stop` is cancelled.
pub(crate) async fn empty(node: Arc<Node>, stop: CancellationToken) {
    while pause(&stop, TRASH_LOOK).await {
        let now = node.environment.now();
        let swept = off_thread(&node, move |trash, volumes| trash.sweep(volumes, now)).await;
        match swept {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "trash emptied of what was due"),
            Err(error) => tracing::error!(%error, "trash not emptied"),
        }
    }
}
