//! What a device keeps between runs, wherever that is: a folder, or what a browser has for it.
//!
//! A browser's app implements both traits over files of its own that one tab holds at a time
//! (`FileSystemSyncAccessHandle`s in a worker): they are read and flushed without waiting.

use std::any::Any;
use std::{fmt, io};

use model::crypto::sha256;
use model::formats::manifest::SEALED_MANIFEST_PAGE_BYTES_MAX;
use model::units::NodeHash;

/// Held until it is dropped.
pub type Lock = Box<dyn Any + Send>;

/// A device's small files, by name. Its methods may block for a moment.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Makes the place where files are kept, where it is missing; for the device's eyes only.
    ///
    /// # Errors
    /// What the system says.
    fn make(&self) -> io::Result<()>;

    /// The file, if there is one.
    ///
    /// # Errors
    /// What the system says, and [`io::ErrorKind::FileTooLarge`] above `bytes_max`.
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the file, for nobody else to read. It is durable when this returns, and whatever
    /// happens meanwhile, one of the two is there.
    ///
    /// # Errors
    /// What the system says.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// As [`Self::replace`], but it need not be durable.
    ///
    /// # Errors
    /// What the system says.
    fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Waits until no other run has the lock, and takes it.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self, name: &str) -> io::Result<Lock>;
}

/// Sealed pages by hash, near at hand. It may lose any of them at any time.
pub trait PageCache: fmt::Debug + Send + Sync {
    /// The bytes kept for `hash`, if there are any; whether they are the page is not for it to
    /// say. Nothing above `bytes_max` need be read.
    fn read(&self, hash: &NodeHash, bytes_max: u64) -> Option<Vec<u8>>;

    /// Keeps a page. Failing to is no error: it can be fetched again.
    fn put(&self, hash: &NodeHash, bytes: &[u8]);

    /// Forgets a page.
    fn remove(&self, hash: &NodeHash);
}

impl dyn PageCache + '_ {
    /// The page, if it is here and whole.
    pub(crate) fn get(&self, hash: &NodeHash) -> Option<Vec<u8>> {
        let bytes = self.read(hash, SEALED_MANIFEST_PAGE_BYTES_MAX as u64)?;
        (sha256(&bytes) == hash.0).then_some(bytes)
    }
}
