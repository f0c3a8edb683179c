//! A batch of changes to a tree: applied in memory, sealed once.
//!
//! Changes are entry-level and kept by the caller: where another writer was faster, the same list
//! is applied to the newer root. Every touched page is written once per batch.

mod apply;
mod change;
mod folder;
mod settle;
mod subtree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use change::{BlobChange, Change, Commit, EditError};

use super::entry::{Entry, FolderLink, Kind, Meta};
use super::page::Item;
use super::path::{Name, TreePath};
use super::store::PageStore;
use super::{Tree, TreeError, prefix};
use crate::crypto::Secret;
use crate::formats::{NEED_PAGES_MAX, SealedPage, Step};
use crate::units::{BlobId, NodeHash, NodeId, VolumeId};
use folder::OpenFolder;
use subtree::Subtree;

/// Changes that are looked at ahead of one that lacks pages.
const CHANGES_AHEAD: usize = 4_096;

/// A batch of changes to a tree.
#[derive(Debug)]
pub struct TreeEdit {
    epoch: u32,
    /// New node ids and folder keys are derived from it.
    seed: Secret,
    drawn: u64,
    top: NodeId,
    folders: BTreeMap<NodeId, OpenFolder>,
    /// A folder that the change at hand removes or copies, as far as it is collected.
    subtree: Option<Subtree>,
    added: Vec<SealedPage>,
    retired: BTreeSet<NodeHash>,
    blobs: BTreeMap<BlobId, BlobChange>,
}

/// An entry's place: its folder, opened in the edit, and its name.
struct Place {
    folder: NodeId,
    name: Name,
}

impl TreeEdit {
    /// Starts to edit `tree`. Entries record `epoch`. `seed` must be fresh and random: new node
    /// ids and folder keys follow from it.
    #[must_use]
    pub fn new(tree: &Tree, epoch: u32, seed: Secret) -> Self {
        Self::of(OpenFolder::stored(tree.top().clone(), None), epoch, seed)
    }

    /// Starts a volume: an empty top folder with the key `key`. [`Self::finish`] makes its page.
    #[must_use]
    pub fn create(volume: VolumeId, key: Secret, epoch: u32, seed: Secret) -> Self {
        Self::of(OpenFolder::empty(NodeId(volume.0), key, None), epoch, seed)
    }

    fn of(top: OpenFolder, epoch: u32, seed: Secret) -> Self {
        Self {
            epoch,
            seed,
            drawn: 0,
            top: top.id,
            folders: BTreeMap::from([(top.id, top)]),
            subtree: None,
            added: Vec::new(),
            retired: BTreeSet::new(),
            blobs: BTreeMap::new(),
        }
    }

    /// Applies `changes` in order, from number `done` on, which counts along. After
    /// [`Step::Need`], which asks for what many of the changes lack at once, call again with the
    /// same arguments.
    ///
    /// # Errors
    /// [`EditError`] of change number `done`; those before it are applied.
    pub fn apply_all(
        &mut self,
        store: &mut PageStore,
        changes: &[Change],
        done: &mut usize,
    ) -> Result<Step<()>, EditError> {
        while let Some(change) = changes.get(*done) {
            match self.apply(store, change)? {
                Step::Ready(()) => *done += 1,
                Step::Need(need) => {
                    let coming = changes.iter().skip(*done + 1).take(CHANGES_AHEAD);
                    return Ok(Step::Need(self.look_ahead(store, coming, need)));
                }
            }
        }
        Ok(Step::Ready(()))
    }

    /// Applies one change; after [`Step::Need`] nothing has changed, call again.
    ///
    /// # Errors
    /// [`EditError`]; nothing has changed then.
    pub fn apply(&mut self, store: &mut PageStore, change: &Change) -> Result<Step<()>, EditError> {
        match change {
            Change::PutFile { path, meta, file } => {
                self.put(store, path, meta, Kind::File(file.clone()))
            }
            Change::PutSymlink { path, meta, target } => {
                self.put(store, path, meta, Kind::Symlink(target.clone()))
            }
            Change::MakeFolder { path, meta } => self.make_folder(store, path, meta),
            Change::SetMeta { path, meta } => self.set_meta(store, path, meta),
            Change::Remove { path } => self.remove(store, path),
            Change::Move { from, to } => self.relocate(store, from, to),
            Change::Copy { from, to } => self.copy(store, from, to),
        }
    }

    /// The entry at `path` as the edit has it; `None` also where no folder stands above it. A
    /// folder's hash in it is the one before the edit.
    ///
    /// # Errors
    /// [`TreeError::Page`].
    pub fn find(
        &mut self,
        store: &mut PageStore,
        path: &TreePath,
    ) -> Result<Step<Option<Arc<Entry>>>, TreeError> {
        match self.place(store, path) {
            Ok(Step::Ready(place)) => Ok(Step::Ready(self.at(&place))),
            Ok(Step::Need(need)) => Ok(Step::Need(need)),
            Err(EditError::Tree(error)) => Err(error),
            Err(_) => Ok(Step::Ready(None)),
        }
    }

    /// Loads the pages on the way to `paths`, so that what follows finds them; asks for what many
    /// of them lack at once. What is wrong with a path shows when it is used.
    pub fn load_ahead<'a>(
        &mut self,
        store: &mut PageStore,
        paths: impl Iterator<Item = &'a TreePath>,
    ) -> Step<()> {
        let need = self.missing(store, paths, BTreeSet::new());
        if need.is_empty() {
            Step::Ready(())
        } else {
            Step::Need(need)
        }
    }

    /// Ends the edit: seals every changed page. After [`Step::Need`] call again.
    ///
    /// # Errors
    /// [`TreeError::Page`].
    pub fn finish(&mut self, store: &mut PageStore) -> Result<Step<Commit>, TreeError> {
        ready!(self.settle(store));
        let mut folders: Vec<_> = self
            .folders
            .keys()
            .map(|id| (self.depth(id), *id))
            .collect();
        folders.sort_unstable();
        let scope = (store.account(), store.volume());
        let mut top = None;
        for (_, id) in folders.into_iter().rev() {
            let Some(folder) = self.folders.get_mut(&id) else {
                continue;
            };
            if folder.is_dirty() {
                ready!(folder.settle(store, &mut self.retired));
            }
            let hash = folder.seal(scope, &mut self.added, &mut self.retired);
            let changed = folder.linked.replace(hash) != Some(hash);
            match folder.place.clone() {
                Some(place) if changed => self.relink(&place, hash),
                Some(_) => {}
                None => top = Some(hash),
            }
        }
        Ok(Step::Ready(self.commit(top.unwrap_or_default())))
    }

    fn commit(&mut self, top: NodeHash) -> Commit {
        let added: BTreeSet<_> = self.added.iter().map(SealedPage::hash).collect();
        let mut blobs = std::mem::take(&mut self.blobs);
        blobs.retain(|_, change| *change != BlobChange::default());
        Commit {
            top,
            retired: std::mem::take(&mut self.retired)
                .difference(&added)
                .copied()
                .collect(),
            added: std::mem::take(&mut self.added),
            blobs,
        }
    }

    /// Settles all changed folders, asking for everything they lack at once.
    fn settle(&mut self, store: &mut PageStore) -> Result<Step<()>, TreeError> {
        let mut missing = Vec::new();
        for folder in self.folders.values_mut().filter(|folder| folder.is_dirty()) {
            if let Step::Need(need) = folder.settle(store, &mut self.retired)? {
                missing.extend(need);
            }
            if missing.len() >= NEED_PAGES_MAX {
                break;
            }
        }
        missing.truncate(NEED_PAGES_MAX);
        Ok(if missing.is_empty() {
            Step::Ready(())
        } else {
            Step::Need(missing)
        })
    }

    /// Writes a folder's new hash into its entry.
    fn relink(&mut self, (parent, name): &(NodeId, Name), hash: NodeHash) {
        let Some(parent) = self.folders.get_mut(parent) else {
            return;
        };
        let Some(entry) = parent.get(name) else {
            return;
        };
        let mut entry = Entry::clone(entry);
        if let Kind::Folder(link) = &mut entry.kind {
            link.hash = hash;
        }
        parent.put(Item::new(Arc::new(entry)));
    }

    fn depth(&self, id: &NodeId) -> usize {
        let above = |id: &NodeId| Some(self.folders.get(id)?.place.as_ref()?.0);
        std::iter::successors(Some(*id), above).count()
    }

    /// Opens the folders on the way to `path` and loads the page where its last name stands.
    fn place(&mut self, store: &mut PageStore, path: &TreePath) -> Result<Step<Place>, EditError> {
        let Some((name, above)) = path.names().split_last() else {
            return Err(EditError::TopFolder);
        };
        let mut folder = self.top;
        for (depth, step) in above.iter().enumerate() {
            let place = Place {
                folder,
                name: step.clone(),
            };
            ready!(self.load(store, &place));
            let entry = self.at(&place);
            let entry = entry.ok_or_else(|| EditError::NotFound {
                path: prefix(path, depth + 1),
            })?;
            let Some(below) = entry.folder() else {
                return Err(EditError::NotAFolder {
                    path: prefix(path, depth + 1),
                });
            };
            folder = below.id;
            let open = || OpenFolder::stored(below, Some((place.folder, place.name)));
            self.folders.entry(folder).or_insert_with(open);
        }
        let place = Place {
            folder,
            name: name.clone(),
        };
        ready!(self.load(store, &place));
        Ok(Step::Ready(place))
    }

    fn load(&mut self, store: &mut PageStore, place: &Place) -> Result<Step<()>, TreeError> {
        match self.folders.get_mut(&place.folder) {
            Some(folder) => folder.load(store, place.name.as_bytes()),
            None => Ok(Step::Ready(())),
        }
    }

    /// Collects everything below `folder`, over as many calls as it takes.
    fn collect(
        &mut self,
        store: &mut PageStore,
        folder: super::Folder,
    ) -> Result<Step<Subtree>, TreeError> {
        let begun = self.subtree.take().filter(|begun| begun.id == folder.id);
        let mut subtree = begun.unwrap_or_else(|| Subtree::new(folder));
        match subtree.collect(&self.folders, store)? {
            Step::Ready(()) => Ok(Step::Ready(subtree)),
            Step::Need(need) => {
                self.subtree = Some(subtree);
                Ok(Step::Need(need))
            }
        }
    }

    /// What the changes to come lack, as far as it can be seen now.
    fn look_ahead<'a>(
        &mut self,
        store: &mut PageStore,
        coming: impl Iterator<Item = &'a Change>,
        need: Vec<NodeHash>,
    ) -> Vec<NodeHash> {
        self.missing(
            store,
            coming.flat_map(Change::paths),
            need.into_iter().collect(),
        )
    }

    /// Adds to `need` the pages that are missing on the way to `paths`, up to the most at once.
    fn missing<'a>(
        &mut self,
        store: &mut PageStore,
        paths: impl Iterator<Item = &'a TreePath>,
        mut need: BTreeSet<NodeHash>,
    ) -> Vec<NodeHash> {
        for path in paths {
            if need.len() >= NEED_PAGES_MAX {
                break;
            }
            // What is wrong with a change shows when its turn comes.
            if let Ok(Step::Need(more)) = self.place(store, path) {
                need.extend(more);
            }
        }
        need.into_iter().take(NEED_PAGES_MAX).collect()
    }

    fn at(&self, place: &Place) -> Option<Arc<Entry>> {
        self.folders.get(&place.folder)?.get(&place.name).cloned()
    }

    /// Writes an entry and counts its blob and the one it replaces.
    fn write(&mut self, place: &Place, item: Item) {
        self.subtree = None;
        let entry = Arc::clone(&item.entry);
        let old = self
            .folders
            .get_mut(&place.folder)
            .and_then(|folder| folder.put(item));
        self.count(&entry, 1);
        if let Some(old) = old {
            self.count(&old, -1);
        }
    }

    fn write_copy(&mut self, place: &Place, item: Item) {
        if matches!(item.entry.kind, Kind::Folder(_)) {
            self.open_new(&item.entry, place);
        }
        self.write(place, item);
    }

    fn take(&mut self, place: &Place) {
        self.subtree = None;
        if let Some(folder) = self.folders.get_mut(&place.folder) {
            folder.remove(&place.name);
        }
    }

    fn count(&mut self, entry: &Entry, sign: i64) {
        if let Some(slice) = entry.blob() {
            let change = self.blobs.entry(slice.blob).or_default();
            let bytes = i64::try_from(slice.length).unwrap_or(i64::MAX);
            change.references = change.references.saturating_add(sign);
            change.live_bytes = change.live_bytes.saturating_add(bytes.saturating_mul(sign));
        }
    }

    /// A copy of an entry without what it holds.
    fn copied(&mut self, entry: &Entry, name: Name) -> Entry {
        match &entry.kind {
            Kind::Folder(_) => self.new_folder(name, entry.meta.clone()),
            Kind::File(_) | Kind::Symlink(_) => Entry {
                id: self.draw_id(),
                name,
                epoch: self.epoch,
                ..entry.clone()
            },
        }
    }

    /// The entry of a new folder; its hash is known when the edit ends.
    fn new_folder(&mut self, name: Name, meta: Meta) -> Entry {
        let link = FolderLink {
            key: self.draw(),
            hash: NodeHash::default(),
        };
        Entry {
            id: self.draw_id(),
            name,
            meta,
            epoch: self.epoch,
            kind: Kind::Folder(link),
        }
    }

    fn open_new(&mut self, entry: &Entry, place: &Place) {
        if let Some(folder) = entry.folder() {
            let at = Some((place.folder, place.name.clone()));
            self.folders
                .insert(folder.id, OpenFolder::empty(folder.id, folder.key, at));
        }
    }

    fn draw(&mut self) -> Secret {
        self.drawn += 1;
        self.seed.expand("edit", &self.drawn.to_le_bytes())
    }

    fn draw_id(&mut self) -> NodeId {
        let drawn = self.draw();
        let (id, _) = drawn.expose().split_at(16);
        NodeId(id.try_into().unwrap_or_default())
    }
}

/// Reads all pages below `folder`, for tests that compare them with the ones that are kept.
#[cfg(test)]
pub(super) fn reachable_pages(
    folder: super::Folder,
) -> impl FnMut(&mut PageStore) -> Result<Step<Vec<NodeHash>>, TreeError> {
    let mut subtree = Subtree::new(folder);
    move |store| {
        ready!(subtree.collect(&BTreeMap::new(), store));
        Ok(Step::Ready(subtree.pages.clone()))
    }
}
