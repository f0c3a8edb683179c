//! `put`: local files, folders and symlinks into the tree.
//!
//! Three stages run side by side, each at most one batch ahead of the next: [`compose`] walks the
//! local trees and makes batches, the middle stage stores a batch's blobs at Hosts, the last one
//! commits it. So an interruption loses little, and running the same command again goes on.

mod batch;
mod compose;
mod content;
mod resume;
mod sources;
mod stdin;
mod walk;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use model::formats::shape::Class;
use model::formats::tree::{PathError, TreePath};
use tokio::sync::mpsc;

use super::commit::{CommitError, Committer, Intent, Outcome, Wanted};
use super::file::PutFileError;
use super::home::HomeError;
use super::journals::JournalFile;
use super::open::{Drive, OpenError};
use super::path::TypedPath;
use super::read::ReadError;
use super::watch::{Tally, Watcher};
use crate::bridge_api::BridgeError;
use crate::transfer::FailureKind;
use crate::upload::{StagedUpload, UploadError, ends_upload};
use batch::Batch;
use compose::{Composer, Origin};
pub use content::PartError;
use walk::Found;
pub use walk::WalkError;

/// Batches of one `put` that wait for their root.
const COMMITS_MAX: usize = 4;
/// Files that changed while they were read and are tried once more.
const RETRIED_MAX: usize = 10_000;

/// What to put where.
#[derive(Clone, Debug)]
pub struct PutRequest {
    /// Local files and folders; `-` alone is standard input.
    pub locals: Vec<PathBuf>,
    /// Where they go.
    pub remote: TypedPath,
    /// How they are spread; else the Bridge decides.
    pub class: Option<Class>,
}

/// What was put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutReport {
    /// Files and symlinks stored.
    pub stored: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files and symlinks that were there already, unchanged.
    pub unchanged: u64,
    /// Files, folders and symlinks that failed; each was named to the watcher.
    pub failed: u64,
    /// The class of the blobs that were stored, if any.
    pub class: Option<Class>,
}

/// A `put` that did not go through. What was committed before is kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The only thing to put does not exist, or cannot be looked at.
    #[error("{} cannot be read", path.display())]
    Local {
        /// The path.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// `-` beside other things, or into a folder.
    #[error("standard input is one file: `put - /path/of/the/file`")]
    Stdin,
    /// Standard input could not be read.
    #[error("standard input could not be read")]
    ReadStdin(#[source] io::Error),
    /// The ciphertext of standard input could not be kept while its length is unknown.
    #[error("the ciphertext of standard input could not be kept")]
    Spool(#[source] io::Error),
    /// There is no place to keep it.
    #[error("the home of this device cannot be used")]
    Home(#[from] HomeError),
    /// The destination or something above it is a file.
    #[error("`{path}` is a file in the cloud, and this needs a folder")]
    FolderNeeded {
        /// Which.
        path: TreePath,
    },
    /// A path that cannot be.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The Bridge does not say how files are spread.
    #[error("the bridge was asked how files are spread")]
    About(#[source] BridgeError),
    /// Blobs could not be stored.
    #[error("files could not be stored")]
    Store(#[from] UploadError),
    /// The change could not be committed.
    #[error("the tree could not be changed")]
    Commit(#[from] CommitError),
    /// The program is ending.
    #[error("the upload was interrupted")]
    Interrupted,
}

impl From<PutFileError> for PutError {
    fn from(error: PutFileError) -> Self {
        match error {
            PutFileError::Open(source) => source.into(),
            PutFileError::Read(source) => source.into(),
            PutFileError::IsFolder { .. } | PutFileError::TooLong { .. } => Self::Stdin,
            PutFileError::FolderNeeded { path } => Self::FolderNeeded { path },
            PutFileError::Store(source) => source.into(),
            PutFileError::Commit(source) => source.into(),
        }
    }
}

impl PutError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::Local { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                FailureKind::NotFound
            }
            Self::Local { .. } | Self::ReadStdin(_) | Self::Home(_) | Self::Interrupted => {
                FailureKind::Local
            }
            Self::Spool(source) if source.kind() == io::ErrorKind::StorageFull => {
                FailureKind::Quota
            }
            Self::Spool(_) => FailureKind::Local,
            Self::Stdin | Self::Path(_) => FailureKind::Refused,
            Self::FolderNeeded { .. } => FailureKind::Conflict,
            Self::About(source) => source.kind(),
            Self::Store(source) => source.kind(),
            Self::Commit(source) => source.kind(),
        }
    }
}

/// What every stage of a `put` needs.
#[derive(Clone, Debug)]
struct Put {
    class: Option<Class>,
    tally: Arc<Tally>,
    watcher: Arc<dyn Watcher>,
}

/// A batch whose blobs are stored.
struct StoredBatch {
    batch: Batch,
    upload: Option<StagedUpload>,
    /// Where the upload is written down; it goes with the commit.
    journal: Option<Arc<JournalFile>>,
}

impl StoredBatch {
    const fn of(
        batch: Batch,
        upload: Option<StagedUpload>,
        journal: Option<Arc<JournalFile>>,
    ) -> Self {
        Self {
            batch,
            upload,
            journal,
        }
    }
}

impl Drive {
    /// Puts local files into the tree.
    ///
    /// Single files that fail are named to `watcher`, and the rest goes on.
    ///
    /// # Errors
    /// [`PutError`] where nothing more can be put.
    pub async fn put(
        &self,
        request: PutRequest,
        tally: &Arc<Tally>,
        watcher: &Arc<dyn Watcher>,
    ) -> Result<PutReport, PutError> {
        let head = self.head().await?;
        let put = Put {
            class: request.class,
            tally: Arc::clone(tally),
            watcher: Arc::clone(watcher),
        };
        if request.locals.iter().any(|local| local.as_os_str() == "-") {
            return Box::pin(self.put_stdin(&request, &put, head)).await;
        }
        let sources = self.sources(&request, &put, &head).await?;
        let committer = self.committer(head);
        let mut report = PutReport {
            failed: sources.failed,
            ..PutReport::default()
        };
        if !sources.folders.is_empty() {
            let made = committer.commit(sources.folders.into()).await?;
            report.refuse(&put, made.refused);
        }
        let changed = self
            .run(sources.origins, &put, &committer, &mut report)
            .await?;
        if !changed.is_empty() {
            let again = vec![Origin::Again(changed)];
            let twice = self.run(again, &put, &committer, &mut report).await?;
            debug_assert!(twice.is_empty(), "files are tried twice, not more often");
        }
        Ok(report)
    }

    /// Runs the three stages over `origins`; returns the files that changed while being read.
    async fn run(
        &self,
        origins: Vec<Origin>,
        put: &Put,
        committer: &Committer<'_>,
        report: &mut PutReport,
    ) -> Result<Vec<(TreePath, Found)>, PutError> {
        let (batch_out, mut batches) = mpsc::channel::<Batch>(1);
        let (stored_out, stored) = mpsc::channel::<StoredBatch>(1);
        let composer = Composer::new(self, put.clone(), committer.snapshot(), batch_out);
        let composing = tasks::spawn_blocking(move || composer.run(origins));
        let storing = async {
            while let Some(batch) = batches.recv().await {
                let batch = Box::pin(self.store(batch, put)).await?;
                if stored_out.send(batch).await.is_err() {
                    break;
                }
            }
            drop(stored_out);
            Ok::<_, PutError>(())
        };
        let mut changed = Vec::new();
        let mut last = Committing {
            put,
            committer,
            report,
            changed: &mut changed,
        };
        tokio::try_join!(storing, last.run(stored))?;
        let composed = composing.await.map_err(|_| PutError::Interrupted)??;
        report.unchanged += composed.unchanged;
        report.failed += composed.failed;
        changed.extend(composed.changed);
        Ok(changed)
    }
}

/// The last stage.
struct Committing<'a, 'd> {
    put: &'a Put,
    committer: &'a Committer<'d>,
    report: &'a mut PutReport,
    /// Files that changed while they were read, to be tried once more.
    changed: &'a mut Vec<(TreePath, Found)>,
}

/// What a batch brings, once it is committed.
struct Share {
    files: u64,
    bytes: u64,
    class: Option<Class>,
    journal: Option<Arc<JournalFile>>,
}

impl Committing<'_, '_> {
    /// Commits batches as they come. Those that are ready while a root is under way share the next.
    async fn run(&mut self, mut stored: mpsc::Receiver<StoredBatch>) -> Result<(), PutError> {
        let (committer, mut commits, mut ended) = (self.committer, FuturesOrdered::new(), false);
        while !ended || !commits.is_empty() {
            tokio::select! {
                // Those who come do not starve those under way: there are never many.
                biased;
                batch = stored.recv(), if !ended && commits.len() < COMMITS_MAX => match batch {
                    Some(batch) => {
                        let (wanted, share) = self.take(batch);
                        commits.push_back(async { (committer.commit(wanted).await, share) });
                    }
                    None => ended = true,
                },
                Some((committed, share)) = commits.next(), if !commits.is_empty() => {
                    self.note(committed, &share)?;
                }
            }
        }
        Ok(())
    }

    /// What is wanted for a batch: all its files that were read as they were found.
    fn take(&mut self, stored: StoredBatch) -> (Wanted, Share) {
        let StoredBatch {
            mut batch,
            upload,
            journal,
        } = stored;
        let manifests = upload
            .as_ref()
            .map(|upload| upload.blobs.as_slice())
            .unwrap_or_default();
        let mut intents = std::mem::take(&mut batch.intents);
        let (mut files, mut bytes) = (batch.files, batch.bytes_inline);
        for slice in std::mem::take(&mut batch.slices) {
            let failure = batch.part(&slice).and_then(|part| part.outcome.failure());
            match failure {
                Some(PartError::Changed { .. })
                    if batch.first_try && self.changed.len() < RETRIED_MAX =>
                {
                    self.changed.push((slice.path, slice.found));
                }
                Some(error) => self.report.fail(self.put, &slice.path, error),
                None => {
                    files += 1;
                    bytes += slice.found.stamp.size;
                    intents.extend(batch.intent(&slice, manifests));
                }
            }
        }
        let class = upload.as_ref().map(|upload| upload.class);
        let share = Share {
            files,
            bytes,
            class,
            journal,
        };
        (Wanted { intents, upload }, share)
    }

    fn note(
        &mut self,
        committed: Result<Outcome, CommitError>,
        share: &Share,
    ) -> Result<(), PutError> {
        let kept = &self.put.tally.transfer.bytes_kept;
        match (&committed, &share.journal) {
            (Ok(_), Some(journal)) => journal.remove(),
            (Ok(_), None) => kept.add(share.bytes),
            (Err(error), Some(journal)) if error.refusal().is_some_and(ends_upload) => {
                journal.remove();
            }
            (Err(_), _) => {}
        }
        let refused = committed?.refused;
        self.report.stored += share.files.saturating_sub(refused.len() as u64);
        self.report.bytes += share.bytes;
        self.report.class = share.class.or(self.report.class);
        self.report.refuse(self.put, refused);
        self.put.tally.files_done.add(share.files);
        Ok(())
    }
}

impl PutReport {
    fn fail(&mut self, put: &Put, path: &TreePath, error: &(dyn std::error::Error + 'static)) {
        self.failed += 1;
        put.watcher.failed(&path.to_bytes(), error);
    }

    fn refuse(&mut self, put: &Put, refused: Vec<super::commit::Refused>) {
        for refused in refused {
            self.fail(put, &refused.path, &refused.error);
        }
    }
}
