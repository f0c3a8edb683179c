//! Stored formats of the model: roots, device lists, pages.

use model::crypto::{Secret, SigningKey, account_of, open, seal, sha256};
use model::formats::Step;
use model::formats::device_list::{Device, DeviceList, DeviceListDraft};
use model::formats::manifest::{Manifest, ManifestBuilder};
use model::formats::root::{Lineage, Root, SignedRoot};
use model::formats::shape::{Class, Shape};
use model::formats::tree::{
    BlobSlice, Change, Content, FileVersion, Folder, Meta, Mtime, PageStore, STORE_PAGES_MIN, Tree,
    TreeEdit, TreePath,
};
use model::units::{
    AccountId, BlobId, DeviceId, DeviceListHash, NodeHash, ShardId, UnixMs, VolumeId,
};

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "root",
        run: root,
        seeds: root_seeds,
    },
    Decoder {
        name: "device_list",
        run: device_list,
        seeds: device_list_seeds,
    },
    Decoder {
        name: "manifest_page",
        run: manifest_page,
        seeds: manifest_seeds,
    },
    Decoder {
        name: "tree_page",
        run: tree_page,
        seeds: tree_seeds,
    },
    Decoder {
        name: "sealed_page",
        run: sealed_page,
        seeds: sealed_seeds,
    },
];

const ACCOUNT: AccountId = AccountId([1; 16]);
const VOLUME: VolumeId = VolumeId([2; 16]);
const BLOB: BlobId = BlobId([3; 16]);

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([7; 32]))
}

fn secret() -> Secret {
    Secret::new([8; 32])
}

/// A signed root as a Bridge or a Host hands it out.
fn root(bytes: &[u8]) -> bool {
    let Ok(root) = SignedRoot::parse(bytes) else {
        return false;
    };
    assert_eq!(root.bytes(), bytes);
    let again = root.unverified().clone().sign(&key());
    let again = again.unwrap_or_else(|error| panic!("what was read is written: {error}"));
    let body = bytes.len() - 96;
    assert_eq!(again.bytes().get(..body), bytes.get(..body));
    true
}

fn root_seeds() -> Vec<Vec<u8>> {
    let root = |seq: u64, pins: usize| Root {
        account: ACCOUNT,
        volume: VOLUME,
        lineage: (1..seq).fold(Lineage::first(), |lineage, _| {
            lineage.next(model::units::RootHash([4; 32]))
        }),
        top: NodeHash([5; 32]),
        epoch: 0,
        sealed_keys: [6; model::formats::root::SEALED_KEYS_BYTES],
        device_list: DeviceListHash([7; 32]),
        time: UnixMs(1),
        pins: vec![model::units::HostId([8; 32]); pins],
        locations: vec![
            model::formats::root::Location {
                shard: ShardId([9; 32]),
                host: model::units::HostId([1; 32]),
            };
            pins
        ],
    };
    let signed = [root(1, 0), root(2, 2), root(5, 3)].map(|root| root.sign(&key()));
    signed
        .into_iter()
        .flatten()
        .map(|root| root.bytes().to_vec())
        .collect()
}

/// The body of a device list, under the signature of whom it may be from.
fn device_list(body: &[u8]) -> bool {
    let signature = key().sign("device-list", body);
    let bytes = [body, &signature.0].concat();
    let Ok(list) = DeviceList::open(&bytes, &account_of(&key().public())) else {
        return false;
    };
    let again = list.content().clone().sign(&key());
    let again = again.unwrap_or_else(|error| panic!("what was read is written: {error}"));
    assert_eq!(again.bytes(), bytes);
    true
}

fn device_list_seeds() -> Vec<Vec<u8>> {
    let device = |n: u8| Device {
        id: DeviceId([n; 32]),
        name: "laptop".to_owned(),
        kem_key: vec![n; usize::from(n)],
        added: UnixMs(1),
    };
    let first = DeviceListDraft::first(key().public(), device(0));
    let mut later = first.clone();
    later.seq = 2;
    later.prev = DeviceListHash([1; 32]);
    later.devices.push(device(9));
    later.wrapped_keys.push(vec![1, 2, 3]);
    later.revoked.push(model::formats::device_list::Revoked {
        id: DeviceId([3; 32]),
        time: UnixMs(2),
        last_roots: vec![model::formats::device_list::LastRoot {
            volume: VOLUME,
            seq: 3,
            hash: model::units::RootHash([4; 32]),
        }],
    });
    let signed = [first, later].map(|draft| draft.sign(&key()));
    let body = |list: DeviceList| {
        list.bytes()
            .split_last_chunk::<64>()
            .map(|(body, _)| body.to_vec())
    };
    signed.into_iter().flatten().filter_map(body).collect()
}

/// The plain bytes of a manifest's top page.
fn manifest_page(plain: &[u8]) -> bool {
    let context = [&b"manifest"[..], &BLOB.0].concat();
    let sealed = seal(&secret(), &context, plain);
    let mut manifest = Manifest::new(BLOB, secret(), NodeHash(sha256(&sealed)));
    if manifest.accept(&sealed).is_err() {
        return false;
    }
    let Step::Ready(shape) = manifest.shape() else {
        panic!("the top page tells the shape");
    };
    let last = shape.segments() - 1;
    for segment in [0, last / 2, last] {
        let found = manifest.segment(segment);
        let found = found.unwrap_or_else(|error| panic!("segment {segment} is one: {error}"));
        match found {
            Step::Ready(ids) => assert_eq!(ids.len(), usize::from(shape.class().ids())),
            Step::Need(pages) => assert!(!pages.is_empty()),
        }
    }
    assert!(manifest.segment(shape.segments()).is_err());
    true
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    let classes = [
        (Class::mirrors(3), 1_000),
        (Class::coded(4, 8), 30 << 20),
        (Class::coded(4, 8), 1 << 40),
    ];
    let top = |(class, length): (Result<Class, _>, u64)| {
        let shape = Shape::new(length, class.ok()?).ok()?;
        let mut builder = ManifestBuilder::new(shape, BLOB, secret());
        let ids = vec![ShardId([1; 32]); usize::from(shape.class().ids())];
        let pages = (0..shape.segments().min(64)).filter_map(|_| builder.push(&ids).ok());
        let page = pages.flatten().last()?;
        let context = [&b"manifest"[..], &BLOB.0].concat();
        open(&secret(), &context, page.bytes()).ok()
    };
    classes.into_iter().filter_map(top).collect()
}

/// The plain text of a folder's top page.
fn tree_page(plain: &[u8]) -> bool {
    read_tree(seal(&secret(), &top_context(), plain))
}

/// A sealed page as it lies at a Bridge.
fn sealed_page(sealed: &[u8]) -> bool {
    read_tree(sealed.to_vec())
}

/// Lists and edits the folder whose top page is `sealed`.
fn read_tree(sealed: Vec<u8>) -> bool {
    let mut store = PageStore::new(ACCOUNT, VOLUME, STORE_PAGES_MIN);
    let hash = NodeHash(sha256(&sealed));
    if store.insert(sealed).is_err() {
        return false;
    }
    let tree = Tree::new(VOLUME, secret(), hash);
    let folder: Folder = tree.top().clone();
    let entries = match tree.list(&mut store, &folder, None, 100) {
        Ok(Step::Ready(entries)) => entries,
        // The page is one, and of a folder that has more of them.
        Ok(Step::Need(_)) => return true,
        Err(_) => return false,
    };
    for entry in &entries {
        let path = TreePath::top().join(entry.name.clone());
        let path = path.unwrap_or_else(|error| panic!("a name is a path: {error}"));
        let found = tree.lookup(&mut store, &path);
        assert!(
            matches!(&found, Ok(Step::Ready(Some(found))) if found == entry),
            "{found:?}"
        );
    }
    let mut edit = TreeEdit::new(&tree, 0, Secret::new([9; 32]));
    if let Ok(Step::Ready(())) = edit.apply(&mut store, &put(b"/new", b"x")) {
        let finished = edit.finish(&mut store);
        assert!(finished.is_ok(), "{finished:?}");
    }
    true
}

fn put(path: &[u8], bytes: &[u8]) -> Change {
    let path = TreePath::parse(path).unwrap_or_else(|error| panic!("a path: {error}"));
    let content = Content::Inline(bytes.to_vec());
    let file = FileVersion {
        sha256: None,
        content,
    };
    let meta = Meta::default();
    Change::PutFile { path, meta, file }
}

/// Plain texts of folders: empty, with every kind of entry, and of more than one page.
fn tree_seeds() -> Vec<Vec<u8>> {
    let slice = BlobSlice {
        blob: BLOB,
        offset: 128,
        length: 5_000_000_000,
        file_secret: secret(),
        blob_secret: secret(),
        manifest: NodeHash([1; 32]),
    };
    let path = |text: &[u8]| TreePath::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let xattrs = [("user.a".to_owned(), vec![0, 255])].into();
    let meta = Meta {
        mtime: Mtime {
            seconds: -1,
            nanos: 999_999_999,
        },
        mode: 0o644,
        xattrs,
    };
    let every = vec![
        put(b"/a \"quoted\"\\\n\xff", b"small"),
        Change::PutFile {
            path: path(b"/large"),
            meta: meta.clone(),
            file: FileVersion {
                sha256: Some([2; 32]),
                content: Content::Blob(slice),
            },
        },
        Change::MakeFolder {
            path: path(b"/folder"),
            meta: meta.clone(),
        },
        Change::PutSymlink {
            path: path(b"/link"),
            meta,
            target: b"folder".to_vec(),
        },
    ];
    let names = (0..200).map(|n| format!("/file {n:03}"));
    let many = names.map(|name| put(name.as_bytes(), &[7; 60])).collect();
    [Vec::new(), every, many]
        .iter()
        .flat_map(|changes| folder(changes))
        .collect()
}

/// The plain text of the top folder's top page after `changes`.
fn folder(changes: &[Change]) -> Option<Vec<u8>> {
    let mut store = PageStore::new(ACCOUNT, VOLUME, STORE_PAGES_MIN);
    let mut edit = TreeEdit::create(VOLUME, secret(), 0, Secret::new([9; 32]));
    for change in changes {
        let applied = edit.apply(&mut store, change).ok()?;
        assert!(matches!(applied, Step::Ready(())), "all pages are at hand");
    }
    let Ok(Step::Ready(commit)) = edit.finish(&mut store) else {
        return None;
    };
    let top = commit.added.iter().find(|page| page.hash() == commit.top)?;
    open(&secret(), &top_context(), top.bytes()).ok()
}

fn sealed_seeds() -> Vec<Vec<u8>> {
    let seal = |plain: Vec<u8>| seal(&secret(), &top_context(), &plain);
    tree_seeds().into_iter().map(seal).collect()
}

/// What the top page of the top folder is sealed with.
fn top_context() -> Vec<u8> {
    [
        &b"treepage"[..],
        &ACCOUNT.0,
        &VOLUME.0,
        &VOLUME.0,
        &sha256(&[]),
    ]
    .concat()
}
