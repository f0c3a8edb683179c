//! The store's handle: what a Host calls. Reads go straight to the logs; writes go to the writer
//! thread over a bounded queue and come back durable.

mod open;
mod store_id;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use model::units::{BridgeId, OwnerTag, Serial, ShardId, ShardSize, ShardSizeError, UnixMs};
use tokio::sync::oneshot;

use open::{LOG_BYTES_MIN, LOGS_FOLDER, lock, salt_of, salt_told};
pub use open::{OpenError, StoreConfig};
pub use store_id::{ParseStoreIdError, StoreId};

use crate::disk::{self, Lock};
use crate::durable;
use crate::index::{Holding, Index};
use crate::log::{LOG_BYTES_MAX, LogError, LogFiles};
use crate::reader::{ReadError, ShardReader};
use crate::record::{Header, Kind, Location, RECORD_HEADER_BYTES, Salt};
use crate::recover::{Recovery, recover};
use crate::scrub::Scrub;
use crate::space::{NoSpace, Reservation, Space, Usage};
use crate::writer::{Command, Desk, PutError, WRITES_QUEUED_MAX, WriteError, Writer, wait_for};

/// What identifies a record: the Bridge, and the serial of its PUT ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    /// The Bridge.
    pub bridge: BridgeId,
    /// The serial of the PUT.
    pub serial: Serial,
}

/// A shard to be stored. The caller has hashed the bytes while it received them.
#[derive(Clone, Debug)]
pub struct NewShard {
    pub(crate) key: RecordKey,
    pub(crate) id: ShardId,
    pub(crate) owner: OwnerTag,
    pub(crate) created: UnixMs,
    size: ShardSize,
    bytes: Bytes,
}

impl NewShard {
    /// Shard `id` with its `bytes`, to be kept under `key`.
    ///
    /// # Errors
    /// [`ShardSizeError`] where the number of bytes is not one that a shard can have.
    pub fn new(
        key: RecordKey,
        id: ShardId,
        owner: OwnerTag,
        created: UnixMs,
        bytes: Bytes,
    ) -> Result<Self, ShardSizeError> {
        let size = ShardSize::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
        Ok(Self {
            key,
            id,
            owner,
            created,
            size,
            bytes,
        })
    }

    /// Bytes of the shard.
    #[must_use]
    pub const fn shard_bytes(&self) -> u32 {
        self.size.bytes()
    }

    pub(crate) const fn size(&self) -> ShardSize {
        self.size
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A record that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was first stored.
    pub created: UnixMs,
    /// Bytes of its shard.
    pub shard_bytes: u32,
    /// Whether this call stored it, or an earlier one had.
    pub new: bool,
}

/// What a store says of a shard.
#[derive(Debug)]
pub enum Lookup {
    /// It is here.
    Here(ShardReader),
    /// It was here and has rotted.
    Rotten,
    /// It is not here, or nobody who may have it holds it.
    NotHere,
}

/// What the handle and the writer thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) salt: Salt,
    pub(crate) files: LogFiles,
    pub(crate) space: Arc<Space>,
    pub(crate) log_bytes_max: u32,
    pub(crate) scrub: Scrub,
    index: RwLock<Index>,
    /// Logs that cannot be rewritten.
    stuck: Mutex<BTreeSet<u32>>,
    /// Writes are refused since the disk failed.
    failed: AtomicBool,
    /// The disk is gone: nothing more is written to its folder.
    abandoned: AtomicBool,
    /// Held as long as anything here lives.
    _lock: Lock,
}

/// A Host's shards on disk. Cheap to share behind an [`Arc`]; closed when dropped.
#[derive(Debug)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    desk: Desk,
    recovery: Recovery,
}

impl Store {
    /// Opens the store in `folder`, creating an empty one where there is none. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] where the folder is in use, of another format or unreadable. Damage to
    /// single records is no error: see [`Store::recovery`].
    pub fn open(folder: &Path, config: StoreConfig) -> Result<Self, OpenError> {
        let logs = folder.join(LOGS_FOLDER);
        disk::create_folders(&logs).map_err(|source| OpenError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        // The folders' own names must be as durable as what goes into them.
        durable::sync_folder_of(&logs)
            .and_then(|()| durable::sync_folder_of(folder))
            .map_err(|source| OpenError::Folder {
                folder: folder.to_owned(),
                source,
            })?;
        let lock = lock(folder)?;
        let salt = salt_of(folder, &logs)?;
        let mut files = LogFiles::new(logs, salt);
        if !config.punch_holes {
            files = files.without_holes();
        }
        let scrub = Scrub::read(folder, &salt);
        let recovered = recover(folder, &files, &salt, &scrub.bad())?;
        let space = Arc::new(Space::new(
            folder.to_owned(),
            config.space_bytes,
            config.keep_free_bytes,
        ));
        for log in files.list()? {
            space.grow(files.allocated(log)?);
        }
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            salt,
            files,
            space,
            log_bytes_max: config.log_bytes_max.clamp(LOG_BYTES_MIN, LOG_BYTES_MAX),
            scrub,
            index: RwLock::new(recovered.index),
            stuck: Mutex::default(),
            failed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            _lock: lock,
        });
        let writer = Writer::new(Arc::clone(&shared), recovered.end)?;
        Ok(Self {
            shared,
            desk: Desk::open(writer).map_err(OpenError::Thread)?,
            recovery: recovered.recovery,
        })
    }

    /// What opening found and did.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Promises room for a shard of `shard_bytes`, before its bytes are asked for.
    ///
    /// # Errors
    /// [`NoSpace`] where quota or file system have none left.
    pub fn reserve(&self, shard_bytes: u32) -> Result<Reservation, NoSpace> {
        self.shared.space.reserve(shard_bytes)
    }

    /// Stores `shard`; durable when this returns. The same key and shard again is
    /// answered like the first time.
    ///
    /// # Errors
    /// [`PutError::SerialBound`] where the key belongs to another shard; [`PutError::Write`]
    /// where the record could not be made durable, and then none of it stays.
    pub async fn put(&self, shard: NewShard, room: Reservation) -> Result<Stored, PutError> {
        let (answer, answered) = oneshot::channel();
        self.desk
            .submit(Command::Put {
                shard,
                room,
                answer,
            })
            .await?;
        answered
            .await
            .unwrap_or(Err(PutError::Write(WriteError::Closed)))
    }

    /// Forgets the record of `key`, and its shard's bytes with their last record. Durable when
    /// this returns; `false` where there is no such record.
    ///
    /// # Errors
    /// [`WriteError`] where that could not be made durable.
    pub async fn remove(&self, key: RecordKey) -> Result<bool, WriteError> {
        self.flag(|answer| Command::Remove { key, answer }).await
    }

    /// Forgets the records of `serials` of `bridge`, like [`Store::remove`], and returns how many
    /// there were. Blocks, and must not be called on an async thread.
    ///
    /// # Errors
    /// [`WriteError`] where that could not be made durable; some may be gone.
    pub fn remove_all(&self, bridge: BridgeId, serials: &[Serial]) -> Result<u64, WriteError> {
        let mut removed = 0;
        for serials in serials.chunks(WRITES_QUEUED_MAX) {
            let mut answers = Vec::with_capacity(serials.len());
            for serial in serials {
                let (answer, answered) = oneshot::channel();
                let key = RecordKey {
                    bridge,
                    serial: *serial,
                };
                self.submit_blocking(Command::Remove { key, answer })?;
                answers.push(answered);
            }
            for answered in answers {
                let was_here = wait_for(answered)??;
                removed += u64::from(was_here);
            }
        }
        Ok(removed)
    }

    /// The shard `id`, ready to be read by ranges; `None` where it is not here. Reads a header.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn get(&self, id: &ShardId) -> Result<Option<ShardReader>, ReadError> {
        let Some((header, at)) = self.shared.find_bytes(id)? else {
            return Ok(None);
        };
        Ok(Some(ShardReader::new(
            self.shared.files.get(at.log)?,
            at,
            &header,
        )))
    }

    /// The shard `id` as `bridge` may have it: it must be held by one of its records. Reads a
    /// header.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn look_up(&self, bridge: &BridgeId, id: &ShardId) -> Result<Lookup, ReadError> {
        let mut lookup = Lookup::NotHere;
        let places = self.shared.index().bytes_of(id);
        for at in places {
            let header = self
                .shared
                .header_at(at)?
                .filter(|header| header.shard == *id);
            let Some(header) = header else { continue };
            if !self.shared.index().holds_for(bridge, &header, at) {
                continue;
            }
            if !self.shared.scrub.is_bad(at) {
                let file = self.shared.files.get(at.log)?;
                return Ok(Lookup::Here(ShardReader::new(file, at, &header)));
            }
            lookup = Lookup::Rotten;
        }
        Ok(lookup)
    }

    /// What the records of `bridge` hold.
    #[must_use]
    pub fn held_by(&self, bridge: &BridgeId) -> Holding {
        let index = self.shared.index();
        index.bridges.get(bridge).copied().unwrap_or_default()
    }

    /// Whether a retry of the PUT of `key` needs its bytes again, because those here have rotted.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn is_rotten(&self, key: RecordKey) -> Result<bool, ReadError> {
        let found = self.shared.find_record(key)?;
        let bad =
            |(header, at): (Header, Location)| self.shared.scrub.is_bad(header.held(at).bytes_at);
        Ok(found.is_some_and(bad))
    }

    /// The shard and the time of the record of `key`.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn find(&self, key: RecordKey) -> Result<Option<(ShardId, Stored)>, ReadError> {
        Ok(self.shared.find_record(key)?.map(|(header, _)| {
            let (created, shard_bytes) = (header.created, header.shard_bytes);
            (
                header.shard,
                Stored {
                    created,
                    shard_bytes,
                    new: false,
                },
            )
        }))
    }

    /// Which of `ids` are here, in their order.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails.
    pub fn have(&self, ids: &[ShardId]) -> Result<Vec<bool>, ReadError> {
        ids.iter()
            .map(|id| Ok(self.shared.find_bytes(id)?.is_some()))
            .collect()
    }

    /// What the store takes and has.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (live_bytes, records, shards) = {
            let index = self.shared.index();
            (
                index.live_bytes,
                index.records.len() as u64,
                index.shards.len() as u64,
            )
        };
        Usage {
            records,
            shards,
            ..self.shared.space.usage(live_bytes)
        }
    }

    /// Whether the store's folder is there and is this store's.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(salt_told(&self.shared.folder), Ok(Some(salt)) if salt == self.shared.salt)
    }

    /// Whether writes are refused since the disk failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Gives the store up whose disk has gone or failed: nothing is written into its folder any
    /// more, which may be another one's by now.
    pub fn abandon(&self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
    }

    /// Ends the writer thread, which leaves a checkpoint for a fast start. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }

    pub(crate) fn submit_blocking(&self, command: Command) -> Result<(), WriteError> {
        self.desk.submit_blocking(command)
    }

    async fn flag(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<bool, WriteError>>) -> Command,
    ) -> Result<bool, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.desk.submit(command(answer)).await?;
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    #[cfg(test)]
    fn index_snapshot(&self) -> Index {
        self.shared.index().clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A disk that has gone may keep its writer waiting for good.
        self.desk.close(!self.shared.is_abandoned());
    }
}

impl Shared {
    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stuck(&self, log: u32) {
        self.stuck().insert(log);
    }

    pub(crate) fn is_stuck(&self, log: u32) -> bool {
        self.stuck().contains(&log)
    }

    fn stuck(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down where the scrub stands.
    pub(crate) fn write_scrub(&self) {
        let bad = self.scrub.bad().clone();
        let live: BTreeSet<Location> = if bad.is_empty() {
            bad
        } else {
            let index = self.index();
            let places = index.shards.iter().map(|slot| slot.at);
            places.filter(|at| bad.contains(at)).collect()
        };
        let written = self.scrub.write(&self.folder, &self.salt, &live);
        if let Err(error) = written {
            tracing::warn!(%error, "state of the scrub not written");
        }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live record of `key`, its header read and compared.
    pub(crate) fn find_record(
        &self,
        key: RecordKey,
    ) -> Result<Option<(Header, Location)>, ReadError> {
        let places = self.index().records_of(&key.bridge, &key.serial);
        self.first(places, |header| {
            header.bridge == key.bridge && header.serial == key.serial
        })
    }

    /// The live bytes of shard `id`, their header read and compared.
    pub(crate) fn find_bytes(&self, id: &ShardId) -> Result<Option<(Header, Location)>, ReadError> {
        let mut places = self.index().bytes_of(id);
        places.retain(|at| !self.scrub.is_bad(*at));
        self.first(places, |header| {
            header.shard == *id && matches!(header.kind, Kind::Put { .. })
        })
    }

    /// The header at `at`; `None` where it is damaged or its log has just been deleted.
    pub(crate) fn header_at(&self, at: Location) -> Result<Option<Header>, ReadError> {
        let file = match self.files.get(at.log) {
            Ok(file) => file,
            Err(LogError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = [0; RECORD_HEADER_BYTES];
        file.read_exact_at(&mut bytes, u64::from(at.offset))
            .map_err(|source| ReadError::Read { at, source })?;
        Ok(Header::decode(&self.salt, at, &bytes))
    }

    fn first(
        &self,
        places: Vec<Location>,
        wanted: impl Fn(&Header) -> bool,
    ) -> Result<Option<(Header, Location)>, ReadError> {
        for at in places {
            if let Some(header) = self.header_at(at)?.filter(&wanted) {
                return Ok(Some((header, at)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
