//! Proofs: asks Hosts whether they still have an owner's shards, without moving the shards.
//!
//! Each Host is asked for one leaf, drawn at random when it is asked, of the shard that the
//! owner's manifest names ([`ask`]). Its signed answer, the leaf and the path must lead to that
//! id. The Bridge only says where to ask ([`blob`]); where it names another shard than the
//! manifest, that is a failure by itself.
//!
//! What is absent: belief in anybody's word. A shard that was not proved is not counted as there.

mod ask;
mod blob;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::units::{BlobId, HostId, ShardId};
use model::wire::api::{Report, Sighting};
use tasks::time::Instant;
use tokio::sync::Semaphore;

use crate::bridge_api::BridgeError;
use crate::download::DownloadError;
use crate::transfer::{FailureKind, Transfer};
pub(crate) use blob::{BlobEvent, BlobJob};

/// Hosts asked at a time, over all blobs; each answer takes at most 160 KiB.
const ASKED_AT_A_TIME: usize = 64;
/// A Host that could not be reached is not tried again for this long.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Which leaves of a shard are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// One, drawn at random for each shard.
    One,
    /// Every one: as much is read at the Host and moved as by a download.
    All,
}

/// What asking for a shard came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its Host proved that it is there.
    Proved,
    /// Its Host answered, and the answer shows that it is not.
    Failed(Failing),
    /// Its Host could not be asked, or cannot tell now; why.
    Unreachable(String),
    /// No Host has it.
    Nowhere,
}

/// How a proof failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The Host says that it does not have the shard.
    Missing,
    /// The Host says that its bytes have rotted.
    Rotten,
    /// The leaf does not lead to the shard's id.
    WrongLeaf,
    /// What came is no answer to the question, or not signed by the Host.
    NoProof,
    /// The Bridge names another shard here than the owner's manifest.
    OtherShard,
}

impl Failing {
    /// What the Bridge is told of the Host; `None` where it is not the Host's doing.
    const fn sighting(self) -> Option<Sighting> {
        match self {
            Self::Missing => Some(Sighting::Missing),
            Self::Rotten | Self::WrongLeaf | Self::NoProof => Some(Sighting::BadShard),
            Self::OtherShard => None,
        }
    }

    /// Its name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Rotten => "rotten",
            Self::WrongLeaf => "wrong_leaf",
            Self::NoProof => "no_proof",
            Self::OtherShard => "other_shard",
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the host does not have it",
            Self::Rotten => "the host's copy has rotted",
            Self::WrongLeaf => "the host proved other bytes",
            Self::NoProof => "the host's answer proves nothing",
            Self::OtherShard => "the bridge names another shard than the manifest",
        })
    }
}

/// A Host, as it is named to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedHost {
    /// Its key.
    pub id: HostId,
    /// Its name.
    pub name: String,
}

/// What asking for one shard came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAudit {
    /// Its place in the segment.
    pub index: u16,
    /// Its id by the owner's manifest.
    pub shard: ShardId,
    /// Who was asked; `None` where no Host has it.
    pub host: Option<AskedHost>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What asking for the shards of a segment came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentAudit {
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// Shards that restore it.
    pub k: u16,
    /// Shards proved.
    pub proved: u16,
    /// The others.
    pub unproved: Vec<ShardAudit>,
}

/// How a segment stands, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Every shard is proved.
    #[default]
    Whole,
    /// Enough are proved, and no proof failed.
    Enough,
    /// Enough are proved, though a proof failed.
    Damaged,
    /// Too few are proved, while Hosts that would make up for it could not be asked.
    Unavailable,
    /// Too few are there, whoever else answers.
    Lost,
}

impl SegmentAudit {
    /// How the segment stands.
    #[must_use]
    pub fn grade(&self) -> Grade {
        let count = |is: fn(&Verdict) -> bool| {
            let found = self.unproved.iter().filter(|shard| is(&shard.verdict));
            u16::try_from(found.count()).unwrap_or(u16::MAX)
        };
        let unreachable = count(|verdict| matches!(verdict, Verdict::Unreachable(_)));
        let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
        if self.proved.saturating_add(unreachable) < self.k {
            Grade::Lost
        } else if self.proved < self.k {
            Grade::Unavailable
        } else if failed > 0 {
            Grade::Damaged
        } else if self.unproved.is_empty() {
            Grade::Whole
        } else {
            Grade::Enough
        }
    }

    /// What the Bridge should hear.
    pub(crate) fn reports(&self) -> impl Iterator<Item = Report> + '_ {
        self.unproved.iter().filter_map(|shard| {
            let Verdict::Failed(failing) = &shard.verdict else {
                return None;
            };
            Some(Report {
                host: shard.host.as_ref()?.id,
                saw: failing.sighting()?,
                shard: Some(shard.shard),
                blob: Some(self.blob),
                segment: Some(self.segment),
                index: Some(shard.index),
            })
        })
    }
}

/// A blob that could not be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The manifest cannot be had, or the range is not in the blob.
    #[error(transparent)]
    Manifest(#[from] DownloadError),
    /// The Bridge does not say whom to ask.
    #[error("whom to ask for proofs of blob {} could not be learnt", blob.short())]
    Layout {
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
    /// The Bridge gives no tickets for audits.
    #[error("the bridge is of an older version and arranges no proofs; it needs an update")]
    OldBridge,
    /// A part of it ended before its time, as when the program ends.
    #[error("the audit was interrupted")]
    Interrupted,
}

impl AuditError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Manifest(source) => source.kind(),
            Self::Layout { source, .. } => source.kind(),
            Self::BadLayout { .. } => FailureKind::Integrity,
            Self::OldBridge => FailureKind::Refused,
            Self::Interrupted => FailureKind::Local,
        }
    }
}

/// Asks for proofs. A clone shares the limit of Hosts asked at a time, and who is silent.
#[derive(Clone, Debug)]
pub(crate) struct Auditor {
    transfer: Transfer,
    leaves: Leaves,
    turns: Arc<Semaphore>,
    silent: Arc<Mutex<BTreeMap<HostId, Instant>>>,
}

impl Auditor {
    pub(crate) fn new(transfer: Transfer, leaves: Leaves) -> Self {
        Self {
            transfer,
            leaves,
            turns: Arc::new(Semaphore::new(ASKED_AT_A_TIME)),
            silent: Arc::default(),
        }
    }

    /// Whether the Host could not be reached a moment ago.
    fn is_silent(&self, host: &HostId) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent
            .get(host)
            .is_some_and(|since| since.elapsed() < SILENT_FOR)
    }

    fn note_silent(&self, host: HostId) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.insert(host, Instant::now());
    }
}

#[cfg(test)]
mod tests;
