//! What an owner wishes of a running Host: to leave, to pause, other hours.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use host::{AskedBy, Pause, Settings, Status, VolumeSettings, Wishes};
use model::units::{Serial, ShardSize, UnixMs};
use model::wire::Schedule;
use model::wire::control::DeleteReason;
use model::wire::upkeep::LeaveWish;

use crate::rig::{MONDAY, TestBridge, TestHost, bridge, settings, shard};

fn ask(data: &Path, wish: LeaveWish) -> UnixMs {
    let mut at = UnixMs(0);
    Wishes::change(data, |wishes| at = wishes.ask(wish, AskedBy::Owner, MONDAY)).unwrap();
    at
}

/// Waits, a heartbeat at a time, until the status file says so.
async fn shows(bridge: &mut TestBridge, data: &Path, wanted: impl Fn(&Status) -> bool) -> Status {
    loop {
        bridge.beat(|_| true).await;
        match Status::read(data) {
            Ok(status) if wanted(&status) => return status,
            Ok(_) | Err(_) => {}
        }
    }
}

#[tokio::test]
async fn leaving_is_told_followed_and_told_again_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let (id, bytes) = (host.id, shard(1, 6_400));
    host.put(&bridge.put_ticket(id, 1), &bytes).await;

    let at = ask(data.path(), LeaveWish::All);
    let told = bridge.leave(id).await;
    assert_eq!(
        (told.wish, told.at, told.bridge),
        (LeaveWish::All, at, bridge.id())
    );
    bridge.beat(|state| state.free_bytes == 0).await;
    assert!(host.serves(&bridge, &bytes).await, "it keeps serving");
    bridge.leaving(LeaveWish::All, 5, false).await;
    let status = shows(&mut bridge, data.path(), |status| {
        status.bridges[0].leaving.is_some()
    });
    let status = status.await;
    assert_eq!(status.bridges[0].leave_told, at);
    assert!(!status.wishes.leave.unwrap().done);

    host.end().await;
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    assert_eq!(bridge.leave(id).await, told, "the same wish again");
    bridge.leaving(LeaveWish::All, 6_400, true).await;
    let done = |status: &Status| status.wishes.leave.as_ref().is_some_and(|leave| leave.done);
    shows(&mut bridge, data.path(), done).await;

    let stays = ask(data.path(), LeaveWish::Stay);
    let told = bridge.leave(id).await;
    assert_eq!((told.wish, told.at), (LeaveWish::Stay, stays));
    bridge.beat(|state| state.free_bytes > 0).await;

    // What was said of the first wish says nothing of the next one like it.
    let again = ask(data.path(), LeaveWish::All);
    assert_eq!(bridge.leave(id).await.at, again);
    let told = |status: &Status| status.bridges[0].leave_told == again;
    let status = shows(&mut bridge, data.path(), told).await;
    assert_eq!(status.bridges[0].leaving, None);
    host.end().await;
    assert!(!Wishes::read(data.path()).unwrap().leave.unwrap().done);
}

#[tokio::test]
async fn a_partial_exit_is_shared_by_the_bridges_and_offered_no_more() {
    let data = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (
        TestBridge::start_with_key(0, 1),
        TestBridge::start_with_key(0, 2),
    );
    let both = Settings {
        bridges: vec![bridge(one.port, None), bridge(two.port, None)],
        ..settings(data.path(), one.port)
    };
    let mut host = TestHost::start(both.clone());
    host.joined().await;
    let id = host.id;
    for serial in 0..3 {
        let put = one.put_ticket(id, serial);
        host.put(&put, &shard(serial, 64_000)).await;
    }
    host.put(&two.put_ticket(id, 9), &shard(9, 64_000)).await;
    assert_eq!(one.hello().await.offer.space_bytes, 268_435_456);

    ask(data.path(), LeaveWish::Part { bytes: 100_000 });
    let (first, second) = (one.leave(id).await.wish, two.leave(id).await.wish);
    let part = |bytes| LeaveWish::Part { bytes };
    assert_eq!((first, second), (part(75_000), part(25_000)));
    one.leaving(first, 75_000, true).await;
    two.leaving(second, 25_000, true).await;
    // Once both are done they are greeted anew, with less.
    assert_eq!(one.hello().await.offer.space_bytes, 268_335_456);
    host.joined().await;
    one.beat(|state| state.free_bytes > 0).await;
    host.end().await;
    let status = Status::read(data.path()).unwrap();
    assert_eq!(status.space_bytes, 268_335_456);

    // More that is configured is offered.
    let volumes = vec![VolumeSettings {
        folder: None,
        space_bytes: 300_000_000,
    }];
    let more = Settings { volumes, ..both };
    let mut host = TestHost::start(more);
    assert_eq!(one.hello().await.offer.space_bytes, 300_000_000);
    host.joined().await;
    host.end().await;
}

#[tokio::test]
async fn a_host_that_shrinks_below_what_it_holds_asks_to_be_rid_of_the_rest() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let sized = |space_bytes| Settings {
        volumes: vec![VolumeSettings {
            folder: None,
            space_bytes,
        }],
        ..settings(data.path(), bridge.port)
    };
    let (large, small) = (sized(400_000_000), sized(268_435_456));
    let mut host = TestHost::start(large);
    host.joined().await;
    let id = host.id;
    for serial in 0..140 {
        let put = bridge.put_ticket(id, serial);
        let bytes = shard(serial, ShardSize::MAX.as_usize());
        assert_eq!(host.put(&put, &bytes).await.status.as_u16(), 201);
    }
    host.end().await;

    let mut host = TestHost::start(small);
    host.joined().await;
    let bytes = match bridge.leave(id).await.wish {
        LeaveWish::Part { bytes } => bytes,
        LeaveWish::Stay | LeaveWish::All => 0,
    };
    let held_bytes = 140 * (1_966_080 + 192);
    let excess_bytes = held_bytes - 268_435_456;
    assert!(bytes.abs_diff(excess_bytes) < 1_000_000, "{bytes}");
    let serials = (0..5).map(|serial| Serial([serial; 16])).collect();
    bridge
        .order_for(id, 1, serials, DeleteReason::Replaced)
        .await;
    assert_eq!(bridge.leave(id).await.wish, LeaveWish::Stay, "it fits");
    host.end().await;
}

#[tokio::test]
async fn a_pause_and_other_hours_are_heeded_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    assert_eq!(bridge.hello().await.offer.schedule, Schedule::ALWAYS);
    host.joined().await;
    let (id, bytes) = (host.id, shard(1, 64));
    let rest = |until| {
        let pause = Some(Pause { until });
        Wishes::change(data.path(), |wishes| wishes.pause = pause).unwrap();
    };
    rest(None);
    bridge.beat(|state| state.paused).await;
    let refused = host.put(&bridge.put_ticket(id, 1), &bytes).await;
    assert_eq!(refused.problem(), "503 scheduled_off");
    Wishes::change(data.path(), |wishes| wishes.pause = None).unwrap();
    bridge.beat(|state| !state.paused).await;
    rest(Some(MONDAY.plus_ms(1_000)));
    bridge.beat(|state| state.paused).await;
    host.clock.set(MONDAY.plus_ms(1_000));
    bridge.beat(|state| !state.paused).await;

    let all_but_the_first: Schedule = format!("7{}", "f".repeat(41)).parse().unwrap();
    let hours = Some(all_but_the_first);
    Wishes::change(data.path(), |wishes| wishes.schedule = hours).unwrap();
    assert_eq!(bridge.hello().await.offer.schedule, all_but_the_first);
    bridge.beat(|state| state.paused).await;
    Wishes::change(data.path(), |wishes| wishes.schedule = None).unwrap();
    assert_eq!(bridge.hello().await.offer.schedule, Schedule::ALWAYS);
    let put = host.put(&bridge.put_ticket(id, 1), &bytes).await;
    assert_eq!(put.status.as_u16(), 201);
    host.end().await;
}
