//! Tests of who counts as there.

use model::wire::Schedule;
use model::wire::control::Offer;

use super::*;

const NOW: UnixMs = UnixMs(1_700_000_000_000);
const HOST: (HostAlias, HostId) = (HostAlias(1), HostId([1; 32]));

fn offer() -> StoredOffer {
    let offer = Offer {
        name: "h1".to_owned(),
        addresses: vec!["127.0.0.1:7001".to_owned()],
        space_bytes: 1 << 40,
        bandwidth_up: None,
        bandwidth_down: None,
        schedule: Schedule::ALWAYS,
        zone: None,
        region: Some("eu".to_owned()),
        until: Some(NOW.plus_ms(1_000_000)),
    };
    StoredOffer {
        offer,
        zone: "z1".to_owned(),
        agent: "test".to_owned(),
    }
}

fn state() -> HostState {
    HostState {
        free_bytes: 10_000_000,
        ..HostState::default()
    }
}

fn online(directory: &Directory, now: UnixMs) -> u64 {
    directory.rebuild(now);
    directory.roster().online()
}

#[test]
fn a_host_counts_while_connected_reached_promised_and_not_paused() {
    let directory = Directory::new(Timing::STANDARD, Vec::new(), NOW);
    let link = directory.connect(HOST, offer(), state(), NOW);
    assert_eq!(online(&directory, NOW), 0);
    directory.set_reachable(&link, true);
    assert_eq!(online(&directory, NOW), 1);
    directory.heard(
        &link,
        HostState {
            paused: true,
            ..state()
        },
        NOW,
    );
    assert_eq!(online(&directory, NOW), 0);
    assert!(directory.roster().address(HOST.0).unwrap().online);
    directory.heard(&link, state(), NOW);
    assert_eq!(online(&directory, NOW), 1);
    assert_eq!(online(&directory, NOW.plus_ms(1_000_000)), 0);
    directory.disconnect(&link, NOW);
    assert_eq!(online(&directory, NOW), 0);
    assert!(!directory.roster().address(HOST.0).unwrap().online);
}

#[test]
fn the_newest_channel_of_a_host_counts() {
    let directory = Directory::new(Timing::STANDARD, Vec::new(), NOW);
    let old = directory.connect(HOST, offer(), state(), NOW);
    let new = directory.connect(HOST, offer(), state(), NOW);
    assert!(old.end.is_cancelled() && !new.end.is_cancelled());
    directory.set_reachable(&old, true);
    assert_eq!(online(&directory, NOW), 0);
    directory.set_reachable(&new, true);
    directory.disconnect(&old, NOW);
    assert_eq!(online(&directory, NOW), 1);
}

#[test]
fn planned_bytes_count_until_the_next_heartbeat() {
    let directory = Directory::new(Timing::STANDARD, Vec::new(), NOW);
    let link = directory.connect(HOST, offer(), state(), NOW);
    directory.set_reachable(&link, true);
    let full = |directory: &Directory| {
        directory.rebuild(NOW);
        directory.roster().zones() == 0
    };
    assert!(!full(&directory));
    directory.plan_bytes([(HOST.0, 9_000_000)].into_iter());
    assert!(full(&directory));
    directory.heard(&link, state(), NOW);
    assert!(!full(&directory));
}

#[test]
fn standing_falls_with_failures_and_comes_back() {
    let directory = Directory::new(Timing::STANDARD, Vec::new(), NOW);
    let link = directory.connect(HOST, offer(), state(), NOW);
    let standing = || directory.lock().by_alias[&HOST.0].standing_ppm;
    directory.lower([HOST.0].into_iter());
    assert_eq!(standing(), 700_000);
    for _ in 0..50 {
        directory.lower([HOST.0].into_iter());
    }
    assert_eq!(standing(), STANDING_MIN_PPM);
    for _ in 0..100 {
        directory.heard(&link, state(), NOW);
    }
    assert!(standing() > 990_000);
}

#[test]
fn presence_is_written_once_it_changed() {
    let directory = Directory::new(Timing::STANDARD, Vec::new(), NOW);
    let link = directory.connect(HOST, offer(), state(), NOW);
    assert_eq!(directory.unwritten(10, NOW), []);
    let later = NOW.plus_ms(5);
    directory.disconnect(&link, later);
    let state = metastore::HostState::Suspect;
    let expected = [HostStatus {
        alias: HOST.0,
        state,
        last_seen: later,
    }];
    assert_eq!(directory.unwritten(10, later), expected);
    directory.written(&expected);
    assert_eq!(directory.unwritten(10, later), []);
}
