//! What opening a store needs: its configuration, its lock, its salt, and what can go wrong.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Lock};
use crate::durable;
use crate::log::{self, LOG_BYTES_MAX, LogError, LogFiles};
use crate::record::Salt;
use crate::recover::RecoverError;

/// Smallest log: a file header and one record of the largest shard.
pub(super) const LOG_BYTES_MIN: u32 = 1 << 21;
/// Folder of the logs in a store's folder.
pub(super) const LOGS_FOLDER: &str = "logs";
const FORMAT_FILE: &str = "format";
/// The magic and the salt are less; a longer file is none of ours.
const FORMAT_BYTES_MAX: u64 = 4_096;
const FORMAT_MAGIC: [u8; 8] = *b"XCSS\x01\0\0\0";

/// How a store is kept.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// Most bytes that the store takes on the disk.
    pub space_bytes: u64,
    /// Bytes left free on the file system; by default 1 GiB or 1 %, whichever is more.
    pub keep_free_bytes: Option<u64>,
    /// Largest log, within 2 MiB..=1 GiB; the default is 1 GiB.
    pub log_bytes_max: u32,
    /// Whether the bytes of deleted shards are given back at once, by holes in the logs; without
    /// that they stay until their log is deleted or rewritten.
    pub punch_holes: bool,
}

impl StoreConfig {
    /// Keeps at most `space_bytes`, everything else as usual.
    #[must_use]
    pub const fn new(space_bytes: u64) -> Self {
        Self {
            space_bytes,
            keep_free_bytes: None,
            log_bytes_max: LOG_BYTES_MAX,
            punch_holes: true,
        }
    }
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error("cannot create the store's folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("another process uses the store in {}", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// Its lock file cannot be used.
    #[error("cannot lock the store")]
    Lock(#[source] io::Error),
    /// Its format file cannot be read or written.
    #[error("cannot read the store's format file")]
    Format(#[source] io::Error),
    /// Its format is not one this program knows, and no log tells its salt.
    #[error("the store in {} is of an unknown format", folder.display())]
    UnknownFormat {
        /// The folder.
        folder: PathBuf,
    },
    /// Its logs cannot be brought back.
    #[error("cannot recover the store")]
    Recover(#[from] RecoverError),
    /// Its logs cannot be appended to.
    #[error("cannot open the store's logs")]
    Log(#[from] LogError),
    /// No writer thread can be started.
    #[error("cannot start the writer thread")]
    Thread(#[source] io::Error),
}

pub(super) fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let lock = Lock::take(&folder.join("lock")).map_err(OpenError::Lock)?;
    lock.ok_or_else(|| OpenError::Locked {
        folder: folder.to_owned(),
    })
}

/// The store's salt: from its format file, else from any log, else fresh for a new store.
pub(super) fn salt_of(folder: &Path, logs: &Path) -> Result<Salt, OpenError> {
    if let Some(salt) = salt_told(folder).map_err(OpenError::Format)? {
        return Ok(salt);
    }
    let salt = match salt_in_logs(logs)? {
        Some(salt) => salt,
        None if LogFiles::new(logs.to_owned(), Salt::default())
            .list()?
            .is_empty() =>
        {
            disk::salt().map_err(OpenError::Format)?
        }
        None => {
            return Err(OpenError::UnknownFormat {
                folder: folder.to_owned(),
            });
        }
    };
    let content = [&FORMAT_MAGIC[..], &salt].concat();
    durable::replace(&folder.join(FORMAT_FILE), &content).map_err(OpenError::Format)?;
    Ok(salt)
}

/// The salt of the store in `folder`, if there is one; changes nothing there.
pub(super) fn salt_in_folder(folder: &Path) -> io::Result<Option<Salt>> {
    if let Some(salt) = salt_told(folder)? {
        return Ok(Some(salt));
    }
    Ok(salt_in_logs(&folder.join(LOGS_FOLDER)).ok().flatten())
}

fn salt_in_logs(logs: &Path) -> Result<Option<Salt>, LogError> {
    let existing = LogFiles::new(logs.to_owned(), Salt::default()).list()?;
    let mut salts = existing
        .iter()
        .filter_map(|log| log::salt_in(&log::path_in(logs, *log)));
    Ok(salts.next())
}

/// What the format file in `folder` says; `None` where there is none, or none of ours.
pub(super) fn salt_told(folder: &Path) -> io::Result<Option<Salt>> {
    match disk::read(&folder.join(FORMAT_FILE), FORMAT_BYTES_MAX) {
        Ok(bytes) => Ok(bytes
            .strip_prefix(&FORMAT_MAGIC)
            .and_then(|salt| salt.try_into().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
