//! Every change to the tree goes through here: edit, seal, sign, commit, and again on a newer
//! root where another device was faster.
//!
//! Intents are kept, not their outcome, so that they can be applied to whatever root is current.
//! A name that this device knew is replaced; one that somebody else made meanwhile is kept beside
//! as `name (conflict DEVICE TIME)`. Nothing counts as done before the Bridge took the root.

use std::sync::Arc;

use model::crypto::Secret;
use model::formats::root::{Lineage, Root, RootSignError, SignedRoot};
use model::formats::tree::{
    self, Change, EditError, Entry, FileVersion, Kind, Meta, Name, Tree, TreeEdit, TreePath,
};
use model::formats::{SealedPage, Step};
use model::units::UnixMs;
use model::wire::Base64;
use model::wire::api::{BlobChange, Commit, NodeBody, Nodes, RootAnswer};

use super::home::HomeError;
use super::open::{Drive, Head, OpenError};
use super::read::{ReadError, Snapshot};
use crate::bridge_api::BridgeError;
use crate::transfer::FailureKind;
use crate::upload::StagedUpload;

/// How often a commit is rebased on a newer root before it gives up.
const ATTEMPTS_MAX: usize = 16;
/// Pages of a commit above these bytes are sent before it.
const COMMIT_PAGE_BYTES_MAX: usize = 2 << 20;
/// Bytes of pages sent at a time, and how many.
const PAGE_BATCH_BYTES: usize = 4 << 20;
const PAGE_BATCH_MAX: usize = 512;

/// What is wanted of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// A file or symlink shall be there: `PutFile` or `PutSymlink`.
    Put(Change),
    /// A folder shall be there and have these attributes; `None` leaves them.
    Folder {
        /// Where.
        path: TreePath,
        /// Its attributes.
        meta: Option<Meta>,
    },
    /// The content `file` shall take the place of `was`; where that is no longer there, nothing is
    /// changed.
    Replace {
        /// Where.
        path: TreePath,
        /// What must be there.
        was: FileVersion,
        /// The same content, elsewhere.
        file: FileVersion,
    },
    /// Exactly this change, or the whole commit fails.
    Exactly(Change),
}

/// An intent that could not be followed; the others were.
#[derive(Debug)]
pub(super) struct Refused {
    /// Where.
    pub(super) path: TreePath,
    /// Why.
    pub(super) error: EditError,
}

/// A change that was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another run of this device could not be waited for.
    #[error("the home of this device cannot be locked")]
    Lock(#[source] HomeError),
    /// The root that was signed cannot be remembered.
    #[error("the new root cannot be remembered")]
    Remember(#[source] HomeError),
    /// The tree does not allow it.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The tree could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The root cannot be signed.
    #[error("the new root cannot be signed")]
    Sign(#[source] RootSignError),
    /// The Bridge does not take pages.
    #[error("{count} pages of the tree could not be stored")]
    Pages {
        /// How many.
        count: usize,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The Bridge does not take the commit.
    #[error("the change was not committed")]
    Commit(#[source] BridgeError),
    /// The root that was there instead is refused.
    #[error("the root that was committed meanwhile is refused")]
    Newer(#[source] Box<OpenError>),
    /// Others were faster, again and again.
    #[error("the change was overtaken {ATTEMPTS_MAX} times by other devices; try again")]
    Overtaken,
}

impl CommitError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Lock(_) | Self::Remember(_) => FailureKind::Local,
            Self::Edit(error) => edit_kind(error),
            Self::Read(source) => source.kind(),
            Self::Sign(_) => FailureKind::Refused,
            Self::Pages { source, .. } | Self::Commit(source) => source.kind(),
            Self::Newer(source) => source.kind(),
            Self::Overtaken => FailureKind::Conflict,
        }
    }
}

/// What kind of failure an edit is.
pub(super) fn edit_kind(error: &EditError) -> FailureKind {
    match error {
        EditError::NotFound { .. } => FailureKind::NotFound,
        EditError::NotAFolder { .. } | EditError::Exists { .. } => FailureKind::Conflict,
        EditError::TopFolder
        | EditError::IntoItself { .. }
        | EditError::EntryTooLarge { .. }
        | EditError::Invalid { .. } => FailureKind::Refused,
        EditError::Tree(_) => FailureKind::Integrity,
    }
}

/// Commits one batch of intents after the other.
#[derive(Debug)]
pub(super) struct Committer<'a> {
    drive: &'a Drive,
    head: Head,
    /// States of the tree that this run knows: the one it started from and its own last one.
    known: [Tree; 2],
    /// The head was made by somebody else after this run started.
    foreign: bool,
}

impl Drive {
    /// Commits on top of `head`, which is also what the caller's decisions were based on.
    pub(super) fn committer(&self, head: Head) -> Committer<'_> {
        let known = [head.tree.clone(), head.tree.clone()];
        Committer {
            drive: self,
            head,
            known,
            foreign: false,
        }
    }

    /// A tree without entries, for a volume without a root.
    pub(super) fn empty_tree(&self) -> (Tree, model::formats::root::RootKeys) {
        let key = self.draw_secret();
        let top = model::formats::root::RootKeys {
            top: key.clone(),
            previous: None,
        };
        let mut edit = self.first_edit(&key);
        let made = self.pages.make(|store| edit.finish(store));
        let hash = made.map(|commit| self.keep(&commit)).unwrap_or_default();
        (Tree::new(self.settings.volume, key, hash), top)
    }

    fn first_edit(&self, key: &Secret) -> TreeEdit {
        let (volume, epoch) = (self.settings.volume, self.settings.epoch);
        TreeEdit::create(volume, key.clone(), epoch, self.draw_secret())
    }

    fn keep(&self, commit: &tree::Commit) -> model::units::NodeHash {
        commit
            .added
            .iter()
            .for_each(|page| self.pages.keep(&page.hash(), page.bytes()));
        commit.top
    }

    pub(super) fn draw_secret(&self) -> Secret {
        let mut bytes = [0; 32];
        self.environment.random(&mut bytes);
        Secret::new(bytes)
    }
}

impl Committer<'_> {
    /// The state of the tree after the last commit.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.head.tree.clone(), Arc::clone(&self.drive.pages))
    }

    /// Commits `intents`, with what was uploaded for them. Says which could not be followed.
    pub(super) async fn commit(
        &mut self,
        intents: &[Intent],
        upload: Option<&StagedUpload>,
    ) -> Result<Vec<Refused>, CommitError> {
        let home = self.drive.home.clone();
        let lock = tasks::spawn_blocking(move || home.lock()).await;
        let lock = lock
            .map_err(|_| CommitError::Overtaken)?
            .map_err(CommitError::Lock)?;
        let outcome = self.commit_locked(intents, upload).await;
        drop(lock);
        outcome
    }

    async fn commit_locked(
        &mut self,
        intents: &[Intent],
        upload: Option<&StagedUpload>,
    ) -> Result<Vec<Refused>, CommitError> {
        for _ in 0..ATTEMPTS_MAX {
            let (edited, refused) = self.edit(intents).await?;
            if edited.top == self.head.tree.top().hash && upload.is_none() {
                return Ok(refused);
            }
            let signed = self.sign(&edited)?;
            let seen = self.drive.root_seen();
            match self.send(&edited, &signed, upload).await? {
                None => {
                    self.settle(&edited, signed)?;
                    return Ok(refused);
                }
                Some(newer) => {
                    tracing::debug!(seq = newer.seq, "root conflict, rebasing");
                    let seen = seen.map_err(|error| CommitError::Newer(Box::new(error)))?;
                    let head = Box::pin(self.drive.accept(&newer.root.0, seen)).await;
                    self.head = head.map_err(|error| CommitError::Newer(Box::new(error)))?;
                    self.foreign = true;
                }
            }
        }
        Err(CommitError::Overtaken)
    }

    /// Applies the intents to the head.
    async fn edit(&self, intents: &[Intent]) -> Result<(tree::Commit, Vec<Refused>), CommitError> {
        let drive = self.drive;
        let mut edit = match &self.head.root {
            Some(_) => TreeEdit::new(&self.head.tree, drive.settings.epoch, drive.draw_secret()),
            None => drive.first_edit(&self.head.keys.top),
        };
        let mut refused = Vec::new();
        for intent in intents {
            match self.follow(&mut edit, intent).await {
                Ok(()) => {}
                Err(CommitError::Edit(error)) => match intent {
                    Intent::Exactly(_) => return Err(error.into()),
                    Intent::Put(change) => refused.extend(refusal(change, error)),
                    // Something else stands there now, and stays.
                    Intent::Replace { .. } => {}
                    Intent::Folder { path, .. } => {
                        refused.push(Refused {
                            path: path.clone(),
                            error,
                        });
                    }
                },
                Err(error) => return Err(error),
            }
        }
        let commit = drive
            .pages
            .with(|store| Ok::<_, ReadError>(edit.finish(store)?))
            .await?;
        Ok((commit, refused))
    }

    async fn follow(&self, edit: &mut TreeEdit, intent: &Intent) -> Result<(), CommitError> {
        match intent {
            Intent::Exactly(change) => self.apply(edit, change).await,
            Intent::Put(change) => {
                if self.foreign {
                    self.step_aside(edit, change).await?;
                }
                self.apply(edit, change).await
            }
            Intent::Folder { path, meta } => self.follow_folder(edit, path, meta.as_ref()).await,
            Intent::Replace { path, was, file } => self.follow_replace(edit, path, was, file).await,
        }
    }

    async fn follow_replace(
        &self,
        edit: &mut TreeEdit,
        path: &TreePath,
        was: &FileVersion,
        file: &FileVersion,
    ) -> Result<(), CommitError> {
        let there = self.entry_in(&self.head.tree, path).await?;
        match there.as_deref() {
            Some(Entry {
                kind: Kind::File(now),
                meta,
                ..
            }) if now == was => {
                let (path, meta, file) = (path.clone(), meta.clone(), file.clone());
                self.apply(edit, &Change::PutFile { path, meta, file })
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn follow_folder(
        &self,
        edit: &mut TreeEdit,
        path: &TreePath,
        meta: Option<&Meta>,
    ) -> Result<(), CommitError> {
        let there = self.entry_in(&self.head.tree, path).await?;
        match (there, meta) {
            (Some(entry), _) if !matches!(entry.kind, Kind::Folder(_)) => {
                Err(EditError::NotAFolder { path: path.clone() }.into())
            }
            (Some(_), None) => Ok(()),
            (Some(entry), Some(meta)) if entry.meta == *meta => Ok(()),
            (Some(_), Some(meta)) => {
                let (path, meta) = (path.clone(), meta.clone());
                self.apply(edit, &Change::SetMeta { path, meta }).await
            }
            (None, meta) => {
                let fresh = Meta {
                    mode: 0o755,
                    mtime: self.now(),
                    ..Meta::default()
                };
                let change = Change::MakeFolder {
                    path: path.clone(),
                    meta: meta.cloned().unwrap_or(fresh),
                };
                match self.apply(edit, &change).await {
                    // Two sources made the same folder in this batch.
                    Err(CommitError::Edit(EditError::Exists { .. })) => Ok(()),
                    other => other,
                }
            }
        }
    }

    /// Renames what somebody else made meanwhile where `change` wants to put something.
    async fn step_aside(&self, edit: &mut TreeEdit, change: &Change) -> Result<(), CommitError> {
        let Some(path) = put_path(change) else {
            return Ok(());
        };
        let Some(theirs) = self.entry_in(&self.head.tree, path).await? else {
            return Ok(());
        };
        if matches!(theirs.kind, Kind::Folder(_)) || is_same(&theirs, change) {
            return Ok(());
        }
        for known in &self.known {
            if self
                .entry_in(known, path)
                .await?
                .is_some_and(|ours| ours.id == theirs.id)
            {
                return Ok(());
            }
        }
        let Some(to) = self.conflict_path(path) else {
            return Ok(());
        };
        match self
            .apply(
                edit,
                &Change::Move {
                    from: path.clone(),
                    to,
                },
            )
            .await
        {
            // Another source of this batch moved it already.
            Err(CommitError::Edit(EditError::NotFound { .. })) => Ok(()),
            other => other,
        }
    }

    /// `name (conflict DEVICE TIME)`, by the device and time of the root that brought it.
    fn conflict_path(&self, path: &TreePath) -> Option<TreePath> {
        let root = self.head.root.as_ref()?;
        let device = self.head.devices.device(&root.device());
        let device = device.map_or_else(|| root.device().short(), |device| device.name.clone());
        let tail = format!(" (conflict {device} {})", utc(root.unverified().time));
        let tail: String = tail
            .chars()
            .map(|char| if char == '/' { '-' } else { char })
            .collect();
        let name = path.name()?.as_bytes();
        let room = tree::NAME_BYTES_MAX.saturating_sub(tail.len());
        let stem = name.get(..name.len().min(room)).unwrap_or(name);
        let name = Name::new(&[stem, tail.as_bytes()].concat()).ok()?;
        path.parent()?.join(name).ok()
    }

    async fn entry_in(
        &self,
        tree: &Tree,
        path: &TreePath,
    ) -> Result<Option<Arc<Entry>>, CommitError> {
        let snapshot = Snapshot::new(tree.clone(), Arc::clone(&self.drive.pages));
        Ok(snapshot.find(path).await?)
    }

    async fn apply(&self, edit: &mut TreeEdit, change: &Change) -> Result<(), CommitError> {
        self.drive
            .pages
            .with(|store| -> Result<Step<()>, CommitError> { Ok(edit.apply(store, change)?) })
            .await
    }

    fn sign(&self, edited: &tree::Commit) -> Result<SignedRoot, CommitError> {
        let settings = &self.drive.settings;
        let lineage = self.head.root.as_ref().map_or_else(Lineage::first, |root| {
            root.unverified().lineage.next(root.hash())
        });
        let (account, volume, epoch) = (settings.account, settings.volume, settings.epoch);
        let root = Root {
            account,
            volume,
            lineage,
            top: edited.top,
            epoch,
            sealed_keys: self
                .head
                .keys
                .seal(&self.drive.keys.volume, &account, &volume, epoch),
            device_list: self.head.devices.hash(),
            time: self.drive.environment.now(),
            pins: Vec::new(),
            locations: Vec::new(),
        };
        root.sign(&self.drive.keys.device)
            .map_err(CommitError::Sign)
    }

    /// Sends the commit; returns the root that stands there instead, if one does.
    async fn send(
        &self,
        edited: &tree::Commit,
        signed: &SignedRoot,
        upload: Option<&StagedUpload>,
    ) -> Result<Option<RootAnswer>, CommitError> {
        let mut commit = Commit {
            root: Base64(signed.bytes().to_vec()),
            retired: edited.retired.clone(),
            blobs: blob_changes(edited),
            ..Commit::default()
        };
        if let Some(upload) = upload {
            commit.uploads.push(upload.upload);
            commit.nodes = upload.nodes.clone();
            commit.pending = upload.pending.clone();
            commit.receipts = upload.receipts.clone();
        }
        let bytes: usize = edited.added.iter().map(|page| page.bytes().len()).sum();
        if bytes <= COMMIT_PAGE_BYTES_MAX {
            commit.nodes.extend(edited.added.iter().map(node_body));
        } else {
            self.send_pages(&edited.added).await?;
            commit
                .pending
                .extend(edited.added.iter().map(SealedPage::hash));
        }
        let api = self.drive.transfer.api();
        match api.put_root(&self.drive.settings.volume, &commit).await {
            Ok(_) => Ok(None),
            Err(error) => match error.root_conflict() {
                Some(newer) => Ok(Some(newer)),
                None => Err(CommitError::Commit(error)),
            },
        }
    }

    async fn send_pages(&self, pages: &[SealedPage]) -> Result<(), CommitError> {
        let mut batch = Nodes::default();
        let mut bytes = 0;
        for page in pages {
            if bytes + page.bytes().len() > PAGE_BATCH_BYTES || batch.nodes.len() >= PAGE_BATCH_MAX
            {
                self.send_batch(&std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += page.bytes().len();
            batch.nodes.push(node_body(page));
        }
        self.send_batch(&batch).await
    }

    async fn send_batch(&self, batch: &Nodes) -> Result<(), CommitError> {
        let count = batch.nodes.len();
        let put = self.drive.transfer.api().put_nodes(batch).await;
        put.map_err(|source| CommitError::Pages { count, source })
    }

    /// Takes the committed state for the current one.
    fn settle(&mut self, edited: &tree::Commit, signed: SignedRoot) -> Result<(), CommitError> {
        let top = self.drive.keep(edited);
        edited
            .retired
            .iter()
            .for_each(|page| self.drive.pages.forget(page));
        self.drive
            .home
            .see_root(&signed)
            .map_err(CommitError::Remember)?;
        let tree = Tree::new(self.drive.settings.volume, self.head.keys.top.clone(), top);
        let [start, _] = self.known.clone();
        self.known = [start, tree.clone()];
        self.head = Head {
            root: Some(signed),
            tree,
            ..self.head.clone()
        };
        self.foreign = false;
        Ok(())
    }

    fn now(&self) -> tree::Mtime {
        mtime(self.drive.environment.now())
    }
}

/// The tree's form of `time`.
pub(super) fn mtime(time: UnixMs) -> tree::Mtime {
    let nanos = u32::try_from(time.0 % 1_000).unwrap_or(0) * 1_000_000;
    tree::Mtime {
        seconds: i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX),
        nanos,
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

const fn put_path(change: &Change) -> Option<&TreePath> {
    match change {
        Change::PutFile { path, .. } | Change::PutSymlink { path, .. } => Some(path),
        Change::MakeFolder { .. }
        | Change::SetMeta { .. }
        | Change::Remove { .. }
        | Change::Move { .. }
        | Change::Copy { .. } => None,
    }
}

fn refusal(change: &Change, error: EditError) -> Option<Refused> {
    put_path(change).map(|path| Refused {
        path: path.clone(),
        error,
    })
}

/// Whether `entry` already is what `change` wants to put.
fn is_same(entry: &Entry, change: &Change) -> bool {
    match (change, &entry.kind) {
        (Change::PutFile { file, .. }, Kind::File(there)) => file == there,
        (Change::PutSymlink { target, .. }, Kind::Symlink(there)) => target == there,
        _ => false,
    }
}

/// `2026-11-22 08-15-19`: a time that every file system takes in a name.
fn utc(time: UnixMs) -> String {
    let (days, seconds) = (time.0 / 86_400_000, time.0 / 1_000 % 86_400);
    // Civil date from days since 1970 (Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = if month_of_year < 10 {
        month_of_year + 3
    } else {
        month_of_year - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}-{minute:02}-{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_names_are_civil() {
        assert_eq!(utc(UnixMs(0)), "1970-01-01 00-00-00");
        assert_eq!(utc(UnixMs(951_782_400_000)), "2000-02-29 00-00-00");
        assert_eq!(utc(UnixMs(1_795_335_319_123)), "2026-11-22 08-15-19");
        assert_eq!(utc(UnixMs(4_107_542_399_000)), "2100-02-28 23-59-59");
    }

    #[test]
    fn milliseconds_become_nanoseconds() {
        let time = mtime(UnixMs(1_234_567));
        assert_eq!((time.seconds, time.nanos), (1_234, 567_000_000));
    }
}
