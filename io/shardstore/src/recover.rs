//! Brings a store back after a stop, a crash, a power cut or damage: replays the logs behind the
//! last checkpoint, cuts what was never finished, and reports what was lost. It never panics and
//! never gives up a readable record because of an unreadable neighbour.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint;
use crate::disk::File;
use crate::index::{Applied, Index};
use crate::log::{LOG_HEADER_LEN, LogError, LogFiles};
use crate::reader::ShardReader;
use crate::record::{HEADER_LEN, Header, Kind, Location, RECORD_ALIGN, RECORD_HEADER_BYTES, Salt};
use crate::writer::BATCH_BYTES_MAX;

/// Most places that a [`Recovery`] lists; the rest are only counted.
const DAMAGE_LISTED_MAX: usize = 1_000;
/// Bytes read at once while records are small, or while a damaged stretch is searched.
const READ_AHEAD_BYTES: u32 = 65_536;
/// Records within this distance of the end may belong to a batch that never became durable.
const TAIL_BYTES: u32 = 2 * BATCH_BYTES_MAX;

/// Where a replay without a checkpoint starts.
const FIRST: Location = Location {
    log: 0,
    offset: LOG_HEADER_LEN,
};

/// A store that cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A log cannot be read.
    #[error("a log cannot be read")]
    Log(#[from] LogError),
    /// The unfinished end of the last log cannot be cut off.
    #[error("cannot cut the unfinished end of log {log}")]
    Cut {
        /// The log.
        log: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A stretch of a log that holds nothing usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// No record could be read from `at` on; the next one starts `bytes` later.
    Unreadable {
        /// Where it starts.
        at: Location,
        /// How long it is.
        bytes: u32,
    },
    /// A reference to bytes that are lost.
    BytesMissing {
        /// Where the reference lies.
        at: Location,
    },
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether every log had to be read, for want of a checkpoint.
    pub rebuilt: bool,
    /// Records replayed.
    pub replayed: u64,
    /// Bytes cut from the end of the last log.
    pub cut_bytes: u32,
    /// Records whose bytes never reached the disk; none of them was acknowledged.
    pub unfinished: u64,
    /// Damaged places, the first 1,000 of them.
    pub damage: Vec<Damage>,
    /// How many damaged places there are.
    pub damaged: u64,
}

impl Recovery {
    fn report(&mut self, damage: Damage) {
        self.damaged += 1;
        if self.damage.len() < DAMAGE_LISTED_MAX {
            self.damage.push(damage);
        }
    }
}

/// A store brought back.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// Where the next record goes; `None` where there is no log at all.
    pub(crate) end: Option<Location>,
    pub(crate) recovery: Recovery,
}

/// Loads the last checkpoint, if one holds, and replays every record behind it.
///
/// `bad` are the places of shards that are known to have rotted: they were whole once.
pub(crate) fn recover(
    folder: &Path,
    files: &LogFiles,
    salt: &Salt,
    bad: &BTreeSet<Location>,
) -> Result<Recovered, RecoverError> {
    let mut blanked = 0;
    loop {
        let checkpoint = usable_checkpoint(folder, files, salt)?;
        let rebuilt = checkpoint.is_none();
        let (mut index, from) = checkpoint.unwrap_or_else(|| (Index::new(*salt), FIRST));
        let (end, mut recovery, tail) = replay(files, salt, &mut index, from)?;
        let mut unfinished = unfinished(files, &index, &tail);
        unfinished.retain(|(_, at)| !bad.contains(at));
        if unfinished.is_empty() {
            recovery.cut_bytes = end.map_or(Ok(0), |end| cut(files, end))?;
            recovery.unfinished = blanked;
            recovery.rebuilt = rebuilt && recovery.replayed > 0;
            return Ok(Recovered {
                index,
                end,
                recovery,
            });
        }
        blank_out(files, salt, &unfinished)?;
        blanked += unfinished.len() as u64;
    }
}

/// The checkpoint, if the logs it speaks of are all there. Logs older than it that it does not
/// name were dead when it was written; a crash kept them from being deleted.
fn usable_checkpoint(
    folder: &Path,
    files: &LogFiles,
    salt: &Salt,
) -> Result<Option<(Index, Location)>, RecoverError> {
    let Some((index, end)) = checkpoint::read(folder, salt) else {
        return Ok(None);
    };
    let present: BTreeSet<u32> = files.list()?.into_iter().collect();
    let whole = present.contains(&end.log) && files.len(end.log)? >= end.offset;
    if !whole || index.logs.keys().any(|log| !present.contains(log)) {
        tracing::warn!("index checkpoint does not fit the logs; they are read instead");
        return Ok(None);
    }
    for log in present
        .range(..end.log)
        .filter(|log| !index.logs.contains_key(log))
    {
        files
            .delete(*log)
            .map_err(|source| LogError::Open { log: *log, source })?;
    }
    Ok(Some((index, end)))
}

type Tail = VecDeque<(Header, Location)>;

fn replay(
    files: &LogFiles,
    salt: &Salt,
    index: &mut Index,
    from: Location,
) -> Result<(Option<Location>, Recovery, Tail), RecoverError> {
    let (mut recovery, mut tail, mut end) = (Recovery::default(), Tail::new(), None);
    // References whose bytes are gone, and which nothing has ended yet.
    let mut without_bytes = BTreeSet::new();
    for log in files.list()?.into_iter().filter(|log| *log >= from.log) {
        tail.clear();
        if !files.header_holds(log, &*files.get(log)?) {
            tracing::warn!(log, "log header damaged");
        }
        index.logs.entry(log).or_default();
        let start = if log == from.log {
            from.offset
        } else {
            LOG_HEADER_LEN
        };
        let mut scan = Scan {
            at: start,
            ..Scan::of(files, *salt, log)?
        };
        let mut valid_until = start;
        while let Some((found, at)) = scan.next()? {
            match found {
                Found::Record(header) => {
                    recovery.replayed += 1;
                    valid_until = at.offset + header.record_len();
                    if let Some(held) = header.ends() {
                        without_bytes.remove(&held.target);
                    }
                    if index.apply(&header, at) == Applied::BytesMissing {
                        without_bytes.insert(at);
                    }
                    remember(&mut tail, &header, at);
                }
                Found::Gap { bytes } => recovery.report(Damage::Unreadable { at, bytes }),
            }
        }
        end = Some(Location {
            log,
            offset: valid_until,
        });
    }
    for at in without_bytes {
        recovery.report(Damage::BytesMissing { at });
    }
    Ok((end, recovery, tail))
}

fn remember(tail: &mut Tail, header: &Header, at: Location) {
    while tail
        .front()
        .is_some_and(|(_, first)| first.offset + TAIL_BYTES < at.offset)
    {
        tail.pop_front();
    }
    if matches!(header.kind, Kind::Put { .. }) {
        tail.push_back((*header, at));
    }
}

/// Live records near the end whose bytes are not what their header says: a header can reach the
/// disk before the bytes behind it, and then the power fails.
fn unfinished(files: &LogFiles, index: &Index, tail: &Tail) -> Vec<(Header, Location)> {
    let broken = |(header, at): &&(Header, Location)| {
        index.holds_bytes(&header.shard, *at)
            && files
                .get(at.log)
                .is_ok_and(|file| ShardReader::new(file, *at, header).read_verified().is_err())
    };
    tail.iter().filter(broken).copied().collect()
}

/// Overwrites the headers of broken records, keeping their lengths, so that no later rebuild can
/// take them for shards.
fn blank_out(
    files: &LogFiles,
    salt: &Salt,
    broken: &[(Header, Location)],
) -> Result<(), RecoverError> {
    let Some((_, Location { log, .. })) = broken.first() else {
        return Ok(());
    };
    let (log, file) = (*log, files.get(*log)?);
    tracing::warn!(
        log,
        records = broken.len(),
        "unfinished records blanked out"
    );
    let blank = |(header, at): &(Header, Location)| {
        let void = Header {
            kind: Kind::Void,
            ..*header
        };
        file.write_all_at(&void.encode(salt, *at), u64::from(at.offset))
    };
    broken
        .iter()
        .try_for_each(blank)
        .and_then(|()| file.sync_data())
        .map_err(|source| RecoverError::Cut { log, source })
}

/// Cuts the last log behind its last whole record; a log without a whole file header gets one.
fn cut(files: &LogFiles, end: Location) -> Result<u32, RecoverError> {
    let log = end.log;
    let len = files.len(log)?;
    if len < LOG_HEADER_LEN {
        files.create(log)?;
        return Ok(len);
    }
    if len <= end.offset {
        return Ok(0);
    }
    let file = files.get(log)?;
    file.set_len(u64::from(end.offset))
        .and_then(|()| file.sync_all())
        .map_err(|source| RecoverError::Cut { log, source })?;
    tracing::warn!(
        log,
        bytes = len - end.offset,
        "unfinished end of log cut off"
    );
    Ok(len - end.offset)
}

/// What a walk over a log comes to.
pub(crate) enum Found {
    Record(Header),
    /// Nothing readable for so many bytes.
    Gap {
        bytes: u32,
    },
}

/// Walks over the records of one log.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<File>,
    salt: Salt,
    log: u32,
    at: u32,
    end: u32,
    ahead: Vec<u8>,
    ahead_at: u32,
}

impl Scan {
    /// From the first record of `log` on.
    pub(crate) fn of(files: &LogFiles, salt: Salt, log: u32) -> Result<Self, LogError> {
        Ok(Self {
            file: files.get(log)?,
            salt,
            log,
            at: LOG_HEADER_LEN,
            end: files.len(log)?,
            ahead: Vec::new(),
            ahead_at: 0,
        })
    }

    /// The next record, or the gap before it; `None` at the end or where nothing follows.
    pub(crate) fn next(&mut self) -> Result<Option<(Found, Location)>, LogError> {
        let at = Location {
            log: self.log,
            offset: self.at,
        };
        if let Some(header) = self.header_at(self.at)? {
            self.at += header.record_len();
            return Ok(Some((Found::Record(header), at)));
        }
        let mut next = self.at.saturating_add(RECORD_ALIGN);
        while next < self.end {
            if self.header_at(next)?.is_some() {
                let bytes = next - self.at;
                self.at = next;
                return Ok(Some((Found::Gap { bytes }, at)));
            }
            next += RECORD_ALIGN;
        }
        Ok(None)
    }

    /// The header at `offset`, if one is there and its record lies wholly within the log.
    fn header_at(&mut self, offset: u32) -> Result<Option<Header>, LogError> {
        let at = Location {
            log: self.log,
            offset,
        };
        if self.end.saturating_sub(offset) < HEADER_LEN {
            return Ok(None);
        }
        let salt = self.salt;
        let header = Header::decode(&salt, at, self.bytes_at(offset)?);
        Ok(header.filter(|header| header.record_len() <= self.end - offset))
    }

    /// The header's bytes at `offset`; the caller has checked that the log is that long.
    fn bytes_at(&mut self, offset: u32) -> Result<&[u8], LogError> {
        let inside = |scan: &Self| {
            let start = offset.checked_sub(scan.ahead_at)? as usize;
            (scan.ahead.len() >= start + RECORD_HEADER_BYTES).then_some(start)
        };
        if inside(self).is_none() {
            self.read_ahead(offset)?;
        }
        let start = inside(self).unwrap_or_default();
        Ok(self
            .ahead
            .get(start..start + RECORD_HEADER_BYTES)
            .unwrap_or_default())
    }

    /// Reads one header after a large record, and a stretch where small ones follow each other.
    fn read_ahead(&mut self, offset: u32) -> Result<(), LogError> {
        let near = offset < self.ahead_at.saturating_add(READ_AHEAD_BYTES);
        let wanted = if near { READ_AHEAD_BYTES } else { HEADER_LEN };
        let len = wanted.min(self.end - offset);
        self.ahead.resize(len as usize, 0);
        self.ahead_at = offset;
        let read = self.file.read_exact_at(&mut self.ahead, u64::from(offset));
        read.map_err(|source| LogError::Read {
            log: self.log,
            source,
        })
    }
}
