//! Deletes for volumes that are away: noted durably, and carried out when they come back.

use std::io;
use std::path::{Path, PathBuf};

use model::units::{BridgeId, Serial};
use sha2::{Digest, Sha256};

use crate::disk::{self, File, Open};
use crate::durable;
use crate::store::{Store, StoreId};
use crate::writer::WriteError;

/// Folder of the notes, one file for each volume.
const FOLDER: &str = "away";
/// Bridge 32, serial 16, and the first 16 bytes of their SHA-256.
const ENTRY_BYTES: usize = 64;
const KEY_BYTES: usize = 48;
/// Most deletes that wait for one volume.
const ENTRIES_MAX: u64 = 1 << 20;

/// Deletes that could not be noted or carried out.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More deletes than are noted for one volume.
    #[error(
        "more than {ENTRIES_MAX} deletes wait for volume {volume}; bring it back, or have it forgotten"
    )]
    TooMany {
        /// The volume.
        volume: StoreId,
    },
    /// The volume does not take them.
    #[error("deletes that waited for the volume cannot be carried out")]
    Remove(#[from] WriteError),
}

#[derive(Debug)]
pub(super) struct Pending {
    folder: PathBuf,
}

impl Pending {
    pub(super) fn new(memory: &Path) -> Self {
        Self {
            folder: memory.join(FOLDER),
        }
    }

    /// Notes, durably, that `serials` of `bridge` are to be forgotten by `volume`.
    pub(super) fn note(
        &self,
        volume: StoreId,
        bridge: BridgeId,
        serials: &[Serial],
    ) -> Result<(), PendingError> {
        let path = self.path(volume);
        let failed = |source| PendingError::File {
            path: path.clone(),
            source,
        };
        let (file, entries) = self.open(&path).map_err(failed)?;
        if entries + serials.len() as u64 > ENTRIES_MAX {
            return Err(PendingError::TooMany { volume });
        }
        let bytes: Vec<u8> = serials
            .iter()
            .flat_map(|serial| entry(bridge, *serial))
            .collect();
        file.write_all_at(&bytes, entries * ENTRY_BYTES as u64)
            .and_then(|()| file.sync_all())
            .and_then(|()| durable::sync_folder_of(&path))
            .map_err(failed)
    }

    /// Does what was noted for `volume`, whose store is `store`, and forgets the notes.
    pub(super) fn carry_out(&self, volume: StoreId, store: &Store) -> Result<(), PendingError> {
        let path = self.path(volume);
        let failed = |source| PendingError::File {
            path: path.clone(),
            source,
        };
        let bytes = match disk::read(&path, ENTRIES_MAX * ENTRY_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut removed = 0;
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            match read_entry(entry) {
                Some((bridge, serial)) => removed += store.remove_all(bridge, &[serial])?,
                None => tracing::warn!(%volume, "a note of a delete is damaged"),
            }
        }
        tracing::info!(%volume, removed, "deletes that waited for the volume are done");
        self.forget(volume).map_err(failed)
    }

    /// Forgets the notes for `volume`.
    pub(super) fn forget(&self, volume: StoreId) -> io::Result<()> {
        let path = self.path(volume);
        match disk::remove(&path) {
            Ok(()) => durable::sync_folder_of(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The file, and how many whole entries it has.
    fn open(&self, path: &Path) -> io::Result<(File, u64)> {
        if !disk::exists(&self.folder) {
            disk::create_folders(&self.folder)?;
            durable::sync_folder_of(&self.folder)?;
        }
        let file = File::open(path, Open::Create)?;
        let entries = file.bytes()? / ENTRY_BYTES as u64;
        Ok((file, entries))
    }

    fn path(&self, volume: StoreId) -> PathBuf {
        self.folder.join(volume.to_string())
    }
}

fn entry(bridge: BridgeId, serial: Serial) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..32].copy_from_slice(&bridge.0);
    entry[32..KEY_BYTES].copy_from_slice(&serial.0);
    let digest = Sha256::digest(&entry[..KEY_BYTES]);
    entry[KEY_BYTES..].copy_from_slice(&digest[..ENTRY_BYTES - KEY_BYTES]);
    entry
}

fn read_entry(bytes: &[u8]) -> Option<(BridgeId, Serial)> {
    let bridge = BridgeId(bytes.get(..32)?.try_into().ok()?);
    let serial = Serial(bytes.get(32..KEY_BYTES)?.try_into().ok()?);
    (entry(bridge, serial) == bytes).then_some((bridge, serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_note_is_not_believed() {
        let good = entry(BridgeId([1; 32]), Serial([2; 16]));
        assert_eq!(
            read_entry(&good),
            Some((BridgeId([1; 32]), Serial([2; 16])))
        );
        for byte in 0..ENTRY_BYTES {
            let mut bent = good;
            bent[byte] ^= 1;
            assert_eq!(read_entry(&bent), None, "byte {byte} bent");
        }
    }
}
