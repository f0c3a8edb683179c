use std::os::unix::fs::FileExt as _;

use model::formats::journal::{JournalBlob, JournalPart, SourceIdentity};
use model::formats::shape::Class;
use model::units::{BlobId, PayerKey, ShardId, UnixMs};

use super::*;
use crate::upload::{LogPosition, SegmentLog as _};

const UPLOAD: UploadId = UploadId([5; 16]);
const BLOB: BlobId = BlobId([6; 16]);

fn journals(folder: &Path) -> Journals {
    let (account, volume) = (AccountId([1; 16]), VolumeId([2; 16]));
    Journals::new(folder.to_owned(), Secret::new([3; 32]), account, volume)
}

fn start() -> JournalStart {
    let part = JournalPart {
        path: b"/canary/of/a/name".to_vec(),
        source: SourceIdentity {
            size: 40_000_000,
            modified: (1, 2),
            changed: (3, 4),
            mode: 0o644,
            inode: (5, 6),
        },
        secret: Secret::new(*b"canary of a file secret, 32 long"),
    };
    JournalStart {
        expires: UnixMs(9),
        payer: PayerKey([7; 32]),
        class_asked: None,
        class: Class::mirrors(3).unwrap(),
        blobs: vec![JournalBlob {
            blob: BLOB,
            secret: Secret::new(*b"canary of a blob secret, 32 long"),
            parts: vec![part],
        }],
    }
}

fn id(byte: u8) -> Vec<ShardId> {
    vec![ShardId([byte; 32])]
}

/// A journal with the ids of three segments, one of them stored.
async fn written(folder: &Path) {
    let file = journals(folder).begin(UPLOAD, &start()).unwrap();
    let mut last = LogPosition::default();
    for segment in 0..3 {
        last = file.ids((BLOB, segment), &id(1)).unwrap();
    }
    file.durable(last).await.unwrap();
    file.stored((BLOB, 1), vec![None; 3]).unwrap();
}

fn only(left: Vec<Left>) -> LeftJournal {
    assert_eq!(left.len(), 1);
    match left.into_iter().next() {
        Some(Left::Journal(journal)) => journal,
        other => panic!("{other:?}"),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(format!("{UPLOAD}.journal"))
}

#[tokio::test]
async fn what_was_written_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;

    let (journal, file) = only(journals(folder.path()).left().unwrap())
        .resume()
        .unwrap();
    assert_eq!(*journal.start(), start());
    let stored: Vec<bool> = journal.segments().values().map(|s| s.stored).collect();
    assert_eq!(stored, [false, true, false]);
    file.stored((BLOB, 0), vec![None; 3]).unwrap();
    file.handed_in(&[(BLOB, 0)]).unwrap();
    drop(file);

    let (journal, _) = only(journals(folder.path()).left().unwrap())
        .resume()
        .unwrap();
    let segments: Vec<(bool, usize)> = journal
        .segments()
        .values()
        .map(|segment| (segment.stored, segment.receipts.len()))
        .collect();
    assert_eq!(segments, [(true, 0), (true, 3), (false, 0)]);
}

#[tokio::test]
async fn a_journal_in_use_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let file = journals(folder.path()).begin(UPLOAD, &start()).unwrap();
    assert!(journals(folder.path()).left().unwrap().is_empty());
    assert!(journals(folder.path()).begin(UPLOAD, &start()).is_err());
    drop(file);
    let held = journals(folder.path()).left().unwrap();
    assert!(journals(folder.path()).left().unwrap().is_empty());
    only(held).remove();
    assert!(journals(folder.path()).left().unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;
    let whole = fs::read(path(folder.path())).unwrap();
    let mut seen = Vec::new();
    for length in 0..whole.len() {
        let file = File::create(path(folder.path())).unwrap();
        file.write_all_at(&whole[..length], 0).unwrap();
        drop(file);
        match journals(folder.path()).left().unwrap().pop().unwrap() {
            Left::Broken(upload) => assert_eq!(upload, UPLOAD),
            Left::Journal(left) => {
                let (journal, file) = left.resume().unwrap();
                seen.push(journal.segments().len());
                let fresh = (BLOB, journal.segments().len() as u64);
                file.ids(fresh, &id(9)).unwrap();
                drop(file);
                let (again, _) = only(journals(folder.path()).left().unwrap())
                    .resume()
                    .unwrap();
                assert_eq!(again.segments().len(), journal.segments().len() + 1);
            }
        }
    }
    seen.dedup();
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[tokio::test]
async fn damage_before_a_good_record_is_not_taken_for_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;
    let whole = fs::read(path(folder.path())).unwrap();
    let first_ids = HEADER_BYTES + FRAME_BYTES + {
        let at = HEADER_BYTES;
        u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize
    };
    let file = File::options()
        .write(true)
        .open(path(folder.path()))
        .unwrap();
    let at = first_ids + FRAME_BYTES + 40;
    file.write_all_at(&[whole[at] ^ 1], at as u64).unwrap();
    let error = only(journals(folder.path()).left().unwrap())
        .resume()
        .unwrap_err();
    assert!(matches!(error, ResumeError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn one_that_was_given_up_is_gone_and_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = journals(folder.path()).begin(UPLOAD, &start()).unwrap();
    file.ids((BLOB, 0), &id(1)).unwrap();
    file.give_up().unwrap();
    let position = file.ids((BLOB, 1), &id(1)).unwrap();
    file.durable(position).await.unwrap();
    file.stored((BLOB, 0), vec![None; 3]).unwrap();
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn neither_names_nor_secrets_lie_open() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;
    let bytes = fs::read(path(folder.path())).unwrap();
    for canary in [&b"canary"[..], &[1; 32], &BLOB.0] {
        assert!(!bytes.windows(canary.len()).any(|window| window == canary));
    }
    let mode = fs::metadata(path(folder.path())).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[tokio::test]
async fn another_devices_journal_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;
    let other = Journals {
        device: Secret::new([4; 32]),
        ..journals(folder.path())
    };
    assert!(matches!(other.left().unwrap()[..], [Left::Broken(UPLOAD)]));
}
