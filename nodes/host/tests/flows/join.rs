//! The control channel: who joins whom, and what happens while it is closed.

use host::{About, JoinState, Settings, Status};
use model::crypto::hash_shard;
use model::units::OwnerTag;
use model::wire::control::ProtocolVersions;
use model::wire::{Action, Ticket};
use net::Call;

use crate::rig::{MONDAY, NONCE, TestBridge, TestHost, settings, shard};

#[tokio::test]
async fn a_host_says_who_it_is_and_what_it_offers() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));

    let hello = bridge.hello().await;
    host.joined().await;
    let beat = bridge.beat(|_| true).await;

    assert_eq!(
        (hello.host, hello.bridge, hello.nonce.as_str()),
        (host.id, bridge.id(), NONCE)
    );
    assert_eq!(
        (hello.offer.name.as_str(), hello.offer.space_bytes),
        ("h1", 268_435_456)
    );
    assert_eq!(hello.offer.zone.as_deref(), Some("z1"));
    assert!(beat.free_bytes > 200_000_000 && !beat.paused);
    let about = host.send(Call::get("/v1/about"), None).await;
    let about: About = serde_json::from_slice(&about.body).unwrap();
    assert_eq!((about.host, about.bridge), (host.id, Some(bridge.id())));
    assert_eq!(host.send(Call::get("/healthz"), None).await.body, "ok\n");
    host.end().await;
    let status = Status::read(data.path()).unwrap();
    assert_eq!(
        (status.host, status.bridge),
        (about.host, Some(bridge.id()))
    );
}

#[tokio::test]
async fn nobody_is_served_before_a_bridge_was_joined() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let host = TestHost::start(settings(data.path(), 1));
    let refused = host
        .put(&bridge.put_ticket(host.id, 1), &shard(1, 64))
        .await;
    assert_eq!(refused.problem(), "403 ticket_refused");
    host.end().await;
}

#[tokio::test]
async fn while_the_bridge_is_away_the_host_serves_and_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let (port, put, bytes) = (bridge.port, bridge.key.clone(), shard(1, 6_400));
    let mut host = TestHost::start(settings(data.path(), port));
    host.joined().await;
    let id = hash_shard(&bytes);
    let (put_ticket, get_ticket) = (
        bridge.put_ticket(host.id, 1),
        bridge.get_ticket(host.id, 2, id),
    );
    assert_eq!(put.public(), bridge.key.public());
    bridge.end().await;
    host.join_becomes(|state| matches!(state, JoinState::Away { .. }))
        .await;

    assert_eq!(host.put(&put_ticket, &bytes).await.status.as_u16(), 201);
    assert_eq!(host.get(&get_ticket, &id).await.body, bytes);

    let impostor = TestBridge::start_with_key(port, 99);
    let refused = host
        .join_becomes(|state| matches!(state, JoinState::Refused { .. }))
        .await;
    assert!(
        refused
            .to_string()
            .contains("this host's shards belong to that one"),
        "{refused}"
    );
    impostor.end().await;
    let _bridge = TestBridge::start(port);
    host.joined().await;
    host.end().await;
}

#[tokio::test]
async fn outside_its_hours_a_host_serves_nobody_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let only_the_first_hour = format!("8{}", "0".repeat(41)).parse().unwrap();
    let schedule = Settings {
        schedule: only_the_first_hour,
        ..settings(data.path(), bridge.port)
    };
    let mut host = TestHost::start(schedule);
    host.joined().await;
    let (bytes, ticket) = (shard(1, 64), bridge.put_ticket(host.id, 1));
    assert_eq!(host.put(&ticket, &bytes).await.status.as_u16(), 201);

    host.clock.set(MONDAY.plus_ms(3_600_000));
    let late = bridge.ticket(
        host.id,
        2,
        Action::Put {
            owner_tag: OwnerTag([6; 32]),
        },
        64,
    );
    let late = Ticket {
        expires: MONDAY.plus_ms(7_200_000),
        ..late
    };

    assert_eq!(
        host.put(&late.sign(&bridge.key), &bytes).await.problem(),
        "503 scheduled_off"
    );
    bridge.beat(|state| state.paused).await;
    host.end().await;
}

#[tokio::test]
async fn a_bridge_of_the_version_before_is_joined_and_one_too_new_is_named() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start_speaking(0, 1, ProtocolVersions::FIRST);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    host.end().await;
    bridge.end().await;

    let bridge = TestBridge::start_speaking(0, 1, "8-9".parse().unwrap());
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    let refused = |state: &JoinState| matches!(state, JoinState::Refused { .. });
    let JoinState::Refused { reason } = host.join_becomes(refused).await else {
        panic!("it is refused");
    };
    let way_out = "the bridge 8 to 9: update the host";
    assert!(reason.ends_with(way_out), "{reason}");
    host.end().await;
}
