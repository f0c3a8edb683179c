//! A folder that is being edited: its B+ tree in memory, loaded where it is touched.
//!
//! While edited, leaves may grow beyond a page; they are cut once, when the edit ends
//! (`settle.rs`), so that a batch of many changes writes each page once.

use std::sync::Arc;

use crate::crypto::Secret;
use crate::formats::Step;
use crate::formats::tree::entry::Entry;
use crate::formats::tree::json::child_text;
use crate::formats::tree::page::{Body, Item, Page, PageLink, child_for};
use crate::formats::tree::path::Name;
use crate::formats::tree::store::PageStore;
use crate::formats::tree::{Folder, TreeError};
use crate::units::{NodeHash, NodeId};

/// Leaves above this are cut in memory, so that inserting stays cheap: 32 pages.
const LEAF_BYTES_SOFT_MAX: usize = 32 * 16_384;
/// How often a growing leaf is looked at, in entries.
const LEAF_ITEMS_PER_LOOK: usize = 64;

/// A folder in an edit.
#[derive(Debug)]
pub(super) struct OpenFolder {
    pub(super) id: NodeId,
    pub(super) key: Secret,
    /// The folder and name where its entry stands; `None` for the top folder.
    pub(super) place: Option<(NodeId, Name)>,
    /// The top page that its entry (or the root) links to; `None` for a new folder.
    pub(super) linked: Option<NodeHash>,
    pub(super) top: Link,
}

/// A page that is still sealed, or one that was loaded or made.
#[derive(Debug)]
pub(super) enum Link {
    Stored(NodeHash),
    Open(Box<Node>),
}

#[derive(Debug)]
pub(super) struct Node {
    /// The sealed page it was loaded from, or sealed as.
    pub(super) was: Option<NodeHash>,
    /// Whether it differs from that.
    pub(super) dirty: bool,
    /// Whether something was taken out, so that it may have become too small.
    pub(super) shrunk: bool,
    pub(super) body: NodeBody,
}

#[derive(Debug)]
pub(super) enum NodeBody {
    Leaf(Vec<Item>),
    Inner { level: u8, branches: Vec<Branch> },
}

/// A link from an inner page with its lower bound.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) low: Arc<[u8]>,
    pub(super) link: Link,
}

impl OpenFolder {
    /// A folder as it is stored.
    pub(super) fn stored(folder: Folder, place: Option<(NodeId, Name)>) -> Self {
        let (linked, top) = (Some(folder.hash), Link::Stored(folder.hash));
        Self {
            id: folder.id,
            key: folder.key,
            place,
            linked,
            top,
        }
    }

    /// A new folder without entries.
    pub(super) fn empty(id: NodeId, key: Secret, place: Option<(NodeId, Name)>) -> Self {
        let top = Link::Open(Box::new(Node::new(NodeBody::Leaf(Vec::new()))));
        Self {
            id,
            key,
            place,
            linked: None,
            top,
        }
    }

    /// Loads the pages on the way to `name`; the calls below need that.
    pub(super) fn load(
        &mut self,
        store: &mut PageStore,
        name: &[u8],
    ) -> Result<Step<()>, TreeError> {
        let folder = self.reader();
        let mut low: Arc<[u8]> = Arc::from([]);
        let mut level = None;
        let mut link = &mut self.top;
        loop {
            let node = ready!(load_link(link, store, &folder, (&low, level)));
            let NodeBody::Inner {
                level: here,
                branches,
            } = &mut node.body
            else {
                return Ok(Step::Ready(()));
            };
            level = Some(here.saturating_sub(1));
            let at = child_for(branches, name, |branch| &branch.low);
            let Some(branch) = branches.get_mut(at) else {
                return Ok(Step::Ready(()));
            };
            low = Arc::clone(&branch.low);
            link = &mut branch.link;
        }
    }

    /// What opening its pages takes. Its hash is not used for that.
    pub(super) fn reader(&self) -> Folder {
        Folder {
            id: self.id,
            key: self.key.clone(),
            hash: NodeHash::default(),
        }
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Arc<Entry>> {
        let mut link = &self.top;
        loop {
            let Link::Open(node) = link else { return None };
            match &node.body {
                NodeBody::Leaf(items) => {
                    let at = items
                        .binary_search_by(|item| item.entry.name.cmp(name))
                        .ok()?;
                    return items.get(at).map(|item| &item.entry);
                }
                NodeBody::Inner { branches, .. } => {
                    let at = child_for(branches, name.as_bytes(), |branch| &branch.low);
                    link = &branches.get(at)?.link;
                }
            }
        }
    }

    /// Puts an entry in; returns the one of the same name that it replaces.
    pub(super) fn put(&mut self, item: Item) -> Option<Arc<Entry>> {
        let (old, right) = put(&mut self.top, item);
        if let Some(right) = right {
            let left = std::mem::replace(&mut self.top, Link::Stored(NodeHash::default()));
            let level = left.level() + 1;
            let branches = vec![
                Branch {
                    low: Arc::from([]),
                    link: left,
                },
                right,
            ];
            self.top = Link::Open(Box::new(Node::new(NodeBody::Inner { level, branches })));
        }
        old
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, name: &Name) -> Option<Arc<Entry>> {
        remove(&mut self.top, name)
    }

    pub(super) fn is_dirty(&self) -> bool {
        matches!(&self.top, Link::Open(node) if node.dirty)
    }
}

impl Branch {
    /// The bytes it takes in a page, its comma counted.
    pub(super) fn bytes(&self) -> usize {
        child_text(&self.low, &NodeHash::default()).len() + 1
    }
}

impl Link {
    fn level(&self) -> u8 {
        match self {
            Self::Open(node) => node.level(),
            Self::Stored(_) => 0,
        }
    }
}

impl Node {
    pub(super) fn new(body: NodeBody) -> Self {
        Self {
            was: None,
            dirty: true,
            shrunk: false,
            body,
        }
    }

    fn from_page(page: &Page, hash: NodeHash) -> Self {
        let body = match &page.body {
            Body::Leaf(items) => NodeBody::Leaf(items.clone()),
            Body::Inner(children) => {
                let branches = children.iter().map(|child| Branch {
                    low: Arc::clone(&child.low),
                    link: Link::Stored(child.hash),
                });
                NodeBody::Inner {
                    level: page.level,
                    branches: branches.collect(),
                }
            }
        };
        Self {
            was: Some(hash),
            dirty: false,
            shrunk: false,
            body,
        }
    }

    pub(super) fn level(&self) -> u8 {
        match &self.body {
            NodeBody::Leaf(_) => 0,
            NodeBody::Inner { level, .. } => *level,
        }
    }
}

/// Opens the page behind `link` where it is still sealed; `at` is its lower bound and level.
pub(super) fn load_link<'a>(
    link: &'a mut Link,
    store: &mut PageStore,
    folder: &Folder,
    at: (&Arc<[u8]>, Option<u8>),
) -> Result<Step<&'a mut Node>, TreeError> {
    if let Link::Stored(hash) = *link {
        let page = PageLink {
            hash,
            low: Arc::clone(at.0),
            level: at.1,
        };
        let page = ready!(store.open(folder, &page));
        *link = Link::Open(Box::new(Node::from_page(&page, hash)));
    }
    match link {
        Link::Open(node) => Ok(Step::Ready(node)),
        Link::Stored(hash) => Ok(Step::Need(vec![*hash])),
    }
}

fn put(link: &mut Link, item: Item) -> (Option<Arc<Entry>>, Option<Branch>) {
    let Link::Open(node) = link else {
        return (None, None);
    };
    node.dirty = true;
    match &mut node.body {
        NodeBody::Leaf(items) => {
            let old = match items.binary_search_by(|old| old.entry.name.cmp(&item.entry.name)) {
                Ok(at) => items.get_mut(at).map(|slot| {
                    node.shrunk |= item.bytes < slot.bytes;
                    std::mem::replace(slot, item).entry
                }),
                Err(at) => {
                    items.insert(at, item);
                    None
                }
            };
            (old, cut_in_memory(items))
        }
        NodeBody::Inner { branches, .. } => {
            let at = child_for(branches, item.entry.name.as_bytes(), |branch| &branch.low);
            let Some(branch) = branches.get_mut(at) else {
                return (None, None);
            };
            let (old, right) = put(&mut branch.link, item);
            if let Some(right) = right {
                branches.insert(at + 1, right);
            }
            (old, None)
        }
    }
}

/// Cuts a leaf that grew far beyond a page in two.
fn cut_in_memory(items: &mut Vec<Item>) -> Option<Branch> {
    // Summing costs more than inserting, so it is done now and then.
    let bytes = || items.iter().map(|item| item.bytes).sum::<usize>();
    if !items.len().is_multiple_of(LEAF_ITEMS_PER_LOOK) || bytes() <= LEAF_BYTES_SOFT_MAX {
        return None;
    }
    let right = items.split_off(items.len() / 2);
    let low = right.first()?.entry.name.shared();
    Some(Branch {
        low,
        link: Link::Open(Box::new(Node::new(NodeBody::Leaf(right)))),
    })
}

fn remove(link: &mut Link, name: &Name) -> Option<Arc<Entry>> {
    let Link::Open(node) = link else { return None };
    let removed = match &mut node.body {
        NodeBody::Leaf(items) => {
            let at = items
                .binary_search_by(|item| item.entry.name.cmp(name))
                .ok()?;
            node.shrunk = true;
            items.remove(at).entry
        }
        NodeBody::Inner { branches, .. } => {
            let at = child_for(branches, name.as_bytes(), |branch| &branch.low);
            remove(&mut branches.get_mut(at)?.link, name)?
        }
    };
    node.dirty = true;
    Some(removed)
}
