//! `verify`: whether what lies at and below a path is still at its Hosts, without fetching it.
//!
//! The tree is walked in windows. Of each window, files are grouped by blob, so that a pack is
//! asked for once for all its files; packs met before are remembered, as many as fit. Files in the
//! tree itself need no proof: their bytes are in sealed pages whose hashes were checked on the way.
//!
//! What is found goes to the [`Examiner`] as it is found; nothing grows with the number of files.

mod job;
mod report;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use model::formats::tree::{Content, Entry, Kind, TreePath, Walked};
use model::units::{BlobId, PACK_FILE_BYTES_MAX};
use tasks::JoinSet;
use tokio::sync::mpsc;

use super::open::{Drive, OpenError};
use super::read::ReadError;
use super::stream::access_of;
use super::watch::{Tally, Watcher};
pub use crate::audit::{AskedHost, AuditError, Failing, Grade, Leaves, SegmentAudit, Verdict};
use crate::audit::{Auditor, BlobEvent, BlobJob};
use crate::download::BlobAccess;
use crate::transfer::FailureKind;
use crate::transfer::reports::ReportBook;
use job::{Job, Spot};
pub use report::VerifyReport;

/// Files taken at a time.
const WINDOW_FILES: usize = 8_192;
/// Blobs asked for at a time.
const BLOBS_AT_A_TIME: usize = 8;
/// Events that wait to be noted.
const EVENTS_MAX: usize = 64;
/// Segments of packs that are remembered.
const REMEMBERED_MAX: usize = 100_000;

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// A file or folder.
    pub path: TreePath,
    /// How much of each shard is asked for.
    pub leaves: Leaves,
}

/// Hears what is found.
pub trait Examiner: Watcher {
    /// Not all shards of a segment were proved. `file` lies in it, and `others` more files of the
    /// same pack as far as they were seen together.
    fn unproved(&self, segment: &SegmentAudit, file: &TreePath, others: usize);
}

/// A verification that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The program is ending.
    #[error("the verification was interrupted")]
    Interrupted,
}

impl VerifyError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::Interrupted => FailureKind::Local,
        }
    }
}

/// A file whose shards do not bring it back now.
#[derive(Debug, thiserror::Error)]
enum FileLoss {
    #[error("too few hosts could be asked to prove that it comes back")]
    Unavailable,
    #[error("too few shards are left; it does not come back")]
    Lost,
}

/// Files of blobs that were collected until a window was full.
type Window = BTreeMap<BlobId, Files>;

/// Files of one blob.
struct Files {
    access: BlobAccess,
    files: Vec<(TreePath, Range<u64>)>,
}

/// One `verify` under way.
struct Verification {
    auditor: Auditor,
    tally: Arc<Tally>,
    examiner: Arc<dyn Examiner>,
    /// Segments of packs, and how they stand.
    known: BTreeMap<(BlobId, u64), Grade>,
    reports: ReportBook,
    report: VerifyReport,
}

impl Drive {
    /// Asks Hosts for proofs of everything at and below a path.
    ///
    /// # Errors
    /// [`VerifyError`] where that could not be gone through; what was found missing is no error
    /// but in the report.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        tally: &Arc<Tally>,
        examiner: &Arc<dyn Examiner>,
    ) -> Result<VerifyReport, VerifyError> {
        let snapshot = self.snapshot().await?;
        let entry = snapshot.entry(&request.path).await?;
        let mut verification = Verification {
            auditor: Auditor::new(self.transfer.clone(), request.leaves),
            tally: Arc::clone(tally),
            examiner: Arc::clone(examiner),
            known: BTreeMap::new(),
            reports: ReportBook::default(),
            report: VerifyReport::default(),
        };
        let (mut window, mut files) = (Window::new(), 0);
        verification.collect(&mut window, request.path.clone(), &entry);
        if let Some(folder) = entry.folder() {
            let mut walk = snapshot.walk(folder, request.path.clone());
            while let Some(Walked { path, entry }) = walk.next().await? {
                files += usize::from(verification.collect(&mut window, path, &entry));
                if files >= WINDOW_FILES {
                    let full = std::mem::take(&mut window);
                    self.work(&mut verification, full).await?;
                    files = 0;
                }
            }
        }
        tally.all_found.add(1);
        self.work(&mut verification, window).await?;
        verification.reports.tell(self.transfer.api()).await;
        Ok(verification.report)
    }

    /// Asks for everything in a window.
    async fn work(&self, of: &mut Verification, window: Window) -> Result<(), VerifyError> {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut waiting = window.into_values();
        let (mut jobs, mut running) = (BTreeMap::new(), JoinSet::new());
        let mut number = 0;
        loop {
            while jobs.len() < BLOBS_AT_A_TIME
                && let Some(files) = waiting.next()
            {
                let (job, asked) = of.begin(number, files);
                jobs.insert(number, job);
                running.spawn(of.auditor.clone().audit(asked, sender.clone()));
                number += 1;
            }
            if jobs.is_empty() {
                return Ok(());
            }
            let event = tokio::select! {
                biased;
                event = events.recv() => event.ok_or(VerifyError::Interrupted)?,
                Some(ended) = running.join_next() => {
                    ended.map_err(|_| VerifyError::Interrupted)?;
                    continue;
                }
            };
            of.note(&mut jobs, event);
            if of.reports.is_full() {
                of.reports.tell(self.transfer.api()).await;
            }
        }
    }
}

impl Verification {
    /// Notes an entry; whether its shards are to be asked for.
    fn collect(&mut self, window: &mut Window, path: TreePath, entry: &Entry) -> bool {
        let Kind::File(file) = &entry.kind else {
            return false;
        };
        self.tally.files_found.add(1);
        self.tally.bytes_found.add(file.size());
        match &file.content {
            Content::Inline(bytes) => {
                self.report.inline_files += 1;
                self.tally.bytes_untransferred.add(bytes.len() as u64);
                self.file_done(bytes.len() as u64);
                false
            }
            Content::Blob(slice) => {
                let blob = window.entry(slice.blob).or_insert_with(|| Files {
                    access: access_of(slice),
                    files: Vec::new(),
                });
                let bytes = slice.offset..slice.offset.saturating_add(slice.length);
                blob.files.push((path, bytes));
                true
            }
        }
    }

    fn file_done(&mut self, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
        self.tally.files_done.add(1);
    }

    fn begin(&self, number: usize, Files { access, files }: Files) -> (Job, BlobJob) {
        let blob = access.blob;
        let known = self.known.range((blob, 0)..=(blob, u64::MAX));
        let known: BTreeMap<u64, Grade> = known
            .map(|((_, segment), grade)| (*segment, *grade))
            .collect();
        let asked = BlobJob {
            number,
            access,
            ranges: files.iter().map(|(_, bytes)| bytes.clone()).collect(),
            known: known.keys().copied().collect(),
        };
        let is_pack = files
            .iter()
            .all(|(_, bytes)| bytes.end - bytes.start <= PACK_FILE_BYTES_MAX);
        let spots = files.into_iter().map(|(path, bytes)| Spot {
            path,
            bytes,
            grade: Grade::Whole,
        });
        let job = Job {
            blob,
            is_pack,
            known,
            shape: None,
            spots: spots.collect(),
        };
        (job, asked)
    }

    fn note(&mut self, jobs: &mut BTreeMap<usize, Job>, event: BlobEvent) {
        match event {
            BlobEvent::Shape(number, shape) => {
                if let Some(job) = jobs.get_mut(&number) {
                    job.learn(shape);
                }
            }
            BlobEvent::Segment(number, audit) => {
                if let Some(job) = jobs.get_mut(&number) {
                    self.note_segment(job, &audit);
                }
            }
            BlobEvent::Done(number, outcome) => {
                if let Some(job) = jobs.remove(&number) {
                    self.note_done(job, &outcome);
                }
            }
        }
    }

    fn note_segment(&mut self, job: &mut Job, audit: &SegmentAudit) {
        let grade = audit.grade();
        self.report.add(audit);
        self.tally.transfer.shards.add(u64::from(audit.proved));
        self.reports.note(audit.reports().collect());
        if job.is_pack {
            if self.known.len() >= REMEMBERED_MAX {
                self.known.pop_first();
            }
            self.known.insert((job.blob, audit.segment), grade);
        }
        if grade == Grade::Whole {
            return;
        }
        let touched = job.mark(audit.segment, grade);
        if let Some((first, others)) = touched {
            self.examiner.unproved(audit, &first, others);
        }
    }

    fn note_done(&mut self, job: Job, outcome: &Result<(), AuditError>) {
        self.report.blobs += 1;
        if let Err(error) = outcome {
            self.report.note_kind(error.kind());
        }
        for spot in job.spots {
            let bytes = spot.bytes.end - spot.bytes.start;
            self.tally.transfer.bytes_verified.add(bytes);
            let path = spot.path.to_bytes();
            match (outcome, spot.grade) {
                (Err(error), _) => self.examiner.failed(&path, error),
                (Ok(()), Grade::Lost) => self.examiner.failed(&path, &FileLoss::Lost),
                (Ok(()), Grade::Unavailable) => {
                    self.examiner.failed(&path, &FileLoss::Unavailable);
                }
                (Ok(()), Grade::Whole | Grade::Enough | Grade::Damaged) => {
                    self.file_done(bytes);
                    continue;
                }
            }
            self.report.files_failed += 1;
            self.tally.files_done.add(1);
        }
    }
}
