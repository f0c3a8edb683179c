//! The journal of an upload: what a device finds in its own home after a crash.

use model::codec::Reader;
use model::crypto::Secret;
use model::formats::journal::{
    FRAME_BYTES, Journal, JournalBlob, JournalKey, JournalPart, JournalRecord, JournalStart,
    SegmentPlace, SourceIdentity, read_header,
};
use model::formats::shape::Class;
use model::units::{AccountId, BlobId, PayerKey, ShardId, UnixMs, UploadId, VolumeId};
use model::wire::StoreReceipt;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "journal",
        run: journal,
        seeds: journal_seeds,
    },
    Decoder {
        name: "journal_header",
        run: header,
        seeds: header_seeds,
    },
];

fn key() -> JournalKey {
    JournalKey::new(
        &Secret::new([1; 32]),
        AccountId([2; 16]),
        VolumeId([3; 16]),
        UploadId([4; 16]),
    )
}

/// Plain records, each behind its length; whether all of them are a journal. They are sealed here,
/// each at its place.
fn journal(bytes: &[u8]) -> bool {
    let (key, mut input) = (key(), Reader::new(bytes));
    let mut read: Option<Journal> = None;
    for index in 0_u64.. {
        let Ok(plain) = input.prefixed("record", bytes.len()) else {
            break;
        };
        let Ok(record) = JournalRecord::decode(plain) else {
            return false;
        };
        let again = record.encode();
        assert_eq!(again.as_ref().map(|again| &again[..]), Ok(plain));
        let Ok(frame) = key.frame(index, &record) else {
            panic!("what was read is written");
        };
        let Some(sealed) = frame.get(FRAME_BYTES..) else {
            panic!("a frame begins with a length");
        };
        let taken = match &mut read {
            None => Journal::begin(key.clone(), sealed).map(|begun| read = Some(begun)),
            Some(journal) => journal.push(sealed),
        };
        if taken.is_err() {
            return false;
        }
    }
    read.is_some_and(|journal| {
        let (bytes, stored) = journal.bytes();
        assert!(stored <= bytes, "no more is stored than there is");
        input.finish().is_ok()
    })
}

fn journal_seeds() -> Vec<Vec<u8>> {
    let part = JournalPart {
        path: b"/a".to_vec(),
        source: SourceIdentity {
            size: 5_000_000,
            modified: (1, 2),
            changed: (3, 4),
            mode: 0o644,
            inode: (5, 6),
        },
        secret: Secret::new([7; 32]),
    };
    let start = JournalStart {
        expires: UnixMs(8),
        payer: PayerKey([9; 32]),
        class_asked: None,
        class: Class::Coded { k: 2, n: 3 },
        blobs: vec![JournalBlob {
            blob: BlobId([10; 16]),
            secret: Secret::new([11; 32]),
            parts: vec![part],
        }],
    };
    let place = SegmentPlace {
        blob: 0,
        segment: 1,
    };
    let records = [
        JournalRecord::Start(start),
        JournalRecord::Ids {
            place,
            ids: vec![ShardId([12; 32]); 3],
        },
        JournalRecord::Stored {
            place,
            receipts: vec![Some(vec![13; StoreReceipt::BYTES]), None, None],
        },
        JournalRecord::HandedIn(vec![place]),
    ];
    let mut whole = Vec::new();
    let mut seeds = Vec::new();
    for record in &records {
        let plain = record.encode().map(|plain| plain.to_vec());
        let plain = plain.unwrap_or_default();
        whole.extend(u32::try_from(plain.len()).unwrap_or(0).to_le_bytes());
        whole.extend(plain);
        seeds.push(whole.clone());
    }
    seeds
}

fn header(bytes: &[u8]) -> bool {
    let Ok(upload) = read_header(bytes) else {
        return false;
    };
    assert!(bytes.ends_with(&upload.0));
    true
}

fn header_seeds() -> Vec<Vec<u8>> {
    vec![key().header()]
}
