//! Events: what a Bridge decides is kept, without gaps, and stays provable.

use host::{JoinState, Status, events};

use crate::rig::{TestBridge, TestHost, settings};

#[tokio::test]
async fn events_are_kept_without_gaps_and_told_again() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    assert_eq!(bridge.hello().await.events_seen, 0);
    host.joined().await;
    bridge.event(host.id, 1, "welcome").await;
    bridge.event(host.id, 2, "100 audits passed").await;
    bridge.event(host.id, 1, "said again").await;

    // One that does not follow ends the channel; the next hello says how far they are known.
    bridge.event(host.id, 4, "too early").await;
    let away = |state: &JoinState| matches!(state, JoinState::Away { .. });
    let reason = host.join_becomes(away).await.to_string();
    assert!(reason.contains("event 4 came after 2"), "{reason}");
    assert_eq!(bridge.hello().await.events_seen, 2);
    host.joined().await;
    let id = host.id;
    host.end().await;
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    assert_eq!(bridge.hello().await.events_seen, 2);
    host.joined().await;
    bridge.event(id, 3, "in time").await;
    bridge.order(id, 1, Vec::new()).await;
    assert_eq!(bridge.orders_done().await, 1);
    host.end().await;

    let found = events(data.path()).unwrap();
    let told: Vec<_> = found
        .events
        .iter()
        .map(|event| (event.seq, event.reason.as_str()))
        .collect();
    let expected = [(1, "welcome"), (2, "100 audits passed"), (3, "in time")];
    assert_eq!((told.as_slice(), found.damaged), (&expected[..], 0));
    assert_eq!(Status::read(data.path()).unwrap().bridges[0].events, 3);
}
