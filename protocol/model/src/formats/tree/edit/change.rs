//! What an edit is asked to do, why it may refuse, and what it comes to.

use std::collections::BTreeMap;

use crate::formats::SealedPage;
use crate::formats::tree::entry::{FileVersion, Meta};
use crate::formats::tree::json::MalformedPage;
use crate::formats::tree::path::TreePath;
use crate::formats::tree::{ENTRY_BYTES_MAX, TreeError};
use crate::units::{BlobId, NodeHash};

/// One change to one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates a file, or replaces a file or symlink.
    PutFile {
        /// Where.
        path: TreePath,
        /// Its times, mode and attributes.
        meta: Meta,
        /// Its content.
        file: FileVersion,
    },
    /// Creates a symlink, or replaces a file or symlink.
    PutSymlink {
        /// Where.
        path: TreePath,
        /// Its times, mode and attributes.
        meta: Meta,
        /// What it points to.
        target: Vec<u8>,
    },
    /// Creates an empty folder where nothing is.
    MakeFolder {
        /// Where.
        path: TreePath,
        /// Its times, mode and attributes.
        meta: Meta,
    },
    /// Replaces times, mode and attributes of what is there.
    SetMeta {
        /// Where.
        path: TreePath,
        /// The new ones.
        meta: Meta,
    },
    /// Removes what is there and everything below it.
    Remove {
        /// Where.
        path: TreePath,
    },
    /// Moves or renames what is there; a file or symlink may replace another one.
    Move {
        /// From where.
        from: TreePath,
        /// To where: the new path itself, not the folder that takes it.
        to: TreePath,
    },
    /// Copies what is there and everything below it; a file or symlink may replace another one.
    Copy {
        /// From where.
        from: TreePath,
        /// To where: the new path itself, not the folder that takes it.
        to: TreePath,
    },
}

impl Change {
    /// The paths it names.
    pub fn paths(&self) -> impl Iterator<Item = &TreePath> {
        let (first, second) = match self {
            Self::PutFile { path, .. }
            | Self::PutSymlink { path, .. }
            | Self::MakeFolder { path, .. }
            | Self::SetMeta { path, .. }
            | Self::Remove { path } => (path, None),
            Self::Move { from, to } | Self::Copy { from, to } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }
}

/// A change that cannot be made. Nothing was changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is nothing.
    #[error("`{path}` does not exist")]
    NotFound {
        /// Where.
        path: TreePath,
    },
    /// The way leads through something that is no folder.
    #[error("`{path}` is not a folder")]
    NotAFolder {
        /// Where.
        path: TreePath,
    },
    /// A folder is there, which a file cannot replace; or anything, which a folder cannot.
    #[error("`{path}` exists")]
    Exists {
        /// Where.
        path: TreePath,
    },
    /// The top folder cannot be made, replaced, removed or moved.
    #[error("the top folder cannot be changed itself")]
    TopFolder,
    /// A folder cannot go below itself.
    #[error("`{path}` lies in the folder itself")]
    IntoItself {
        /// Where it should have gone.
        path: TreePath,
    },
    /// The entry would be too large.
    #[error("the entry of `{path}` would take {bytes} bytes, limit {ENTRY_BYTES_MAX}")]
    EntryTooLarge {
        /// Where.
        path: TreePath,
        /// Its encoded size.
        bytes: usize,
    },
    /// The entry has a field that no reader would accept: a mode with more than permission bits,
    /// a second's worth of nanoseconds, content out of bounds.
    #[error("the entry of `{path}` cannot be written")]
    Invalid {
        /// Where.
        path: TreePath,
        /// Why.
        #[source]
        source: MalformedPage,
    },
    /// The tree cannot be read.
    #[error("the tree cannot be read")]
    Tree(#[from] TreeError),
}

/// By how much a commit changes what is referenced of a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobChange {
    /// Entries more or fewer that use it.
    pub references: i64,
    /// Bytes of it more or fewer that entries use.
    pub live_bytes: i64,
}

/// What an edit comes to: everything a root commit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The new top page.
    pub top: NodeHash,
    /// Pages to store.
    pub added: Vec<SealedPage>,
    /// Pages that the new root no longer reaches.
    pub retired: Vec<NodeHash>,
    /// Changes per blob; blobs without one are left out.
    pub blobs: BTreeMap<BlobId, BlobChange>,
}
