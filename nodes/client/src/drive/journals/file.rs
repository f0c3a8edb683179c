//! The journal of an upload under way: records are appended, and made durable for many at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::formats::journal::{
    HEADER_BYTES, Journal, JournalKey, JournalRecord, JournalStart, SegmentPlace,
};
use model::units::{BlobId, ShardId};
use shardstore::durable::sync_folder_of;

use super::remove;
use crate::upload::{LogError, LogPosition, LoggedSegment, SegmentLog};

/// A journal that would grow beyond this is given up; the upload goes on without.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// An open journal; its lock is held until it is dropped.
#[derive(Debug)]
pub(in crate::drive) struct JournalFile {
    path: PathBuf,
    file: Arc<File>,
    key: JournalKey,
    /// The blobs' places in the upload.
    places: BTreeMap<BlobId, u16>,
    writing: Mutex<Writing>,
    /// How much of it survives a crash; held while that is being extended.
    durable: tokio::sync::Mutex<u64>,
}

#[derive(Debug)]
struct Writing {
    records: u64,
    end: u64,
    given_up: bool,
}

impl JournalFile {
    /// A new journal without a byte.
    pub(super) fn begin(path: PathBuf, file: File, key: JournalKey, start: &JournalStart) -> Self {
        Self {
            path,
            file: Arc::new(file),
            key,
            places: places(start),
            writing: Mutex::new(Writing {
                records: 0,
                end: 0,
                given_up: false,
            }),
            durable: tokio::sync::Mutex::new(0),
        }
    }

    /// Writes the header and the first record.
    pub(super) fn write_first(&self, first: &[u8]) -> Result<(), LogError> {
        let mut writing = self.writing();
        let header = self.key.header();
        debug_assert_eq!(header.len(), HEADER_BYTES, "the header has a fixed width");
        let bytes = [&header[..], first].concat();
        self.file
            .write_all_at(&bytes, 0)
            .map_err(|source| self.failed(source))?;
        (writing.records, writing.end) = (1, bytes.len() as u64);
        Ok(())
    }

    /// A journal that was read up to `end` and is durable up to there.
    pub(super) fn go_on(path: PathBuf, file: File, journal: &Journal, end: u64) -> Self {
        Self {
            path,
            file: Arc::new(file),
            key: journal.key().clone(),
            places: places(journal.start()),
            writing: Mutex::new(Writing {
                records: journal.records(),
                end,
                given_up: false,
            }),
            durable: tokio::sync::Mutex::new(end),
        }
    }

    /// Removes it: the upload came to its end. Blocking, shortly.
    pub(in crate::drive) fn remove(&self) {
        remove(&self.path);
    }

    fn append(&self, record: &JournalRecord) -> Result<LogPosition, LogError> {
        let mut writing = self.writing();
        if writing.given_up {
            return Ok(LogPosition::default());
        }
        let frame = self.key.frame(writing.records, record)?;
        if writing.end + frame.len() as u64 > JOURNAL_BYTES_MAX {
            tracing::warn!("the journal of the upload is full and was given up");
            self.give_up_locked(&mut writing)?;
            return Ok(LogPosition::default());
        }
        self.file
            .write_all_at(&frame, writing.end)
            .map_err(|source| self.failed(source))?;
        writing.records += 1;
        writing.end += frame.len() as u64;
        Ok(LogPosition(writing.end))
    }

    fn give_up_locked(&self, writing: &mut Writing) -> Result<(), LogError> {
        if !writing.given_up {
            // Without its start nobody goes on with it, whatever becomes of its name.
            let cut = self.file.set_len(0).and_then(|()| self.file.sync_data());
            cut.map_err(|source| self.failed(source))?;
            writing.given_up = true;
            remove(&self.path);
        }
        Ok(())
    }

    fn place(&self, (blob, segment): LoggedSegment) -> Result<SegmentPlace, LogError> {
        let other = LogError::OtherUpload { blob };
        let blob = *self.places.get(&blob).ok_or(other)?;
        Ok(SegmentPlace { blob, segment })
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source,
        }
    }

    async fn sync_to(&self, position: LogPosition) -> Result<(), LogError> {
        let mut durable = self.durable.lock().await;
        if *durable >= position.0 {
            return Ok(());
        }
        let end = self.writing().end;
        let folder = (*durable == 0).then(|| self.path.clone());
        let file = Arc::clone(&self.file);
        let synced = tasks::spawn_blocking(move || {
            file.sync_data()?;
            folder.map_or(Ok(()), |path| sync_folder_of(&path))
        });
        let synced = synced.await.map_err(io::Error::other);
        synced
            .and_then(|synced| synced)
            .map_err(|source| self.failed(source))?;
        *durable = end;
        Ok(())
    }
}

impl SegmentLog for JournalFile {
    fn ids(&self, segment: LoggedSegment, ids: &[ShardId]) -> Result<LogPosition, LogError> {
        let (place, ids) = (self.place(segment)?, ids.to_vec());
        self.append(&JournalRecord::Ids { place, ids })
    }

    fn durable(&self, position: LogPosition) -> BoxFuture<'_, Result<(), LogError>> {
        self.sync_to(position).boxed()
    }

    fn stored(
        &self,
        segment: LoggedSegment,
        receipts: Vec<Option<Vec<u8>>>,
    ) -> Result<(), LogError> {
        let place = self.place(segment)?;
        self.append(&JournalRecord::Stored { place, receipts })
            .map(|_| ())
    }

    fn handed_in(&self, segments: &[LoggedSegment]) -> Result<(), LogError> {
        let places = segments.iter().map(|segment| self.place(*segment));
        let places = places.collect::<Result<_, _>>()?;
        self.append(&JournalRecord::HandedIn(places)).map(|_| ())
    }

    fn give_up(&self) -> Result<(), LogError> {
        self.give_up_locked(&mut self.writing())
    }
}

fn places(start: &JournalStart) -> BTreeMap<BlobId, u16> {
    (0..)
        .zip(&start.blobs)
        .map(|(at, blob)| (blob.blob, at))
        .collect()
}
