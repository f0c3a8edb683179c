//! A large upload is interrupted again and again, and gone on with: only what is missing is sent,
//! and a file that changed meanwhile is another file.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use planet::Patience;

use crate::compare::assert_same;
use crate::stage::{Dice, PATIENCE, Stage, kill, noise, number, wait_until, write};

const HOSTS: usize = 8;
const FILE_BYTES: usize = 300_000_000;
/// Bytes of a shard, of a segment and of its shards, of 4 of 8.
const SHARD_BYTES: u64 = 1_966_080;
const SEGMENT_BYTES: u64 = 4 * SHARD_BYTES;
const SEGMENT_SHARD_BYTES: u64 = 8 * SHARD_BYTES;
/// Segments that may be on their way at a time.
const UNDER_WAY_MAX: u64 = 8;
/// Record headers and the store's own bytes, in shares of what is stored.
const OVERHEAD_PERCENT: u64 = 2;

#[test]
fn a_client_that_is_killed_goes_on_where_it_was() {
    let mut stage = Stage::new(HOSTS);
    let mut dice = Dice::new(number("PLANET_SEED", 11));
    let file = stage.path("film");
    write(&file, noise(11, FILE_BYTES));
    let kills = interrupt(&mut stage, &file, &mut dice, |_, _| {});
    finish(&stage, &file, kills);
}

#[test]
fn it_goes_on_also_when_bridge_and_hosts_came_back_in_between() {
    let mut stage = Stage::new(HOSTS);
    let mut dice = Dice::new(number("PLANET_SEED", 12));
    let file = stage.path("film");
    write(&file, noise(12, FILE_BYTES));
    let kills = interrupt(&mut stage, &file, &mut dice, |stage, dice| {
        stage.planet.bridge().kill();
        for _ in 0..3 {
            let host = usize::try_from(dice.below(HOSTS as u64)).unwrap();
            stage.planet.hosts()[host].kill();
        }
        stage
            .planet
            .start_bridge(Patience::within(PATIENCE))
            .unwrap();
        stage.revive();
        stage.wait_online(HOSTS);
    });
    finish(&stage, &file, kills);
}

#[test]
fn a_file_that_changed_is_started_over_under_other_keys() {
    let mut stage = Stage::new(HOSTS);
    let mut dice = Dice::new(number("PLANET_SEED", 13));
    let file = stage.path("film");
    write(&file, noise(13, FILE_BYTES));
    interrupt(&mut stage, &file, &mut dice, |_, _| {});
    let left = journals(&stage);
    assert_eq!(left.len(), 1);

    write(&file, noise(14, FILE_BYTES));
    let put = stage.done(upload(&file)).json();

    assert_eq!(put["resumed_bytes"], 0, "{put}");
    assert_eq!(journals(&stage), Vec::<String>::new());
    expect_equal(&stage, &file);
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let mut stage = Stage::new(HOSTS);
    let mut dice = Dice::new(number("PLANET_SEED", 15));
    let file = stage.path("film");
    write(&file, noise(15, FILE_BYTES));
    interrupt(&mut stage, &file, &mut dice, |_, _| {});
    let listed = stage.done(["--json", "uploads"]).json();
    let upload = listed[0]["upload"].as_str().unwrap().to_owned();
    assert_eq!(listed[0]["bytes"], FILE_BYTES);
    assert!(listed[0]["stored_bytes"].as_u64() < Some(FILE_BYTES as u64));
    for journal in journals(&stage) {
        let path = stage.owner.home().join("uploads").join(journal);
        let bytes = fs::read(path).unwrap();
        let named = bytes.windows(4).any(|window| window == b"film");
        assert!(!named, "a name lies open in the journal");
    }

    stage.done(["uploads", "--drop", &upload]);

    assert_eq!(
        stage
            .done(["--json", "uploads"])
            .json()
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    stage.xcloud(["uploads", "--drop", &upload]).expect_code(3);
    wait_until("the Hosts have deleted what they had", || {
        stored_shards(&stage) == 0
    });
}

/// Kills the client at several moments of its upload, and lets `meanwhile` happen after each.
/// Returns how often.
fn interrupt(
    stage: &mut Stage,
    file: &Path,
    dice: &mut Dice,
    meanwhile: impl Fn(&mut Stage, &mut Dice),
) -> u64 {
    let rounds = number("PLANET_ROUNDS", 3);
    for round in 0..rounds {
        let before = received_bytes(stage);
        let mut put = stage.begin(upload(file));
        let more = (1 + dice.below(60)) * SHARD_BYTES;
        wait_until("some more shards are stored", || {
            received_bytes(stage) >= before + more || !put.is_running()
        });
        sleep(Duration::from_millis(dice.below(30)));
        assert!(put.is_running(), "round {round}: too quick to be killed");
        kill(put.child.id());
        put.end();
        meanwhile(stage, dice);
    }
    rounds
}

/// Runs it to its end: only what is missing is sent, whatever happened before.
fn finish(stage: &Stage, file: &Path, kills: u64) {
    let put = stage.done(upload(file)).json();
    assert!(put["resumed_bytes"].as_u64() > Some(0), "{put}");
    assert_eq!(journals(stage), Vec::<String>::new());
    let segments = (FILE_BYTES as u64).div_ceil(SEGMENT_BYTES);
    let needed = segments * SEGMENT_SHARD_BYTES;
    let waste = kills * UNDER_WAY_MAX * SEGMENT_SHARD_BYTES;
    let received = received_bytes(stage);
    println!("{received} bytes received by hosts, {needed} needed, {kills} kills");
    assert!(received >= FILE_BYTES as u64 * 2);
    assert!(received <= needed + needed * OVERHEAD_PERCENT / 100 + waste);
    expect_equal(stage, file);
}

/// Bytes in the logs of all Hosts: what was ever stored, as nothing is compacted away so soon.
fn received_bytes(stage: &Stage) -> u64 {
    let logs = (0..HOSTS).flat_map(|host| stage.log_files(host));
    logs.map(|log| fs::metadata(log).unwrap().len()).sum()
}

/// Shards that Hosts have, as they wrote down last.
fn stored_shards(stage: &Stage) -> u64 {
    let layout = stage.planet.layout();
    let shards = layout.hosts().into_iter().map(|host| {
        let status = fs::read(host.data.join("status.json")).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap_or_default();
        status["shards"].as_u64().unwrap_or(0)
    });
    shards.sum()
}

fn journals(stage: &Stage) -> Vec<String> {
    let Ok(names) = fs::read_dir(stage.owner.home().join("uploads")) else {
        return Vec::new();
    };
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn upload(file: &Path) -> Vec<&OsStr> {
    let put = ["--json", "put", "--class", "coded:4/8"].map(OsStr::new);
    put.into_iter()
        .chain([file.as_os_str(), OsStr::new("/film")])
        .collect()
}

fn expect_equal(stage: &Stage, file: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/film"), back.as_os_str()]);
    assert_same(file, &back);
}
