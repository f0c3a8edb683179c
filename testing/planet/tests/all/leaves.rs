//! Hosts come and go: one rests, one returns before it is given up, one gives space back, one leaves
//! for good. Every file keeps all its shards meanwhile.

use std::fs;
use std::thread::{self, sleep};
use std::time::Duration;

use planet::Segment;

use crate::heals::{
    expect_back, expect_proved, expect_whole, fresh_status, fresh_statuses, has_event, put,
};
use crate::heals::{segments, wait_whole};
use crate::stage::{PATIENCE, Stage, noise, wait_until, wait_within, write};

const HOSTS: usize = 11;
const SHARD_BYTES_MAX: u64 = 2 << 20;

#[test]
fn hosts_rest_return_and_leave() {
    let mut stage = Stage::healing(HOSTS);
    let tree = stage.path("tree");
    for large in 0..3 {
        write(&tree.join(format!("large{large}")), noise(large, 9_000_000));
    }
    write(&tree.join("small"), noise(9, 30_000));
    put(&stage, &tree);
    expect_whole(&stage);
    one_rests(&stage);
    one_returns(&mut stage);
    one_gives_space_back(&stage);
    one_leaves(&mut stage);
    expect_back(&stage, &tree);
    expect_proved(&stage);
}

/// A Host that keeps most.
fn fullest(stage: &Stage) -> usize {
    let statuses = fresh_statuses(stage, 0..HOSTS);
    (0..HOSTS)
        .max_by_key(|host| statuses[*host].kept_records())
        .unwrap()
}

fn keeps(segment: &Segment, host: usize) -> bool {
    segment
        .keepers()
        .contains(format!("h{}", host + 1).as_str())
}

/// `xcore pause`: no shards, and away; `xcore resume`: there again, and used.
fn one_rests(stage: &Stage) {
    let host = fullest(stage);
    let kept = kept(stage, host);
    stage.planet.tell_host(host, ["pause"]).unwrap();
    wait_within("the bridge counts the host as away", PATIENCE, || {
        self::kept(stage, host) == 0
    });
    let records = fresh_status(stage, host).kept_records();
    put_noise(stage, "during");
    let status = fresh_status(stage, host);
    assert!(
        status.paused && status.kept_records() == records,
        "it took something"
    );

    stage.planet.tell_host(host, ["resume"]).unwrap();
    wait_counted(stage, host, kept);
    put_noise(stage, "after");
    assert!(!fresh_status(stage, host).paused);
}

/// Absent, and back before anything is made anew: its shards count again.
fn one_returns(stage: &mut Stage) {
    let host = fullest(stage);
    let kept = kept(stage, host);
    stage.planet.hosts()[host].kill();
    wait_within("the host counts as absent", PATIENCE, || {
        state_of(stage, host) == "absent"
    });
    stage.revive();
    wait_until("it is told so", || has_event(stage, host, "returned"));
    wait_counted(stage, host, kept);
    wait_whole(stage);
}

/// Waits until as many shards of the Host count as before it was away, unless that took so long on
/// a slow machine that they were made anew elsewhere.
fn wait_counted(stage: &Stage, host: usize, before: usize) {
    wait_within("what returned counts", PATIENCE, || {
        kept(stage, host) >= before || has_event(stage, host, "lost")
    });
}

/// Of how many segments the Host, if it is online, keeps a shard.
fn kept(stage: &Stage, host: usize) -> usize {
    let segments = segments(stage);
    segments.iter().filter(|it| keeps(it, host)).count()
}

fn put_noise(stage: &Stage, name: &str) {
    let file = stage.path(name);
    write(&file, noise(20, 9_000_000));
    put(stage, &file);
}

fn state_of(stage: &Stage, host: usize) -> String {
    let name = format!("h{}", host + 1);
    let mut states = stage.planet.host_states().unwrap().into_iter();
    states.find(|(listed, _)| *listed == name).unwrap().1
}

/// `xcore exit --bytes`: so much less is kept here, and nothing is short meanwhile.
fn one_gives_space_back(stage: &Stage) {
    let host = fullest(stage);
    let before = fresh_status(stage, host).kept_bytes();
    follow_exit(stage, host, &["exit", "--bytes", "1MB"]);
    wait_until("the host keeps less", || {
        fresh_status(stage, host).kept_bytes() + 1_000_000 <= before
    });
    let gone = before - fresh_status(stage, host).kept_bytes();
    assert!(gone < 1_000_000 + 2 * SHARD_BYTES_MAX, "{gone} bytes left");
    wait_whole(stage);
}

/// `xcore exit`: all that is kept moves; then the Host is not needed any more.
fn one_leaves(stage: &mut Stage) {
    let host = fullest(stage);
    follow_exit(stage, host, &["exit"]);
    assert!(segments(stage).iter().all(|it| !keeps(it, host)));
    assert!(has_event(stage, host, "leaving_done"));
    stage.planet.hosts()[host].ask_to_end().unwrap();
    assert!(stage.planet.hosts()[host].wait_to_end(PATIENCE));
    let data = stage.planet.layout().hosts()[host].data.clone();
    fs::remove_dir_all(data).unwrap();
    stage.wait_online(HOSTS - 1);
    expect_whole(stage);
}

/// How many of its shards a Host has, be it online this very moment or dialling anew, as one does
/// that offers something else.
fn placed(segment: &Segment) -> u16 {
    let named = segment.shards.iter().filter(|shard| shard.name.is_some());
    u16::try_from(named.count()).unwrap()
}

/// Runs it to its end; every segment has all its shards all the time.
fn follow_exit(stage: &Stage, host: usize, args: &[&str]) {
    thread::scope(|scope| {
        let told = scope.spawn(|| stage.planet.xcore(host, args.iter().copied()));
        while !told.is_finished() {
            let short: Vec<_> = segments(stage)
                .into_iter()
                .filter(|it| placed(it) < it.n)
                .collect();
            assert!(short.is_empty(), "short while a host leaves: {short:#?}");
            sleep(Duration::from_millis(100));
        }
        let output = told.join().unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}
