//! The file of the trash: what went in and what came out, appended and made durable; written anew
//! at a start, and when most of it is history.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use model::crypto::sha256;
use model::units::{BridgeId, Serial, UnixMs};
use shardstore::disk::{self, File, Open};
use shardstore::{RecordKey, durable};

use super::{Item, TrashError};

const FILE_NAME: &str = "trash";
/// Kind 1, zero 3, bytes 4, Bridge 32, serial 16, due 8, and the first 16 bytes of their SHA-256.
const ENTRY_BYTES: usize = 80;
const CHECKED_BYTES: usize = 64;
const IN: u8 = 1;
const OUT: u8 = 2;
/// Entries that may be history before the file is written anew.
const HISTORY_MAX: u64 = 4_096;

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    file: File,
    entries: u64,
}

impl Book {
    /// Reads the file in the folder `data`, and writes it anew. An entry whose hash does not hold
    /// was never acknowledged.
    pub(super) fn open(data: &Path) -> Result<(Self, BTreeMap<RecordKey, Item>), TrashError> {
        let path = data.join(FILE_NAME);
        let failed = |source| TrashError::File {
            path: path.clone(),
            source,
        };
        let kept = match disk::read(&path, u64::MAX) {
            Ok(bytes) => replay(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error)),
        };
        let (file, entries) = write_anew(&path, &kept).map_err(failed)?;
        let book = Self {
            path,
            file,
            entries,
        };
        Ok((book, kept))
    }

    /// Writes down, durably, that `items` went in.
    pub(super) fn put_in(&mut self, items: &BTreeMap<RecordKey, Item>) -> Result<(), TrashError> {
        let entries = items.iter().flat_map(|(key, item)| entry(IN, key, *item));
        self.append(&entries.collect::<Vec<u8>>())
    }

    /// Writes down, durably, that what has these `keys` came out.
    pub(super) fn take_out(&mut self, keys: &[RecordKey]) -> Result<(), TrashError> {
        let item = Item {
            due: UnixMs(0),
            bytes: 0,
        };
        let entries = keys.iter().flat_map(|key| entry(OUT, key, item));
        self.append(&entries.collect::<Vec<u8>>())
    }

    pub(super) const fn is_worth_rewriting(&self, items: usize) -> bool {
        self.entries > 2 * items as u64 + HISTORY_MAX
    }

    /// Forgets the history.
    pub(super) fn rewrite(&mut self, items: &BTreeMap<RecordKey, Item>) -> Result<(), TrashError> {
        let written = write_anew(&self.path, items);
        (self.file, self.entries) = written.map_err(|source| TrashError::File {
            path: self.path.clone(),
            source,
        })?;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TrashError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.entries * ENTRY_BYTES as u64;
        let file = &self.file;
        let written = file
            .write_all_at(bytes, end)
            .and_then(|()| file.sync_data());
        if let Err(source) = written {
            // What was half written would stand in the way of what comes next.
            file.set_len(end).ok();
            let path = self.path.clone();
            return Err(TrashError::File { path, source });
        }
        self.entries += (bytes.len() / ENTRY_BYTES) as u64;
        Ok(())
    }
}

fn write_anew(path: &Path, items: &BTreeMap<RecordKey, Item>) -> io::Result<(File, u64)> {
    durable::replace_with(path, |out| {
        let mut entries = items.iter().map(|(key, item)| entry(IN, key, *item));
        entries.try_for_each(|entry| out.write_all(&entry))
    })?;
    let file = File::open(path, Open::Write)?;
    Ok((file, items.len() as u64))
}

fn replay(bytes: &[u8]) -> BTreeMap<RecordKey, Item> {
    let mut kept = BTreeMap::new();
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        match read_entry(entry) {
            Some((IN, key, item)) => {
                kept.insert(key, item);
            }
            Some((_, key, _)) => {
                kept.remove(&key);
            }
            None => tracing::warn!("an entry of the trash is damaged"),
        }
    }
    kept
}

fn entry(kind: u8, key: &RecordKey, item: Item) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[0] = kind;
    entry[4..8].copy_from_slice(&item.bytes.to_le_bytes());
    entry[8..40].copy_from_slice(&key.bridge.0);
    entry[40..56].copy_from_slice(&key.serial.0);
    entry[56..CHECKED_BYTES].copy_from_slice(&item.due.0.to_le_bytes());
    let sum = sha256(&entry[..CHECKED_BYTES]);
    entry[CHECKED_BYTES..].copy_from_slice(&sum[..ENTRY_BYTES - CHECKED_BYTES]);
    entry
}

fn read_entry(bytes: &[u8]) -> Option<(u8, RecordKey, Item)> {
    let kind = *bytes.first()?;
    let key = RecordKey {
        bridge: BridgeId(bytes.get(8..40)?.try_into().ok()?),
        serial: Serial(bytes.get(40..56)?.try_into().ok()?),
    };
    let item = Item {
        due: UnixMs(u64::from_le_bytes(bytes.get(56..64)?.try_into().ok()?)),
        bytes: u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?),
    };
    let known = kind == IN || kind == OUT;
    (known && entry(kind, &key, item) == bytes).then_some((kind, key, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(serial: u8) -> RecordKey {
        RecordKey {
            bridge: BridgeId([1; 32]),
            serial: Serial([serial; 16]),
        }
    }

    fn item(due: u64) -> Item {
        Item {
            due: UnixMs(due),
            bytes: 7,
        }
    }

    #[test]
    fn what_is_in_it_outlives_a_restart_and_a_torn_end() {
        let data = tempfile::tempdir().unwrap();
        let (mut book, kept) = Book::open(data.path()).unwrap();
        assert!(kept.is_empty());
        let items: BTreeMap<_, _> = (1..=3).map(|serial| (key(serial), item(9))).collect();
        book.put_in(&items).unwrap();
        book.take_out(&[key(2)]).unwrap();
        book.put_in(&[(key(4), item(5))].into()).unwrap();
        drop(book);
        let path = data.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        for cut in (4 * ENTRY_BYTES)..whole.len() {
            durable::replace(&path, &whole[..cut]).unwrap();
            let (mut book, kept) = Book::open(data.path()).unwrap();
            let keys: Vec<_> = kept.keys().copied().collect();
            assert_eq!(keys, [key(1), key(3)], "cut at {cut}");
            book.put_in(&[(key(5), item(1))].into()).unwrap();
            drop(book);
            let (_, kept) = Book::open(data.path()).unwrap();
            assert_eq!(kept.len(), 3);
        }
    }

    #[test]
    fn a_bent_entry_is_not_believed() {
        let good = entry(IN, &key(1), item(9));
        assert_eq!(read_entry(&good), Some((IN, key(1), item(9))));
        for byte in 0..ENTRY_BYTES {
            let mut bent = good;
            bent[byte] ^= 1;
            assert_eq!(read_entry(&bent), None, "byte {byte} bent");
        }
    }
}
