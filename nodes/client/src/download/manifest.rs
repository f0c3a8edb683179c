//! The manifest of a blob while it is read: pages come from the Bridge as they are needed.

use model::crypto::Secret;
use model::formats::Step;
use model::formats::manifest::{Manifest, ManifestError};
use model::formats::shape::Shape;
use model::units::{BlobId, NodeHash, ShardId};

use super::DownloadError;
use crate::bridge_api::BridgeApi;

/// What opens a blob's manifest, as a tree entry carries it.
#[derive(Clone, Debug)]
pub struct BlobAccess {
    /// The blob.
    pub blob: BlobId,
    /// Opens its manifest.
    pub secret: Secret,
    /// The top page of its manifest.
    pub manifest: NodeHash,
}

/// Reads a manifest through the Bridge. Nothing the Bridge answers is believed: pages must hash
/// to what the page above says.
#[derive(Debug)]
pub(super) struct ManifestReader {
    api: BridgeApi,
    blob: BlobId,
    manifest: Manifest,
}

impl ManifestReader {
    pub(super) fn new(api: BridgeApi, access: &BlobAccess) -> Self {
        let manifest = Manifest::new(access.blob, access.secret.clone(), access.manifest);
        Self {
            api,
            blob: access.blob,
            manifest,
        }
    }

    /// Whether the blob's shape was learnt before.
    pub(super) fn is_known(&mut self) -> bool {
        matches!(self.manifest.shape(), Step::Ready(_))
    }

    /// The blob's shape.
    pub(super) async fn shape(&mut self) -> Result<Shape, DownloadError> {
        loop {
            match self.manifest.shape() {
                Step::Ready(shape) => return Ok(shape),
                Step::Need(pages) => self.fetch(&pages).await?,
            }
        }
    }

    /// The shard ids of `segment`: n of them, one for mirrors.
    pub(super) async fn ids(&mut self, segment: u64) -> Result<Vec<ShardId>, DownloadError> {
        let blob = self.blob;
        loop {
            match self
                .manifest
                .segment(segment)
                .map_err(|source| refused(blob, source))?
            {
                Step::Ready(ids) => return Ok(ids.to_vec()),
                Step::Need(pages) => self.fetch(&pages).await?,
            }
        }
    }

    async fn fetch(&mut self, pages: &[NodeHash]) -> Result<(), DownloadError> {
        let blob = self.blob;
        let nodes = self.api.nodes(pages).await;
        let nodes = nodes.map_err(|source| DownloadError::FetchManifest { blob, source })?;
        for page in pages {
            let node = nodes.nodes.iter().find(|node| node.hash == *page);
            let node = node.ok_or(DownloadError::NoManifest { blob, page: *page })?;
            self.manifest
                .accept(&node.body.0)
                .map_err(|source| refused(blob, source))?;
        }
        Ok(())
    }
}

const fn refused(blob: BlobId, source: ManifestError) -> DownloadError {
    DownloadError::BadManifest { blob, source }
}
