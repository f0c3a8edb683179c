//! docs/spec/journal.md.

use model::crypto::sha256;
use model::formats::journal::{
    FRAME_BYTES, HEADER_BYTES, Journal, JournalKey, JournalRecord, SegmentPlace, SourceIdentity,
    read_header,
};
use model::formats::shape::Class;
use model::units::{AccountId, ShardId, UnixMs, UploadId, VolumeId};
use serde_json::Value;

use super::{array, bytes, list, secret};

const SEGMENT_BYTES: u64 = 2 * 1_966_080;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../docs/spec/vectors/journal.json")).unwrap()
}

fn key(vector: &Value) -> JournalKey {
    JournalKey::new(
        &secret(vector, "device_seed"),
        AccountId(array(vector, "account")),
        VolumeId(array(vector, "volume")),
        UploadId(array(vector, "upload")),
    )
}

fn read(vector: &Value) -> Journal {
    let (file, key) = (bytes(vector, "file"), key(vector));
    let mut rest = &file[HEADER_BYTES..];
    let mut journal: Option<Journal> = None;
    while let Some((length, after)) = rest.split_first_chunk::<FRAME_BYTES>() {
        let (sealed, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        match &mut journal {
            None => journal = Some(Journal::begin(key.clone(), sealed).unwrap()),
            Some(journal) => journal.push(sealed).unwrap(),
        }
        rest = after;
    }
    journal.unwrap()
}

const fn place(blob: u16, segment: u64) -> SegmentPlace {
    SegmentPlace { blob, segment }
}

fn ids() -> Vec<ShardId> {
    (0..3).map(|shard| ShardId(sha256(&[shard]))).collect()
}

#[test]
fn a_journal_reads_as_the_page_says() {
    let journal = read(&vectors());
    let start = journal.start();
    assert_eq!(start.expires, UnixMs(1_700_000_000_000));
    assert_eq!(start.payer.0, sha256(b"payer"));
    let class = Class::coded(2, 3).unwrap();
    assert_eq!((start.class_asked, start.class), (None, class));
    let [small, large] = &start.blobs[..] else {
        panic!("two blobs");
    };
    assert_eq!(small.blob.0, sha256(b"blob0")[..16]);
    assert_eq!(*large.secret.expose(), sha256(b"blob secret"));
    assert_eq!(small.parts[1].path, "/home/ann/ü".as_bytes());
    assert_eq!(*small.parts[0].secret.expose(), sha256(b"file secret"));
    assert_eq!(
        large.parts[0].source,
        SourceIdentity {
            size: SEGMENT_BYTES + 1,
            modified: (-7, 999_999_999),
            changed: (1_700_000_000, 5),
            mode: 0o640,
            inode: (66_306, (1 << 40) + 1),
        }
    );
    assert_eq!(journal.bytes(), (11 + SEGMENT_BYTES + 1, 1));
    for (place, is_stored) in [(place(0, 0), false), (place(1, 1), true)] {
        let segment = &journal.segments()[&place];
        assert_eq!((&segment.ids, segment.stored), (&ids(), is_stored));
        assert!(segment.receipts.is_empty(), "the bridge has them");
    }
}

#[test]
fn a_journal_is_written_as_the_page_says() {
    let vector = vectors();
    let (file, key) = (bytes(&vector, "file"), key(&vector));
    assert_eq!(read_header(&file[..HEADER_BYTES]), Ok(key.upload()));
    let (receipt, ids) = (Some(super::pattern(189)), ids());
    let known = |place| JournalRecord::Ids {
        place,
        ids: ids.clone(),
    };
    let written = [
        JournalRecord::Start(read(&vector).start().clone()),
        known(place(0, 0)),
        known(place(1, 1)),
        JournalRecord::Stored {
            place: place(1, 1),
            receipts: vec![receipt.clone(), None, receipt],
        },
        JournalRecord::HandedIn(vec![place(1, 1)]),
    ];
    assert_eq!(written.len(), list(&vector, "records").len());
    let frames = (0..)
        .zip(&written)
        .map(|(at, record)| key.frame(at, record));
    let frames: Vec<Vec<u8>> = frames.collect::<Result<_, _>>().unwrap();
    assert_eq!([key.header(), frames.concat()].concat(), file);
}
