//! 12 Hosts, any 4 of 8 shards: Hosts die, crawl, cut, keep silent, lie and run full.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use planet::{Fault, Link, Planet};

use crate::logs::bend;
use crate::stage::{REFUSED_WITHIN, Stage, noise, wait_until, write};

const HOSTS: usize = 12;
const CLASS: [&str; 3] = ["put", "--class", "coded:4/8"];
/// Several segments, so that every Host is likely to get a shard.
const FILE_BYTES: usize = 24_000_000;

#[test]
fn four_hosts_die_during_an_upload() {
    let slow = |config: &mut planet::PlanetConfig| {
        config.host_args = vec!["--bandwidth-down".into(), "3MB".into()];
    };
    let mut stage = Stage::set(HOSTS, slow, |_planet| {});
    let file = noise_file(&stage, 1, 40_000_000);
    let mut put = stage.begin(upload(&file, "/file"));
    wait_until("shards arrive", || stored_bytes(&stage) > 8_000_000);
    assert!(put.is_running(), "the upload was over too early");
    kill_hosts(&mut stage, [0, 3, 6, 9]);

    put.end().expect_code(0);
    expect_back(&stage, "/file", &file);
}

#[test]
fn four_hosts_die_during_a_download() {
    let mut stage = Stage::new(HOSTS);
    let content = noise(2, 60_000_000);
    let file = stage.path("file");
    write(&file, &content);
    stage.done(upload(&file, "/file"));

    let mut get = stage.begin(["get", "/file", "-"]);
    let mut out = get.child.stdout.take().unwrap();
    let mut received = vec![0; 10_000_000];
    // The rest cannot have been read yet: it does not fit into the pipe.
    out.read_exact(&mut received).unwrap();
    kill_hosts(&mut stage, [1, 4, 7, 10]);
    out.read_to_end(&mut received).unwrap();

    get.end().expect_code(0);
    assert!(received == content, "other bytes came out");
}

#[test]
fn a_host_that_answers_at_10_kb_per_second() {
    with_a_bad_line(Fault::Slow { rate: 10_000 });
}

#[test]
fn a_host_that_cuts_every_connection_half_way() {
    with_a_bad_line(Fault::Cut { after: 900_000 });
}

#[test]
fn a_host_that_accepts_and_keeps_silent() {
    with_a_bad_line(Fault::Silent);
}

/// One Host is behind a line with `fault`, before an upload and before a download.
fn with_a_bad_line(fault: Fault) {
    let mut link = None;
    let mut stage = Stage::set(
        HOSTS,
        |_config| {},
        |planet| link = Some(behind_a_link(planet)),
    );
    let link = link.unwrap();
    let before = file_on_the_first_host(&stage);
    // The Host is reached over the line, or none of this would mean anything.
    assert!(link.heard().len() > 1_000_000);

    link.set(fault);
    expect_back(&stage, "/before", &before);
    let during = noise_file(&stage, 4, FILE_BYTES);
    stage.done(upload(&during, "/during"));
    expect_back(&stage, "/during", &during);

    link.set(Fault::None);
    expect_back(&stage, "/during", &during);
    stage.planet.check_alive().unwrap();
}

#[test]
fn a_host_that_answers_garbage() {
    let mut stage = Stage::new(HOSTS);
    let file = file_on_the_first_host(&stage);
    assert!(bend(&stage, 0) > 0);
    expect_back(&stage, "/before", &file);

    // Found again at its start, the damage is the Host's own to know; it must go on.
    stage.planet.hosts()[0].kill();
    stage.revive();
    expect_back(&stage, "/before", &file);
    let after = noise_file(&stage, 5, FILE_BYTES);
    stage.done(upload(&after, "/after"));
    expect_back(&stage, "/after", &after);
}

#[test]
fn a_host_whose_disk_is_full() {
    let mut disk = None;
    let prepare = |planet: &mut Planet| {
        let data = planet.layout().hosts()[0].data.clone();
        disk = SmallDisk::mount(&data);
        // Without a disk of its own, the Host leaves so much free that it has nothing to give.
        let keep_free = if disk.is_some() { "1MB" } else { "1000TB" };
        planet.hosts()[0].push_args(["--keep-free", keep_free]);
    };
    let stage = Stage::set(HOSTS, |_config| {}, prepare);
    if let Some(disk) = &disk {
        disk.fill();
    }
    let file = noise_file(&stage, 6, FILE_BYTES);
    stage.done(upload(&file, "/file"));
    expect_back(&stage, "/file", &file);
    assert!(!stage.keepers("/file").contains(&"h1".to_owned()));
}

#[test]
fn too_few_hosts_are_said_so() {
    let mut stage = Stage::new(HOSTS);
    let file = noise_file(&stage, 7, 9_000_000);
    stage.done(upload(&file, "/file"));

    kill_hosts(&mut stage, 0..9);
    stage.wait_online(3);
    expect_unavailable(&stage, &file);
    stage.revive();
    expect_back(&stage, "/file", &file);
}

#[test]
fn too_few_hosts_that_answer_are_said_so() {
    let mut stage = Stage::new(HOSTS);
    let file = noise_file(&stage, 8, 9_000_000);
    stage.done(upload(&file, "/file"));

    for host in &stage.planet.hosts()[..9] {
        host.freeze().unwrap();
    }
    expect_unavailable(&stage, &file);
    for host in &stage.planet.hosts()[..9] {
        host.thaw().unwrap();
    }
    expect_back(&stage, "/file", &file);
}

#[test]
fn when_every_copy_is_bent_nothing_comes_out() {
    let stage = Stage::new(5);
    let file = noise_file(&stage, 9, 3_000_000);
    let args = ["put", "--class", "mirrors:3"].map(OsStr::new);
    stage.done(
        args.into_iter()
            .chain([file.as_os_str(), OsStr::new("/file")]),
    );
    let bent: usize = (0..5).map(|number| bend(&stage, number)).sum();
    assert!(bent >= 3);

    let back = stage.path("back");
    let get = [OsStr::new("get"), OsStr::new("/file"), back.as_os_str()];
    stage
        .begin(get)
        .end_within(REFUSED_WITHIN)
        .expect_code(5)
        .expect_told("/file");
    assert!(!back.exists());
    let piped = stage
        .begin(["get", "/file", "-"])
        .end_within(REFUSED_WITHIN)
        .expect_code(5);
    assert_eq!(piped.out, "");
}

/// Neither a download nor an upload is possible: both say so in time, and leave nothing behind.
fn expect_unavailable(stage: &Stage, file: &Path) {
    let back = stage.path("back");
    let get = [OsStr::new("get"), OsStr::new("/file"), back.as_os_str()];
    let got = stage.begin(get).end_within(REFUSED_WITHIN).expect_code(4);
    let got = got.expect_told("/file").expect_told("segment");
    assert!(!back.exists(), "{got:?}");
    let put = stage
        .begin(upload(file, "/other"))
        .end_within(REFUSED_WITHIN);
    put.expect_code(4).expect_told("host");
    stage.xcloud(["stat", "/other"]).expect_code(3);
}

/// A file that the first Host has a shard of.
fn file_on_the_first_host(stage: &Stage) -> PathBuf {
    for seed in 0..20 {
        let file = noise_file(stage, seed, FILE_BYTES);
        stage.done(upload(&file, "/before"));
        if stage.keepers("/before").contains(&"h1".to_owned()) {
            return file;
        }
    }
    panic!("20 files, and the first host got nothing");
}

fn behind_a_link(planet: &mut Planet) -> Link {
    let link = Link::tapped(planet.layout().hosts()[0].addr).unwrap();
    planet.hosts()[0].push_args(["--address", &link.address().to_string()]);
    link
}

fn kill_hosts(stage: &mut Stage, numbers: impl IntoIterator<Item = usize>) {
    for number in numbers {
        stage.planet.hosts()[number].kill();
    }
}

fn noise_file(stage: &Stage, seed: u64, bytes: usize) -> PathBuf {
    let path = stage.path(&format!("noise-{seed}"));
    write(&path, noise(seed, bytes));
    path
}

fn upload<'a>(file: &'a Path, remote: &'a str) -> Vec<&'a OsStr> {
    let mut args: Vec<_> = CLASS.iter().map(OsStr::new).collect();
    args.extend([file.as_os_str(), OsStr::new(remote)]);
    args
}

fn expect_back(stage: &Stage, remote: &str, file: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new(remote), back.as_os_str()]);
    assert!(
        crate::compare::same_content(file, &back),
        "other bytes came out"
    );
    fs::remove_file(back).unwrap();
}

fn stored_bytes(stage: &Stage) -> u64 {
    let logs = (0..HOSTS).flat_map(|number| stage.log_files(number));
    logs.map(|log| fs::metadata(log).unwrap().len()).sum()
}

/// A file system of a few megabytes; needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let mount = mount
            .args(["-t", "tmpfs", "-o", "size=64m", "planet"])
            .arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("no disk of its own for the full host: this needs root");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut junk = fs::File::create(self.0.join("junk")).unwrap();
        let zeros = vec![0; 4096];
        while std::io::Write::write_all(&mut junk, &zeros).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the Host may still be there.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        println!("unmounted: {unmounted:?}");
    }
}
