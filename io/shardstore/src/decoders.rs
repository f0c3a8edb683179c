//! The decoders of what lies on disk, for the fuzzer. Bytes are summed here as the store would:
//! a checksum keeps accidents out, and a stolen disk's writer knows the salt.

use model::units::{BridgeId, OwnerTag, Serial, ShardId, UnixMs};
use sha2::{Digest as _, Sha256};

use crate::index::Index;
use crate::record::{Header, Held, Kind, Location, Salt, checksum};
use crate::{checkpoint, record, scrub};

const SALT: Salt = [5; 16];
const AT: Location = Location {
    log: 3,
    offset: 4_096,
};

/// A record's header at a place.
#[must_use]
pub fn record(bytes: &[u8]) -> bool {
    let summed = [bytes, &checksum(&SALT, AT, bytes)].concat();
    let Some(header) = Header::decode(&SALT, AT, &summed) else {
        return false;
    };
    let again = Header::decode(&SALT, AT, &header.encode(&SALT, AT));
    assert_eq!(again, Some(header), "what was read is written");
    let mut index = Index::new(SALT);
    index.apply(&header, AT);
    true
}

/// Headers of every kind.
#[must_use]
pub fn record_seeds() -> Vec<Vec<u8>> {
    let checked = |header: Header| {
        let mut bytes = header.encode(&SALT, AT);
        bytes.truncate(record::CHECKED_BYTES);
        bytes
    };
    headers().into_iter().map(checked).collect()
}

fn headers() -> Vec<Header> {
    let bytes_at = Location { log: 1, offset: 64 };
    let target = Location {
        log: 2,
        offset: 128,
    };
    let kinds = [
        Kind::Put { replaces: None },
        Kind::Put {
            replaces: Some(Held { target, bytes_at }),
        },
        Kind::Reference {
            bytes_at,
            replaces: Some(target),
        },
        Kind::Tombstone { target, bytes_at },
        Kind::Void,
    ];
    let header = |kind| Header {
        kind,
        bridge: BridgeId([1; 32]),
        serial: Serial([2; 16]),
        shard: ShardId([3; 32]),
        owner: OwnerTag([4; 32]),
        shard_bytes: 128,
        created: UnixMs(5),
    };
    kinds.map(header).to_vec()
}

/// An index that was written out.
#[must_use]
pub fn checkpoint(bytes: &[u8]) -> bool {
    let summed = summed(bytes);
    let Some((index, end)) = checkpoint::read_from(&summed[..], summed.len() as u64, &SALT) else {
        return false;
    };
    let again = written(&index, end);
    let again = checkpoint::read_from(&again[..], again.len() as u64, &SALT);
    assert!(again == Some((index, end)), "what was read is written");
    true
}

/// An empty index and one of a few records.
#[must_use]
pub fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let mut full = Index::new(SALT);
    let places = (1..).map(|n| Location {
        log: n,
        offset: 64 * n,
    });
    for (header, at) in headers().iter().zip(places) {
        full.apply(header, at);
    }
    let indices = [Index::new(SALT), full];
    indices
        .map(|index| without_sum(written(&index, AT)))
        .to_vec()
}

fn written(index: &Index, end: Location) -> Vec<u8> {
    let mut bytes = Vec::new();
    let done = checkpoint::write_to(&mut bytes, &SALT, index, end);
    assert!(done.is_ok(), "memory takes everything");
    bytes
}

/// How far a scrub has come.
#[must_use]
pub fn scrub(bytes: &[u8]) -> bool {
    scrub::read_and_write(&summed(bytes), &SALT)
}

/// A scrub under way.
#[must_use]
pub fn scrub_seeds() -> Vec<Vec<u8>> {
    vec![without_sum(scrub::example(&SALT))]
}

fn summed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &Sha256::digest(bytes)].concat()
}

fn without_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(32));
    bytes
}
