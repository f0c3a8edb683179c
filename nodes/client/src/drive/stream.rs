//! Files read in parts: at any place, or as a stream that runs ahead of its reader.
//!
//! What gateways and players use. Every byte was verified before it is handed on; a read fetches
//! the leaves that hold it and no more, a stream as many segments ahead as memory allows.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::formats::tree::{BlobSlice, Content, Entry, FileVersion, Kind, TreePath};
use model::units::SHARDS_PER_SEGMENT_MAX;
use tasks::AbortOnDropHandle;
use tokio::sync::{Mutex, mpsc};

use super::open::{Drive, OpenError};
use super::range::ByteRange;
use super::read::{ReadError, Snapshot};
use crate::download::{BlobAccess, DownloadError, Downloader, OpenBlob, Piece, Sink, StreamSink};
use crate::transfer::{FailureKind, Progress};

/// Pieces of a stream that wait for its reader, each at most a shard; more wait encrypted.
const PIECES_AHEAD: usize = 2;
/// Most pieces that come once there is room: one of each shard of a segment.
const PIECES_AT_ONCE_MAX: usize = SHARDS_PER_SEGMENT_MAX as usize;
/// Most bytes of one read: it is held in memory.
pub const READ_BYTES_MAX: usize = 64 << 20;

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is a folder or a symlink.
    #[error("`{path}` is no file")]
    NoFile {
        /// Which.
        path: TreePath,
    },
    /// The range lies outside the file.
    #[error("`{path}` cannot be read there")]
    Range {
        /// Which.
        path: TreePath,
        /// Why.
        #[source]
        source: super::range::RangeError,
    },
    /// Its content could not be fetched.
    #[error("`{path}` could not be fetched")]
    Fetch {
        /// Which.
        path: TreePath,
        /// Why.
        #[source]
        source: Box<DownloadError>,
    },
}

impl FileError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::NoFile { .. } | Self::Range { .. } => FailureKind::Refused,
            Self::Fetch { source, .. } => source.kind(),
        }
    }
}

/// One version of a file, open for reading: later changes of the tree do not change it.
#[derive(Debug)]
pub struct OpenFile {
    path: TreePath,
    file: FileVersion,
    downloader: Downloader,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

/// What is kept between reads.
#[derive(Debug, Default)]
struct State {
    blob: Option<OpenBlob>,
    /// Where the last read ended.
    end: u64,
    ahead: Option<Ahead>,
}

/// A stream that serves reads which follow each other.
#[derive(Debug)]
struct Ahead {
    stream: FileStream,
    /// Fetched, not asked for yet.
    rest: Bytes,
}

/// A range of a file, piece after piece. Dropping it ends what is under way.
#[derive(Debug)]
pub struct FileStream {
    path: TreePath,
    pieces: mpsc::Receiver<Bytes>,
    /// Bytes that are still to come.
    left: u64,
    outcome: Option<AbortOnDropHandle<Result<(), DownloadError>>>,
}

impl Drive {
    /// Opens the file at `path` as it is now.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn open_file(&self, path: &TreePath) -> Result<OpenFile, FileError> {
        let snapshot = self.snapshot().await?;
        self.open_in(&snapshot, path).await
    }

    pub(super) async fn open_in(
        &self,
        snapshot: &Snapshot,
        path: &TreePath,
    ) -> Result<OpenFile, FileError> {
        let entry = snapshot.entry(path).await?;
        self.open_entry(path, &entry)
    }

    pub(super) fn open_entry(&self, path: &TreePath, entry: &Entry) -> Result<OpenFile, FileError> {
        let Kind::File(file) = &entry.kind else {
            return Err(FileError::NoFile { path: path.clone() });
        };
        let downloader = Downloader::new(self.transfer.clone());
        Ok(OpenFile::new(path.clone(), file.clone(), downloader))
    }
}

impl OpenFile {
    /// The version `file`, which errors name by `path`. Nothing is sent yet.
    #[must_use]
    pub fn new(path: TreePath, file: FileVersion, downloader: Downloader) -> Self {
        Self {
            path,
            file,
            downloader,
            progress: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.file.size()
    }

    /// Counts what is moved for it in `progress`.
    #[must_use]
    pub fn counted_by(mut self, progress: &Arc<Progress>) -> Self {
        self.progress = Arc::clone(progress);
        self
    }

    /// Where `range` lies in the file.
    ///
    /// # Errors
    /// [`FileError::Range`] where the file does not have all of it.
    pub fn place(&self, range: ByteRange) -> Result<Range<u64>, FileError> {
        range
            .within(self.size())
            .map_err(|source| FileError::Range {
                path: self.path.clone(),
                source,
            })
    }

    /// Up to `length` bytes from `offset` on: fewer at the end of the file, none behind it, and
    /// never more than [`READ_BYTES_MAX`].
    ///
    /// A read that begins where the last one ended starts a stream, so that the next ones find
    /// their bytes there already.
    ///
    /// # Errors
    /// [`FileError::Fetch`].
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, FileError> {
        let length = length.min(READ_BYTES_MAX) as u64;
        let range = offset..offset.saturating_add(length).min(self.size());
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let slice = match &self.file.content {
            Content::Inline(bytes) => return Ok(part_of(bytes, &range)),
            Content::Blob(slice) => slice,
        };
        let mut state = self.state.lock().await;
        let follows = state.end == range.start && range.start > 0;
        if !follows {
            state.ahead = None;
        } else if state.ahead.is_none() {
            let (stream, rest) = (self.stream(range.start..self.size()), Bytes::new());
            state.ahead = Some(Ahead { stream, rest });
        }
        state.end = range.end;
        let read = match &mut state.ahead {
            Some(ahead) => ahead.read(range.end - range.start).await,
            None => self.read_alone(&mut state.blob, slice, range).await,
        };
        if read.is_err() {
            *state = State::default();
        }
        read
    }

    async fn read_alone(
        &self,
        blob: &mut Option<OpenBlob>,
        slice: &BlobSlice,
        range: Range<u64>,
    ) -> Result<Bytes, FileError> {
        let blob = blob.get_or_insert_with(|| self.downloader.open(&access_of(slice)));
        let sink = Arc::new(StreamSink::new(Vec::new()));
        let piece = piece_of(slice, range, Arc::clone(&sink) as Arc<dyn Sink>);
        let fetched = blob.fetch(vec![piece], &self.progress).await;
        fetched.map_err(|source| self.failed(source))?;
        Ok(Arc::into_inner(sink).map_or_else(Bytes::new, |sink| sink.into_inner().into()))
    }

    /// `range` of the file, in order, fetched ahead of whoever reads it. What lies behind the end
    /// of the file is left out.
    #[must_use]
    pub fn stream(&self, range: Range<u64>) -> FileStream {
        let range = range.start..range.end.min(self.size());
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD + PIECES_AT_ONCE_MAX);
        let outcome = match &self.file.content {
            Content::Inline(bytes) => {
                // There is room for the first piece.
                let _sent = sender.try_send(part_of(bytes, &range));
                None
            }
            Content::Blob(_) if range.is_empty() => None,
            Content::Blob(slice) => {
                let piece = piece_of(slice, range.clone(), Arc::new(Pipe(sender)));
                let (mut blob, progress) = (
                    self.downloader.open(&access_of(slice)),
                    Arc::clone(&self.progress),
                );
                let fetching =
                    tasks::spawn(async move { blob.fetch(vec![piece], &progress).await });
                Some(AbortOnDropHandle::new(fetching))
            }
        };
        FileStream {
            path: self.path.clone(),
            pieces,
            left: range.end.saturating_sub(range.start),
            outcome,
        }
    }

    fn failed(&self, source: DownloadError) -> FileError {
        FileError::Fetch {
            path: self.path.clone(),
            source: Box::new(source),
        }
    }
}

impl Ahead {
    async fn read(&mut self, length: u64) -> Result<Bytes, FileError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut whole = Vec::new();
        loop {
            let now = self.rest.len().min(length - whole.len());
            let part = self.rest.split_to(now);
            if whole.is_empty() && now == length {
                return Ok(part);
            }
            whole.extend_from_slice(&part);
            if whole.len() == length {
                return Ok(whole.into());
            }
            match self.stream.next().await? {
                Some(next) => self.rest = next,
                None => return Ok(whole.into()),
            }
        }
    }
}

impl FileStream {
    /// The next bytes; `None` at the end of the range.
    ///
    /// # Errors
    /// [`FileError::Fetch`] where the rest cannot be had.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        if self.left == 0 {
            return Ok(None);
        }
        if let Some(piece) = self.pieces.recv().await {
            self.left = self.left.saturating_sub(piece.len() as u64);
            return Ok(Some(piece));
        }
        self.left = 0;
        let source = match self.outcome.take() {
            Some(outcome) => match outcome.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => DownloadError::Interrupted,
            },
            None => DownloadError::Interrupted,
        };
        Err(FileError::Fetch {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }
}

/// Hands pieces to a [`FileStream`], and has room while few wait.
#[derive(Debug)]
struct Pipe(mpsc::Sender<Bytes>);

impl Sink for Pipe {
    fn in_order(&self) -> bool {
        true
    }

    fn write_at(&self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        let sent = self.0.try_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Where nobody reads any more, writing tells.
            let _places = self.0.reserve_many(PIECES_AT_ONCE_MAX).await;
        })
    }
}

fn part_of(bytes: &[u8], range: &Range<u64>) -> Bytes {
    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    let part = bytes.get(at(range.start)..at(range.end));
    Bytes::copy_from_slice(part.unwrap_or_default())
}

/// What opens the blob that a file lies in.
pub(super) fn access_of(slice: &BlobSlice) -> BlobAccess {
    BlobAccess {
        blob: slice.blob,
        secret: slice.blob_secret.clone(),
        manifest: slice.manifest,
    }
}

/// `range` of the file at `slice`, on its way to `sink`.
pub(super) fn piece_of(slice: &BlobSlice, range: Range<u64>, sink: Arc<dyn Sink>) -> Piece {
    let at = |offset: u64| slice.offset.saturating_add(offset);
    Piece {
        range: at(range.start)..at(range.end),
        file_secret: slice.file_secret.clone(),
        file_offset: range.start,
        sink,
    }
}
