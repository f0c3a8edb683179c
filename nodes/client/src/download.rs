//! A download: verified plaintext of any range of a blob, from whichever Hosts give it first.
//!
//! The manifest says what the shards must be ([`manifest`]), the Bridge where they are
//! ([`layout`], fetched ahead). What is needed of a segment is cut into blocks ([`block`]), whole
//! shards or runs of leaves. Several are fetched at a time ([`segment`]), as many as memory allows;
//! what is verified is decrypted and handed to its sink ([`deliver`]).
//!
//! No byte is decrypted, let alone handed on, before the shard it came in matched the manifest, or
//! the proof of its leaves led to the manifest's id.

mod block;
mod choose;
mod deliver;
mod error;
#[cfg(not(target_family = "wasm"))]
mod file_sink;
mod get;
mod layout;
mod manifest;
mod restore;
mod segment;
mod sink;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::formats::shape::Shape;
use model::units::{BlobId, PayerKey, SHARD_BYTES_MAX, ShardId};
use model::wire::api::{Layout, Report};
use tasks::time::Instant;
use tasks::{JoinError, JoinSet};

use crate::transfer::reports::ReportBook;
use crate::transfer::window::Window;
use crate::transfer::{Progress, Transfer};
pub use deliver::Piece;
use deliver::Pieces;
pub use error::DownloadError;
#[cfg(not(target_family = "wasm"))]
pub use file_sink::FileSink;
use layout::{LayoutDesk, LayoutFeed, ReadPlaces};
pub use manifest::BlobAccess;
use manifest::ManifestReader;
use segment::{FetchedBlock, Road, Wanted, fetch_block};
pub use sink::{Sink, StreamSink};

/// Room for shards beyond those that are needed: late ones, and parity while it is decoded.
const SPARE_BUFFERS: u64 = 2;

/// Fetches blobs.
#[derive(Clone, Debug)]
pub struct Downloader {
    transfer: Transfer,
}

impl Downloader {
    /// Downloads through `transfer`.
    #[must_use]
    pub const fn new(transfer: Transfer) -> Self {
        Self { transfer }
    }

    /// Fetches `pieces` of a blob, one file version or many of a pack, and writes each to its
    /// sink. Sinks that take pieces in order get them so; the others as they come.
    ///
    /// # Errors
    /// [`DownloadError`]; whatever reached a sink before is verified plaintext.
    pub async fn fetch(
        &self,
        access: &BlobAccess,
        pieces: Vec<Piece>,
        progress: &Arc<Progress>,
    ) -> Result<(), DownloadError> {
        self.open(access).fetch(pieces, progress).await
    }

    /// Opens a blob to be read in several goes. Nothing is sent yet.
    #[must_use]
    pub fn open(&self, access: &BlobAccess) -> OpenBlob {
        OpenBlob {
            transfer: self.transfer.clone(),
            blob: access.blob,
            payer: PayerKey(self.transfer.environment().fresh_key().public()),
            manifest: ManifestReader::new(self.transfer.api().clone(), access),
        }
    }
}

/// A blob whose manifest is kept between reads.
#[derive(Debug)]
pub struct OpenBlob {
    transfer: Transfer,
    blob: BlobId,
    payer: PayerKey,
    manifest: ManifestReader,
}

impl OpenBlob {
    /// The length and class of the blob.
    ///
    /// # Errors
    /// [`DownloadError`] where the manifest cannot be had.
    pub async fn shape(&mut self) -> Result<Shape, DownloadError> {
        self.manifest.shape().await
    }

    /// The ids of the shards of a segment, n of them or one for mirrors, as the owner's manifest
    /// has them.
    ///
    /// # Errors
    /// [`DownloadError`] where the manifest cannot be had.
    pub async fn shard_ids(&mut self, segment: u64) -> Result<Vec<ShardId>, DownloadError> {
        self.manifest.ids(segment).await
    }

    /// Fetches `pieces` and writes each to its sink, as [`Downloader::fetch`] does.
    ///
    /// # Errors
    /// [`DownloadError`]; whatever reached a sink before is verified plaintext.
    pub async fn fetch(
        &mut self,
        pieces: Vec<Piece>,
        progress: &Arc<Progress>,
    ) -> Result<(), DownloadError> {
        let pieces = Arc::new(Pieces::new(pieces));
        progress.bytes_planned.add(pieces.bytes());
        if pieces.bytes() == 0 {
            return Ok(());
        }
        let (shape, early) = self.learn(&pieces).await?;
        let blob = self.blob;
        for piece in pieces.iter() {
            let range = piece.range.clone();
            shape
                .segments_of_range(range.clone())
                .map_err(|source| DownloadError::Range {
                    blob,
                    range,
                    source,
                })?;
        }
        let (api, payer) = (self.transfer.api().clone(), self.payer);
        let desk = LayoutDesk {
            api,
            blob,
            shape,
            payer,
        };
        let road = Road {
            transfer: self.transfer.clone(),
            desk,
            progress: Arc::clone(progress),
        };
        let mut download = Download {
            road,
            shape,
            manifest: &mut self.manifest,
            pieces,
            running: JoinSet::new(),
            waiting: BTreeMap::new(),
            started: 0,
            next: 0,
            reports: ReportBook::default(),
            window: Window::new(self.transfer.limits().segments_max),
        };
        let fetched = download.fetch_all(early).await;
        // Ends what is under way, so that nothing is written any more.
        download.running.shutdown().await;
        download.reports.tell(self.transfer.api()).await;
        fetched
    }

    /// The blob's shape, and meanwhile where its first segment lies if that is sure to be needed.
    async fn learn(&mut self, pieces: &Pieces) -> Result<(Shape, Option<Layout>), DownloadError> {
        let is_first = pieces.end() <= u64::from(SHARD_BYTES_MAX);
        if !is_first || self.manifest.is_known() {
            return Ok((self.manifest.shape().await?, None));
        }
        let api = self.transfer.api().clone();
        let layout = layout::ask(&api, (self.blob, self.payer), 0..1);
        let (shape, layout) = tokio::try_join!(self.manifest.shape(), layout)?;
        Ok((shape, Some(layout)))
    }
}

/// A download under way.
struct Download<'a> {
    road: Road,
    shape: Shape,
    manifest: &'a mut ManifestReader,
    pieces: Arc<Pieces>,
    running: JoinSet<Done>,
    /// Blocks that came before their turn, where order matters; by their turn.
    waiting: BTreeMap<u64, FetchedBlock>,
    /// The turn of the block that is started next.
    started: u64,
    /// The turn of the block that is to be written next.
    next: u64,
    reports: ReportBook,
    window: Window,
}

/// What a task of a download came to.
struct Done {
    turn: u64,
    took: Duration,
    reports: Vec<Report>,
    outcome: Result<Outcome, DownloadError>,
}

enum Outcome {
    /// Written, so many bytes.
    Written(u64),
    /// To be written in its turn.
    Fetched(FetchedBlock),
}

impl Download<'_> {
    async fn fetch_all(&mut self, mut early: Option<Layout>) -> Result<(), DownloadError> {
        for run in self.pieces.segments(self.shape) {
            let mut layouts = LayoutFeed::new(self.road.desk.clone(), run.clone(), early.take());
            for index in run {
                self.start_segment(index, &mut layouts).await?;
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.note(done).await?;
        }
        Ok(())
    }

    /// Begins with what is needed of a segment, as soon as there is room for each part.
    async fn start_segment(
        &mut self,
        index: u64,
        layouts: &mut LayoutFeed,
    ) -> Result<(), DownloadError> {
        let segment = self
            .shape
            .segment(index)
            .ok_or(DownloadError::Interrupted)?;
        let places = layouts.places(index).await?;
        let ids = self.manifest.ids(index).await?;
        for block in self.pieces.blocks(segment) {
            // One that waits for its turn counts as under way: its buffers are in use.
            while self.running.len() + self.waiting.len() >= self.window.size() {
                match self.running.join_next().await {
                    Some(done) => self.note(done).await?,
                    None => break,
                }
            }
            let (transfer, class) = (self.road.transfer.clone(), self.shape.class());
            let bytes = block.room_bytes(class, SPARE_BUFFERS);
            let room = self.meanwhile(transfer.buffers().room(bytes)).await?;
            let wanted = Wanted {
                blob: self.road.desk.blob,
                class,
                block,
                ids: ids.clone(),
                room,
            };
            self.start(wanted, places.clone());
        }
        Ok(())
    }

    fn start(&mut self, wanted: Wanted, places: ReadPlaces) {
        let turn = self.started;
        self.started += 1;
        let (road, pieces) = (self.road.clone(), Arc::clone(&self.pieces));
        self.running.spawn(async move {
            let began = Instant::now();
            let (fetched, reports) = fetch_block(road, wanted, places).await;
            let took = began.elapsed();
            let outcome = match fetched {
                Ok(fetched) if pieces.in_order() => Ok(Outcome::Fetched(fetched)),
                Ok(fetched) => deliver(pieces, fetched).await.map(Outcome::Written),
                Err(error) => Err(error),
            };
            Done {
                turn,
                took,
                reports,
                outcome,
            }
        });
    }

    /// Waits for `future`, and notes what gets done meanwhile; fails when any part fails.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, DownloadError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                value = &mut future => return Ok(value),
                Some(done) = self.running.join_next() => self.note(done).await?,
            }
        }
    }

    async fn note(&mut self, done: Result<Done, JoinError>) -> Result<(), DownloadError> {
        let done = done.map_err(|_| DownloadError::Interrupted)?;
        self.reports.note(done.reports);
        self.window.took(done.took);
        match done.outcome? {
            Outcome::Written(bytes) => self.road.progress.bytes_verified.add(bytes),
            Outcome::Fetched(fetched) => {
                self.waiting.insert(done.turn, fetched);
                while let Some(fetched) = self.waiting.remove(&self.next) {
                    self.pieces.room().await;
                    let bytes = deliver(Arc::clone(&self.pieces), fetched).await?;
                    self.road.progress.bytes_verified.add(bytes);
                    self.next += 1;
                }
            }
        }
        Ok(())
    }
}

async fn deliver(pieces: Arc<Pieces>, fetched: FetchedBlock) -> Result<u64, DownloadError> {
    let delivered = tasks::spawn_blocking(move || pieces.deliver(fetched)).await;
    let delivered = delivered.map_err(|error| DownloadError::Sink(io::Error::other(error)))?;
    delivered.map_err(DownloadError::Sink)
}
