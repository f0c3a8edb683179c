//! A download: verified plaintext of any range of a blob, from whichever Hosts give it first.
//!
//! The manifest says what the shards must be ([`manifest`]), the Bridge where they are
//! ([`layout`], fetched ahead). Several segments are fetched at a time ([`segment`]), as many as
//! memory allows; what is verified is decrypted and handed to its sink ([`deliver`]).
//!
//! No byte is decrypted, let alone handed on, before the shard it came in matched the manifest.

mod choose;
mod deliver;
mod error;
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
use model::units::PayerKey;
use model::wire::api::Report;
use tasks::time::Instant;
use tasks::{JoinError, JoinSet};

use crate::transfer::reports::ReportBook;
use crate::transfer::window::Window;
use crate::transfer::{Progress, Transfer};
pub use deliver::Piece;
use deliver::Pieces;
pub use error::DownloadError;
use layout::{LayoutDesk, LayoutFeed};
pub use manifest::BlobAccess;
use manifest::ManifestReader;
use segment::{FetchedSegment, Road, Wanted, fetch_segment};
pub use sink::{FileSink, Sink, StreamSink};

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
        let pieces = Arc::new(Pieces::new(pieces));
        progress.bytes_planned.add(pieces.bytes());
        if pieces.bytes() == 0 {
            return Ok(());
        }
        let mut manifest = ManifestReader::new(self.transfer.api().clone(), access);
        let shape = manifest.shape().await?;
        for piece in pieces.iter() {
            let (blob, range) = (access.blob, piece.range.clone());
            shape
                .segments_of_range(range.clone())
                .map_err(|source| DownloadError::Range {
                    blob,
                    range,
                    source,
                })?;
        }
        let desk = LayoutDesk {
            api: self.transfer.api().clone(),
            blob: access.blob,
            shape,
            payer: PayerKey(self.transfer.environment().fresh_key().public()),
        };
        let road = Road {
            transfer: self.transfer.clone(),
            desk,
            progress: Arc::clone(progress),
        };
        let mut download = Download {
            road,
            shape,
            manifest,
            pieces,
            running: JoinSet::new(),
            waiting: BTreeMap::new(),
            next: 0,
            reports: ReportBook::default(),
            window: Window::new(self.transfer.limits().segments_max),
        };
        let fetched = download.fetch_all().await;
        // Ends what is under way, so that nothing is written any more.
        download.running.shutdown().await;
        download.reports.tell(self.transfer.api()).await;
        fetched
    }
}

/// A download under way.
struct Download {
    road: Road,
    shape: Shape,
    manifest: ManifestReader,
    pieces: Arc<Pieces>,
    running: JoinSet<Done>,
    /// Segments that came before their turn, where order matters; by their turn.
    waiting: BTreeMap<u64, FetchedSegment>,
    /// The turn of the segment that is to be written next.
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
    Fetched(FetchedSegment),
}

impl Download {
    async fn fetch_all(&mut self) -> Result<(), DownloadError> {
        let mut turn = 0;
        for run in self.pieces.segments(self.shape) {
            let mut layouts = LayoutFeed::new(self.road.desk.clone(), run.clone());
            for index in run {
                self.start(turn, index, &mut layouts).await?;
                turn += 1;
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.note(done).await?;
        }
        Ok(())
    }

    /// Begins with a segment once there is room for it.
    async fn start(
        &mut self,
        turn: u64,
        index: u64,
        layouts: &mut LayoutFeed,
    ) -> Result<(), DownloadError> {
        let transfer = self.road.transfer.clone();
        // One that waits for its turn counts as under way: its buffers are in use.
        while self.running.len() + self.waiting.len() >= self.window.size() {
            match self.running.join_next().await {
                Some(done) => self.note(done).await?,
                None => break,
            }
        }
        let segment = self
            .shape
            .segment(index)
            .ok_or(DownloadError::Interrupted)?;
        let shards = self.pieces.shards(&segment);
        let places = layouts.places(index).await?;
        let ids = self.manifest.ids(index).await?;
        let buffers = u64::from(shards.end - shards.start) + SPARE_BUFFERS;
        let bytes =
            buffers.min(u64::from(self.shape.class().n())) * u64::from(segment.shard_size.bytes());
        let room = self.meanwhile(transfer.buffers().room(bytes)).await?;
        let (blob, class) = (self.road.desk.blob, self.shape.class());
        let wanted = Wanted {
            blob,
            class,
            segment,
            ids,
            shards,
            room,
        };
        let (road, pieces) = (self.road.clone(), Arc::clone(&self.pieces));
        self.running.spawn(async move {
            let began = Instant::now();
            let (fetched, reports) = fetch_segment(road, wanted, places).await;
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
        Ok(())
    }

    /// Waits for `future`, and notes what gets done meanwhile; fails when any part fails.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, DownloadError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
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
                    let bytes = deliver(Arc::clone(&self.pieces), fetched).await?;
                    self.road.progress.bytes_verified.add(bytes);
                    self.next += 1;
                }
            }
        }
        Ok(())
    }
}

async fn deliver(pieces: Arc<Pieces>, fetched: FetchedSegment) -> Result<u64, DownloadError> {
    let delivered = tasks::spawn_blocking(move || pieces.deliver(fetched)).await;
    let delivered = delivered.map_err(|error| DownloadError::Sink(io::Error::other(error)))?;
    delivered.map_err(DownloadError::Sink)
}
