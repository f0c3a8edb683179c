//! A network lives: it is ended and started again, versions are kept, purged ones vanish, and an
//! owner comes back with nothing but the phrase.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use planet::Patience;

use crate::compare::assert_same;
use crate::logs::{beginning, shards};
use crate::stage::{PATIENCE, Stage, noise, wait_until, write};

const HOSTS: usize = 6;

#[test]
fn everybody_ends_cleanly_and_comes_back() {
    let mut stage = Stage::new(HOSTS);
    let tree = stage.path("tree");
    write(&tree.join("large"), noise(1, 5_000_000));
    write(&tree.join("small"), noise(2, 20_000));
    stage.done([OsStr::new("put"), tree.as_os_str(), OsStr::new("/")]);

    for round in 0..2 {
        assert_eq!(stage.planet.stop(PATIENCE), Vec::<String>::new());
        stage.xcloud(["ls"]).expect_code(4);
        stage.revive();
        let back = stage.path(&format!("back{round}"));
        stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
        assert_same(&tree, &back.join("tree"));
    }
}

#[test]
fn a_bridge_comes_back_alone_and_its_hosts_return_to_it() {
    let mut stage = Stage::new(HOSTS);
    let file = stage.path("file");
    write(&file, noise(1, 5_000_000));
    stage.done([OsStr::new("put"), file.as_os_str(), OsStr::new("/")]);

    stage.planet.bridge().ask_to_end().unwrap();
    assert!(stage.planet.bridge().wait_to_end(PATIENCE));
    stage
        .planet
        .start_bridge(Patience::within(PATIENCE))
        .unwrap();
    stage.wait_online(HOSTS);

    write(&file, noise(2, 5_000_000));
    stage.done([OsStr::new("put"), file.as_os_str(), OsStr::new("/")]);
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/file"), back.as_os_str()]);
    assert!(crate::compare::same_content(&file, &back));
}

#[test]
fn old_versions_are_kept_and_purged_ones_vanish() {
    let stage = Stage::new(HOSTS);
    let file = stage.path("file");
    let put = |seed: u64, remote: &str| {
        write(&file, noise(seed, 3_000_000));
        stage.done([OsStr::new("put"), file.as_os_str(), OsStr::new(remote)]);
        on_the_disks(&stage)
    };
    let kept = put(1, "/kept");
    let first = put(2, "/doomed");
    let second = put(3, "/doomed");
    assert!(!kept.is_empty() && kept.is_subset(&first) && first.is_subset(&second));
    assert!(kept.len() < first.len() && first.len() < second.len());

    // What is removed stays for its retention.
    stage.done(["rm", "/doomed"]);
    stage.xcloud(["stat", "/doomed"]).expect_code(3);
    let with_third = put(4, "/doomed");
    assert!(second.is_subset(&with_third));

    // Nobody purges without the phrase.
    let wrong = stage.path("wrong");
    write(&wrong, format!("{}art\n", "abandon ".repeat(23)));
    let purge = |phrase: &OsStr| {
        let args = ["rm", "--purge", "--mnemonic-file"].map(OsStr::new);
        stage.xcloud(args.into_iter().chain([phrase, OsStr::new("/doomed")]))
    };
    assert_ne!(purge(wrong.as_os_str()).code, Some(0));
    assert_eq!(on_the_disks(&stage), with_third);
    purge(stage.owner.phrase().as_os_str()).expect_code(0);

    let third: BTreeSet<_> = with_third.difference(&second).copied().collect();
    wait_until("the purged version is gone from the disks", || {
        on_the_disks(&stage).is_disjoint(&third)
    });
    let left = on_the_disks(&stage);
    assert!(kept.is_subset(&left));
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/kept"), back.as_os_str()]);
    assert_eq!(fs::read(back).unwrap(), noise(1, 3_000_000));
}

#[test]
fn the_phrase_brings_the_account_to_another_device() {
    let stage = Stage::new(HOSTS);
    let bridge = stage.planet.layout().bridge_url();
    let tree = stage.path("tree");
    write(&tree.join("large"), noise(1, 2_000_000));
    write(&tree.join("small"), "s");
    stage.done([OsStr::new("put"), tree.as_os_str(), OsStr::new("/")]);

    let other = stage.path("other");
    let with_other = |args: &[&OsStr]| {
        let home = [OsStr::new("--home"), other.as_os_str()];
        std::process::Command::new(stage.owner.program())
            .args(home)
            .args(args)
            .output()
            .unwrap()
    };
    let phrase = stage.owner.phrase().as_os_str();
    let init = ["init", "--bridge", &bridge, "--restore"].map(OsStr::new);
    let wrong = stage.path("wrong");
    write(&wrong, format!("{}art\n", "abandon ".repeat(23)));
    let refused = with_other(&[&init[..], &[wrong.as_os_str()]].concat());
    assert!(!refused.status.success());
    let restored = with_other(&[&init[..], &[phrase]].concat());
    assert!(restored.status.success(), "{restored:?}");

    let back = stage.path("back");
    let got = with_other(&[OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert!(got.status.success(), "{got:?}");
    assert_same(&tree, &back.join("tree"));
    // An existing phrase file is never overwritten.
    let third = ["init", "--bridge", &bridge, "--yes", "--mnemonic-file"].map(OsStr::new);
    let before = fs::read(phrase).unwrap();
    assert!(
        !with_other(&[&third[..], &[phrase]].concat())
            .status
            .success()
    );
    assert_eq!(fs::read(phrase).unwrap(), before);
}

/// The beginnings of all shards, as they are on the Hosts' disks now.
fn on_the_disks(stage: &Stage) -> BTreeSet<[u8; 64]> {
    let all = (0..HOSTS).flat_map(|host| shards(stage, host));
    let beginnings = all.map(|shard| beginning(&shard));
    beginnings.filter(|bytes| *bytes != [0; 64]).collect()
}
