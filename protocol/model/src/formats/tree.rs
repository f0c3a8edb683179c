//! The filesystem tree of a volume: sealed JSON pages, Merkle-linked from the root's top page.
//!
//! A folder is a B+ tree ordered by the bytes of names. Reading ([`Tree`], [`Walk`]) and writing
//! ([`TreeEdit`]) take pages from a [`PageStore`]; an operation that lacks some answers
//! [`Step::Need`], and is called again once they were inserted. Nothing here fetches anything.
//! The format is `docs/spec/tree.md`.

/// Unwraps a `Result<Step<T>, E>`, or returns what is needed.
macro_rules! ready {
    ($step:expr) => {
        match $step? {
            $crate::formats::Step::Ready(value) => value,
            $crate::formats::Step::Need(pages) => return Ok($crate::formats::Step::Need(pages)),
        }
    };
}

mod edit;
mod entry;
mod json;
mod page;
mod path;
mod store;
mod walk;

use std::sync::Arc;

pub use edit::{BlobChange, Change, Commit, EditError, TreeEdit};
pub use entry::{BlobSlice, Content, Entry, FileVersion, FolderLink, Kind, Meta, Mtime};
pub use json::MalformedPage;
pub use page::PageError;
pub use path::{NAME_BYTES_MAX, Name, PATH_DEPTH_MAX, PathError, TreePath};
pub use store::{PageStore, STORE_PAGES_MIN};
pub use walk::{Walk, Walked};

use crate::crypto::Secret;
use crate::formats::{NEED_PAGES_MAX, Step};
use crate::units::{NodeHash, NodeId, VolumeId};
use page::{Body, Page, PageLink, child_for};

/// Largest encoded entry, in bytes of JSON.
pub const ENTRY_BYTES_MAX: usize = 8_192;
/// Most extended attributes of an entry.
pub const XATTRS_MAX: usize = 64;
/// Most entries that [`Tree::list`] returns at once.
pub const LIST_MAX: usize = 1_000;
/// Levels of pages above the leaves of a folder.
const LEVELS_MAX: u8 = 9;

/// The tree of a volume as one root has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    top: Folder,
}

/// A folder's identity, key and top page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its node id; the top folder's is the volume's id.
    pub id: NodeId,
    /// Opens its pages.
    pub key: Secret,
    /// Its top page.
    pub hash: NodeHash,
}

/// A tree that cannot be read as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A name in the middle of the path is no folder.
    #[error("`{path}` is not a folder")]
    NotAFolder {
        /// The path up to that name.
        path: TreePath,
    },
    /// There is no such entry.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The path.
        path: TreePath,
    },
    /// A page is refused.
    #[error("page {hash} is refused")]
    Page {
        /// Its hash.
        hash: NodeHash,
        /// Why.
        #[source]
        source: PageError,
    },
}

impl Tree {
    /// The tree whose top folder has the key `key` and the top page `hash`
    /// ([`crate::formats::root::RootKeys::top`] and [`crate::formats::root::Root::top`]).
    #[must_use]
    pub const fn new(volume: VolumeId, key: Secret, hash: NodeHash) -> Self {
        Self {
            top: Folder {
                id: NodeId(volume.0),
                key,
                hash,
            },
        }
    }

    /// The top folder.
    #[must_use]
    pub const fn top(&self) -> &Folder {
        &self.top
    }

    /// The entry at `path`, or `None` where there is none. The top folder has an entry of its own,
    /// with an empty name.
    ///
    /// # Errors
    /// [`TreeError::NotAFolder`] where the path goes through something else, [`TreeError::Page`].
    pub fn lookup(
        &self,
        store: &mut PageStore,
        path: &TreePath,
    ) -> Result<Step<Option<Arc<Entry>>>, TreeError> {
        let mut entry = Arc::new(self.top_entry());
        for (depth, name) in path.names().iter().enumerate() {
            let Some(folder) = entry.folder() else {
                return Err(TreeError::NotAFolder {
                    path: prefix(path, depth),
                });
            };
            let Some(found) = ready!(find(store, &folder, name)) else {
                return Ok(Step::Ready(None));
            };
            entry = found;
        }
        Ok(Step::Ready(Some(entry)))
    }

    /// The folder at `path`.
    ///
    /// # Errors
    /// [`TreeError`]; also where something else is there.
    pub fn folder(
        &self,
        store: &mut PageStore,
        path: &TreePath,
    ) -> Result<Step<Folder>, TreeError> {
        let Some(entry) = ready!(self.lookup(store, path)) else {
            return Err(TreeError::NotFound { path: path.clone() });
        };
        let folder = entry
            .folder()
            .ok_or_else(|| TreeError::NotAFolder { path: path.clone() })?;
        Ok(Step::Ready(folder))
    }

    /// The next `limit` entries (at most [`LIST_MAX`]) of `folder` behind the name `after`, in the
    /// order of their names. Fewer mean that the folder ends there.
    ///
    /// # Errors
    /// [`TreeError::Page`].
    pub fn list(
        &self,
        store: &mut PageStore,
        folder: &Folder,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Step<Vec<Arc<Entry>>>, TreeError> {
        let limit = limit.min(LIST_MAX);
        let start = after.map_or(&b""[..], Name::as_bytes);
        let mut found: Vec<Arc<Entry>> = Vec::new();
        let mut low: Arc<[u8]> = start.into();
        while found.len() < limit {
            // A page holds some 40 entries; asking for too many pages costs less than one by one.
            let leaf = ready!(leaf_at(store, folder, &low, (limit - found.len()) / 40));
            let entries = leaf
                .entries
                .iter()
                .filter(|entry| entry.name.as_bytes() > start);
            found.extend(entries.take(limit - found.len()).cloned());
            let Some(next) = leaf.next else { break };
            low = next;
        }
        Ok(Step::Ready(found))
    }

    /// Every entry below `folder`, each before what it holds. Paths start with `path`.
    #[must_use]
    pub fn walk(&self, folder: Folder, path: TreePath) -> Walk {
        Walk::new(folder, path)
    }

    fn top_entry(&self) -> Entry {
        let link = FolderLink {
            key: self.top.key.clone(),
            hash: self.top.hash,
        };
        let meta = Meta {
            mode: 0o755,
            ..Meta::default()
        };
        Entry {
            id: self.top.id,
            name: Name::top(),
            meta,
            epoch: 0,
            kind: Kind::Folder(link),
        }
    }
}

/// The first `depth` names of `path`.
fn prefix(path: &TreePath, depth: usize) -> TreePath {
    let above = path.names().iter().take(depth).cloned();
    above.fold(TreePath::top(), |path, name| {
        path.clone().join(name).unwrap_or(path)
    })
}

/// The entry `name` of `folder`.
fn find(
    store: &mut PageStore,
    folder: &Folder,
    name: &Name,
) -> Result<Step<Option<Arc<Entry>>>, TreeError> {
    let leaf = ready!(leaf_at(store, folder, name.as_bytes(), 0));
    let at = leaf.entries.binary_search_by(|entry| entry.name.cmp(name));
    Ok(Step::Ready(
        at.ok().and_then(|at| leaf.entries.get(at)).cloned(),
    ))
}

/// A leaf of a folder and where the one behind it begins.
#[derive(Debug)]
struct Leaf {
    entries: Vec<Arc<Entry>>,
    next: Option<Arc<[u8]>>,
}

/// The leaf of `folder` that holds `name`. Where it is missing, up to `ahead` leaves behind it
/// are asked for as well.
fn leaf_at(
    store: &mut PageStore,
    folder: &Folder,
    name: &[u8],
    ahead: usize,
) -> Result<Step<Leaf>, TreeError> {
    let mut link = PageLink::top(folder);
    let mut next = None;
    let mut siblings: Vec<NodeHash> = Vec::new();
    loop {
        let page: Arc<Page> = match store.open(folder, &link)? {
            Step::Ready(page) => page,
            Step::Need(mut need) => {
                need.extend(siblings);
                return Ok(Step::Need(need));
            }
        };
        match &page.body {
            Body::Leaf(items) => {
                let entries = items.iter().map(|item| Arc::clone(&item.entry)).collect();
                return Ok(Step::Ready(Leaf { entries, next }));
            }
            Body::Inner(children) => {
                let at = child_for(children, name, |child| &child.low);
                let Some(child) = children.get(at) else {
                    return Err(TreeError::Page {
                        hash: link.hash,
                        source: PageError::Order,
                    });
                };
                let behind = children.iter().skip(at + 1);
                next = behind
                    .clone()
                    .next()
                    .map(|child| Arc::clone(&child.low))
                    .or(next);
                if page.level == 1 {
                    let hashes = behind.map(|child| child.hash);
                    let missing = hashes.filter(|hash| !store.contains(hash));
                    siblings = missing.take(ahead.min(NEED_PAGES_MAX - 1)).collect();
                }
                link = PageLink::below(page.level, child);
            }
        }
    }
}

#[cfg(test)]
mod tests;
