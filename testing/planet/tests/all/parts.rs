//! Parts of files, downloads that were interrupted, and packs that are rewritten, by the programs
//! themselves.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use serde_json::Value;

use crate::compare::assert_same;
use crate::stage::{Dice, Stage, kill, noise, wait_until, write};

const HOSTS: usize = 8;
const FILE_BYTES: usize = 160_000_000;
/// A killed download has written so much at least.
const HALF_BYTES: u64 = 60_000_000;

fn put<'a>(from: &'a Path, to: &'a str) -> Vec<&'a OsStr> {
    let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
    put.into_iter()
        .chain([from.as_os_str(), OsStr::new(to)])
        .collect()
}

#[test]
fn parts_of_files_are_what_was_stored() {
    let stage = Stage::new(HOSTS);
    let content = noise(31, 9_000_000);
    for (name, bytes) in [
        ("large", 9_000_000),
        ("packed", 20_000),
        ("tiny", 100),
        ("empty", 0),
    ] {
        let path = stage.path(name);
        write(&path, &content[..bytes]);
        stage.done(put(&path, "/"));
    }
    let mut dice = Dice::new(31);
    let cat = |args: &[&str]| {
        let output = stage.owner.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        output.stdout
    };
    for (path, bytes) in [("/large", 9_000_000), ("/packed", 20_000), ("/tiny", 100)] {
        for _ in 0..4 {
            let first = dice.below(bytes);
            let last = first + dice.below(bytes - first);
            let wanted = &content[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()];
            let range = format!("{first}-{last}");
            assert!(
                cat(&["cat", "--range", &range, path]) == wanted,
                "{path} {range}"
            );
            assert!(
                cat(&["get", "--range", &range, path, "-"]) == wanted,
                "{path} {range}"
            );
        }
        let all = &content[..usize::try_from(bytes).unwrap()];
        assert!(cat(&["cat", "--range", "7-", path]) == all[7..]);
        assert!(cat(&["cat", "--range", "-7", path]) == all[all.len() - 7..]);
        assert!(cat(&["cat", path]) == *all);
    }
    assert!(
        cat(&["cat", "/tiny", "/empty", "/tiny"]) == [&content[..100], &content[..100]].concat()
    );

    let back = stage.path("back");
    let to = back.to_str().unwrap();
    let got = stage.done(["--json", "get", "--range", "4000000-5048575", "/large", to]);
    assert!(fs::read(&back).unwrap() == content[4_000_000..5_048_576]);
    let received = got.json()["received"].as_u64().unwrap();
    assert!(
        received <= 1_048_576 + 3 * 65_536,
        "{received} bytes for a MiB"
    );
    stage.done(["get", "--range", "0-9", "/tiny", to]);
    assert_eq!(fs::read(&back).unwrap(), content[..10]);

    for (range, path) in [
        ("0-9000000", "/large"),
        ("100-", "/tiny"),
        ("0-0", "/empty"),
        ("-101", "/tiny"),
    ] {
        let refused = stage.xcloud(["cat", "--range", range, path]).expect_code(2);
        refused.expect_told("bytes");
    }
    stage.xcloud(["cat", "/none"]).expect_code(3);
    stage.xcloud(["cat", "/"]).expect_code(2);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let stage = Stage::new(HOSTS);
    let path = stage.path("film");
    write(&path, noise(32, 60_000_000));
    stage.done(put(&path, "/"));
    let mut cat = stage.owner.command(["cat", "/film"]);
    let mut child = cat
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1_000];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&first));
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn a_killed_download_goes_on_where_it_ended_also_when_everybody_was_restarted() {
    let mut stage = Stage::new(HOSTS);
    let (file, folder) = (stage.path("file"), stage.path("folder"));
    write(&file, noise(33, FILE_BYTES));
    fs::create_dir(&folder).unwrap();
    stage.done(put(&file, "/file"));
    let get = ["--json", "get", "/file"].map(OsStr::new);
    let get = || get.into_iter().chain([folder.as_os_str()]);

    let running = stage.begin(get());
    wait_until("the half is written", || written(&folder) > HALF_BYTES);
    kill(running.child.id());
    assert_ne!(running.end().code, Some(0), "it was killed on its way");
    assert!(!folder.join("file").exists());
    stage.planet.bridge().kill();
    stage.planet.hosts().iter_mut().for_each(planet::Node::kill);
    stage.revive();

    let got = stage.done(get()).json();
    assert_same(&file, &folder.join("file"));
    let number = |field: &str| got[field].as_u64().unwrap();
    let (resumed, received) = (number("resumed"), number("received"));
    assert!(resumed > HALF_BYTES / 2, "{got}");
    let missing = FILE_BYTES as u64 - resumed;
    assert!(
        received < missing + missing / 4 + 16_000_000,
        "{got}: only the rest came"
    );

    // Another version: nothing of what is left of the first one is taken.
    fs::remove_file(folder.join("file")).unwrap();
    let running = stage.begin(get());
    wait_until("the half is written", || written(&folder) > HALF_BYTES);
    kill(running.child.id());
    running.end();
    write(&file, noise(34, FILE_BYTES));
    stage.done(put(&file, "/file"));
    let got = stage.done(get()).json();
    assert_same(&file, &folder.join("file"));
    assert_eq!(got["resumed"], Value::from(0));
}

/// Bytes of temporary files in `folder`.
fn written(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
    let blocks = parts
        .filter_map(|part| part.metadata().ok())
        .map(|metadata| metadata.blocks());
    blocks.sum::<u64>() * 512
}

/// Makes `count` files of about 20 KB in a folder.
fn many(folder: &Path, count: u64) -> Vec<PathBuf> {
    let names = (0..count).map(|number| folder.join(format!("f{number:03}")));
    names
        .zip(1_000..)
        .map(|(path, seed)| {
            write(
                &path,
                noise(seed, 20_000 + usize::try_from(seed).unwrap() % 997),
            );
            path
        })
        .collect()
}

/// Whether `folder` holds `files`, with all that was kept of them, and nothing else.
fn assert_all_same(files: &[PathBuf], folder: &Path) {
    for file in files {
        assert_same(file, &folder.join(file.file_name().unwrap()));
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), files.len());
}

#[test]
fn what_is_left_of_packs_goes_into_new_ones() {
    let stage = Stage::new(HOSTS);
    let tree = stage.path("tree");
    let files = many(&tree, 100);
    stage.done(put(&tree, "/"));
    let sparse = || stage.done(["--json", "tidy", "--dry-run"]).json();
    assert_eq!(sparse()["packs"], Value::from(0));

    let names = files
        .iter()
        .map(|path| format!("/tree/{}", path.file_name().unwrap().display()));
    let names: Vec<String> = names.collect();
    stage.done(["cp", names[99].as_str(), "/copy"]);
    let gone = names[..60].iter().map(String::as_str);
    stage.done(["rm"].into_iter().chain(gone));
    files[..60]
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    let before = sparse();
    assert_eq!(before["packs"], Value::from(1), "{before}");

    let tidied = stage.done(["--json", "tidy"]).json();
    assert_eq!(
        tidied["moved"],
        Value::from(41),
        "{tidied}: 40 files and a copy of one"
    );
    assert_eq!(
        (&tidied["emptied"], &tidied["changed"]),
        (&Value::from(1), &Value::from(0))
    );
    assert_eq!(sparse()["packs"], Value::from(0));
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_all_same(&files[60..], &back.join("tree"));
    let copy = stage.owner.command(["cat", "/copy"]).output().unwrap();
    assert_eq!(copy.stdout, fs::read(&files[99]).unwrap());
    let again = stage.done(["--json", "tidy"]).json();
    assert_eq!(again["moved"], Value::from(0));
}

#[test]
fn whoever_changes_a_file_meanwhile_keeps_the_change() {
    let stage = Stage::new(HOSTS);
    let tree = stage.path("tree");
    let files = many(&tree, 60);
    stage.done(put(&tree, "/"));
    let gone: Vec<String> = (0..40)
        .map(|number| format!("/tree/f{number:03}"))
        .collect();
    stage.done(["rm"].into_iter().chain(gone.iter().map(String::as_str)));
    files[..40]
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    thread::scope(|scope| {
        let tidying = scope.spawn(|| stage.done(["--json", "tidy"]).json());
        for (path, seed) in files[40..].iter().step_by(4).zip(5_000..) {
            write(path, noise(seed, 30_000));
            stage.done(put(path, "/tree/"));
        }
        let tidied = tidying.join().unwrap();
        println!("{tidied}");
    });
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_all_same(&files[40..], &back.join("tree"));
}
