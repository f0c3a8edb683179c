//! A Bridge that was restored from an older backup: no Host removes anything on its word, the owner
//! is told, and after that everything goes on.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::compare::same_content;
use crate::heals::fresh_statuses;
use crate::stage::{PATIENCE, Stage, noise, wait_until, wait_within, write};

const HOSTS: usize = 9;
/// As long as two scans of all Hosts and what follows from them.
const WATCHED: Duration = Duration::from_secs(60);

#[test]
fn an_older_bridge_removes_nothing_and_goes_on_when_the_owner_says_so() {
    let mut stage = Stage::healing(HOSTS);
    let (first, second) = (stage.path("first"), stage.path("second"));
    write(&first, noise(1, 9_000_000));
    write(&second, noise(2, 7_000_000));
    put(&stage, &first);
    let data = stage.planet.layout().bridge_data();
    let backup = stage.path("backup");
    let copied = stage
        .planet
        .xbridge([OsStr::new("backup"), backup.as_os_str()])
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
    put(&stage, &second);
    stage.done(["rm", "/first"]);
    let records = records(&stage);

    stage.planet.bridge().kill();
    put_in_place(&backup, &data);
    stage.revive();
    let began = Instant::now();
    wait_until("the owner is told", || stage.xcloud(["ls"]).code == Some(5));
    stage
        .xcloud(["accept-rollback"])
        .expect_code(7)
        .expect_told("");
    while began.elapsed() < WATCHED {
        assert_eq!(self::records(&stage), records, "somebody removed something");
        sleep(Duration::from_secs(1));
    }

    stage.done(["accept-rollback", "--yes"]);
    expect_back(&stage, "/first", &first);
    stage.xcloud(["stat", "/second"]).expect_code(3);
    put(&stage, &second);
    expect_back(&stage, "/second", &second);
    purge_reaches_hosts(&stage);
    expect_back(&stage, "/first", &first);
}

#[expect(clippy::disallowed_methods, reason = "no power is cut here")]
fn put_in_place(backup: &Path, data: &Path) {
    fs::remove_dir_all(data).unwrap();
    fs::rename(backup, data).unwrap();
}

/// A removal of what was stored since is done by the Hosts.
fn purge_reaches_hosts(stage: &Stage) {
    let third = stage.path("third");
    write(&third, noise(3, 9_000_000));
    put(stage, &third);
    let before = records(stage).iter().sum::<u64>();
    let purge = ["rm", "--purge", "--mnemonic-file"].map(OsStr::new);
    let rest = [stage.owner.phrase().as_os_str(), OsStr::new("/third")];
    stage.done(purge.into_iter().chain(rest));
    wait_within("the purge reaches the hosts", PATIENCE, || {
        records(stage).iter().sum::<u64>() + 8 <= before
    });
}

/// How many records each Host has.
fn records(stage: &Stage) -> Vec<u64> {
    let statuses = fresh_statuses(stage, 0..HOSTS).into_iter();
    statuses.map(|it| it.kept_records()).collect()
}

fn put(stage: &Stage, file: &Path) {
    let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
    stage.done(put.into_iter().chain([file.as_os_str(), OsStr::new("/")]));
}

fn expect_back(stage: &Stage, remote: &str, file: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new(remote), back.as_os_str()]);
    assert!(same_content(file, &back), "other bytes came out");
    fs::remove_file(back).unwrap();
}
