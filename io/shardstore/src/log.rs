//! The log files: their names, their 64-byte file header, and a bounded set of open ones.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::disk::{self, Entry, File, Open};
use crate::durable;
use crate::record::{Location, Salt};

/// Bytes of a log before its first record.
pub(crate) const LOG_HEADER_LEN: u32 = 64;
/// Largest log.
pub(crate) const LOG_BYTES_MAX: u32 = 1 << 30;
/// Most logs kept open for reading; a Host with many terabytes has thousands.
const OPEN_LOGS_MAX: usize = 128;
/// Holes are whole blocks of the file system.
const BLOCK_BYTES: u64 = 4_096;

const MAGIC: [u8; 4] = *b"XCSL";
const VERSION: u8 = 1;

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The folder of the logs cannot be read.
    #[error("cannot list the logs")]
    List(#[source] io::Error),
    /// A log cannot be created.
    #[error("cannot create log {log}")]
    Create {
        /// Its number.
        log: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log cannot be opened.
    #[error("cannot open log {log}")]
    Open {
        /// Its number.
        log: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log cannot be read, cut or measured.
    #[error("cannot read log {log}")]
    Read {
        /// Its number.
        log: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log is longer than any that this store writes.
    #[error("log {log} is {bytes} bytes long, more than a log can be")]
    TooLong {
        /// Its number.
        log: u32,
        /// Its length.
        bytes: u64,
    },
}

/// The folder of the logs and the files that are open.
#[derive(Debug)]
pub(crate) struct LogFiles {
    folder: PathBuf,
    salt: Salt,
    punch_holes: bool,
    /// Most recently used last.
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

impl LogFiles {
    pub(crate) fn new(folder: PathBuf, salt: Salt) -> Self {
        Self {
            folder,
            salt,
            punch_holes: true,
            open: Mutex::default(),
        }
    }

    /// Never gives a part of a log back to the file system.
    pub(crate) fn without_holes(self) -> Self {
        Self {
            punch_holes: false,
            ..self
        }
    }

    /// Numbers of the logs that exist, ascending.
    pub(crate) fn list(&self) -> Result<Vec<u32>, LogError> {
        let mut logs = Vec::new();
        for name in disk::list(&self.folder).map_err(LogError::List)? {
            let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
            logs.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        logs.sort_unstable();
        Ok(logs)
    }

    /// Creates log `log`, durably, with nothing but its file header.
    pub(crate) fn create(&self, log: u32) -> Result<Arc<File>, LogError> {
        let path = self.path(log);
        let created = File::open(&path, Open::Truncate).and_then(|file| {
            file.write_all_at(&file_header(&self.salt, log), 0)?;
            file.sync_all()?;
            durable::sync_folder_of(&path)?;
            Ok(Arc::new(file))
        });
        let file = created.map_err(|source| LogError::Create { log, source })?;
        self.keep_open(log, &file);
        Ok(file)
    }

    /// Opens log `log`, or hands out the open file.
    pub(crate) fn get(&self, log: u32) -> Result<Arc<File>, LogError> {
        if let Some(file) = self.used_again(log) {
            return Ok(file);
        }
        let opened = File::open(&self.path(log), Open::Write);
        let file = Arc::new(opened.map_err(|source| LogError::Open { log, source })?);
        self.keep_open(log, &file);
        Ok(file)
    }

    /// Length of log `log` in bytes, checked against the largest log.
    pub(crate) fn len(&self, log: u32) -> Result<u32, LogError> {
        let bytes = self.entry(log)?.bytes;
        u32::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= LOG_BYTES_MAX)
            .ok_or(LogError::TooLong { log, bytes })
    }

    /// Bytes that log `log` takes on the disk.
    pub(crate) fn allocated(&self, log: u32) -> Result<u64, LogError> {
        Ok(self.entry(log)?.allocated_bytes)
    }

    /// Looked up without opening the log, so that those in use stay open.
    fn entry(&self, log: u32) -> Result<Entry, LogError> {
        disk::entry(&self.path(log)).map_err(|source| LogError::Read { log, source })
    }

    /// Deletes log `log`. Whoever is reading it keeps reading.
    pub(crate) fn delete(&self, log: u32) -> io::Result<()> {
        self.lock().retain(|(open, _)| *open != log);
        disk::remove(&self.path(log))?;
        durable::sync_folder_of(&self.path(log))
    }

    /// Blanks `len` bytes behind `at` and gives the blocks that lie wholly inside back to the file
    /// system; returns how many bytes that were, 0 where it cannot be done.
    pub(crate) fn punch(&self, at: Location, len: u32) -> u64 {
        let (from, len) = (u64::from(at.offset), u64::from(len));
        if !self.punch_holes {
            return 0;
        }
        let Ok(file) = self.get(at.log) else { return 0 };
        match file.punch(from, len) {
            Ok(()) => {
                let blocks_end = (from + len) / BLOCK_BYTES * BLOCK_BYTES;
                blocks_end.saturating_sub(from.next_multiple_of(BLOCK_BYTES))
            }
            Err(error) => {
                tracing::debug!(log = at.log, %error, "hole not punched");
                0
            }
        }
    }

    /// Whether the file header of `log` is the one this store wrote.
    pub(crate) fn header_holds(&self, log: u32, file: &File) -> bool {
        let mut found = [0; LOG_HEADER_LEN as usize];
        file.read_exact_at(&mut found, 0).is_ok() && found == file_header(&self.salt, log)
    }

    fn path(&self, log: u32) -> PathBuf {
        log_path(&self.folder, log)
    }

    fn used_again(&self, log: u32) -> Option<Arc<File>> {
        let mut open = self.lock();
        let index = open.iter().position(|(number, _)| *number == log)?;
        let entry = open.remove(index)?;
        let file = Arc::clone(&entry.1);
        open.push_back(entry);
        Some(file)
    }

    fn keep_open(&self, log: u32, file: &Arc<File>) {
        let mut open = self.lock();
        open.retain(|(number, _)| *number != log);
        if open.len() == OPEN_LOGS_MAX {
            open.pop_front();
        }
        open.push_back((log, Arc::clone(file)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u32, Arc<File>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_path(folder: &Path, log: u32) -> PathBuf {
    folder.join(format!("{log:08}.log"))
}

/// magic 4 · version 1 · zero 3 · log 4 · salt 16 · zero 20 · SHA-256 of the foregoing, first 16.
fn file_header(salt: &Salt, log: u32) -> [u8; LOG_HEADER_LEN as usize] {
    let mut header = [0; LOG_HEADER_LEN as usize];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[8..12].copy_from_slice(&log.to_le_bytes());
    header[12..28].copy_from_slice(salt);
    let digest = Sha256::digest(&header[..48]);
    header[48..].copy_from_slice(&digest[..16]);
    header
}

/// The salt in a log's file header, for a store whose own file is lost.
pub(crate) fn salt_in(path: &Path) -> Option<Salt> {
    let mut found = [0; LOG_HEADER_LEN as usize];
    let file = File::open(path, Open::Read).ok()?;
    file.read_exact_at(&mut found, 0).ok()?;
    let log = u32::from_le_bytes(found.get(8..12)?.try_into().ok()?);
    let salt: Salt = found.get(12..28)?.try_into().ok()?;
    (file_header(&salt, log) == found).then_some(salt)
}

/// Path of log `log` in `folder`, for recovering a lost salt.
pub(crate) fn path_in(folder: &Path, log: u32) -> PathBuf {
    log_path(folder, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_proves_its_number_and_store() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFiles::new(folder.path().to_owned(), [7; 16]);
        let file = logs.create(5).unwrap();

        assert!(logs.header_holds(5, &file));
        assert!(!logs.header_holds(6, &file));
        assert_eq!(salt_in(&path_in(folder.path(), 5)), Some([7; 16]));
        assert_eq!(logs.list().unwrap(), [5]);
    }

    #[test]
    fn open_logs_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFiles::new(folder.path().to_owned(), [7; 16]);
        for log in 0..u32::try_from(OPEN_LOGS_MAX).unwrap() + 10 {
            logs.create(log).unwrap();
        }
        assert_eq!(logs.lock().len(), OPEN_LOGS_MAX);
        logs.get(0).unwrap();
        assert_eq!(logs.lock().len(), OPEN_LOGS_MAX);
    }

    #[test]
    fn a_hole_blanks_all_its_bytes_and_frees_the_whole_blocks_inside() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogFiles::new(folder.path().to_owned(), [7; 16]);
        let file = logs.create(1).unwrap();
        file.write_all_at(&[9; 40_000], 0).unwrap();
        let at = |offset| Location { log: 1, offset };

        assert_eq!(logs.punch(at(5_000), 10_000), 4_096);
        assert_eq!(logs.punch(at(20_481), 4_096), 0);

        let mut bytes = vec![0; 40_000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let blank =
            |place: usize| (5_000..15_000).contains(&place) || (20_481..24_577).contains(&place);
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(*byte, if blank(place) { 0 } else { 9 }, "byte {place}");
        }
    }
}
