//! What simulated disks keep and lose.

use std::collections::BTreeSet;

use super::*;

const FOLDER: &str = "/h1/data";

fn disks(seed: u64) -> Disks {
    let disks = Disks::new(seed, 1 << 20);
    disks.create_folders(Path::new(FOLDER)).unwrap();
    disks.sync_folder(Path::new("/h1")).unwrap();
    disks
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(FOLDER).join(name)
}

fn power_cut(disks: &Disks) {
    disks.with("h1", Machine::cut_power);
    disks.restore_power("h1");
}

fn content(disks: &Disks, name: &str) -> Option<Vec<u8>> {
    let file = disks.open(&path(name), Open::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn what_was_synced_stays_whatever_the_seed() {
    for seed in 0..50 {
        let disks = disks(seed);
        let file = disks.open(&path("f"), Open::Create).unwrap();
        file.write_all_at(&[7; 10_000], 3).unwrap();
        file.sync().unwrap();
        disks.sync_folder(Path::new(FOLDER)).unwrap();
        file.write_all_at(&[9; 10], 20_000).unwrap();
        power_cut(&disks);
        let kept = content(&disks, "f").unwrap();
        assert_eq!(
            (&kept[..3], &kept[3..10_003]),
            (&[0; 3][..], &[7; 10_000][..])
        );
        assert!(file.sync().is_err(), "it was open before");
    }
}

#[test]
fn what_was_not_synced_is_kept_torn_or_lost() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disks = disks(seed);
        let file = disks.open(&path("f"), Open::Create).unwrap();
        file.write_all_at(&[1; 4_096], 0).unwrap();
        file.sync().unwrap();
        disks.sync_folder(Path::new(FOLDER)).unwrap();
        file.write_all_at(&[2; 4_096], 0).unwrap();
        power_cut(&disks);
        let kept: BTreeSet<u8> = content(&disks, "f").unwrap().into_iter().collect();
        seen.insert(kept);
    }
    let all = [vec![1], vec![2], vec![1, 2]];
    assert_eq!(seen, all.map(|kept| kept.into_iter().collect()).into());
}

#[test]
fn names_of_folders_that_were_not_synced_may_go() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let disks = disks(seed);
        for (name, byte) in [("f", 1), ("f.new", 2)] {
            let file = disks.open(&path(name), Open::Create).unwrap();
            file.write_all_at(&[byte], 0).unwrap();
            file.sync().unwrap();
            if name == "f" {
                disks.sync_folder(Path::new(FOLDER)).unwrap();
            }
        }
        disks.rename(&path("f.new"), &path("f")).unwrap();
        power_cut(&disks);
        seen.insert(content(&disks, "f").unwrap());
    }
    assert_eq!(seen, BTreeSet::from([vec![1], vec![2]]));
}

#[test]
fn the_power_goes_after_so_many_accesses() {
    let disks = disks(1);
    let file = disks.open(&path("f"), Open::Create).unwrap();
    disks.with("h1", |machine| machine.power_for = Some(2));
    file.write_all_at(&[1], 0).unwrap();
    file.sync().unwrap();
    assert!(disks.sync_folder(Path::new(FOLDER)).is_err());
    assert!(disks.with("h1", |machine| machine.is_dark()));
}

#[test]
fn a_disk_is_full_and_a_lock_is_held() {
    let disks = disks(1);
    let file = disks.open(&path("f"), Open::Create).unwrap();
    disks.with("h1", |machine| machine.taken_bytes = (1 << 20) - 8_192);
    let error = file.write_all_at(&[1; 10_000], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.blank_all();

    let first = Disk::lock(&disks, &path("lock")).unwrap();
    assert!(Disk::lock(&disks, &path("lock")).unwrap().is_none());
    drop(first);
    assert!(Disk::lock(&disks, &path("lock")).unwrap().is_some());
}

trait BlankAll {
    fn blank_all(&self);
}

impl BlankAll for Box<dyn DiskFile> {
    fn blank_all(&self) {
        self.punch(0, 10_000).unwrap();
        let mut bytes = [9; 100];
        self.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 100]);
    }
}
