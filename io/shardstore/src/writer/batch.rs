//! What the writer is asked to do, what waits to be made durable together, and what is answered.

use std::io;
use std::sync::Arc;

use model::units::ShardId;
use tokio::sync::oneshot;

use crate::log::LogError;
use crate::reader::ReadError;
use crate::record::{Header, Location};
use crate::space::Reservation;
use crate::store::{NewShard, RecordKey, Stored};

/// Most bytes of one batch before it is made durable; one record may go beyond.
pub(crate) const BATCH_BYTES_MAX: u32 = 1 << 24;
/// Most records of one batch.
const BATCH_RECORDS_MAX: usize = 256;
/// A record that could not be made durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The log cannot be appended to.
    #[error("cannot append to log {log}")]
    Append {
        /// The log.
        log: u32,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// What was appended cannot be made durable.
    #[error("cannot make log {log} durable")]
    Sync {
        /// The log.
        log: u32,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// A new log cannot be started.
    #[error("cannot start a new log")]
    Roll(#[source] Arc<LogError>),
    /// What is already stored cannot be looked up.
    #[error("cannot look up what is stored")]
    Lookup(#[source] Arc<ReadError>),
    /// An earlier write failed in a way that leaves the disk's state unknown.
    #[error("writes are refused since the disk failed; restart to recover")]
    Failed,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// A shard that was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutError {
    /// The serial is bound to another shard for good.
    #[error("the serial is bound to shard {bound}")]
    SerialBound {
        /// That shard.
        bound: ShardId,
    },
    /// The record could not be made durable.
    #[error("the record could not be written")]
    Write(#[from] WriteError),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, WriteError>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Put {
        shard: NewShard,
        room: Reservation,
        answer: oneshot::Sender<Result<Stored, PutError>>,
    },
    Remove {
        key: RecordKey,
        answer: Answer<bool>,
    },
    /// A record of compaction: it is written if what lies at `at` is still needed.
    Rewrite {
        header: Header,
        at: Location,
        bytes: Arc<[u8]>,
        answer: Answer<bool>,
    },
    /// All that is needed of `log` has been written anew.
    LetGo { log: u32, answer: Answer<bool> },
}

/// What to say, and to whom, once a record is durable.
pub(super) enum Waiting {
    Put {
        stored: Stored,
        room: Reservation,
        answer: oneshot::Sender<Result<Stored, PutError>>,
    },
    Flag(Answer<bool>),
}

impl Waiting {
    pub(super) fn answer(self, outcome: Result<(), WriteError>) {
        // Whoever asked may have gone away; the record is durable all the same.
        match self {
            Self::Put {
                stored,
                room,
                answer,
            } => {
                drop(room);
                answer
                    .send(outcome.map(|()| stored).map_err(PutError::from))
                    .ok();
            }
            Self::Flag(answer) => {
                answer.send(outcome.map(|()| true)).ok();
            }
        }
    }
}

pub(super) struct Staged {
    pub(super) header: Header,
    pub(super) at: Location,
    pub(super) waiting: Waiting,
}

/// Records appended and not yet durable. No two of them concern the same serial or shard.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) staged: Vec<Staged>,
    pub(super) bytes: u32,
}

impl Batch {
    pub(super) fn concerns(&self, key: RecordKey, shard: Option<ShardId>) -> bool {
        self.staged.iter().any(|Staged { header, .. }| {
            shard == Some(header.shard)
                || (header.serial == key.serial && header.bridge == key.bridge)
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.staged.len() >= BATCH_RECORDS_MAX
    }
}
