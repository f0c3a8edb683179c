//! The commit: a new root with everything it adds and retires, in one transaction.
//!
//! Either all of it counts or nothing. Only the receipts that come with a commit stay where the
//! root had changed meanwhile, so that the blobs remain staged for the next try.

use metastore::{
    GroupRow, HostAlias, ReferenceDelta, ReferenceError, RootRow, StoreError, SwapError, Tx,
    UploadRow, UsageDelta,
};
use model::codec::DecodeError;
use model::crypto::sha256;
use model::formats::device_list::{DeviceList, DeviceListError};
use model::formats::root::{Lineage, Root, RootError, SignedRoot};
use model::units::{AccountId, BlobId, NodeHash, ShardId, UploadId, VolumeId};
use model::wire::api::{Commit, Committed, NodeBody};
use model::wire::control::DeleteReason;
use model::wire::limits::{
    BLOB_CHANGES_PER_COMMIT_MAX, NODE_CHANGES_PER_COMMIT_MAX, NODES_PER_PUT_MAX,
};
use model::wire::{Problem, ProblemCode};

use super::plan::{occupied, quota_problem, signed};
use super::receipts::{ReceiptsError, SignedPage, check_signatures, take};
use super::record::{OpenUpload, SlotKey, UploadRecord};
use super::{OpenUploadError, find_open};
use crate::account::usage::add_blob_bytes;
use crate::context::Context;
use crate::corrupt::corrupt;
use crate::download::nodes::NODE_BYTES_MAX;
use crate::download::roots::conflict_problem;
use crate::orders::Deletions;
use crate::refusal::{Refusal, internal};

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

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A list is above its limit.
    #[error("{len} {list} in one commit, limit {max}")]
    TooMany {
        /// Which list.
        list: &'static str,
        /// Its length.
        len: usize,
        /// Its limit.
        max: usize,
    },
    /// A page that does not hash to its name, or is too large.
    #[error("page {hash} does not hash to its name, or is above {NODE_BYTES_MAX} bytes")]
    Page {
        /// Its name.
        hash: NodeHash,
    },
    /// The root cannot be read.
    #[error("the root cannot be read")]
    Root(#[source] DecodeError),
    /// The root is of another volume than the commit.
    #[error("the root is of volume {found}, not {expected}")]
    OtherVolume {
        /// The root's volume.
        found: VolumeId,
        /// The volume committed to.
        expected: VolumeId,
    },
    /// The account is gone.
    #[error("account {account} does not exist")]
    Account {
        /// Its id.
        account: AccountId,
    },
    /// The account's device list cannot be read.
    #[error("the device list cannot be used")]
    Devices(#[source] DeviceListError),
    /// No device of the account signed the root.
    #[error("the root is not signed by a device of the account")]
    Signer(#[source] RootError),
    /// The upload is not open.
    #[error("the upload cannot be used")]
    Upload(#[from] OpenUploadError),
    /// The receipts were not taken.
    #[error("the receipts were not taken")]
    Receipts(#[from] ReceiptsError),
    /// A segment has too few receipts.
    #[error("segment {segment} of blob {blob} has {have} receipts, {needed} are needed")]
    TooFewReceipts {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// Receipts it has.
        have: u16,
        /// Receipts it needs.
        needed: u16,
    },
    /// Pages that were to be put before are not there.
    #[error("{missing} pages were not put before, {first} for one")]
    MissingPages {
        /// How many.
        missing: usize,
        /// One of them.
        first: NodeHash,
    },
    /// References cannot change like that.
    #[error("the references to a blob cannot change like that")]
    References(#[from] ReferenceError),
    /// The quota is used up.
    #[error("the pages need {needed} bytes, {used} of {quota} are used")]
    Quota {
        /// Bytes that pages added.
        needed: u64,
        /// Bytes in use with them.
        used: u64,
        /// The most.
        quota: u64,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for CommitError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::TooMany { .. } => ProblemCode::TooLarge,
            Self::Page { .. } => ProblemCode::HashMismatch,
            Self::Root(_) | Self::OtherVolume { .. } => ProblemCode::BadRequest,
            Self::Account { .. } | Self::MissingPages { .. } => ProblemCode::NotFound,
            Self::Signer(_) => ProblemCode::Forbidden,
            Self::TooFewReceipts {
                blob,
                segment,
                have,
                needed,
            } => {
                let facts = serde_json::json!({
                    "blob": blob, "segment": segment, "have": have, "needed": needed,
                });
                return Problem::new(ProblemCode::TooFewReceipts, self.to_string())
                    .with_facts(facts);
            }
            Self::References(error) => return reference_problem(error),
            Self::Quota {
                needed,
                used,
                quota,
            } => return quota_problem(*needed, *used, *quota),
            Self::Devices(_) => return internal(),
            Self::Upload(error) => return error.problem(),
            Self::Receipts(error) => return error.problem(),
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

fn reference_problem(error: &ReferenceError) -> Problem {
    let code = match error {
        ReferenceError::UnknownBlob { .. } => ProblemCode::NotFound,
        ReferenceError::Pending { .. } => ProblemCode::UploadState,
        ReferenceError::Negative { .. } => ProblemCode::Conflict,
        ReferenceError::Store(error) => return error.problem(),
    };
    Problem::new(code, error.to_string())
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

/// Where a commit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitTarget {
    /// It ends this upload.
    Upload(UploadId),
    /// Nothing was uploaded; the volume is named.
    Volume(VolumeId),
}

/// Makes `checked` the current root of its volume, with all it adds and retires.
///
/// # Errors
/// [`CommitError`].
pub fn commit(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    target: CommitTarget,
    checked: &CheckedCommit,
) -> Result<CommitOutcome, CommitError> {
    let root = verified(&*tx, account, &checked.root)?;
    let committed = Committed {
        seq: root.lineage.seq(),
        hash: checked.root.hash(),
    };
    let before = tx.root_at(account, &root.volume, committed.seq)?;
    if before.is_some_and(|before| before.hash == committed.hash) {
        return Ok(CommitOutcome::Done {
            committed,
            poked: Vec::new(),
        });
    }
    let mut upload = match target {
        CommitTarget::Upload(upload) => Some((upload, find_open(&*tx, account, &upload)?)),
        CommitTarget::Volume(_) => None,
    };
    let expected = match (&upload, target) {
        (Some((_, open)), _) => open.volume,
        (None, CommitTarget::Volume(volume)) => volume,
        (None, CommitTarget::Upload(upload)) => {
            return Err(OpenUploadError::NotOpen { upload }.into());
        }
    };
    if root.volume != expected {
        return Err(CommitError::OtherVolume {
            found: root.volume,
            expected,
        });
    }
    if let Some((_, open)) = &mut upload {
        take(tx, context, account, open, &checked.receipts)?;
    }
    let current = tx.current_root(account, &root.volume)?;
    if !follows(root, current.as_ref())? {
        if let Some((upload, open)) = upload {
            keep(tx, account, &upload, open)?;
        }
        return Ok(CommitOutcome::RootConflict { current });
    }
    let poked = match &upload {
        Some((upload, open)) => resolve(tx, context, (account, upload), open)?,
        None => Vec::new(),
    };
    change_nodes(tx, context, (account, upload.is_some()), &checked.commit)?;
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

/// Ends an upload whose segments are all stored: its blobs are committed, its reservation becomes
/// usage, and Hosts that stored in vain are told so.
fn resolve(
    tx: &mut dyn Tx,
    context: &Context,
    (account, upload): (&AccountId, &UploadId),
    open: &OpenUpload,
) -> Result<Vec<HostAlias>, CommitError> {
    let strays = check_complete(&*tx, context, account, open)?;
    tx.commit_blobs(account, upload, context.now)?;
    let usage = UsageDelta {
        stored_bytes: signed(open.stored_bytes()),
        reserved_bytes: -signed(open.reserved_bytes),
    };
    tx.add_usage(account, usage)?;
    let length = open
        .blobs
        .iter()
        .map(|planned| planned.shape.length())
        .sum();
    add_blob_bytes(tx, account, signed(length))?;
    tx.delete_upload(account, upload)?;
    Ok(strays.queue(tx, DeleteReason::NotCommitted, context.now)?)
}

/// Receipts a segment needs to be committed: k + ⌈(n − k) / 2⌉.
#[must_use]
pub const fn receipts_needed(k: u16, n: u16) -> u16 {
    k + (n - k).div_ceil(2)
}

/// Checks that every segment has enough receipts; gathers the Hosts that had a ticket and are
/// not the one that counts.
fn check_complete(
    tx: &dyn Tx,
    context: &Context,
    account: &AccountId,
    open: &OpenUpload,
) -> Result<Deletions, CommitError> {
    let mut strays = Deletions::default();
    for (at, planned) in (0..).zip(&open.blobs) {
        let (blob, segments) = (planned.blob, planned.shape.segments());
        let needed = receipts_needed(open.class.k(), open.class.n());
        let too_few = |segment, have| CommitError::TooFewReceipts {
            blob,
            segment,
            have,
            needed,
        };
        let mut next = 0;
        while next < segments {
            let rows = tx.groups(account, &blob, next..segments, GROUPS_PER_READ)?;
            let begins = rows.first().is_some_and(|row| row.key.first == next);
            if !begins {
                return Err(too_few(next, 0));
            }
            for row in &rows {
                if row.key.first != next {
                    break;
                }
                if let Some((segment, have)) = short_segment(row, needed) {
                    return Err(too_few(segment, have));
                }
                next += u64::from(row.group.segments());
                gather_strays(tx, context, (open, at, &blob), row, &mut strays)?;
            }
        }
    }
    Ok(strays)
}

/// The first segment of a group with fewer receipts than needed, and how many it has.
fn short_segment(row: &GroupRow, needed: u16) -> Option<(u64, u16)> {
    (0..row.group.segments()).find_map(|within| {
        let planned = row.group.shard_id(within, 0) == Some(ShardId::default());
        let stored = u16::try_from(row.group.hosts(within).flatten().count()).unwrap_or(u16::MAX);
        let have = if planned { 0 } else { stored };
        (have < needed).then(|| (row.key.first + u64::from(within), have))
    })
}

/// Hosts that had a ticket for a slot of the group and do not count in it.
fn gather_strays(
    tx: &dyn Tx,
    context: &Context,
    (open, at, blob): (&OpenUpload, u16, &BlobId),
    row: &GroupRow,
    strays: &mut Deletions,
) -> Result<(), StoreError> {
    let first = row.key.first;
    let slot = |segment| SlotKey {
        blob: at,
        segment,
        index: 0,
    };
    let group = slot(first)..slot(first + u64::from(row.group.segments()));
    for (slot, hosts) in open.moved.range(group) {
        let within = u16::try_from(slot.segment - first).unwrap_or(u16::MAX);
        let kept = row.group.host(within, slot.index);
        for host in hosts.iter().filter(|host| Some(**host) != kept) {
            strays.add(tx, &context.keys, (blob, slot.segment, slot.index), *host)?;
        }
    }
    Ok(())
}

/// Groups read at a time.
const GROUPS_PER_READ: u32 = 256;

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
