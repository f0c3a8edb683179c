//! A network heals itself: Hosts die for good, and what they kept is made anew elsewhere, by Hosts
//! alone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use planet::{HostStatus, Segment};

use crate::compare::assert_same;
use crate::stage::{Stage, noise, wait_until, wait_within, write};

const HOSTS: usize = 16;
/// Hosts that die at a time: as many as parity.
const VICTIMS: usize = 4;
/// Everything is whole again this long after Hosts died.
const WHOLE_WITHIN: Duration = Duration::from_secs(180);
/// Files of their own, one of which is one segment.
const LARGE: [usize; 5] = [18_000_000, 16_000_000, 13_000_000, 9_000_000, 4_000_000];

#[test]
fn four_hosts_die_for_good_and_then_four_others() {
    let mut stage = Stage::healing(HOSTS);
    let tree = stored_tree(&stage);
    expect_whole(&stage);

    for first in [0, VICTIMS] {
        let before = Moved::now(&stage, first + VICTIMS);
        for host in first..first + VICTIMS {
            stage.planet.hosts()[host].kill();
        }
        // Whatever is left brings everything back, before anything is repaired as after.
        expect_back(&stage, &tree);
        println!("whole again after {:?}", wait_whole(&stage));
        let read = LARGE.iter().sum::<usize>() as u64;
        Moved::now(&stage, first + VICTIMS).expect_from_hosts(before, read);
        expect_back(&stage, &tree);
    }
    expect_proved(&stage);
    let left: BTreeSet<String> = (2 * VICTIMS..HOSTS)
        .map(|it| format!("h{}", it + 1))
        .collect();
    for segment in segments(&stage) {
        let keepers: BTreeSet<_> = segment.keepers().into_iter().map(str::to_owned).collect();
        assert_eq!(keepers, left);
    }
    for host in 2 * VICTIMS..HOSTS {
        expect_no_event(&stage, host, "audit_failed");
    }
}

/// 60 MB in a few files and some small ones, stored 4 of 8.
fn stored_tree(stage: &Stage) -> PathBuf {
    let tree = stage.path("tree");
    for (at, bytes) in LARGE.into_iter().enumerate() {
        write(&tree.join(format!("large{at}")), noise(at as u64, bytes));
    }
    for small in 0..40 {
        let bytes = 1_000 + usize::try_from(small).unwrap() * 9_000;
        write(
            &tree.join(format!("small/{small}")),
            noise(100 + small, bytes),
        );
    }
    put(stage, &tree);
    tree
}

/// Puts `tree` into the top folder, 4 of 8.
pub(crate) fn put(stage: &Stage, tree: &Path) {
    let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
    stage.done(put.into_iter().chain([tree.as_os_str(), OsStr::new("/")]));
}

/// `/tree` comes back as it is in the folder `tree`.
pub(crate) fn expect_back(stage: &Stage, tree: &Path) {
    let back = stage.path("back");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_same(tree, &back.join("tree"));
    fs::remove_dir_all(back).unwrap();
}

/// The segments of every file in the cloud.
pub(crate) fn segments(stage: &Stage) -> Vec<Segment> {
    let listed = stage.done(["--json", "ls", "-R", "/"]).json();
    let files = listed.as_array().unwrap().iter();
    let files = files.filter(|entry| entry["type"] == "file");
    let mut found = Vec::new();
    let mut packs = BTreeSet::new();
    for path in files.map(|entry| entry["path"].as_str().unwrap()) {
        for segment in stage.owner.segments(path).unwrap() {
            // Files of one pack lie in the same shards.
            if packs.insert(segment.shards[0].id.clone()) {
                found.push(segment);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// Every segment of every file has all its shards, each on a Host of its own that is online.
pub(crate) fn expect_whole(stage: &Stage) {
    let short: Vec<_> = segments(stage)
        .into_iter()
        .filter(|it| !it.is_whole())
        .collect();
    assert!(short.is_empty(), "{short:#?}");
}

/// Waits until that is so; returns how long it took.
pub(crate) fn wait_whole(stage: &Stage) -> Duration {
    let began = Instant::now();
    wait_within("every segment is whole", WHOLE_WITHIN, || {
        segments(stage).iter().all(Segment::is_whole)
    });
    began.elapsed()
}

/// Every shard of everything is proved, as the owner checks it.
pub(crate) fn expect_proved(stage: &Stage) {
    let (proofs, is_well) = stage.owner.proofs("/").unwrap();
    assert!(is_well && proofs.are_whole(), "{proofs:?}");
}

/// Whether the Host was told of an event of this kind.
pub(crate) fn has_event(stage: &Stage, host: usize, kind: &str) -> bool {
    let events = stage.planet.host_events(host).unwrap();
    events.iter().any(|event| event.kind == kind)
}

pub(crate) fn expect_no_event(stage: &Stage, host: usize, kind: &str) {
    let events = stage.planet.host_events(host).unwrap();
    assert!(
        !events.iter().any(|event| event.kind == kind),
        "h{}: {events:?}",
        host + 1
    );
}

/// A Host writes down what changed of it within this.
const STATUS_LAG: Duration = Duration::from_secs(3);

/// How the Host is now, as it writes it down.
pub(crate) fn fresh_status(stage: &Stage, host: usize) -> HostStatus {
    fresh_statuses(stage, host..=host).remove(0)
}

/// The same of several Hosts.
pub(crate) fn fresh_statuses(
    stage: &Stage,
    hosts: impl IntoIterator<Item = usize>,
) -> Vec<HostStatus> {
    let (asked_at, began) = (SystemTime::now(), Instant::now());
    let asked_at = asked_at.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let status = |host| {
        let mut found = None;
        wait_until("a host writes down how it is", || {
            found = stage.planet.host_status(host).ok();
            let is_fresh = |it: &HostStatus| u128::from(it.at) > asked_at;
            found.as_ref().is_some_and(is_fresh) || began.elapsed() > STATUS_LAG
        });
        found.unwrap()
    };
    hosts.into_iter().map(status).collect()
}

/// Bytes of shards that were moved so far.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// Received by Hosts that live on.
    received: u64,
    /// Sent by them.
    sent: u64,
}

impl Moved {
    /// By the Hosts from `first` on, while nothing moves.
    fn now(stage: &Stage, first: usize) -> Self {
        let statuses = fresh_statuses(stage, first..HOSTS).into_iter();
        let moved = statuses.map(|it| (it.received_bytes, it.sent_bytes));
        let (received, sent) = moved.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        Self { received, sent }
    }

    /// What Hosts received to make shards anew since `before`, Hosts had sent, beside all that the
    /// owner read meanwhile: the Bridge carried none of it.
    fn expect_from_hosts(self, before: Self, read: u64) {
        let received = self.received - before.received;
        let sent = self.sent - before.sent;
        println!("{received} bytes received, {sent} sent, of which the owner read {read}");
        assert!(received > 20_000_000, "something was made anew");
        assert!(sent >= received + read, "shards came from elsewhere");
    }
}
