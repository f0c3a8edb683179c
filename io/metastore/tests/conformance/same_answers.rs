//! Every engine gives the same answer to every call of a long random history.

use metastore::group::Group;
use metastore::*;
use model::units::*;

use crate::Fixture;

const SEEDS: u64 = 8;
const TRANSACTIONS: u32 = 150;
const CALLS: u32 = 20;
/// Sweeps remove all that is due: which rows a limit leaves is the engine's choice.
const ALL: u32 = 1_000;

/// A small generator of numbers (splitmix64).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    /// A number below `sides`, which is at most 255.
    fn roll(&mut self, sides: u8) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((mixed ^ (mixed >> 31)) % u64::from(sides)).unwrap()
    }

    fn number(&mut self) -> u64 {
        self.roll(12).into()
    }

    fn time(&mut self) -> UnixMs {
        UnixMs(self.number())
    }

    fn option<T>(&mut self, value: T) -> Option<T> {
        (self.roll(3) > 0).then_some(value)
    }
}

#[test]
fn a_random_history_has_the_same_answers_on_every_engine() {
    for seed in 0..SEEDS {
        let (mem, sqlite) = (Fixture::mem(), Fixture::sqlite());
        let mut dice = Dice(seed);
        for number in 0..TRANSACTIONS {
            let answers = [&mem, &sqlite].map(|fixture| {
                let mut dice = dice.clone();
                fixture.write(move |tx| transaction(tx, &mut dice))
            });
            let [mem, sqlite] = answers.map(|answer| match answer {
                Ok(calls) | Err(TxError::Rule(calls)) => calls,
                Err(TxError::Store(error)) => panic!("{error:?}"),
            });
            for (mem, sqlite) in mem.iter().zip(&sqlite) {
                assert_eq!(mem, sqlite, "seed {seed}, transaction {number}");
            }
            dice.0 = dice.0.wrapping_add(u64::from(number) << 32 | 1);
        }
    }
}

/// Some calls and their answers; every fourth transaction is rolled back.
fn transaction(tx: &mut dyn Tx, dice: &mut Dice) -> Result<Vec<String>, Vec<String>> {
    let calls = (0..CALLS).map(|_| call(tx, dice)).collect();
    if dice.roll(4) == 0 {
        Err(calls)
    } else {
        Ok(calls)
    }
}

fn call(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 => roots_and_accounts(tx, dice),
        1 => nodes(tx, dice),
        2 => blobs(tx, dice),
        3 => groups(tx, dice),
        4 => hosts(tx, dice),
        _ => the_rest(tx, dice),
    }
}

fn roots_and_accounts(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let account = AccountId([dice.roll(2); 16]);
    let volume = VolumeId([dice.roll(2); 16]);
    let token = TokenHash([dice.roll(4); 32]);
    let list = DeviceListRow {
        seq: dice.number(),
        bytes: vec![dice.roll(9)],
    };
    let limit = dice.roll(5).into();
    match dice.roll(8) {
        0 => {
            let (created, identity_key) = (dice.time(), [dice.roll(9); 32]);
            let row = Account {
                id: account,
                identity_key,
                device_list: list,
                created,
            };
            format!("{:?}{:?}", tx.insert_account(&row), tx.account(&account))
        }
        1 => format!(
            "{:?}",
            tx.replace_device_list(&account, dice.number(), &list)
        ),
        2 => {
            let (device, expires) = (DeviceId([dice.roll(9); 32]), dice.time());
            format!(
                "{:?}",
                tx.put_session(&Session {
                    token,
                    account,
                    device,
                    expires
                })
            )
        }
        3 => {
            let session = tx.session(&token, dice.time());
            format!("{session:?}{:?}", tx.sweep_sessions(dice.time(), ALL))
        }
        4 => format!(
            "{:?}",
            tx.roots_before(&account, &volume, dice.number(), limit)
        ),
        5 => format!("{:?}", tx.root_at(&account, &volume, dice.number())),
        _ => {
            let current = tx.current_root(&account, &volume).unwrap();
            let prev = current.as_ref().and_then(|root| dice.option(root.hash));
            let seq = current.map_or(0, |root| root.seq) + u64::from(dice.roll(3));
            let hash = RootHash([dice.roll(255); 32]);
            let root = RootRow {
                seq,
                hash,
                bytes: vec![dice.roll(9); 9],
                time: dice.time(),
            };
            format!(
                "{:?}",
                tx.push_root(&account, &volume, prev.as_ref(), &root)
            )
        }
    }
}

fn nodes(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let account = AccountId([dice.roll(2); 16]);
    let hashes = [(); 3].map(|()| NodeHash([dice.roll(8); 32]));
    let [hash, ..] = hashes;
    let bytes = [hash.0[0]; 300];
    let answer = match dice.roll(6) {
        0 => format!(
            "{:?}",
            tx.put_pending_node(&account, &hash, &bytes, dice.time())
        ),
        1 => format!("{:?}", tx.put_live_node(&account, &hash, &bytes)),
        2 => format!("{:?}", tx.nodes(&account, &hashes)),
        3 => format!("{:?}", tx.commit_nodes(&account, &hashes)),
        4 => format!("{:?}", tx.retire_nodes(&account, &hashes, dice.time())),
        _ => format!("{:?}", tx.sweep_nodes(dice.time(), dice.time(), ALL)),
    };
    format!("{answer}{:?}", tx.usage(&account))
}

fn blobs(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let account = AccountId([dice.roll(2); 16]);
    let blob = BlobId([dice.roll(6); 16]);
    let upload = UploadId([dice.roll(3); 16]);
    let other = BlobId([dice.roll(6); 16]);
    let after = dice.option(other);
    let limit = dice.roll(5).into();
    match dice.roll(7) {
        0 | 1 => {
            let row = BlobRow {
                account,
                blob,
                upload,
                length: dice.number(),
                k: 1,
                n: dice.roll(9).into(),
                shard_size: ShardSize::MAX,
                segments: dice.number(),
                owner_tag: OwnerTag([dice.roll(9); 32]),
                created: dice.time(),
                references: 0,
                live_bytes: 0,
                state: BlobState::Pending,
            };
            format!("{:?}{:?}", tx.insert_blob(&row), tx.blob(&account, &blob))
        }
        2 => format!("{:?}", tx.commit_blobs(&account, &upload, dice.time())),
        3 => format!(
            "{:?}",
            tx.pending_blobs(&account, &upload, after.as_ref(), limit)
        ),
        4 | 5 => {
            let change = i64::from(dice.roll(5)) - 2;
            let delta = ReferenceDelta {
                references: change,
                live_bytes: change * 3,
            };
            format!(
                "{:?}",
                tx.add_references(&account, &blob, delta, dice.time())
            )
        }
        _ => {
            let cursor = RetiredCursor {
                at: dice.time(),
                account,
                blob,
            };
            let after = dice.option(cursor);
            let listed = tx.retired_blobs(dice.time(), after.as_ref(), limit);
            let deleted = if limit == 0 {
                tx.delete_blob(&account, &blob)
            } else {
                Ok(false)
            };
            format!("{listed:?}{deleted:?}")
        }
    }
}

fn groups(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let (account, blob) = (AccountId([dice.roll(2); 16]), BlobId([dice.roll(3); 16]));
    let key = GroupKey {
        account,
        blob,
        first: 4 * u64::from(dice.roll(4)),
    };
    let limit = dice.roll(5).into();
    let frozen = FrozenSegment {
        account,
        blob,
        segment: dice.roll(4).into(),
        at: UnixMs(9),
    };
    match dice.roll(9) {
        0..=2 => {
            let mut group = Group::new(4, 8, u16::from(dice.roll(4)) + 1).unwrap();
            assert!(group.set_shard_id(0, 3, &ShardId([dice.roll(99); 32])));
            let current = tx
                .groups(&account, &blob, key.first..key.first + 1, 1)
                .unwrap();
            let expected = current.first().and_then(|row| dice.option(row.version));
            format!("{:?}", tx.put_group(&key, expected, &group))
        }
        3 => {
            let start = u64::from(dice.roll(20));
            let segments = start..start + u64::from(dice.roll(8));
            let rows = tx.groups(&account, &blob, segments, ALL).unwrap();
            let bytes: Vec<_> = rows
                .iter()
                .map(|row| row.group.as_bytes().to_vec())
                .collect();
            format!("{rows:?}{bytes:?}")
        }
        4 => format!("{:?}", tx.scan_groups(dice.option(key).as_ref(), limit)),
        5 => format!("{:?}", tx.delete_groups(&account, &blob, limit)),
        6 => format!("{:?}", tx.freeze_segment(&frozen)),
        7 => format!("{:?}", tx.scan_frozen(dice.option(frozen).as_ref(), limit)),
        _ => format!("{:?}", tx.thaw_blob(&account, &blob)),
    }
}

fn hosts(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let id = HostId([dice.roll(5); 32]);
    let alias = HostAlias(dice.roll(6).into());
    let limit = dice.roll(5).into();
    let log = if dice.roll(2) == 0 {
        HostLog::Events
    } else {
        HostLog::Audits
    };
    match dice.roll(15) {
        0 => format!("{:?}", tx.upsert_host(&id, &[dice.roll(9)], dice.time())),
        1 => format!("{:?}{:?}", tx.host(alias), tx.host_by_id(&id)),
        2 => format!("{:?}", tx.scan_hosts(dice.option(alias), limit)),
        3 => {
            let status = HostStatus {
                alias,
                state: HostState::Suspect,
                last_seen: dice.time(),
            };
            format!("{:?}", tx.update_hosts(&[status, status]))
        }
        4 => {
            let alpha_millionths = dice.number();
            let reputation = Reputation {
                alpha_millionths,
                ..Reputation::default()
            };
            format!("{:?}", tx.set_reputation(alias, reputation))
        }
        5 | 6 => format!("{:?}", tx.push_order(alias, &[dice.roll(9)])),
        7 => format!("{:?}", tx.pending_orders(alias, dice.number(), limit)),
        8 => format!("{:?}", tx.acknowledge_orders(alias, dice.number())),
        9 | 10 => format!(
            "{:?}",
            tx.append_log(alias, (log, dice.roll(9).into()), dice.time(), &[7])
        ),
        11 => format!("{:?}", tx.host_log(alias, log, dice.number(), limit)),
        12 => format!("{:?}", tx.sweep_log(log, dice.time(), limit)),
        13 => format!("{:?}", tx.raise_order_seq(alias, dice.number())),
        _ => format!(
            "{:?}{:?}",
            tx.set_record(alias, &[8]),
            tx.newest_log(alias, log)
        ),
    }
}

fn the_rest(tx: &mut dyn Tx, dice: &mut Dice) -> String {
    let (account, upload) = (AccountId([dice.roll(2); 16]), UploadId([dice.roll(4); 16]));
    let (blob, segment) = (BlobId([dice.roll(2); 16]), dice.roll(3).into());
    let row = UploadRow {
        account,
        upload,
        body: vec![dice.roll(9)],
        expires: dice.time(),
    };
    let key = IdempotencyKey([dice.roll(4); 32]);
    match dice.roll(11) {
        0 => format!("{:?}", tx.insert_upload(&row)),
        1 => format!("{:?}", tx.update_upload(&row)),
        2 => format!(
            "{:?}{:?}",
            tx.upload(&account, &upload),
            tx.delete_upload(&account, &upload)
        ),
        3 => format!("{:?}", tx.expired_uploads(dice.time(), dice.roll(5).into())),
        4 => {
            let bytes = vec![dice.roll(9)];
            format!(
                "{:?}",
                tx.append_receipts(&ReceiptRow {
                    account,
                    blob,
                    segment,
                    bytes
                })
            )
        }
        5 => format!("{:?}", tx.receipts(&account, &blob, segment)),
        6 => format!("{:?}", tx.delete_receipts(&account, &blob, ALL)),
        7 => {
            let stored_bytes = i64::from(dice.roll(9)) - 4;
            format!(
                "{:?}",
                tx.add_usage(
                    &account,
                    UsageDelta {
                        stored_bytes,
                        reserved_bytes: 1
                    }
                )
            )
        }
        8 => format!(
            "{:?}",
            tx.put_idempotent(&account, &key, &[dice.roll(9)], dice.time())
        ),
        9 => format!("{:?}", tx.idempotent(&account, &key, dice.time())),
        _ => format!("{:?}", tx.sweep_idempotent(dice.time(), ALL)),
    }
}
