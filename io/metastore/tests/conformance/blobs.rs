//! What the tables of blobs, groups and receipts do.

use metastore::group::Group;
use metastore::*;
use model::units::*;

use crate::Fixture;
use crate::tables::{ALICE, BOB, node, ok};

const UPLOAD: UploadId = UploadId([0xdd; 16]);

fn blob(number: u8) -> BlobRow {
    BlobRow {
        account: ALICE,
        blob: BlobId([number; 16]),
        upload: UPLOAD,
        length: 5_000_000_000,
        k: 4,
        n: 8,
        shard_size: ShardSize::MAX,
        segments: 636,
        owner_tag: OwnerTag([3; 32]),
        created: UnixMs(1),
        references: 0,
        live_bytes: 0,
        state: BlobState::Pending,
    }
}

const fn delta(references: i64, live_bytes: i64) -> ReferenceDelta {
    ReferenceDelta {
        references,
        live_bytes,
    }
}

pub(crate) fn blobs_live_while_entries_refer_to_them(fixture: &Fixture) {
    ok(fixture, |tx| {
        let id = blob(1).blob;
        assert!(tx.insert_blob(&blob(1))?);
        assert!(!tx.insert_blob(&BlobRow {
            length: 1,
            ..blob(1)
        })?);
        assert_eq!(tx.blob(&ALICE, &id)?, Some(blob(1)));
        assert_eq!(tx.commit_blobs(&ALICE, &UPLOAD, UnixMs(10))?, 1);
        assert_eq!(tx.commit_blobs(&ALICE, &UPLOAD, UnixMs(11))?, 0);
        let state = |tx: &mut dyn Tx, change, now| {
            let row = tx.add_references(&ALICE, &id, change, UnixMs(now)).unwrap();
            assert_eq!(tx.blob(&ALICE, &id).unwrap(), Some(row.clone()));
            (row.references, row.live_bytes, row.state)
        };

        assert_eq!(
            tx.blob(&ALICE, &id)?.unwrap().state,
            BlobState::Retired { at: UnixMs(10) }
        );
        assert_eq!(state(tx, delta(2, 50), 12), (2, 50, BlobState::Live));
        assert_eq!(state(tx, delta(-1, -20), 13), (1, 30, BlobState::Live));
        let retired = BlobState::Retired { at: UnixMs(14) };
        assert_eq!(state(tx, delta(-1, -30), 14), (0, 0, retired));
        assert_eq!(state(tx, delta(0, 0), 15), (0, 0, retired));
        assert_eq!(state(tx, delta(1, 30), 16), (1, 30, BlobState::Live));
        assert!(tx.delete_blob(&ALICE, &id)?);
        assert!(!tx.delete_blob(&ALICE, &id)?);
        Ok(())
    });
}

pub(crate) fn references_refuse_what_cannot_be(fixture: &Fixture) {
    ok(fixture, |tx| {
        let id = blob(1).blob;
        let refused = |tx: &mut dyn Tx, account: &AccountId, change| {
            tx.add_references(account, &id, change, UnixMs(1))
                .unwrap_err()
                .to_string()
        };
        tx.insert_blob(&blob(1))?;
        assert_eq!(
            refused(tx, &ALICE, delta(1, 1)),
            format!("blob {id} is not committed")
        );
        tx.commit_blobs(&ALICE, &UPLOAD, UnixMs(10))?;
        tx.add_references(&ALICE, &id, delta(1, 10), UnixMs(11))
            .unwrap();
        let before = tx.blob(&ALICE, &id)?;

        assert_eq!(
            refused(tx, &BOB, delta(1, 1)),
            format!("blob {id} does not exist")
        );
        for change in [delta(-2, 0), delta(0, -11), delta(1, i64::MAX)] {
            assert!(refused(tx, &ALICE, change).starts_with("blob "));
        }
        assert_eq!(tx.blob(&ALICE, &id)?, before);
        Ok(())
    });
}

pub(crate) fn blobs_below_half_alive_are_listed_in_pages(fixture: &Fixture) {
    ok(fixture, |tx| {
        for (number, length, live) in [(1, 9, 4), (2, 9, 5), (3, 9, 0), (4, 1_000, 499), (5, 2, 1)]
        {
            let row = BlobRow {
                length,
                ..blob(number)
            };
            assert!(tx.insert_blob(&row)?);
            // Committed below, but for the last one.
            if number == 5 {
                continue;
            }
            tx.commit_blobs(&ALICE, &UPLOAD, UnixMs(10))?;
            tx.add_references(
                &ALICE,
                &row.blob,
                delta(i64::from(live > 0), live),
                UnixMs(11),
            )
            .unwrap();
        }
        let of_bob = BlobRow {
            account: BOB,
            live_bytes: 1,
            state: BlobState::Live,
            ..blob(1)
        };
        assert!(tx.insert_blob(&of_bob)?);

        let ids = |rows: Vec<BlobRow>| rows.iter().map(|row| row.blob).collect::<Vec<_>>();
        let all = [blob(1).blob, blob(4).blob];
        assert_eq!(ids(tx.sparse_blobs(&ALICE, None, 9)?), all);
        assert_eq!(ids(tx.sparse_blobs(&ALICE, None, 1)?), all[..1]);
        assert_eq!(ids(tx.sparse_blobs(&ALICE, Some(&all[0]), 9)?), all[1..]);
        assert_eq!(ids(tx.sparse_blobs(&BOB, None, 9)?), [of_bob.blob]);
        Ok(())
    });
}

pub(crate) fn pending_and_retired_blobs_are_listed_in_pages(fixture: &Fixture) {
    ok(fixture, |tx| {
        for number in [3, 1, 2] {
            tx.insert_blob(&blob(number))?;
        }
        tx.insert_blob(&BlobRow {
            upload: UploadId([1; 16]),
            ..blob(4)
        })?;
        tx.insert_blob(&BlobRow {
            account: BOB,
            ..blob(5)
        })?;
        let first = tx.pending_blobs(&ALICE, &UPLOAD, None, 2)?;
        assert_eq!(first, [blob(1), blob(2)]);
        assert_eq!(
            tx.pending_blobs(&ALICE, &UPLOAD, Some(&first[1].blob), 2)?,
            [blob(3)]
        );

        tx.commit_blobs(&ALICE, &UPLOAD, UnixMs(20))?;
        tx.commit_blobs(&BOB, &UPLOAD, UnixMs(10))?;
        tx.add_references(&ALICE, &blob(2).blob, delta(1, 1), UnixMs(21))
            .unwrap();

        assert!(tx.pending_blobs(&ALICE, &UPLOAD, None, 9)?.is_empty());
        let first = tx.retired_blobs(UnixMs(20), None, 2)?;
        let ids = |rows: &[BlobRow]| rows.iter().map(|row| row.blob).collect::<Vec<_>>();
        assert_eq!(ids(&first), [blob(5).blob, blob(1).blob]);
        let cursor = RetiredCursor {
            at: UnixMs(20),
            account: ALICE,
            blob: first[1].blob,
        };
        assert_eq!(
            ids(&tx.retired_blobs(UnixMs(20), Some(&cursor), 2)?),
            [blob(3).blob]
        );
        assert_eq!(ids(&tx.retired_blobs(UnixMs(19), None, 9)?), [blob(5).blob]);
        Ok(())
    });
}

fn group(segments: u16, mark: u8) -> Group {
    let mut group = Group::new(4, 8, segments).unwrap();
    assert!(group.set_shard_id(0, 0, &ShardId([mark; 32])));
    assert!(group.set_host(0, 1, Some(HostAlias(mark.into()))));
    group
}

fn key(account: AccountId, blob: u8, first: u64) -> GroupKey {
    GroupKey {
        account,
        blob: BlobId([blob; 16]),
        first,
    }
}

pub(crate) fn groups_are_found_by_any_segment_they_hold(fixture: &Fixture) {
    ok(fixture, |tx| {
        for (first, segments) in [(0, 4), (4, 4), (8, 2)] {
            tx.put_group(&key(ALICE, 1, first), None, &group(segments, 1))
                .unwrap();
        }
        tx.put_group(&key(ALICE, 2, 0), None, &group(4, 2)).unwrap();
        let firsts = |segments: std::ops::Range<u64>, limit| {
            let rows = tx
                .groups(&ALICE, &BlobId([1; 16]), segments, limit)
                .unwrap();
            rows.iter().map(|row| row.key.first).collect::<Vec<_>>()
        };

        assert_eq!(firsts(0..u64::MAX, 9), [0, 4, 8]);
        assert_eq!(firsts(0..u64::MAX, 2), [0, 4]);
        assert_eq!(firsts(3..4, 9), [0]);
        assert_eq!(firsts(3..5, 9), [0, 4]);
        assert_eq!(firsts(7..9, 9), [4, 8]);
        assert_eq!(firsts(9..10, 9), [8]);
        assert_eq!(firsts(10..99, 9), [0; 0]);
        assert_eq!(firsts(4..4, 9), [0; 0]);
        Ok(())
    });
}

pub(crate) fn groups_are_swapped_by_version(fixture: &Fixture) {
    ok(fixture, |tx| {
        let place = key(ALICE, 1, 0);
        let refused = tx.put_group(&place, Some(1), &group(1, 1)).unwrap_err();
        assert!(matches!(refused, SwapError::Conflict { current: None }));
        assert_eq!(tx.put_group(&place, None, &group(1, 1)).unwrap(), 1);
        assert_eq!(tx.put_group(&place, Some(1), &group(1, 2)).unwrap(), 2);

        for expected in [None, Some(1), Some(3)] {
            let refused = tx.put_group(&place, expected, &group(1, 3)).unwrap_err();
            assert!(matches!(refused, SwapError::Conflict { current: Some(2) }));
        }
        let rows = tx.groups(&ALICE, &place.blob, 0..1, 9)?;
        assert_eq!(
            rows,
            [GroupRow {
                key: place,
                version: 2,
                group: group(1, 2)
            }]
        );
        assert_eq!(rows[0].group.host(0, 1), Some(HostAlias(2)));
        Ok(())
    });
}

pub(crate) fn groups_are_scanned_in_the_order_of_their_keys(fixture: &Fixture) {
    ok(fixture, |tx| {
        let sorted = [
            key(ALICE, 1, 0),
            key(ALICE, 1, 4),
            key(ALICE, 1, 300),
            key(ALICE, 2, 0),
            key(BOB, 0, 0),
        ];
        for place in sorted.iter().rev() {
            tx.put_group(place, None, &group(1, 1)).unwrap();
        }
        let mut seen = Vec::new();
        loop {
            let page = tx.scan_groups(seen.last(), 2)?;
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|row| row.key));
        }
        assert_eq!(seen, sorted);

        assert_eq!(tx.delete_groups(&ALICE, &BlobId([1; 16]), 2)?, 2);
        assert_eq!(tx.delete_groups(&ALICE, &BlobId([1; 16]), 2)?, 1);
        assert_eq!(tx.scan_groups(None, 9)?.len(), 2);
        Ok(())
    });
}

pub(crate) fn receipts_are_kept_in_order(fixture: &Fixture) {
    ok(fixture, |tx| {
        let blob = BlobId([1; 16]);
        for (segment, mark) in [(0, 1), (1, 2), (0, 3)] {
            let bytes = vec![mark; 160];
            tx.append_receipts(&ReceiptRow {
                account: ALICE,
                blob,
                segment,
                bytes,
            })?;
        }

        assert_eq!(tx.receipts(&ALICE, &blob, 0)?, [vec![1; 160], vec![3; 160]]);
        assert_eq!(tx.delete_receipts(&BOB, &blob, 9)?, 0);
        assert_eq!(tx.delete_receipts(&ALICE, &blob, 2)?, 2);
        assert_eq!(tx.delete_receipts(&ALICE, &blob, 2)?, 1);
        assert!(tx.receipts(&ALICE, &blob, 1)?.is_empty());
        Ok(())
    });
}

pub(crate) fn oversized_values_and_numbers_are_refused(fixture: &Fixture) {
    ok(fixture, |tx| {
        let long = vec![0; VALUE_BYTES_MAX + 1];
        let refused = tx.put_meta("long", &long).unwrap_err();
        assert!(matches!(refused, StoreError::TooLong { field: "meta", .. }));
        let refused = tx.put_live_node(&ALICE, &node(1), &long).unwrap_err();
        assert!(matches!(refused, StoreError::TooLong { field: "node", .. }));

        let refused = tx
            .insert_blob(&BlobRow {
                length: 1 << 63,
                ..blob(1)
            })
            .unwrap_err();
        assert!(matches!(
            refused,
            StoreError::OutOfRange { field: "length" }
        ));
        let refused = tx
            .put_pending_node(&ALICE, &node(1), b"x", UnixMs(u64::MAX))
            .unwrap_err();
        assert!(matches!(refused, StoreError::OutOfRange { .. }));
        Ok(())
    });
}
