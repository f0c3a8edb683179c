//! Reading the tree: operations are tried, told which pages they lack, and tried again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use model::formats::Step;
use model::formats::tree::{
    Entry, Folder, Name, PageError, PageStore, Tree, TreeError, TreePath, Walk, Walked,
};
use model::units::NodeHash;
use model::wire::limits::NODES_PER_GET_MAX;

use super::storage::PageCache;
use crate::bridge_api::{BridgeApi, BridgeError};
use crate::transfer::FailureKind;

/// An operation is tried this often at most; each time it is given what it lacked.
const TRIES_MAX: usize = 100_000;

/// The pages of one volume: those in memory, behind them the disk's, behind them the Bridge's.
#[derive(Debug)]
pub(crate) struct Pages {
    store: Mutex<PageStore>,
    cache: Arc<dyn PageCache>,
    api: BridgeApi,
}

/// A tree that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The tree refuses: no such path, or a page that is not what it should be.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The Bridge does not hand out pages.
    #[error("{count} pages of the tree could not be fetched")]
    Fetch {
        /// How many were asked for.
        count: usize,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The Bridge does not have a page that the signed root leads to.
    #[error("the bridge does not have page {hash} of the tree")]
    Missing {
        /// Its hash.
        hash: NodeHash,
    },
    /// The Bridge handed out other bytes than asked for.
    #[error("the bridge handed out a wrong page for {hash}")]
    Wrong {
        /// The hash asked for.
        hash: NodeHash,
    },
    /// A page that no tree has.
    #[error("page {hash} is refused")]
    Refused {
        /// Its hash.
        hash: NodeHash,
        /// Why.
        #[source]
        source: PageError,
    },
    /// An operation that never has enough pages.
    #[error("the tree cannot be read within {TRIES_MAX} steps")]
    Endless,
}

impl ReadError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Tree(TreeError::NotFound { .. } | TreeError::NotAFolder { .. }) => {
                FailureKind::NotFound
            }
            Self::Fetch { source, .. } => source.kind(),
            Self::Tree(TreeError::Page { .. })
            | Self::Missing { .. }
            | Self::Wrong { .. }
            | Self::Refused { .. }
            | Self::Endless => FailureKind::Integrity,
        }
    }
}

impl Pages {
    pub(crate) const fn new(store: PageStore, cache: Arc<dyn PageCache>, api: BridgeApi) -> Self {
        Self {
            store: Mutex::new(store),
            cache,
            api,
        }
    }

    /// Runs `operation` until it has every page it needs.
    pub(crate) async fn with<T, E: From<ReadError>>(
        &self,
        mut operation: impl FnMut(&mut PageStore) -> Result<Step<T>, E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES_MAX {
            let step = operation(&mut self.store());
            match step? {
                Step::Ready(value) => return Ok(value),
                Step::Need(hashes) => self.fetch(&hashes).await?,
            }
        }
        Err(ReadError::Endless.into())
    }

    /// Runs an operation that needs no page from elsewhere.
    pub(crate) fn make<T>(
        &self,
        operation: impl FnOnce(&mut PageStore) -> Result<Step<T>, TreeError>,
    ) -> Option<T> {
        match operation(&mut self.store()) {
            Ok(Step::Ready(made)) => Some(made),
            Ok(Step::Need(_)) | Err(_) => None,
        }
    }

    /// Forgets a page on disk that the tree no longer leads to.
    pub(crate) fn forget(&self, hash: &NodeHash) {
        self.cache.remove(hash);
    }

    /// Takes a page made here.
    pub(crate) fn keep(&self, hash: &NodeHash, sealed: &[u8]) {
        self.cache.put(hash, sealed);
        if let Err(error) = self.store().insert(sealed.to_vec()) {
            tracing::debug!(%error, "own page not kept in memory");
        }
    }

    /// The sealed bytes of pages that a signed root leads to, also of manifests, in order.
    pub(crate) async fn sealed(&self, hashes: &[NodeHash]) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut found: Vec<Option<Vec<u8>>> =
            hashes.iter().map(|hash| self.cache.get(hash)).collect();
        let asked = hashes.iter().zip(&found).filter(|(_, page)| page.is_none());
        let asked: Vec<NodeHash> = asked.map(|(hash, _)| *hash).collect();
        let batches = asked
            .chunks(NODES_PER_GET_MAX)
            .map(|batch| self.ask_bridge(batch));
        let fetched = try_join_all(batches).await?.into_iter().flatten();
        for (slot, page) in found.iter_mut().filter(|slot| slot.is_none()).zip(fetched) {
            *slot = Some(page);
        }
        Ok(found.into_iter().flatten().collect())
    }

    async fn fetch(&self, hashes: &[NodeHash]) -> Result<(), ReadError> {
        let pages = self.sealed(hashes).await?;
        let mut store = self.store();
        for (hash, page) in hashes.iter().zip(pages) {
            store.insert(page).map_err(|source| ReadError::Refused {
                hash: *hash,
                source,
            })?;
        }
        Ok(())
    }

    /// Fetches `hashes`, at most 64, and checks every page against its hash.
    async fn ask_bridge(&self, hashes: &[NodeHash]) -> Result<Vec<Vec<u8>>, ReadError> {
        let count = hashes.len();
        let answer = self.api.nodes(hashes).await;
        let mut nodes = answer
            .map_err(|source| ReadError::Fetch { count, source })?
            .nodes;
        let mut pages = Vec::with_capacity(count);
        for hash in hashes {
            let at = nodes.iter().position(|node| node.hash == *hash);
            let body = at.map(|at| nodes.swap_remove(at).body.0);
            let body = body.ok_or(ReadError::Missing { hash: *hash })?;
            if model::crypto::sha256(&body) != hash.0 {
                return Err(ReadError::Wrong { hash: *hash });
            }
            self.cache.put(hash, &body);
            pages.push(body);
        }
        Ok(pages)
    }

    fn store(&self) -> MutexGuard<'_, PageStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One state of the tree, to be read: later commits do not change it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    tree: Tree,
    pages: Arc<Pages>,
}

impl Snapshot {
    pub(crate) const fn new(tree: Tree, pages: Arc<Pages>) -> Self {
        Self { tree, pages }
    }

    /// The entry at `path`, if there is one; also `None` where the path goes through a file.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find(&self, path: &TreePath) -> Result<Option<Arc<Entry>>, ReadError> {
        let found = self
            .pages
            .with(|store| Ok::<_, ReadError>(self.tree.lookup(store, path)?));
        match found.await {
            Err(ReadError::Tree(TreeError::NotAFolder { .. })) => Ok(None),
            other => other,
        }
    }

    /// The entry at `path`, which must be there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entry(&self, path: &TreePath) -> Result<Arc<Entry>, ReadError> {
        let missing = || TreeError::NotFound { path: path.clone() };
        self.find(path).await?.ok_or_else(|| missing().into())
    }

    /// The next entries of `folder` behind `after`, at most `limit` and
    /// [`LIST_MAX`](model::formats::tree::LIST_MAX); fewer mean
    /// that the folder ends there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list(
        &self,
        folder: &Folder,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.pages
            .with(|store| Ok(self.tree.list(store, folder, after, limit)?))
            .await
    }

    /// Walks everything below `folder`, which stands at `path`.
    #[must_use]
    pub fn walk(&self, folder: Folder, path: TreePath) -> SnapshotWalk {
        SnapshotWalk {
            walk: self.tree.walk(folder, path),
            pages: Arc::clone(&self.pages),
        }
    }
}

/// A walk through a part of a [`Snapshot`].
#[derive(Debug)]
pub struct SnapshotWalk {
    walk: Walk,
    pages: Arc<Pages>,
}

impl SnapshotWalk {
    /// The next entry, each before what it holds; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]; the walk cannot go on then.
    pub async fn next(&mut self) -> Result<Option<Walked>, ReadError> {
        let walk = &mut self.walk;
        self.pages.with(|store| Ok(walk.next(store)?)).await
    }
}
