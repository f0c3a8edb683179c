//! The trash: what a Bridge has no use for stays for a while, readable, and makes room.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use host::{BridgeSettings, Settings};
use model::crypto::hash_shard;
use model::units::{Serial, ShardSize};
use model::wire::StoreReceipt;
use model::wire::control::DeleteReason;

use crate::rig::{MONDAY, TestBridge, TestHost, settings, shard};

const DAY_MS: u64 = 86_400_000;

fn week(data: &Path, port: u16) -> Settings {
    Settings {
        trash: Duration::from_millis(7 * DAY_MS),
        ..settings(data, port)
    }
}

fn serial(serial: u8) -> Vec<Serial> {
    vec![Serial([serial; 16])]
}

#[tokio::test]
async fn what_is_in_the_trash_is_served_until_it_is_due_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    let (old, new, purged) = (shard(1, 64_000), shard(2, 64_000), shard(3, 64_000));
    for (serial, bytes) in (1..).zip([&old, &new, &purged]) {
        host.put(&bridge.put_ticket(host.id, serial), bytes).await;
    }
    bridge.order(host.id, 1, serial(1)).await;
    assert_eq!(bridge.orders_done().await, 1);
    let beat = bridge.beat(|state| state.trash_bytes > 0).await;
    assert_eq!((beat.trash_bytes, beat.shards), (64_192, 3));
    bridge
        .order_for(host.id, 2, serial(3), DeleteReason::Purged)
        .await;
    assert_eq!(bridge.orders_done().await, 2);
    assert!(!host.serves(&bridge, &purged).await, "destroyed at once");
    host.clock.set(MONDAY.plus_ms(DAY_MS));
    bridge
        .order_for(host.id, 3, serial(2), DeleteReason::Replaced)
        .await;
    assert_eq!(bridge.orders_done().await, 3);

    host.clock.set(MONDAY);
    assert!(host.serves(&bridge, &old).await && host.serves(&bridge, &new).await);
    host.end().await;
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    assert!(host.serves(&bridge, &old).await);
    host.clock.set(MONDAY.plus_ms(7 * DAY_MS));
    bridge.beat(|state| state.shards == 1).await;
    host.clock.set(MONDAY);
    assert!(!host.serves(&bridge, &old).await && host.serves(&bridge, &new).await);
    host.clock.set(MONDAY.plus_ms(8 * DAY_MS));
    let empty = bridge.beat(|state| state.shards == 0).await;
    assert_eq!(empty.trash_bytes, 0);
    host.end().await;
}

#[tokio::test]
async fn what_is_stored_again_leaves_the_trash_and_a_serial_gets_free() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    let (bytes, other) = (shard(1, 64_000), shard(2, 64_000));
    let first = host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    bridge.order(host.id, 1, serial(1)).await;
    assert_eq!(bridge.orders_done().await, 1);

    let again = host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    assert_eq!(again.body, first.body, "it was here all the time");
    bridge.beat(|state| state.trash_bytes == 0).await;
    host.end().await;
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    host.clock.set(MONDAY.plus_ms(8 * DAY_MS));
    bridge.beat(|state| state.trash_bytes == 0).await;
    host.clock.set(MONDAY);
    assert!(host.serves(&bridge, &bytes).await);

    bridge.order(host.id, 2, serial(1)).await;
    assert_eq!(bridge.orders_done().await, 2);
    let taken = host.put(&bridge.put_ticket(host.id, 1), &other).await;
    assert_eq!(taken.status.as_u16(), 201);
    let receipt = StoreReceipt::open(&taken.body).unwrap();
    assert_eq!(receipt.shard, hash_shard(&other));
    assert!(!host.serves(&bridge, &bytes).await);
    host.end().await;
}

fn largest(seed: u8) -> Bytes {
    shard(seed, ShardSize::MAX.as_usize())
}

#[tokio::test]
async fn the_oldest_trash_makes_room_in_a_quota_and_on_a_volume() {
    for quota in [Some(16 << 20), None] {
        let data = tempfile::tempdir().unwrap();
        let mut bridge = TestBridge::start(0);
        let own = week(data.path(), bridge.port);
        let with_quota = BridgeSettings {
            space_bytes: quota,
            ..own.bridges[0].clone()
        };
        let mut host = TestHost::start(Settings {
            bridges: vec![with_quota],
            ..own
        });
        host.joined().await;
        let mut stored = 0;
        loop {
            let (put, bytes) = (bridge.put_ticket(host.id, stored), largest(stored));
            if host.put(&put, &bytes).await.status.as_u16() != 201 {
                break;
            }
            stored += 1;
        }
        bridge.order(host.id, 1, serial(1)).await;
        assert_eq!(bridge.orders_done().await, 1);
        host.clock.set(MONDAY.plus_ms(1_000));
        let later = vec![Serial([0; 16]), Serial([2; 16]), Serial([3; 16])];
        bridge.order(host.id, 2, later).await;
        assert_eq!(bridge.orders_done().await, 2);
        let full = bridge.beat(|state| state.trash_bytes > 7_000_000).await;
        assert!(full.free_bytes >= full.trash_bytes, "trash counts as free");

        let put = host
            .put(&bridge.put_ticket(host.id, 201), &largest(201))
            .await;
        assert_eq!(put.status.as_u16(), 201);
        assert!(!host.serves(&bridge, &largest(1)).await, "the oldest went");
        assert!(host.serves(&bridge, &largest(3)).await, "others are here");
        let mut next = 202;
        let refused = loop {
            let (put, bytes) = (bridge.put_ticket(host.id, next), largest(next));
            let answer = host.put(&put, &bytes).await;
            if answer.status.as_u16() != 201 {
                break answer;
            }
            next += 1;
        };
        assert_eq!(refused.problem(), "507 no_space");
        bridge.beat(|state| state.trash_bytes == 0).await;
        assert!(host.serves(&bridge, &largest(4)).await);
        host.end().await;
    }
}
