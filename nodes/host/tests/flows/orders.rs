//! Signed, numbered orders: done once, in order, and nothing on any other word.

use host::JoinState;
use model::crypto::hash_shard;
use model::units::{HostId, Serial};

use crate::rig::{TestBridge, TestHost, settings, shard};

#[tokio::test]
async fn orders_are_done_once_in_order_and_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let shards = [shard(1, 64), shard(2, 64), shard(3, 64)];
    for (serial, bytes) in (1..).zip(&shards) {
        host.put(&bridge.put_ticket(host.id, serial), bytes).await;
    }
    let is_here = async |host: &TestHost, bridge: &TestBridge, index: usize| {
        let id = hash_shard(&shards[index]);
        host.get(&bridge.get_ticket(host.id, 9, id), &id)
            .await
            .status
            .as_u16()
            == 200
    };

    bridge
        .order(host.id, 1, vec![Serial([1; 16]), Serial([77; 16])])
        .await;
    assert_eq!(bridge.orders_done().await, 1);
    assert!(!is_here(&host, &bridge, 0).await);
    bridge.order(host.id, 1, vec![Serial([2; 16])]).await;
    assert_eq!(bridge.orders_done().await, 1);
    assert!(
        is_here(&host, &bridge, 1).await,
        "an order is never done twice"
    );

    let id = host.id;
    host.end().await;
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    assert!(!is_here(&host, &bridge, 0).await);
    bridge.order(id, 2, vec![Serial([3; 16])]).await;
    assert_eq!(bridge.orders_done().await, 2);
    assert!(!is_here(&host, &bridge, 2).await);
    host.end().await;
}

#[tokio::test]
async fn orders_that_are_not_the_bridges_next_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 64);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let serials = vec![Serial([1; 16])];

    // Each ends the channel; the Host comes back and can be told the right one.
    bridge.order(host.id, 5, serials.clone()).await;
    host.join_becomes(|state| matches!(state, JoinState::Away { .. }))
        .await;
    host.joined().await;
    bridge.order(HostId([9; 32]), 1, serials.clone()).await;
    let away = host
        .join_becomes(|state| matches!(state, JoinState::Away { .. }))
        .await;
    host.joined().await;

    let for_another = "an order for another host or of another bridge";
    assert!(away.to_string().contains(for_another), "{away}");
    let id = hash_shard(&bytes);
    assert_eq!(
        host.get(&bridge.get_ticket(host.id, 9, id), &id).await.body,
        bytes
    );
    bridge.order(host.id, 1, serials).await;
    assert_eq!(bridge.orders_done().await, 1);
    host.end().await;
}
