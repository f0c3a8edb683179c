//! A small network without sockets: a store in memory, Hosts that sign, one owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use metastore::{HostAlias, Store, StoreError, Tx, TxError};
use model::crypto::{AccountKeys, Secret, SigningKey, account_of, hash_shard, sha256};
use model::formats::device_list::{Device, DeviceListDraft};
use model::formats::root::{Lineage, Root, SEALED_KEYS_BYTES, SignedRoot};
use model::formats::shape::Class;
use model::placement::{Candidate, Region};
use model::units::{
    AccountId, BlobId, DeviceId, HostId, NodeHash, OwnerTag, PayerKey, ShardId, ShardSize, UnixMs,
    UploadId, VolumeId,
};
use model::wire::api::{
    BlobChange, BlobRequest, Commit, HostAddress, NewAccount, NodeBody, ReceiptPage,
    SegmentReceipts, UploadRequest,
};
use model::wire::control::{Offer, OrderKind};
use model::wire::{Base64, Schedule, StoreReceipt};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::account::sign_up::sign_up;
use crate::context::{Context, Policy};
use crate::hosts::directory::{Beliefs, Believed};
use crate::hosts::offer::{StoredOffer, zone_number};
use crate::hosts::roster::{HostCard, Roster};
use crate::keys::BridgeKeys;
use crate::place::SegmentKey;
use crate::repair::judge::Belief;
use crate::upload::commit::{CommitError, CommitOutcome, check, commit};
use crate::upload::find_open;
use crate::upload::plan::{PlanError, PlannedUpload, plan};
use crate::upload::receipts::{ReceiptsError, check_signatures, receipts};
use crate::upload::slots::{PlannedPage, SlotCursor, SlotsError, page};

pub(crate) const VOLUME: VolumeId = VolumeId([0x77; 16]);

/// Everything a rule needs.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) context: Context,
    pub(crate) hosts: BTreeMap<HostAlias, SigningKey>,
    pub(crate) owner: AccountKeys,
    pub(crate) device: SigningKey,
    rng: ChaCha20Rng,
}

pub(crate) fn key(kind: u8, number: u8) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = number;
    SigningKey::from_seed(&Secret::new(seed))
}

impl World {
    /// A network of `hosts` Hosts, each in its own zone, and an account with one device.
    pub(crate) fn new(hosts: u8) -> Self {
        let identity = key(1, 0);
        let account = account_of(&identity.public());
        let device = key(2, 0);
        let keys = BridgeKeys::new(&Secret::new([3; 32]), &Secret::new([4; 32]));
        let context = Context {
            keys: Arc::new(keys),
            roster: Arc::new(Roster::new(BTreeMap::new())),
            policy: Policy::default(),
            now: UnixMs(1_700_000_000_000),
        };
        let mut world = Self {
            store: Store::mem(),
            context,
            hosts: BTreeMap::new(),
            owner: AccountKeys { identity, account },
            device,
            rng: ChaCha20Rng::from_seed([5; 32]),
        };
        world.join(hosts);
        let (new_account, now) = (world.new_account(), world.context.now);
        world
            .write(move |tx| sign_up(tx, &new_account, now))
            .unwrap();
        world
    }

    pub(crate) fn new_account(&self) -> NewAccount {
        let device = Device {
            id: DeviceId(self.device.public()),
            name: "desk".to_owned(),
            kem_key: Vec::new(),
            added: UnixMs(1),
        };
        let identity = self.owner.identity.public();
        let list = DeviceListDraft::first(identity, device)
            .sign(&self.owner.identity)
            .unwrap();
        let device_list = Base64(list.bytes().to_vec());
        NewAccount {
            identity: DeviceId(identity),
            device_list,
        }
    }

    fn join(&mut self, hosts: u8) {
        let now = self.context.now;
        for number in 0..hosts {
            let host = key(9, number);
            let (id, offer) = (HostId(host.public()), stored_offer(number));
            let offer = serde_json::to_vec(&offer).unwrap();
            let alias = self
                .write(move |tx| tx.upsert_host(&id, &offer, now))
                .unwrap();
            self.hosts.insert(alias, host);
        }
        self.set_online(|_| true);
    }

    /// Makes a roster in which only some Hosts are open.
    pub(crate) fn set_online(&mut self, online: impl Fn(HostAlias) -> bool) {
        let card = |(number, (alias, host)): (u8, (&HostAlias, &SigningKey))| {
            let offer = stored_offer(number);
            let address = HostAddress {
                host: HostId(host.public()),
                name: offer.offer.name,
                addresses: offer.offer.addresses,
                zone: offer.zone.clone(),
                region: None,
                online: online(*alias),
                proved: None,
            };
            let candidate = Candidate {
                alias: alias.0,
                zone: zone_number(&offer.zone),
                operator: 0,
                asn: 0,
                region: Region::UNKNOWN,
                open: online(*alias),
                vetted: false,
                free_bytes: 1 << 40,
                bandwidth: 0,
                reputation_ppm: 1_000_000,
                online_ppm: 1_000_000,
            };
            (
                *alias,
                HostCard {
                    address,
                    candidate,
                    last_seen: UnixMs(u64::from(alias.0)),
                },
            )
        };
        let cards = (0..).zip(&self.hosts).map(card).collect();
        self.context.roster = Arc::new(Roster::new(cards));
    }

    pub(crate) fn write<T: Send + 'static, E: Send + 'static>(
        &self,
        rule: impl FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        match self
            .store
            .write(rule)
            .now_or_never()
            .expect("memory never waits")
        {
            Ok(value) => Ok(value),
            Err(TxError::Rule(error)) => Err(error),
            Err(TxError::Store(error)) => panic!("store: {error}"),
        }
    }

    pub(crate) fn read<T: Send + 'static>(
        &self,
        rule: impl FnOnce(&dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store
            .read(rule)
            .now_or_never()
            .expect("memory never waits")
            .unwrap()
    }

    pub(crate) fn account(&self) -> AccountId {
        self.owner.account
    }

    pub(crate) fn rng(&mut self) -> ChaCha20Rng {
        ChaCha20Rng::from_rng(&mut self.rng)
    }

    pub(crate) fn plan(&mut self, request: UploadRequest) -> Result<PlannedUpload, PlanError> {
        let (context, account, mut rng) = (self.context.clone(), self.account(), self.rng());
        self.write(move |tx| plan(tx, &context, &mut rng, &account, &request))
    }

    /// The page of an upload's slots that begins at `cursor`.
    pub(crate) fn page(
        &mut self,
        upload: UploadId,
        cursor: SlotCursor,
    ) -> Result<PlannedPage, SlotsError> {
        let (context, account, mut rng) = (self.context.clone(), self.account(), self.rng());
        self.write(move |tx| {
            let open = find_open(&*tx, &account, &upload).unwrap();
            page(tx, &context, &mut rng, (&account, &open), cursor)
        })
    }

    pub(crate) fn receipts(
        &self,
        upload: UploadId,
        page: ReceiptPage,
    ) -> Result<(), ReceiptsError> {
        let (context, account) = (self.context.clone(), self.account());
        let page = check_signatures(page)?;
        self.write(move |tx| receipts(tx, &context, (&account, &upload), &page))
    }

    pub(crate) fn commit(
        &self,
        uploads: &[UploadId],
        request: Commit,
    ) -> Result<CommitOutcome, CommitError> {
        let request = Commit {
            uploads: uploads.to_vec(),
            ..request
        };
        let (context, account) = (self.context.clone(), self.account());
        let checked = check(request)?;
        self.write(move |tx| commit(tx, &context, &account, &VOLUME, &checked))
    }

    /// A Host's signed receipt for a slot.
    pub(crate) fn receipt(&self, slot: &Slot, host: HostAlias) -> Base64 {
        let signer = &self.hosts[&host];
        let id = HostId(signer.public());
        let keys = &self.context.keys;
        let receipt = StoreReceipt {
            serial: keys
                .serials
                .serial(&slot.blob, slot.segment, slot.index, &id),
            bridge: keys.id,
            host: id,
            shard: slot.shard(),
            size: slot.size,
            stored: self.context.now,
        };
        Base64(receipt.sign(signer))
    }

    /// Receipts for a page of slots, from the planned Hosts; `stores` says which Host of a slot
    /// stores it in the end, if any.
    pub(crate) fn receipts_of(
        &self,
        page: &PlannedPage,
        class: Class,
        stores: impl Fn(u16, HostAlias) -> Option<HostAlias>,
    ) -> ReceiptPage {
        let segments = page.segments.iter().map(|segment| {
            let slots = (0..).zip(&segment.hosts).map(|(index, host)| {
                let (blob, segment, size) = (segment.blob, segment.segment, segment.shard_size);
                (
                    Slot {
                        blob,
                        segment,
                        index,
                        size,
                        mirrors: class.k() == 1,
                    },
                    *host,
                )
            });
            let (slots, hosts): (Vec<Slot>, Vec<HostAlias>) = slots.unzip();
            let receipts = slots
                .iter()
                .zip(hosts)
                .map(|(slot, host)| stores(slot.index, host).map(|host| self.receipt(slot, host)));
            SegmentReceipts {
                blob: segment.blob,
                segment: segment.segment,
                receipts: receipts.collect(),
                ids: slots
                    .iter()
                    .take(class.ids().into())
                    .map(Slot::shard)
                    .collect(),
            }
        });
        ReceiptPage {
            segments: segments.collect(),
        }
    }

    /// Orders that wait for a Host.
    pub(crate) fn orders(&self, host: HostAlias) -> Vec<OrderKind> {
        let rows = self.read(move |tx| tx.pending_orders(host, 0, 1_000));
        let (keys, id) = (&self.context.keys, HostId(self.hosts[&host].public()));
        let open = |row| {
            crate::orders::signed(keys, (id, model::wire::HEALS), &row)
                .unwrap()
                .open(&keys.id.0)
                .unwrap()
        };
        rows.into_iter().map(|row| open(row).kind).collect()
    }

    /// Stores blobs of these lengths, numbered from 1, on the planned Hosts.
    pub(crate) fn stored(&mut self, class: &str, lengths: &[u64]) -> PlannedUpload {
        let planned = self.plan(request(class, lengths)).unwrap();
        let root = self.root(None);
        let numbered = (1..).zip(lengths);
        let changes: Vec<_> = numbered.map(|(number, _)| (number, 1, 1)).collect();
        let mut commit = commit_of(&root, &changes);
        let every = |_, host| Some(host);
        commit.receipts = self.receipts_of(&planned.page, planned.open.class, every);
        self.commit(&[planned.upload], commit).unwrap();
        planned
    }

    /// A segment of the owner.
    pub(crate) fn segment(&self, number: u8, segment: u64) -> SegmentKey {
        SegmentKey {
            account: self.account(),
            blob: blob(number),
            segment,
        }
    }

    /// Who keeps the shards of a segment.
    pub(crate) fn keepers(&self, key: SegmentKey) -> Vec<Option<HostAlias>> {
        let row = self.read(move |tx| key.read(tx)).unwrap();
        (0..row.n()).map(|slot| row.host(slot)).collect()
    }

    /// What is believed of all Hosts, each in a zone of its own.
    pub(crate) fn beliefs(&self, of: impl Fn(HostAlias) -> Belief) -> Beliefs {
        Beliefs::of(self.hosts.keys().map(|alias| {
            let belief = of(*alias);
            let believed = Believed {
                belief,
                zone: alias.0,
                serves: matches!(belief, Belief::Here | Belief::Leaving),
                leaving_bytes: u64::from(belief == Belief::Leaving) << 40,
            };
            (*alias, believed)
        }))
    }

    /// The root that follows `before`, signed by the device.
    pub(crate) fn root(&self, before: Option<&SignedRoot>) -> SignedRoot {
        let lineage = before.map_or(Lineage::first(), |before| {
            before.unverified().lineage.next(before.hash())
        });
        Root {
            account: self.account(),
            volume: VOLUME,
            lineage,
            top: NodeHash([1; 32]),
            epoch: 0,
            sealed_keys: [0; SEALED_KEYS_BYTES],
            device_list: Default::default(),
            time: self.context.now,
            pins: Vec::new(),
            locations: Vec::new(),
        }
        .sign(&self.device)
        .unwrap()
    }
}

/// A slot as a client knows it; its shard's content is made up from its place.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) blob: BlobId,
    pub(crate) segment: u64,
    pub(crate) index: u16,
    pub(crate) size: ShardSize,
    pub(crate) mirrors: bool,
}

/// Shards up to this size have content, larger ones just an id.
const CONTENT_BYTES_MAX: usize = 4_096;

impl Slot {
    pub(crate) fn shard(&self) -> ShardId {
        if self.size.as_usize() <= CONTENT_BYTES_MAX {
            hash_shard(&self.content())
        } else {
            ShardId(sha256(&self.place()))
        }
    }

    /// What the shard holds.
    pub(crate) fn content(&self) -> Vec<u8> {
        let place = self.place();
        place
            .into_iter()
            .cycle()
            .take(self.size.as_usize())
            .collect()
    }

    fn place(&self) -> Vec<u8> {
        let index = if self.mirrors { 0 } else { self.index };
        [
            &self.blob.0[..],
            &self.segment.to_le_bytes(),
            &index.to_le_bytes(),
        ]
        .concat()
    }
}

fn stored_offer(number: u8) -> StoredOffer {
    let offer = Offer {
        name: format!("h{number}"),
        addresses: vec![format!("127.0.0.1:{}", 7_000 + u16::from(number))],
        space_bytes: 1 << 40,
        bandwidth_up: None,
        bandwidth_down: None,
        schedule: Schedule::ALWAYS,
        zone: None,
        region: None,
        until: None,
    };
    StoredOffer {
        offer,
        zone: format!("z{number}"),
        agent: "test".to_owned(),
    }
}

pub(crate) fn blob(number: u8) -> BlobId {
    BlobId([number; 16])
}

/// Asks for places for blobs of these lengths, numbered from 1.
pub(crate) fn request(class: &str, lengths: &[u64]) -> UploadRequest {
    let blobs = (1..).zip(lengths).map(|(number, length)| BlobRequest {
        blob: blob(number),
        length: *length,
        owner_tag: OwnerTag([number; 32]),
    });
    UploadRequest {
        volume: VOLUME,
        payer: PayerKey([6; 32]),
        class: (!class.is_empty()).then(|| class.parse().unwrap()),
        blobs: blobs.collect(),
    }
}

/// A commit of `root` that refers to blobs once each, with their lengths.
pub(crate) fn commit_of(root: &SignedRoot, blobs: &[(u8, i64, i64)]) -> Commit {
    let change = |(number, references, live_bytes): &(u8, i64, i64)| BlobChange {
        blob: blob(*number),
        references: *references,
        live_bytes: *live_bytes,
    };
    Commit {
        root: Base64(root.bytes().to_vec()),
        blobs: blobs.iter().map(change).collect(),
        ..Commit::default()
    }
}

pub(crate) fn node(text: &str) -> NodeBody {
    let body = text.as_bytes().to_vec();
    NodeBody {
        hash: NodeHash(sha256(&body)),
        body: Base64(body),
    }
}
