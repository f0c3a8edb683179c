//! An upload: blobs in, shards at Hosts and receipts at the Bridge out; the commit is the caller's.
//!
//! The stages run side by side, with memory as the only queue between them: the plan is fetched
//! ahead ([`plan`]), one segment at a time is read, coded and hashed ([`prepare`]), several are on
//! their way ([`segment`]), their receipts go to the Bridge in pages. Nothing is ever encrypted
//! twice: a segment's shards are made once and sent as they are, also to spares.

mod error;
mod pace;
mod plan;
mod prepare;
mod put;
mod segment;
mod source;
mod spare;

use std::sync::Arc;

use model::formats::SealedPage;
use model::formats::manifest::ManifestBuilder;
use model::formats::shape::{Class, Shape};
use model::units::{BlobId, NodeHash, PayerKey, UnixMs, UploadId, VolumeId};
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
pub use plan::PlanError;
use plan::{PlanFeed, check_class};
use prepare::{Cut, PreparedSegment, prepare};
use segment::{Road, SentSegment, send_segment};
pub use source::{BlobSource, Ciphertext, EncryptedFile, InMemory, ReadError};
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
    /// The upload that [`commit`](crate::bridge_api::BridgeApi::commit) ends.
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
        let plan = self.plan(&request).await?;
        let id = plan.upload;
        let stored = match Upload::begin(&self.transfer, request, plan, progress) {
            Ok(upload) => upload.run().await,
            Err(error) => Err(error),
        };
        if stored.is_err() {
            let given_up = timeout(COURTESY, self.transfer.api().abandon(&id)).await;
            if !matches!(given_up, Ok(Ok(()))) {
                tracing::debug!("the bridge was not told that the upload ended");
            }
        }
        stored
    }

    async fn plan(&self, request: &StoreRequest) -> Result<Plan, UploadError> {
        let wanted = UploadRequest {
            volume: request.volume,
            payer: PayerKey(self.transfer.environment().fresh_key().public()),
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
    running: JoinSet<Result<Done, UploadError>>,
    /// Manifest pages of the blobs that are done, and their bytes.
    pages: Vec<SealedPage>,
    page_bytes: usize,
    reports: ReportBook,
    window: Window,
    staged: StagedUpload,
}

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
            },
            feed: PlanFeed::new(transfer.api().clone(), plan.upload, plan.slots),
            blobs,
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
            let (segment, read_on) = self.prepare(blob, shape, index, content).await?;
            content = read_on;
            for page in manifest.push(&segment.ids).map_err(failed)? {
                self.page_bytes += page.bytes().len();
                self.pages.push(page);
            }
            let sending = send_segment(self.road.clone(), places, segment);
            self.running
                .spawn(async move { sending.await.map(Done::Segment) });
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

    /// Makes the shards of the next segment, once there is room for them.
    async fn prepare(
        &mut self,
        blob: BlobId,
        shape: Shape,
        index: u64,
        mut content: Box<dyn Ciphertext>,
    ) -> Result<(PreparedSegment, Box<dyn Ciphertext>), UploadError> {
        let segment = shape.segment(index).ok_or(UploadError::Interrupted)?;
        let is_last = index + 1 == shape.segments();
        let cut = Cut {
            blob,
            class: shape.class(),
            segment,
            is_last,
        };
        let transfer = self.road.transfer.clone();
        while self.running.len() >= self.window.size() {
            self.note_next().await?;
        }
        let room = self
            .meanwhile(transfer.buffers().room(cut.memory_bytes()))
            .await?;
        let buffers = transfer.buffers().clone();
        let prepared = tasks::spawn_blocking(move || {
            prepare(&cut, &mut *content, &buffers, &room).map(|segment| (segment, content))
        });
        let prepared = self
            .meanwhile(prepared)
            .await?
            .map_err(|_| UploadError::Interrupted)??;
        self.road
            .progress
            .bytes_encrypted
            .add(u64::from(segment.length));
        Ok(prepared)
    }

    /// Waits for `future`, and notes what gets done meanwhile; fails when any part fails.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, UploadError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
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
        let waiting = &mut self.staged.receipts.segments;
        waiting.push(sent.receipts);
        if waiting.len() > RECEIPT_SEGMENTS_PER_PAGE {
            let page: Vec<SegmentReceipts> = waiting.drain(..RECEIPT_SEGMENTS_PER_PAGE).collect();
            let (api, upload) = (self.road.transfer.api().clone(), self.staged.upload);
            self.running.spawn(async move {
                let page = ReceiptPage { segments: page };
                let put = api.put_receipts(&upload, &page).await;
                put.map(|()| Done::Receipts).map_err(UploadError::Receipts)
            });
        }
        Ok(())
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
