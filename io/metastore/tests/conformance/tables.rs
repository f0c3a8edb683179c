//! What each table does, but for those of blobs.

use metastore::*;
use model::units::*;

use crate::Fixture;

pub(crate) const ALICE: AccountId = AccountId([0xa1; 16]);
pub(crate) const BOB: AccountId = AccountId([0xb0; 16]);
const VOLUME: VolumeId = VolumeId([0xee; 16]);

/// Runs a rule that is expected to succeed.
pub(crate) fn ok<T: Send + 'static>(
    fixture: &Fixture,
    rule: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    fixture.write(rule).unwrap()
}

fn list(seq: u64) -> DeviceListRow {
    DeviceListRow {
        seq,
        bytes: seq.to_le_bytes().repeat(100),
    }
}

pub(crate) fn accounts_are_added_once_and_device_lists_swapped(fixture: &Fixture) {
    ok(fixture, |tx| {
        let created = UnixMs(5);
        let alice = Account {
            id: ALICE,
            identity_key: [1; 32],
            device_list: list(1),
            created,
        };
        assert!(tx.insert_account(&alice)?);
        assert!(!tx.insert_account(&Account {
            identity_key: [2; 32],
            ..alice.clone()
        })?);
        assert_eq!(tx.account(&ALICE)?, Some(alice.clone()));
        assert_eq!(tx.account(&BOB)?, None);

        assert!(tx.replace_device_list(&ALICE, 1, &list(2)).is_ok());
        for (account, expected, seq, current) in [
            (ALICE, 1, 3, Some(2)),
            (ALICE, 2, 2, Some(2)),
            (BOB, 0, 1, None),
        ] {
            let refused = tx
                .replace_device_list(&account, expected, &list(seq))
                .unwrap_err();
            assert!(matches!(refused, SwapError::Conflict { current: c } if c == current));
        }
        assert_eq!(
            tx.account(&ALICE)?,
            Some(Account {
                device_list: list(2),
                ..alice
            })
        );
        Ok(())
    });
}

pub(crate) fn sessions_end(fixture: &Fixture) {
    ok(fixture, |tx| {
        let session = |token: u8, expires| Session {
            token: TokenHash([token; 32]),
            account: ALICE,
            device: DeviceId([7; 32]),
            expires: UnixMs(expires),
        };
        for token in 1..=3 {
            tx.put_session(&session(token, 100 * u64::from(token)))?;
        }
        tx.put_session(&session(3, 400))?;

        assert_eq!(
            tx.session(&TokenHash([1; 32]), UnixMs(99))?,
            Some(session(1, 100))
        );
        assert_eq!(tx.session(&TokenHash([1; 32]), UnixMs(100))?, None);
        assert!(tx.delete_session(&TokenHash([2; 32]))?);
        assert!(!tx.delete_session(&TokenHash([2; 32]))?);
        assert_eq!(tx.sweep_sessions(UnixMs(399), 10)?, 1);
        assert_eq!(
            tx.session(&TokenHash([3; 32]), UnixMs(399))?,
            Some(session(3, 400))
        );
        Ok(())
    });
}

fn root(seq: u64, hash: u8) -> RootRow {
    RootRow {
        seq,
        hash: RootHash([hash; 32]),
        bytes: vec![hash; 300],
        time: UnixMs(seq * 10),
    }
}

pub(crate) fn roots_are_swapped_by_the_previous_hash_and_all_kept(fixture: &Fixture) {
    ok(fixture, |tx| {
        assert_eq!(tx.current_root(&ALICE, &VOLUME)?, None);
        let hash = |hash: u8| RootHash([hash; 32]);
        let refused = tx
            .push_root(&ALICE, &VOLUME, Some(&hash(9)), &root(1, 1))
            .unwrap_err();
        assert!(matches!(refused, SwapError::Conflict { current: None }));
        tx.push_root(&ALICE, &VOLUME, None, &root(1, 1)).unwrap();
        tx.push_root(&ALICE, &VOLUME, Some(&hash(1)), &root(2, 2))
            .unwrap();

        for (prev, next) in [(None, 3), (Some(hash(1)), 3), (Some(hash(2)), 2)] {
            let refused = tx
                .push_root(&ALICE, &VOLUME, prev.as_ref(), &root(next, 3))
                .unwrap_err();
            let SwapError::Conflict { current } = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(current, Some(root(2, 2)));
        }
        tx.push_root(&ALICE, &VOLUME, Some(&hash(2)), &root(5, 5))
            .unwrap();
        tx.push_root(&ALICE, &VolumeId([0xef; 16]), None, &root(9, 9))
            .unwrap();

        assert_eq!(tx.current_root(&ALICE, &VOLUME)?, Some(root(5, 5)));
        assert_eq!(tx.root_at(&ALICE, &VOLUME, 1)?, Some(root(1, 1)));
        assert_eq!(tx.root_at(&BOB, &VOLUME, 1)?, None);
        assert_eq!(
            tx.roots_before(&ALICE, &VOLUME, 5, 9)?,
            [root(2, 2), root(1, 1)]
        );
        assert_eq!(tx.roots_before(&ALICE, &VOLUME, u64::MAX, 1)?, [root(5, 5)]);
        Ok(())
    });
}

pub(crate) fn node(number: u8) -> NodeHash {
    NodeHash([number; 32])
}

pub(crate) fn nodes_go_from_pending_to_live_to_retired_and_are_counted(fixture: &Fixture) {
    ok(fixture, |tx| {
        let bytes = |tx: &dyn Tx| {
            let usage = tx.usage(&ALICE)?;
            Ok::<_, StoreError>((usage.node_bytes, usage.pending_node_bytes))
        };
        assert!(tx.put_pending_node(&ALICE, &node(1), &[1; 1_000], UnixMs(50))?);
        assert!(!tx.put_pending_node(&ALICE, &node(1), &[1; 1_000], UnixMs(70))?);
        assert!(!tx.put_pending_node(&ALICE, &node(1), &[1; 1_000], UnixMs(60))?);
        assert!(tx.put_live_node(&ALICE, &node(2), &[2; 20_000])?);
        assert_eq!(bytes(tx)?, (21_000, 1_000));
        let states = |tx: &dyn Tx| {
            let rows = tx.nodes(&ALICE, &[node(2), node(9), node(1)])?;
            Ok::<_, StoreError>(rows.iter().map(|row| row.state).collect::<Vec<_>>())
        };
        assert_eq!(
            states(tx)?,
            [
                NodeState::Live,
                NodeState::Pending {
                    expires: UnixMs(70)
                }
            ]
        );

        assert_eq!(
            tx.commit_nodes(&ALICE, &[node(1), node(2), node(9)])?,
            [node(9)]
        );
        assert_eq!(tx.commit_nodes(&BOB, &[node(1)])?, [node(1)]);
        assert_eq!(bytes(tx)?, (21_000, 0));
        assert_eq!(tx.retire_nodes(&ALICE, &[node(1), node(9)], UnixMs(80))?, 1);
        assert_eq!(tx.retire_nodes(&ALICE, &[node(1)], UnixMs(90))?, 0);
        assert!(!tx.put_pending_node(&ALICE, &node(1), &[1; 1_000], UnixMs(99))?);
        assert_eq!(
            states(tx)?,
            [NodeState::Live, NodeState::Retired { at: UnixMs(80) }]
        );
        assert!(!tx.put_live_node(&ALICE, &node(1), &[1; 1_000])?);

        assert_eq!(states(tx)?, [NodeState::Live, NodeState::Live]);
        assert_eq!(bytes(tx)?, (21_000, 0));
        assert_eq!(tx.nodes(&ALICE, &[node(1)])?[0].bytes, [1; 1_000]);
        Ok(())
    });
}

pub(crate) fn due_nodes_are_swept_within_the_limit(fixture: &Fixture) {
    ok(fixture, |tx| {
        for number in 1..=4 {
            tx.put_pending_node(&ALICE, &node(number), &[number; 10], UnixMs(number.into()))?;
        }
        tx.put_live_node(&BOB, &node(5), &[5; 7])?;
        tx.put_live_node(&BOB, &node(6), &[6; 7])?;
        tx.retire_nodes(&BOB, &[node(5)], UnixMs(5))?;

        let limited = tx.sweep_nodes(UnixMs(3), UnixMs(0), 2)?;
        assert_eq!(
            limited,
            SweptNodes {
                nodes: 2,
                bytes: 20
            }
        );
        let rest = tx.sweep_nodes(UnixMs(3), UnixMs(5), 100)?;
        assert_eq!(
            rest,
            SweptNodes {
                nodes: 2,
                bytes: 17
            }
        );
        assert_eq!(
            tx.sweep_nodes(UnixMs(3), UnixMs(5), 100)?,
            SweptNodes::default()
        );

        assert_eq!(tx.usage(&ALICE)?.node_bytes, 10);
        assert_eq!(tx.usage(&ALICE)?.pending_node_bytes, 10);
        assert_eq!(tx.usage(&BOB)?.node_bytes, 7);
        assert_eq!(tx.nodes(&BOB, &[node(5), node(6)])?.len(), 1);
        Ok(())
    });
}

pub(crate) fn uploads_expire_oldest_first(fixture: &Fixture) {
    ok(fixture, |tx| {
        let row = |upload: u8, expires| UploadRow {
            account: ALICE,
            upload: UploadId([upload; 16]),
            body: vec![upload; 10_000],
            expires: UnixMs(expires),
        };
        assert!(tx.insert_upload(&row(1, 30))?);
        assert!(!tx.insert_upload(&row(1, 31))?);
        assert!(tx.insert_upload(&row(2, 20))?);
        assert!(!tx.update_upload(&row(3, 20))?);
        assert!(tx.update_upload(&row(1, 40))?);

        assert_eq!(tx.upload(&ALICE, &UploadId([1; 16]))?, Some(row(1, 40)));
        assert_eq!(tx.upload(&BOB, &UploadId([1; 16]))?, None);
        assert_eq!(tx.expired_uploads(UnixMs(39), 9)?, [row(2, 20)]);
        assert_eq!(tx.expired_uploads(UnixMs(40), 9)?, [row(2, 20), row(1, 40)]);
        assert_eq!(tx.expired_uploads(UnixMs(40), 1)?, [row(2, 20)]);
        assert!(tx.delete_upload(&ALICE, &UploadId([2; 16]))?);
        assert!(!tx.delete_upload(&ALICE, &UploadId([2; 16]))?);
        Ok(())
    });
}

pub(crate) fn hosts_keep_their_alias_and_record(fixture: &Fixture) {
    ok(fixture, |tx| {
        let id = |number: u8| HostId([number; 32]);
        assert_eq!(tx.upsert_host(&id(9), b"nine", UnixMs(1))?, HostAlias(1));
        assert_eq!(tx.upsert_host(&id(8), b"eight", UnixMs(2))?, HostAlias(2));
        let status = |alias, state, seen| HostStatus {
            alias: HostAlias(alias),
            state,
            last_seen: UnixMs(seen),
        };
        let statuses = [
            status(1, HostState::ScheduledOff, 50),
            status(2, HostState::Lost, 60),
            status(3, HostState::Online, 70),
        ];
        assert_eq!(tx.update_hosts(&statuses)?, 2);
        let reputation = Reputation {
            alpha_millionths: 1,
            beta_millionths: 2,
            audits_passed: 3,
        };
        assert!(tx.set_reputation(HostAlias(1), reputation)?);
        assert!(!tx.set_reputation(HostAlias(3), reputation)?);
        assert!(tx.set_record(HostAlias(1), b"known")?);
        assert!(!tx.set_record(HostAlias(3), b"known")?);

        assert_eq!(tx.upsert_host(&id(9), b"moved", UnixMs(99))?, HostAlias(1));
        let nine = HostRow {
            alias: HostAlias(1),
            id: id(9),
            offer: b"moved".to_vec(),
            joined: UnixMs(1),
            state: HostState::ScheduledOff,
            last_seen: UnixMs(50),
            reputation,
            record: b"known".to_vec(),
        };
        assert_eq!(tx.host(HostAlias(1))?, Some(nine.clone()));
        assert_eq!(tx.host_by_id(&id(9))?, Some(nine.clone()));
        assert_eq!(tx.host_by_id(&id(7))?, None);
        assert_eq!(tx.scan_hosts(None, 1)?, [nine]);
        assert_eq!(tx.scan_hosts(Some(HostAlias(1)), 9)?[0].id, id(8));
        Ok(())
    });
}

pub(crate) fn orders_are_numbered_without_gaps_or_reuse(fixture: &Fixture) {
    ok(fixture, |tx| {
        let host = tx.upsert_host(&HostId([9; 32]), b"", UnixMs(1))?;
        let other = tx.upsert_host(&HostId([8; 32]), b"", UnixMs(1))?;
        assert_eq!(tx.push_order(HostAlias(77), b"x")?, None);
        for seq in 1..=3 {
            assert_eq!(tx.push_order(host, &[7])?, Some(seq));
        }
        assert_eq!(tx.push_order(other, b"y")?, Some(1));

        let seqs = |tx: &dyn Tx, after, limit| {
            let orders = tx.pending_orders(host, after, limit).unwrap();
            orders.iter().map(|order| order.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(tx, 0, 2), [1, 2]);
        assert_eq!(seqs(tx, 2, 2), [3]);
        assert_eq!(seqs(tx, u64::MAX, 2), [0; 0]);
        assert_eq!(tx.acknowledge_orders(host, 2)?, 2);
        assert_eq!(seqs(tx, 0, 9), [3]);
        assert_eq!(tx.acknowledge_orders(host, u64::MAX)?, 1);
        assert_eq!(tx.push_order(host, b"z")?, Some(4));
        assert_eq!(tx.pending_orders(other, 0, 9)?[0].body, b"y");
        Ok(())
    });
}

pub(crate) fn order_numbers_are_raised_and_never_lowered(fixture: &Fixture) {
    ok(fixture, |tx| {
        let host = tx.upsert_host(&HostId([9; 32]), b"", UnixMs(1))?;
        tx.raise_order_seq(HostAlias(77), 9)?;
        tx.raise_order_seq(host, 9)?;
        tx.raise_order_seq(host, 4)?;
        assert_eq!(tx.push_order(host, b"x")?, Some(10));
        Ok(())
    });
}

pub(crate) fn logs_are_numbered_for_each_host_and_kind(fixture: &Fixture) {
    ok(fixture, |tx| {
        let host = tx.upsert_host(&HostId([9; 32]), b"", UnixMs(1))?;
        let other = tx.upsert_host(&HostId([8; 32]), b"", UnixMs(1))?;
        let (events, audits) = (HostLog::Events, HostLog::Audits);
        assert_eq!(
            tx.append_log(HostAlias(77), (events, 0), UnixMs(1), b"x")?,
            None
        );
        for seq in 1..=3 {
            assert_eq!(
                tx.append_log(host, (events, 0), UnixMs(10 * seq), b"e")?,
                Some(seq)
            );
        }
        assert_eq!(tx.append_log(host, (audits, 0), UnixMs(5), b"a")?, Some(1));
        assert_eq!(tx.append_log(other, (events, 0), UnixMs(5), b"o")?, Some(1));

        let seqs = |tx: &dyn Tx, log| {
            let rows = tx.host_log(host, log, 0, 9).unwrap();
            rows.iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(tx, events), [1, 2, 3]);
        let last = HostLogRow {
            seq: 3,
            at: UnixMs(30),
            body: b"e".to_vec(),
        };
        assert_eq!(tx.host_log(host, events, 2, 9)?, [last]);
        // The newest of each stays, so that numbers go on.
        assert_eq!(tx.sweep_log(events, UnixMs(1_000), 1)?, 1);
        assert_eq!(tx.sweep_log(events, UnixMs(1_000), 9)?, 1);
        assert_eq!((seqs(tx, events), seqs(tx, audits)), (vec![3], vec![1]));
        assert_eq!(tx.newest_log(host, events)?, 3);
        assert_eq!(tx.newest_log(host, audits)?, 1);
        assert_eq!(tx.newest_log(other, audits)?, 0);
        assert_eq!(tx.append_log(host, (events, 2), UnixMs(1), b"e")?, Some(4));
        assert_eq!(tx.append_log(host, (events, 9), UnixMs(1), b"e")?, Some(10));
        Ok(())
    });
}

pub(crate) fn frozen_segments_are_known_until_their_blob_goes(fixture: &Fixture) {
    ok(fixture, |tx| {
        let frozen = |blob, segment| FrozenSegment {
            account: ALICE,
            blob: BlobId([blob; 16]),
            segment,
            at: UnixMs(7),
        };
        assert!(tx.freeze_segment(&frozen(2, 5))?);
        assert!(!tx.freeze_segment(&frozen(2, 5))?);
        assert!(tx.freeze_segment(&frozen(1, 9))?);
        assert_eq!(tx.scan_frozen(None, 9)?, [frozen(1, 9), frozen(2, 5)]);
        assert_eq!(tx.scan_frozen(Some(&frozen(1, 9)), 9)?, [frozen(2, 5)]);
        assert_eq!(tx.frozen_segments(&ALICE, &BlobId([2; 16]))?, [5]);
        assert_eq!(tx.thaw_blob(&ALICE, &BlobId([2; 16]))?, 1);
        assert_eq!(tx.scan_frozen(None, 9)?, [frozen(1, 9)]);
        Ok(())
    });
}

pub(crate) fn usage_never_falls_below_zero(fixture: &Fixture) {
    ok(fixture, |tx| {
        let change = |stored_bytes, reserved_bytes| UsageDelta {
            stored_bytes,
            reserved_bytes,
        };
        tx.add_usage(&ALICE, change(0, 800))?;
        let usage = tx.add_usage(&ALICE, change(700, -800))?;
        assert_eq!(
            usage,
            Usage {
                stored_bytes: 700,
                ..Usage::default()
            }
        );

        for impossible in [change(-701, 0), change(0, -1), change(i64::MAX, 0)] {
            let refused = tx.add_usage(&ALICE, impossible).unwrap_err();
            assert!(matches!(refused, StoreError::OutOfRange { .. }));
        }
        assert_eq!(tx.usage(&ALICE)?, usage);
        assert_eq!(tx.usage(&BOB)?, Usage::default());
        Ok(())
    });
}

pub(crate) fn answers_are_kept_until_they_expire(fixture: &Fixture) {
    ok(fixture, |tx| {
        let once = IdempotencyKey([1; 32]);
        tx.put_idempotent(&ALICE, &once, b"old", UnixMs(10))?;
        tx.put_idempotent(&ALICE, &once, b"answer", UnixMs(20))?;
        tx.put_idempotent(&ALICE, &IdempotencyKey([2; 32]), b"other", UnixMs(10))?;

        assert_eq!(
            tx.idempotent(&ALICE, &once, UnixMs(19))?.unwrap(),
            b"answer"
        );
        assert_eq!(tx.idempotent(&ALICE, &once, UnixMs(20))?, None);
        assert_eq!(tx.idempotent(&BOB, &once, UnixMs(0))?, None);
        assert_eq!(tx.sweep_idempotent(UnixMs(19), 9)?, 1);
        assert_eq!(tx.sweep_idempotent(UnixMs(20), 9)?, 1);
        assert_eq!(tx.idempotent(&ALICE, &once, UnixMs(0))?, None);
        Ok(())
    });
}
