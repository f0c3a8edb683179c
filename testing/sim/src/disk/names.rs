//! The names on a disk: what they are now, and what is left of them without power.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use planet::Dice;

/// The number of a file, whatever its names are.
pub(super) type Number = u64;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(Number),
}

/// All names of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Names whose folder was not synced since they changed.
    undecided: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> io::Result<Node> {
        let node = self.now.get(path).copied();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Number> {
        match self.get(path)? {
            Node::File(number) => Ok(number),
            Node::Folder => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Has `path` stand for `node`, or for nothing.
    pub(super) fn set(&mut self, path: &Path, node: Option<Node>) -> io::Result<()> {
        match path.parent().map(|folder| self.get(folder)) {
            Some(Ok(Node::Folder)) => {}
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        self.put(path, node);
        Ok(())
    }

    pub(super) fn create_folders(&mut self, folder: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        for above in folder.ancestors() {
            match self.now.get(above) {
                Some(Node::Folder) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(above),
            }
        }
        for folder in missing.into_iter().rev() {
            self.put(folder, Some(Node::Folder));
        }
        Ok(())
    }

    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if self.get(folder)? != Node::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = self.now.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|path| path.file_name().map(OsString::from))
            .collect())
    }

    /// Everything below `top` has been there from the start.
    pub(super) fn found(&mut self, top: &Path) {
        self.durable.insert(top.to_owned(), Node::Folder);
        self.now.insert(top.to_owned(), Node::Folder);
    }

    pub(super) fn sync(&mut self, folder: &Path) -> io::Result<()> {
        if self.get(folder)? != Node::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let (synced, undecided) = std::mem::take(&mut self.undecided)
            .into_iter()
            .partition(|path| path.parent() == Some(folder));
        self.undecided = undecided;
        let synced: BTreeSet<PathBuf> = synced;
        for path in synced {
            self.settle(&path);
        }
        Ok(())
    }

    /// Each undecided name is what it was or what it became; below folders that are not there
    /// nothing is.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        for path in std::mem::take(&mut self.undecided) {
            if dice.below(2) == 0 {
                self.settle(&path);
            }
        }
        let durable = std::mem::take(&mut self.durable);
        // Folders come before what is in them.
        for (path, node) in durable {
            let folder = path.parent().and_then(|folder| self.durable.get(folder));
            let is_top = path.components().count() == 2;
            if is_top || folder == Some(&Node::Folder) {
                self.durable.insert(path, node);
            }
        }
        self.now = self.durable.clone();
    }

    /// Numbers of all files that have a name, or may have one after the power goes.
    pub(super) fn numbers(&self) -> BTreeSet<Number> {
        let nodes = self.now.values().chain(self.durable.values());
        nodes.filter_map(number_of).collect()
    }

    /// The files by their names.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Number)> {
        let files = self.now.iter();
        files.filter_map(|(path, node)| Some((path.as_path(), number_of(node)?)))
    }

    fn put(&mut self, path: &Path, node: Option<Node>) {
        match node {
            Some(node) => self.now.insert(path.to_owned(), node),
            None => self.now.remove(path),
        };
        self.undecided.insert(path.to_owned());
    }

    fn settle(&mut self, path: &Path) {
        match self.now.get(path) {
            Some(node) => self.durable.insert(path.to_owned(), *node),
            None => self.durable.remove(path),
        };
    }
}

const fn number_of(node: &Node) -> Option<Number> {
    match node {
        Node::File(number) => Some(*number),
        Node::Folder => None,
    }
}
