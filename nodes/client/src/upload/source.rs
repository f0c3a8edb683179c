//! Where the ciphertext of a blob comes from: read in order, piece by piece, never twice.

use std::path::PathBuf;
use std::{fmt, io};

use model::crypto::Secret;
use model::units::{BlobId, OwnerTag};

/// A blob to be stored.
#[derive(Debug)]
pub struct BlobSource {
    /// A fresh random id.
    pub blob: BlobId,
    /// Bytes of ciphertext, at least 1.
    pub length: u64,
    /// Hash of the blob's owner key.
    pub owner_tag: OwnerTag,
    /// Seals the blob's manifest; random, of this blob alone.
    pub secret: Secret,
    /// Its ciphertext.
    pub content: Box<dyn Ciphertext>,
}

/// The ciphertext of one blob, in order. Its methods may block; they are called on threads made
/// for that, one call at a time.
///
/// A key stream must never cover two contents: whoever implements this fails where the plaintext
/// is no longer what it was, and a blob that failed is started over under new secrets.
pub trait Ciphertext: fmt::Debug + Send {
    /// Fills `out` with the next bytes.
    ///
    /// # Errors
    /// [`ReadError`], also where fewer bytes are left.
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError>;

    /// Passes over bytes that are stored already.
    ///
    /// # Errors
    /// [`ReadError`], where that shows already.
    fn skip(&mut self, bytes: u64) -> Result<(), ReadError>;

    /// Whether all bytes read so far are what was announced. Where not, they stand in for what
    /// could not be read, and the upload cannot be gone on with by reading again.
    fn is_sound(&self) -> bool {
        true
    }

    /// Called after the last byte: checks that nothing follows and nothing changed.
    ///
    /// # Errors
    /// [`ReadError`] where it did.
    fn finish(&mut self) -> Result<(), ReadError>;
}

/// Content that cannot be read as announced.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened or read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It changed while it was being read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// More was asked for than was announced: a fault of the caller.
    #[error("content in memory is {length} bytes long, more was asked for")]
    Short {
        /// Its length in bytes.
        length: usize,
    },
}

/// Ciphertext that lies in memory already.
pub struct InMemory {
    bytes: Vec<u8>,
    offset: usize,
}

impl InMemory {
    /// `bytes` of ciphertext.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl Ciphertext for InMemory {
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        let end = self.offset.saturating_add(out.len());
        let next = self.bytes.get(self.offset..end);
        out.copy_from_slice(next.ok_or(ReadError::Short {
            length: self.bytes.len(),
        })?);
        self.offset = end;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.offset = self.offset.saturating_add(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        self.bytes = Vec::new();
        Ok(())
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory")
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
