//! A flipped byte anywhere in what Hosts keep: the right bytes come out, or none.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use planet::{Stored, flip};

use crate::compare::assert_same;
use crate::logs::shards;
use crate::stage::{Dice, Stage, noise, number, write};

const HOSTS: usize = 8;

#[test]
fn one_flipped_byte_is_made_good() {
    let stage = Stage::new(HOSTS);
    let tree = stored_tree(&stage);
    let all: Vec<Stored> = (0..HOSTS).flat_map(|host| shards(&stage, host)).collect();
    let mut dice = Dice::new(number("PLANET_SEED", 1));
    for round in 0..number("PLANET_FLIPS", 40) {
        let shard = &all[index(dice.below(all.len() as u64))];
        // The first and the last byte are as likely as all others together.
        let offset = match dice.below(3) {
            0 => 0,
            1 => shard.bytes - 1,
            _ => dice.below(shard.bytes),
        };
        println!("round {round}: byte {offset} of {shard:?}");
        shard.flip(offset).unwrap();
        expect_back(&stage, &tree);
        shard.flip(offset).unwrap();
    }
}

#[test]
fn as_many_bent_shards_as_parity_are_made_good_and_one_more_is_refused() {
    let stage = Stage::new(HOSTS);
    let tree = stored_tree(&stage);
    for host in 0..HOSTS {
        for shard in shards(&stage, host) {
            shard.flip(shard.bytes / 2).unwrap();
        }
        if host < 4 {
            expect_back(&stage, &tree);
        } else {
            let back = stage.path("back");
            let get = [
                OsStr::new("get"),
                OsStr::new("/tree/large"),
                back.as_os_str(),
            ];
            // What bent shards were told of is out of its place by then, or not yet.
            let refused = stage.xcloud(get).expect_one_of([4, 5]);
            refused.expect_told("/tree/large");
            assert!(!back.exists());
        }
    }
}

#[test]
fn hosts_start_again_on_damaged_logs() {
    let mut stage = Stage::new(HOSTS);
    let tree = stored_tree(&stage);
    let mut dice = Dice::new(number("PLANET_SEED", 2));
    for host in 0..4 {
        let all = shards(&stage, host);
        let shard = &all[index(dice.below(all.len() as u64))];
        let at = shard.header_at() + dice.below(192 + shard.bytes.min(100));
        println!("host {host}: byte {at} of {shard:?}");
        stage.planet.hosts()[host].kill();
        flip(&shard.log, at).unwrap();
        // The log is the truth: without its checkpoint the Host reads all of it.
        let checkpoint = stage.planet.layout().hosts()[host]
            .data
            .join("store/index.checkpoint");
        if checkpoint.exists() {
            fs::remove_file(checkpoint).unwrap();
        }
        stage.revive();
        expect_back(&stage, &tree);
    }
}

/// A tree with a large file, packed ones and inline ones, stored 4 of 8.
fn stored_tree(stage: &Stage) -> std::path::PathBuf {
    let tree = stage.path("tree");
    write(&tree.join("large"), noise(1, 9_000_000));
    write(&tree.join("packed/one"), noise(2, 300_000));
    write(&tree.join("packed/two"), noise(3, 5_000));
    write(&tree.join("inline"), noise(4, 100));
    let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
    stage.done(put.into_iter().chain([tree.as_os_str(), OsStr::new("/")]));
    tree
}

fn expect_back(stage: &Stage, tree: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_same(tree, &back.join("tree"));
    fs::remove_dir_all(back).unwrap();
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
