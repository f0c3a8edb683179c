//! What each change does to the folders of an edit: first look and load, then change.
//!
//! Up to the first write a step may find that pages are missing, or refuse; nothing has changed
//! then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{EditError, Place, TreeEdit};
use crate::formats::Step;
use crate::formats::tree::ENTRY_BYTES_MAX;
use crate::formats::tree::entry::{Entry, Kind, Meta};
use crate::formats::tree::json::check_entry;
use crate::formats::tree::page::Item;
use crate::formats::tree::path::TreePath;
use crate::formats::tree::store::PageStore;

impl TreeEdit {
    pub(super) fn put(
        &mut self,
        store: &mut PageStore,
        path: &TreePath,
        meta: &Meta,
        kind: Kind,
    ) -> Result<Step<()>, EditError> {
        let place = ready!(self.place(store, path));
        let old = self.at(&place);
        if old
            .as_ref()
            .is_some_and(|old| matches!(old.kind, Kind::Folder(_)))
        {
            return Err(EditError::Exists { path: path.clone() });
        }
        let id = old.map_or_else(|| self.draw_id(), |old| old.id);
        let entry = Entry {
            id,
            name: place.name.clone(),
            meta: meta.clone(),
            epoch: self.epoch,
            kind,
        };
        self.write(&place, checked(path, entry)?);
        Ok(Step::Ready(()))
    }

    pub(super) fn make_folder(
        &mut self,
        store: &mut PageStore,
        path: &TreePath,
        meta: &Meta,
    ) -> Result<Step<()>, EditError> {
        let place = ready!(self.place(store, path));
        if self.at(&place).is_some() {
            return Err(EditError::Exists { path: path.clone() });
        }
        let entry = self.new_folder(place.name.clone(), meta.clone());
        let item = checked(path, entry)?;
        self.open_new(&item.entry, &place);
        self.write(&place, item);
        Ok(Step::Ready(()))
    }

    pub(super) fn set_meta(
        &mut self,
        store: &mut PageStore,
        path: &TreePath,
        meta: &Meta,
    ) -> Result<Step<()>, EditError> {
        let place = ready!(self.place(store, path));
        let old = self
            .at(&place)
            .ok_or_else(|| EditError::NotFound { path: path.clone() })?;
        let entry = Entry {
            meta: meta.clone(),
            ..Entry::clone(&old)
        };
        self.write(&place, checked(path, entry)?);
        Ok(Step::Ready(()))
    }

    pub(super) fn remove(
        &mut self,
        store: &mut PageStore,
        path: &TreePath,
    ) -> Result<Step<()>, EditError> {
        let place = ready!(self.place(store, path));
        let old = self
            .at(&place)
            .ok_or_else(|| EditError::NotFound { path: path.clone() })?;
        if let Some(folder) = old.folder() {
            let below = ready!(self.collect(store, folder));
            self.retired.extend(below.pages);
            for (_, entry) in below.entries {
                self.count(&entry, -1);
            }
            for id in below.open {
                self.folders.remove(&id);
            }
        }
        self.take(&place);
        self.count(&old, -1);
        Ok(Step::Ready(()))
    }

    pub(super) fn relocate(
        &mut self,
        store: &mut PageStore,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<Step<()>, EditError> {
        let (source, target, entry) = ready!(self.both_places(store, from, to));
        if from == to {
            return Ok(Step::Ready(()));
        }
        let moved = Entry {
            name: target.name.clone(),
            ..Entry::clone(&entry)
        };
        let item = checked(to, moved)?;
        self.take(&source);
        self.write(&target, item);
        // `write` counted a reference more; the one at the source is gone.
        self.count(&entry, -1);
        if let Some(folder) = self.folders.get_mut(&entry.id) {
            folder.place = Some((target.folder, target.name));
        }
        Ok(Step::Ready(()))
    }

    pub(super) fn copy(
        &mut self,
        store: &mut PageStore,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<Step<()>, EditError> {
        let (_, target, entry) = ready!(self.both_places(store, from, to));
        if from == to {
            return Err(EditError::Exists { path: to.clone() });
        }
        let below = match entry.folder() {
            Some(folder) => ready!(self.collect(store, folder)).entries,
            None => Vec::new(),
        };
        let replaced = self.at(&target).map(|old| old.id);
        let mut top = self.copied(&entry, target.name.clone());
        top.id = replaced.unwrap_or(top.id);
        let item = checked(to, top)?;
        let mut copies = BTreeMap::from([(entry.id, item.entry.id)]);
        self.write_copy(&target, item);
        for (parent, entry) in below {
            let Some(&folder) = copies.get(&parent) else {
                continue;
            };
            let copy = Item::new(Arc::new(self.copied(&entry, entry.name.clone())));
            copies.insert(entry.id, copy.entry.id);
            self.write_copy(
                &Place {
                    folder,
                    name: entry.name.clone(),
                },
                copy,
            );
        }
        Ok(Step::Ready(()))
    }

    /// The places of a move or copy and the entry at the first, where the second may take it.
    fn both_places(
        &mut self,
        store: &mut PageStore,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<Step<(Place, Place, Arc<Entry>)>, EditError> {
        let source = ready!(self.place(store, from));
        let entry = self
            .at(&source)
            .ok_or_else(|| EditError::NotFound { path: from.clone() })?;
        let is_folder = matches!(entry.kind, Kind::Folder(_));
        if is_folder && from != to && to.starts_with(from) {
            return Err(EditError::IntoItself { path: to.clone() });
        }
        let target = ready!(self.place(store, to));
        if let Some(old) = self.at(&target)
            && from != to
            && (is_folder || matches!(old.kind, Kind::Folder(_)))
        {
            return Err(EditError::Exists { path: to.clone() });
        }
        Ok(Step::Ready((source, target, entry)))
    }
}

fn checked(path: &TreePath, entry: Entry) -> Result<Item, EditError> {
    let invalid = |source| EditError::Invalid {
        path: path.clone(),
        source,
    };
    check_entry(&entry).map_err(invalid)?;
    let item = Item::new(Arc::new(entry));
    let bytes = item.bytes - 1;
    if bytes > ENTRY_BYTES_MAX {
        return Err(EditError::EntryTooLarge {
            path: path.clone(),
            bytes,
        });
    }
    Ok(item)
}
