//! A home that is a folder of a file system.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use shardstore::durable;

use super::{Home, HomeError};
use crate::drive::storage::{Lock, Storage};

/// Files in a folder.
#[derive(Debug)]
struct Folder(PathBuf);

impl Home {
    /// The home in the folder `dir`, initialised or not.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let storage = Arc::new(Folder(dir.clone()));
        Self::over(storage, dir)
    }

    /// Waits for and takes the lock under which journals are looked through.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn lock_uploads(&self) -> Result<Lock, HomeError> {
        self.flock("uploads.lock")
    }

    /// The folder of the journals, made where it is missing.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn uploads_dir(&self) -> Result<PathBuf, HomeError> {
        let path = self.dir.join("uploads");
        self.make_folder(&path)?;
        Ok(path)
    }

    /// The folder of the page cache.
    #[must_use]
    pub fn pages_dir(&self) -> PathBuf {
        self.dir.join("pages")
    }

    /// A new file without a name in `spool/`, which goes when it is closed.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn spool(&self) -> Result<File, HomeError> {
        let path = self.dir.join("spool");
        self.make_folder(&path)?;
        unnamed_file(&path).map_err(|source| HomeError::Write { path, source })
    }

    fn make_folder(&self, path: &Path) -> Result<(), HomeError> {
        make_private(path).map_err(|source| HomeError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

impl Storage for Folder {
    fn make(&self) -> io::Result<()> {
        make_private(&self.0)
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        durable::replace(&self.0.join(name), bytes)
    }

    fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write_unsynced(&self.0.join(name), bytes)
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(durable::MODE_PRIVATE)
            .open(self.0.join(name))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Box::new(file))
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file and removes its name at once.
fn unnamed_file(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("{}.part", std::process::id()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(durable::MODE_PRIVATE)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Replaces a file that may be lost in a crash of the machine, but never be half of itself.
pub(in crate::drive) fn write_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(durable::MODE_PRIVATE)
        .open(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    Ok(rustix::fs::rename(Path::new(&temporary), path)?)
}
