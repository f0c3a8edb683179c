//! A Host over real sockets between a Bridge and a client: every flow, and every refusal.

mod parts;
mod rig;

use bytes::Bytes;
use host::{JoinState, Settings, Status};
use http::{HeaderName, HeaderValue};
use model::crypto::{LeafRange, Secret, SigningKey, hash_shard};
use model::units::{OwnerTag, Serial, ShardId, ShardSize};
use model::wire::control::FromHost;
use model::wire::{
    Action, PROTOCOL_HEADER, ProtocolVersions, StoreReceipt, content_range, decode_proof,
    range_header,
};
use net::Call;
use rig::{MONDAY, NONCE, TestBridge, TestHost, settings};

fn shard(seed: u8, bytes: usize) -> Bytes {
    (0..bytes)
        .map(|i| (i * 13 % 251).to_le_bytes()[0] ^ seed)
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test]
async fn a_host_says_who_it_is_and_what_it_offers() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));

    let hello = bridge.hear(|message| match message {
        FromHost::Hello { hello } => Some(hello),
        FromHost::Heartbeat { .. } | FromHost::OrdersDone { .. } => None,
    });
    let hello = hello.await.open(&host.id.0).unwrap();
    host.joined().await;
    let beat = bridge.hear(|message| match message {
        FromHost::Heartbeat { state } => Some(state),
        FromHost::Hello { .. } | FromHost::OrdersDone { .. } => None,
    });
    let beat = beat.await;

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
    let about: host::About = serde_json::from_slice(&about.body).unwrap();
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
async fn a_shard_goes_in_and_out_and_a_retry_gets_the_same_receipt() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, ShardSize::MAX.as_usize());
    let id = hash_shard(&bytes);

    let first = host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    host.clock.set(MONDAY.plus_ms(60_000));
    let again = host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let read = host.get(&bridge.get_ticket(host.id, 2, id), &id).await;

    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200));
    assert_eq!(first.body, again.body);
    let receipt = StoreReceipt::open(&first.body).unwrap();
    let expected = StoreReceipt {
        serial: Serial([1; 16]),
        bridge: bridge.id(),
        host: host.id,
        shard: id,
        size: ShardSize::MAX,
        stored: MONDAY,
    };
    assert_eq!(receipt, expected);
    assert_eq!(read.status.as_u16(), 200);
    assert!(read.body == bytes, "the same bytes come back");

    host.end().await;
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    assert!(host.get(&bridge.get_ticket(host.id, 2, id), &id).await.body == bytes);
    assert_eq!(
        host.put(&bridge.put_ticket(host.id, 1), &bytes).await.body,
        first.body
    );
    host.end().await;
}

#[tokio::test]
async fn who_was_interrupted_gets_the_receipt_without_sending_again() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let (bytes, other) = (shard(1, 70_016), shard(2, 70_016));
    let ask = async |ticket: Vec<u8>, id: ShardId| {
        let call = Call::get(format!("/v1/receipts/{id}"));
        host.send(call, Some(&ticket)).await
    };
    let (id, ticket) = (hash_shard(&bytes), bridge.put_ticket(host.id, 1));

    let before = ask(ticket.clone(), id).await;
    let first = host.put(&ticket, &bytes).await;
    let after = ask(ticket.clone(), id).await;
    let elsewhere = ask(bridge.put_ticket(host.id, 2), id).await;
    let bound = ask(ticket, hash_shard(&other)).await;
    let reading = ask(bridge.get_ticket(host.id, 3, id), id).await;

    assert_eq!(before.problem(), "404 not_found");
    assert_eq!((after.status.as_u16(), &after.body), (200, &first.body));
    assert_eq!(elsewhere.problem(), "404 not_found");
    assert_eq!(bound.problem(), "409 serial_bound");
    assert_eq!(reading.problem(), "403 ticket_refused");
    host.end().await;
}

#[tokio::test]
async fn uploads_that_must_not_be_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let (bytes, other) = (shard(1, 6_400), shard(2, 6_400));
    let put = Action::Put {
        owner_tag: OwnerTag([6; 32]),
    };
    let ticket = bridge.ticket(host.id, 1, put, 6_400);
    let good = ticket.sign(&bridge.key);
    let forger = SigningKey::from_seed(&Secret::new([66; 32]));

    let expired = bridge.ticket(host.id, 1, put, 6_400);
    let expired = model::wire::Ticket {
        expires: MONDAY,
        ..expired
    }
    .sign(&bridge.key);
    let elsewhere = bridge
        .ticket(model::units::HostId([9; 32]), 1, put, 6_400)
        .sign(&bridge.key);
    let reading = bridge.get_ticket(host.id, 1, hash_shard(&bytes));
    let refused = "403 ticket_refused";
    assert_eq!(host.put(b"nonsense", &bytes).await.problem(), refused);
    assert_eq!(
        host.put(&ticket.sign(&forger), &bytes).await.problem(),
        refused
    );
    assert_eq!(host.put(&expired, &bytes).await.problem(), refused);
    assert_eq!(host.put(&elsewhere, &bytes).await.problem(), refused);
    assert_eq!(host.put(&reading, &bytes).await.problem(), refused);
    assert_eq!(
        host.put(&good, &shard(1, 6_464)).await.problem(),
        "413 too_large"
    );
    assert_eq!(
        host.put(&good, &shard(1, 2_000_000)).await.problem(),
        "413 too_large"
    );
    assert_eq!(
        host.put(&good, &shard(1, 63)).await.problem(),
        "400 bad_request"
    );
    let lie = host.put_as(&good, &hash_shard(&other), &bytes).await;
    assert_eq!(lie.problem(), "422 hash_mismatch");

    assert_eq!(
        host.put(&good, &bytes).await.status.as_u16(),
        201,
        "the serial is still free"
    );
    assert_eq!(host.put(&good, &other).await.problem(), "409 serial_bound");
    host.end().await;
}

#[tokio::test]
async fn downloads_that_must_not_be_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 6_400);
    let (id, absent) = (hash_shard(&bytes), ShardId([7; 32]));
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;

    let good = bridge.get_ticket(host.id, 2, id);
    assert_eq!(
        host.get(&good, &absent).await.problem(),
        "403 ticket_refused"
    );
    let for_absent = bridge.get_ticket(host.id, 3, absent);
    assert_eq!(
        host.get(&for_absent, &absent).await.problem(),
        "404 not_found"
    );
    let storing = bridge.put_ticket(host.id, 1);
    assert_eq!(
        host.get(&storing, &id).await.problem(),
        "403 ticket_refused"
    );
    let none = host.send(Call::get(format!("/v1/shards/{id}")), None).await;
    assert_eq!(none.problem(), "403 ticket_refused");
    assert_eq!(
        host.send(Call::get("/v1/shards/xyz"), None).await.problem(),
        "400 bad_request"
    );

    let twice = bridge
        .ticket(host.id, 4, Action::Get { shard: id }, 12_800)
        .sign(&bridge.key);
    assert_eq!(host.get(&twice, &id).await.body, bytes);
    assert_eq!(host.get(&twice, &id).await.body, bytes);
    assert_eq!(host.get(&twice, &id).await.problem(), "403 ticket_refused");
    host.end().await;
}

#[tokio::test]
async fn a_run_of_leaves_comes_with_its_proof_and_takes_its_bytes_of_the_ticket() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 5 * 65_536 + 64);
    let (id, size) = (hash_shard(&bytes), u32::try_from(bytes.len()).unwrap());
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let ticket = bridge
        .ticket(host.id, 2, Action::Get { shard: id }, 3 * 65_536)
        .sign(&bridge.key);

    for range in [65_536..131_072, 5 * 65_536..size, 131_072..196_608] {
        let leaves = LeafRange::of_bytes(size, range.clone()).unwrap();
        let answer = host.get_range(&ticket, &id, &range_header(&leaves)).await;
        assert_eq!(answer.status.as_u16(), 206);
        assert_eq!(answer.header("content-range"), content_range(&leaves));
        let proof = decode_proof(answer.header("leaf-proof")).unwrap();
        assert_eq!(leaves.verify(&id, &answer.body, &proof), Ok(()));
        let range = range.start as usize..range.end as usize;
        assert_eq!(answer.body, bytes[range]);
    }
    for wrong in [
        "bytes=0-",
        "bytes=1-65535",
        "bytes=0-65536",
        "bytes=0-393215",
        "lines=0-9",
    ] {
        let refused = host.get_range(&ticket, &id, wrong).await;
        assert_eq!(refused.problem(), "400 bad_request", "{wrong}");
    }
    let beyond = host.get_range(&ticket, &id, "bytes=0-65535").await;
    assert_eq!(
        beyond.problem(),
        "403 ticket_refused",
        "65,472 bytes are left"
    );
    let whole = bridge.get_ticket(host.id, 3, id);
    let all = host
        .get_range(&whole, &id, &format!("bytes=0-{}", size - 1))
        .await;
    assert_eq!((all.status.as_u16(), all.header("leaf-proof")), (206, ""));
    assert_eq!(all.body, bytes);
    host.end().await;
}

#[tokio::test]
async fn no_proof_is_made_of_a_shard_that_rotted() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 3 * 65_536);
    let id = hash_shard(&bytes);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    assert!(rig::rot(data.path(), &bytes[70_000..70_100]));

    let ticket = bridge.get_ticket(host.id, 2, id);
    let refused = host.get_range(&ticket, &id, "bytes=0-65535").await;
    assert!(refused.problem().ends_with(" shard_rotten"));
    let about = host.send(Call::get("/v1/about"), None).await;
    let about: host::About = serde_json::from_slice(&about.body).unwrap();
    assert_eq!(
        about.state.shards_rotten, 1,
        "found by a reader, before any scrub"
    );
    host.end().await;
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
    bridge
        .order(model::units::HostId([9; 32]), 1, serials.clone())
        .await;
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
    let late = model::wire::Ticket {
        expires: MONDAY.plus_ms(7_200_000),
        ..late
    };

    assert_eq!(
        host.put(&late.sign(&bridge.key), &bytes).await.problem(),
        "503 scheduled_off"
    );
    bridge
        .hear(|message| match message {
            FromHost::Heartbeat { state } => state.paused.then_some(()),
            FromHost::Hello { .. } | FromHost::OrdersDone { .. } => None,
        })
        .await;
    host.end().await;
}

#[tokio::test]
async fn a_full_host_refuses_and_keeps_what_it_has() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let mut stored = Vec::new();
    let refused = loop {
        let serial = u8::try_from(stored.len()).expect("it is full before that");
        let bytes = shard(serial, ShardSize::MAX.as_usize());
        let answer = host.put(&bridge.put_ticket(host.id, serial), &bytes).await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        stored.push(hash_shard(&bytes));
    };

    assert_eq!(refused.problem(), "507 no_space");
    assert_eq!(
        stored.len(),
        136,
        "256 MiB hold as many of the largest shards"
    );
    for id in [stored[0], stored[stored.len() - 1]] {
        let read = host.get(&bridge.get_ticket(host.id, 200, id), &id).await;
        assert_eq!(hash_shard(&read.body), id);
    }
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

#[tokio::test]
async fn a_client_without_a_version_in_common_moves_no_byte() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 6_400);
    let put = |speaks: &'static str| {
        let call = Call::put("/v1/shards", bytes.clone());
        let id = hash_shard(&bytes).to_string().parse().unwrap();
        let call = call.header(HeaderName::from_static("shard-id"), id);
        let speaks = HeaderValue::from_static(speaks);
        call.header(HeaderName::from_static(PROTOCOL_HEADER), speaks)
    };
    let ticket = bridge.put_ticket(host.id, 1);

    let newer = host.send(put("8-9"), Some(&ticket)).await;
    assert_eq!(
        (newer.status.as_u16(), newer.problem().as_str()),
        (426, "426 version_refused")
    );
    let unread = host.send(put("nine"), Some(&ticket)).await;
    assert_eq!(unread.problem(), "400 bad_request");
    let about = host.send(Call::get("/v1/about"), None).await;
    assert_eq!(about.status.as_u16(), 200);
    let before = host.send(put("1-1"), Some(&ticket)).await;
    assert_eq!(
        before.status.as_u16(),
        201,
        "a client of the version before"
    );
    host.end().await;
}
