//! Some files, ready to be stored and committed together.

use std::os::unix::ffi::OsStrExt as _;

use model::crypto::{Secret, VolumeKey};
use model::formats::journal::{JournalBlob, JournalPart, SourceIdentity};
use model::formats::tree::{BlobSlice, Change, Content, FileVersion, Meta, TreePath};
use model::units::BlobId;

use super::content::{Outcome, Part, Parts};
use super::walk::{Found, Stamp};
use crate::drive::commit::Intent;
use crate::transfer::Environment;
use crate::upload::{BlobSource, StoredBlob};

/// Files that share a plan and a commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What is wanted of paths whose content, if any, is in the intent.
    pub(super) intents: Vec<Intent>,
    /// Files and symlinks among them.
    pub(super) files: u64,
    /// Bytes of files among them.
    pub(super) bytes_inline: u64,
    /// What is to be stored.
    pub(super) blobs: Vec<BatchBlob>,
    /// Files in the blobs.
    pub(super) slices: Vec<Slice>,
    /// Files of it may be tried again.
    pub(super) first_try: bool,
    /// Bytes of all files in it.
    pub(super) bytes: u64,
}

/// A blob of a batch: files, one after the other.
#[derive(Debug)]
pub(super) struct BatchBlob {
    pub(super) blob: BlobId,
    pub(super) secret: Secret,
    pub(super) parts: Vec<Part>,
    /// Bytes of them.
    pub(super) bytes: u64,
}

/// A file in a blob of the batch.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) path: TreePath,
    pub(super) found: Found,
    pub(super) meta: Meta,
    /// Which blob, and which part of it.
    pub(super) at: (usize, usize),
}

impl Batch {
    /// Bytes of its blobs.
    pub(super) fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.bytes).sum()
    }

    /// What is to be stored, to be read from its beginning.
    pub(super) fn sources(&self, key: &VolumeKey) -> Vec<BlobSource> {
        let source = |blob: &BatchBlob| BlobSource {
            blob: blob.blob,
            length: blob.bytes,
            owner_tag: key.owner_tag(&blob.blob),
            secret: blob.secret.clone(),
            content: Box::new(Parts::new(blob.parts.clone())),
        };
        self.blobs.iter().map(source).collect()
    }

    /// Draws every id and secret anew: what was encrypted under the ones before is not gone on
    /// with.
    pub(super) fn redraw(&mut self, environment: &dyn Environment) {
        for blob in &mut self.blobs {
            let parts = std::mem::take(&mut blob.parts);
            *blob = BatchBlob::new(environment);
            for part in parts {
                blob.push(Part {
                    secret: environment.fresh_secret(),
                    outcome: Outcome::default(),
                    ..part
                });
            }
        }
    }

    /// The blobs as a journal names them; `None` where a path has no absolute form.
    pub(super) fn journal_blobs(&self) -> Option<Vec<JournalBlob>> {
        let blob = |blob: &BatchBlob| {
            let parts = blob.parts.iter().map(journal_part);
            Some(JournalBlob {
                blob: blob.blob,
                secret: blob.secret.clone(),
                parts: parts.collect::<Option<_>>()?,
            })
        };
        self.blobs.iter().map(blob).collect()
    }

    /// Takes ids and secrets over from a journal of the same files.
    pub(super) fn adopt(&mut self, journal: &[JournalBlob]) {
        for (blob, known) in self.blobs.iter_mut().zip(journal) {
            (blob.blob, blob.secret) = (known.blob, known.secret.clone());
            for (part, known) in blob.parts.iter_mut().zip(&known.parts) {
                part.secret = known.secret.clone();
            }
        }
    }

    /// The part that a file of it is.
    pub(super) fn part(&self, slice: &Slice) -> Option<&Part> {
        let (blob, part) = slice.at;
        self.blobs.get(blob)?.parts.get(part)
    }

    /// What is wanted of a file's path, now that its blob is stored.
    pub(super) fn intent(&self, slice: &Slice, stored: &[StoredBlob]) -> Option<Intent> {
        let (blob, part) = (self.blobs.get(slice.at.0)?, self.part(slice)?);
        let stored = stored.iter().find(|stored| stored.blob == blob.blob)?;
        let content = Content::Blob(BlobSlice {
            blob: blob.blob,
            offset: part.offset,
            length: part.stamp.size,
            file_secret: part.secret.clone(),
            blob_secret: blob.secret.clone(),
            manifest: stored.manifest,
        });
        let file = FileVersion {
            sha256: None,
            content,
        };
        Some(Intent::Put(Change::PutFile {
            path: slice.path.clone(),
            meta: slice.meta.clone(),
            file,
        }))
    }
}

impl BatchBlob {
    /// An empty blob under a fresh id and secret.
    pub(super) fn new(environment: &dyn Environment) -> Self {
        let mut blob = [0; 16];
        environment.random(&mut blob);
        Self {
            blob: BlobId(blob),
            secret: environment.fresh_secret(),
            parts: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds `part` behind those that are there; returns its place.
    pub(super) fn push(&mut self, part: Part) -> usize {
        let offset = self.bytes;
        self.bytes += part.stamp.size;
        self.parts.push(Part { offset, ..part });
        self.parts.len() - 1
    }
}

fn journal_part(part: &Part) -> Option<JournalPart> {
    let path = std::path::absolute(&part.path).ok()?;
    Some(JournalPart {
        path: path.as_os_str().as_bytes().to_vec(),
        source: part.stamp.identity(),
        secret: part.secret.clone(),
    })
}

impl Stamp {
    /// As a journal remembers it.
    pub(super) const fn identity(&self) -> SourceIdentity {
        SourceIdentity {
            size: self.size,
            modified: (self.mtime_s, self.mtime_ns),
            changed: self.changed,
            mode: self.mode,
            inode: self.inode,
        }
    }
}
