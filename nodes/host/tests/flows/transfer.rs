//! Shards go in and out, and everything that must not be is refused.

use host::About;
use http::{HeaderName, HeaderValue};
use model::crypto::{LeafRange, Secret, SigningKey, hash_shard};
use model::units::{HostId, OwnerTag, Serial, ShardId, ShardSize};
use model::wire::{
    Action, PROTOCOL_HEADER, StoreReceipt, Ticket, content_range, decode_proof, range_header,
};
use net::Call;

use crate::rig::{MONDAY, TestBridge, TestHost, rot, settings, shard};

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
    let expired = Ticket {
        expires: MONDAY,
        ..expired
    }
    .sign(&bridge.key);
    let elsewhere = bridge
        .ticket(HostId([9; 32]), 1, put, 6_400)
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
    assert!(rot(data.path(), &bytes[70_000..70_100]));

    let ticket = bridge.get_ticket(host.id, 2, id);
    let refused = host.get_range(&ticket, &id, "bytes=0-65535").await;
    assert!(refused.problem().ends_with(" shard_rotten"));
    let about = host.send(Call::get("/v1/about"), None).await;
    let about: About = serde_json::from_slice(&about.body).unwrap();
    assert_eq!(
        about.state.shards_rotten, 1,
        "found by a reader, before any scrub"
    );
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
