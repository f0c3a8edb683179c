//! `get`: files, folders and symlinks of the tree into a local folder.
//!
//! The tree is walked in windows. Of each window, folders, tiny files and symlinks are made at
//! once; the other files are grouped by blob, so that a pack is fetched once for all its files,
//! and several blobs are fetched at a time. A file gets its name when its last byte was verified
//! and written, a folder its time when nothing more comes into it.

mod fetch;
mod folders;
mod part;
mod resume;
mod source;
mod stdout;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::formats::tree::{Content, Entry, Kind, TreePath, Walked};
use model::units::BlobId;
use tasks::JoinSet;
use tasks::time::Instant;

use super::open::{Drive, OpenError};
use super::path::TypedPath;
use super::range::ByteRange;
use super::read::ReadError;
use super::stream::FileError;
use super::watch::{Tally, Watcher};
use crate::download::{DownloadError, Downloader};
use crate::transfer::FailureKind;
use fetch::{Fetched, fetch};
use folders::Folders;
use source::Start;
pub use target::TargetError;
use target::{Attributes, Target};

/// Entries taken at a time.
const WINDOW_ENTRIES: usize = 8_192;
/// Blobs fetched at a time.
const BLOBS_AT_A_TIME: usize = 4;
/// Once a file found too few Hosts, others are tried for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to get where.
#[derive(Clone, Debug)]
pub struct GetRequest {
    /// Paths in the cloud.
    pub remotes: Vec<TypedPath>,
    /// Where they go; `-` is standard output.
    pub local: PathBuf,
    /// Only these bytes of a file.
    pub range: Option<ByteRange>,
}

/// What was got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetReport {
    /// Files and symlinks written.
    pub written: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that were there already, unchanged.
    pub unchanged: u64,
    /// Files, folders and symlinks that failed; each was named to the watcher.
    pub failed: u64,
    /// The gravest kind of failure among them.
    pub gravest: Option<FailureKind>,
}

/// A `get` that did not go through. What was written before is whole.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A slash behind the name of a file.
    #[error("`{path}` is no folder")]
    NoFolder {
        /// Which.
        path: TreePath,
    },
    /// Something else than one file to standard output.
    #[error("standard output takes one file: `get /path/of/a/file -`")]
    Stdout,
    /// The local destination is a file and would have to be a folder.
    #[error("{} is a file, and this needs a folder", path.display())]
    FolderNeeded {
        /// The destination.
        path: PathBuf,
    },
    /// The local destination cannot be made.
    #[error("{} cannot be made", path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The local destination cannot be written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The one file asked for could not be fetched.
    #[error("`{path}` could not be fetched")]
    Fetch {
        /// Which.
        path: TreePath,
        /// Why.
        #[source]
        source: Box<DownloadError>,
    },
    /// One file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A range of anything but one file.
    #[error("a range is of one file: `{path}` is none")]
    RangeOfOne {
        /// What was asked for.
        path: TreePath,
    },
    /// The program is ending.
    #[error("the download was interrupted")]
    Interrupted,
}

impl GetError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::NoFolder { .. } => FailureKind::NotFound,
            Self::Stdout | Self::RangeOfOne { .. } => FailureKind::Refused,
            Self::File(source) => source.kind(),
            Self::FolderNeeded { .. } => FailureKind::Conflict,
            Self::Destination { .. } | Self::Interrupted => FailureKind::Local,
            Self::Target(source) => source.kind(),
            Self::Fetch { source, .. } => source.kind(),
        }
    }
}

/// A failure whose reason was told with another file.
#[derive(Debug, thiserror::Error)]
enum Untold {
    /// Others failed for want of Hosts before it.
    #[error("not tried, as other files found too few hosts")]
    NotTried,
    /// It lies in the same blob as one that failed.
    #[error("failed with `{with}`, with which it is packed")]
    PackedWith {
        /// The file that the reason was told with.
        with: TreePath,
    },
}

/// A file or symlink, and where it goes below the target.
#[derive(Clone, Debug)]
struct Wanted {
    path: TreePath,
    below: Vec<Vec<u8>>,
    entry: Arc<Entry>,
}

/// What was collected of the tree until a window was full.
#[derive(Debug, Default)]
struct Window {
    /// Folders, tiny files and symlinks, in the order of the walk.
    now: Vec<Wanted>,
    blobs: BTreeMap<BlobId, Vec<Wanted>>,
    entries: usize,
}

/// One `get` under way.
struct Get<'a> {
    drive: &'a Drive,
    tally: Arc<Tally>,
    watcher: Arc<dyn Watcher>,
    target: Arc<Target>,
    folders: Folders,
    /// Files that look the same locally are left as they are.
    skip_unchanged: bool,
    /// When the first file found too few Hosts.
    starved: Option<Instant>,
    report: GetReport,
}

impl Drive {
    /// Gets files of the tree.
    ///
    /// Single files that fail are named to `watcher`, and the rest goes on.
    ///
    /// # Errors
    /// [`GetError`] where nothing more can be got, or the only file asked for cannot.
    pub async fn get(
        &self,
        request: &GetRequest,
        tally: &Arc<Tally>,
        watcher: &Arc<dyn Watcher>,
    ) -> Result<GetReport, GetError> {
        if request.local.as_os_str() == "-" {
            return self.get_to_stdout(request, tally).await;
        }
        let snapshot = self.snapshot().await?;
        let starts = source::starts(request, &snapshot).await?;
        let mut report = GetReport::default();
        for Start {
            path,
            entry,
            target,
            below,
        } in starts
        {
            if let Some(range) = request.range {
                let target = Arc::new(target);
                let got = self.get_range(range, &path, (&entry, target, below), tally);
                report = got.await?;
                continue;
            }
            let mut get = Get {
                drive: self,
                tally: Arc::clone(tally),
                watcher: Arc::clone(watcher),
                target: Arc::new(target),
                folders: Folders::default(),
                skip_unchanged: matches!(entry.kind, Kind::Folder(_)),
                starved: None,
                report,
            };
            let start = Wanted {
                path: path.clone(),
                below,
                entry,
            };
            get.tree(start, &snapshot).await?;
            report = get.report;
        }
        tally.all_found.add(1);
        Ok(report)
    }
}

impl Get<'_> {
    async fn tree(&mut self, start: Wanted, snapshot: &super::Snapshot) -> Result<(), GetError> {
        let (base, below) = (start.path.names().len(), start.below.clone());
        let mut walk = start
            .entry
            .folder()
            .map(|folder| snapshot.walk(folder, start.path.clone()));
        let mut window = Window::default();
        self.collect(&mut window, start);
        if let Some(walk) = &mut walk {
            while let Some(Walked { path, entry }) = walk.next().await? {
                let names = path
                    .names()
                    .iter()
                    .skip(base)
                    .map(|name| name.as_bytes().to_vec());
                let below = below.iter().cloned().chain(names).collect();
                self.collect(&mut window, Wanted { path, below, entry });
                if window.entries >= WINDOW_ENTRIES {
                    self.work(std::mem::take(&mut window)).await?;
                }
            }
        }
        self.tally.all_found.add(1);
        self.work(window).await?;
        let left = self.folders.all();
        self.finish_folders(left);
        Ok(())
    }

    fn collect(&mut self, window: &mut Window, wanted: Wanted) {
        window.entries += 1;
        let size = match &wanted.entry.kind {
            Kind::File(file) => file.size(),
            Kind::Folder(_) => return window.now.push(wanted),
            Kind::Symlink(_) => 0,
        };
        self.tally.files_found.add(1);
        self.tally.bytes_found.add(size);
        match wanted.entry.blob() {
            None => window.now.push(wanted),
            Some(slice) => window.blobs.entry(slice.blob).or_default().push(wanted),
        }
    }

    async fn work(&mut self, window: Window) -> Result<(), GetError> {
        let Window { now, blobs, .. } = window;
        for wanted in &now {
            if let Kind::Folder(_) = wanted.entry.kind {
                self.folders
                    .enter(wanted.below.clone(), attributes(&wanted.entry));
            }
        }
        let last = now
            .iter()
            .chain(blobs.values().flatten())
            .map(|wanted| &wanted.below)
            .max();
        let last = last.cloned();
        let target = Arc::clone(&self.target);
        let skip = self.skip_unchanged;
        let made = tasks::spawn_blocking(move || make_all(&target, now, skip)).await;
        for (wanted, outcome) in made.map_err(|_| GetError::Interrupted)? {
            self.note_made(&wanted, outcome);
        }
        self.fetch_all(blobs).await?;
        if let Some(last) = last {
            let left = self.folders.left_before(&last);
            self.finish_folders(left);
        }
        Ok(())
    }

    async fn fetch_all(&mut self, blobs: BTreeMap<BlobId, Vec<Wanted>>) -> Result<(), GetError> {
        let mut running: JoinSet<Fetched> = JoinSet::new();
        let mut jobs: Vec<Vec<Wanted>> = blobs.into_values().collect();
        // In the order of the tree, which is also the order in which the blobs were made.
        jobs.sort_by(|a, b| {
            a.first()
                .map(|a| &a.below)
                .cmp(&b.first().map(|b| &b.below))
        });
        for files in jobs {
            let files = self.without_unchanged(files);
            if self.starved.is_some_and(|since| since.elapsed() > PATIENCE) {
                files.iter().for_each(|wanted| self.give_up(wanted));
                continue;
            }
            while running.len() >= BLOBS_AT_A_TIME {
                self.note_next(&mut running).await?;
            }
            let downloader = Downloader::new(self.drive.transfer.clone());
            let (target, tally) = (Arc::clone(&self.target), Arc::clone(&self.tally));
            running.spawn(async move { fetch(downloader, target, files, tally).await });
        }
        while !running.is_empty() {
            self.note_next(&mut running).await?;
        }
        Ok(())
    }

    /// Leaves out files that are there already with the same size, time and mode.
    fn without_unchanged(&mut self, mut files: Vec<Wanted>) -> Vec<Wanted> {
        if self.skip_unchanged {
            let before = files.len();
            files.retain(|wanted| {
                let size = wanted.entry.blob().map_or(0, |slice| slice.length);
                let same = self
                    .target
                    .is_same(&wanted.below, size, &attributes(&wanted.entry));
                if same {
                    self.tally.bytes_untransferred.add(size);
                }
                !same
            });
            let unchanged = (before - files.len()) as u64;
            self.report.unchanged += unchanged;
            self.tally.files_done.add(unchanged);
        }
        files
    }

    async fn note_next(&mut self, running: &mut JoinSet<Fetched>) -> Result<(), GetError> {
        let Some(done) = running.join_next().await else {
            return Ok(());
        };
        let Fetched { files, outcome } = done.map_err(|_| GetError::Interrupted)?;
        let outcome = match (outcome, files.as_slice()) {
            (Err(source), [(wanted, sink)]) if !self.skip_unchanged && !sink.is_complete() => {
                let (path, source) = (wanted.path.clone(), Box::new(source));
                return Err(GetError::Fetch { path, source });
            }
            (outcome, _) => outcome,
        };
        let mut told: Option<TreePath> = None;
        for (wanted, sink) in files {
            match (sink.take_outcome(), &outcome) {
                (Some(Ok(bytes)), _) => self.succeed(bytes),
                (Some(Err(error)), _) => self.fail(&wanted, &error, error.kind()),
                (None, Err(error)) => match &told {
                    None => {
                        self.fail(&wanted, error, error.kind());
                        told = Some(wanted.path);
                    }
                    Some(with) => {
                        let untold = Untold::PackedWith { with: with.clone() };
                        self.fail(&wanted, &untold, error.kind());
                    }
                },
                (None, Ok(())) => self.fail(&wanted, &GetError::Interrupted, FailureKind::Local),
            }
        }
        Ok(())
    }

    fn note_made(&mut self, wanted: &Wanted, outcome: Result<Made, TargetError>) {
        match outcome {
            Ok(Made::Folder) => {}
            Ok(Made::Unchanged(bytes)) => {
                self.report.unchanged += 1;
                self.tally.files_done.add(1);
                self.tally.bytes_untransferred.add(bytes);
            }
            Ok(Made::File(bytes)) => {
                self.tally.bytes_untransferred.add(bytes);
                self.succeed(bytes);
            }
            Err(error) => self.fail(wanted, &error, error.kind()),
        }
    }

    fn succeed(&mut self, bytes: u64) {
        self.report.written += 1;
        self.report.bytes += bytes;
        self.tally.files_done.add(1);
    }

    fn fail(
        &mut self,
        wanted: &Wanted,
        error: &(dyn std::error::Error + 'static),
        kind: FailureKind,
    ) {
        if kind == FailureKind::Unavailable {
            self.starved.get_or_insert_with(Instant::now);
        }
        self.report.failed += 1;
        self.report.gravest = Some(
            self.report
                .gravest
                .map_or(kind, |known| graver(known, kind)),
        );
        self.watcher.failed(&wanted.path.to_bytes(), error);
    }

    fn give_up(&mut self, wanted: &Wanted) {
        self.fail(wanted, &Untold::NotTried, FailureKind::Unavailable);
    }

    fn finish_folders(&mut self, left: Vec<(Vec<Vec<u8>>, Attributes)>) {
        for (below, attributes) in left {
            if let Err(error) = self.target.finish_folder(&below, &attributes) {
                self.report.failed += 1;
                let path = self.target.path_of(&below);
                self.watcher
                    .failed(path.as_os_str().as_encoded_bytes(), &error);
            }
        }
    }
}

/// What was made without a download.
enum Made {
    Folder,
    File(u64),
    Unchanged(u64),
}

fn make_all(
    target: &Target,
    wanted: Vec<Wanted>,
    skip_unchanged: bool,
) -> Vec<(Wanted, Result<Made, TargetError>)> {
    let make = |wanted: Wanted| {
        let made = make(target, &wanted, skip_unchanged);
        (wanted, made)
    };
    wanted.into_iter().map(make).collect()
}

fn make(target: &Target, wanted: &Wanted, skip_unchanged: bool) -> Result<Made, TargetError> {
    let attributes = attributes(&wanted.entry);
    match &wanted.entry.kind {
        Kind::Folder(_) => target.make_folder(&wanted.below).map(|()| Made::Folder),
        Kind::Symlink(to) if skip_unchanged && target.is_same_symlink(&wanted.below, to) => {
            Ok(Made::Unchanged(0))
        }
        Kind::Symlink(to) => target
            .symlink(&wanted.below, to, &attributes)
            .map(|()| Made::File(0)),
        Kind::File(file) => match &file.content {
            Content::Inline(bytes) => {
                let size = bytes.len() as u64;
                if skip_unchanged && target.is_same(&wanted.below, size, &attributes) {
                    return Ok(Made::Unchanged(size));
                }
                let part = target.create(&wanted.below)?;
                part.write_all(bytes)?;
                part.finish(&attributes).map(|()| Made::File(size))
            }
            Content::Blob(_) => Ok(Made::Folder),
        },
    }
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes {
        mode: entry.meta.mode,
        mtime_s: entry.meta.mtime.seconds,
        mtime_ns: entry.meta.mtime.nanos,
        xattrs: entry
            .meta
            .xattrs
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), value.clone()))
            .collect(),
    }
}

/// Which of two kinds of failure a program should be told of.
const fn graver(a: FailureKind, b: FailureKind) -> FailureKind {
    if rank(b) > rank(a) { b } else { a }
}

const fn rank(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Integrity => 4,
        FailureKind::Unavailable => 3,
        FailureKind::Quota => 2,
        FailureKind::NotFound | FailureKind::Conflict => 1,
        FailureKind::Local | FailureKind::Refused => 0,
    }
}
