//! What the Bridge keeps about an upload until it is resolved: the row's body.
//!
//! ```text
//! bytes
//! 1   version, 1
//! 1   1 = open, 2 = erasing
//! open:    volume 16 · payer 32 · asked for a class 1 · k 2 · n 2 · created 8 · reserved bytes 8
//!          u32 blobs, each: id 16 · length 8 · owner tag 32
//!          u32 slots that had other Hosts, each: blob 2 · segment 8 · index 2 · u8 Hosts · 4 each
//! erasing: reason 1 · u32 blobs, each 16
//! ```

use std::collections::BTreeMap;

use metastore::HostAlias;
use model::codec::{DecodeError, Reader, Writer};
use model::formats::shape::{Class, Shape};
use model::units::{BlobId, OwnerTag, PayerKey, UnixMs, VolumeId};
use model::wire::control::DeleteReason;
use model::wire::limits::{BLOBS_PER_UPLOAD_MAX, PURGE_ITEMS_MAX};

const VERSION: u8 = 1;
const FORMAT: &str = "upload record";

/// Slots per upload that may have more than one Host in their history.
pub const MOVED_SLOTS_MAX: usize = 65_536;
/// Hosts that one slot may have had: the planned one and its replacements.
const HOSTS_PER_SLOT_MAX: usize = 16;

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadRecord {
    /// Planned, and waiting for receipts and the commit.
    Open(OpenUpload),
    /// Given up, or a list of blobs that are to go: their rows are gone, their places not yet.
    Erasing(Erasure),
}

/// A planned upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// The volume whose root will refer to it.
    pub volume: VolumeId,
    /// Who signs receipts for the transfers.
    pub payer: PayerKey,
    /// Whether the owner chose the class.
    pub class_asked: bool,
    /// The class of every blob in it.
    pub class: Class,
    /// When it was planned.
    pub created: UnixMs,
    /// Bytes counted against the quota until it is resolved.
    pub reserved_bytes: u64,
    /// Its blobs, in the order of the request.
    pub blobs: Vec<PlannedBlob>,
    /// Slots whose tickets went to other Hosts than the one in the group: all that ever had one.
    pub moved: BTreeMap<SlotKey, Vec<HostAlias>>,
}

/// A blob of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedBlob {
    /// Its id.
    pub blob: BlobId,
    /// Its length and class, which say how it is cut.
    pub shape: Shape,
    /// Who may read or delete its shards without a Bridge.
    pub owner_tag: OwnerTag,
}

/// A slot of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotKey {
    /// The blob's place in the upload.
    pub blob: u16,
    /// The segment.
    pub segment: u64,
    /// The shard's index in the segment.
    pub index: u16,
}

/// Blobs whose shards are to be deleted at their Hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Why.
    pub reason: DeleteReason,
    /// Which; the last one is worked on.
    pub blobs: Vec<BlobId>,
}

impl OpenUpload {
    /// The place of `blob` in the upload, and the blob.
    #[must_use]
    pub fn find(&self, blob: &BlobId) -> Option<(u16, &PlannedBlob)> {
        let at = self
            .blobs
            .iter()
            .position(|planned| planned.blob == *blob)?;
        Some((u16::try_from(at).ok()?, self.blobs.get(at)?))
    }

    /// Notes that `host` had a ticket for a slot. `false` where the history is full.
    #[must_use]
    pub fn note(&mut self, slot: SlotKey, host: HostAlias) -> bool {
        if self.moved.len() >= MOVED_SLOTS_MAX && !self.moved.contains_key(&slot) {
            return false;
        }
        let hosts = self.moved.entry(slot).or_default();
        if hosts.contains(&host) {
            return true;
        }
        if hosts.len() >= HOSTS_PER_SLOT_MAX {
            return false;
        }
        hosts.push(host);
        true
    }

    /// Bytes that all shards of all blobs take together.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.blobs
            .iter()
            .map(|planned| planned.shape.stored_bytes())
            .fold(0, u64::saturating_add)
    }
}

impl UploadRecord {
    /// The row's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION);
        match self {
            Self::Open(open) => encode_open(out.u8(1), open),
            Self::Erasing(erasure) => {
                out.u8(2)
                    .u8(reason_code(erasure.reason))
                    .u32(count(erasure.blobs.len()));
                for blob in &erasure.blobs {
                    out.bytes(&blob.0);
                }
            }
        }
        out.finish()
    }

    /// Reads a row's body.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(body);
        input.version(FORMAT, VERSION)?;
        let record = match input.u8("stage")? {
            1 => Self::Open(decode_open(&mut input)?),
            2 => Self::Erasing(decode_erasure(&mut input)?),
            _ => return Err(DecodeError::Invalid { field: "stage" }),
        };
        input.finish()?;
        Ok(record)
    }
}

fn encode_open(out: &mut Writer, open: &OpenUpload) {
    out.bytes(&open.volume.0)
        .bytes(&open.payer.0)
        .u8(u8::from(open.class_asked));
    out.u16(open.class.k())
        .u16(open.class.n())
        .u64(open.created.0)
        .u64(open.reserved_bytes);
    out.u32(count(open.blobs.len()));
    for planned in &open.blobs {
        out.bytes(&planned.blob.0)
            .u64(planned.shape.length())
            .bytes(&planned.owner_tag.0);
    }
    out.u32(count(open.moved.len()));
    for (slot, hosts) in &open.moved {
        out.u16(slot.blob).u64(slot.segment).u16(slot.index);
        out.u8(u8::try_from(hosts.len()).unwrap_or(u8::MAX));
        for host in hosts {
            out.u32(host.0);
        }
    }
}

fn decode_open(input: &mut Reader<'_>) -> Result<OpenUpload, DecodeError> {
    let (volume, payer) = (
        VolumeId(input.array("volume")?),
        PayerKey(input.array("payer")?),
    );
    let class_asked = input.u8("class asked")? != 0;
    let class = Class::of(input.u16("k")?, input.u16("n")?)
        .map_err(|_| DecodeError::Invalid { field: "class" })?;
    let (created, reserved_bytes) = (UnixMs(input.u64("created")?), input.u64("reserved")?);
    let blobs = (0..list_len(input, "blobs", BLOBS_PER_UPLOAD_MAX)?)
        .map(|_| decode_blob(input, class))
        .collect::<Result<_, _>>()?;
    let moved = (0..list_len(input, "moved slots", MOVED_SLOTS_MAX)?)
        .map(|_| decode_moved(input))
        .collect::<Result<_, _>>()?;
    Ok(OpenUpload {
        volume,
        payer,
        class_asked,
        class,
        created,
        reserved_bytes,
        blobs,
        moved,
    })
}

fn decode_blob(input: &mut Reader<'_>, class: Class) -> Result<PlannedBlob, DecodeError> {
    let blob = BlobId(input.array("blob")?);
    let shape = Shape::new(input.u64("length")?, class)
        .map_err(|_| DecodeError::Invalid { field: "length" })?;
    Ok(PlannedBlob {
        blob,
        shape,
        owner_tag: OwnerTag(input.array("owner tag")?),
    })
}

fn decode_moved(input: &mut Reader<'_>) -> Result<(SlotKey, Vec<HostAlias>), DecodeError> {
    let slot = SlotKey {
        blob: input.u16("blob")?,
        segment: input.u64("segment")?,
        index: input.u16("index")?,
    };
    let hosts = usize::from(input.u8("hosts")?);
    if hosts > HOSTS_PER_SLOT_MAX {
        let max = HOSTS_PER_SLOT_MAX;
        return Err(DecodeError::TooLong {
            field: "hosts",
            len: hosts,
            max,
        });
    }
    let hosts = (0..hosts)
        .map(|_| input.u32("host").map(HostAlias))
        .collect::<Result<_, _>>()?;
    Ok((slot, hosts))
}

fn decode_erasure(input: &mut Reader<'_>) -> Result<Erasure, DecodeError> {
    let reason = match input.u8("reason")? {
        1 => DeleteReason::NotCommitted,
        2 => DeleteReason::Retired,
        3 => DeleteReason::Purged,
        4 => DeleteReason::Replaced,
        _ => return Err(DecodeError::Invalid { field: "reason" }),
    };
    let blobs = (0..list_len(input, "blobs", PURGE_ITEMS_MAX)?)
        .map(|_| input.array("blob").map(BlobId))
        .collect::<Result<_, _>>()?;
    Ok(Erasure { reason, blobs })
}

const fn reason_code(reason: DeleteReason) -> u8 {
    match reason {
        DeleteReason::NotCommitted => 1,
        DeleteReason::Retired => 2,
        DeleteReason::Purged => 3,
        DeleteReason::Replaced => 4,
    }
}

/// Every list here has a maximum far below; one that is longer is refused when it is read.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn list_len(input: &mut Reader<'_>, field: &'static str, max: usize) -> Result<usize, DecodeError> {
    let len = input.u32(field)? as usize;
    if len > max {
        Err(DecodeError::TooLong { field, len, max })
    } else {
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> OpenUpload {
        let class = Class::coded(4, 8).unwrap();
        let blob = |id: u8, length| PlannedBlob {
            blob: BlobId([id; 16]),
            shape: Shape::new(length, class).unwrap(),
            owner_tag: OwnerTag([id; 32]),
        };
        OpenUpload {
            volume: VolumeId([1; 16]),
            payer: PayerKey([2; 32]),
            class_asked: true,
            class,
            created: UnixMs(77),
            reserved_bytes: 1_000,
            blobs: vec![blob(3, 1), blob(4, 100_000_000)],
            moved: BTreeMap::from([(
                SlotKey {
                    blob: 1,
                    segment: 9,
                    index: 7,
                },
                vec![HostAlias(5), HostAlias(6)],
            )]),
        }
    }

    #[test]
    fn records_survive_their_encoding_and_nothing_shorter_does() {
        let erasing = Erasure {
            reason: DeleteReason::Purged,
            blobs: vec![BlobId([1; 16]), BlobId([2; 16])],
        };
        for record in [UploadRecord::Open(open()), UploadRecord::Erasing(erasing)] {
            let body = record.encode();
            assert_eq!(UploadRecord::decode(&body).unwrap(), record);
            for len in 0..body.len() {
                assert!(UploadRecord::decode(&body[..len]).is_err(), "length {len}");
            }
        }
    }

    #[test]
    fn the_history_of_a_slot_names_each_host_once_and_is_bounded() {
        let mut open = open();
        let slot = SlotKey {
            blob: 0,
            segment: 0,
            index: 0,
        };
        assert!(open.note(slot, HostAlias(1)));
        assert!(open.note(slot, HostAlias(1)));
        assert_eq!(open.moved[&slot], [HostAlias(1)]);
        for host in 2..=16 {
            assert!(open.note(slot, HostAlias(host)));
        }
        assert!(!open.note(slot, HostAlias(17)));
    }
}
