//! The writer thread: the only code that appends. It takes what is waiting, appends it all, makes
//! it durable with one `fdatasync`, applies it to the index, and only then answers.
//!
//! A failed append is cut off again and the store goes on (a full disk is a normal day). A failed
//! sync or cut leaves the disk's state unknown: from then on every write is refused until the
//! store is opened again and has looked at what is there.

mod batch;
mod desk;
mod rewrite;

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use batch::{Answer, Batch, Staged, Waiting};
pub(crate) use batch::{BATCH_BYTES_MAX, Command};
pub use batch::{PutError, WriteError};
pub(crate) use desk::{Desk, WRITES_QUEUED_MAX, wait_for};

use crate::checkpoint::{self, CheckpointError};
use crate::disk::File;
use crate::index::{Applied, LogPins};
use crate::log::{LOG_BYTES_MAX, LOG_HEADER_LEN, LogError};
use crate::record::{HEADER_LEN, Header, Held, Kind, Location};
use crate::space::Reservation;
use crate::store::{NewShard, RecordKey, Shared, Stored};

/// Shards up to this size are gathered into one write.
const GATHER_SHARD_BYTES_MAX: usize = 65_536;
/// Most bytes gathered before they are written.
const GATHER_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: u32,
    file: Arc<File>,
    /// End of the last durable record.
    durable_len: u32,
    /// End of the last appended record, gathered ones included.
    len: u32,
    /// Where the next write goes.
    written_len: u64,
    /// Bytes between `written_len` and `len`.
    gathered: Vec<u8>,
    /// Whether a log may have died since the last look.
    look_for_dead: bool,
    failed: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, end: Option<Location>) -> Result<Self, LogError> {
        let (log, len, file) = match end {
            Some(end) => (end.log, end.offset, shared.files.get(end.log)?),
            None => (1, LOG_HEADER_LEN, shared.files.create(1)?),
        };
        shared.index_mut().logs.entry(log).or_default();
        Ok(Self {
            shared,
            log,
            file,
            durable_len: len,
            len,
            written_len: u64::from(len),
            gathered: Vec::new(),
            look_for_dead: true,
            failed: false,
        })
    }

    /// Serves commands until every sender is gone, then leaves a checkpoint.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            self.serve(first, || commands.try_recv().ok());
        }
        self.close();
    }

    /// Serves `first` and what else is waiting, as one batch if it fits.
    fn serve(&mut self, first: Command, mut waiting: impl FnMut() -> Option<Command>) {
        let mut batch = Batch::default();
        self.stage(first, &mut batch);
        while !batch.is_full() {
            let Some(next) = waiting() else { break };
            self.stage(next, &mut batch);
        }
        self.flush(&mut batch);
        self.reclaim();
    }

    /// Leaves what makes the next start a fast one.
    fn close(&self) {
        if self.shared.is_abandoned() {
            return;
        }
        self.shared.write_scrub();
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, "no checkpoint at close; the next start reads the logs");
        }
    }

    fn stage(&mut self, command: Command, batch: &mut Batch) {
        let (key, shard) = match &command {
            Command::Put { shard, .. } => (shard.key, Some(shard.id)),
            Command::Remove { key, .. } => (*key, None),
            Command::Rewrite { header, .. } => (header.key(), Some(header.shard)),
            Command::LetGo { .. } => return self.stage_let_go(command, batch),
        };
        // What is staged is not in the index yet, so nothing that concerns it can be decided.
        if batch.concerns(key, shard) {
            self.flush(batch);
        }
        match command {
            Command::Put {
                shard,
                room,
                answer,
            } => self.stage_put(&shard, room, answer, batch),
            Command::Remove { key, answer } => self.stage_remove(key, answer, batch),
            Command::Rewrite {
                header,
                at,
                bytes,
                answer,
            } => self.stage_rewrite((header, at), &bytes, answer, batch),
            Command::LetGo { .. } => {}
        }
    }

    /// After everything before it is durable, lets a log go.
    fn stage_let_go(&mut self, command: Command, batch: &mut Batch) {
        self.flush(batch);
        if let Command::LetGo { log, answer } = command {
            answer.send(Ok(self.let_go(log))).ok();
        }
    }

    fn stage_put(
        &mut self,
        shard: &NewShard,
        room: Reservation,
        answer: oneshot::Sender<Result<Stored, PutError>>,
        batch: &mut Batch,
    ) {
        let header = match self.plan_put(shard) {
            Ok(Planned::Write(header)) => header,
            Ok(Planned::Already(stored)) => {
                answer.send(Ok(stored)).ok();
                return;
            }
            Err(error) => {
                answer.send(Err(error)).ok();
                return;
            }
        };
        let stored = Stored {
            created: header.created,
            shard_bytes: header.shard_bytes,
            new: true,
        };
        let waiting = Waiting::Put {
            stored,
            room,
            answer,
        };
        self.append(header, shard.bytes(), waiting, batch);
    }

    fn plan_put(&self, shard: &NewShard) -> Result<Planned, PutError> {
        let lookup = |error| WriteError::Lookup(Arc::new(error));
        let mut created = shard.created;
        let mut rotten = None;
        if let Some((found, at)) = self.shared.find_record(shard.key).map_err(lookup)? {
            if found.shard != shard.id {
                return Err(PutError::SerialBound { bound: found.shard });
            }
            let held = found.held(at);
            created = found.created;
            if !self.shared.scrub.is_bad(held.bytes_at) {
                return Ok(Planned::Already(Stored {
                    created,
                    shard_bytes: found.shard_bytes,
                    new: false,
                }));
            }
            rotten = Some(held);
        }
        let kind = match self.shared.find_bytes(&shard.id).map_err(lookup)? {
            Some((_, bytes_at)) if rotten.is_none() => Kind::Reference {
                bytes_at,
                replaces: None,
            },
            Some(_) | None => Kind::Put { replaces: rotten },
        };
        Ok(Planned::Write(Header {
            kind,
            bridge: shard.key.bridge,
            serial: shard.key.serial,
            shard: shard.id,
            owner: shard.owner,
            shard_bytes: shard.size().bytes(),
            created,
        }))
    }

    fn stage_remove(&mut self, key: RecordKey, answer: Answer<bool>, batch: &mut Batch) {
        let planned = self.target(key).map(|target| {
            let (found, at) = target?;
            let Held { target, bytes_at } = found.held(at);
            let kind = Kind::Tombstone { target, bytes_at };
            Some(Header { kind, ..found })
        });
        self.append_flag(planned, answer, batch);
    }

    fn target(&self, key: RecordKey) -> Result<Option<(Header, Location)>, WriteError> {
        self.shared
            .find_record(key)
            .map_err(|error| WriteError::Lookup(Arc::new(error)))
    }

    fn append_flag(
        &mut self,
        planned: Result<Option<Header>, WriteError>,
        answer: Answer<bool>,
        batch: &mut Batch,
    ) {
        match planned {
            Ok(Some(header)) => self.append(header, &[], Waiting::Flag(answer), batch),
            Ok(None) => {
                answer.send(Ok(false)).ok();
            }
            Err(error) => {
                answer.send(Err(error)).ok();
            }
        }
    }

    fn append(&mut self, header: Header, body: &[u8], waiting: Waiting, batch: &mut Batch) {
        let body = if header.body_len() == 0 { &[] } else { body };
        if let Err(error) = self.make_room(header.record_len(), batch) {
            waiting.answer(Err(error));
            return;
        }
        let at = Location {
            log: self.log,
            offset: self.len,
        };
        let written = self.gather(&header.encode(&self.shared.salt, at), body);
        self.len += header.record_len();
        batch.bytes += header.record_len();
        batch.staged.push(Staged {
            header,
            at,
            waiting,
        });
        if let Err(error) = written {
            self.give_up(batch, &self.append_error(error));
        }
    }

    /// Makes sure that the log takes another `record_len` bytes, starting a new one if need be.
    fn make_room(&mut self, record_len: u32, batch: &mut Batch) -> Result<(), WriteError> {
        if self.failed {
            return Err(WriteError::Failed);
        }
        if self.len + record_len <= self.shared.log_bytes_max {
            return Ok(());
        }
        self.flush(batch);
        self.roll().map_err(roll_error)
    }

    fn roll(&mut self) -> Result<(), LogError> {
        let log = self.log + 1;
        self.file = self.shared.files.create(log)?;
        self.shared.index_mut().logs.entry(log).or_default();
        self.shared.space.grow(u64::from(LOG_HEADER_LEN));
        (self.log, self.durable_len, self.len) = (log, LOG_HEADER_LEN, LOG_HEADER_LEN);
        self.written_len = u64::from(LOG_HEADER_LEN);
        self.look_for_dead = true;
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, "no checkpoint; a crash now means a longer start");
        }
        Ok(())
    }

    /// Takes the next record; small ones wait in memory until they make one large write.
    fn gather(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(header);
        if body.len() > GATHER_SHARD_BYTES_MAX {
            self.write_gathered()?;
            return self.write(body);
        }
        self.gathered.extend_from_slice(body);
        if self.gathered.len() > GATHER_BYTES_MAX {
            self.write_gathered()
        } else {
            Ok(())
        }
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = self.write(&gathered);
        gathered.clear();
        self.gathered = gathered;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written_len)?;
        self.written_len += bytes.len() as u64;
        Ok(())
    }

    /// Makes the batch durable, applies it and answers everybody.
    fn flush(&mut self, batch: &mut Batch) {
        if batch.staged.is_empty() {
            return;
        }
        if let Err(error) = self.write_gathered() {
            let error = self.append_error(error);
            return self.give_up(batch, &error);
        }
        if let Err(source) = self.file.sync_data() {
            self.fail();
            let (log, source) = (self.log, Arc::new(source));
            tracing::error!(log, error = %source, "log cannot be made durable; writes stop");
            return self.give_up(batch, &WriteError::Sync { log, source });
        }
        self.shared
            .space
            .grow(u64::from(self.len - self.durable_len));
        self.durable_len = self.len;
        let staged = std::mem::take(batch).staged;
        let freed = self.apply(&staged);
        freed
            .iter()
            .for_each(|(at, _)| self.shared.scrub.forget(*at));
        staged
            .into_iter()
            .for_each(|staged| staged.waiting.answer(Ok(())));
        for (at, shard_bytes) in freed {
            let bytes = Location {
                offset: at.offset + HEADER_LEN,
                ..at
            };
            self.shared
                .space
                .shrink(self.shared.files.punch(bytes, shard_bytes));
        }
    }

    /// Shows the durable records to readers; returns the places of bytes nobody needs any more.
    fn apply(&mut self, staged: &[Staged]) -> Vec<(Location, u32)> {
        let mut freed = Vec::new();
        let mut index = self.shared.index_mut();
        for Staged { header, at, .. } in staged {
            if let Applied::Freed {
                bytes_at,
                shard_bytes,
            } = index.apply(header, *at)
            {
                freed.push((bytes_at, shard_bytes));
            }
            if let Some(held) = header.ends() {
                let log = index.logs.get(&held.target.log);
                self.look_for_dead |= log.is_some_and(|log| log.slots == 0);
            }
        }
        freed
    }

    /// Cuts off what was appended since the last durable record and tells everybody.
    fn give_up(&mut self, batch: &mut Batch, error: &WriteError) {
        self.gathered.clear();
        self.len = self.durable_len;
        self.written_len = u64::from(self.durable_len);
        if let Err(error) = self.file.set_len(u64::from(self.durable_len)) {
            self.fail();
            tracing::error!(log = self.log, %error, "unfinished records stay; writes stop");
        }
        for staged in std::mem::take(batch).staged {
            staged.waiting.answer(Err(error.clone()));
        }
    }

    /// The disk's state is unknown from now on.
    fn fail(&mut self) {
        self.failed = true;
        self.shared.set_failed();
    }

    fn append_error(&self, error: io::Error) -> WriteError {
        if is_full(&error) {
            return WriteError::DiskFull;
        }
        WriteError::Append {
            log: self.log,
            source: Arc::new(error),
        }
    }

    /// Deletes the logs that nothing needs any more, oldest first: a log of tombstones must not go
    /// before the log they speak about. The checkpoint that forgets them all goes before.
    fn reclaim(&mut self) {
        if !std::mem::take(&mut self.look_for_dead) || self.failed {
            return;
        }
        let dead = self.shared.index().dead_logs(self.log);
        if dead.is_empty() {
            return;
        }
        let forgotten: Vec<(u32, LogPins)> = {
            let mut index = self.shared.index_mut();
            dead.iter()
                .filter_map(|log| index.logs.remove_entry(log))
                .collect()
        };
        let checkpoint = self.checkpoint();
        let mut kept = forgotten.into_iter();
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "dead logs stay until a checkpoint succeeds");
        } else {
            kept.by_ref()
                .map(|(log, _)| log)
                .take_while(|log| self.delete_log(*log))
                .for_each(drop);
        }
        self.shared.index_mut().logs.extend(kept);
    }

    fn delete_log(&self, log: u32) -> bool {
        let allocated = self.shared.files.allocated(log).unwrap_or(0);
        match self.shared.files.delete(log) {
            Ok(()) => {
                self.shared.space.shrink(allocated);
                true
            }
            Err(error) => {
                tracing::warn!(log, %error, "dead log cannot be deleted");
                false
            }
        }
    }

    fn checkpoint(&self) -> Result<(), CheckpointError> {
        let end = Location {
            log: self.log,
            offset: self.durable_len,
        };
        checkpoint::write(
            &self.shared.folder,
            &self.shared.salt,
            &self.shared.index(),
            end,
        )
    }
}

fn roll_error(error: LogError) -> WriteError {
    match error {
        LogError::Create { source, .. } if is_full(&source) => WriteError::DiskFull,
        error => WriteError::Roll(Arc::new(error)),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

enum Planned {
    Write(Header),
    Already(Stored),
}

const _: () = assert!(LOG_BYTES_MAX as u64 + (1 << 22) < u32::MAX as u64);
