//! Everything below a folder as an edit has it: what removing and copying must account for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::folder::{Link, NodeBody, OpenFolder};
use crate::formats::tree::entry::Entry;
use crate::formats::tree::page::{Body, PageLink};
use crate::formats::tree::store::PageStore;
use crate::formats::tree::{Folder, TreeError};
use crate::formats::{NEED_PAGES_MAX, Step};
use crate::units::{NodeHash, NodeId};

/// A subtree that is being collected; goes on where it stood after [`Step::Need`].
#[derive(Debug)]
pub(super) struct Subtree {
    /// The folder it starts at.
    pub(super) id: NodeId,
    /// Sealed pages of it, as the last root has them.
    pub(super) pages: Vec<NodeHash>,
    /// Entries with the folder they stand in; a folder's before those it holds.
    pub(super) entries: Vec<(NodeId, Arc<Entry>)>,
    /// Folders of it that the edit has open.
    pub(super) open: Vec<NodeId>,
    tasks: Vec<Task>,
}

#[derive(Debug)]
enum Task {
    Folder(Folder),
    Page(Arc<Folder>, PageLink),
}

impl Subtree {
    pub(super) fn new(folder: Folder) -> Self {
        Self {
            id: folder.id,
            pages: Vec::new(),
            entries: Vec::new(),
            open: Vec::new(),
            tasks: vec![Task::Folder(folder)],
        }
    }

    /// Goes on until everything is collected.
    pub(super) fn collect(
        &mut self,
        folders: &BTreeMap<NodeId, OpenFolder>,
        store: &mut PageStore,
    ) -> Result<Step<()>, TreeError> {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Folder(folder) => match folders.get(&folder.id) {
                    Some(open) => self.open_folder(open),
                    None => {
                        let top = PageLink::top(&folder);
                        self.tasks.push(Task::Page(Arc::new(folder), top));
                    }
                },
                Task::Page(folder, link) => {
                    if let Step::Need(need) = self.page(store, &folder, &link)? {
                        self.tasks.push(Task::Page(folder, link));
                        return Ok(Step::Need(self.look_ahead(store, need)));
                    }
                }
            }
        }
        Ok(Step::Ready(()))
    }

    fn open_folder(&mut self, open: &OpenFolder) {
        self.open.push(open.id);
        let folder = Arc::new(open.reader());
        self.open_link(&folder, &open.top, PageLink::top(&folder));
    }

    fn open_link(&mut self, folder: &Arc<Folder>, link: &Link, at: PageLink) {
        let node = match link {
            Link::Stored(hash) => {
                let page = PageLink { hash: *hash, ..at };
                self.tasks.push(Task::Page(Arc::clone(folder), page));
                return;
            }
            Link::Open(node) => node,
        };
        self.pages.extend(node.was);
        match &node.body {
            NodeBody::Leaf(items) => {
                items
                    .iter()
                    .for_each(|item| self.entry(folder.id, &item.entry));
            }
            NodeBody::Inner { level, branches } => {
                for branch in branches {
                    let (low, level) = (Arc::clone(&branch.low), Some(level.saturating_sub(1)));
                    let below = PageLink {
                        hash: NodeHash::default(),
                        low,
                        level,
                    };
                    self.open_link(folder, &branch.link, below);
                }
            }
        }
    }

    fn page(
        &mut self,
        store: &mut PageStore,
        folder: &Arc<Folder>,
        link: &PageLink,
    ) -> Result<Step<()>, TreeError> {
        let page = ready!(store.open(folder, link));
        self.pages.push(link.hash);
        match &page.body {
            Body::Leaf(items) => items
                .iter()
                .for_each(|item| self.entry(folder.id, &item.entry)),
            Body::Inner(children) => {
                let links = children
                    .iter()
                    .map(|child| PageLink::below(page.level, child));
                self.tasks
                    .extend(links.map(|link| Task::Page(Arc::clone(folder), link)));
            }
        }
        Ok(Step::Ready(()))
    }

    fn entry(&mut self, parent: NodeId, entry: &Arc<Entry>) {
        self.entries.push((parent, Arc::clone(entry)));
        self.tasks.extend(entry.folder().map(Task::Folder));
    }

    /// Adds the pages that come next to the one that is missing now.
    fn look_ahead(&self, store: &PageStore, mut need: Vec<NodeHash>) -> Vec<NodeHash> {
        let coming = self.tasks.iter().rev().skip(1).map(|task| match task {
            Task::Folder(folder) => folder.hash,
            Task::Page(_, link) => link.hash,
        });
        let room = NEED_PAGES_MAX.saturating_sub(need.len());
        need.extend(coming.filter(|hash| !store.contains(hash)).take(room));
        need
    }
}
