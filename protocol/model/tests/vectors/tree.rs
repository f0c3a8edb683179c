//! docs/spec/tree.md.

use std::collections::BTreeMap;

use model::crypto::{Secret, sha256};
use model::formats::Step;
use model::formats::tree::{
    BlobSlice, Change, Content, FileVersion, Meta, Mtime, PageStore, Tree, TreeEdit, TreePath,
};
use model::units::{AccountId, BlobId, NodeHash, VolumeId};
use serde_json::Value;

use super::{array, bytes, list, pattern, secret, unhex};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../docs/spec/vectors/tree.json")).unwrap()
}

fn store(vectors: &Value) -> PageStore {
    let (account, volume) = (
        AccountId(array(vectors, "account")),
        VolumeId(array(vectors, "volume")),
    );
    PageStore::new(account, volume, 0)
}

fn path(bytes: &[u8]) -> TreePath {
    TreePath::parse(bytes).unwrap()
}

fn meta(seconds: i64, nanos: u32, mode: u32) -> Meta {
    Meta {
        mtime: Mtime { seconds, nanos },
        mode,
        xattrs: BTreeMap::new(),
    }
}

/// The entries of the script's folder, in the order in which their ids were drawn.
fn changes() -> Vec<Change> {
    let secret = |of: &[u8]| Secret::new(sha256(of));
    let small = FileVersion {
        sha256: None,
        content: Content::Inline(b"small".to_vec()),
    };
    let slice = BlobSlice {
        blob: BlobId(pattern(16).try_into().unwrap()),
        offset: 128,
        length: 5_000_000_000,
        file_secret: secret(b"file"),
        blob_secret: secret(b"blob"),
        manifest: NodeHash(sha256(b"manifest")),
    };
    let large = FileVersion {
        sha256: Some(sha256(b"content")),
        content: Content::Blob(slice),
    };
    let xattrs = [
        ("user.a".to_owned(), Vec::new()),
        ("user.b".to_owned(), vec![0, 255]),
    ];
    vec![
        Change::PutFile {
            path: path(b"/a \"quoted\"\\\n\x01\x7f\xc3\xa9"),
            meta: meta(-1, 999_999_999, 0o644),
            file: small,
        },
        Change::PutFile {
            path: path(b"/large"),
            meta: Meta {
                xattrs: xattrs.into(),
                ..meta(1_700_000_000, 5, 0o4600)
            },
            file: large,
        },
        Change::PutSymlink {
            path: path(b"/\xff\xfe"),
            meta: meta(0, 0, 0o777),
            target: b"../\xff".to_vec(),
        },
        Change::MakeFolder {
            path: path(b"/folder"),
            meta: meta(0, 0, 0o755),
        },
    ]
}

#[test]
fn a_folder_is_written_to_the_byte() {
    let vectors = vectors();
    let (mut store, mut done) = (store(&vectors), 0);
    let (key, seed) = (secret(&vectors, "top_key"), secret(&vectors, "edit_seed"));
    let mut edit = TreeEdit::create(store.volume(), key, 3, seed);
    assert_eq!(
        edit.apply_all(&mut store, &changes(), &mut done).unwrap(),
        Step::Ready(())
    );
    let Step::Ready(commit) = edit.finish(&mut store).unwrap() else {
        panic!("nothing is missing")
    };
    let pages: Vec<_> = commit
        .added
        .iter()
        .map(|page| page.bytes().to_vec())
        .collect();
    assert_eq!(
        pages,
        [bytes(&vectors, "empty_folder"), bytes(&vectors, "leaf")]
    );
    assert_eq!(commit.top.0, sha256(&bytes(&vectors, "leaf")));
}

#[test]
fn a_folder_of_several_pages_is_read() {
    let vectors = vectors();
    let mut store = store(&vectors);
    let leaves = list(&vectors, "inner_leaves")
        .iter()
        .map(|leaf| unhex(leaf.as_str().unwrap()));
    for page in leaves.chain([bytes(&vectors, "empty_folder")]) {
        store.insert(page).unwrap();
    }
    let mut trees = Vec::new();
    for field in ["leaf", "inner"] {
        let top = store.insert(bytes(&vectors, field)).unwrap();
        let tree = Tree::new(store.volume(), secret(&vectors, "top_key"), top);
        let listed = tree.list(&mut store, tree.top(), None, 10).unwrap();
        let Step::Ready(entries) = listed else {
            panic!("all pages are here")
        };
        assert_eq!(entries.len(), 4);
        for change in changes() {
            let wanted = change.paths().next().unwrap();
            let found = tree.lookup(&mut store, wanted).unwrap();
            assert!(
                matches!(found, Step::Ready(Some(entry)) if Some(&entry.name) == wanted.name())
            );
        }
        trees.push(entries);
    }
    assert_eq!(trees[0], trees[1]);
}
