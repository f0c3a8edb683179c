//! `verify` over real sockets, between Hosts that fail in every way: what is there is proved, what
//! is not is named, and nothing is fetched.

#![expect(clippy::unwrap_used, reason = "what cannot be stored fails the test")]

#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use std::error::Error;
use std::sync::{Arc, Mutex};

use client::drive::download::GetRequest;
use client::drive::join::Contact;
use client::drive::upload::PutRequest;
use client::drive::verify::{
    Examiner, Failing, Grade, Leaves, SegmentAudit, Verdict, VerifyReport, VerifyRequest,
};
use client::drive::{Drive, Home, Tally, TypedPath, Watcher};
use client::transfer::{Environment, FailureKind, SystemEnvironment};
use model::crypto::{Mnemonic, Secret};
use model::formats::shape::Class;
use model::formats::tree::TreePath;
use model::units::ShardId;
use model::wire::ProtocolVersions;
use model::wire::api::Sighting;
use network::{Fault, Network, bytes};
use tempfile::TempDir;

/// Two segments of 4 of 8, the second one short.
const LARGE: usize = 4 * 1_966_080 + 700_001;

/// An owner with files: one large, three in a pack, one in the tree itself.
struct Kept {
    network: Network,
    drive: Drive,
    folder: TempDir,
}

/// Keeps what it hears.
#[derive(Debug, Default)]
struct Notes {
    failed: Mutex<Vec<String>>,
    unproved: Mutex<Vec<(SegmentAudit, String, usize)>>,
}

impl Watcher for Notes {
    fn failed(&self, path: &[u8], error: &(dyn Error + 'static)) {
        let path = String::from_utf8_lossy(path);
        self.failed.lock().unwrap().push(format!("{path}: {error}"));
    }

    fn warned(&self, _path: &[u8], _remark: &str) {}
}

impl Examiner for Notes {
    fn unproved(&self, segment: &SegmentAudit, file: &TreePath, others: usize) {
        let found = (segment.clone(), file.to_string(), others);
        self.unproved.lock().unwrap().push(found);
    }
}

impl Kept {
    async fn new() -> Self {
        let network = Network::start(8);
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        let url = network.bridge.url();
        let contact = Contact::reach(url, Arc::clone(&environment)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        let phrase = Mnemonic::from_entropy(&Secret::new([0x77; 32]));
        contact.open_account(&home, &phrase, "d").await.unwrap();
        let drive = Drive::open(home, environment).unwrap();
        let kept = Self {
            network,
            drive,
            folder,
        };
        let local = kept.folder.path().join("files");
        std::fs::create_dir(&local).unwrap();
        let files = [
            ("large", LARGE),
            ("p1", 90_000),
            ("p2", 90_001),
            ("p3", 90_002),
            ("tiny", 5),
        ];
        for (name, len) in files {
            let path = local.join(name);
            shardstore::durable::create_new(&path, &bytes(len)).unwrap();
        }
        let request = PutRequest {
            locals: vec![local],
            remote: typed("/"),
            class: Some(Class::coded(4, 8).unwrap()),
        };
        let watcher = Arc::new(Notes::default()) as Arc<dyn Watcher>;
        let tally = Arc::default();
        let put = kept.drive.put(request, &tally, &watcher);
        assert_eq!(put.await.unwrap().stored, 5);
        kept
    }

    async fn verify_at(&self, path: &str, leaves: Leaves) -> (VerifyReport, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let examiner = Arc::clone(&notes) as Arc<dyn Examiner>;
        let request = VerifyRequest {
            path: typed(path).path,
            leaves,
        };
        let tally = Arc::default();
        let report = self.drive.verify(&request, &tally, &examiner);
        (report.await.unwrap(), notes)
    }

    async fn verify(&self) -> (VerifyReport, Arc<Notes>) {
        self.verify_at("/files", Leaves::One).await
    }

    fn sightings(&self) -> Vec<Sighting> {
        let books = self.network.bridge.books();
        let mut seen: Vec<Sighting> = books.reports.iter().map(|report| report.saw).collect();
        seen.dedup();
        seen
    }
}

fn typed(path: &str) -> TypedPath {
    TypedPath::parse(path.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_proved_and_nothing_is_fetched() {
    let kept = Kept::new().await;
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), None);
    assert_eq!((report.files, report.inline_files), (5, 1));
    let large = u64::try_from(LARGE).unwrap();
    assert_eq!(report.bytes, large + 270_003 + 5);
    // The large file has two segments, the pack one.
    assert_eq!((report.blobs, report.segments, report.proved), (2, 3, 24));
    assert!(notes.unproved.lock().unwrap().is_empty());
    let hosts = &kept.network.hosts;
    assert!(hosts.iter().all(|host| host.sent() == 0), "no shard moved");
    let asked: u32 = hosts.iter().map(|host| host.audits()).sum();
    assert_eq!(asked, 24, "each shard once");
    assert!(kept.sightings().is_empty());

    let (report, _) = kept.verify_at("/files/p2", Leaves::One).await;
    assert_eq!((report.files, report.segments, report.proved), (1, 1, 8));
    let (report, _) = kept.verify_at("/files/large", Leaves::All).await;
    assert_eq!((report.failure(), report.proved), (None, 16));
    let asked: u32 = hosts.iter().map(|host| host.audits()).sum();
    // 30 leaves in a full shard; 175,104 bytes, three leaves, in one of the second segment.
    assert_eq!(asked, 24 + 8 + 8 * 30 + 8 * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_proof_is_named_and_reported_with_its_place() {
    let cases = [
        (Fault::Full, Failing::Missing, Sighting::Missing),
        (Fault::Rotten, Failing::Rotten, Sighting::BadShard),
        (Fault::Garbage, Failing::WrongLeaf, Sighting::BadShard),
        (Fault::Forging, Failing::NoProof, Sighting::BadShard),
    ];
    let kept = Kept::new().await;
    for (fault, failing, saw) in cases {
        kept.network.fail(&[3], fault);
        kept.network.bridge.books().reports.clear();
        let (report, notes) = kept.verify().await;
        assert_eq!(report.failure(), Some(FailureKind::Integrity), "{fault:?}");
        assert_eq!((report.proved, report.failed), (21, 3), "{fault:?}");
        assert_eq!(
            (report.files, report.files_failed),
            (5, 0),
            "enough is left"
        );
        let unproved = notes.unproved.lock().unwrap();
        let pack = unproved.iter().find(|(_, file, _)| file == "/files/p1");
        assert_eq!(pack.unwrap().2, 2, "and two more files of the pack");
        for (segment, ..) in unproved.iter() {
            assert_eq!(segment.grade(), Grade::Damaged);
            let [shard] = segment.unproved.as_slice() else {
                panic!("one shard is at each host");
            };
            assert_eq!(shard.verdict, Verdict::Failed(failing));
            assert_eq!(shard.host.as_ref().unwrap().name, "h3");
        }
        let books = kept.network.bridge.books();
        assert_eq!(books.reports.len(), 3);
        for report in &books.reports {
            assert_eq!((report.saw, report.host), (saw, kept.network.hosts[2].id()));
            let named = unproved.iter().find(|(segment, ..)| {
                let shard = &segment.unproved[0];
                let place = (Some(segment.segment), Some(shard.index));
                (report.blob, report.shard) == (Some(segment.blob), Some(shard.shard))
                    && (report.segment, report.index) == place
            });
            assert!(named.is_some(), "{report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_cannot_be_asked_accuse_nobody() {
    let kept = Kept::new().await;
    kept.network.fail(&[1], Fault::Dead);
    kept.network.fail(&[2], Fault::Busy);
    kept.network.fail(&[3], Fault::Old);
    kept.network.fail(&[4], Fault::Unseen);
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), None, "four of eight are enough");
    assert_eq!((report.proved, report.unreachable), (12, 12));
    let graded = |grade| {
        let unproved = notes.unproved.lock().unwrap();
        unproved
            .iter()
            .all(|(segment, ..)| segment.grade() == grade)
    };
    assert!(graded(Grade::Enough));
    assert!(kept.sightings().is_empty());

    kept.network.fail(&[5], Fault::Cut);
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), Some(FailureKind::Unavailable));
    assert_eq!((report.segments_unavailable, report.segments_lost), (3, 0));
    assert_eq!((report.files, report.files_failed), (1, 4));
    assert_eq!(notes.failed.lock().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_with_too_few_shards_left_are_lost() {
    let kept = Kept::new().await;
    kept.network.fail(&[1, 2, 3, 4, 5], Fault::Full);
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), Some(FailureKind::Integrity));
    assert_eq!((report.segments_lost, report.files_failed), (3, 4));
    let failed = notes.failed.lock().unwrap();
    let lost = "/files/p1: too few shards are left; it does not come back";
    assert!(failed.iter().any(|failure| failure == lost), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_the_manifests_whatever_the_bridge_says() {
    let kept = Kept::new().await;
    for stored in kept.network.bridge.books().receipts.values_mut() {
        stored[6].0 = ShardId([0xab; 32]);
        stored[7].1 = None;
    }
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), Some(FailureKind::Integrity));
    assert_eq!((report.proved, report.failed, report.nowhere), (18, 3, 3));
    for (segment, ..) in notes.unproved.lock().unwrap().iter() {
        let verdicts = segment.unproved.iter().map(|shard| shard.verdict.clone());
        let expected = [Verdict::Failed(Failing::OtherShard), Verdict::Nowhere];
        assert_eq!(verdicts.collect::<Vec<_>>(), expected);
    }
    assert!(kept.sightings().is_empty(), "no host did that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_of_the_version_before_is_told_to_update() {
    let kept = Kept::new().await;
    kept.network.bridge.books().volume.speaks = Some(ProtocolVersions {
        version: 2,
        oldest: 1,
    });
    let (report, notes) = kept.verify().await;
    assert_eq!(report.failure(), Some(FailureKind::Refused));
    let failed = notes.failed.lock().unwrap();
    assert!(failed[0].contains("needs an update"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_met_a_bad_shard_says_which() {
    let kept = Kept::new().await;
    kept.network.fail(&[3], Fault::Garbage);
    let request = GetRequest {
        remotes: vec![typed("/files/large")],
        local: kept.folder.path().join("got"),
        range: None,
    };
    let watcher = Arc::new(Notes::default()) as Arc<dyn Watcher>;
    let tally = Arc::new(Tally::default());
    let got = kept.drive.get(&request, &tally, &watcher);
    assert_eq!(got.await.unwrap().written, 1);
    let books = kept.network.bridge.books();
    let bad = books.reports.iter();
    let bad: Vec<_> = bad
        .filter(|report| report.saw == Sighting::BadShard)
        .collect();
    assert!(!bad.is_empty());
    for report in bad {
        let (blob, segment) = (report.blob.unwrap(), report.segment.unwrap());
        let (id, host) = books.receipts[&(blob, segment)][usize::from(report.index.unwrap())];
        assert_eq!((Some(id), host), (report.shard, Some(report.host)));
    }
}
