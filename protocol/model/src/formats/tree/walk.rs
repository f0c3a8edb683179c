//! Every entry below a folder, for `du`, `ls -R` and `get`.

use std::sync::Arc;
use std::vec;

use super::entry::{Entry, Kind};
use super::path::TreePath;
use super::store::PageStore;
use super::{Folder, TreeError, leaf_at};
use crate::formats::{NEED_PAGES_MAX, Step};
use crate::units::NodeHash;

/// Leaves asked for ahead of the walk.
const AHEAD: usize = NEED_PAGES_MAX / 2;

/// A walk through a subtree, in the order of names, each entry before what it holds.
///
/// Its paths may be deeper than [`super::PATH_DEPTH_MAX`] where a deep folder was moved down.
/// It holds one leaf per level of folders, and goes on where it stood after [`Step::Need`].
#[derive(Debug)]
pub struct Walk {
    frames: Vec<Frame>,
}

/// An entry that a [`Walk`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Its path, from the one that the walk was started with.
    pub path: TreePath,
    /// The entry.
    pub entry: Arc<Entry>,
}

#[derive(Debug)]
struct Frame {
    folder: Folder,
    path: TreePath,
    entries: vec::IntoIter<Arc<Entry>>,
    /// Where the next leaf begins; `None` behind the last.
    next: Option<Arc<[u8]>>,
}

impl Walk {
    pub(super) fn new(folder: Folder, path: TreePath) -> Self {
        Self {
            frames: vec![Frame::new(folder, path)],
        }
    }

    /// The next entry with its path, or `None` at the end.
    ///
    /// # Errors
    /// [`TreeError::Page`] for a page that is refused; the walk cannot go on then.
    pub fn next(&mut self, store: &mut PageStore) -> Result<Step<Option<Walked>>, TreeError> {
        while let Some(frame) = self.frames.last_mut() {
            if let Some(entry) = frame.entries.next() {
                let path = frame.path.below(entry.name.clone());
                if let Some(folder) = entry.folder() {
                    self.frames.push(Frame::new(folder, path.clone()));
                }
                return Ok(Step::Ready(Some(Walked { path, entry })));
            }
            let Some(low) = &frame.next else {
                self.frames.pop();
                continue;
            };
            match leaf_at(store, &frame.folder, low, AHEAD)? {
                Step::Need(mut pages) => {
                    self.look_ahead(store, &mut pages);
                    return Ok(Step::Need(pages));
                }
                Step::Ready(leaf) => {
                    frame.entries = leaf.entries.into_iter();
                    frame.next = leaf.next;
                }
            }
        }
        Ok(Step::Ready(None))
    }

    /// Adds the top pages of the folders that come next, so that many small folders do not cost a
    /// round trip each.
    fn look_ahead(&self, store: &PageStore, pages: &mut Vec<NodeHash>) {
        let coming = self
            .frames
            .iter()
            .rev()
            .flat_map(|frame| frame.entries.as_slice());
        let tops = coming.filter_map(|entry| match &entry.kind {
            Kind::Folder(link) => Some(link.hash),
            Kind::File(_) | Kind::Symlink(_) => None,
        });
        let room = NEED_PAGES_MAX.saturating_sub(pages.len());
        pages.extend(tops.filter(|hash| !store.contains(hash)).take(room));
    }
}

impl Frame {
    fn new(folder: Folder, path: TreePath) -> Self {
        Self {
            folder,
            path,
            entries: Vec::new().into_iter(),
            next: Some(Arc::from([])),
        }
    }
}
