//! Where files lie: on the operating system's disks, or on simulated ones that whoever simulates
//! brings along, with power cuts, bad sectors and full disks.
//!
//! The choice is made per thread, by a guard, because a simulation is one thread that plays every
//! node; a program never takes the guard. On real disks it costs one branch for each access to an
//! open file and one look at a flag for each name. Everything that this crate keeps goes this way,
//! and so does what a Host keeps beside its shards.

mod file;
mod simulated;
mod system;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub use file::{File, Lock};
pub(crate) use simulated::simulated;
pub use simulated::{Disk, DiskFile, DiskLock, SimulatedDisk};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// To be read only; it must be there.
    Read,
    /// To be read and written; it must be there.
    Write,
    /// To be read and written; it is made where there is none.
    Create,
    /// To be read and written; whatever was in it is gone.
    Truncate,
}

/// What a folder says of a name in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Length in bytes.
    pub bytes: u64,
    /// What it takes on the disk, without holes.
    pub allocated_bytes: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// How much fits on a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// In all.
    pub total_bytes: u64,
    /// What we may still take.
    pub available_bytes: u64,
}

/// The whole file, which must not be longer than `bytes_max`.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`], or whatever the file system answers.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path, Open::Read)?;
    let bytes = file.bytes()?;
    if bytes > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut content = vec![0; bytes];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

/// What is at `path`.
///
/// # Errors
/// Whatever the file system answers.
pub fn entry(path: &Path) -> io::Result<Entry> {
    simulated().map_or_else(|| system::entry(path), |disk| disk.entry(path))
}

/// Whether something is at `path`, as far as the file system tells.
#[must_use]
pub fn exists(path: &Path) -> bool {
    entry(path).is_ok()
}

/// Whether a folder is at `path`.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    entry(path).is_ok_and(|entry| entry.is_folder)
}

/// The names in `folder`, in no particular order.
///
/// # Errors
/// Whatever the file system answers.
pub fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    simulated().map_or_else(|| system::list(folder), |disk| disk.list(folder))
}

/// Makes `folder` and those above it where they are missing.
///
/// # Errors
/// Whatever the file system answers.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    simulated().map_or_else(
        || std::fs::create_dir_all(folder),
        |disk| disk.create_folders(folder),
    )
}

/// Removes the file at `path`.
///
/// # Errors
/// Whatever the file system answers.
pub fn remove(path: &Path) -> io::Result<()> {
    simulated().map_or_else(|| std::fs::remove_file(path), |disk| disk.remove(path))
}

/// Has the file at `from` be at `to`, in place of what is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    simulated().map_or_else(|| system::rename(from, to), |disk| disk.rename(from, to))
}

/// Has the file at `from` be at `to` as well, where nothing may be.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    simulated().map_or_else(|| std::fs::hard_link(from, to), |disk| disk.link(from, to))
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    simulated().map_or_else(
        || std::fs::File::open(folder)?.sync_all(),
        |disk| disk.sync_folder(folder),
    )
}

/// How much fits where `folder` is.
pub(crate) fn capacity(folder: &Path) -> io::Result<Capacity> {
    simulated().map_or_else(|| system::capacity(folder), |disk| disk.capacity(folder))
}

/// 16 bytes that nobody can guess.
pub(crate) fn salt() -> io::Result<[u8; 16]> {
    if let Some(disk) = simulated() {
        return Ok(disk.salt());
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(salt)
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
