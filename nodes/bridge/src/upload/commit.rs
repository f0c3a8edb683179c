//! The commit: a new root with everything it adds and retires, in one transaction.
//!
//! Either all of it counts or nothing. Only the receipts that come with a commit stay where the
//! root had changed meanwhile, so that the blobs remain staged for the next try.

mod complete;
mod error;

use std::collections::BTreeSet;

use metastore::{HostAlias, ReferenceDelta, RootRow, StoreError, SwapError, Tx, UploadRow};
use model::crypto::sha256;
use model::formats::device_list::DeviceList;
use model::formats::root::{Lineage, Root, SignedRoot};
use model::units::{AccountId, UploadId, VolumeId};
use model::wire::Problem;
use model::wire::api::{Commit, Committed, NodeBody};
use model::wire::limits::{
    BLOB_CHANGES_PER_COMMIT_MAX, NODE_CHANGES_PER_COMMIT_MAX, NODES_PER_PUT_MAX,
    UPLOADS_PER_COMMIT_MAX,
};

use super::find_open;
use super::plan::occupied;
use super::receipts::{SignedPage, check_signatures, take};
use super::record::{OpenUpload, UploadRecord};
use crate::context::Context;
use crate::corrupt::corrupt;
use crate::download::nodes::NODE_BYTES_MAX;
use crate::download::roots::conflict_problem;
pub use complete::receipts_needed;
pub use error::CommitError;

/// Bytes of pages by which a commit without an upload may pass the quota, so that removing
/// something is possible when it is used up.
const REMOVAL_SLACK_BYTES: u64 = 64 << 20;

/// A commit whose hashes and signatures were checked as far as they can be without the store.
#[derive(Clone, Debug)]
pub struct CheckedCommit {
    root: SignedRoot,
    commit: Commit,
    receipts: SignedPage,
}

/// What became of a commit.
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// It counts, or counted already.
    Done {
        /// The answer.
        committed: Committed,
        /// Hosts that have new orders.
        poked: Vec<HostAlias>,
    },
    /// The root changed since it was read. Receipts were kept, nothing else.
    RootConflict {
        /// The current root; `None` where the volume has none.
        current: Option<RootRow>,
    },
}

impl CommitOutcome {
    /// The answer, or the problem that carries the current root.
    ///
    /// # Errors
    /// The `root_conflict` problem.
    pub fn into_answer(self) -> Result<Committed, Problem> {
        match self {
            Self::Done { committed, .. } => Ok(committed),
            Self::RootConflict { current } => Err(conflict_problem(current.as_ref())),
        }
    }
}

/// Checks limits, the hashes of pages and the signatures of receipts.
///
/// # Errors
/// [`CommitError`].
pub fn check(mut commit: Commit) -> Result<CheckedCommit, CommitError> {
    let lists = [
        ("uploads", commit.uploads.len(), UPLOADS_PER_COMMIT_MAX),
        ("pages", commit.nodes.len(), NODES_PER_PUT_MAX),
        (
            "pending pages",
            commit.pending.len(),
            NODE_CHANGES_PER_COMMIT_MAX,
        ),
        (
            "retired pages",
            commit.retired.len(),
            NODE_CHANGES_PER_COMMIT_MAX,
        ),
        (
            "blob changes",
            commit.blobs.len(),
            BLOB_CHANGES_PER_COMMIT_MAX,
        ),
    ];
    if let Some((list, len, max)) = lists.into_iter().find(|(_, len, max)| len > max) {
        return Err(CommitError::TooMany { list, len, max });
    }
    let mut named = BTreeSet::new();
    if let Some(upload) = commit.uploads.iter().find(|upload| !named.insert(**upload)) {
        return Err(CommitError::Twice { upload: *upload });
    }
    let wrong = |node: &&NodeBody| {
        node.body.0.len() > NODE_BYTES_MAX || sha256(&node.body.0) != node.hash.0
    };
    if let Some(node) = commit.nodes.iter().find(wrong) {
        return Err(CommitError::Page { hash: node.hash });
    }
    let root = SignedRoot::parse(&commit.root.0).map_err(CommitError::Root)?;
    let receipts = check_signatures(std::mem::take(&mut commit.receipts))?;
    Ok(CheckedCommit {
        root,
        commit,
        receipts,
    })
}

impl CheckedCommit {
    /// The volume whose root it puts in place, as the root says.
    #[must_use]
    pub const fn volume(&self) -> VolumeId {
        self.root.unverified().volume
    }

    /// How many uploads it ends.
    #[must_use]
    pub const fn uploads(&self) -> usize {
        self.commit.uploads.len()
    }
}

/// Makes `checked` the current root of `volume`, with all it adds and retires, and ends its uploads.
///
/// # Errors
/// [`CommitError`].
pub fn commit(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    volume: &VolumeId,
    checked: &CheckedCommit,
) -> Result<CommitOutcome, CommitError> {
    let root = verified(&*tx, account, &checked.root)?;
    expect_volume(volume, &root.volume)?;
    let committed = Committed {
        seq: root.lineage.seq(),
        hash: checked.root.hash(),
    };
    let before = tx.root_at(account, volume, committed.seq)?;
    if before.is_some_and(|before| before.hash == committed.hash) {
        return Ok(CommitOutcome::Done {
            committed,
            poked: Vec::new(),
        });
    }
    let mut uploads = Vec::with_capacity(checked.commit.uploads.len());
    for upload in &checked.commit.uploads {
        let open = find_open(&*tx, account, upload)?;
        expect_volume(volume, &open.volume)?;
        uploads.push((*upload, open));
    }
    take(tx, context, account, &mut uploads, &checked.receipts)?;
    let current = tx.current_root(account, volume)?;
    if !follows(root, current.as_ref())? {
        for (upload, open) in uploads {
            keep(tx, account, &upload, open)?;
        }
        return Ok(CommitOutcome::RootConflict { current });
    }
    let mut poked = Vec::new();
    for (upload, open) in &uploads {
        poked.extend(complete::resolve(tx, context, (account, upload), open)?);
    }
    change_nodes(tx, context, (account, !uploads.is_empty()), &checked.commit)?;
    for change in &checked.commit.blobs {
        let (references, live_bytes) = (change.references, change.live_bytes);
        let delta = ReferenceDelta {
            references,
            live_bytes,
        };
        tx.add_references(account, &change.blob, delta, context.now)?;
    }
    push(tx, context, account, (root, &checked.root), current)
        .map(|()| CommitOutcome::Done { committed, poked })
}

fn expect_volume(expected: &VolumeId, found: &VolumeId) -> Result<(), CommitError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (*found, *expected);
    Err(CommitError::OtherVolume { found, expected })
}

/// What the root says, where a device on the account's current list signed it.
fn verified<'a>(
    tx: &dyn Tx,
    account: &AccountId,
    root: &'a SignedRoot,
) -> Result<&'a Root, CommitError> {
    let row = tx
        .account(account)?
        .ok_or(CommitError::Account { account: *account })?;
    let devices =
        DeviceList::open(&row.device_list.bytes, account).map_err(CommitError::Devices)?;
    root.verify(&devices).map_err(CommitError::Signer)
}

/// Whether `root` comes directly after the current one.
fn follows(root: &Root, current: Option<&RootRow>) -> Result<bool, CommitError> {
    let Some(current) = current else {
        return Ok(root.lineage == Lineage::first());
    };
    let older = SignedRoot::parse(&current.bytes).map_err(CommitError::Root)?;
    Ok(root
        .lineage
        .follows(&older.unverified().lineage, current.hash))
}

fn keep(
    tx: &mut dyn Tx,
    account: &AccountId,
    upload: &UploadId,
    open: OpenUpload,
) -> Result<(), StoreError> {
    if let Some(row) = tx.upload(account, upload)? {
        tx.update_upload(&UploadRow {
            body: UploadRecord::Open(open).encode(),
            ..row
        })?;
    }
    Ok(())
}

/// Retires, adds and promotes pages.
fn change_nodes(
    tx: &mut dyn Tx,
    context: &Context,
    (account, uploads): (&AccountId, bool),
    commit: &Commit,
) -> Result<(), CommitError> {
    let before = tx.usage(account)?.node_bytes;
    tx.retire_nodes(account, &commit.retired, context.now)?;
    for node in &commit.nodes {
        tx.put_live_node(account, &node.hash, &node.body.0)?;
    }
    let missing = tx.commit_nodes(account, &commit.pending)?;
    if let Some(first) = missing.first() {
        return Err(CommitError::MissingPages {
            missing: missing.len(),
            first: *first,
        });
    }
    let usage = tx.usage(account)?;
    let slack = if uploads { 0 } else { REMOVAL_SLACK_BYTES };
    let (used, quota) = (occupied(&usage), context.policy.quota_bytes);
    if usage.node_bytes > before && used > quota.saturating_add(slack) {
        return Err(CommitError::Quota {
            needed: usage.node_bytes - before,
            used,
            quota,
        });
    }
    Ok(())
}

fn push(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    (root, signed): (&Root, &SignedRoot),
    current: Option<RootRow>,
) -> Result<(), CommitError> {
    let row = RootRow {
        seq: root.lineage.seq(),
        hash: signed.hash(),
        bytes: signed.bytes().to_vec(),
        time: context.now,
    };
    let prev = current.map(|current| current.hash);
    match tx.push_root(account, &root.volume, prev.as_ref(), &row) {
        Ok(()) => Ok(()),
        // Read in this very transaction a moment ago.
        Err(SwapError::Conflict { .. }) => Err(corrupt("roots", "seq").into()),
        Err(SwapError::Store(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
