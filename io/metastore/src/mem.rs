//! The tables in memory, for tests and simulation: ordered maps that can undo.
//!
//! A transaction changes the maps in place and notes what stood there before; rolling back puts
//! it back. Nothing outlives the process.

mod accounts;
mod blobs;
mod groups;
mod hosts;
mod keys;
mod nodes;
mod receipts;
mod roots;
mod uploads;
mod usage;

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use model::units::{AccountId, BlobId, HostId, NodeHash, UnixMs, UploadId, VolumeId};

use crate::tables::ROWS_PER_CALL_MAX;
use crate::{
    Account, BlobRow, GroupKey, GroupRow, HostAlias, HostLog, HostRow, IdempotencyKey, NodeRow,
    RootRow, Session, TokenHash, Tx, UploadRow, Usage,
};

/// All tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mem {
    accounts: Table<AccountId, Account>,
    sessions: Table<TokenHash, Session>,
    roots: Table<(AccountId, VolumeId, u64), RootRow>,
    nodes: Table<(AccountId, NodeHash), NodeRow>,
    blobs: Table<(AccountId, BlobId), BlobRow>,
    groups: Table<GroupKey, GroupRow>,
    receipts: Table<(AccountId, BlobId, u64, u64), Vec<u8>>,
    uploads: Table<(AccountId, UploadId), UploadRow>,
    hosts: Table<HostAlias, HostRow>,
    host_aliases: Table<HostId, HostAlias>,
    order_seqs: Table<HostAlias, u64>,
    orders: Table<(HostAlias, u64), Vec<u8>>,
    host_log: Table<(HostAlias, HostLog, u64), (UnixMs, Vec<u8>)>,
    frozen: Table<(AccountId, BlobId, u64), UnixMs>,
    usage: Table<AccountId, Usage>,
    idempotency: Table<(AccountId, IdempotencyKey), (Vec<u8>, UnixMs)>,
    meta: Table<String, Vec<u8>>,
}

impl Tx for Mem {}

impl Mem {
    /// Runs one rule; its changes stay only where it returns `Ok`. `Err` is its panic.
    pub(crate) fn transaction<T, E>(
        &mut self,
        rule: impl FnOnce(&mut dyn Tx) -> Result<T, E>,
    ) -> thread::Result<Result<T, E>> {
        // A rule that panics unwinds through here; what it left is undone all the same.
        let outcome = catch_unwind(AssertUnwindSafe(|| rule(self)));
        match outcome {
            Ok(Ok(_)) => self.each_table(|table| table.commit()),
            Ok(Err(_)) | Err(_) => self.each_table(|table| table.roll_back()),
        }
        outcome
    }

    fn each_table(&mut self, end: impl Fn(&mut dyn Undo)) {
        end(&mut self.accounts);
        end(&mut self.sessions);
        end(&mut self.roots);
        end(&mut self.nodes);
        end(&mut self.blobs);
        end(&mut self.groups);
        end(&mut self.receipts);
        end(&mut self.uploads);
        end(&mut self.hosts);
        end(&mut self.host_aliases);
        end(&mut self.order_seqs);
        end(&mut self.orders);
        end(&mut self.host_log);
        end(&mut self.frozen);
        end(&mut self.usage);
        end(&mut self.idempotency);
        end(&mut self.meta);
    }
}

/// Rows by key, and what the running transaction has replaced.
#[derive(Clone, Debug)]
struct Table<K, V> {
    rows: BTreeMap<K, V>,
    before: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            before: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    fn range(&self, keys: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(keys)
    }

    fn put(&mut self, key: K, value: V) {
        let old = self.rows.insert(key.clone(), value);
        self.before.push((key, old));
    }

    /// Adds a row unless the key is taken.
    fn insert(&mut self, key: K, value: V) -> bool {
        let free = !self.rows.contains_key(&key);
        if free {
            self.put(key, value);
        }
        free
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.rows.remove(key)?;
        self.before.push((key.clone(), Some(old.clone())));
        Some(old)
    }

    /// Removes the first `limit` rows of a range that `doomed` names; returns them.
    fn sweep(
        &mut self,
        keys: impl RangeBounds<K>,
        limit: u32,
        doomed: impl Fn(&V) -> bool,
    ) -> Vec<(K, V)> {
        let found = self.rows.range(keys).filter(|(_, row)| doomed(row));
        let keys: Vec<K> = found
            .map(|(key, _)| key.clone())
            .take(bounded(limit))
            .collect();
        keys.into_iter()
            .filter_map(|key| self.remove(&key).map(|row| (key, row)))
            .collect()
    }
}

trait Undo {
    fn commit(&mut self);
    fn roll_back(&mut self);
}

impl<K: Ord, V> Undo for Table<K, V> {
    fn commit(&mut self) {
        self.before.clear();
    }

    fn roll_back(&mut self) {
        while let Some((key, old)) = self.before.pop() {
            match old {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

/// A caller's limit, and never more than any call may return.
fn bounded(limit: u32) -> usize {
    limit.min(ROWS_PER_CALL_MAX) as usize
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
