//! `kill -9` of anybody at any moment of an upload: nothing acknowledged is lost, nothing is half
//! there, and doing it again completes it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use planet::Programs;
use planet::disasters::Talk;
use planet::disasters::kills::{self, Kills, Victim};
use planet::disasters::power::{self, PowerCuts};
use serde_json::Value;

use crate::compare::assert_same;
use crate::stage::{Dice, Stage, Turn, kill, noise, number, wait_until, write};

const HOSTS: usize = 9;
/// Latest moment of a kill, about the length of one upload, in milliseconds.
const KILL_WITHIN_MS: u64 = 400;
/// Sizes of the files of one round: inline, packed, large, several segments.
const SIZES: [usize; 5] = [1_000, 60_000, 400_000, 2_500_000, 12_000_000];

#[test]
fn the_client_is_killed() {
    many_rounds(1, |stage, client, _dice| {
        kill(client);
        stage.planet.check_alive().unwrap();
    });
}

/// `cargo xtask disasters --bridge-kills 1000` plays more of them.
#[test]
fn the_bridge_is_killed_under_load() {
    kills_under_load(Victim::Bridge);
}

/// `cargo xtask disasters --host-kills 1000` plays more of them.
#[test]
fn hosts_are_killed_under_load() {
    kills_under_load(Victim::Host);
}

/// `cargo xtask disasters --power-cuts 1000` plays more of them.
#[test]
fn the_power_is_cut() {
    if let Some(reason) = power::why_not() {
        println!("NOT RUN: {reason}");
        return;
    }
    let _turn = Turn::wait();
    in_kept_folder(|programs, dir, talk| {
        let (cycles, seed) = (number("PLANET_POWER_CUTS", 20), number("PLANET_SEED", 1));
        let cuts = PowerCuts {
            programs,
            dir,
            cycles,
            seed,
        };
        let score = power::run(&cuts, talk)?;
        assert!(score.shards > cycles && score.commits > cycles, "{score}");
        Ok(score.to_string())
    });
}

#[test]
fn everybody_is_killed_at_once() {
    many_rounds(2, |stage, client, _dice| {
        kill(client);
        stage.planet.bridge().kill();
        stage.planet.hosts().iter_mut().for_each(planet::Node::kill);
    });
}

#[test]
fn a_killed_download_leaves_a_whole_file_or_none() {
    let stage = Stage::new(HOSTS);
    let (file, folder) = (stage.path("file"), stage.path("folder"));
    write(&file, noise(5, 40_000_000));
    fs::create_dir(&folder).unwrap();
    stage.done([OsStr::new("put"), file.as_os_str(), OsStr::new("/file")]);
    let mut dice = Dice::new(number("PLANET_SEED", 5));
    let get = [OsStr::new("get"), OsStr::new("/file"), folder.as_os_str()];
    for round in 0..number("PLANET_ROUNDS", 5) {
        let running = stage.begin(get);
        sleep(Duration::from_millis(dice.below(KILL_WITHIN_MS)));
        kill(running.child.id());
        println!("round {round}: {:?}", running.end().code);
        let back = folder.join("file");
        if back.exists() {
            assert_same(&file, &back);
            fs::remove_file(back).unwrap();
        }
    }
    stage.done(get);
    assert_same(&file, &folder.join("file"));
}

fn kills_under_load(victim: Victim) {
    let _turn = Turn::wait();
    in_kept_folder(|programs, dir, talk| {
        let (cycles, seed) = (number("PLANET_KILLS", 25), number("PLANET_SEED", 1));
        let kills = Kills {
            programs,
            dir,
            victim,
            cycles,
            seed,
        };
        let score = kills::run(&kills, talk)?;
        assert!(score.acknowledged > cycles && score.honoured > 0, "{score}");
        Ok(score.to_string())
    });
}

/// Plays disasters in a folder that stays if something is lost.
pub(crate) fn in_kept_folder(
    play: impl FnOnce(Programs, PathBuf, &mut Talk<'_>) -> anyhow::Result<String>,
) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let mut talk = Talk {
        give_up: &|| false,
        progress: &mut |_score| {},
    };
    let programs = Programs::built(&root).unwrap();
    match play(programs, folder.path().to_owned(), &mut talk) {
        Ok(score) => println!("{score}"),
        Err(error) => panic!("{error:?}; kept: {}", folder.keep().display()),
    }
}

/// Rounds of an upload with a disaster at some moment of it.
fn many_rounds(salt: u64, disaster: impl Fn(&mut Stage, u32, &mut Dice)) {
    let seed = number("PLANET_SEED", 1);
    println!("PLANET_SEED={seed} repeats the moments, PLANET_ROUNDS=N plays more of them");
    let mut stage = Stage::new(HOSTS);
    let mut dice = Dice::new(seed ^ (salt << 32));
    let tree = stage.path("tree");
    let mut versions = Versions::default();
    for round in 0..number("PLANET_ROUNDS", 5) {
        versions.next(&tree, round);
        let mut put = stage.begin(upload(&tree));
        sleep(Duration::from_millis(dice.below(KILL_WITHIN_MS)));
        println!("round {round}: uploading: {}", put.is_running());
        disaster(&mut stage, put.child.id(), &mut dice);
        let acknowledged = put.end().code == Some(0);
        println!("round {round}: acknowledged: {acknowledged}");
        revive(&mut stage);

        if acknowledged {
            expect_equal(&stage, &tree);
        } else {
            versions.expect_whole(&stage);
        }
        stage.done(upload(&tree));
        expect_equal(&stage, &tree);
        versions.all_stored();
    }
}

/// What the cloud may have at each path: what was acknowledged last, or tried since.
#[derive(Default)]
struct Versions {
    current: BTreeMap<PathBuf, Vec<u8>>,
    tried: BTreeMap<PathBuf, Vec<u8>>,
}

impl Versions {
    /// Writes the files of `round` into `tree`: half overwrite those of the last one.
    fn next(&mut self, tree: &Path, round: u64) {
        for (at, bytes) in SIZES.into_iter().enumerate() {
            let content = noise(round * 100 + at as u64, bytes);
            let name = if at % 2 == 0 {
                PathBuf::from(format!("overwritten/{at}"))
            } else {
                PathBuf::from(format!("new/{round}/{at}"))
            };
            write(&tree.join(&name), &content);
            self.tried.insert(name, content);
        }
    }

    /// Every file in the cloud is one of the two versions it may be, and none that was there
    /// before is missing.
    fn expect_whole(&self, stage: &Stage) {
        let back = stage.path("partial");
        let listed = stage.done(["--json", "ls", "-R", "/"]).json();
        let listed = listed.as_array().unwrap();
        assert!(self.current.is_empty() || !listed.is_empty(), "all is gone");
        if listed.is_empty() {
            return;
        }
        stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
        let root = back.join("tree");
        for entry in listed.iter().filter(|entry| entry["type"] == "file") {
            let path = Path::new(entry["path"].as_str().unwrap());
            let name = path.strip_prefix("/tree").unwrap();
            let content = fs::read(root.join(name)).unwrap();
            assert_eq!(entry["size"], Value::from(content.len()), "{name:?}");
            let may_be = [self.current.get(name), self.tried.get(name)];
            assert!(may_be.contains(&Some(&content)), "{name:?} is neither");
        }
        for name in self.current.keys() {
            assert!(root.join(name).is_file(), "{name:?} is lost");
        }
        fs::remove_dir_all(back).unwrap();
    }

    fn all_stored(&mut self) {
        self.current.append(&mut self.tried);
    }
}

fn revive(stage: &mut Stage) {
    stage.revive();
    // A Bridge that just came back knows its Hosts only when they have come back to it.
    wait_until("the owner is let in", || {
        stage.xcloud(["ls"]).code == Some(0)
    });
}

fn upload(tree: &Path) -> Vec<&OsStr> {
    let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
    let paths = [tree.as_os_str(), OsStr::new("/")];
    put.into_iter().chain(paths).collect()
}

fn expect_equal(stage: &Stage, tree: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_same(tree, &back.join("tree"));
    fs::remove_dir_all(back).unwrap();
}
