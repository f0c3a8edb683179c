//! `rm --purge`: destroys content before retention ends, also that of earlier versions.
//!
//! The identity key must sign for it, which only the recovery phrase gives. Every root of the
//! volume is looked at; wherever the path leads to something, its blobs and all pages on the way
//! there go. Pages are shared by neighbours, so older versions of names beside it go as well.
//! A pack that other files still use stays at the Hosts; the key to the file in it is gone.

use std::collections::BTreeSet;

use model::codec::DecodeError;
use model::crypto::{AccountKeys, Mnemonic};
use model::formats::Step;
use model::formats::root::{Root, RootError, SignedRoot};
use model::formats::tree::{
    Content, Entry, Kind, PageStore, STORE_PAGES_MIN, Tree, TreeError, TreePath, Walked,
};
use model::units::{AccountId, BlobId, NodeHash};
use model::wire::Signed;
use model::wire::api::{Purge, PurgeAnswer};
use model::wire::limits::{PURGE_ITEMS_MAX, ROOTS_PER_PAGE_MAX};

use super::{TypedPath, outermost};
use crate::bridge_api::BridgeError;
use crate::drive::commit::{CommitError, Intent};
use crate::drive::open::{Drive, OpenError};
use crate::drive::read::ReadError;
use crate::transfer::FailureKind;

/// What was destroyed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Roots that were looked at, the current one included.
    pub roots: u64,
    /// Blobs whose shards are being deleted at their Hosts.
    pub blobs: u64,
    /// Blobs that other files use as well.
    pub blobs_in_use: u64,
    /// Pages destroyed.
    pub pages: u64,
    /// What stayed, as another device made or changed it in this very moment.
    pub left: Vec<TreePath>,
}

/// A purge that was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The phrase is of another account. Nothing was changed.
    #[error("this recovery phrase is of account {found}, not of this device's {expected}")]
    OtherPhrase {
        /// The account of the phrase.
        found: AccountId,
        /// The account of this device.
        expected: AccountId,
    },
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither now nor in any earlier version is there such a path.
    #[error("`{path}` does not exist, now or in any earlier version")]
    NotFound {
        /// The path.
        path: TreePath,
    },
    /// Earlier roots could not be fetched.
    #[error("earlier roots could not be fetched")]
    Roots(#[source] BridgeError),
    /// An earlier root cannot be read.
    #[error("the bridge handed out a malformed earlier root")]
    Malformed(#[source] DecodeError),
    /// An earlier root is not the one that its successor names.
    #[error("the bridge handed out a wrong earlier root")]
    WrongRoot(#[source] RootError),
    /// The names were not removed, and nothing was destroyed.
    #[error("nothing was removed")]
    Commit(#[from] CommitError),
    /// The Bridge does not destroy. Running the command again goes on.
    #[error("the names are removed, but the bridge does not destroy the content")]
    Purge(#[source] BridgeError),
}

impl PurgeError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::OtherPhrase { .. } => FailureKind::Refused,
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::Roots(source) | Self::Purge(source) => source.kind(),
            Self::Malformed(_) | Self::WrongRoot(_) => FailureKind::Integrity,
            Self::Commit(source) => source.kind(),
        }
    }
}

/// What leads to content that is to be destroyed.
#[derive(Debug, Default)]
struct Doomed {
    blobs: BTreeSet<BlobId>,
    pages: BTreeSet<NodeHash>,
    /// Folders that were gone through, by their top pages.
    folders: BTreeSet<NodeHash>,
    found: BTreeSet<TreePath>,
}

impl Drive {
    /// Removes what is at `paths` and destroys it, with all earlier versions.
    ///
    /// # Errors
    /// [`PurgeError`].
    pub async fn purge(
        &self,
        paths: &[TypedPath],
        phrase: &Mnemonic,
    ) -> Result<PurgeReport, PurgeError> {
        let keys = phrase.account_root_key().account_keys();
        let (found, expected) = (keys.account, self.settings.account);
        if found != expected {
            return Err(PurgeError::OtherPhrase { found, expected });
        }
        let paths = outermost(paths);
        let head = self.head().await?;
        let mut doomed = Doomed::default();
        let mut report = PurgeReport::default();
        if let Some(newest) = &head.root {
            report.roots = self.doom_in_all(newest, &paths, &mut doomed).await?;
        }
        if let Some(path) = paths.iter().find(|path| !doomed.found.contains(path)) {
            return Err(PurgeError::NotFound { path: path.clone() });
        }
        let mut present = Vec::new();
        let snapshot = crate::drive::Snapshot::new(head.tree.clone(), self.pages.clone());
        for path in paths {
            if snapshot.find(&path).await?.is_some() {
                present.push(Intent::Remove(path));
            }
        }
        if !present.is_empty() {
            let removed = self.committer(head).commit(present.into()).await?;
            report.left = removed.left;
        }
        self.destroy(&keys, &doomed, &mut report).await?;
        Ok(report)
    }

    /// Goes through all roots from `newest` back; returns how many there were.
    async fn doom_in_all(
        &self,
        newest: &SignedRoot,
        paths: &[TreePath],
        doomed: &mut Doomed,
    ) -> Result<u64, PurgeError> {
        self.doom_in(newest.unverified(), paths, doomed).await?;
        let mut lineage = newest.unverified().lineage;
        let mut roots = 1;
        while lineage.seq() > 1 {
            let before = lineage.seq();
            let page = self
                .transfer
                .api()
                .roots(&self.settings.volume, before, ROOTS_PER_PAGE_MAX);
            let page = page.await.map_err(PurgeError::Roots)?.roots;
            if page.is_empty() {
                break;
            }
            for answer in page {
                let signed = SignedRoot::parse(&answer.root.0).map_err(PurgeError::Malformed)?;
                let root = signed
                    .expect_hash(&lineage.prev())
                    .map_err(PurgeError::WrongRoot)?;
                self.doom_in(root, paths, doomed).await?;
                lineage = root.lineage;
                roots += 1;
            }
        }
        Ok(roots)
    }

    /// Collects what `paths` lead to in one root. Pages that are gone already are passed over.
    async fn doom_in(
        &self,
        root: &Root,
        paths: &[TreePath],
        doomed: &mut Doomed,
    ) -> Result<(), PurgeError> {
        let Ok(keys) = root.open_keys(&self.keys.volume) else {
            return Ok(());
        };
        let tree = Tree::new(root.volume, keys.top, root.top);
        for path in paths {
            let store = PageStore::new(root.account, root.volume, STORE_PAGES_MIN);
            let mut trail = Trail {
                drive: self,
                store,
                pages: BTreeSet::new(),
            };
            match trail.follow(&tree, path, doomed).await {
                Ok(()) | Err(ReadError::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn destroy(
        &self,
        keys: &AccountKeys,
        doomed: &Doomed,
        report: &mut PurgeReport,
    ) -> Result<(), PurgeError> {
        let blobs: Vec<BlobId> = doomed.blobs.iter().copied().collect();
        let nodes: Vec<NodeHash> = doomed.pages.iter().copied().collect();
        let calls = blobs.len().max(nodes.len()).div_ceil(PURGE_ITEMS_MAX);
        for call in 0..calls {
            let from = call * PURGE_ITEMS_MAX;
            let answer = self.destroy_some(keys, &blobs, &nodes, from).await;
            let answer = answer.map_err(PurgeError::Purge)?;
            report.blobs += answer.blobs;
            report.blobs_in_use += answer.blobs_in_use;
            report.pages += answer.nodes;
        }
        nodes.iter().for_each(|hash| self.pages.forget(hash));
        Ok(())
    }

    async fn destroy_some(
        &self,
        keys: &AccountKeys,
        blobs: &[BlobId],
        nodes: &[NodeHash],
        from: usize,
    ) -> Result<PurgeAnswer, BridgeError> {
        let purge = Purge {
            account: keys.account,
            bridge: self.settings.bridge_id,
            at: self.environment.now(),
            blobs: blobs
                .iter()
                .skip(from)
                .take(PURGE_ITEMS_MAX)
                .copied()
                .collect(),
            nodes: nodes
                .iter()
                .skip(from)
                .take(PURGE_ITEMS_MAX)
                .copied()
                .collect(),
        };
        self.transfer
            .api()
            .purge(&Signed::new(&keys.identity, &purge))
            .await
    }
}

/// Follows a path with a store of its own, so that every page on the way is asked for and noted.
struct Trail<'a> {
    drive: &'a Drive,
    store: PageStore,
    pages: BTreeSet<NodeHash>,
}

impl Trail<'_> {
    async fn follow(
        &mut self,
        tree: &Tree,
        path: &TreePath,
        doomed: &mut Doomed,
    ) -> Result<(), ReadError> {
        let found = self.read(|store| tree.lookup(store, path)).await;
        let entry = match found {
            Ok(Some(entry)) => entry,
            Ok(None) | Err(ReadError::Tree(TreeError::NotAFolder { .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        doomed.found.insert(path.clone());
        // The names on the way there are in these pages, and tiny files are so themselves.
        doomed.pages.append(&mut self.pages);
        doomed.take(&entry);
        let Some(folder) = entry
            .folder()
            .filter(|folder| doomed.folders.insert(folder.hash))
        else {
            return Ok(());
        };
        let mut walk = tree.walk(folder, path.clone());
        while let Some(Walked { entry, .. }) = self.read(|store| walk.next(store)).await? {
            doomed.take(&entry);
        }
        doomed.pages.append(&mut self.pages);
        Ok(())
    }

    async fn read<T>(
        &mut self,
        mut operation: impl FnMut(&mut PageStore) -> Result<Step<T>, TreeError>,
    ) -> Result<T, ReadError> {
        loop {
            match operation(&mut self.store)? {
                Step::Ready(value) => return Ok(value),
                Step::Need(hashes) => {
                    for (hash, page) in hashes.iter().zip(self.drive.pages.sealed(&hashes).await?) {
                        self.pages.insert(*hash);
                        let inserted = self.store.insert(page);
                        inserted.map_err(|source| ReadError::Refused {
                            hash: *hash,
                            source,
                        })?;
                    }
                }
            }
        }
    }
}

impl Doomed {
    fn take(&mut self, entry: &Entry) {
        if let Kind::File(file) = &entry.kind
            && let Content::Blob(slice) = &file.content
        {
            self.blobs.insert(slice.blob);
            self.pages.insert(slice.manifest);
        }
    }
}
