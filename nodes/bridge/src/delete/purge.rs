//! Destroys before retention is over, on the word of the account's identity key.

use std::collections::BTreeSet;

use metastore::{BlobState, NodeState, StoreError, Tx};
use model::units::{AccountId, NodeHash, UnixMs};
use model::wire::api::{Purge, PurgeAnswer};
use model::wire::control::DeleteReason;
use model::wire::limits::{CLOCK_SKEW_MS_MAX, NODES_PER_GET_MAX, PURGE_ITEMS_MAX};
use model::wire::{Problem, ProblemCode, Signed, SignedError};

use super::erase::remove_blobs;
use crate::context::Context;
use crate::refusal::Refusal;

/// Why nothing was purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// There is no such account.
    #[error("account {account} does not exist")]
    Account {
        /// Its id.
        account: AccountId,
    },
    /// Not signed by the identity key.
    #[error("the purge is not signed by the identity key")]
    Signed(#[from] SignedError),
    /// For another account or Bridge.
    #[error("the purge is for another account or bridge")]
    Elsewhere,
    /// Its time is too far from the Bridge's.
    #[error("the clocks are {apart_ms} ms apart, limit {CLOCK_SKEW_MS_MAX}")]
    Clock {
        /// How far.
        apart_ms: u64,
    },
    /// Too much at once.
    #[error("{items} items in one purge, limit {PURGE_ITEMS_MAX}")]
    TooMany {
        /// How many.
        items: usize,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for PurgeError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::Account { .. } => ProblemCode::NotFound,
            Self::Signed(_) | Self::Elsewhere | Self::Clock { .. } => ProblemCode::Forbidden,
            Self::TooMany { .. } => ProblemCode::TooLarge,
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// Destroys the named blobs to which nothing refers, and the named pages that are retired.
/// Repeating it does no harm: what is gone is gone.
///
/// # Errors
/// [`PurgeError`].
pub fn purge(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    signed: &Signed<Purge>,
) -> Result<PurgeAnswer, PurgeError> {
    let row = tx
        .account(account)?
        .ok_or(PurgeError::Account { account: *account })?;
    let purge = signed.open(&row.identity_key)?;
    if purge.account != *account || purge.bridge != context.keys.id {
        return Err(PurgeError::Elsewhere);
    }
    let apart_ms = context.now.0.abs_diff(purge.at.0);
    if apart_ms > CLOCK_SKEW_MS_MAX {
        return Err(PurgeError::Clock { apart_ms });
    }
    let items = purge.blobs.len().max(purge.nodes.len());
    if items > PURGE_ITEMS_MAX {
        return Err(PurgeError::TooMany { items });
    }
    let mut answer = PurgeAnswer::default();
    let mut doomed = Vec::new();
    let named: BTreeSet<_> = purge.blobs.iter().collect();
    for blob in named {
        let Some(row) = tx.blob(account, blob)? else {
            continue;
        };
        match row.state {
            BlobState::Retired { .. } => doomed.push(row),
            BlobState::Live | BlobState::Pending => answer.blobs_in_use += 1,
        }
    }
    answer.blobs = remove_blobs(tx, context, account, (&doomed, DeleteReason::Purged))?;
    answer.nodes = destroy_nodes(tx, account, &purge.nodes)?;
    Ok(answer)
}

/// Removes those of the pages that are retired; live and pending ones stay.
fn destroy_nodes(
    tx: &mut dyn Tx,
    account: &AccountId,
    hashes: &[NodeHash],
) -> Result<u64, StoreError> {
    let mut destroyed = 0;
    for hashes in hashes.chunks(NODES_PER_GET_MAX) {
        let rows = tx.nodes(account, hashes)?.into_iter();
        let retired = rows.filter(|row| matches!(row.state, NodeState::Retired { .. }));
        let hashes: Vec<NodeHash> = retired.map(|row| row.hash).collect();
        // The store sweeps by age alone: these are made older than any other page can be.
        let oldest = UnixMs(0);
        tx.commit_nodes(account, &hashes)?;
        tx.retire_nodes(account, &hashes, oldest)?;
        let limit = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        destroyed += tx.sweep_nodes(oldest, oldest, limit)?.nodes;
    }
    Ok(destroyed)
}
