//! Repairs: a shard is copied or made anew, and believed for its hash alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic"
)]

use bytes::Bytes;
use erasure::Code;
use host::Settings;
use model::crypto::hash_shard;
use model::units::{HostId, OwnerTag, Serial, ShardSize};
use model::wire::api::Sighting;
use model::wire::control::FromBridge;
use model::wire::repair::{RepairOrder, RepairOutcome, RepairSource, Repaired, SourceSeen};
use model::wire::{Action, Base64, Signed, StoreReceipt};
use net::Endpoint;

use crate::rig::{MONDAY, TestBridge, TestHost, rot, settings, shard};

const SIZE: usize = 3 * 65_536 + 64;
const K: u16 = 3;
const N: u16 = 5;

/// A segment of which each shard lies on a Host of its own, and one more Host that has nothing.
struct Rig {
    bridge: TestBridge,
    host: TestHost,
    shards: Vec<Bytes>,
    /// Each with its own channel to the same Bridge.
    sources: Vec<(TestBridge, Option<TestHost>)>,
    endpoints: Vec<(HostId, Vec<String>)>,
    folders: Vec<tempfile::TempDir>,
}

fn segment() -> Vec<Bytes> {
    let data: Vec<Bytes> = (0..3).map(|seed| shard(seed, SIZE)).collect();
    let mut parity = vec![vec![0; SIZE]; 2];
    let views: Vec<&[u8]> = data.iter().map(AsRef::as_ref).collect();
    let mut outs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    Code::new(K, N).unwrap().encode(&views, &mut outs).unwrap();
    let parity = parity.into_iter().map(Bytes::from);
    data.into_iter().chain(parity).collect()
}

impl Rig {
    async fn new(shards: Vec<Bytes>) -> Self {
        Self::with(shards, |settings| settings).await
    }

    async fn with(shards: Vec<Bytes>, change: impl Fn(Settings) -> Settings) -> Self {
        let own = tempfile::tempdir().unwrap();
        let bridge = TestBridge::start(0);
        let mut host = TestHost::start(change(settings(own.path(), bridge.port)));
        host.joined().await;
        let mut rig = Self {
            bridge,
            host,
            shards,
            sources: Vec::new(),
            endpoints: Vec::new(),
            folders: vec![own],
        };
        for (seed, bytes) in (10..).zip(rig.shards.clone()) {
            rig.add_source(seed, &bytes).await;
        }
        rig
    }

    async fn add_source(&mut self, seed: u8, bytes: &Bytes) {
        let (folder, theirs) = (tempfile::tempdir().unwrap(), TestBridge::start(0));
        let settings = settings(folder.path(), theirs.port);
        let mut source = TestHost::start_with_key(settings, seed, None);
        source.joined().await;
        let put = source.put(&theirs.put_ticket(source.id, seed), bytes).await;
        assert_eq!(put.status.as_u16(), 201);
        let Endpoint::Host { id, addrs } = &source.endpoint else {
            panic!("a host");
        };
        let addresses = addrs.iter().map(ToString::to_string).collect();
        self.endpoints.push((*id, addresses));
        self.sources.push((theirs, Some(source)));
        self.folders.push(folder);
    }

    fn source(&self, place: usize) -> RepairSource {
        let (host, addresses) = self.endpoints[place].clone();
        let (index, shard) = (place.try_into().unwrap(), hash_shard(&self.shards[place]));
        let action = Action::RepairGet { shard };
        let ticket = self
            .bridge
            .ticket(host, u8::try_from(100 + place).unwrap(), action, 1 << 22);
        RepairSource {
            host,
            addresses,
            index,
            shard,
            ticket: Base64(ticket.sign(&self.bridge.key)),
        }
    }

    /// Shard `wanted` is to be made from those at `from`.
    fn order(&self, wanted: usize, from: &[usize]) -> RepairOrder {
        RepairOrder {
            bridge: self.bridge.id(),
            host: self.host.id,
            id: Serial([0xaa; 16]),
            serial: Serial([77; 16]),
            owner_tag: OwnerTag([6; 32]),
            shard: hash_shard(&self.shards[wanted]),
            shard_bytes: SIZE.try_into().unwrap(),
            index: wanted.try_into().unwrap(),
            k: K,
            n: N,
            sources: from.iter().map(|place| self.source(*place)).collect(),
            expires: MONDAY.plus_ms(60_000),
        }
    }

    /// The Host that repaired serves what it made.
    async fn assert_made(&self, wanted: usize, repaired: &Repaired) {
        let RepairOutcome::Stored { receipt } = &repaired.outcome else {
            panic!("not stored: {repaired:?}");
        };
        let id = hash_shard(&self.shards[wanted]);
        let receipt = StoreReceipt::open(&receipt.0).unwrap();
        assert_eq!((receipt.host, receipt.shard), (self.host.id, id));
        assert_eq!(receipt.serial, Serial([77; 16]));
        let read = self.bridge.get_ticket(self.host.id, 9, id);
        assert!(self.host.get(&read, &id).await.body == self.shards[wanted]);
    }

    fn saw(&self, place: usize, saw: Sighting) -> SourceSeen {
        let (host, index) = (self.endpoints[place].0, place.try_into().unwrap());
        SourceSeen { host, index, saw }
    }

    async fn stop_source(&mut self, place: usize) {
        self.sources[place].1.take().unwrap().end().await;
    }

    async fn end(self) {
        self.host.end().await;
        for (_, source) in self.sources {
            if let Some(source) = source {
                source.end().await;
            }
        }
    }
}

#[tokio::test]
async fn a_shard_is_copied_from_who_has_it_and_a_retry_gets_the_same_receipt() {
    let mut rig = Rig::new(segment()).await;
    let order = rig.order(1, &[0, 1, 2]);
    let first = rig.bridge.repair(&order).await;
    rig.assert_made(1, &first).await;
    assert_eq!((first.id, first.saw.len()), (order.id, 0));
    rig.host.clock.set(MONDAY.plus_ms(120_000));
    for place in 0..3 {
        rig.stop_source(place).await;
    }
    let again = rig.bridge.repair(&order).await;
    assert_eq!(again, first, "also after its sources and its time are gone");
    let bound = RepairOrder {
        shard: hash_shard(&rig.shards[2]),
        ..order
    };
    let refused = rig.bridge.repair(&bound).await.outcome;
    assert!(
        matches!(refused, RepairOutcome::Refused { .. }),
        "{refused:?}"
    );
    rig.end().await;
}

#[tokio::test]
async fn a_shard_is_made_from_any_k_others_and_bad_sources_are_replaced() {
    let mut rig = Rig::new(segment()).await;
    // Who has it has lost it to rot that nobody has seen, one other as well, one is gone.
    for place in [4, 0] {
        let folder = rig.folders[place + 1].path();
        assert!(rot(folder, &rig.shards[place][70_000..70_100]));
    }
    let repaired = rig.bridge.repair(&rig.order(4, &[4, 0, 1, 2, 3])).await;
    rig.assert_made(4, &repaired).await;
    let bad = |place| rig.saw(place, Sighting::BadShard);
    assert_eq!(repaired.saw, [bad(4), bad(0)]);
    rig.end().await;
}

#[tokio::test]
async fn too_few_sources_are_told_with_what_was_seen_of_them() {
    let mut rig = Rig::new(segment()).await;
    rig.stop_source(0).await;
    let unknown = rig.endpoints[3].0;
    let mut order = rig.order(4, &[0, 1, 2, 3]);
    let action = Action::RepairGet {
        shard: hash_shard(b"nowhere"),
    };
    let other = rig.bridge.ticket(unknown, 99, action, 1 << 20);
    order.sources[3].ticket = Base64(other.sign(&rig.bridge.key));
    let mut repaired = rig.bridge.repair(&order).await;
    assert_eq!(repaired.outcome, RepairOutcome::Sources);
    repaired.saw.sort_by_key(|seen| seen.index);
    let seen = [rig.saw(0, Sighting::Silent), rig.saw(3, Sighting::Refused)];
    assert_eq!(repaired.saw, seen);
    let id = order.shard;
    let read = rig.bridge.get_ticket(rig.host.id, 9, id);
    assert_eq!(rig.host.get(&read, &id).await.problem(), "404 not_found");
    rig.end().await;
}

#[tokio::test]
async fn parity_that_does_not_fit_is_named_and_nobody_blamed() {
    let mut shards = segment();
    let fitting = hash_shard(&shards[4]);
    shards[4] = shard(99, SIZE);
    let mut rig = Rig::new(shards).await;
    for from in [&[0, 1, 2][..], &[0, 1, 2, 3]] {
        let repaired = rig.bridge.repair(&rig.order(4, from)).await;
        let inconsistent = RepairOutcome::Inconsistent { found: fitting };
        assert_eq!((repaired.outcome, repaired.saw), (inconsistent, vec![]));
    }
    rig.end().await;
}

#[tokio::test]
async fn nothing_is_fetched_for_an_order_that_is_late_forged_or_has_no_room() {
    let quota = |own: Settings| Settings {
        bridges: own
            .bridges
            .iter()
            .map(|one| host::BridgeSettings {
                space_bytes: Some(16 << 20),
                ..one.clone()
            })
            .collect(),
        ..own
    };
    let mut rig = Rig::with(segment(), quota).await;
    for serial in 0..8 {
        let bytes = shard(serial, ShardSize::MAX.as_usize());
        let put = rig.bridge.put_ticket(rig.host.id, serial);
        assert_eq!(rig.host.put(&put, &bytes).await.status.as_u16(), 201);
    }
    let good = rig.order(1, &[0, 1, 2]);
    let outcome = |repaired: Repaired| match repaired.outcome {
        RepairOutcome::Refused { detail } => detail,
        other => format!("{other:?}"),
    };
    let large = RepairOrder {
        shard_bytes: ShardSize::MAX.bytes(),
        ..good.clone()
    };
    let full = outcome(rig.bridge.repair(&large).await);
    assert!(full.contains("share of this host is used up"), "{full}");
    let odd = RepairOrder {
        k: 6,
        ..good.clone()
    };
    let odd = outcome(rig.bridge.repair(&odd).await);
    assert!(odd.starts_with("Malformed"), "{odd}");
    let late = RepairOrder {
        expires: MONDAY,
        ..good.clone()
    };
    let late = outcome(rig.bridge.repair(&late).await);
    assert_eq!(late, "the order has expired");

    let elsewhere = RepairOrder {
        host: HostId([9; 32]),
        id: Serial([0xbb; 16]),
        ..good.clone()
    };
    let order = Signed::new(&rig.bridge.key, &elsewhere);
    rig.bridge.say(FromBridge::Repair { order }).await;
    let answered = rig.bridge.repair(&good).await;
    assert_eq!(answered.id, good.id, "that for another host is not heard");
    rig.assert_made(1, &answered).await;
    rig.end().await;
}
