//! The 192-byte header of a record, and its checksum, which outsiders cannot forge.
//!
//! The checksum covers the store's random salt and the place of the header. Shard bytes are
//! chosen by strangers; because none of them knows the salt, nothing inside a shard can pass for
//! a header when recovery searches for the next record behind a damaged one.

use model::codec::{Reader, Writer};
use model::units::{BridgeId, OwnerTag, Serial, ShardId, ShardSize, UnixMs};
use sha2::{Digest, Sha256};

use crate::store::RecordKey;

/// Bytes of a record before its shard bytes.
pub const RECORD_HEADER_BYTES: usize = 192;
/// The same, for offsets.
pub(crate) const HEADER_LEN: u32 = 192;
/// Every record starts at a multiple of this.
pub(crate) const RECORD_ALIGN: u32 = 64;
/// Random bytes of a store that enter every checksum and every index hash.
pub(crate) type Salt = [u8; 16];

const MAGIC: [u8; 4] = *b"XCSR";
const VERSION: u8 = 1;
/// Bytes of a header before its checksum.
pub(crate) const CHECKED_BYTES: usize = 176;
const RESERVED_BYTES: usize = 24;
/// Logs are numbered from 1.
const NOWHERE: Location = Location { log: 0, offset: 0 };

/// Where a record starts: a log and a byte offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the log.
    pub log: u32,
    /// Offset of the record's header in bytes.
    pub offset: u32,
}

/// A record that holds a shard, and where that shard's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) target: Location,
    pub(crate) bytes_at: Location,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The shard's bytes follow the header; the record of the same key that it `replaces` is gone.
    Put { replaces: Option<Held> },
    /// The shard's bytes already lie behind the header at `bytes_at`; the record of the same key
    /// and bytes at `replaces` is gone.
    Reference {
        bytes_at: Location,
        replaces: Option<Location>,
    },
    /// The record at `target` is gone; its bytes lie at `bytes_at`.
    Tombstone {
        target: Location,
        bytes_at: Location,
    },
    /// A damaged record, blanked out by recovery; its bytes follow.
    Void,
}

/// One record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) bridge: BridgeId,
    pub(crate) serial: Serial,
    pub(crate) shard: ShardId,
    pub(crate) owner: OwnerTag,
    /// Bytes of the shard, whether or not they follow.
    pub(crate) shard_bytes: u32,
    pub(crate) created: UnixMs,
}

impl Header {
    /// Bytes that follow the header.
    pub(crate) const fn body_len(&self) -> u32 {
        match self.kind {
            Kind::Put { .. } | Kind::Void => self.shard_bytes,
            Kind::Reference { .. } | Kind::Tombstone { .. } => 0,
        }
    }

    pub(crate) const fn key(&self) -> RecordKey {
        RecordKey {
            bridge: self.bridge,
            serial: self.serial,
        }
    }

    /// Bytes that the record counts for, whether or not its bytes are shared.
    pub(crate) const fn charge(&self) -> u64 {
        HEADER_LEN as u64 + self.shard_bytes as u64
    }

    /// The record at `at`, which has this header, and where its bytes lie.
    pub(crate) const fn held(&self, at: Location) -> Held {
        let bytes_at = match self.kind {
            Kind::Reference { bytes_at, .. } => bytes_at,
            Kind::Put { .. } | Kind::Tombstone { .. } | Kind::Void => at,
        };
        Held {
            target: at,
            bytes_at,
        }
    }

    /// The record that is gone since this header was written.
    pub(crate) const fn ends(&self) -> Option<Held> {
        match self.kind {
            Kind::Put { replaces } => replaces,
            Kind::Reference {
                bytes_at,
                replaces: Some(target),
            }
            | Kind::Tombstone { target, bytes_at } => Some(Held { target, bytes_at }),
            Kind::Reference { replaces: None, .. } | Kind::Void => None,
        }
    }

    /// The same record once it is written anew and the one at `at` is gone.
    pub(crate) const fn moved_from(self, at: Location) -> Self {
        let kind = match self.kind {
            Kind::Put { .. } => Kind::Put {
                replaces: Some(Held {
                    target: at,
                    bytes_at: at,
                }),
            },
            Kind::Reference { bytes_at, .. } => Kind::Reference {
                bytes_at,
                replaces: Some(at),
            },
            kind @ (Kind::Tombstone { .. } | Kind::Void) => kind,
        };
        Self { kind, ..self }
    }

    /// Bytes of the whole record.
    pub(crate) const fn record_len(&self) -> u32 {
        HEADER_LEN + self.body_len()
    }

    /// Encodes the header for its place `at` (`docs/spec/shardstore.md`, "Record").
    pub(crate) fn encode(&self, salt: &Salt, at: Location) -> Vec<u8> {
        let (kind, target, bytes_at) = self.kind.fields();
        let mut out = Writer::with_capacity(RECORD_HEADER_BYTES);
        out.bytes(&MAGIC).u8(VERSION).u8(kind).u16(0);
        out.u32(self.body_len()).u32(self.shard_bytes);
        out.bytes(&self.bridge.0).bytes(&self.serial.0);
        out.bytes(&self.shard.0)
            .bytes(&self.owner.0)
            .u64(self.created.0);
        out.u32(target.log)
            .u32(target.offset)
            .u32(bytes_at.log)
            .u32(bytes_at.offset);
        out.bytes(&[0; RESERVED_BYTES]);
        let mut bytes = out.finish();
        let sum = checksum(salt, at, &bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// Decodes a header found at `at`; `None` for anything that this store did not write there.
    pub(crate) fn decode(salt: &Salt, at: Location, bytes: &[u8]) -> Option<Self> {
        let (checked, sum) = bytes.get(..RECORD_HEADER_BYTES)?.split_at(CHECKED_BYTES);
        if !checked.starts_with(&MAGIC) || checksum(salt, at, checked) != sum {
            return None;
        }
        parse(checked).filter(|header| ShardSize::new(header.shard_bytes).is_ok())
    }
}

impl Kind {
    /// A shard that is new here.
    #[cfg(test)]
    pub(crate) const PUT: Self = Self::Put { replaces: None };

    const fn fields(self) -> (u8, Location, Location) {
        match self {
            Self::Put { replaces: None } => (1, NOWHERE, NOWHERE),
            Self::Put {
                replaces: Some(Held { target, bytes_at }),
            } => (1, target, bytes_at),
            Self::Reference {
                bytes_at,
                replaces: None,
            } => (2, NOWHERE, bytes_at),
            Self::Reference {
                bytes_at,
                replaces: Some(target),
            } => (2, target, bytes_at),
            Self::Tombstone { target, bytes_at } => (3, target, bytes_at),
            Self::Void => (4, NOWHERE, NOWHERE),
        }
    }

    fn of(kind: u8, target: Location, bytes_at: Location) -> Option<Self> {
        let replaces = Some(target).filter(|target| *target != NOWHERE);
        match kind {
            1 => Some(Self::Put {
                replaces: replaces.map(|target| Held { target, bytes_at }),
            }),
            2 => Some(Self::Reference { bytes_at, replaces }),
            3 => Some(Self::Tombstone { target, bytes_at }),
            4 => Some(Self::Void),
            _ => None,
        }
    }
}

fn parse(checked: &[u8]) -> Option<Header> {
    let mut input = Reader::new(checked);
    input.take("magic", MAGIC.len()).ok()?;
    input.version("record", VERSION).ok()?;
    let kind = input.u8("kind").ok()?;
    input.u16("reserved").ok()?;
    let body_len = input.u32("body length").ok()?;
    let shard_bytes = input.u32("shard bytes").ok()?;
    let bridge = BridgeId(input.array("bridge").ok()?);
    let serial = Serial(input.array("serial").ok()?);
    let shard = ShardId(input.array("shard").ok()?);
    let owner = OwnerTag(input.array("owner").ok()?);
    let created = UnixMs(input.u64("created").ok()?);
    let (target, bytes_at) = (location(&mut input)?, location(&mut input)?);
    let kind = Kind::of(kind, target, bytes_at)?;
    let header = Header {
        kind,
        bridge,
        serial,
        shard,
        owner,
        shard_bytes,
        created,
    };
    (header.body_len() == body_len).then_some(header)
}

/// A place as records and other files of a store write it.
pub(crate) fn location(input: &mut Reader<'_>) -> Option<Location> {
    Some(Location {
        log: input.u32("log").ok()?,
        offset: input.u32("offset").ok()?,
    })
}

pub(crate) fn checksum(salt: &Salt, at: Location, checked: &[u8]) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update(at.log.to_le_bytes())
        .chain_update(at.offset.to_le_bytes())
        .chain_update(checked)
        .finalize();
    let mut sum = [0; 16];
    sum.copy_from_slice(&digest[..16]);
    sum
}

#[cfg(test)]
mod tests {
    use model::units::SHARD_BYTES_MAX;

    use super::*;

    const AT: Location = Location {
        log: 3,
        offset: 640,
    };

    fn header(kind: Kind) -> Header {
        Header {
            kind,
            bridge: BridgeId([1; 32]),
            serial: Serial([2; 16]),
            shard: ShardId([3; 32]),
            owner: OwnerTag([4; 32]),
            shard_bytes: 128,
            created: UnixMs(5),
        }
    }

    #[test]
    fn every_kind_survives_encoding() {
        let other = Location { log: 9, offset: 8 };
        for kind in [
            Kind::PUT,
            Kind::Put {
                replaces: Some(Held {
                    target: AT,
                    bytes_at: other,
                }),
            },
            Kind::Reference {
                bytes_at: other,
                replaces: None,
            },
            Kind::Reference {
                bytes_at: other,
                replaces: Some(AT),
            },
            Kind::Tombstone {
                target: AT,
                bytes_at: other,
            },
            Kind::Void,
        ] {
            let bytes = header(kind).encode(&[7; 16], AT);
            assert_eq!(bytes.len(), RECORD_HEADER_BYTES);
            assert_eq!(Header::decode(&[7; 16], AT, &bytes), Some(header(kind)));
        }
    }

    #[test]
    fn a_header_holds_at_its_place_in_its_store_and_unbent() {
        let bytes = header(Kind::PUT).encode(&[7; 16], AT);
        let elsewhere = Location {
            log: 3,
            offset: 704,
        };
        assert_eq!(Header::decode(&[7; 16], elsewhere, &bytes), None);
        assert_eq!(Header::decode(&[8; 16], AT, &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&[7; 16], AT, &bent), None, "bit {bit}");
        }
    }

    #[test]
    fn a_length_above_the_largest_shard_is_no_header() {
        let huge = Header {
            shard_bytes: SHARD_BYTES_MAX + 64,
            ..header(Kind::PUT)
        };
        assert_eq!(
            Header::decode(&[7; 16], AT, &huge.encode(&[7; 16], AT)),
            None
        );
    }
}
