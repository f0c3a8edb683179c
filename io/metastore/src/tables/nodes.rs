//! Sealed tree and manifest pages by (owner, hash): pending, live, or retired and kept a while.
//!
//! Their bytes are counted in the owner's usage by the calls themselves, so that the sum cannot
//! drift from the rows.

use model::units::{AccountId, NodeHash, UnixMs};

use super::{ROWS_PER_CALL_MAX, check_value, to_i64};
use crate::{StoreError, Usage, UsageTable};

/// Where a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Uploaded, in no root yet; swept at `expires`.
    Pending {
        /// When it may be swept.
        expires: UnixMs,
    },
    /// Reachable from a root.
    Live,
    /// Replaced; kept for older versions until swept.
    Retired {
        /// Since when.
        at: UnixMs,
    },
}

/// A sealed page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its hash.
    pub hash: NodeHash,
    /// Its sealed bytes.
    pub bytes: Vec<u8>,
    /// Where it stands.
    pub state: NodeState,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweptNodes {
    /// Number of pages.
    pub nodes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Pages. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait NodeTable {
    /// Adds a pending page, or extends the expiry of one that is pending. One that is live or
    /// retired stays as it is. Returns whether the page is new.
    fn put_pending_node(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        bytes: &[u8],
        expires: UnixMs,
    ) -> Result<bool, StoreError>;

    /// Adds a page as live, or makes an existing one live. Returns whether the page is new.
    fn put_live_node(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        bytes: &[u8],
    ) -> Result<bool, StoreError>;

    /// Returns those of the pages that exist, whatever their state, in the order asked for.
    fn nodes(&self, account: &AccountId, hashes: &[NodeHash]) -> Result<Vec<NodeRow>, StoreError>;

    /// Makes pages live, pending and retired ones alike. Returns the hashes that do not exist:
    /// where there are any, the rule must return an error, so that nothing is kept.
    fn commit_nodes(
        &mut self,
        account: &AccountId,
        hashes: &[NodeHash],
    ) -> Result<Vec<NodeHash>, StoreError>;

    /// Retires those of the pages that are live; returns how many. A commit that both retires and
    /// adds a page retires first.
    fn retire_nodes(
        &mut self,
        account: &AccountId,
        hashes: &[NodeHash],
        now: UnixMs,
    ) -> Result<u64, StoreError>;

    /// Removes up to `limit` pages of all owners that were pending and expired at or before
    /// `pending_until`, or retired at or before `retired_until`.
    fn sweep_nodes(
        &mut self,
        pending_until: UnixMs,
        retired_until: UnixMs,
        limit: u32,
    ) -> Result<SweptNodes, StoreError>;
}

/// What an engine must be able to do with pages; [`NodeTable`] follows from it.
pub(crate) trait NodeRows: UsageTable {
    /// State and length of a page.
    fn node_state(
        &self,
        account: &AccountId,
        hash: &NodeHash,
    ) -> Result<Option<(NodeState, i64)>, StoreError>;

    /// Reads one page.
    fn node(&self, account: &AccountId, hash: &NodeHash) -> Result<Option<NodeRow>, StoreError>;

    /// Adds a page that does not exist.
    fn insert_node(&mut self, account: &AccountId, row: &NodeRow) -> Result<(), StoreError>;

    /// Changes the state of a page that exists.
    fn set_node_state(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        state: NodeState,
    ) -> Result<(), StoreError>;

    /// Removes up to `limit` pages that are due; returns owner, state and length of each.
    fn remove_due_nodes(
        &mut self,
        pending_until: UnixMs,
        retired_until: UnixMs,
        limit: u32,
    ) -> Result<Vec<(AccountId, NodeState, i64)>, StoreError>;

    /// Writes an account's sums.
    fn set_usage(&mut self, account: &AccountId, usage: Usage) -> Result<(), StoreError>;
}

impl<R: NodeRows> NodeTable for R {
    fn put_pending_node(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        bytes: &[u8],
        expires: UnixMs,
    ) -> Result<bool, StoreError> {
        match self.node_state(account, hash)? {
            None => add_node(self, account, hash, (bytes, NodeState::Pending { expires })),
            Some((NodeState::Pending { expires: old }, _)) => {
                let expires = old.max(expires);
                self.set_node_state(account, hash, NodeState::Pending { expires })?;
                Ok(false)
            }
            Some((NodeState::Live | NodeState::Retired { .. }, _)) => Ok(false),
        }
    }

    fn put_live_node(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        bytes: &[u8],
    ) -> Result<bool, StoreError> {
        if make_live(self, account, hash)? {
            return Ok(false);
        }
        add_node(self, account, hash, (bytes, NodeState::Live))
    }

    fn nodes(&self, account: &AccountId, hashes: &[NodeHash]) -> Result<Vec<NodeRow>, StoreError> {
        let rows = hashes.iter().take(ROWS_PER_CALL_MAX as usize);
        rows.filter_map(|hash| self.node(account, hash).transpose())
            .collect()
    }

    fn commit_nodes(
        &mut self,
        account: &AccountId,
        hashes: &[NodeHash],
    ) -> Result<Vec<NodeHash>, StoreError> {
        let mut missing = Vec::new();
        for hash in hashes {
            if !make_live(self, account, hash)? {
                missing.push(*hash);
            }
        }
        Ok(missing)
    }

    fn retire_nodes(
        &mut self,
        account: &AccountId,
        hashes: &[NodeHash],
        now: UnixMs,
    ) -> Result<u64, StoreError> {
        let mut retired = 0;
        for hash in hashes {
            if let Some((NodeState::Live, _)) = self.node_state(account, hash)? {
                self.set_node_state(account, hash, NodeState::Retired { at: now })?;
                retired += 1;
            }
        }
        Ok(retired)
    }

    fn sweep_nodes(
        &mut self,
        pending_until: UnixMs,
        retired_until: UnixMs,
        limit: u32,
    ) -> Result<SweptNodes, StoreError> {
        let mut swept = SweptNodes::default();
        for (account, state, len) in self.remove_due_nodes(pending_until, retired_until, limit)? {
            let pending = if matches!(state, NodeState::Pending { .. }) {
                len
            } else {
                0
            };
            count(self, &account, -len, -pending)?;
            swept.nodes += 1;
            swept.bytes += len.unsigned_abs();
        }
        Ok(swept)
    }
}

fn add_node(
    rows: &mut impl NodeRows,
    account: &AccountId,
    hash: &NodeHash,
    (bytes, state): (&[u8], NodeState),
) -> Result<bool, StoreError> {
    check_value("node", bytes)?;
    let len = to_i64("node_bytes", bytes.len() as u64)?;
    rows.insert_node(
        account,
        &NodeRow {
            hash: *hash,
            bytes: bytes.to_vec(),
            state,
        },
    )?;
    let pending = if state == NodeState::Live { 0 } else { len };
    count(rows, account, len, pending)?;
    Ok(true)
}

/// Returns whether the page exists.
fn make_live(
    rows: &mut impl NodeRows,
    account: &AccountId,
    hash: &NodeHash,
) -> Result<bool, StoreError> {
    let Some((state, len)) = rows.node_state(account, hash)? else {
        return Ok(false);
    };
    if state != NodeState::Live {
        rows.set_node_state(account, hash, NodeState::Live)?;
    }
    if matches!(state, NodeState::Pending { .. }) {
        count(rows, account, 0, -len)?;
    }
    Ok(true)
}

fn count(
    rows: &mut impl NodeRows,
    account: &AccountId,
    bytes: i64,
    pending_bytes: i64,
) -> Result<(), StoreError> {
    let usage = rows.usage(account)?.after_nodes(bytes, pending_bytes)?;
    rows.set_usage(account, usage)
}
