//! The roots of a volume: the current one and all before it.

use metastore::{RootRow, StoreError, Tx};
use model::units::{AccountId, VolumeId};
use model::wire::api::{RootAnswer, Roots};
use model::wire::limits::ROOTS_PER_PAGE_MAX;
use model::wire::{Base64, Problem, ProblemCode};

use crate::refusal::Refusal;

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The volume has no root yet.
    #[error("volume {volume} has no root yet")]
    None {
        /// The volume.
        volume: VolumeId,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for RootsError {
    fn problem(&self) -> Problem {
        match self {
            Self::None { .. } => Problem::new(ProblemCode::NotFound, self.to_string()),
            Self::Store(error) => error.problem(),
        }
    }
}

/// The current root.
///
/// # Errors
/// [`RootsError`].
pub fn current(
    tx: &dyn Tx,
    account: &AccountId,
    volume: &VolumeId,
) -> Result<RootAnswer, RootsError> {
    let row = tx.current_root(account, volume)?;
    row.map(answer).ok_or(RootsError::None { volume: *volume })
}

/// Up to `limit` roots numbered below `before`, newest first; all of them where it is `None`.
///
/// # Errors
/// [`RootsError::Store`].
pub fn before(
    tx: &dyn Tx,
    account: &AccountId,
    volume: &VolumeId,
    before: Option<u64>,
    limit: usize,
) -> Result<Roots, RootsError> {
    // The largest number that every engine's column holds.
    let before = before.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs());
    let limit = u32::try_from(limit.min(ROOTS_PER_PAGE_MAX)).unwrap_or(0);
    let rows = tx.roots_before(account, volume, before, limit)?;
    Ok(Roots {
        roots: rows.into_iter().map(answer).collect(),
    })
}

/// The problem of a commit whose predecessor is not the current root; it carries the current one.
pub(crate) fn conflict_problem(current: Option<&RootRow>) -> Problem {
    let detail = match current {
        Some(row) => format!("the current root is number {}; rebase on it", row.seq),
        None => "the volume has no root; begin with the first".to_owned(),
    };
    let facts = current
        .cloned()
        .map(answer)
        .and_then(|root| serde_json::to_value(root).ok());
    Problem::new(ProblemCode::RootConflict, detail).with_facts(facts.unwrap_or_default())
}

fn answer(row: RootRow) -> RootAnswer {
    RootAnswer {
        root: Base64(row.bytes),
        seq: row.seq,
        hash: row.hash,
    }
}
