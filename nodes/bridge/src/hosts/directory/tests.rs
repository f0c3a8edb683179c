//! Tests of who counts as there.

use model::wire::Schedule;
use model::wire::control::Offer;
use model::wire::upkeep::HostEventKind;

use super::*;
use crate::audit::reputation::{Verdict, after};
use crate::repair::judge::Belief;

const NOW: UnixMs = UnixMs(1_700_000_000_000);
/// How long the offer is good.
const END_MS: u64 = 100 * 24 * 3_600_000;
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
        until: Some(NOW.plus_ms(END_MS)),
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

fn arrival() -> Arrival {
    Arrival {
        alias: HOST.0,
        id: HOST.1,
        offer: offer(),
        state: state(),
        version: model::wire::HEALS,
    }
}

fn arrive(directory: &Directory) -> LinkHandle {
    directory.connect(arrival(), NOW).0
}

fn online(directory: &Directory, now: UnixMs) -> u64 {
    directory.rebuild(now);
    directory.roster().online()
}

#[test]
fn a_host_counts_while_connected_reached_promised_and_not_paused() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    assert_eq!(online(&directory, NOW), 0);
    directory.set_reachable(&link, true, NOW);
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
    assert_eq!(online(&directory, NOW.plus_ms(END_MS)), 0);
    directory.disconnect(&link, NOW);
    assert_eq!(online(&directory, NOW), 0);
    assert!(!directory.roster().address(HOST.0).unwrap().online);
}

#[test]
fn the_newest_channel_of_a_host_counts() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let old = arrive(&directory);
    let new = arrive(&directory);
    assert!(old.end.is_cancelled() && !new.end.is_cancelled());
    directory.set_reachable(&old, true, NOW);
    assert_eq!(online(&directory, NOW), 0);
    directory.set_reachable(&new, true, NOW);
    directory.disconnect(&old, NOW);
    assert_eq!(online(&directory, NOW), 1);
}

#[test]
fn planned_bytes_count_until_the_next_heartbeat() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
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
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
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
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
    let written = directory.changes(10, NOW);
    directory.written(&written);
    assert!(directory.changes(10, NOW).is_empty());
    let later = NOW.plus_ms(5);
    directory.disconnect(&link, later);
    let changes = directory.changes(10, later);
    let [change] = &changes[..] else {
        panic!("{changes:?}");
    };
    let status = &change.status;
    let suspect = metastore::HostState::Suspect;
    assert_eq!((status.state, status.last_seen), (suspect, later));
    assert!(change.events.is_empty(), "nothing was decided");
    directory.written(&changes);
    assert!(directory.changes(10, later).is_empty());
}

/// The kinds of events that are decided at `now`.
fn decided(directory: &Directory, now: UnixMs) -> Vec<HostEventKind> {
    let changes = directory.changes(10, now);
    directory.written(&changes);
    let events = changes.iter().flat_map(|change| &change.events);
    events.map(|(kind, _)| *kind).collect()
}

#[test]
fn who_is_silent_is_told_once_and_counts_again_when_it_is_back() {
    const HOUR: u64 = 3_600_000;
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
    assert_eq!(decided(&directory, NOW), []);
    directory.disconnect(&link, NOW);
    let belief = |now| directory.beliefs(now).shard(Some(HOST.0)).0;

    assert_eq!(decided(&directory, NOW.plus_ms(HOUR)), []);
    assert_eq!(belief(NOW.plus_ms(HOUR)), Belief::Here);
    let absent = NOW.plus_ms(5 * HOUR);
    assert_eq!(decided(&directory, absent), [HostEventKind::Absent]);
    assert_eq!(
        (decided(&directory, absent).len(), belief(absent)),
        (0, Belief::Away)
    );
    let lost = NOW.plus_ms(80 * HOUR);
    assert_eq!(decided(&directory, lost), [HostEventKind::Lost]);
    assert_eq!(belief(lost), Belief::Gone);

    let back = arrive(&directory);
    directory.set_reachable(&back, true, lost);
    assert_eq!(decided(&directory, lost), [HostEventKind::Returned]);
    assert_eq!(belief(lost), Belief::Here);
    assert_eq!(
        directory.to_check(9),
        [HOST.0],
        "what it still has is asked"
    );
    let record = directory.record(HOST.0).unwrap().0;
    assert!(record.kept_ppm() < 200_000, "{record:?}");
}

#[test]
fn a_paused_host_is_silent() {
    let directory = Directory::new(Timing::DEV, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
    let paused = HostState {
        paused: true,
        ..state()
    };
    directory.heard(&link, paused, NOW);
    let later = NOW.plus_ms(30_000);
    directory.heard(&link, paused, later);
    assert_eq!(directory.beliefs(later).shard(Some(HOST.0)).0, Belief::Away);
    directory.heard(&link, state(), later);
    assert_eq!(directory.beliefs(later).shard(Some(HOST.0)).0, Belief::Here);
}

#[test]
fn a_bad_record_of_audits_ends_a_hosts_part() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
    assert_eq!(online(&directory, NOW), 1);
    directory.remember(HOST.0, |_, reputation| {
        for _ in 0..60 {
            *reputation = after(*reputation, Verdict::Failed);
        }
    });
    assert!(decided(&directory, NOW).contains(&HostEventKind::Disqualified));
    assert_eq!(online(&directory, NOW), 0);
    assert_eq!(directory.beliefs(NOW).shard(Some(HOST.0)).0, Belief::Gone);
}

#[test]
fn older_programs_are_not_sent_what_they_do_not_understand() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let message = || FromBridge::Reachability {
        reachable: true,
        detail: String::new(),
    };
    let arrival = |version| Arrival {
        version,
        ..arrival()
    };
    let (_link, mut messages) = directory.connect(arrival(2), NOW);
    assert!(!directory.send(HOST.0, message()) && !directory.heals(HOST.0));
    assert!(messages.try_recv().is_err());
    let (_link, mut messages) = directory.connect(arrival(3), NOW);
    assert!(directory.send(HOST.0, message()) && directory.heals(HOST.0));
    assert!(messages.try_recv().is_ok());
    let taken = (0..1_000).filter(|_| directory.send(HOST.0, message()));
    assert_eq!(taken.count(), OUTBOX_MAX);
}

#[test]
fn a_host_whose_offer_ends_before_long_leaves() {
    let directory = Directory::new(Timing::STANDARD, &[], (NOW, NOW));
    let link = arrive(&directory);
    directory.set_reachable(&link, true, NOW);
    assert_eq!(directory.beliefs(NOW).shard(Some(HOST.0)).0, Belief::Here);
    let soon = NOW.plus_ms(END_MS - 3_600_000);
    directory.heard(&link, state(), soon);
    assert_eq!(
        directory.beliefs(soon).shard(Some(HOST.0)).0,
        Belief::Leaving
    );
    assert_eq!(online(&directory, soon), 0, "and gets nothing more");
}

#[test]
fn while_the_bridge_was_away_nobody_was_silent() {
    const HOUR: u64 = 3_600_000;
    let row = HostRow {
        alias: HOST.0,
        id: HOST.1,
        offer: serde_json::to_vec(&offer()).unwrap(),
        joined: NOW,
        state: metastore::HostState::Online,
        last_seen: NOW,
        reputation: metastore::Reputation::default(),
        record: Vec::new(),
    };
    // It was heard an hour before the Bridge went away for a day.
    let (alive, now) = (NOW.plus_ms(HOUR), NOW.plus_ms(25 * HOUR));
    let directory = Directory::new(Timing::STANDARD, &[row], (alive, now));
    let belief = |now| directory.beliefs(now).shard(Some(HOST.0)).0;
    assert_eq!(belief(now), Belief::Here);
    assert_eq!(belief(now.plus_ms(2 * HOUR)), Belief::Here);
    assert_eq!(belief(now.plus_ms(3 * HOUR)), Belief::Away);
}
