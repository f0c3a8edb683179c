//! Where the shards of a blob are, as the Bridge says; its pages are fetched ahead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use model::formats::shape::Shape;
use model::units::{BlobId, PayerKey};
use model::wire::api::{Layout, SegmentLayout};
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;
use tasks::AbortOnDropHandle;
use tasks::time::timeout;
use tokio::sync::mpsc;

use super::DownloadError;
use crate::bridge_api::BridgeApi;
use crate::transfer::hosts::Host;

/// Pages that wait to be used, besides the one in use.
const PAGES_AHEAD: usize = 1;
/// Where shards are now is asked once more within this.
const REFRESH_WITHIN: Duration = Duration::from_secs(4);

/// Where a shard can be read.
#[derive(Clone, Debug)]
pub(super) struct ReadPlace {
    pub(super) host: Arc<Host>,
    /// As it goes into the header.
    pub(super) ticket: Vec<u8>,
}

/// The places of one segment's shards, n in all; `None` where no Host has the shard.
pub(super) type ReadPlaces = Vec<Option<ReadPlace>>;

/// Whose layout, and who pays for reading.
#[derive(Clone, Debug)]
pub(super) struct LayoutDesk {
    pub(super) api: BridgeApi,
    pub(super) blob: BlobId,
    pub(super) shape: Shape,
    pub(super) payer: PayerKey,
}

/// Asks for a page of a layout.
pub(super) async fn ask(
    api: &BridgeApi,
    (blob, payer): (BlobId, PayerKey),
    segments: Range<u64>,
) -> Result<Layout, DownloadError> {
    let limit = (segments.end - segments.start).min(SEGMENTS_PER_PAGE_MAX as u64);
    let page = api.layout(&blob, segments.start, limit, &payer).await;
    page.map_err(|source| DownloadError::FetchLayout { blob, source })
}

impl LayoutDesk {
    async fn page(&self, segments: Range<u64>) -> Result<Layout, DownloadError> {
        let page = ask(&self.api, (self.blob, self.payer), segments.clone()).await?;
        self.checked(page, segments.start)
    }

    fn checked(&self, page: Layout, first: u64) -> Result<Layout, DownloadError> {
        let fits = page.length == self.shape.length() && page.class == self.shape.class();
        if fits && !page.segments.is_empty() {
            Ok(page)
        } else {
            Err(self.bad(first))
        }
    }

    /// Where the shards of `segment` are now; `None` where the Bridge does not say.
    pub(super) async fn refresh(&self, segment: u64) -> Option<ReadPlaces> {
        let page = timeout(REFRESH_WITHIN, self.page(segment..segment + 1))
            .await
            .ok()?
            .ok()?;
        let hosts = dialable(&page);
        self.places(&hosts, page.segments.first()?, segment).ok()
    }

    fn places(
        &self,
        hosts: &[Arc<Host>],
        layout: &SegmentLayout,
        segment: u64,
    ) -> Result<ReadPlaces, DownloadError> {
        if layout.segment != segment || layout.shards.len() != usize::from(self.shape.class().n()) {
            return Err(self.bad(segment));
        }
        let place = |host: u16, ticket: &[u8]| {
            let host = Arc::clone(hosts.get(usize::from(host))?);
            Some(ReadPlace {
                host,
                ticket: ticket.to_vec(),
            })
        };
        let shards = layout.shards.iter();
        Ok(shards
            .map(|shard| place(shard.host?, &shard.ticket.as_ref()?.0))
            .collect())
    }

    const fn bad(&self, segment: u64) -> DownloadError {
        DownloadError::BadLayout {
            blob: self.blob,
            segment,
        }
    }
}

fn dialable(page: &Layout) -> Vec<Arc<Host>> {
    page.hosts
        .iter()
        .map(|address| Arc::new(Host::new(address)))
        .collect()
}

/// The layouts of a range of segments, in order.
#[derive(Debug)]
pub(super) struct LayoutFeed {
    desk: LayoutDesk,
    pages: mpsc::Receiver<Result<Layout, DownloadError>>,
    ready: VecDeque<SegmentLayout>,
    hosts: Vec<Arc<Host>>,
    _fetcher: AbortOnDropHandle<()>,
}

impl LayoutFeed {
    /// The layouts of `segments`; of them `early` was fetched before.
    pub(super) fn new(desk: LayoutDesk, segments: Range<u64>, early: Option<Layout>) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let fetcher = tasks::spawn(fetch_pages(desk.clone(), segments, early, sender));
        Self {
            desk,
            pages,
            ready: VecDeque::new(),
            hosts: Vec::new(),
            _fetcher: AbortOnDropHandle::new(fetcher),
        }
    }

    /// The places of `segment`. Segments are asked for in rising order.
    pub(super) async fn places(&mut self, segment: u64) -> Result<ReadPlaces, DownloadError> {
        loop {
            while let Some(layout) = self.ready.pop_front() {
                if layout.segment >= segment {
                    return self.desk.places(&self.hosts, &layout, segment);
                }
            }
            let page = self
                .pages
                .recv()
                .await
                .ok_or_else(|| self.desk.bad(segment))??;
            self.hosts = dialable(&page);
            self.ready = page.segments.into();
        }
    }
}

async fn fetch_pages(
    desk: LayoutDesk,
    segments: Range<u64>,
    mut early: Option<Layout>,
    pages: mpsc::Sender<Result<Layout, DownloadError>>,
) {
    let mut first = segments.start;
    while first < segments.end {
        let page = match early.take() {
            Some(page) => desk.checked(page, first),
            None => desk.page(first..segments.end).await,
        };
        let got = page.as_ref().map_or(0, |page| page.segments.len() as u64);
        if pages.send(page).await.is_err() || got == 0 {
            return;
        }
        first = first.saturating_add(got);
    }
}
