use proptest::prelude::*;

use super::*;
use crate::formats::shape::Class;
use crate::units::{BlobId, PayerKey, ShardId, UnixMs};
use crate::wire::StoreReceipt;

const SEGMENT: u64 = 4 * 1_966_080;

fn key(device: u8, upload: u8) -> JournalKey {
    JournalKey::new(
        &Secret::new([device; 32]),
        AccountId([2; 16]),
        VolumeId([3; 16]),
        UploadId([upload; 16]),
    )
}

fn start() -> JournalStart {
    let part = |name: &str, size| JournalPart {
        path: format!("/home/ann/{name}").into_bytes(),
        source: SourceIdentity {
            size,
            modified: (-1, 999_999_999),
            changed: (1_700_000_000, 5),
            mode: 0o640,
            inode: (66_306, 1 << 40),
        },
        secret: Secret::new([7; 32]),
    };
    let blob = |id, parts| JournalBlob {
        blob: BlobId([id; 16]),
        secret: Secret::new([8; 32]),
        parts,
    };
    JournalStart {
        expires: UnixMs(86_400_000),
        payer: PayerKey([9; 32]),
        class_asked: Class::coded(4, 8).ok(),
        class: Class::coded(4, 8).unwrap(),
        blobs: vec![
            blob(1, vec![part("a", 5), part("b", 6)]),
            blob(2, vec![part("film", 3 * SEGMENT)]),
        ],
    }
}

const fn place(blob: u16, segment: u64) -> SegmentPlace {
    SegmentPlace { blob, segment }
}

fn ids(blob: u16, segment: u64) -> JournalRecord {
    let ids = (1..=8).map(|shard| ShardId([shard; 32])).collect();
    JournalRecord::Ids {
        place: place(blob, segment),
        ids,
    }
}

fn stored(blob: u16, segment: u64) -> JournalRecord {
    let mut receipts = vec![Some(vec![5; StoreReceipt::BYTES]); 8];
    receipts[3] = None;
    JournalRecord::Stored {
        place: place(blob, segment),
        receipts,
    }
}

/// The sealed bytes of a record, without the length before them.
fn sealed(key: &JournalKey, index: u64, record: &JournalRecord) -> Vec<u8> {
    key.frame(index, record).unwrap().split_off(FRAME_BYTES)
}

fn replay(records: &[JournalRecord]) -> Result<Journal, JournalError> {
    let key = key(1, 4);
    let mut journal = Journal::begin(key.clone(), &sealed(&key, 0, &records[0]))?;
    for (index, record) in (1..).zip(&records[1..]) {
        journal.push(&sealed(&key, index, record))?;
    }
    Ok(journal)
}

#[test]
fn a_journal_tells_what_is_stored_and_what_the_bridge_has() {
    let records = [
        JournalRecord::Start(start()),
        ids(0, 0),
        ids(1, 1),
        ids(1, 0),
        stored(1, 1),
        stored(0, 0),
        JournalRecord::HandedIn(vec![place(1, 1)]),
    ];

    let journal = replay(&records).unwrap();

    assert_eq!(*journal.start(), start());
    assert_eq!(journal.records(), 7);
    assert_eq!(journal.bytes(), (11 + 3 * SEGMENT, 11 + SEGMENT));
    let segments = journal.into_segments();
    let known = |blob, segment| {
        let known = &segments[&place(blob, segment)];
        (known.stored, known.receipts.len())
    };
    assert_eq!(
        (known(0, 0), known(1, 0), known(1, 1)),
        ((true, 8), (false, 0), (true, 0))
    );
    assert!(!segments.contains_key(&place(1, 2)));
}

#[test]
fn records_that_do_not_follow_are_refused() {
    let begin = JournalRecord::Start(start());
    let two = |second: JournalRecord| replay(&[begin.clone(), second]).unwrap_err();
    let mut short = ids(1, 0);
    if let JournalRecord::Ids { ids, .. } = &mut short {
        ids.pop();
    }
    for second in [
        begin.clone(),
        ids(2, 0),
        ids(1, 3),
        short,
        stored(1, 0),
        JournalRecord::HandedIn(vec![place(1, 0)]),
    ] {
        assert_eq!(two(second), JournalError::Order { index: 1 });
    }
    let twice = replay(&[begin.clone(), ids(1, 0), ids(1, 0)]).unwrap_err();
    assert_eq!(
        twice,
        JournalError::Order { index: 2 },
        "ids are never replaced"
    );
    assert_eq!(
        replay(&[ids(1, 0)]).unwrap_err(),
        JournalError::Order { index: 0 }
    );
}

#[test]
fn a_record_opens_only_at_its_place_in_its_journal() {
    let (mine, record) = (key(1, 4), JournalRecord::Start(start()));
    let bytes = sealed(&mine, 0, &record);
    assert!(Journal::begin(mine.clone(), &bytes).is_ok());
    for other in [key(2, 4), key(1, 5)] {
        let error = Journal::begin(other, &bytes).unwrap_err();
        assert!(matches!(error, JournalError::Open { index: 0, .. }));
    }
    let elsewhere = sealed(&mine, 1, &record);
    assert!(Journal::begin(mine.clone(), &elsewhere).is_err());
    assert!(
        Journal::begin(mine, &bytes)
            .unwrap()
            .opens_ahead(0, &elsewhere)
    );
}

#[test]
fn no_secret_and_no_name_is_readable() {
    let bytes = key(1, 4).frame(0, &JournalRecord::Start(start())).unwrap();
    for hidden in [&[7; 32][..], &[8; 32], &[9; 32], b"film", b"ann"] {
        assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
    }
}

#[test]
fn the_header_names_the_upload_and_the_version() {
    let header = key(1, 4).header();
    assert_eq!(header.len(), HEADER_BYTES);
    assert_eq!(read_header(&header), Ok(UploadId([4; 16])));
    for at in 0..5 {
        let mut bent = header.clone();
        bent[at] ^= 0x40;
        assert!(read_header(&bent).is_err(), "byte {at}");
    }
}

#[test]
fn lists_above_their_limit_are_neither_written_nor_read() {
    let mut long = start();
    long.blobs[0].parts[0].path = vec![b'x'; PATH_BYTES_MAX + 1];
    assert!(key(1, 4).frame(0, &JournalRecord::Start(long)).is_err());
    let mut many = start();
    let part = many.blobs[0].parts[0].clone();
    many.blobs[0].parts = vec![part; PARTS_MAX];
    // Each list is within its limit, both together are not.
    let plain = JournalRecord::Start(many).encode().unwrap();
    assert!(matches!(
        JournalRecord::decode(&plain),
        Err(DecodeError::TooLong { field: "parts", .. })
    ));
    let huge = JournalRecord::HandedIn(vec![place(0, 0); 257]);
    assert!(huge.encode().is_err());
}

fn records() -> impl Strategy<Value = JournalRecord> {
    let places = (any::<u16>(), any::<u64>()).prop_map(|(blob, segment)| place(blob, segment));
    let receipt = proptest::option::of(any::<u8>().prop_map(|b| vec![b; StoreReceipt::BYTES]));
    prop_oneof![
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(expires, payer)| {
            JournalRecord::Start(JournalStart {
                expires: UnixMs(expires),
                payer: PayerKey(payer),
                ..start()
            })
        }),
        (
            places.clone(),
            proptest::collection::vec(any::<[u8; 32]>(), 0..64)
        )
            .prop_map(|(place, ids)| JournalRecord::Ids {
                place,
                ids: ids.into_iter().map(ShardId).collect()
            }),
        (places.clone(), proptest::collection::vec(receipt, 0..64))
            .prop_map(|(place, receipts)| JournalRecord::Stored { place, receipts }),
        proptest::collection::vec(places, 0..256).prop_map(JournalRecord::HandedIn),
    ]
}

proptest! {
    #[test]
    fn records_survive_their_encoding_and_nothing_shorter_or_longer_does(record in records()) {
        let plain = record.encode().unwrap();
        prop_assert_eq!(&JournalRecord::decode(&plain).unwrap(), &record);
        let cut = plain.len() - 1;
        prop_assert!(JournalRecord::decode(&plain[..cut]).is_err());
        let longer = [&plain[..], &[0]].concat();
        prop_assert!(JournalRecord::decode(&longer).is_err());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(record) = JournalRecord::decode(&bytes) {
            prop_assert_eq!(&record.encode().unwrap()[..], &bytes[..]);
        }
    }
}
