//! From what a walk finds to batches: what is unchanged is left out, tiny files go into the tree
//! itself, small ones into packs, large ones into blobs of their own.
//!
//! Runs on a thread of its own, as it reads local files. It never holds more than one batch, and
//! of a batch no content but that of tiny files: everything else is read when it is sent.

use std::io::{self, Read as _};
use std::sync::Arc;

use model::formats::shape::Class;
use model::formats::tree::{Change, Content, Entry, FileVersion, Kind, Meta, Mtime, TreePath};
use model::units::{INLINE_BYTES_MAX, PACK_FILE_BYTES_MAX, SHARD_BYTES_MAX};
use model::wire::limits::BLOBS_PER_UPLOAD_MAX;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::batch::{Batch, BatchBlob, Slice};
use super::content::{Outcome, Part, PartError};
use super::walk::{Found, FoundKind, Stamp, Walk, WalkError, open_regular};
use super::{Put, PutError, RETRIED_MAX};
use crate::bridge_api::BridgeApi;
use crate::drive::commit::Intent;
use crate::drive::open::Drive;
use crate::drive::path::extend;
use crate::drive::read::Snapshot;
use crate::transfer::Environment;

/// A batch ends at these many bytes of files, or entries.
const BATCH_BYTES: u64 = 256_000_000;
const BATCH_ENTRIES: usize = 2_000;
/// Extended attributes of a file that are kept, names and values together.
const XATTR_BYTES_MAX: usize = 1_024;

/// Where files come from.
pub(super) enum Origin {
    /// A walk whose start goes to `base`.
    Walk { walk: Walk, base: TreePath },
    /// Files that changed while they were read the first time.
    Again(Vec<(TreePath, Found)>),
}

/// What the walk came to, beside its batches.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub(super) unchanged: u64,
    pub(super) failed: u64,
    /// Tiny files that changed while they were read.
    pub(super) changed: Vec<(TreePath, Found)>,
}

/// Makes batches.
pub(super) struct Composer {
    put: Put,
    snapshot: Snapshot,
    out: mpsc::Sender<Batch>,
    api: BridgeApi,
    environment: Arc<dyn Environment>,
    runtime: Handle,
    batch: Batch,
    /// Which blob of the batch is a pack that is being filled.
    pack: Option<usize>,
    /// Bytes that a pack may have; asked for when the first one gets large.
    pack_bytes_max: Option<u64>,
    /// Nothing below this path can be put: something else than a folder is there.
    blocked: Option<TreePath>,
    first_try: bool,
    composed: Composed,
}

impl Composer {
    pub(super) fn new(
        drive: &Drive,
        put: Put,
        snapshot: Snapshot,
        out: mpsc::Sender<Batch>,
    ) -> Self {
        let pack_bytes_max = put.class.map(|class| class.segment_bytes().into());
        Self {
            put,
            snapshot,
            out,
            api: drive.transfer.api().clone(),
            environment: Arc::clone(&drive.environment),
            runtime: Handle::current(),
            batch: Batch::default(),
            pack: None,
            pack_bytes_max,
            blocked: None,
            first_try: true,
            composed: Composed::default(),
        }
    }

    /// Works through `origins`. Blocking.
    pub(super) fn run(mut self, origins: Vec<Origin>) -> Result<Composed, PutError> {
        for origin in origins {
            match origin {
                Origin::Walk { walk, base } => self.take_walk(walk, &base)?,
                Origin::Again(files) => {
                    self.first_try = false;
                    for (path, found) in files {
                        self.take_again(path, found)?;
                    }
                }
            }
        }
        self.put.tally.all_found.add(1);
        self.send()?;
        Ok(self.composed)
    }

    fn take_walk(&mut self, walk: Walk, base: &TreePath) -> Result<(), PutError> {
        for found in walk {
            match found {
                Ok(found) => self.take(found, base)?,
                Err(error) => self.fail_local(&error),
            }
        }
        Ok(())
    }

    fn take(&mut self, found: Found, base: &TreePath) -> Result<(), PutError> {
        let path = match extend(base, &found.below) {
            Ok(path) => path,
            Err(error) => {
                self.fail(found.path.as_os_str().as_encoded_bytes(), &error);
                return Ok(());
            }
        };
        if self
            .blocked
            .as_ref()
            .is_some_and(|blocked| path.starts_with(blocked))
        {
            return Ok(());
        }
        self.blocked = None;
        let there = self.runtime.block_on(self.snapshot.find(&path))?;
        let meta = self.meta(&found);
        match &found.kind {
            FoundKind::Folder => self.take_folder(path, meta, there.as_deref()),
            FoundKind::Symlink(target) => {
                self.put.tally.files_found.add(1);
                if is_unchanged_symlink(there.as_deref(), target, &meta) {
                    self.leave(0);
                    return Ok(());
                }
                let target = target.clone();
                self.add(Intent::Put(Change::PutSymlink { path, meta, target }), 0)
            }
            FoundKind::File => {
                let size = found.stamp.size;
                self.put.tally.files_found.add(1);
                self.put.tally.bytes_found.add(size);
                if is_unchanged_file(there.as_deref(), size, &meta) {
                    self.leave(size);
                    return Ok(());
                }
                self.take_file(path, found, meta)
            }
        }
    }

    fn take_folder(
        &mut self,
        path: TreePath,
        meta: Meta,
        there: Option<&Entry>,
    ) -> Result<(), PutError> {
        if path.name().is_none() {
            return Ok(());
        }
        match there {
            Some(entry) if !matches!(entry.kind, Kind::Folder(_)) => {
                let error = model::formats::tree::EditError::NotAFolder { path: path.clone() };
                self.fail(&path.to_bytes(), &error);
                self.blocked = Some(path);
                Ok(())
            }
            Some(entry) if entry.meta == meta => Ok(()),
            _ => {
                self.batch.intents.push(Intent::Folder {
                    path,
                    meta: Some(meta),
                });
                self.send_if_full()
            }
        }
    }

    /// Takes a file once more, as it is now.
    fn take_again(&mut self, path: TreePath, found: Found) -> Result<(), PutError> {
        match open_regular(&found.path) {
            Ok((_, stamp)) => {
                let found = Found { stamp, ..found };
                let meta = self.meta(&found);
                self.take_file(path, found, meta)
            }
            Err(source) => {
                self.fail_local(&WalkError::Read {
                    path: found.path,
                    source,
                });
                Ok(())
            }
        }
    }

    fn take_file(&mut self, path: TreePath, found: Found, meta: Meta) -> Result<(), PutError> {
        let size = found.stamp.size;
        if size <= INLINE_BYTES_MAX as u64 {
            self.take_inline(path, found, meta)
        } else if size < PACK_FILE_BYTES_MAX {
            self.take_packed(path, found, meta)
        } else {
            self.take_large(path, found, meta)
        }
    }

    fn take_inline(&mut self, path: TreePath, found: Found, meta: Meta) -> Result<(), PutError> {
        match read_whole(&found) {
            Ok(bytes) => {
                self.batch.bytes_inline += bytes.len() as u64;
                self.put.tally.bytes_untransferred.add(bytes.len() as u64);
                let size = bytes.len() as u64;
                let file = FileVersion {
                    sha256: None,
                    content: Content::Inline(bytes),
                };
                self.add(Intent::Put(Change::PutFile { path, meta, file }), size)
            }
            Err(PartError::Changed { .. })
                if self.first_try && self.composed.changed.len() < RETRIED_MAX =>
            {
                self.composed.changed.push((path, found));
                Ok(())
            }
            Err(error) => {
                self.fail(&path.to_bytes(), &error);
                Ok(())
            }
        }
    }

    fn take_packed(&mut self, path: TreePath, found: Found, meta: Meta) -> Result<(), PutError> {
        let size = found.stamp.size;
        let pack = self.pack.and_then(|at| self.batch.blobs.get(at));
        let bytes = pack.map_or(0, |pack| pack.bytes) + size;
        if bytes > SHARD_BYTES_MAX.into() && bytes > self.pack_bytes_max()? {
            self.pack = None;
        }
        let at = self.pack.unwrap_or_else(|| self.new_blob());
        self.pack = Some(at);
        self.add_slice(at, path, found, meta);
        self.send_if_full()
    }

    /// Takes a file that is a blob of its own. A very large one is an upload of its own as well,
    /// so that an interruption costs it nothing, whatever changes around it meanwhile.
    fn take_large(&mut self, path: TreePath, found: Found, meta: Meta) -> Result<(), PutError> {
        if found.stamp.size >= BATCH_BYTES {
            self.send()?;
        }
        let at = self.new_blob();
        self.add_slice(at, path, found, meta);
        self.send_if_full()
    }

    fn add_slice(&mut self, blob: usize, path: TreePath, found: Found, meta: Meta) {
        let part = Part {
            path: found.path.clone(),
            stamp: found.stamp,
            secret: self.environment.fresh_secret(),
            offset: 0,
            outcome: Outcome::default(),
        };
        self.batch.bytes += found.stamp.size;
        let Some(to) = self.batch.blobs.get_mut(blob) else {
            return;
        };
        let at = (blob, to.push(part));
        self.batch.slices.push(Slice {
            path,
            found,
            meta,
            at,
        });
    }

    /// Begins a blob of the batch; returns its place.
    fn new_blob(&mut self) -> usize {
        self.batch.blobs.push(BatchBlob::new(&*self.environment));
        self.batch.blobs.len() - 1
    }

    /// Bytes of one segment of the class that the Bridge will decide for.
    fn pack_bytes_max(&mut self) -> Result<u64, PutError> {
        if let Some(known) = self.pack_bytes_max {
            return Ok(known);
        }
        let about = self
            .runtime
            .block_on(self.api.about())
            .map_err(PutError::About)?;
        let bytes = about
            .class
            .map_or(SHARD_BYTES_MAX, Class::segment_bytes)
            .into();
        self.pack_bytes_max = Some(bytes);
        Ok(bytes)
    }

    fn add(&mut self, intent: Intent, bytes: u64) -> Result<(), PutError> {
        self.batch.intents.push(intent);
        self.batch.files += 1;
        self.batch.bytes += bytes;
        self.send_if_full()
    }

    fn leave(&mut self, bytes: u64) {
        self.composed.unchanged += 1;
        self.put.tally.files_done.add(1);
        self.put.tally.bytes_untransferred.add(bytes);
    }

    fn send_if_full(&mut self) -> Result<(), PutError> {
        let entries = self.batch.intents.len() + self.batch.slices.len();
        let is_full = self.batch.bytes >= BATCH_BYTES
            || entries >= BATCH_ENTRIES
            || self.batch.blobs.len() + 2 >= BLOBS_PER_UPLOAD_MAX;
        if is_full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), PutError> {
        self.pack = None;
        let mut batch = std::mem::take(&mut self.batch);
        if batch.intents.is_empty() && batch.slices.is_empty() {
            return Ok(());
        }
        batch.first_try = self.first_try;
        self.out
            .blocking_send(batch)
            .map_err(|_| PutError::Interrupted)
    }

    fn meta(&self, found: &Found) -> Meta {
        let Stamp {
            mtime_s,
            mtime_ns,
            mode,
            ..
        } = found.stamp;
        let mut xattrs = std::collections::BTreeMap::new();
        let mut bytes = 0;
        for (name, value) in &found.xattrs {
            bytes += name.len() + value.len();
            let name = str::from_utf8(name);
            match name {
                Ok(name) if bytes <= XATTR_BYTES_MAX => {
                    xattrs.insert(name.to_owned(), value.clone());
                }
                _ => {
                    let path = found.path.as_os_str().as_encoded_bytes();
                    self.put
                        .watcher
                        .warned(path, "an extended attribute is too large to be kept");
                }
            }
        }
        Meta {
            mtime: Mtime {
                seconds: mtime_s,
                nanos: mtime_ns,
            },
            mode,
            xattrs,
        }
    }

    fn fail_local(&mut self, error: &WalkError) {
        let path = match error {
            WalkError::Read { path, .. }
            | WalkError::Special { path, .. }
            | WalkError::TooDeep { path } => path.clone(),
        };
        self.fail(path.as_os_str().as_encoded_bytes(), error);
    }

    fn fail(&mut self, path: &[u8], error: &(dyn std::error::Error + 'static)) {
        self.composed.failed += 1;
        self.put.watcher.failed(path, error);
    }
}

fn is_unchanged_file(there: Option<&Entry>, size: u64, meta: &Meta) -> bool {
    there.is_some_and(|entry| match &entry.kind {
        Kind::File(file) => file.size() == size && entry.meta == *meta,
        Kind::Folder(_) | Kind::Symlink(_) => false,
    })
}

fn is_unchanged_symlink(there: Option<&Entry>, target: &[u8], meta: &Meta) -> bool {
    there.is_some_and(|entry| match &entry.kind {
        Kind::Symlink(known) => known == target && entry.meta == *meta,
        Kind::File(_) | Kind::Folder(_) => false,
    })
}

/// Reads a file of at most [`INLINE_BYTES_MAX`] bytes.
fn read_whole(found: &Found) -> Result<Vec<u8>, PartError> {
    let failed = |source: io::Error| PartError::Read {
        path: found.path.clone(),
        source,
    };
    let (file, stamp) = open_regular(&found.path).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut limited = (&file).take(INLINE_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    let after = Stamp::of(&file.metadata().map_err(failed)?);
    if stamp != found.stamp || after != stamp || bytes.len() as u64 != stamp.size {
        return Err(PartError::Changed {
            path: found.path.clone(),
        });
    }
    Ok(bytes)
}
