//! The upload journal: what a device remembers of an upload, so that an interrupted one goes on.
//!
//! It exists for one promise: a key stream never covers two contents. The ids of a segment's
//! shards are in the journal, durably, before the first byte of them leaves; whoever goes on
//! encodes again and must get the same ids, or starts over under new secrets.
//!
//! Nothing here touches a disk: records come in and go out as sealed bytes. The byte tables are in
//! `docs/spec/journal.md`.

mod records;
mod replay;

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{self, Secret};
use crate::units::{AccountId, UploadId, VolumeId};

pub use records::{
    JournalBlob, JournalPart, JournalRecord, JournalStart, SegmentPlace, SourceIdentity,
};
pub use replay::{Journal, JournalError, JournalSegment};

/// Largest sealed record.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Most files in an upload that has a journal.
pub const PARTS_MAX: usize = 4_096;
/// Longest path of a file.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 21;
/// Bytes before each sealed record: its length.
pub const FRAME_BYTES: usize = 4;

const MAGIC: &[u8; 4] = b"XCUJ";
const VERSION: u8 = 1;
const CONTEXT: &[u8; 8] = b"ujournal";

/// Seals and opens the records of one journal, which a device key, an account, a volume and the
/// upload's id bind it to.
#[derive(Clone, Debug)]
pub struct JournalKey {
    key: Secret,
    account: AccountId,
    volume: VolumeId,
    upload: UploadId,
}

impl JournalKey {
    /// The key of the journal of `upload`, under the seed of a device key.
    #[must_use]
    pub fn new(device: &Secret, account: AccountId, volume: VolumeId, upload: UploadId) -> Self {
        Self {
            key: device.expand("journal", b""),
            account,
            volume,
            upload,
        }
    }

    /// The upload it is of.
    #[must_use]
    pub const fn upload(&self) -> UploadId {
        self.upload
    }

    /// The volume it is of.
    #[must_use]
    pub const fn volume(&self) -> VolumeId {
        self.volume
    }

    /// What a journal begins with.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(HEADER_BYTES);
        out.bytes(MAGIC).u8(VERSION).bytes(&self.upload.0);
        out.finish()
    }

    /// Record number `index`, sealed, with its length before it.
    ///
    /// # Errors
    /// [`DecodeError`] where a list or the whole is longer than a reader would take.
    pub fn frame(&self, index: u64, record: &JournalRecord) -> Result<Vec<u8>, DecodeError> {
        let plain = record.encode()?;
        let sealed = crypto::seal(&self.key, &self.context(index), &plain);
        let (field, len, max) = ("record", sealed.len(), RECORD_BYTES_MAX);
        if len > max {
            return Err(DecodeError::TooLong { field, len, max });
        }
        let mut out = Writer::with_capacity(FRAME_BYTES + len);
        out.prefixed(&sealed);
        Ok(out.finish())
    }

    /// Opens record number `index`.
    fn open(&self, index: u64, sealed: &[u8]) -> Result<JournalRecord, JournalError> {
        let plain = crypto::open(&self.key, &self.context(index), sealed)
            .map_err(|source| JournalError::Open { index, source })?;
        let plain = zeroize::Zeroizing::new(plain);
        JournalRecord::decode(&plain).map_err(|source| JournalError::Record { index, source })
    }

    fn context(&self, index: u64) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        out.bytes(CONTEXT)
            .bytes(&self.account.0)
            .bytes(&self.volume.0)
            .bytes(&self.upload.0)
            .u64(index);
        out.finish()
    }
}

/// Reads what a journal begins with: whose upload it is.
///
/// # Errors
/// [`DecodeError`].
pub fn read_header(header: &[u8]) -> Result<UploadId, DecodeError> {
    let mut input = Reader::new(header);
    if &input.array::<4>("magic")? != MAGIC {
        return Err(DecodeError::Invalid { field: "magic" });
    }
    input.version("upload journal", VERSION)?;
    let upload = UploadId(input.array("upload")?);
    input.finish()?;
    Ok(upload)
}

#[cfg(test)]
mod tests;
