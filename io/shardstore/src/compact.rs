//! Compaction: a log of which little is needed is written anew, record by record, and deleted.
//!
//! Every record that lives moves by one record that also ends the old one, so a crash at any
//! instant leaves it in exactly one place. Headers that say of records in other logs that they
//! are gone are carried over as tombstones, unless those logs are gone as well. Only then is the
//! log let go, by the rules of every dead log. A rewrite that breaks off begins again and finds
//! less to do.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::log::LogError;
use crate::reader::{ReadError, ShardReader};
use crate::record::{Header, Kind, Location};
use crate::recover::{Found, Scan};
use crate::store::Store;
use crate::writer::{Command, WriteError, wait_for};

/// A step ends after moving so many bytes …
const STEP_BYTES: u64 = 4 << 20;
/// … or looking at so many records.
const STEP_RECORDS: u32 = 4_096;
/// Also rewritten is a log of which less than this part is needed, however much of the rest has
/// been given back to the file system: files without content cost as well.
const HOLLOW_DIVISOR: u64 = 10;

/// A log worth rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseLog {
    /// Its number.
    pub log: u32,
    /// Bytes that a rewrite writes.
    pub live_bytes: u64,
    /// Bytes that it takes on the disk.
    pub disk_bytes: u64,
}

/// A log that could not be rewritten. What was moved stays moved.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// A record in it cannot be read.
    #[error("a record cannot be read")]
    Read(#[from] ReadError),
    /// A record cannot be written anew.
    #[error("a record cannot be moved")]
    Write(#[from] WriteError),
}

/// A log on its way to be rewritten.
#[derive(Debug)]
pub struct LogRewrite {
    scan: Scan,
    log: u32,
}

impl Store {
    /// The oldest log of which less than `live_percent` of what it takes on the disk is needed,
    /// or next to nothing of its length.
    ///
    /// # Errors
    /// [`LogError`] where a log cannot be measured.
    pub fn sparse_log(&self, live_percent: u8) -> Result<Option<SparseLog>, LogError> {
        let active = self
            .shared
            .files
            .list()?
            .last()
            .copied()
            .unwrap_or_default();
        let logs = self.shared.index().rewritable_logs(active);
        for (log, live_bytes) in logs {
            if self.shared.is_stuck(log) || self.shared.scrub.is_bad_log(log) {
                continue;
            }
            let disk_bytes = self.shared.files.allocated(log)?;
            let len = u64::from(self.shared.files.len(log)?);
            let sparse = live_bytes * 100 < disk_bytes * u64::from(live_percent);
            if sparse || live_bytes * HOLLOW_DIVISOR < len {
                return Ok(Some(SparseLog {
                    log,
                    live_bytes,
                    disk_bytes,
                }));
            }
        }
        Ok(None)
    }

    /// Begins to rewrite `sparse`; [`LogRewrite::step`] goes on.
    ///
    /// # Errors
    /// [`LogError`] where the log cannot be opened.
    pub fn rewrite(&self, sparse: SparseLog) -> Result<LogRewrite, LogError> {
        let log = sparse.log;
        Ok(LogRewrite {
            scan: Scan::of(&self.shared.files, self.shared.salt, log)?,
            log,
        })
    }
}

impl LogRewrite {
    /// Moves the next few megabytes of `store`, durably; `None` once the log is done with. Blocks,
    /// and must not be called on an async thread.
    ///
    /// # Errors
    /// [`CompactError`] where the disk fails or is full.
    pub fn step(&mut self, store: &Store) -> Result<Option<u64>, CompactError> {
        let (mut bytes, mut looked, mut answers) = (0, 0, Vec::new());
        let mut at_end = false;
        while bytes < STEP_BYTES && looked < STEP_RECORDS && !at_end {
            looked += 1;
            match self.scan.next()? {
                Some((Found::Record(header), at)) => {
                    for command in needed(store, &header, at)? {
                        bytes += u64::from(command.0.record_len());
                        answers.push(send(store, command)?);
                    }
                }
                Some((Found::Gap { .. }, _)) => {}
                None => at_end = true,
            }
        }
        for answer in answers {
            wait_for(answer)??;
        }
        if at_end && bytes == 0 {
            self.let_go(store)?;
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn let_go(&self, store: &Store) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        let log = self.log;
        store.submit_blocking(Command::LetGo { log, answer })?;
        if !wait_for(answered)?? {
            tracing::warn!(
                log,
                "log cannot be rewritten: something in it cannot be read"
            );
            store.shared.set_stuck(log);
        }
        Ok(())
    }
}

/// A record to be written: its header as it will be, where it was, and its bytes.
type Rewritten = (Header, Location, Vec<u8>);

/// What must be written anew because of the record at `at`.
fn needed(store: &Store, header: &Header, at: Location) -> Result<Vec<Rewritten>, CompactError> {
    let mut needed = Vec::new();
    let (lives, other_log) = {
        let index = store.shared.index();
        let ends = header.ends().map(|held| held.target.log);
        let other = ends.is_some_and(|log| log != at.log && index.logs.contains_key(&log));
        (index.holds_record(header, at), other)
    };
    if let Some(held) = header.ends().filter(|_| other_log) {
        let kind = Kind::Tombstone {
            target: held.target,
            bytes_at: held.bytes_at,
        };
        needed.push((Header { kind, ..*header }, at, Vec::new()));
    }
    match header.kind {
        Kind::Put { .. } if lives => {
            let file = store.shared.files.get(at.log)?;
            match ShardReader::new(file, at, header).read_verified() {
                Ok(bytes) => needed.push((header.moved_from(at), at, bytes)),
                Err(error) if store.is_there() => store.mark_bad(at, &error.to_string()),
                Err(_) => return Err(WriteError::Closed.into()),
            }
        }
        Kind::Reference { .. } if lives => {
            needed.push((header.moved_from(at), at, Vec::new()));
        }
        Kind::Put { .. } | Kind::Reference { .. } | Kind::Tombstone { .. } | Kind::Void => {}
    }
    Ok(needed)
}

fn send(
    store: &Store,
    (header, at, bytes): Rewritten,
) -> Result<oneshot::Receiver<Result<bool, WriteError>>, WriteError> {
    let (answer, answered) = oneshot::channel();
    store.submit_blocking(Command::Rewrite {
        header,
        at,
        bytes: Arc::from(bytes),
        answer,
    })?;
    Ok(answered)
}
