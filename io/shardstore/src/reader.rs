//! Reading a shard by ranges, straight from its log.

use std::io;
use std::sync::Arc;

use erasure::hash_shard;
use model::units::{ShardId, UnixMs};

use crate::disk::File;
use crate::log::LogError;
use crate::record::{HEADER_LEN, Header, Location};

/// A shard that cannot be looked up or read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log that holds it cannot be opened.
    #[error("the shard's log cannot be opened")]
    Log(#[from] LogError),
    /// A header or the bytes cannot be read.
    #[error("cannot read shard bytes in log {} at {}", at.log, at.offset)]
    Read {
        /// Where the record starts.
        at: Location,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The range does not lie within the shard.
    #[error("{len} bytes from {start} do not lie within a shard of {shard_bytes}")]
    Range {
        /// First byte asked for.
        start: u32,
        /// Bytes asked for.
        len: usize,
        /// Bytes of the shard.
        shard_bytes: u32,
    },
}

/// A stored shard that is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("shard {id} cannot be read")]
    Read {
        /// The shard.
        id: ShardId,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Its bytes have changed.
    #[error("shard {id} has rotted: its bytes hash to {found}")]
    Rotten {
        /// The shard.
        id: ShardId,
        /// What its bytes are now.
        found: ShardId,
    },
}

/// One stored shard. Stays readable when the shard is deleted meanwhile, though its bytes may
/// then read as zeros: whoever uses them checks their hash.
#[derive(Clone, Debug)]
pub struct ShardReader {
    file: Arc<File>,
    at: Location,
    id: ShardId,
    shard_bytes: u32,
    created: UnixMs,
}

impl ShardReader {
    pub(crate) fn new(file: Arc<File>, at: Location, header: &Header) -> Self {
        let (id, shard_bytes, created) = (header.shard, header.shard_bytes, header.created);
        Self {
            file,
            at,
            id,
            shard_bytes,
            created,
        }
    }

    /// The shard.
    #[must_use]
    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn shard_bytes(&self) -> u32 {
        self.shard_bytes
    }

    /// When it was stored.
    #[must_use]
    pub const fn created(&self) -> UnixMs {
        self.created
    }

    /// Where its record lies.
    #[must_use]
    pub const fn location(&self) -> Location {
        self.at
    }

    /// Fills `out` from byte `start` of the shard on. Blocks; call it off the async threads.
    ///
    /// # Errors
    /// [`ReadError::Range`] beyond the shard's end, [`ReadError::Read`] where the disk fails.
    pub fn read_at(&self, start: u32, out: &mut [u8]) -> Result<(), ReadError> {
        let offset = self.offset_of(start, out.len())?;
        let read = self.file.read_exact_at(out, offset);
        read.map_err(|source| ReadError::Read {
            at: self.at,
            source,
        })
    }

    /// Fills `out` like [`Self::read_at`] where all of it is in the system's cache, and returns
    /// whether it was. Never waits for a disk, so it may be called on an async thread.
    ///
    /// # Errors
    /// [`ReadError::Range`] beyond the shard's end.
    pub fn read_cached(&self, start: u32, out: &mut [u8]) -> Result<bool, ReadError> {
        let (offset, wanted) = (self.offset_of(start, out.len())?, out.len());
        Ok(self.file.read_cached(out, offset) == Some(wanted))
    }

    /// Where byte `start` lies in the log, for a range of `len` bytes within the shard.
    fn offset_of(&self, start: u32, len: usize) -> Result<u64, ReadError> {
        let inside = u32::try_from(len)
            .ok()
            .and_then(|len| start.checked_add(len))
            .is_some_and(|end| end <= self.shard_bytes);
        if !inside {
            let shard_bytes = self.shard_bytes;
            return Err(ReadError::Range {
                start,
                len,
                shard_bytes,
            });
        }
        Ok(u64::from(self.at.offset) + u64::from(HEADER_LEN) + u64::from(start))
    }

    /// Reads the whole shard and checks it against its id. Blocks.
    ///
    /// # Errors
    /// [`VerifyError`] where the bytes cannot be read or are not those of the id.
    pub fn read_verified(&self) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = vec![0; self.shard_bytes as usize];
        let read = self.read_at(0, &mut bytes);
        read.map_err(|source| VerifyError::Read {
            id: self.id,
            source,
        })?;
        match hash_shard(&bytes) {
            found if found == self.id => Ok(bytes),
            found => Err(VerifyError::Rotten { id: self.id, found }),
        }
    }
}
