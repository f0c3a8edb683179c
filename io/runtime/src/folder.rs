//! One process per data folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Name of the lock's file within the folder; it holds the process id, for people.
const LOCK_NAME: &str = "lock";

/// The sole use of a data folder, until dropped; the system also ends it with the process.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderLockError {
    /// The folder could not be created.
    #[error("cannot create {}", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lock's file could not be opened or locked.
    #[error("cannot lock {}", folder.display())]
    Lock {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("{} is in use by process {process}", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other process's id, or `unknown`.
        process: String,
    },
}

impl FolderLock {
    /// Takes `folder`, which is created for this user alone if need be.
    ///
    /// # Errors
    /// [`FolderLockError`], which names the folder.
    pub fn take(folder: &Path) -> Result<Self, FolderLockError> {
        create(folder).map_err(|source| FolderLockError::Create {
            folder: folder.to_owned(),
            source,
        })?;
        let failed = |source| FolderLockError::Lock {
            folder: folder.to_owned(),
            source,
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join(LOCK_NAME))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = holder(&mut file).unwrap_or_else(|| "unknown".to_owned());
                return Err(FolderLockError::InUse {
                    folder: folder.to_owned(),
                    process,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        sign(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let lock = FolderLock::take(&folder).unwrap();
        let error = FolderLock::take(&folder).unwrap_err();
        let (folder_shown, process) = (folder.display(), std::process::id());
        assert_eq!(
            error.to_string(),
            format!("{folder_shown} is in use by process {process}")
        );
        drop(lock);
        FolderLock::take(&folder).unwrap();
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = FolderLock::take(&file.path().join("x")).unwrap_err();
        assert!(matches!(error, FolderLockError::Create { .. }), "{error:?}");
    }
}
