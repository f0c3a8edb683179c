//! A copy of a database that may be in use.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::open::open_reader;

/// Memory for cached pages while copying.
const CACHE_BYTES: u64 = 4 << 20;

/// A copy that was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{} is there already; a backup replaces nothing", to.display())]
    Exists {
        /// What.
        to: PathBuf,
    },
    /// The database cannot be read, or the copy not written.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// The database.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Copies the database `from` as it is at one moment, with all that was acknowledged before, into
/// the new file `to`. Whoever uses the database goes on. Durable when this returns. Blocks.
///
/// # Errors
/// [`BackupError`]; what is left of the copy then is to be thrown away.
pub fn backup(from: &Path, to: &Path) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists { to: to.to_owned() });
    }
    let failed = |source| BackupError::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        source,
    };
    // A path that is no text cannot be told to SQLite as a parameter.
    let name = to
        .to_str()
        .ok_or_else(|| failed("the path is not UTF-8".into()))?;
    let reader = open_reader(from, CACHE_BYTES).map_err(|error| failed(error.into()))?;
    reader
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| failed(error.into()))?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use crate::{Store, StoreConfig};

    #[test]
    fn a_copy_holds_what_was_acknowledged_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("db"), folder.path().join("copy"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let store = Store::open(&from, StoreConfig::default()).unwrap();
        let put = |store: &Store, value: &'static [u8]| {
            let written = store.write(move |tx| tx.put_meta("k", value));
            runtime.block_on(written).unwrap();
        };
        put(&store, b"old");

        super::backup(&from, &to).unwrap();
        put(&store, b"new");

        let copy = Store::open(&to, StoreConfig::default()).unwrap();
        let kept = runtime.block_on(copy.read(|tx| tx.meta("k"))).unwrap();
        assert_eq!(kept.unwrap(), b"old");
        let again = super::backup(&from, &to).unwrap_err();
        assert!(again.to_string().ends_with("a backup replaces nothing"));
    }
}
