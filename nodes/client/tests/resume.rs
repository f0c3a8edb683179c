//! Uploads that are interrupted and gone on with: what is at Hosts is not sent again, and nothing
//! is sent under a key that covered other content before.

#[expect(
    clippy::unwrap_used,
    reason = "a network that cannot be started fails the test"
)]
#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::upload::{
    BlobSource, InMemory, LogError, LogPosition, Logged, LoggedSegment, SegmentLog, StagedUpload,
    StoreRequest, UploadError, Uploader,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::crypto::FileCipher;
use model::formats::journal::JournalSegment;
use model::units::{PayerKey, ShardId, VolumeId};
use network::{Network, Owner, StoredFile, bytes, file_in_memory};
use tokio::sync::Notify;

const SEGMENT: usize = 4 * 1_966_080;
const SEGMENTS: usize = 5;

/// A log in memory, which stops the world once so many segments are stored.
#[derive(Debug, Default)]
struct Log {
    known: Mutex<BTreeMap<LoggedSegment, JournalSegment>>,
    stop_at: usize,
    reached: Notify,
}

impl Log {
    fn stopping_at(stop_at: usize, known: BTreeMap<LoggedSegment, JournalSegment>) -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::new(known),
            stop_at,
            ..Self::default()
        })
    }

    fn known(&self) -> BTreeMap<LoggedSegment, JournalSegment> {
        self.segments().clone()
    }

    fn segments(&self) -> MutexGuard<'_, BTreeMap<LoggedSegment, JournalSegment>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentLog for Log {
    fn ids(&self, segment: LoggedSegment, ids: &[ShardId]) -> Result<LogPosition, LogError> {
        let entry = JournalSegment {
            ids: ids.to_vec(),
            stored: false,
            receipts: Vec::new(),
        };
        let mut known = self.segments();
        assert!(
            known.insert(segment, entry).is_none(),
            "ids are written once"
        );
        Ok(LogPosition(known.len() as u64))
    }

    fn durable(&self, position: LogPosition) -> BoxFuture<'_, Result<(), LogError>> {
        let reached = self.segments().len() as u64 >= position.0;
        assert!(reached, "only what was written is waited for");
        async { Ok(()) }.boxed()
    }

    fn stored(
        &self,
        segment: LoggedSegment,
        receipts: Vec<Option<Vec<u8>>>,
    ) -> Result<(), LogError> {
        let mut known = self.segments();
        let entry = known.get_mut(&segment);
        let entry = entry.ok_or(LogError::OtherUpload { blob: segment.0 })?;
        (entry.stored, entry.receipts) = (true, receipts);
        if known.values().filter(|entry| entry.stored).count() >= self.stop_at {
            self.reached.notify_one();
        }
        Ok(())
    }

    fn handed_in(&self, _: &[LoggedSegment]) -> Result<(), LogError> {
        Ok(())
    }

    fn give_up(&self) -> Result<(), LogError> {
        self.segments().clear();
        Ok(())
    }
}

/// The same file again, or another under the same secrets.
fn again(file: &StoredFile, plain: &[u8]) -> BlobSource {
    let (mut source, _) = file_in_memory(plain);
    let mut ciphertext = plain.to_vec();
    FileCipher::new(&file.file_secret).apply(0, &mut ciphertext);
    source.blob = file.access.blob;
    source.secret = file.access.secret.clone();
    source.content = Box::new(InMemory::new(ciphertext));
    source
}

/// Stores `source` until it is done, or until the log says to stop.
async fn store(
    owner: &Owner,
    source: BlobSource,
    log: &Arc<Log>,
) -> Option<Result<StagedUpload, UploadError>> {
    let uploader = Uploader::new(owner.transfer.clone());
    let request = StoreRequest {
        volume: VolumeId([0x70; 16]),
        class: "coded:4/8".parse().ok(),
        blobs: vec![source],
    };
    let plan = match uploader.plan(&request, PayerKey([1; 32])).await {
        Ok(plan) => plan,
        Err(error) => return Some(Err(error)),
    };
    let logged = Logged {
        log: log.clone(),
        known: log.known(),
    };
    tokio::select! {
        stored = uploader.store_planned(request, plan, Some(logged), &owner.progress) => Some(stored),
        () = log.reached.notified() => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_hosts_is_not_sent_again() {
    let network = Network::start(8);
    let plain = bytes(SEGMENTS * SEGMENT - 12_345);
    let (first, mut file) = file_in_memory(&plain);
    let log = Log::stopping_at(2, BTreeMap::new());
    let interrupted = network.owner();
    assert!(store(&interrupted, first, &log).await.is_none());
    let at_hosts: usize = network.hosts.iter().map(|host| host.shards()).sum();
    let known = log.known();
    let stored = known.values().filter(|segment| segment.stored).count();
    assert!(stored >= 2 && at_hosts >= 2 * 8);
    assert_eq!(
        network.bridge.books().abandoned,
        0,
        "it is to be gone on with"
    );

    let log = Log::stopping_at(usize::MAX, known);
    let owner = network.owner();
    let puts_before: u32 = network.hosts.iter().map(|host| host.asked().0).sum();
    let staged = store(&owner, again(&file, &plain), &log)
        .await
        .unwrap()
        .unwrap();
    file.access.manifest = staged.blobs[0].manifest;
    owner.commit(&staged).await;

    assert_eq!(network.owner().get(&file).await.unwrap(), plain);
    let puts: u32 = network.hosts.iter().map(|host| host.asked().0).sum();
    let sent = (puts - puts_before) as usize;
    let now_at_hosts: usize = network.hosts.iter().map(|host| host.shards()).sum();
    assert_eq!(now_at_hosts, SEGMENTS * 8);
    // What got there while the first run ended is found there as well.
    assert!(
        sent <= SEGMENTS * 8 - at_hosts,
        "{sent} sent, {at_hosts} were there"
    );
    assert_eq!(
        owner.progress.bytes_resumed.get(),
        (stored * SEGMENT) as u64
    );
    assert_eq!(owner.progress.bytes_kept.get(), plain.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_content_under_the_same_key_is_not_sent() {
    let network = Network::start(8);
    let plain = bytes(SEGMENTS * SEGMENT);
    let (first, file) = file_in_memory(&plain);
    let log = Log::stopping_at(1, BTreeMap::new());
    assert!(store(&network.owner(), first, &log).await.is_none());
    // Nothing of a segment whose ids are known may be replaced, whether it was stored or not.
    let mut known = log.known();
    known
        .values_mut()
        .for_each(|segment| segment.stored = false);
    let mut other = plain;
    other[1] ^= 1;

    let log = Log::stopping_at(usize::MAX, known);
    let puts_before: u32 = network.hosts.iter().map(|host| host.asked().0).sum();
    let error = store(&network.owner(), again(&file, &other), &log).await;
    let error = error.unwrap().unwrap_err();

    assert!(
        matches!(error, UploadError::OtherIds { segment: 0, .. }),
        "{error}"
    );
    assert!(!error.may_go_on());
    let puts: u32 = network.hosts.iter().map(|host| host.asked().0).sum();
    assert_eq!(puts, puts_before, "not a byte leaves");
    assert_eq!(network.bridge.books().abandoned, 1);
}
