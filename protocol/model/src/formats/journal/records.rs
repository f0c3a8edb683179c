//! The records of an upload journal, byte by byte.

use zeroize::Zeroizing;

use super::{PARTS_MAX, PATH_BYTES_MAX};
use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::Secret;
use crate::formats::shape::{Class, Shape};
use crate::units::{BlobId, PayerKey, SHARDS_PER_SEGMENT_MAX, ShardId, UnixMs};
use crate::wire::StoreReceipt;
use crate::wire::limits::{BLOBS_PER_UPLOAD_MAX, RECEIPT_SEGMENTS_PER_PAGE_MAX};

/// One thing that a journal remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalRecord {
    /// What is uploaded, and under which keys. The first record, and only that.
    Start(JournalStart),
    /// The shard ids of a segment of which nothing has left yet.
    Ids {
        /// Which segment.
        place: SegmentPlace,
        /// One per shard; one for all mirrors.
        ids: Vec<ShardId>,
    },
    /// A segment is stored well enough.
    Stored {
        /// Which segment.
        place: SegmentPlace,
        /// The Hosts' signed receipts, n in all; `None` where a shard found no Host.
        receipts: Vec<Option<Vec<u8>>>,
    },
    /// The Bridge has the receipts of these segments.
    HandedIn(Vec<SegmentPlace>),
}

/// A segment of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentPlace {
    /// The blob's place in the upload, from 0.
    pub blob: u16,
    /// The segment, from 0.
    pub segment: u64,
}

/// What an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalStart {
    /// When the Bridge forgets the upload.
    pub expires: UnixMs,
    /// The payer key of the request.
    pub payer: PayerKey,
    /// The class that the owner asked for.
    pub class_asked: Option<Class>,
    /// The class of every blob.
    pub class: Class,
    /// Its blobs, in order.
    pub blobs: Vec<JournalBlob>,
}

/// A blob of an upload: local files, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalBlob {
    /// Its id.
    pub blob: BlobId,
    /// Seals its manifest.
    pub secret: Secret,
    /// Its files, at least one, each of at least one byte.
    pub parts: Vec<JournalPart>,
}

/// A local file in a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalPart {
    /// Its absolute path, as the system spells it.
    pub path: Vec<u8>,
    /// What it was when it was found.
    pub source: SourceIdentity,
    /// Its key: its FileSecret.
    pub secret: Secret,
}

/// What tells one content of a local file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970 of the last change of content, and nanoseconds of it.
    pub modified: (i64, u32),
    /// Seconds since 1970 of the last change of content or attributes, and nanoseconds of it.
    pub changed: (i64, u32),
    /// Permission bits.
    pub mode: u32,
    /// Device and inode.
    pub inode: (u64, u64),
}

impl JournalBlob {
    /// Bytes of its ciphertext.
    #[must_use]
    pub fn length(&self) -> u64 {
        let sizes = self.parts.iter().map(|part| part.source.size);
        sizes.fold(0, u64::saturating_add)
    }
}

impl JournalRecord {
    /// The record in the clear, to be sealed; wiped when dropped.
    ///
    /// # Errors
    /// [`DecodeError`] where a list is longer than a reader would take.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        let mut out = Writer::default();
        match self {
            Self::Start(start) => encode_start(out.u8(1), start)?,
            Self::Ids { place, ids } => {
                encode_place(out.u8(2), place);
                count16(&mut out, "ids", ids.len(), SHARDS_PER_SEGMENT_MAX.into())?;
                ids.iter().for_each(|id| {
                    out.bytes(&id.0);
                });
            }
            Self::Stored { place, receipts } => {
                encode_place(out.u8(3), place);
                let max = SHARDS_PER_SEGMENT_MAX.into();
                count16(&mut out, "receipts", receipts.len(), max)?;
                for receipt in receipts {
                    encode_receipt(&mut out, receipt.as_deref())?;
                }
            }
            Self::HandedIn(places) => {
                let max = RECEIPT_SEGMENTS_PER_PAGE_MAX;
                count16(out.u8(4), "segments", places.len(), max)?;
                places
                    .iter()
                    .for_each(|place| encode_place(&mut out, place));
            }
        }
        Ok(Zeroizing::new(out.finish()))
    }

    /// Reads a record that was opened.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(plain: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(plain);
        let input_ref = &mut input;
        let record = match input_ref.u8("kind")? {
            1 => Self::Start(decode_start(input_ref)?),
            2 => Self::Ids {
                place: decode_place(input_ref)?,
                ids: list(input_ref, "ids", SHARDS_PER_SEGMENT_MAX.into(), |input| {
                    input.array("id").map(ShardId)
                })?,
            },
            3 => Self::Stored {
                place: decode_place(input_ref)?,
                receipts: list(
                    input_ref,
                    "receipts",
                    SHARDS_PER_SEGMENT_MAX.into(),
                    decode_receipt,
                )?,
            },
            4 => Self::HandedIn(list(
                input_ref,
                "segments",
                RECEIPT_SEGMENTS_PER_PAGE_MAX,
                decode_place,
            )?),
            _ => return Err(DecodeError::Invalid { field: "kind" }),
        };
        input.finish()?;
        Ok(record)
    }
}

fn encode_start(out: &mut Writer, start: &JournalStart) -> Result<(), DecodeError> {
    out.u64(start.expires.0).bytes(&start.payer.0);
    let asked = start
        .class_asked
        .map_or((0, 0), |class| (class.k(), class.n()));
    out.u16(asked.0).u16(asked.1);
    out.u16(start.class.k()).u16(start.class.n());
    count16(out, "blobs", start.blobs.len(), BLOBS_PER_UPLOAD_MAX)?;
    for blob in &start.blobs {
        out.bytes(&blob.blob.0).bytes(blob.secret.expose());
        count16(out, "parts", blob.parts.len(), PARTS_MAX)?;
        for part in &blob.parts {
            encode_part(out, part)?;
        }
    }
    Ok(())
}

fn decode_start(input: &mut Reader<'_>) -> Result<JournalStart, DecodeError> {
    let (expires, payer) = (
        UnixMs(input.u64("expires")?),
        PayerKey(input.array("payer")?),
    );
    let class_asked = match (input.u16("k asked")?, input.u16("n asked")?) {
        (0, 0) => None,
        (k, n) => Some(class(k, n)?),
    };
    let class = class(input.u16("k")?, input.u16("n")?)?;
    let blobs = list(input, "blobs", BLOBS_PER_UPLOAD_MAX, decode_blob)?;
    let parts: usize = blobs.iter().map(|blob| blob.parts.len()).sum();
    if parts > PARTS_MAX {
        let (field, len, max) = ("parts", parts, PARTS_MAX);
        return Err(DecodeError::TooLong { field, len, max });
    }
    let cut = |blob: &JournalBlob| Shape::new(blob.length(), class).is_ok();
    if blobs.is_empty() || !blobs.iter().all(cut) || class_asked.is_some_and(|asked| asked != class)
    {
        return Err(DecodeError::Invalid { field: "blobs" });
    }
    Ok(JournalStart {
        expires,
        payer,
        class_asked,
        class,
        blobs,
    })
}

fn class(k: u16, n: u16) -> Result<Class, DecodeError> {
    Class::of(k, n).map_err(|_| DecodeError::Invalid { field: "class" })
}

fn decode_blob(input: &mut Reader<'_>) -> Result<JournalBlob, DecodeError> {
    let (blob, secret) = (
        BlobId(input.array("blob")?),
        Secret::new(input.array("blob secret")?),
    );
    let parts = list(input, "parts", PARTS_MAX, decode_part)?;
    Ok(JournalBlob {
        blob,
        secret,
        parts,
    })
}

fn encode_part(out: &mut Writer, part: &JournalPart) -> Result<(), DecodeError> {
    let (field, len, max) = ("path", part.path.len(), PATH_BYTES_MAX);
    if len > max {
        return Err(DecodeError::TooLong { field, len, max });
    }
    let source = &part.source;
    out.prefixed(&part.path).u64(source.size);
    for (seconds, nanos) in [source.modified, source.changed] {
        out.bytes(&seconds.to_le_bytes()).u32(nanos);
    }
    out.u32(source.mode)
        .u64(source.inode.0)
        .u64(source.inode.1)
        .bytes(part.secret.expose());
    Ok(())
}

fn decode_part(input: &mut Reader<'_>) -> Result<JournalPart, DecodeError> {
    let path = input.prefixed("path", PATH_BYTES_MAX)?.to_vec();
    let size = input.u64("size")?;
    if size == 0 {
        return Err(DecodeError::Invalid { field: "size" });
    }
    let mut time = |field| {
        let seconds = i64::from_le_bytes(input.array(field)?);
        Ok::<_, DecodeError>((seconds, input.u32(field)?))
    };
    let (modified, changed) = (time("modified")?, time("changed")?);
    let source = SourceIdentity {
        size,
        modified,
        changed,
        mode: input.u32("mode")?,
        inode: (input.u64("device")?, input.u64("inode")?),
    };
    let secret = Secret::new(input.array("file secret")?);
    Ok(JournalPart {
        path,
        source,
        secret,
    })
}

fn encode_place(out: &mut Writer, place: &SegmentPlace) {
    out.u16(place.blob).u64(place.segment);
}

fn decode_place(input: &mut Reader<'_>) -> Result<SegmentPlace, DecodeError> {
    Ok(SegmentPlace {
        blob: input.u16("blob")?,
        segment: input.u64("segment")?,
    })
}

fn encode_receipt(out: &mut Writer, receipt: Option<&[u8]>) -> Result<(), DecodeError> {
    match receipt {
        None => out.u8(0),
        Some(signed) if signed.len() == StoreReceipt::BYTES => out.u8(1).bytes(signed),
        Some(_) => return Err(DecodeError::Invalid { field: "receipt" }),
    };
    Ok(())
}

fn decode_receipt(input: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    match input.u8("receipt")? {
        0 => Ok(None),
        1 => Ok(Some(input.take("receipt", StoreReceipt::BYTES)?.to_vec())),
        _ => Err(DecodeError::Invalid { field: "receipt" }),
    }
}

/// Writes the number of entries of a list that has at most `max`.
fn count16(
    out: &mut Writer,
    field: &'static str,
    len: usize,
    max: usize,
) -> Result<(), DecodeError> {
    match u16::try_from(len) {
        Ok(count) if len <= max => {
            out.u16(count);
            Ok(())
        }
        _ => Err(DecodeError::TooLong { field, len, max }),
    }
}

fn list<T>(
    input: &mut Reader<'_>,
    field: &'static str,
    max: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = usize::from(input.u16(field)?);
    if len > max {
        return Err(DecodeError::TooLong { field, len, max });
    }
    (0..len).map(|_| read(input)).collect()
}
