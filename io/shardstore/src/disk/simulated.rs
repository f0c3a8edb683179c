//! What a simulated disk has to do, and the guard that puts one in the place of the real ones.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use super::{Capacity, Entry, Open};

/// Held until it is dropped.
pub type DiskLock = Box<dyn Any + Send + Sync>;

/// A simulated disk, or several of them: it goes by the path. Errors are those of an operating
/// system.
#[expect(
    clippy::missing_errors_doc,
    reason = "all of them answer what a file system would"
)]
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;

    /// What is at `path`.
    fn entry(&self, path: &Path) -> io::Result<Entry>;

    /// The names in `folder`.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Makes `folder` and those above it where they are missing.
    fn create_folders(&self, folder: &Path) -> io::Result<()>;

    /// Removes the file at `path`; whoever has it open keeps it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Has the file at `from` be at `to`, in place of what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Has the file at `from` be at `to` as well, where nothing may be.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// How much fits where `folder` is.
    fn capacity(&self, folder: &Path) -> io::Result<Capacity>;

    /// Locks the file at `path`, made where there is none; `None` where another one has it locked.
    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;

    /// What a new store's salt is to be.
    fn salt(&self) -> [u8; 16];
}

/// An open file on a simulated disk.
#[expect(
    clippy::missing_errors_doc,
    reason = "all of them answer what a file system would"
)]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into `out` from `offset` on; returns how many bytes there were.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` from `offset` on, or some of them and fails.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts it, or fills it up with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes what was written durable, and the length.
    fn sync(&self) -> io::Result<()>;

    /// Blanks `bytes` from `offset` on and gives whole blocks back.
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()>;
}

thread_local! {
    static DISK: RefCell<Option<Arc<dyn Disk>>> = const { RefCell::new(None) };
}

/// As long as it lives, what this thread keeps goes to a simulated disk. Blocking work must then
/// be this thread's own as well, see [`tasks::Inline`].
#[derive(Debug)]
pub struct SimulatedDisk {
    before: Option<Arc<dyn Disk>>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl SimulatedDisk {
    /// From now on this thread's files lie on `disk`.
    #[must_use]
    pub fn here(disk: Arc<dyn Disk>) -> Self {
        Self {
            before: DISK.replace(Some(disk)),
            _thread: PhantomData,
        }
    }
}

impl Drop for SimulatedDisk {
    fn drop(&mut self) {
        DISK.set(self.before.take());
    }
}

/// The disk of this thread, where it is a simulated one.
pub(crate) fn simulated() -> Option<Arc<dyn Disk>> {
    DISK.with_borrow(Clone::clone)
}
