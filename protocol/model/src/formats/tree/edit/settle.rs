//! Brings the pages of an edited folder to size and seals the changed ones.
//!
//! By encoded size only: what is above a page is cut, what shrank below half a page joins a
//! neighbour where both fit. Then every changed page is sealed once, leaves first.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::folder::{Branch, Link, Node, NodeBody, OpenFolder, load_link};
use crate::formats::tree::json::{PAGE_FRAME_BYTES, child_text, entry_text, page_text};
use crate::formats::tree::page::{Item, PLAIN_BYTES_MAX, page_context, seal_page};
use crate::formats::tree::store::PageStore;
use crate::formats::tree::{Folder, TreeError};
use crate::formats::{NEED_PAGES_MAX, SealedPage, Step};
use crate::units::{AccountId, NodeHash, VolumeId};

/// Most bytes of items in a page; the last has no comma.
const ITEMS_BYTES_MAX: usize = PLAIN_BYTES_MAX - PAGE_FRAME_BYTES + 1;
/// A page that shrank below this looks for a neighbour to join.
const ITEMS_BYTES_LOW: usize = ITEMS_BYTES_MAX / 2;
/// Joined pages leave room for what comes.
const ITEMS_BYTES_JOINED_MAX: usize = ITEMS_BYTES_MAX / 8 * 7;

impl OpenFolder {
    /// Cuts and joins pages until each fits; asks for the neighbours it has to look at.
    pub(super) fn settle(
        &mut self,
        store: &mut PageStore,
        retired: &mut BTreeSet<NodeHash>,
    ) -> Result<Step<()>, TreeError> {
        let mut settling = Settling {
            folder: self.reader(),
            store,
            retired,
            need: Vec::new(),
        };
        if let Link::Open(node) = &mut self.top {
            settling.node(node)?;
            if !settling.need.is_empty() {
                settling.need.truncate(NEED_PAGES_MAX);
                return Ok(Step::Need(settling.need));
            }
        }
        self.grow();
        self.collapse(retired);
        Ok(Step::Ready(()))
    }

    /// Puts levels above a top page that is too large.
    fn grow(&mut self) {
        loop {
            let Link::Open(node) = &mut self.top else {
                return;
            };
            let pieces = cut(node, true);
            if pieces.is_empty() {
                return;
            }
            let level = node.level() + 1;
            let left = std::mem::replace(&mut self.top, Link::Stored(NodeHash::default()));
            let mut branches = vec![Branch {
                low: Arc::from([]),
                link: left,
            }];
            branches.extend(pieces);
            self.top = Link::Open(Box::new(Node::new(NodeBody::Inner { level, branches })));
        }
    }

    /// Removes top pages that link to one page only: that page has the same lower bound, so it
    /// can stand in their place as it is.
    fn collapse(&mut self, retired: &mut BTreeSet<NodeHash>) {
        while let Link::Open(node) = &mut self.top
            && let NodeBody::Inner { branches, .. } = &mut node.body
            && branches.len() == 1
            && let Some(only) = branches.pop()
        {
            retired.extend(node.was);
            self.top = only.link;
        }
    }

    /// Seals the changed pages and returns the hash of the top page.
    pub(super) fn seal(
        &mut self,
        scope: (AccountId, VolumeId),
        added: &mut Vec<SealedPage>,
        retired: &mut BTreeSet<NodeHash>,
    ) -> NodeHash {
        let folder = self.reader();
        Sealing {
            folder,
            scope,
            added,
            retired,
        }
        .link(&mut self.top, &[])
    }
}

struct Settling<'a> {
    folder: Folder,
    store: &'a mut PageStore,
    retired: &'a mut BTreeSet<NodeHash>,
    need: Vec<NodeHash>,
}

impl Settling<'_> {
    /// Brings everything below `node` to size; its own is its parent's business.
    fn node(&mut self, node: &mut Node) -> Result<(), TreeError> {
        let NodeBody::Inner { level, branches } = &mut node.body else {
            return Ok(());
        };
        if !node.dirty {
            return Ok(());
        }
        for branch in &mut *branches {
            if let Link::Open(child) = &mut branch.link {
                self.node(child)?;
            }
        }
        if self.need.is_empty() {
            cut_branches(branches);
            let joined = self.join_branches(branches, level.saturating_sub(1))?;
            node.shrunk |= joined;
        }
        Ok(())
    }

    fn join_branches(&mut self, branches: &mut Vec<Branch>, level: u8) -> Result<bool, TreeError> {
        let (mut at, mut joined) = (0, false);
        while at < branches.len() {
            if branches.len() > 1 && branches.get(at).is_some_and(Branch::is_small) {
                let left = at.saturating_sub(1);
                if self.join_at(branches, left, level)? {
                    (at, joined) = (left, true);
                    continue;
                }
            }
            at += 1;
        }
        Ok(joined)
    }

    /// Joins the pages behind branch `left` and the one right of it, where both fit in one.
    fn join_at(
        &mut self,
        branches: &mut Vec<Branch>,
        left: usize,
        level: u8,
    ) -> Result<bool, TreeError> {
        let mut sizes = [0; 2];
        for (size, branch) in sizes.iter_mut().zip(branches.iter_mut().skip(left)) {
            let at = (&branch.low, Some(level));
            match load_link(&mut branch.link, self.store, &self.folder, at)? {
                Step::Ready(node) => *size = node.bytes(),
                Step::Need(need) => self.need.extend(need),
            }
        }
        let [first, second] = sizes;
        let fits = first + second <= ITEMS_BYTES_JOINED_MAX || first.min(second) == 0;
        if !self.need.is_empty() || !fits || left + 1 >= branches.len() {
            return Ok(false);
        }
        let right = branches.remove(left + 1);
        let (Link::Open(right), Some(Link::Open(node))) = (
            right.link,
            branches.get_mut(left).map(|branch| &mut branch.link),
        ) else {
            return Ok(false);
        };
        self.retired.extend(right.was);
        node.dirty = true;
        node.shrunk = true;
        node.append(right.body);
        // At the seam, pages that had no neighbour before have one now.
        if let NodeBody::Inner { level, branches } = &mut node.body {
            self.join_branches(branches, level.saturating_sub(1))?;
        }
        Ok(true)
    }
}

impl Branch {
    fn is_small(&self) -> bool {
        match &self.link {
            Link::Open(node) => node.shrunk && node.dirty && node.bytes() < ITEMS_BYTES_LOW,
            Link::Stored(_) => false,
        }
    }
}

impl Node {
    /// Bytes of its items in a page.
    fn bytes(&self) -> usize {
        match &self.body {
            NodeBody::Leaf(items) => items.iter().map(|item| item.bytes).sum(),
            NodeBody::Inner { branches, .. } => branches.iter().map(Branch::bytes).sum(),
        }
    }

    fn append(&mut self, right: NodeBody) {
        match (&mut self.body, right) {
            (NodeBody::Leaf(left), NodeBody::Leaf(right)) => left.extend(right),
            (
                NodeBody::Inner { branches: left, .. },
                NodeBody::Inner {
                    branches: right, ..
                },
            ) => {
                left.extend(right);
            }
            (NodeBody::Leaf(_), NodeBody::Inner { .. })
            | (NodeBody::Inner { .. }, NodeBody::Leaf(_)) => {
                debug_assert!(false, "siblings are of one level");
            }
        }
    }
}

fn cut_branches(branches: &mut Vec<Branch>) {
    let mut at = 0;
    while at < branches.len() {
        let last = at + 1 == branches.len();
        let pieces = match branches.get_mut(at).map(|branch| &mut branch.link) {
            Some(Link::Open(node)) if node.dirty => cut(node, last),
            _ => Vec::new(),
        };
        let count = pieces.len();
        branches.splice(at + 1..at + 1, pieces);
        at += 1 + count;
    }
}

/// Cuts a node that is too large; it keeps the first part, the others are returned.
///
/// The last page of a level is filled up, as names that come in order go behind it; others are
/// cut evenly.
fn cut(node: &mut Node, last: bool) -> Vec<Branch> {
    let total = node.bytes();
    if total <= ITEMS_BYTES_MAX {
        return Vec::new();
    }
    let pieces = total.div_ceil(ITEMS_BYTES_MAX / 8 * 7);
    let target = if last {
        ITEMS_BYTES_MAX
    } else {
        total.div_ceil(pieces)
    };
    match &mut node.body {
        NodeBody::Leaf(items) => {
            let parts = cut_items(std::mem::take(items), target, |item: &Item| item.bytes);
            let (first, rest) = parts;
            *items = first;
            rest.into_iter().filter_map(leaf_branch).collect()
        }
        NodeBody::Inner { level, branches } => {
            let (first, rest) = cut_items(std::mem::take(branches), target, Branch::bytes);
            *branches = first;
            let level = *level;
            rest.into_iter()
                .filter_map(|branches| inner_branch(level, branches))
                .collect()
        }
    }
}

/// Cuts `items` into a first part and further ones, each about `target` and never above a page.
fn cut_items<T>(
    items: Vec<T>,
    target: usize,
    bytes: impl Fn(&T) -> usize,
) -> (Vec<T>, Vec<Vec<T>>) {
    let mut parts = Vec::new();
    let (mut part, mut size) = (Vec::new(), 0);
    for item in items {
        let more = bytes(&item);
        let full = size + more > ITEMS_BYTES_MAX || size + more / 2 > target;
        if full && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += more;
        part.push(item);
    }
    parts.push(part);
    let rest = parts.split_off(1);
    (parts.pop().unwrap_or_default(), rest)
}

fn leaf_branch(items: Vec<Item>) -> Option<Branch> {
    let low = items.first()?.entry.name.shared();
    Some(Branch {
        low,
        link: Link::Open(Box::new(Node::new(NodeBody::Leaf(items)))),
    })
}

fn inner_branch(level: u8, branches: Vec<Branch>) -> Option<Branch> {
    let low = Arc::clone(&branches.first()?.low);
    let node = Node::new(NodeBody::Inner { level, branches });
    Some(Branch {
        low,
        link: Link::Open(Box::new(node)),
    })
}

struct Sealing<'a> {
    folder: Folder,
    scope: (AccountId, VolumeId),
    added: &'a mut Vec<SealedPage>,
    retired: &'a mut BTreeSet<NodeHash>,
}

impl Sealing<'_> {
    fn link(&mut self, link: &mut Link, low: &[u8]) -> NodeHash {
        let node = match link {
            Link::Stored(hash) => return *hash,
            Link::Open(node) => node,
        };
        if let (false, Some(hash)) = (node.dirty, node.was) {
            return hash;
        }
        let (level, items) = match &mut node.body {
            NodeBody::Leaf(items) => (
                0,
                items
                    .iter()
                    .map(|item| entry_text(&item.entry))
                    .collect::<Vec<_>>(),
            ),
            NodeBody::Inner { level, branches } => {
                let links = branches.iter_mut().map(|branch| {
                    let hash = self.link(&mut branch.link, &branch.low);
                    child_text(&branch.low, &hash)
                });
                (*level, links.collect())
            }
        };
        let context = page_context((&self.scope.0, &self.scope.1), &self.folder.id, low);
        let page = seal_page(&self.folder.key, &context, page_text(level, &items));
        let hash = page.hash();
        if node.was != Some(hash) {
            self.retired.extend(node.was);
            self.added.push(page);
        }
        node.was = Some(hash);
        node.dirty = false;
        node.shrunk = false;
        hash
    }
}
