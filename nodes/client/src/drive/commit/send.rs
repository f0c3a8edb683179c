//! The commit itself: signs the root, hands it to the Bridge with everything it adds and ends.

use std::collections::BTreeSet;

use model::formats::SealedPage;
use model::formats::root::{Lineage, Root, SignedRoot};
use model::formats::tree::{self, Tree};
use model::units::NodeHash;
use model::wire::Base64;
use model::wire::api::{BlobChange, Commit, NodeBody, Nodes, RootAnswer};
use model::wire::limits::NODES_PER_PUT_MAX;

use super::CommitError;
use crate::drive::open::{Drive, Head};
use crate::upload::StagedUpload;

/// Pages of a commit above these bytes are sent before it.
const COMMIT_PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of pages sent at a time, and how many.
const PAGE_BATCH_BYTES: usize = 4 << 20;
const PAGE_BATCH_MAX: usize = 512;

/// Pages that the Bridge got before the commit.
#[derive(Debug, Default)]
pub(super) struct Sent(BTreeSet<NodeHash>);

impl Drive {
    pub(super) fn sign(
        &self,
        head: &Head,
        edited: &tree::Commit,
    ) -> Result<SignedRoot, CommitError> {
        let settings = &self.settings;
        let lineage = head.root.as_ref().map_or_else(Lineage::first, |root| {
            root.unverified().lineage.next(root.hash())
        });
        let (account, volume, epoch) = (settings.account, settings.volume, settings.epoch);
        let root = Root {
            account,
            volume,
            lineage,
            top: edited.top,
            epoch,
            sealed_keys: head.keys.seal(&self.keys.volume, &account, &volume, epoch),
            device_list: head.devices.hash(),
            time: self.environment.now(),
            pins: Vec::new(),
            locations: Vec::new(),
        };
        root.sign(&self.keys.device).map_err(CommitError::Sign)
    }

    /// Sends the commit; returns the root that stands there instead, if one does.
    pub(super) async fn send(
        &self,
        edited: &tree::Commit,
        signed: &SignedRoot,
        uploads: &[&StagedUpload],
        sent: &mut Sent,
    ) -> Result<Option<RootAnswer>, CommitError> {
        let mut commit = Commit {
            root: Base64(signed.bytes().to_vec()),
            retired: edited.retired.clone(),
            blobs: blob_changes(edited),
            ..Commit::default()
        };
        let mut nodes: Vec<NodeBody> = edited.added.iter().map(node_body).collect();
        for upload in uploads {
            commit.uploads.push(upload.upload);
            commit.pending.extend(&upload.pending);
            nodes.extend(upload.nodes.iter().cloned());
            let receipts = upload.receipts.segments.iter().cloned();
            commit.receipts.segments.extend(receipts);
        }
        let bytes: usize = nodes.iter().map(|node| node.body.0.len()).sum();
        if bytes <= COMMIT_PAGE_BYTES_MAX && nodes.len() <= NODES_PER_PUT_MAX {
            commit.nodes = nodes;
        } else {
            commit.pending.extend(nodes.iter().map(|node| node.hash));
            self.send_pages(nodes, sent).await?;
        }
        let volume = &self.settings.volume;
        match self.transfer.api().put_root(volume, &commit).await {
            Ok(_) => Ok(None),
            Err(error) => match error.root_conflict() {
                Some(newer) => Ok(Some(newer)),
                None => Err(CommitError::Commit(error)),
            },
        }
    }

    /// Sends pages that the Bridge did not get before.
    async fn send_pages(&self, pages: Vec<NodeBody>, sent: &mut Sent) -> Result<(), CommitError> {
        let mut batch = Nodes::default();
        let mut bytes = 0;
        for page in pages {
            if sent.0.contains(&page.hash) {
                continue;
            }
            let more = page.body.0.len();
            if bytes + more > PAGE_BATCH_BYTES || batch.nodes.len() >= PAGE_BATCH_MAX {
                self.send_batch(std::mem::take(&mut batch), sent).await?;
                bytes = 0;
            }
            bytes += more;
            batch.nodes.push(page);
        }
        self.send_batch(batch, sent).await
    }

    async fn send_batch(&self, batch: Nodes, sent: &mut Sent) -> Result<(), CommitError> {
        let count = batch.nodes.len();
        if count == 0 {
            return Ok(());
        }
        let put = self.transfer.api().put_nodes(&batch).await;
        put.map_err(|source| CommitError::Pages { count, source })?;
        sent.0.extend(batch.nodes.iter().map(|node| node.hash));
        Ok(())
    }

    /// Takes the committed state for the current one.
    pub(super) fn settle(
        &self,
        head: Head,
        edited: &tree::Commit,
        signed: SignedRoot,
    ) -> Result<Head, CommitError> {
        let top = self.keep(edited);
        let retired = edited.retired.iter();
        retired.for_each(|page| self.pages.forget(page));
        self.home.see_root(&signed).map_err(CommitError::Remember)?;
        let tree = Tree::new(self.settings.volume, head.keys.top.clone(), top);
        Ok(Head {
            root: Some(signed),
            tree,
            ..head
        })
    }
}

fn blob_changes(edited: &tree::Commit) -> Vec<BlobChange> {
    let changes = edited.blobs.iter().map(|(blob, change)| BlobChange {
        blob: *blob,
        references: change.references,
        live_bytes: change.live_bytes,
    });
    changes.collect()
}

fn node_body(page: &SealedPage) -> NodeBody {
    NodeBody {
        hash: page.hash(),
        body: Base64(page.bytes().to_vec()),
    }
}
