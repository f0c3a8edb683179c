//! Plans an upload: its class, its quota, and the first page of slots.

use std::collections::BTreeSet;

use metastore::{BlobRow, BlobState, StoreError, Tx, UploadRow, Usage, UsageDelta};
use model::formats::shape::{Class, ClassError, Shape, ShapeError};
use model::units::{AccountId, BlobId, UploadId};
use model::wire::api::UploadRequest;
use model::wire::limits::{BLOBS_PER_UPLOAD_MAX, UPLOAD_LIFETIME_MS};
use model::wire::{Problem, ProblemCode};
use rand_core::CryptoRng;

use super::record::{OpenUpload, PlannedBlob, UploadRecord};
use super::slots::{PlannedPage, SlotCursor, SlotsError, page};
use super::{OpenUploadError, find_open};
use crate::context::Context;
use crate::hosts::roster::TooFewHosts;
use crate::refusal::Refusal;

/// A planned upload, and the first page of its slots.
#[derive(Clone, Debug)]
pub struct PlannedUpload {
    /// Its id.
    pub upload: UploadId,
    /// What was planned.
    pub open: OpenUpload,
    /// The first slots.
    pub page: PlannedPage,
}

/// Why nothing was planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No blobs, or too many.
    #[error("{blobs} blobs in one upload, 1 to {BLOBS_PER_UPLOAD_MAX} are possible")]
    Blobs {
        /// How many.
        blobs: usize,
    },
    /// The class is out of bounds.
    #[error("the class is out of bounds")]
    Class(#[from] ClassError),
    /// A blob has a length it cannot have.
    #[error("blob {blob} cannot be cut")]
    Shape {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: ShapeError,
    },
    /// The id of a blob is taken, or named twice.
    #[error("the id of blob {blob} is taken")]
    Taken {
        /// The blob.
        blob: BlobId,
    },
    /// Too few Hosts are there to choose a class.
    #[error("too few hosts to choose a class")]
    Hosts(#[source] TooFewHosts),
    /// The owner's quota is used up.
    #[error("{needed} bytes are needed, {used} of {quota} are used")]
    Quota {
        /// Bytes the upload needs.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The most.
        quota: u64,
    },
    /// The same upload was planned before, and cannot be read.
    #[error("the upload that was planned before cannot be used")]
    Before(#[from] OpenUploadError),
    /// No slots.
    #[error("the slots could not be planned")]
    Slots(#[from] SlotsError),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for PlanError {
    fn problem(&self) -> Problem {
        match self {
            Self::Blobs { .. } | Self::Class(_) | Self::Shape { .. } => {
                Problem::new(ProblemCode::BadRequest, crate::refusal::chain(self))
            }
            Self::Taken { blob } => Problem::new(
                ProblemCode::Conflict,
                format!("the id of blob {blob} is taken; draw a fresh one"),
            ),
            Self::Hosts(source) => source.problem(),
            Self::Quota {
                needed,
                used,
                quota,
            } => quota_problem(*needed, *used, *quota),
            Self::Before(error) => error.problem(),
            Self::Slots(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Plans an upload of `account`. Repeating the request while its upload is open answers with the
/// same upload and the same Hosts.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    tx: &mut dyn Tx,
    context: &Context,
    rng: &mut dyn CryptoRng,
    account: &AccountId,
    request: &UploadRequest,
) -> Result<PlannedUpload, PlanError> {
    if request.blobs.is_empty() || request.blobs.len() > BLOBS_PER_UPLOAD_MAX {
        return Err(PlanError::Blobs {
            blobs: request.blobs.len(),
        });
    }
    let (upload, open) = match planned_before(&*tx, account, request)? {
        Some(before) => before,
        None => {
            let open = draft(context, request)?;
            let mut upload = UploadId([0; 16]);
            rng.fill_bytes(&mut upload.0);
            insert(tx, context, (account, &upload), &open)?;
            (upload, open)
        }
    };
    let page = page(tx, context, rng, (account, &open), SlotCursor::default())?;
    Ok(PlannedUpload { upload, open, page })
}

/// The open upload of the very same request, if there is one.
fn planned_before(
    tx: &dyn Tx,
    account: &AccountId,
    request: &UploadRequest,
) -> Result<Option<(UploadId, OpenUpload)>, PlanError> {
    let Some(first) = request.blobs.first() else {
        return Ok(None);
    };
    let Some(row) = tx.blob(account, &first.blob)? else {
        return Ok(None);
    };
    if row.state != BlobState::Pending {
        return Err(PlanError::Taken { blob: first.blob });
    }
    let open = find_open(tx, account, &row.upload)?;
    if is_of(&open, request) {
        return Ok(Some((row.upload, open)));
    }
    Err(PlanError::Taken { blob: first.blob })
}

fn is_of(open: &OpenUpload, request: &UploadRequest) -> bool {
    let class = open.class_asked.then_some(open.class);
    (open.volume, open.payer, class) == (request.volume, request.payer, request.class)
        && open.blobs.len() == request.blobs.len()
        && open
            .blobs
            .iter()
            .zip(&request.blobs)
            .all(|(planned, asked)| {
                (planned.blob, planned.shape.length(), planned.owner_tag)
                    == (asked.blob, asked.length, asked.owner_tag)
            })
}

fn draft(context: &Context, request: &UploadRequest) -> Result<OpenUpload, PlanError> {
    let class = match request.class {
        Some(class) => class.checked()?,
        None => context.roster.class().map_err(PlanError::Hosts)?,
    };
    let mut ids = BTreeSet::new();
    let mut blobs = Vec::with_capacity(request.blobs.len());
    for asked in &request.blobs {
        let blob = asked.blob;
        if !ids.insert(blob) {
            return Err(PlanError::Taken { blob });
        }
        let shape =
            Shape::new(asked.length, class).map_err(|source| PlanError::Shape { blob, source })?;
        blobs.push(PlannedBlob {
            blob,
            shape,
            owner_tag: asked.owner_tag,
        });
    }
    let mut open = OpenUpload {
        volume: request.volume,
        payer: request.payer,
        class_asked: request.class.is_some(),
        class,
        created: context.now,
        reserved_bytes: 0,
        blobs,
        moved: std::collections::BTreeMap::new(),
    };
    open.reserved_bytes = open.stored_bytes();
    Ok(open)
}

/// Reserves the quota and writes the upload with its blobs.
fn insert(
    tx: &mut dyn Tx,
    context: &Context,
    (account, upload): (&AccountId, &UploadId),
    open: &OpenUpload,
) -> Result<(), PlanError> {
    let (needed, quota) = (open.reserved_bytes, context.policy.quota_bytes);
    let used = occupied(&tx.usage(account)?);
    if used.saturating_add(needed) > quota {
        return Err(PlanError::Quota {
            needed,
            used,
            quota,
        });
    }
    tx.add_usage(
        account,
        UsageDelta {
            reserved_bytes: signed(needed),
            ..Default::default()
        },
    )?;
    for planned in &open.blobs {
        let row = blob_row(context, (account, upload), open.class, planned);
        if !tx.insert_blob(&row)? {
            return Err(PlanError::Taken { blob: planned.blob });
        }
    }
    let row = UploadRow {
        account: *account,
        upload: *upload,
        body: UploadRecord::Open(open.clone()).encode(),
        expires: context.now.plus_ms(UPLOAD_LIFETIME_MS),
    };
    // A random id that is taken is a generator that repeats itself.
    if !tx.insert_upload(&row)? {
        return Err(OpenUploadError::NotOpen { upload: *upload }.into());
    }
    Ok(())
}

fn blob_row(
    context: &Context,
    (account, upload): (&AccountId, &UploadId),
    class: Class,
    planned: &PlannedBlob,
) -> BlobRow {
    BlobRow {
        account: *account,
        blob: planned.blob,
        upload: *upload,
        length: planned.shape.length(),
        k: class.k(),
        n: class.n(),
        shard_size: planned.shape.shard_size(),
        segments: planned.shape.segments(),
        owner_tag: planned.owner_tag,
        created: context.now,
        references: 0,
        live_bytes: 0,
        state: BlobState::Pending,
    }
}

/// Bytes that count against the quota.
pub(crate) fn occupied(usage: &Usage) -> u64 {
    usage
        .stored_bytes
        .saturating_add(usage.reserved_bytes)
        .saturating_add(usage.node_bytes)
}

/// A number of bytes as a change of usage; the store refuses sums that leave their range.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(crate) fn quota_problem(needed: u64, used: u64, quota: u64) -> Problem {
    let detail = format!(
        "{needed} more bytes are needed, mirrors and parity counted; {used} of {quota} are used: \
         remove or purge something, or ask the operator for more"
    );
    let facts = serde_json::json!({ "needed": needed, "used": used, "quota": quota });
    Problem::new(ProblemCode::QuotaExceeded, detail).with_facts(facts)
}
