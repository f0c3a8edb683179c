//! Why an upload did not succeed.

use model::formats::manifest::ManifestBuildError;
use model::formats::shape::{Class, ShapeError};
use model::units::BlobId;
use model::wire::ProblemCode;

use super::log::LogError;
use super::plan::PlanError;
use super::source::ReadError;
use crate::bridge_api::BridgeError;
use crate::transfer::{FailureKind, failures};

/// An upload that did not succeed; nothing of it will be seen.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The length of a blob is out of bounds.
    #[error("blob {} cannot be cut into segments", blob.short())]
    Shape {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: ShapeError,
    },
    /// The Bridge gave no plan.
    #[error("no places were given for the upload")]
    Plan(#[source] BridgeError),
    /// The Bridge's plan is not one to send anything by.
    #[error("the bridge's plan is refused")]
    BadPlan(#[source] PlanError),
    /// Content could not be read as announced. Start over, under new secrets.
    #[error("the content of blob {} could not be read", blob.short())]
    Read {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Parity could not be made.
    #[error("segment {segment} of blob {} could not be coded as {class}", blob.short())]
    Code {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// Its class.
        class: Class,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Content that was sent before reads differently now. Start over, under new secrets.
    #[error("segment {segment} of blob {} has changed since it was sent", blob.short())]
    OtherIds {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// The upload's journal cannot be kept, so nothing more may be sent.
    #[error("the journal of the upload could not be kept")]
    Log(#[from] LogError),
    /// Too few Hosts took shards of a segment.
    #[error(
        "segment {segment} of blob {}: {have} of {needed} needed shards are stored; {}",
        blob.short(), failures(hosts)
    )]
    TooFewHosts {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// Shards that Hosts signed receipts for.
        have: u16,
        /// Fewest shards that a segment may be stored with.
        needed: u16,
        /// Hosts that did not take theirs, and why.
        hosts: Vec<(String, String)>,
    },
    /// The Bridge did not take receipts.
    #[error("the bridge did not take the receipts")]
    Receipts(#[source] BridgeError),
    /// The manifest could not be made.
    #[error("the manifest of blob {} could not be made", blob.short())]
    Manifest {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: ManifestBuildError,
    },
    /// The Bridge did not take manifest pages.
    #[error("the bridge did not take the manifest")]
    Nodes(#[source] BridgeError),
    /// A part of the upload ended before its time, as when the program ends.
    #[error("the upload was interrupted")]
    Interrupted,
}

impl UploadError {
    /// Whether the upload may be gone on with later, as nothing is wrong with it as such.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        match self {
            Self::TooFewHosts { .. } | Self::Interrupted => true,
            Self::Plan(source) | Self::Receipts(source) | Self::Nodes(source) => {
                !ends_upload(source)
            }
            Self::Shape { .. }
            | Self::BadPlan(_)
            | Self::Read { .. }
            | Self::Code { .. }
            | Self::OtherIds { .. }
            | Self::Log(_)
            | Self::Manifest { .. } => false,
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Shape { .. } | Self::Code { .. } | Self::Manifest { .. } => FailureKind::Refused,
            Self::BadPlan(_) => FailureKind::Integrity,
            Self::Read { .. } | Self::OtherIds { .. } => FailureKind::Local,
            Self::Log(source) => source.kind(),
            Self::TooFewHosts { .. } | Self::Interrupted => FailureKind::Unavailable,
            Self::Plan(source) | Self::Receipts(source) | Self::Nodes(source) => source.kind(),
        }
    }
}

/// Whether the Bridge's answer says that an upload will never be, however often it is asked.
pub(crate) fn ends_upload(error: &BridgeError) -> bool {
    matches!(
        error.code(),
        Some(
            ProblemCode::UploadState
                | ProblemCode::NotFound
                | ProblemCode::Conflict
                | ProblemCode::BadRequest
                | ProblemCode::TooLarge
                | ProblemCode::ReceiptRefused
                | ProblemCode::TooFewReceipts
        )
    )
}
