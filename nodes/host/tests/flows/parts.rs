//! A Host with several Bridges and several volumes: none touches what is another's, and what
//! cannot be seen is never called lost.

use std::path::Path;

use crate::rig::{MONDAY, TestBridge, TestHost, bridge, settings, shard};
use bytes::Bytes;
use host::{JoinState, Settings, Status, VolumeSettings, verify};
use model::crypto::hash_shard;
use model::units::{Serial, ShardSize};
use model::wire::Problem;
use net::Call;

async fn is_here(host: &TestHost, bridge: &TestBridge, bytes: &Bytes) -> bool {
    let id = hash_shard(bytes);
    let read = host.get(&bridge.get_ticket(host.id, 200, id), &id).await;
    read.status.as_u16() == 200 && read.body == *bytes
}

/// A Host of two Bridges, the first of which may keep `quota_bytes`.
fn two_bridges(data: &Path, one: &TestBridge, two: &TestBridge, quota_bytes: u64) -> Settings {
    Settings {
        bridges: vec![bridge(one.port, Some(quota_bytes)), bridge(two.port, None)],
        ..settings(data, one.port)
    }
}

#[tokio::test]
async fn an_order_of_one_bridge_never_touches_what_is_anothers() {
    let data = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (
        TestBridge::start_with_key(0, 1),
        TestBridge::start_with_key(0, 2),
    );
    let mut host = TestHost::start(two_bridges(data.path(), &one, &two, 1 << 27));
    host.joined().await;
    // The same shard under the same serial for both, and one that only the second has.
    let (shared, own) = (shard(1, 64_000), shard(2, 64_000));
    for bridge in [&one, &two] {
        let put = host.put(&bridge.put_ticket(host.id, 1), &shared).await;
        assert_eq!(put.status.as_u16(), 201);
    }
    host.put(&two.put_ticket(host.id, 2), &own).await;
    assert!(is_here(&host, &one, &shared).await && is_here(&host, &two, &shared).await);
    let read = one.get_ticket(host.id, 9, hash_shard(&own));
    let read = host.get(&read, &hash_shard(&own)).await;
    assert_eq!(
        read.problem(),
        "404 not_found",
        "it is not the first one's to read"
    );

    one.order(host.id, 1, vec![Serial([1; 16]), Serial([2; 16])])
        .await;
    assert_eq!(one.orders_done().await, 1);
    assert!(!is_here(&host, &one, &shared).await);
    assert!(is_here(&host, &two, &shared).await && is_here(&host, &two, &own).await);
    host.put(&one.put_ticket(host.id, 3), &shared).await;
    two.order(host.id, 1, vec![Serial([1; 16])]).await;
    assert_eq!(two.orders_done().await, 1);
    assert!(is_here(&host, &one, &shared).await && !is_here(&host, &two, &shared).await);

    // Each has a counter of its own, also after a restart.
    let id = host.id;
    host.end().await;
    let mut host = TestHost::start(two_bridges(data.path(), &one, &two, 1 << 27));
    host.joined().await;
    one.order(id, 2, vec![Serial([3; 16])]).await;
    assert_eq!(one.orders_done().await, 2);
    two.order(id, 2, vec![Serial([2; 16])]).await;
    assert_eq!(two.orders_done().await, 2);
    assert!(!is_here(&host, &one, &shared).await && !is_here(&host, &two, &own).await);
    host.end().await;
    let status = Status::read(data.path()).unwrap();
    let held: Vec<_> = status
        .bridges
        .iter()
        .map(|bridge| bridge.held_bytes)
        .collect();
    assert_eq!(held, [0, 0]);
}

#[tokio::test]
async fn a_bridge_whose_quota_is_used_up_leaves_the_others_writing() {
    let data = tempfile::tempdir().unwrap();
    let (mut one, two) = (
        TestBridge::start_with_key(0, 1),
        TestBridge::start_with_key(0, 2),
    );
    let mut host = TestHost::start(two_bridges(data.path(), &one, &two, 16 << 20));
    host.joined().await;
    let hello = one.hello().await;
    assert_eq!(hello.offer.space_bytes, 16 << 20);

    let bytes = |serial| shard(serial, ShardSize::MAX.as_usize());
    let mut stored = 0;
    let refused = loop {
        let answer = host
            .put(&one.put_ticket(host.id, stored), &bytes(stored))
            .await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        stored += 1;
    };
    assert_eq!((stored, refused.problem().as_str()), (8, "507 no_space"));
    let problem: Problem = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem.facts["quota"], 16 << 20);
    assert_eq!(problem.facts["needed"], 1_966_080 + 192);
    let other = host.put(&two.put_ticket(host.id, 1), &bytes(100)).await;
    assert_eq!(other.status.as_u16(), 201);

    // What is on its way counts until it is stored, so an earlier one may tell of less.
    one.beat(|state| {
        let used_bytes = 8 * (1_966_080 + 192);
        let free_bytes = (16 << 20) - used_bytes;
        (state.shards, state.used_bytes, state.free_bytes) == (8, used_bytes, free_bytes)
    })
    .await;
    one.order(host.id, 1, vec![Serial([0; 16])]).await;
    assert_eq!(one.orders_done().await, 1);
    let again = host.put(&one.put_ticket(host.id, 50), &bytes(50)).await;
    assert_eq!(again.status.as_u16(), 201, "what is deleted counts no more");
    host.end().await;
}

#[tokio::test]
async fn a_bridge_named_twice_is_joined_once() {
    let data = tempfile::tempdir().unwrap();
    let one = TestBridge::start_with_key(0, 1);
    let same = TestBridge::start_with_key(0, 1);
    let mut host = TestHost::start(two_bridges(data.path(), &one, &same, 1 << 27));
    let refused = |state: &JoinState| matches!(state, JoinState::Refused { .. });
    let joined = |state: &JoinState| matches!(state, JoinState::Joined { .. });
    let first = host
        .join_of(0, |state| refused(state) || joined(state))
        .await;
    let other = host
        .join_of(1, |state| refused(state) || joined(state))
        .await;
    assert!(joined(&first) != joined(&other), "{first} and {other}");
    host.end().await;
}

/// A Host with a volume of its own and two others.
fn three_volumes(data: &Path, bridge: &TestBridge) -> Settings {
    let volume = |name| VolumeSettings {
        folder: Some(data.join(name)),
        space_bytes: 200_000_000,
    };
    let mut settings = settings(data, bridge.port);
    settings.volumes[0].space_bytes = 200_000_000;
    settings.volumes.extend([volume("b"), volume("c")]);
    settings
}

#[tokio::test]
async fn what_lies_on_a_volume_that_is_away_is_unseen_and_comes_back() {
    let data = tempfile::tempdir().unwrap();
    for name in ["b", "c"] {
        std::fs::create_dir(data.path().join(name)).unwrap();
    }
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(three_volumes(data.path(), &bridge));
    host.joined().await;
    let shards: Vec<Bytes> = (0..9).map(|seed| shard(seed, 640_000)).collect();
    for (serial, bytes) in (0..).zip(&shards) {
        host.put(&bridge.put_ticket(host.id, serial), bytes).await;
    }
    let id = host.id;
    host.end().await;
    let away = |from: &str, to: &str| {
        let moved = std::process::Command::new("mv")
            .args([data.path().join(from), data.path().join(to)])
            .status();
        assert!(moved.unwrap().success());
    };
    away("b", "unplugged");

    let mut host = TestHost::start(three_volumes(data.path(), &bridge));
    host.joined().await;
    let mut unseen = Vec::new();
    for (serial, bytes) in (0..).zip(&shards) {
        let id = hash_shard(bytes);
        let read = host
            .get(&bridge.get_ticket(host.id, 100 + serial, id), &id)
            .await;
        if read.status.as_u16() != 200 {
            assert_eq!(read.problem(), "503 shard_unseen");
            unseen.push(serial);
        }
    }
    assert_eq!(unseen.len(), 3, "a third lies on each volume");
    let beat = bridge.beat(|state| state.volumes_away == 1).await;
    assert_eq!(beat.shards, 6);
    bridge.order(id, 1, vec![Serial([unseen[0]; 16])]).await;
    assert_eq!(
        bridge.orders_done().await,
        1,
        "it is remembered until the volume is back"
    );
    let put = host
        .put(&bridge.put_ticket(host.id, 50), &shard(50, 64_000))
        .await;
    assert_eq!(put.status.as_u16(), 201, "the others take shards");
    host.end().await;
    let status = Status::read(data.path()).unwrap();
    assert_eq!(status.volumes[1].state, "away");

    away("unplugged", "b");
    let mut host = TestHost::start(three_volumes(data.path(), &bridge));
    host.joined().await;
    for (serial, bytes) in (0..).zip(&shards) {
        assert_eq!(is_here(&host, &bridge, bytes).await, serial != unseen[0]);
    }
    host.end().await;
}

#[tokio::test]
async fn rot_is_found_by_verify_and_never_served() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let shards: Vec<Bytes> = (0..5).map(|seed| shard(seed, 64_000)).collect();
    for (serial, bytes) in (0..).zip(&shards) {
        host.put(&bridge.put_ticket(host.id, serial), bytes).await;
    }
    host.end().await;
    let whole = verify(data.path(), MONDAY).unwrap();
    assert_eq!((whole.shards, whole.bytes, whole.rotten), (5, 320_000, 0));

    let log = data.path().join("store/logs/00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[64 + 192 + 100] ^= 1;
    shardstore::durable::replace(&log, &bytes).unwrap();
    let found = verify(data.path(), MONDAY).unwrap();
    assert_eq!((found.shards, found.rotten), (5, 1));
    let rotten = &found.volumes[0].rotten[0];
    assert_eq!((rotten.log, rotten.offset), (1, 64));

    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let id = rotten.shard.unwrap();
    let read = host.get(&bridge.get_ticket(host.id, 90, id), &id).await;
    assert_eq!(read.problem(), "410 shard_rotten");
    let about = host.send(Call::get("/v1/about"), None).await;
    let about: host::About = serde_json::from_slice(&about.body).unwrap();
    assert_eq!(about.state.shards_rotten, 1);
    let serial = (0..)
        .zip(&shards)
        .find(|(_, bytes)| hash_shard(bytes) == id);
    let (serial, bytes) = serial.unwrap();
    let healed = host.put(&bridge.put_ticket(host.id, serial), bytes).await;
    assert_eq!(healed.status.as_u16(), 201);
    assert!(is_here(&host, &bridge, bytes).await);
    host.end().await;
    assert_eq!(verify(data.path(), MONDAY).unwrap().rotten, 0);
}

#[tokio::test]
async fn a_running_host_finds_rot_by_itself_and_tells_its_bridge() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    for serial in 0..5 {
        let bytes = shard(serial, 64_000);
        host.put(&bridge.put_ticket(host.id, serial), &bytes).await;
    }
    host.end().await;
    let log = data.path().join("store/logs/00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[64 + 192 + 100] ^= 1;
    shardstore::durable::replace(&log, &bytes).unwrap();

    let host = TestHost::start(settings(data.path(), bridge.port));
    bridge.beat(|state| state.shards_rotten == 1).await;
    host.end().await;
}

#[tokio::test]
async fn metrics_show_every_volume_and_bridge() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let metrics = runtime::Metrics::start().unwrap();
    let mut host = TestHost::start_metered(settings(data.path(), bridge.port), Some(metrics));
    host.joined().await;
    let bytes = shard(1, 64_000);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;

    let page = host.send(Call::get("/metrics"), None).await;
    host.end().await;

    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let status = Status::read(data.path()).unwrap();
    let (volume, url) = (&status.volumes[0].id, &status.bridges[0].url);
    for line in [
        format!("xcloud_host_volume_there{{volume=\"{volume}\"}} 1"),
        format!("xcloud_host_volume_shards{{volume=\"{volume}\"}} 1"),
        format!("xcloud_host_scrub_rotten_shards{{volume=\"{volume}\"}} 0"),
        format!("xcloud_host_join_joined{{bridge=\"{url}\"}} 1"),
        format!("xcloud_host_bridge_held_bytes{{bridge=\"{url}\"}} 64192"),
        "xcloud_host_upload_shard_bytes_total 64000".to_owned(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}
