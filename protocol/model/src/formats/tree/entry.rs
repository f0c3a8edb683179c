//! The entries of a folder.

use std::collections::BTreeMap;

use super::path::Name;
use crate::crypto::Secret;
use crate::units::{BlobId, NodeHash, NodeId};

/// A file, folder or symlink, as its folder records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stays the same when the entry is renamed, moved or its content replaced.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Times, mode and attributes.
    pub meta: Meta,
    /// The epoch of the volume key when it was written.
    pub epoch: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a file system records beside the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// When the content last changed.
    pub mtime: Mtime,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// A point in time with nanoseconds, as file systems keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Seconds since 1970-01-01 00:00 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 10^9.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder(FolderLink),
    /// A file.
    File(FileVersion),
    /// A symbolic link: the bytes it points to.
    Symlink(Vec<u8>),
}

/// The way into a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderLink {
    /// Opens its pages.
    pub key: Secret,
    /// Its top page.
    pub hash: NodeHash,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// SHA-256 of the content, where the writer computed it.
    pub sha256: Option<[u8; 32]>,
    /// Where the content is.
    pub content: Content,
}

/// Where a file's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Here, at most [`crate::units::INLINE_BYTES_MAX`] bytes.
    Inline(Vec<u8>),
    /// In a blob.
    Blob(BlobSlice),
}

/// A run of ciphertext in a blob, and the keys to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSlice {
    /// The blob.
    pub blob: BlobId,
    /// Where the run starts in the blob, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; also the file's size.
    pub length: u64,
    /// The key of this file version.
    pub file_secret: Secret,
    /// The key of the blob's manifest.
    pub blob_secret: Secret,
    /// The top page of the blob's manifest.
    pub manifest: NodeHash,
}

impl Entry {
    /// The folder behind it, where it is one.
    #[must_use]
    pub fn folder(&self) -> Option<super::Folder> {
        match &self.kind {
            Kind::Folder(link) => Some(super::Folder {
                id: self.id,
                key: link.key.clone(),
                hash: link.hash,
            }),
            Kind::File(_) | Kind::Symlink(_) => None,
        }
    }

    /// The blob behind it, where it has one.
    #[must_use]
    pub const fn blob(&self) -> Option<&BlobSlice> {
        match &self.kind {
            Kind::File(FileVersion {
                content: Content::Blob(slice),
                ..
            }) => Some(slice),
            Kind::File(_) | Kind::Folder(_) | Kind::Symlink(_) => None,
        }
    }
}

impl FileVersion {
    /// The file's size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match &self.content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Blob(slice) => slice.length,
        }
    }
}
