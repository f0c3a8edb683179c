//! Retain sets and marks: what a Bridge does not name goes into the trash, and nothing goes on the
//! word of a Bridge whose memory went back.

use std::path::Path;
use std::time::Duration;

use host::{Settings, Status};
use model::units::{HostId, Serial, UnixMs};
use model::wire::Base64;
use model::wire::upkeep::RetainSet;

use crate::rig::{MONDAY, TestBridge, TestHost, settings, shard};

fn week(data: &Path, port: u16) -> Settings {
    Settings {
        trash: Duration::from_secs(604_800),
        ..settings(data, port)
    }
}

/// Of the serials 1 to 8 those in `live` are to stay.
fn set(bridge: &TestBridge, host: HostId, live: &[u8]) -> RetainSet {
    RetainSet {
        bridge: bridge.id(),
        host,
        order_seq: 0,
        mark: 10,
        created_before: MONDAY.plus_ms(1_000),
        except: Vec::new(),
        first: Serial([1; 16]),
        last: Serial([8; 16]),
        live: Base64(live.iter().flat_map(|serial| [*serial; 16]).collect()),
    }
}

#[tokio::test]
async fn what_is_not_named_goes_into_the_trash_and_what_is_named_comes_out() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    for serial in 0..10 {
        let at = if serial == 7 {
            2_000
        } else {
            u64::from(serial)
        };
        host.clock.set(MONDAY.plus_ms(at));
        let bytes = shard(serial, 6_400);
        host.put(&bridge.put_ticket(host.id, serial), &bytes).await;
    }
    bridge.mark(10).await;

    // Beyond the range, too young, excepted, live: the rest are 1, 3 and 8.
    let mut some = set(&bridge, host.id, &[2, 4]);
    some.except = vec![(MONDAY.plus_ms(5), MONDAY.plus_ms(6))];
    assert_eq!(bridge.retain(&some).await, Ok(3));
    assert_eq!(bridge.retain(&some).await, Ok(0), "they are in it already");
    let beat = bridge.beat(|state| state.trash_bytes > 0).await;
    assert_eq!((beat.trash_bytes, beat.shards), (3 * 6_592, 10));
    let more = set(&bridge, host.id, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(bridge.retain(&more).await, Ok(0));
    bridge.beat(|state| state.trash_bytes == 6_592).await;

    host.clock.set(MONDAY.plus_ms(604_800_000 + 10_000));
    bridge.beat(|state| state.shards == 9).await;
    host.clock.set(MONDAY);
    for serial in 0..10 {
        let is_here = host.serves(&bridge, &shard(serial, 6_400)).await;
        assert_eq!(is_here, serial != 8, "serial {serial}");
    }
    host.end().await;
}

#[tokio::test]
async fn a_set_that_does_not_fit_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(week(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 6_400);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    bridge.order(host.id, 1, vec![Serial([99; 16])]).await;
    assert_eq!(bridge.orders_done().await, 1);
    bridge.mark(10).await;
    let good = RetainSet {
        order_seq: 1,
        ..set(&bridge, host.id, &[])
    };

    let wrong = [
        (
            RetainSet {
                order_seq: 0,
                ..good.clone()
            },
            "the set knows of orders up to 0, 1 are done",
        ),
        (
            RetainSet {
                mark: 9,
                ..good.clone()
            },
            "the set was made at mark 9, 10 is known",
        ),
        (
            RetainSet {
                host: HostId([9; 32]),
                ..good.clone()
            },
            "the set is for another host or of another bridge",
        ),
        (
            RetainSet {
                live: Base64([[2; 16], [1; 16]].concat()),
                ..good.clone()
            },
            "the set is malformed or too long",
        ),
        (
            RetainSet {
                except: vec![(UnixMs(0), UnixMs(1)); 65],
                ..good.clone()
            },
            "the set is malformed or too long",
        ),
    ];
    for (set, reason) in wrong {
        assert_eq!(bridge.retain(&set).await, Err(reason.to_owned()));
    }
    assert_eq!(bridge.beat(|_| true).await.trash_bytes, 0);
    assert_eq!(bridge.retain(&good).await, Ok(1));
    host.end().await;
}

#[tokio::test]
async fn a_bridge_whose_memory_went_back_deletes_nothing_until_it_caught_up() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let port = bridge.port;
    let mut host = TestHost::start(settings(data.path(), port));
    host.joined().await;
    for serial in 1..=3 {
        let put = bridge.put_ticket(host.id, serial);
        host.put(&put, &shard(serial, 6_400)).await;
    }
    bridge.mark(100).await;
    bridge.order(host.id, 1, vec![Serial([1; 16])]).await;
    assert_eq!(bridge.orders_done().await, 1);
    assert!(!host.serves(&bridge, &shard(1, 6_400)).await);
    let id = host.id;
    host.end().await;
    bridge.end().await;

    // It comes back with an older memory: an order that comes before its mark waits for it.
    let mut bridge = TestBridge::start(port);
    let mut host = TestHost::start(settings(data.path(), port));
    assert_eq!(bridge.hello().await.mark.unwrap().peek().unwrap().mark, 100);
    host.joined().await;
    bridge.order(id, 2, vec![Serial([2; 16])]).await;
    bridge.mark(40).await;
    assert_eq!(bridge.orders_done().await, 2, "acknowledged, not done");
    assert!(host.serves(&bridge, &shard(2, 6_400)).await);
    let sweeping = RetainSet {
        order_seq: 2,
        mark: 200,
        ..set(&bridge, id, &[])
    };
    let refused = bridge.retain(&sweeping).await.unwrap_err();
    assert!(refused.contains("memory is behind"), "{refused}");
    host.end().await;
    let frozen = Status::read(data.path()).unwrap().bridges[0].frozen;
    let frozen = frozen.map(|behind| (behind.mark, behind.before));
    assert_eq!(frozen, Some((40, 100)));

    let mut host = TestHost::start(settings(data.path(), port));
    host.joined().await;
    bridge.mark(99).await;
    bridge.order(id, 3, vec![Serial([2; 16])]).await;
    assert_eq!(bridge.orders_done().await, 3);
    assert!(host.serves(&bridge, &shard(2, 6_400)).await);
    bridge.mark(100).await;
    bridge.order(id, 4, vec![Serial([3; 16])]).await;
    assert_eq!(bridge.orders_done().await, 4);
    assert!(!host.serves(&bridge, &shard(3, 6_400)).await, "it thawed");
    assert_eq!(
        bridge
            .retain(&RetainSet {
                order_seq: 4,
                ..sweeping
            })
            .await,
        Ok(1)
    );
    assert!(!host.serves(&bridge, &shard(2, 6_400)).await);
    host.end().await;
}
