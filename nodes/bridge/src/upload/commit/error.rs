//! Why a commit is refused, and what the client is told.

use metastore::{ReferenceError, StoreError};
use model::codec::DecodeError;
use model::formats::device_list::DeviceListError;
use model::formats::root::RootError;
use model::units::{AccountId, BlobId, NodeHash, UploadId, VolumeId};
use model::wire::{Problem, ProblemCode};

use crate::download::nodes::NODE_BYTES_MAX;
use crate::refusal::{Refusal, internal};
use crate::upload::OpenUploadError;
use crate::upload::plan::quota_problem;
use crate::upload::receipts::ReceiptsError;

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
    /// An upload is named twice.
    #[error("upload {upload} is named twice")]
    Twice {
        /// Its id.
        upload: UploadId,
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
    /// The root, or an upload it ends, is of another volume than the commit.
    #[error("the root or an upload is of volume {found}, not {expected}")]
    OtherVolume {
        /// Its volume.
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
            Self::Root(_) | Self::OtherVolume { .. } | Self::Twice { .. } => {
                ProblemCode::BadRequest
            }
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
