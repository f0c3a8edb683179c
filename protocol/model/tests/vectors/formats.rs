//! docs/spec/formats.md.

use model::crypto::{Secret, SigningKey, VolumeKey, account_of, sha256};
use model::formats::Step;
use model::formats::device_list::{Device, DeviceList, DeviceListDraft, LastRoot, Revoked};
use model::formats::manifest::{Manifest, ManifestBuilder};
use model::formats::root::{Lineage, Location, Root, RootKeys, SignedRoot};
use model::formats::shape::{Class, Shape};
use model::units::{
    AccountId, BlobId, DeviceId, DeviceListHash, HostId, NodeHash, RootHash, ShardId, UnixMs,
    VolumeId,
};
use serde_json::Value;

use super::{array, bytes, list, number, pattern, secret, text, unhex};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../docs/spec/vectors/formats.json")).unwrap()
}

fn hash(of: &str) -> [u8; 32] {
    sha256(of.as_bytes())
}

fn first16() -> [u8; 16] {
    pattern(16).try_into().unwrap()
}

#[test]
fn shapes() {
    for vector in list(&vectors(), "shapes") {
        let class: Class = text(vector, "class").parse().unwrap();
        let shape = Shape::new(number(vector, "length"), class).unwrap();
        assert_eq!(shape.segments(), number(vector, "segments"));
        assert_eq!(
            u64::from(shape.shard_size().bytes()),
            number(vector, "shard_size")
        );
        assert_eq!(shape.stored_bytes(), number(vector, "stored_bytes"));
        let last = shape.segment(shape.segments() - 1).unwrap();
        assert_eq!(u64::from(last.length), number(vector, "last_length"));
        assert_eq!(
            u64::from(last.shard_size.bytes()),
            number(vector, "last_shard_size")
        );
    }
}

fn ids(shape: Shape, segment: u64) -> Vec<ShardId> {
    let id = |shard: u16| [&segment.to_le_bytes()[..], &shard.to_le_bytes()].concat();
    (0..shape.class().ids())
        .map(|shard| ShardId(sha256(&id(shard))))
        .collect()
}

#[test]
fn manifests() {
    for vector in list(&vectors(), "manifests") {
        let part = |field| u16::try_from(number(vector, field)).unwrap();
        let class = Class::of(part("k"), part("n")).unwrap();
        let shape = Shape::new(number(vector, "length"), class).unwrap();
        let (blob, secret) = (BlobId(array(vector, "blob")), secret(vector, "secret"));

        let mut builder = ManifestBuilder::new(shape, blob, secret.clone());
        let mut pages = Vec::new();
        for segment in 0..shape.segments() {
            pages.extend(builder.push(&ids(shape, segment)).unwrap());
        }
        let top = builder.finish().unwrap();

        let mut hashes: Vec<_> = pages.iter().map(|page| page.hash().to_string()).collect();
        hashes.sort();
        assert!(hashes.iter().eq(list(vector, "pages")));
        assert_eq!(top.to_string(), text(vector, "top"));
        if let [page] = &pages[..] {
            assert_eq!(page.bytes(), bytes(vector, "sealed"));
            let mut manifest = Manifest::new(blob, secret, top);
            manifest.accept(page.bytes()).unwrap();
            assert_eq!(manifest.shape(), Step::Ready(shape));
            assert_eq!(
                manifest.segment(0).unwrap(),
                Step::Ready(&ids(shape, 0)[..])
            );
        }
    }
}

fn device(seed: &str, name: &str, added: u64) -> Device {
    let key = SigningKey::from_seed(&Secret::new(hash(seed)));
    let (id, name) = (DeviceId(key.public()), name.to_owned());
    Device {
        id,
        name,
        kem_key: b"kem".to_vec(),
        added: UnixMs(added),
    }
}

#[test]
fn device_lists() {
    let vectors = &vectors()["device_lists"];
    let identity = SigningKey::from_seed(&secret(vectors, "identity_seed"));
    let first = DeviceListDraft {
        identity: identity.public(),
        seq: 1,
        prev: DeviceListHash::default(),
        time: UnixMs(1_700_000_000_000),
        devices: vec![device("device", "Läptop", 5)],
        revoked: Vec::new(),
        wrapped_keys: Vec::new(),
    };
    let last = LastRoot {
        volume: VolumeId(first16()),
        seq: 9,
        hash: RootHash(hash("last root")),
    };
    let lost = device("lost", "", 0).id;
    let second = DeviceListDraft {
        seq: 2,
        prev: DeviceListHash(sha256(&bytes(vectors, "first"))),
        devices: vec![device("device", "Läptop", 5), device("phone", "", 6)],
        revoked: vec![Revoked {
            id: lost,
            time: UnixMs(77),
            last_roots: vec![last],
        }],
        wrapped_keys: vec![b"wrapped".to_vec()],
        ..first
    };
    let account = AccountId(array(vectors, "account"));
    assert_eq!(account, account_of(&identity.public()));
    for (field, draft) in [("first", first), ("second", second)] {
        let read = DeviceList::open(&bytes(vectors, field), &account).unwrap();
        assert_eq!(*read.content(), draft);
        assert_eq!(
            draft.sign(&identity).unwrap().bytes(),
            bytes(vectors, field)
        );
    }
}

/// The root that the script's chain has at this place of the lineage.
fn root(lineage: Lineage, account: AccountId) -> Root {
    let (volume, seq) = (VolumeId(first16()), lineage.seq());
    let epoch = u32::try_from(seq / 4).unwrap();
    let previous = (epoch > 0).then(|| VolumeKey(Secret::new(hash("previous volume key"))));
    let keys = RootKeys {
        top: Secret::new(hash("top key")),
        previous,
    };
    let location = Location {
        shard: ShardId(hash("shard")),
        host: HostId(hash("host")),
    };
    let volume_key = VolumeKey(Secret::new(hash("volume key")));
    Root {
        account,
        volume,
        lineage,
        top: NodeHash(hash("top page")),
        epoch,
        sealed_keys: keys.seal(&volume_key, &account, &volume, epoch),
        device_list: DeviceListHash(hash("device list")),
        time: UnixMs(1_700_000_000_123),
        pins: (0..seq % 6)
            .map(|i| HostId(sha256(&i.to_le_bytes()[..1])))
            .collect(),
        locations: (0..seq % 3).map(|_| location).collect(),
    }
}

#[test]
fn a_chain_of_roots() {
    let vectors = vectors();
    let lists = &vectors["device_lists"];
    let device = SigningKey::from_seed(&secret(lists, "device_seed"));
    let account = AccountId(array(lists, "account"));
    let devices = DeviceList::open(&bytes(lists, "first"), &account).unwrap();
    let mut lineage = Lineage::first();
    for vector in list(&vectors, "roots") {
        let expected = unhex(vector.as_str().unwrap());
        let signed = root(lineage, account).sign(&device).unwrap();
        assert_eq!(signed.bytes(), expected, "root {}", lineage.seq());
        let read = SignedRoot::parse(&expected).unwrap();
        assert_eq!(read.verify(&devices).unwrap(), &root(lineage, account));
        lineage = lineage.next(read.hash());
    }
}
