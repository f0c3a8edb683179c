//! One batch of files out of old packs into new ones: fetched, encrypted anew, stored, committed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use model::crypto::{FileCipher, Secret};
use model::formats::shape::Class;
use model::formats::tree::{BlobSlice, Content, Entry, FileVersion, Kind, TreePath};
use model::units::BlobId;
use tasks::JoinSet;

use super::{TidyError, TidyReport};
use crate::download::{DownloadError, Downloader, Sink, StreamSink};
use crate::drive::commit::{Committer, Intent, Wanted};
use crate::drive::open::Drive;
use crate::drive::read::Snapshot;
use crate::drive::stream::{access_of, piece_of};
use crate::drive::watch::{Tally, Watcher};
use crate::upload::{BlobSource, InMemory, StagedUpload, StoreRequest, Uploader};

/// Old packs that are fetched from at a time.
const PACKS_AT_A_TIME: usize = 4;

/// Files that lie at one place of a pack: one, and its copies.
#[derive(Debug)]
struct Held {
    slice: BlobSlice,
    files: Vec<(TreePath, Arc<Entry>)>,
}

/// A content that was fetched, and the class of the pack it comes from.
struct Plain {
    bytes: Vec<u8>,
    content: Held,
}

/// What came of one old pack.
struct Fetched {
    contents: Vec<Held>,
    outcome: Result<(Class, Vec<Vec<u8>>), DownloadError>,
}

/// A pack that is being filled.
struct Pack {
    blob: BlobId,
    secret: Secret,
    ciphertext: Vec<u8>,
    /// Contents in it, each with its offset and FileSecret.
    contents: Vec<(Held, u64, Secret)>,
}

/// A run under way.
pub(super) struct Repacking<'a> {
    drive: &'a Drive,
    committer: Committer<'a>,
    tally: &'a Arc<Tally>,
    watcher: &'a Arc<dyn Watcher>,
    report: &'a mut TidyReport,
}

impl<'a> Repacking<'a> {
    pub(super) const fn new(
        drive: &'a Drive,
        committer: Committer<'a>,
        (tally, watcher): (&'a Arc<Tally>, &'a Arc<dyn Watcher>),
        report: &'a mut TidyReport,
    ) -> Self {
        Self {
            drive,
            committer,
            tally,
            watcher,
            report,
        }
    }

    /// The state of the tree now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.committer.snapshot()
    }

    pub(super) const fn cut_short(&mut self) {
        self.report.is_cut_short = true;
    }

    /// Gives `files` new places. Those that cannot be fetched keep theirs.
    pub(super) async fn repack(
        &mut self,
        files: Vec<(TreePath, Arc<Entry>)>,
    ) -> Result<(), TidyError> {
        let mut by_class: BTreeMap<String, (Class, Vec<Plain>)> = BTreeMap::new();
        for (class, plain) in self.fetch(files).await? {
            let like = by_class.entry(class.to_string());
            like.or_insert_with(|| (class, Vec::new())).1.push(plain);
        }
        for (class, plains) in by_class.into_values() {
            let packs = self.pack(class, plains);
            self.store(class, packs).await?;
        }
        Ok(())
    }

    /// Fetches every content once; what fails is named.
    async fn fetch(
        &mut self,
        files: Vec<(TreePath, Arc<Entry>)>,
    ) -> Result<Vec<(Class, Plain)>, TidyError> {
        let (mut running, mut plains) = (JoinSet::new(), Vec::new());
        for contents in by_pack(files) {
            while running.len() >= PACKS_AT_A_TIME {
                self.note(running.join_next().await, &mut plains)?;
            }
            let downloader = Downloader::new(self.drive.transfer.clone());
            let tally = Arc::clone(self.tally);
            running.spawn(async move { fetch(&downloader, contents, &tally).await });
        }
        while !running.is_empty() {
            self.note(running.join_next().await, &mut plains)?;
        }
        Ok(plains)
    }

    fn note(
        &mut self,
        fetched: Option<Result<Fetched, tasks::JoinError>>,
        plains: &mut Vec<(Class, Plain)>,
    ) -> Result<(), TidyError> {
        let Some(fetched) = fetched else {
            return Ok(());
        };
        let Fetched { contents, outcome } = fetched.map_err(|_| TidyError::Interrupted)?;
        match outcome {
            Ok((class, all)) => {
                let pairs = contents.into_iter().zip(all);
                plains.extend(pairs.map(|(content, bytes)| (class, Plain { bytes, content })));
            }
            Err(error) => {
                self.report.failure = Some(error.kind());
                for (path, _) in contents.iter().flat_map(|content| &content.files) {
                    self.report.failed += 1;
                    self.watcher.failed(&path.to_bytes(), &error);
                }
            }
        }
        Ok(())
    }

    /// Encrypts contents one after the other into as few packs as they need.
    fn pack(&self, class: Class, plains: Vec<Plain>) -> Vec<Pack> {
        let room = class.segment_bytes() as usize;
        let mut packs: Vec<Pack> = Vec::new();
        for Plain { mut bytes, content } in plains {
            let secret = self.drive.draw_secret();
            FileCipher::new(&secret).apply(0, &mut bytes);
            let fits = |pack: &&mut Pack| pack.ciphertext.len() + bytes.len() <= room;
            let mut fresh = None;
            let pack = match packs.last_mut().filter(fits) {
                Some(pack) => pack,
                None => fresh.insert(self.fresh_pack()),
            };
            let offset = pack.ciphertext.len() as u64;
            pack.ciphertext.extend_from_slice(&bytes);
            pack.contents.push((content, offset, secret));
            packs.extend(fresh);
        }
        packs
    }

    fn fresh_pack(&self) -> Pack {
        let mut blob = [0; 16];
        self.drive.environment.random(&mut blob);
        Pack {
            blob: BlobId(blob),
            secret: self.drive.draw_secret(),
            ciphertext: Vec::new(),
            contents: Vec::new(),
        }
    }

    /// Stores packs and has the entries refer to them that are still what they were.
    async fn store(&mut self, class: Class, mut packs: Vec<Pack>) -> Result<(), TidyError> {
        let blobs = packs.iter_mut().map(|pack| BlobSource {
            blob: pack.blob,
            length: pack.ciphertext.len() as u64,
            owner_tag: self.drive.keys.volume.owner_tag(&pack.blob),
            secret: pack.secret.clone(),
            content: Box::new(InMemory::new(std::mem::take(&mut pack.ciphertext))),
        });
        let request = StoreRequest {
            volume: self.drive.settings.volume,
            class: Some(class),
            blobs: blobs.collect(),
        };
        let uploader = Uploader::new(self.drive.transfer.clone());
        let staged = uploader.store(request, &self.tally.transfer).await;
        let staged = staged.map_err(|error| TidyError::Store(Box::new(error)))?;
        let moves = moves(packs, &staged);
        let intents: Vec<Intent> = moves.iter().map(Move::intent).collect();
        let upload = Some(staged);
        self.committer.commit(Wanted { intents, upload }).await?;
        let now = self.committer.snapshot();
        let mut counted = None;
        for step in &moves {
            let there = now.find(&step.path).await?;
            if there.is_some_and(|entry| entry.kind == Kind::File(step.file.clone())) {
                self.report.moved += 1;
                if counted != step.place() {
                    self.report.moved_bytes += step.file.size();
                    counted = step.place();
                }
            } else {
                self.report.changed += 1;
            }
            self.tally.files_done.add(1);
        }
        Ok(())
    }
}

/// One entry on its way to a new place.
struct Move {
    path: TreePath,
    was: FileVersion,
    file: FileVersion,
}

impl Move {
    fn intent(&self) -> Intent {
        Intent::Replace {
            path: self.path.clone(),
            was: self.was.clone(),
            file: self.file.clone(),
        }
    }

    const fn place(&self) -> Option<(BlobId, u64)> {
        match &self.file.content {
            Content::Blob(slice) => Some((slice.blob, slice.offset)),
            Content::Inline(_) => None,
        }
    }
}

fn moves(packs: Vec<Pack>, staged: &StagedUpload) -> Vec<Move> {
    let mut moves = Vec::new();
    for pack in packs {
        let stored = staged.blobs.iter().find(|stored| stored.blob == pack.blob);
        let Some(manifest) = stored.map(|stored| stored.manifest) else {
            continue;
        };
        for (content, offset, file_secret) in pack.contents {
            let slice = BlobSlice {
                blob: pack.blob,
                offset,
                length: content.slice.length,
                file_secret,
                blob_secret: pack.secret.clone(),
                manifest,
            };
            moves.extend(content.files.iter().filter_map(|(path, entry)| {
                let Kind::File(was) = &entry.kind else {
                    return None;
                };
                let file = FileVersion {
                    sha256: was.sha256,
                    content: Content::Blob(slice.clone()),
                };
                let (path, was) = (path.clone(), was.clone());
                Some(Move { path, was, file })
            }));
        }
    }
    moves
}

/// The contents of each old pack, in the order in which they lie in it.
fn by_pack(files: Vec<(TreePath, Arc<Entry>)>) -> Vec<Vec<Held>> {
    let mut packs: BTreeMap<BlobId, BTreeMap<(u64, u64), Held>> = BTreeMap::new();
    for (path, entry) in files {
        let Some(slice) = entry.blob().cloned() else {
            continue;
        };
        let place = (slice.offset, slice.length);
        let contents = packs.entry(slice.blob).or_default();
        let content = contents.entry(place).or_insert_with(|| Held {
            slice,
            files: Vec::new(),
        });
        content.files.push((path, entry));
    }
    let contents = packs.into_values();
    contents.map(|pack| pack.into_values().collect()).collect()
}

async fn fetch(downloader: &Downloader, contents: Vec<Held>, tally: &Tally) -> Fetched {
    let outcome = read(downloader, &contents, tally).await;
    Fetched { contents, outcome }
}

/// The bytes of contents of one pack, and its class.
async fn read(
    downloader: &Downloader,
    contents: &[Held],
    tally: &Tally,
) -> Result<(Class, Vec<Vec<u8>>), DownloadError> {
    let Some(first) = contents.first() else {
        return Err(DownloadError::Interrupted);
    };
    let mut blob = downloader.open(&access_of(&first.slice));
    let sinks: Vec<Arc<StreamSink<Vec<u8>>>> = contents
        .iter()
        .map(|_| Arc::new(StreamSink::new(Vec::new())))
        .collect();
    let pieces = contents.iter().zip(&sinks).map(|(content, sink)| {
        let whole = 0..content.slice.length;
        piece_of(&content.slice, whole, Arc::clone(sink) as Arc<dyn Sink>)
    });
    blob.fetch(pieces.collect(), &tally.transfer).await?;
    let class = blob.shape().await?.class();
    let unwrapped = sinks.into_iter().map(|sink| {
        let sink = Arc::into_inner(sink);
        sink.map(StreamSink::into_inner)
            .ok_or_else(|| DownloadError::Sink(io::Error::other("still written to")))
    });
    Ok((class, unwrapped.collect::<Result<_, _>>()?))
}
