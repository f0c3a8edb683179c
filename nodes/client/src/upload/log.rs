//! What an upload writes down while it runs, so that another run can go on with it.
//!
//! The order is the promise: the ids of a segment's shards are durable before its first byte
//! leaves. Where they lie is the business of who keeps the log.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::codec::DecodeError;
use model::formats::journal::JournalSegment;
use model::units::{BlobId, ShardId};

use super::prepare::PreparedSegment;
use super::source::Ciphertext;
use crate::transfer::FailureKind;

/// A segment of an upload.
pub type LoggedSegment = (BlobId, u64);

/// Keeps what is known of an upload's segments.
pub trait SegmentLog: fmt::Debug + Send + Sync {
    /// Writes down the ids of a segment, of which nothing may leave before
    /// [`durable`](Self::durable) was awaited with the position that comes back. May block.
    ///
    /// # Errors
    /// [`LogError`].
    fn ids(&self, segment: LoggedSegment, ids: &[ShardId]) -> Result<LogPosition, LogError>;

    /// Waits until everything up to `position` survives a crash of the machine. Those who wait at
    /// the same time share the wait.
    fn durable(&self, position: LogPosition) -> BoxFuture<'_, Result<(), LogError>>;

    /// Notes that a segment is stored well enough, with a Host's receipt for each shard it has.
    /// Losing the note costs no more than asking the Hosts again.
    ///
    /// # Errors
    /// [`LogError`].
    fn stored(
        &self,
        segment: LoggedSegment,
        receipts: Vec<Option<Vec<u8>>>,
    ) -> Result<(), LogError>;

    /// Notes that the Bridge has the receipts of these segments.
    ///
    /// # Errors
    /// [`LogError`].
    fn handed_in(&self, segments: &[LoggedSegment]) -> Result<(), LogError>;

    /// Makes sure that nobody ever goes on with this upload; it may still come to its end. Blocks.
    ///
    /// # Errors
    /// [`LogError`]: then nothing more may be sent.
    fn give_up(&self) -> Result<(), LogError>;
}

/// Where in a log something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(pub u64);

/// A log, and what an earlier run left in it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The log.
    pub log: Arc<dyn SegmentLog>,
    /// Segments of which something may be at Hosts.
    pub known: BTreeMap<LoggedSegment, JournalSegment>,
}

/// A log that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// It would become something that is not read again.
    #[error("a record of the journal is out of bounds")]
    Record(#[from] DecodeError),
    /// A segment of another upload: a fault of the caller.
    #[error("blob {} is not of this upload", blob.short())]
    OtherUpload {
        /// The blob.
        blob: BlobId,
    },
}

impl LogError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                FailureKind::Quota
            }
            Self::Write { .. } | Self::Record(_) | Self::OtherUpload { .. } => FailureKind::Local,
        }
    }
}

/// Writes down a segment that was made just now. Where stand-ins are among its bytes, reading
/// again would not give them again, so the log is given up before they leave.
pub(super) fn write_down(
    log: &dyn SegmentLog,
    segment: &PreparedSegment,
    content: &dyn Ciphertext,
) -> Result<LogPosition, LogError> {
    if !content.is_sound() {
        log.give_up()?;
        return Ok(LogPosition::default());
    }
    if segment.sent_before {
        return Ok(LogPosition::default());
    }
    log.ids((segment.blob, segment.index), &segment.ids)
}
