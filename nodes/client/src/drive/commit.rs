//! Every change to the tree goes through here: edit, seal, sign, commit, and again on a newer
//! root where another device was faster.
//!
//! A [`Committer`] is one run of a command and what it knows of the tree. What it wants is kept as
//! intents, not as their outcome, so that they can be followed on whatever root is current
//! ([`rebase`], with the rules for what others did meanwhile in [`conflict`]). What several runs of
//! this program want at the same time shares a root ([`group`]). Nothing counts as done before
//! the Bridge took the root ([`send`]).

mod conflict;
mod error;
mod group;
mod pace;
mod rebase;
mod send;

use std::sync::{Arc, Mutex, PoisonError};

use model::crypto::Secret;
use model::formats::root::RootKeys;
use model::formats::tree::{self, Change, EditError, FileVersion, Meta, Tree, TreeEdit, TreePath};
use model::units::{NodeHash, UnixMs};

use super::open::{Drive, Head};
use super::read::Snapshot;
use crate::upload::StagedUpload;
pub use error::CommitError;
pub(super) use group::Commits;

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
    /// What this run knows there shall go, or the whole commit fails.
    Remove(TreePath),
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

/// What became of the intents of a commit.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Those that could not be followed.
    pub(super) refused: Vec<Refused>,
    /// What a removal left, as others made or changed it meanwhile.
    pub(super) left: Vec<TreePath>,
}

/// What is to be committed together, and what was uploaded for it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) intents: Vec<Intent>,
    pub(super) upload: Option<StagedUpload>,
}

/// One run's view of the tree; it commits one batch of intents after the other.
#[derive(Clone, Debug)]
pub(super) struct Committer<'a> {
    drive: &'a Drive,
    head: Head,
    run: Arc<Run>,
}

/// The states of the tree that a run knows: what is there it replaces, what others made it keeps.
#[derive(Debug)]
pub(super) struct Run {
    /// The one its decisions were based on.
    start: Tree,
    own: Mutex<Own>,
}

/// What a run's own commits came to.
#[derive(Clone, Debug)]
struct Own {
    /// The last state in which nothing is that the run does not know.
    known: Tree,
    /// The last state, in which there may be names of others.
    last: Tree,
}

impl Run {
    fn new(start: Tree) -> Self {
        let (known, last) = (start.clone(), start.clone());
        Self {
            start,
            own: Mutex::new(Own { known, last }),
        }
    }

    /// Takes `tree` for its last state; `mixed` where others had their part in it.
    fn set_own(&self, tree: Tree, mixed: bool) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if !mixed {
            own.known = tree.clone();
        }
        own.last = tree;
    }

    fn own(&self) -> Own {
        self.own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether `tree` may hold something that the run does not know.
    fn is_foreign(&self, tree: &Tree) -> bool {
        *tree != self.start && *tree != self.own().known
    }
}

impl Committer<'_> {
    /// The state of the tree after the last commit.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.run.own().last, Arc::clone(&self.drive.pages))
    }

    /// Commits what is wanted.
    pub(super) async fn commit(&self, wanted: Wanted) -> Result<Outcome, CommitError> {
        let (head, run) = (self.head.clone(), Arc::clone(&self.run));
        group::commit(self.drive, head, run, wanted).await
    }
}

impl Drive {
    /// Commits on top of `head`, which is also what the caller's decisions were based on.
    pub(super) fn committer(&self, head: Head) -> Committer<'_> {
        let run = Arc::new(Run::new(head.tree.clone()));
        Committer {
            drive: self,
            head,
            run,
        }
    }

    /// A tree without entries, for a volume without a root.
    pub(super) fn empty_tree(&self) -> (Tree, RootKeys) {
        let key = self.draw_secret();
        let top = RootKeys {
            top: key.clone(),
            previous: None,
        };
        let mut edit = self.first_edit(&key, self.draw_secret());
        let made = self.pages.make(|store| edit.finish(store));
        let hash = made.map(|commit| self.keep(&commit)).unwrap_or_default();
        (Tree::new(self.settings.volume, key, hash), top)
    }

    fn first_edit(&self, key: &Secret, seed: Secret) -> TreeEdit {
        let (volume, epoch) = (self.settings.volume, self.settings.epoch);
        TreeEdit::create(volume, key.clone(), epoch, seed)
    }

    fn keep(&self, commit: &tree::Commit) -> NodeHash {
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

impl From<Vec<Intent>> for Wanted {
    fn from(intents: Vec<Intent>) -> Self {
        Self {
            intents,
            upload: None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_become_nanoseconds() {
        let time = mtime(UnixMs(1_234_567));
        assert_eq!((time.seconds, time.nanos), (1_234, 567_000_000));
    }
}
