//! Whole transfers over real sockets, between Hosts that fail in every way.

#[expect(
    clippy::unwrap_used,
    reason = "a network that cannot be started fails the test"
)]
#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use std::sync::Arc;
use std::time::Duration;

use client::download::{DownloadError, Downloader, FileSink, StreamSink};
use client::transfer::{FailureKind, TransferLimits};
use client::upload::{BlobSource, UploadError};
use futures_util::future::join_all;
use model::crypto::FileCipher;
use model::formats::shape::Class;
use model::wire::api::Sighting;
use network::{Fault, Network, bytes, file_in_memory, file_on_disk};

/// Two segments of 4 of 8, the second one short.
const TWO_SEGMENTS: usize = 4 * 1_966_080 + 100_001;
/// Every fault, those that show at once first.
const FAULTS: [Fault; 7] = [
    Fault::Dead,
    Fault::Full,
    Fault::Cut,
    Fault::Garbage,
    Fault::Busy,
    Fault::Silent,
    Fault::Slow,
];

fn coded() -> Option<Class> {
    "coded:4/8".parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_comes_out_in_every_class() {
    let network = Network::start(8);
    let owner = network.owner();
    for class in ["coded:4/8", "coded:2/3", "mirrors:3", "mirrors:1"] {
        let class = Some(class.parse().unwrap());
        for length in [1, 63, 64, 65_537, 1_966_081] {
            let file = owner.put(&bytes(length), class).await.unwrap();
            assert_eq!(
                network.owner().get(&file).await.unwrap(),
                file.plain,
                "{length} {class:?}"
            );
        }
    }
    let file = owner.put(&bytes(TWO_SEGMENTS), coded()).await.unwrap();
    assert_eq!(owner.get(&file).await.unwrap(), file.plain);
    assert_eq!(owner.progress.segments_degraded.get(), 0);
    assert_eq!(owner.progress.shards_replaced.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_around_four_of_twelve_hosts_that_fail() {
    let plain = bytes(TWO_SEGMENTS);
    let uploads = FAULTS.map(|fault| {
        let plain = &plain;
        async move {
            let network = Network::start(12);
            network.fail(&[1, 4, 7, 10], fault);
            let owner = network.owner();
            let file = owner.put(plain, coded()).await.unwrap();
            assert!(owner.progress.shards_replaced.get() > 0, "{fault:?}");
            network.fail(&[1, 4, 7, 10], Fault::None);
            assert_eq!(owner.get(&file).await.unwrap(), *plain, "{fault:?}");
            assert!(!network.bridge.books().reports.is_empty(), "{fault:?}");
        }
    });
    join_all(uploads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_spares_an_upload_is_degraded_and_with_too_few_hosts_it_fails() {
    let network = Network::start(8);
    network.fail(&[2, 5], Fault::Dead);
    let owner = network.owner();
    let file = owner.put(&bytes(300_000), coded()).await.unwrap();
    assert_eq!(owner.progress.segments_degraded.get(), 1);
    assert_eq!(network.owner().get(&file).await.unwrap(), file.plain);

    network.fail(&[7], Fault::Full);
    let error = owner.put(&bytes(300_000), coded()).await.unwrap_err();
    let UploadError::TooFewHosts {
        segment: 0,
        have: 5,
        needed: 6,
        hosts,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    let named = |name: &str| hosts.iter().any(|(host, _)| host == name);
    assert!(named("h2") && named("h5") && named("h7"), "{error}");
    assert_eq!(error.kind(), FailureKind::Unavailable);
    assert_eq!(network.bridge.books().abandoned, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_around_as_many_hosts_as_there_is_parity() {
    let plain = bytes(TWO_SEGMENTS);
    let downloads = FAULTS.map(|fault| {
        let plain = &plain;
        async move {
            let network = Network::start(8);
            let file = network.owner().put(plain, coded()).await.unwrap();
            network.fail(&[1, 2, 3, 4], fault);
            let owner = network.owner();
            assert_eq!(owner.get(&file).await.unwrap(), *plain, "{fault:?}");
            assert!(owner.progress.segments_degraded.get() > 0, "{fault:?}");
            assert!(!network.bridge.books().reports.is_empty(), "{fault:?}");
        }
    });
    join_all(downloads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_failure_too_many_the_error_says_what_is_missing() {
    let cases = [
        (Fault::Dead, FailureKind::Unavailable),
        (Fault::Full, FailureKind::Unavailable),
        (Fault::Cut, FailureKind::Unavailable),
        (Fault::Garbage, FailureKind::Integrity),
    ];
    let downloads = cases.map(|(fault, kind)| async move {
        let network = Network::start(8);
        let file = network.owner().put(&bytes(200_000), coded()).await.unwrap();
        network.fail(&[1, 2, 3, 5, 8], fault);
        let error = network.owner().get(&file).await.unwrap_err();
        let DownloadError::TooFewShards {
            segment: 0,
            have: 3,
            needed: 4,
            hosts,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        for name in ["h1", "h2", "h3", "h5", "h8"] {
            assert!(names.contains(&name), "{error}");
        }
        assert_eq!(error.kind(), kind, "{error}");
    });
    join_all(downloads).await;
}

/// Limits that show within a test.
fn impatient() -> TransferLimits {
    TransferLimits {
        silent_after: Duration::from_millis(500),
        ..TransferLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_hosts_that_fell_silent_ends_and_names_them() {
    // A shard that fits into the buffers on the way, and one that does not.
    let cases = [
        (Fault::Silent, 300_000),
        (Fault::Silent, TWO_SEGMENTS),
        (Fault::Mute, TWO_SEGMENTS),
    ];
    let uploads = cases.map(|(fault, length)| async move {
        let network = Network::start(8);
        network.fail(&[1, 3, 4, 6, 8], fault);
        let owner = network.owner_with(impatient());
        let error = owner.put(&bytes(length), coded()).await.unwrap_err();
        let UploadError::TooFewHosts {
            have: 3,
            needed: 6,
            hosts,
            ..
        } = &error
        else {
            panic!("{fault:?} {error}");
        };
        let mut names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["h1", "h3", "h4", "h6", "h8"], "{fault:?}");
        assert!(
            hosts.iter().all(|(_, why)| why.contains("kept us waiting")),
            "{error}"
        );
        assert_eq!(error.kind(), FailureKind::Unavailable);
        // Two segments at a time, each at most twice.
        let asked = network.hosts.iter().map(|host| host.asked().0).max();
        assert!(asked <= Some(4), "{fault:?}: asked {asked:?} times");
        assert_eq!(network.bridge.books().abandoned, 1);
    });
    join_all(uploads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_tries_few_spares_where_nobody_answers() {
    let network = Network::start(32);
    let all: Vec<u8> = (1..=32).collect();
    network.fail(&all, Fault::Mute);
    let owner = network.owner_with(impatient());
    let error = owner.put(&bytes(300_000), coded()).await.unwrap_err();
    let UploadError::TooFewHosts { have: 0, .. } = &error else {
        panic!("{error}");
    };
    let puts: u32 = network.hosts.iter().map(|host| host.asked().0).sum();
    assert!(
        (9..=8 * 2).contains(&puts),
        "a first Host and at most one spare for each shard, not {puts}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_from_hosts_that_fell_silent_ends_and_names_them() {
    for class in ["coded:4/8", "mirrors:3"] {
        let network = Network::start(8);
        let class = Some(class.parse().unwrap());
        let file = network.owner().put(&bytes(200_000), class).await.unwrap();
        network.fail(&[1, 2, 3, 4, 5, 6, 7, 8], Fault::Silent);
        let owner = network.owner_with(impatient());
        let error = owner.get(&file).await.unwrap_err();
        let DownloadError::TooFewShards { have: 0, hosts, .. } = &error else {
            panic!("{error}");
        };
        let n = usize::from(class.map_or(0, Class::n));
        assert_eq!(hosts.len(), n, "{error}");
        assert_eq!(error.kind(), FailureKind::Unavailable);
        assert_eq!(
            network.bridge.books().layout_calls,
            2,
            "once more, not twice"
        );
        let asked = network.hosts.iter().map(|host| host.asked().1).max();
        assert_eq!(asked, Some(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_is_never_delivered_and_is_reported() {
    let network = Network::start(8);
    let file = network
        .owner()
        .put(&bytes(1_000_000), coded())
        .await
        .unwrap();
    network.hosts.iter().take(4).for_each(|host| host.rot());
    assert_eq!(network.owner().get(&file).await.unwrap(), file.plain);
    let bad = |saw: &Sighting| *saw == Sighting::BadShard;
    let reports = network.bridge.books().reports.clone();
    assert_eq!(reports.iter().filter(|report| bad(&report.saw)).count(), 4);

    network.hosts[4].rot();
    let error = network.owner().get(&file).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Integrity, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_gives_each_of_its_files_and_a_range_asks_for_its_own_shard() {
    let network = Network::start(8);
    let owner = network.owner();
    let (mut pack, mut file) = file_in_memory(&bytes(800_000));
    // The pack's second half is another file, under its own secret.
    let (_, other) = file_in_memory(&bytes(300_000));
    let mut ciphertext = file.plain.clone();
    FileCipher::new(&file.file_secret).apply(0, &mut ciphertext[..500_000]);
    ciphertext[500_000..].copy_from_slice(&other.plain);
    FileCipher::new(&other.file_secret).apply(0, &mut ciphertext[500_000..]);
    pack.content = Box::new(client::upload::InMemory::new(ciphertext));
    let staged = owner.stage(vec![pack], coded()).await.unwrap();
    owner.commit(&staged).await;
    file.access.manifest = staged.blobs[0].manifest;

    let sinks = [(); 3].map(|()| Arc::new(StreamSink::new(Vec::new())));
    let mut second = other.piece(0..300_000, sinks[1].clone());
    second.range = 500_000..800_000;
    let mut part = other.piece(100_000..100_007, sinks[2].clone());
    part.range = 600_000..600_007;
    let pieces = vec![file.piece(0..500_000, sinks[0].clone()), second, part];
    let downloader = Downloader::new(owner.transfer.clone());
    downloader
        .fetch(&file.access, pieces, &owner.progress)
        .await
        .unwrap();
    let [first, second, part] = sinks.map(|sink| Arc::into_inner(sink).unwrap().into_inner());
    assert_eq!(first, file.plain[..500_000]);
    assert_eq!(second, other.plain);
    assert_eq!(part, other.plain[100_000..100_007]);

    let before = network.hosts.iter().map(|host| host.asked().1).sum::<u32>();
    let sent = || network.hosts.iter().map(|host| host.sent()).sum::<u64>();
    let sent_before = sent();
    let sink = Arc::new(StreamSink::new(Vec::new()));
    let range = 300_000..300_010;
    let piece = file.piece(range, sink.clone());
    downloader
        .fetch(&file.access, vec![piece], &owner.progress)
        .await
        .unwrap();
    assert_eq!(
        Arc::into_inner(sink).unwrap().into_inner(),
        file.plain[300_000..300_010]
    );
    let after = network.hosts.iter().map(|host| host.asked().1).sum::<u32>();
    assert_eq!(after - before, 1, "one shard holds the range");
    assert_eq!(sent() - sent_before, 65_536, "and one leaf of it");

    let beyond = file.piece(799_999..800_001, Arc::new(StreamSink::new(Vec::new())));
    let error = downloader
        .fetch(&file.access, vec![beyond], &owner.progress)
        .await
        .unwrap_err();
    assert!(matches!(error, DownloadError::Range { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_segments_pass_through_little_memory_into_a_file() {
    let network = Network::start(4);
    // Room for one segment at a time.
    let owner = network.owner_with(TransferLimits {
        buffer_bytes_max: 1,
        segments_max: 4,
        ..TransferLimits::default()
    });
    let plain = bytes(5 * 1_966_080 + 7);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &plain).unwrap();
    let (source, mut file) = file_on_disk(&path, &plain);
    let class = Some(Class::mirrors(2).unwrap());
    let staged = owner.stage(vec![source], class).await.unwrap();
    owner.commit(&staged).await;
    file.access.manifest = staged.blobs[0].manifest;

    let out = std::fs::File::create_new(folder.path().join("out")).unwrap();
    let sink = Arc::new(FileSink::new(out, 0));
    let piece = file.piece(0..plain.len() as u64, sink);
    let downloader = Downloader::new(owner.transfer.clone());
    downloader
        .fetch(&file.access, vec![piece], &owner.progress)
        .await
        .unwrap();
    assert_eq!(std::fs::read(folder.path().join("out")).unwrap(), plain);
    assert_eq!(owner.get(&file).await.unwrap(), plain, "also in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_blobs_share_an_upload_and_receipts_go_in_pages() {
    let network = Network::start(4);
    let owner = network.owner();
    let class = Some(Class::mirrors(3).unwrap());
    let (sources, mut files): (Vec<BlobSource>, Vec<_>) = (1..=150)
        .map(|length| file_in_memory(&bytes(length)))
        .unzip();
    let staged = owner.stage(sources, class).await.unwrap();
    assert!(staged.receipts.segments.len() <= 64);
    assert!(
        network.bridge.books().receipts.len() >= 86,
        "pages went ahead"
    );
    owner.commit(&staged).await;
    for (file, stored) in files.iter_mut().zip(&staged.blobs) {
        assert_eq!(
            (file.access.blob, file.plain.len() as u64),
            (stored.blob, stored.length)
        );
        file.access.manifest = stored.manifest;
        assert_eq!(owner.get(file).await.unwrap(), file.plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_ends_the_upload() {
    let network = Network::start(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &bytes(999)).unwrap();
    let (source, _) = file_on_disk(&path, &bytes(1_000));
    let class = Some(Class::mirrors(3).unwrap());
    let error = network
        .owner()
        .stage(vec![source], class)
        .await
        .unwrap_err();
    assert!(matches!(error, UploadError::Read { .. }), "{error}");
    assert_eq!(network.bridge.books().abandoned, 1);
    assert!(network.hosts.iter().all(|host| host.shards() == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_renewed_once_for_all_calls() {
    let network = Network::start(3);
    let owner = network.owner();
    owner
        .put(b"first", Some(Class::mirrors(3).unwrap()))
        .await
        .unwrap();
    assert_eq!(network.bridge.books().sessions, 1);
    network.bridge.books().refuse_sessions_below = 2;
    owner
        .put(b"second", Some(Class::mirrors(3).unwrap()))
        .await
        .unwrap();
    assert_eq!(network.bridge.books().sessions, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_may_not_decide_for_too_little_redundancy() {
    let network = Network::start(3);
    network.bridge.books().class = Some(Class::mirrors(2).unwrap());
    let error = network.owner().put(b"precious", None).await.unwrap_err();
    assert!(matches!(error, UploadError::BadPlan(_)), "{error}");
    assert_eq!(network.bridge.books().abandoned, 1);
}
