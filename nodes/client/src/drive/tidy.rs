//! `tidy`: what is left in packs that are less than half alive goes into new ones, so that the old
//! ones can go.
//!
//! Files are fetched by their leaves, encrypted under new secrets and committed with the condition
//! that their entries are still what they were: whoever changes a file meanwhile keeps the change.
//! Content is in memory only, a batch at a time. Nothing is rewritten unasked: which entries lie in
//! a pack is only found by reading the tree, and that is never cheap enough to hide in another
//! command.

mod repack;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::formats::tree::{TreePath, Walked};
use model::units::{BlobId, PACK_FILE_BYTES_MAX};
use model::wire::api::SparseBlob;

use super::commit::CommitError;
use super::open::{Drive, OpenError};
use super::read::ReadError;
use super::watch::{Tally, Watcher};
use crate::bridge_api::BridgeError;
use crate::transfer::FailureKind;
use crate::upload::UploadError;
use repack::Repacking;

/// Packs that one run looks at.
const PACKS_MAX: usize = 10_000;
/// Bytes of files that are in memory, rewritten and committed together; and how many files.
const BATCH_BYTES: u64 = 32 << 20;
const BATCH_FILES: usize = 2_000;

/// How far one run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TidyRequest {
    /// Only tells what there is to do.
    pub dry_run: bool,
    /// Bytes of files that are rewritten at most.
    pub bytes_max: u64,
}

/// What a run found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TidyReport {
    /// Packs that were less than half alive.
    pub packs: u64,
    /// Bytes of them.
    pub pack_bytes: u64,
    /// Bytes of files in them.
    pub live_bytes: u64,
    /// Files that lie in new packs now.
    pub moved: u64,
    /// Bytes of them, each content once.
    pub moved_bytes: u64,
    /// Files that somebody changed meanwhile; they are as they were left.
    pub changed: u64,
    /// Files that could not be fetched; each was named.
    pub failed: u64,
    /// The kind of failure of one of them.
    pub failure: Option<FailureKind>,
    /// Packs that nothing refers to any more.
    pub emptied: u64,
    /// Some packs were left for another run.
    pub is_cut_short: bool,
}

/// A run that did not go through. What was committed before stays so.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The Bridge does not say which packs are sparse.
    #[error("which packs are less than half alive could not be learnt")]
    List(#[source] BridgeError),
    /// New packs could not be stored.
    #[error("new packs could not be stored")]
    Store(#[source] Box<UploadError>),
    /// The new places were not committed.
    #[error("the new places of files were not committed")]
    Commit(#[from] CommitError),
    /// The program is ending.
    #[error("the run was interrupted")]
    Interrupted,
}

impl TidyError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::List(source) => source.kind(),
            Self::Store(source) => source.kind(),
            Self::Commit(source) => source.kind(),
            Self::Interrupted => FailureKind::Local,
        }
    }
}

impl Drive {
    /// Brings what is left in sparse packs into new ones.
    ///
    /// Files that cannot be fetched are named to `watcher`, and the rest goes on.
    ///
    /// # Errors
    /// [`TidyError`].
    pub async fn tidy(
        &self,
        request: TidyRequest,
        tally: &Arc<Tally>,
        watcher: &Arc<dyn Watcher>,
    ) -> Result<TidyReport, TidyError> {
        let (packs, is_cut_short) = self.sparse_packs().await?;
        let mut report = TidyReport {
            packs: packs.len() as u64,
            pack_bytes: packs.values().map(|pack| pack.length).sum(),
            live_bytes: packs.values().map(|pack| pack.live_bytes).sum(),
            is_cut_short,
            ..TidyReport::default()
        };
        if request.dry_run || packs.is_empty() {
            return Ok(report);
        }
        self.rewrite(&packs, request, (tally, watcher), &mut report)
            .await?;
        let (left, _) = self.sparse_packs().await?;
        let emptied = packs.keys().filter(|pack| !left.contains_key(*pack));
        report.emptied = emptied.count() as u64;
        Ok(report)
    }

    async fn rewrite(
        &self,
        packs: &BTreeMap<BlobId, SparseBlob>,
        request: TidyRequest,
        (tally, watcher): (&Arc<Tally>, &Arc<dyn Watcher>),
        report: &mut TidyReport,
    ) -> Result<(), TidyError> {
        let head = self.head().await?;
        let mut repacking = Repacking::new(self, self.committer(head), (tally, watcher), report);
        let snapshot = repacking.snapshot();
        let top = snapshot.entry(&TreePath::top()).await?;
        let Some(folder) = top.folder() else {
            return Ok(());
        };
        let mut walk = snapshot.walk(folder, TreePath::top());
        let (mut batch, mut bytes, mut all) = (Vec::new(), 0, 0);
        while let Some(Walked { path, entry }) = walk.next().await? {
            let slice = entry.blob().filter(|slice| {
                slice.length < PACK_FILE_BYTES_MAX && packs.contains_key(&slice.blob)
            });
            let Some(length) = slice.map(|slice| slice.length) else {
                continue;
            };
            if all + length > request.bytes_max {
                repacking.cut_short();
                break;
            }
            tally.files_found.add(1);
            tally.bytes_found.add(length);
            (bytes, all) = (bytes + length, all + length);
            batch.push((path, entry));
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_FILES {
                repacking.repack(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        tally.all_found.add(1);
        repacking.repack(batch).await
    }

    /// The packs that are less than half alive, and whether there are more.
    async fn sparse_packs(&self) -> Result<(BTreeMap<BlobId, SparseBlob>, bool), TidyError> {
        let (api, mut packs) = (self.transfer.api(), BTreeMap::new());
        let mut after: Option<BlobId> = None;
        while packs.len() < PACKS_MAX {
            let page = api.sparse_blobs(after.as_ref()).await;
            let page = page.map_err(TidyError::List)?.blobs;
            // The Bridge is not believed to come to an end.
            match page.last().map(|last| last.blob) {
                Some(last) if after.is_none_or(|after| last > after) => after = Some(last),
                _ => return Ok((packs, false)),
            }
            packs.extend(page.into_iter().map(|pack| (pack.blob, pack)));
        }
        Ok((packs, true))
    }
}
