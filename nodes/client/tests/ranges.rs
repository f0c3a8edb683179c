//! Ranges over real sockets: only the leaves that are needed move, nothing unverified comes out.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be read or stored fails the test"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use std::ops::Range;
use std::sync::Arc;

use client::download::{Downloader, StreamSink};
use client::drive::stream::OpenFile;
use client::transfer::FailureKind;
use model::formats::shape::Class;
use model::formats::tree::{BlobSlice, Content, FileVersion, TreePath};
use model::wire::api::Sighting;
use network::{Fault, Network, Owner, StoredFile, bytes};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

const SHARD: usize = 1_966_080;
const LEAF: u64 = 65_536;
/// Two segments of 4 of 8, the second one short.
const LENGTH: usize = 4 * SHARD + 700_001;

fn coded() -> Option<Class> {
    "coded:4/8".parse().ok()
}

async fn read(owner: &Owner, file: &StoredFile, range: Range<u64>) -> Vec<u8> {
    let sink = Arc::new(StreamSink::new(Vec::new()));
    let piece = file.piece(range, sink.clone());
    let downloader = Downloader::new(owner.transfer.clone());
    let fetched = downloader.fetch(&file.access, vec![piece], &owner.progress);
    fetched.await.unwrap();
    Arc::into_inner(sink).unwrap().into_inner()
}

fn open(owner: &Owner, file: &StoredFile) -> OpenFile {
    let slice = BlobSlice {
        blob: file.access.blob,
        offset: 0,
        length: file.plain.len() as u64,
        file_secret: file.file_secret.clone(),
        blob_secret: file.access.secret.clone(),
        manifest: file.access.manifest,
    };
    let version = FileVersion {
        sha256: None,
        content: Content::Blob(slice),
    };
    let path = TreePath::parse(b"/film").unwrap();
    OpenFile::new(path, version, Downloader::new(owner.transfer.clone()))
        .counted_by(&owner.progress)
}

fn slice<'a>(file: &'a StoredFile, range: &Range<u64>) -> &'a [u8] {
    &file.plain[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_moves_its_leaves_and_no_more() {
    let network = Network::start(8);
    let file = network.owner().put(&bytes(LENGTH), coded()).await.unwrap();
    let (shard, end) = (SHARD as u64, LENGTH as u64);
    // In one shard, over the border of two shards, of two segments, the last byte.
    let cases = [
        (10 * LEAF + 1..12 * LEAF, 2),
        (shard - 1..shard + 1, 2),
        (4 * shard - 1..4 * shard + 1, 2),
        (end - 1..end, 1),
        (0..1, 1),
    ];
    for (range, leaves) in cases {
        let owner = network.owner();
        let came = read(&owner, &file, range.clone()).await;
        assert!(came == slice(&file, &range), "{range:?}");
        let moved = owner.progress.shard_bytes_received.get();
        assert!(moved <= leaves * LEAF, "{range:?} moved {moved}");
    }
}

#[test]
fn random_ranges_are_what_was_stored() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let network = Network::start(8);
    let owner = network.owner();
    let stored = [
        (LENGTH, "coded:4/8"),
        (2 * SHARD + 9, "mirrors:3"),
        (200_000, "coded:2/3"),
        (1, "coded:4/8"),
    ];
    let files: Vec<StoredFile> = stored
        .map(|(length, class)| {
            let plain = bytes(length);
            let stored = owner.put(&plain, class.parse().ok());
            runtime.block_on(stored).unwrap()
        })
        .into();
    let ranges = (0..files.len(), any::<u64>(), any::<u64>(), any::<bool>());
    let config = Config {
        cases: 48,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&ranges, |(which, start, length, is_short)| {
        let file = &files[which];
        let end = file.plain.len() as u64;
        let start = start % end;
        let most = if is_short { 100_000 } else { end };
        let range = start..start + 1 + length % (end - start).min(most);
        let came = runtime.block_on(read(&owner, file, range.clone()));
        if came == slice(file, &range) {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("{range:?} of {end}")))
        }
    });
    ran.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_goes_around_hosts_that_fail_and_lie() {
    let plain = bytes(LENGTH);
    for fault in [
        Fault::Garbage,
        Fault::Dead,
        Fault::Cut,
        Fault::Full,
        Fault::Busy,
    ] {
        for class in ["coded:4/8", "mirrors:8"] {
            let network = Network::start(8);
            let file = network
                .owner()
                .put(&plain, class.parse().ok())
                .await
                .unwrap();
            network.fail(&[1, 2, 3, 4], fault);
            // Over all four data shards of the first segment, and one by one.
            for range in [
                0..4 * SHARD as u64 - 5,
                77_777..88_888,
                2_000_000..2_000_100,
            ] {
                let owner = network.owner();
                let came = read(&owner, &file, range.clone()).await;
                assert!(came == slice(&file, &range), "{fault:?} {class} {range:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_the_version_before_give_ranges_as_well() {
    let network = Network::start(8);
    let file = network.owner().put(&bytes(LENGTH), coded()).await.unwrap();
    network.fail(&[1, 2, 3, 4, 5], Fault::Old);
    for range in [77_777..88_888, 2_000_000..2_000_100, 0..LENGTH as u64] {
        let came = read(&network.owner(), &file, range.clone()).await;
        assert!(came == slice(&file, &range), "{range:?}");
    }
    assert_eq!(network.bridge.books().reports.len(), 0, "none is blamed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_in_a_range_is_reported_and_with_too_much_of_it_nothing_comes() {
    let network = Network::start(8);
    let file = network
        .owner()
        .put(&bytes(3_000_000), coded())
        .await
        .unwrap();
    network.hosts.iter().take(4).for_each(|host| host.rot());
    // The middle of every shard is bent: 750,000 bytes each, so this lies there.
    let range = 374_990..375_100;
    assert_eq!(
        read(&network.owner(), &file, range.clone()).await,
        slice(&file, &range)
    );
    let bad = |saw: &Sighting| *saw == Sighting::BadShard;
    let reports = network.bridge.books().reports.clone();
    assert!(reports.iter().any(|report| bad(&report.saw)));

    network.hosts.iter().skip(4).for_each(|host| host.rot());
    let owner = network.owner();
    let sink = Arc::new(StreamSink::new(Vec::new()));
    let piece = file.piece(range, sink.clone());
    let downloader = Downloader::new(owner.transfer.clone());
    let fetched = downloader.fetch(&file.access, vec![piece], &owner.progress);
    assert_eq!(fetched.await.unwrap_err().kind(), FailureKind::Integrity);
    assert!(Arc::into_inner(sink).unwrap().into_inner().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_at_any_place_and_ahead_where_reads_follow_each_other() {
    let network = Network::start(8);
    let file = network.owner().put(&bytes(LENGTH), coded()).await.unwrap();
    let owner = network.owner();
    let open = open(&owner, &file);
    assert_eq!(open.size(), LENGTH as u64);
    let read = async |offset: u64, length: usize| {
        let came = open.read_at(offset, length).await.unwrap();
        let range = offset..(offset + length as u64).min(LENGTH as u64);
        assert!(came == slice(&file, &range), "{range:?}");
    };
    read(5_000_000, 1_000).await;
    read(LENGTH as u64 - 1, 9).await;
    read(0, 10).await;
    let alone = owner.progress.shard_bytes_received.get();
    assert_eq!(
        alone,
        2 * LEAF + 43_968,
        "each by itself, the last leaf is short"
    );
    assert!(open.read_at(LENGTH as u64, 10).await.unwrap().is_empty());

    let mut at = 1_000_000;
    while at < LENGTH as u64 {
        read(at, 333_333).await;
        at += 333_333;
    }
    let all = owner.progress.shard_bytes_received.get() - alone;
    assert!(
        all < LENGTH as u64 + 16 * LEAF,
        "{all} moved: each leaf once"
    );
    assert_eq!(
        owner.progress.bytes_planned.get(),
        1_011 + 333_333 + LENGTH as u64 - 1_333_333
    );
    read(3, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_nobody_reads_stops_fetching() {
    let network = Network::start(8);
    let file = network
        .owner()
        .put(&bytes(16 * SHARD), coded())
        .await
        .unwrap();
    let owner = network.owner_with(client::transfer::TransferLimits {
        segments_max: 1,
        ..client::transfer::TransferLimits::default()
    });
    let mut stream = open(&owner, &file).stream(0..u64::MAX);
    let first = stream.next().await.unwrap().unwrap();
    assert!(first == file.plain[..first.len()]);
    drop(stream);
    // Room for everything is there again only when nothing is under way any more.
    let again = owner.get(&file).await.unwrap();
    assert!(again == file.plain);
    let moved = owner.progress.shard_bytes_received.get();
    assert!(
        moved < 2 * 16 * SHARD as u64,
        "{moved}: the stream did not run to its end"
    );
}
