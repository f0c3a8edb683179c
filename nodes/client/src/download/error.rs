//! Why a download did not succeed.

use std::io;
use std::ops::Range;

use model::formats::manifest::ManifestError;
use model::formats::shape::ShapeError;
use model::units::{BlobId, NodeHash, ShardId};

use crate::bridge_api::BridgeError;
use crate::transfer::{FailureKind, failures};

/// A download that did not succeed. What reached the sink before is verified plaintext.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The range does not lie in the blob.
    #[error("bytes {}..{} of blob {} cannot be read", range.start, range.end, blob.short())]
    Range {
        /// The blob.
        blob: BlobId,
        /// What was asked for.
        range: Range<u64>,
        /// Why.
        #[source]
        source: ShapeError,
    },
    /// The Bridge did not give pages of the manifest.
    #[error("the manifest of blob {} could not be fetched", blob.short())]
    FetchManifest {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The Bridge does not have a page of the manifest.
    #[error("page {} of the manifest of blob {} is missing", page.short(), blob.short())]
    NoManifest {
        /// The blob.
        blob: BlobId,
        /// The page.
        page: NodeHash,
    },
    /// A page of the manifest is not what was stored.
    #[error("the manifest of blob {} is refused", blob.short())]
    BadManifest {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The Bridge did not say where shards are.
    #[error("where the shards of blob {} are could not be learnt", blob.short())]
    FetchLayout {
        /// The blob.
        blob: BlobId,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The Bridge's layout does not fit the manifest.
    #[error("the bridge's layout of blob {} does not fit its manifest at segment {segment}", blob.short())]
    BadLayout {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// Too few good shards of a segment came.
    #[error(
        "segment {segment} of blob {}: {have} of {needed} needed shards came; {}",
        blob.short(), failures(hosts)
    )]
    TooFewShards {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// Good shards that came.
        have: u16,
        /// Shards that restore the segment.
        needed: u16,
        /// Whether so many shards are bad that the others cannot restore it.
        spoilt: bool,
        /// Hosts that did not give theirs, and why.
        hosts: Vec<(String, String)>,
    },
    /// Good shards do not add up to what the manifest says: it was stored wrongly.
    #[error("segment {segment} of blob {}: restored shard {} is not the manifest's", blob.short(), shard.short())]
    Inconsistent {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// The shard that was to be restored.
        shard: ShardId,
    },
    /// The plaintext could not be written.
    #[error("what was downloaded could not be written")]
    Sink(#[source] io::Error),
    /// A part of the download ended before its time, as when the program ends.
    #[error("the download was interrupted")]
    Interrupted,
}

impl DownloadError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Range { .. } => FailureKind::Refused,
            Self::FetchManifest { source, .. } | Self::FetchLayout { source, .. } => source.kind(),
            Self::NoManifest { .. }
            | Self::TooFewShards { spoilt: false, .. }
            | Self::Interrupted => FailureKind::Unavailable,
            Self::BadManifest { .. }
            | Self::BadLayout { .. }
            | Self::TooFewShards { spoilt: true, .. }
            | Self::Inconsistent { .. } => FailureKind::Integrity,
            Self::Sink(source) if source.kind() == io::ErrorKind::StorageFull => FailureKind::Quota,
            Self::Sink(_) => FailureKind::Local,
        }
    }
}
