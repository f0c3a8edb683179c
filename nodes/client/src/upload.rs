//! An upload: blobs in, shards at Hosts and receipts at the Bridge out; the commit is the caller's.
//!
//! The stages run side by side, with memory as the only queue between them: the plan is fetched
//! ahead ([`plan`]), one segment at a time is read, coded and hashed ([`prepare`]), several are on
//! their way ([`segment`]), their receipts go to the Bridge in pages. A segment's shards are made
//! once and sent as they are, also to spares. An upload that is to survive an interruption writes
//! a [`log`]; another run passes over what is stored, and makes the rest again byte for byte.

mod error;
#[cfg(not(target_family = "wasm"))]
mod file_source;
mod log;
mod pace;
mod plan;
mod prepare;
mod put;
mod segment;
mod source;
mod spare;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::formats::SealedPage;
use model::formats::journal::JournalSegment;
use model::formats::manifest::ManifestBuilder;
use model::formats::shape::{Class, Segment, Shape};
use model::units::{BlobId, NodeHash, PayerKey, ShardId, UnixMs, UploadId, VolumeId};
use model::wire::Base64;
use model::wire::api::{
    BlobRequest, NodeBody, Nodes, Plan, ReceiptPage, SegmentReceipts, UploadRequest,
};
use tasks::JoinSet;
use tasks::time::timeout;

use crate::transfer::reports::{COURTESY, ReportBook};
use crate::transfer::window::Window;
use crate::transfer::{Progress, Transfer};
pub use error::UploadError;
#[cfg(not(target_family = "wasm"))]
pub(crate) use error::ends_upload;
#[cfg(not(target_family = "wasm"))]
pub use file_source::EncryptedFile;
use log::write_down;
pub use log::{LogError, LogPosition, Logged, LoggedSegment, SegmentLog};
pub use plan::PlanError;
use plan::{Place, PlanFeed, check_class};
use prepare::{Cut, PreparedSegment, prepare};
use segment::{Road, SentSegment, send_segment};
pub use source::{BlobSource, Ciphertext, InMemory, ReadError};
use spare::SpareDesk;

/// Segments in a page of receipts, and at most so many in the commit.
const RECEIPT_SEGMENTS_PER_PAGE: usize = 64;
/// Manifest pages beyond these bytes do not wait for the commit.
const COMMIT_NODE_BYTES_MAX: usize = 2 << 20;
/// Manifest pages sent at a time, bytes.
const NODE_BATCH_BYTES: usize = 4 << 20;

/// Stores blobs.
#[derive(Clone, Debug)]
pub struct Uploader {
    transfer: Transfer,
}

/// What is to be stored.
#[derive(Debug)]
pub struct StoreRequest {
    /// The volume whose root will refer to it.
    pub volume: VolumeId,
    /// The class the owner chose; else the Bridge decides.
    pub class: Option<Class>,
    /// At least one, at most 1,024.
    pub blobs: Vec<BlobSource>,
}

/// Blobs that are stored but not yet committed: everything the commit has to say about them.
#[derive(Clone, Debug)]
pub struct StagedUpload {
    /// The upload that a [root](crate::bridge_api::BridgeApi::put_root) ends.
    pub upload: UploadId,
    /// Until when it must be committed.
    pub expires: UnixMs,
    /// The class of every blob.
    pub class: Class,
    /// In the order of the request.
    pub blobs: Vec<StoredBlob>,
    /// Manifest pages to be added by the commit, with their bytes.
    pub nodes: Vec<NodeBody>,
    /// Manifest pages that are at the Bridge already and have to be named by the commit.
    pub pending: Vec<NodeHash>,
    /// Receipts that have to be in the commit.
    pub receipts: ReceiptPage,
}

/// A stored blob, as a tree entry refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its id.
    pub blob: BlobId,
    /// Bytes of ciphertext.
    pub length: u64,
    /// The top page of its manifest.
    pub manifest: NodeHash,
}

impl Uploader {
    /// Uploads through `transfer`.
    #[must_use]
    pub const fn new(transfer: Transfer) -> Self {
        Self { transfer }
    }

    /// Stores blobs at Hosts. Nothing of them is seen before a commit.
    ///
    /// Dropping the future stops everything; the Bridge forgets the upload when its time is over.
    ///
    /// # Errors
    /// [`UploadError`]; the upload is given up then.
    pub async fn store(
        &self,
        request: StoreRequest,
        progress: &Arc<Progress>,
    ) -> Result<StagedUpload, UploadError> {
        let plan = self.plan(&request, self.fresh_payer()).await?;
        self.store_planned(request, plan, None, progress).await
    }

    /// As [`store`](Self::store), by a plan that is there already. Written down in `logged`, another
    /// run can go on: with the same plan, the same secrets and the same content.
    ///
    /// # Errors
    /// [`UploadError`]; the upload is given up, but for one that is written down and
    /// [may go on](UploadError::may_go_on).
    pub async fn store_planned(
        &self,
        request: StoreRequest,
        plan: Plan,
        logged: Option<Logged>,
        progress: &Arc<Progress>,
    ) -> Result<StagedUpload, UploadError> {
        let (id, is_logged) = (plan.upload, logged.is_some());
        let stored = self.run(request, plan, logged, progress).await;
        if let Err(error) = &stored
            && !(is_logged && error.may_go_on())
        {
            self.abandon(&id).await;
        }
        stored
    }

    async fn run(
        &self,
        request: StoreRequest,
        plan: Plan,
        logged: Option<Logged>,
        progress: &Arc<Progress>,
    ) -> Result<StagedUpload, UploadError> {
        let mut upload = Upload::begin(&self.transfer, request, plan, progress)?;
        if let Some(Logged { log, known }) = logged {
            upload.road.log = Some(log);
            upload.known = known;
        }
        upload.run().await
    }

    /// Tells the Bridge that an upload will not be committed, as a courtesy.
    pub async fn abandon(&self, upload: &UploadId) {
        let given_up = timeout(COURTESY, self.transfer.api().abandon(upload)).await;
        if !matches!(given_up, Ok(Ok(()))) {
            tracing::debug!("the bridge was not told that the upload ended");
        }
    }

    /// A key for the payer of one upload, which nobody can link to the account.
    #[must_use]
    pub fn fresh_payer(&self) -> PayerKey {
        PayerKey(self.transfer.environment().fresh_key().public())
    }

    /// Asks for places. The same request again gives the same plan, while its upload is open.
    ///
    /// # Errors
    /// [`UploadError::Plan`].
    pub async fn plan(&self, request: &StoreRequest, payer: PayerKey) -> Result<Plan, UploadError> {
        let wanted = UploadRequest {
            volume: request.volume,
            payer,
            class: request.class,
            blobs: request.blobs.iter().map(BlobSource::request).collect(),
        };
        self.transfer
            .api()
            .plan(&wanted)
            .await
            .map_err(UploadError::Plan)
    }
}

/// An upload under way.
struct Upload {
    road: Road,
    feed: PlanFeed,
    blobs: Vec<(BlobSource, Shape)>,
    /// Segments of which an earlier run sent something.
    known: BTreeMap<LoggedSegment, JournalSegment>,
    running: JoinSet<Result<Done, UploadError>>,
    /// Manifest pages of the blobs that are done, and their bytes.
    pages: Vec<SealedPage>,
    page_bytes: usize,
    reports: ReportBook,
    window: Window,
    staged: StagedUpload,
}

/// A segment to be sent, once its log is durable up to a position.
type Ready = (PreparedSegment, LogPosition);

/// What a task of an upload came to.
enum Done {
    Segment(SentSegment),
    Receipts,
}

impl Upload {
    fn begin(
        transfer: &Transfer,
        request: StoreRequest,
        plan: Plan,
        progress: &Arc<Progress>,
    ) -> Result<Self, UploadError> {
        let staged = StagedUpload {
            upload: plan.upload,
            expires: plan.expires,
            class: plan.class,
            blobs: Vec::with_capacity(request.blobs.len()),
            nodes: Vec::new(),
            pending: Vec::new(),
            receipts: ReceiptPage::default(),
        };
        check_class(request.class, plan.class).map_err(UploadError::BadPlan)?;
        let blobs = request
            .blobs
            .into_iter()
            .map(|source| source.with_shape(plan.class));
        let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
        progress
            .bytes_planned
            .add(blobs.iter().map(|(source, _)| source.length).sum());
        let spares = SpareDesk::new(transfer.clone(), plan.upload);
        let progress = Arc::clone(progress);
        Ok(Self {
            road: Road {
                transfer: transfer.clone(),
                spares,
                progress,
                log: None,
            },
            feed: PlanFeed::new(transfer.api().clone(), plan.upload, plan.slots),
            blobs,
            known: BTreeMap::new(),
            running: JoinSet::new(),
            pages: Vec::new(),
            page_bytes: 0,
            reports: ReportBook::default(),
            window: Window::new(transfer.limits().segments_max),
            staged,
        })
    }

    async fn run(mut self) -> Result<StagedUpload, UploadError> {
        let stored = self.store_all().await;
        // Ends what is under way, so that nothing is stored any more.
        self.running.shutdown().await;
        self.reports.tell(self.road.transfer.api()).await;
        stored.map(|()| self.staged)
    }

    async fn store_all(&mut self) -> Result<(), UploadError> {
        for (source, shape) in std::mem::take(&mut self.blobs) {
            self.store_blob(source, shape).await?;
        }
        while let Some(done) = self.running.join_next().await {
            self.note(done)?;
        }
        self.put_pages(COMMIT_NODE_BYTES_MAX).await?;
        let pages = std::mem::take(&mut self.pages);
        self.staged.nodes = pages.into_iter().map(node_body).collect();
        Ok(())
    }

    /// Reads a blob to its end and puts all its segments on their way.
    async fn store_blob(&mut self, source: BlobSource, shape: Shape) -> Result<(), UploadError> {
        let (blob, length) = (source.blob, source.length);
        let failed = |source| UploadError::Manifest { blob, source };
        let mut manifest = ManifestBuilder::new(shape, blob, source.secret);
        let mut content = source.content;
        for index in 0..shape.segments() {
            let now = self.road.transfer.environment().now();
            let places = self.feed.next(blob, shape, index, now).await?;
            let segment = shape.segment(index).ok_or(UploadError::Interrupted)?;
            let ids = match self.known.remove(&(blob, index)) {
                Some(known) if known.stored => {
                    let skipped = content.skip(segment.length.into());
                    skipped.map_err(|source| UploadError::Read { blob, source })?;
                    self.take_over(blob, segment, known)
                }
                known => {
                    let cut = Cut {
                        blob,
                        class: shape.class(),
                        segment,
                        is_last: index + 1 == shape.segments(),
                        known_ids: known.map(|known| known.ids),
                    };
                    let (ready, read_on) = self.prepare(cut, content).await?;
                    content = read_on;
                    let ids = ready.0.ids.clone();
                    self.send(places, ready);
                    ids
                }
            };
            for page in manifest.push(&ids).map_err(failed)? {
                self.page_bytes += page.bytes().len();
                self.pages.push(page);
            }
        }
        let manifest = manifest.finish().map_err(failed)?;
        self.staged.blobs.push(StoredBlob {
            blob,
            length,
            manifest,
        });
        if self.page_bytes > COMMIT_NODE_BYTES_MAX + NODE_BATCH_BYTES {
            self.put_pages(COMMIT_NODE_BYTES_MAX).await?;
        }
        Ok(())
    }

    /// Counts a segment that an earlier run stored; returns its ids.
    fn take_over(&mut self, blob: BlobId, segment: Segment, known: JournalSegment) -> Vec<ShardId> {
        let (progress, length) = (&self.road.progress, u64::from(segment.length));
        for counter in [
            &progress.bytes_encrypted,
            &progress.bytes_stored,
            &progress.bytes_resumed,
            &progress.bytes_kept,
        ] {
            counter.add(length);
        }
        if !known.receipts.is_empty() {
            let receipts = known.receipts.into_iter();
            self.hand_in(SegmentReceipts {
                blob,
                segment: segment.index,
                ids: known.ids.clone(),
                receipts: receipts.map(|receipt| receipt.map(Base64)).collect(),
            });
        }
        known.ids
    }

    /// Puts a segment on its way, once what has to be written down of it is durable.
    fn send(&mut self, places: Vec<Place>, (segment, position): Ready) {
        let road = self.road.clone();
        self.running.spawn(async move {
            if let Some(log) = &road.log {
                log.durable(position).await?;
            }
            send_segment(road, places, segment).await.map(Done::Segment)
        });
    }

    /// Makes the shards of the next segment, once there is room for them.
    async fn prepare(
        &mut self,
        cut: Cut,
        mut content: Box<dyn Ciphertext>,
    ) -> Result<(Ready, Box<dyn Ciphertext>), UploadError> {
        let length = u64::from(cut.segment.length);
        let transfer = self.road.transfer.clone();
        while self.running.len() >= self.window.size() {
            self.note_next().await?;
        }
        let room = self
            .meanwhile(transfer.buffers().room(cut.memory_bytes()))
            .await?;
        let buffers = transfer.buffers().clone();
        let log = self.road.log.clone();
        let prepared = tasks::spawn_blocking(move || {
            let segment = prepare(&cut, &mut *content, &buffers, &room)?;
            let position = match &log {
                Some(log) => write_down(&**log, &segment, &*content)?,
                None => LogPosition::default(),
            };
            Ok::<_, UploadError>(((segment, position), content))
        });
        let prepared = self
            .meanwhile(prepared)
            .await?
            .map_err(|_| UploadError::Interrupted)??;
        self.road.progress.bytes_encrypted.add(length);
        Ok(prepared)
    }

    /// Waits for `future`, and notes what gets done meanwhile; fails when any part fails.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, UploadError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                value = &mut future => return Ok(value),
                Some(done) = self.running.join_next() => self.note(done)?,
            }
        }
    }

    async fn note_next(&mut self) -> Result<(), UploadError> {
        match self.running.join_next().await {
            Some(done) => self.note(done),
            None => Ok(()),
        }
    }

    fn note(
        &mut self,
        done: Result<Result<Done, UploadError>, tasks::JoinError>,
    ) -> Result<(), UploadError> {
        let Done::Segment(sent) = done.map_err(|_| UploadError::Interrupted)?? else {
            return Ok(());
        };
        self.reports.note(sent.reports);
        self.window.took(sent.took);
        self.hand_in(sent.receipts);
        Ok(())
    }

    /// Keeps receipts for the commit, or sends a page of them ahead.
    fn hand_in(&mut self, receipts: SegmentReceipts) {
        let waiting = &mut self.staged.receipts.segments;
        waiting.push(receipts);
        if waiting.len() <= RECEIPT_SEGMENTS_PER_PAGE {
            return;
        }
        let segments: Vec<SegmentReceipts> = waiting.drain(..RECEIPT_SEGMENTS_PER_PAGE).collect();
        let (api, upload) = (self.road.transfer.api().clone(), self.staged.upload);
        let log = self.road.log.clone();
        self.running.spawn(async move {
            let page = ReceiptPage { segments };
            let put = api.put_receipts(&upload, &page).await;
            put.map_err(UploadError::Receipts)?;
            if let Some(log) = log {
                let handed_in = page.segments.iter().map(|of| (of.blob, of.segment));
                log.handed_in(&handed_in.collect::<Vec<_>>())?;
            }
            Ok(Done::Receipts)
        });
    }

    /// Sends manifest pages ahead of the commit until at most `keep_bytes` of them wait for it.
    async fn put_pages(&mut self, keep_bytes: usize) -> Result<(), UploadError> {
        while self.page_bytes > keep_bytes {
            let mut nodes = Vec::new();
            let mut bytes = 0;
            while bytes < NODE_BATCH_BYTES
                && self.page_bytes > keep_bytes
                && let Some(page) = self.pages.pop()
            {
                bytes += page.bytes().len();
                self.page_bytes -= page.bytes().len();
                nodes.push(node_body(page));
            }
            let hashes: Vec<NodeHash> = nodes.iter().map(|node| node.hash).collect();
            let nodes = Nodes { nodes };
            let api = self.road.transfer.api().clone();
            self.meanwhile(api.put_nodes(&nodes))
                .await?
                .map_err(UploadError::Nodes)?;
            self.staged.pending.extend(hashes);
        }
        Ok(())
    }
}

impl BlobSource {
    const fn request(&self) -> BlobRequest {
        BlobRequest {
            blob: self.blob,
            length: self.length,
            owner_tag: self.owner_tag,
        }
    }

    fn with_shape(self, class: Class) -> Result<(Self, Shape), UploadError> {
        match Shape::new(self.length, class) {
            Ok(shape) => Ok((self, shape)),
            Err(source) => Err(UploadError::Shape {
                blob: self.blob,
                source,
            }),
        }
    }
}

fn node_body(page: SealedPage) -> NodeBody {
    NodeBody {
        hash: page.hash(),
        body: Base64(page.into_bytes()),
    }
}
