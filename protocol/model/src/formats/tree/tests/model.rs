//! Random edits against a plain map of paths.

use proptest::prelude::*;

use super::*;

/// Names that collide, need escapes, are not UTF-8, or are long.
const NAMES: [&[u8]; 9] = [
    b"a",
    b"b",
    b"c",
    b"\"\\\n\x01",
    b"e\xcc\x81",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"z",
    &[b'y'; 255],
];

type Reference = BTreeMap<TreePath, Kind>;

fn any_path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(0..NAMES.len(), 1..4).prop_map(|names| {
        let name = |at: usize| Name::new(NAMES[at]).unwrap();
        names
            .into_iter()
            .fold(TreePath::top(), |path, at| path.join(name(at)).unwrap())
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let meta = Meta::default();
    let content = prop_oneof![
        (1..5_u8, 1..1_000_u64).prop_map(|(blob, length)| slice(blob, length)),
        (0..=4_096_usize).prop_map(inline),
        (3_000..=4_096_usize).prop_map(inline),
    ];
    let put_meta = meta.clone();
    prop_oneof![
        4 => (any_path(), content)
            .prop_map(move |(path, file)| Change::PutFile { path, meta: put_meta.clone(), file }),
        3 => any_path().prop_map(move |path| Change::MakeFolder { path, meta: meta.clone() }),
        1 => (any_path(), prop::collection::vec(any::<u8>(), 0..2_000)).prop_map(
            |(path, target)| Change::PutSymlink { path, meta: Meta::default(), target },
        ),
        1 => (any_path(), 0..0o7777_u32).prop_map(
            |(path, mode)| Change::SetMeta { path, meta: Meta { mode, ..Meta::default() } },
        ),
        2 => any_path().prop_map(|path| Change::Remove { path }),
        1 => (any_path(), any_path()).prop_map(|(from, to)| Change::Move { from, to }),
        1 => (any_path(), any_path()).prop_map(|(from, to)| Change::Copy { from, to }),
    ]
}

fn is_folder(kind: &Kind) -> bool {
    matches!(kind, Kind::Folder(_))
}

/// Applies a change by the rules; `false` where it cannot be made.
fn expect(reference: &mut Reference, change: &Change) -> bool {
    let parent_is_folder = |reference: &Reference, path: &TreePath| {
        path.parent().is_some_and(|parent| {
            parent == TreePath::top() || reference.get(&parent).is_some_and(is_folder)
        })
    };
    match change {
        Change::PutFile { path, file, .. } => {
            let fits =
                parent_is_folder(reference, path) && !reference.get(path).is_some_and(is_folder);
            if fits {
                reference.insert(path.clone(), Kind::File(file.clone()));
            }
            fits
        }
        Change::MakeFolder { path, .. } => {
            let fits = parent_is_folder(reference, path) && !reference.contains_key(path);
            if fits {
                let link = FolderLink {
                    key: Secret::new([0; 32]),
                    hash: NodeHash::default(),
                };
                reference.insert(path.clone(), Kind::Folder(link));
            }
            fits
        }
        Change::Remove { path } => {
            let fits = reference.contains_key(path);
            reference.retain(|found, _| !found.starts_with(path));
            fits
        }
        Change::Move { from, to } | Change::Copy { from, to } => {
            let moved = matches!(change, Change::Move { .. });
            let Some(kind) = reference.get(from) else {
                return false;
            };
            if from == to {
                return moved;
            }
            let old = reference.get(to);
            let blocked = old.is_some_and(|old| is_folder(kind) || is_folder(old));
            if blocked || to.starts_with(from) || !parent_is_folder(reference, to) {
                return false;
            }
            let below: Vec<_> = reference
                .iter()
                .filter(|(path, _)| path.starts_with(from))
                .map(|(path, kind)| (path.clone(), kind.clone()))
                .collect();
            for (path, kind) in below {
                if moved {
                    reference.remove(&path);
                }
                let rest = &path.names()[from.names().len()..];
                let there = rest
                    .iter()
                    .fold(to.clone(), |path, name| path.below(name.clone()));
                reference.insert(there, kind);
            }
            true
        }
        Change::PutSymlink { path, target, .. } => {
            let fits =
                parent_is_folder(reference, path) && !reference.get(path).is_some_and(is_folder);
            if fits {
                reference.insert(path.clone(), Kind::Symlink(target.clone()));
            }
            fits
        }
        Change::SetMeta { path, .. } => reference.contains_key(path),
    }
}

fn check_equal(bench: &mut Bench, reference: &Reference) {
    let found = bench.walk();
    assert!(found.iter().map(|found| &found.path).eq(reference.keys()));
    let mut ids = BTreeSet::new();
    let mut blobs: BTreeMap<BlobId, BlobChange> = BTreeMap::new();
    for Walked { entry, .. } in &found {
        assert!(ids.insert(entry.id), "every entry has an id of its own");
        if let Some(slice) = entry.blob() {
            let sum = blobs.entry(slice.blob).or_default();
            sum.references += 1;
            sum.live_bytes += i64::try_from(slice.length).unwrap();
        }
    }
    for (found, expected) in found.iter().zip(reference.values()) {
        match (&found.entry.kind, expected) {
            (Kind::Folder(_), Kind::Folder(_)) => {}
            (kind, expected) => assert_eq!(kind, expected),
        }
    }
    bench.blobs.retain(|_, sum| *sum != BlobChange::default());
    assert_eq!(bench.blobs, blobs);
    let live = bench.reachable();
    assert!(
        bench.pages.keys().eq(&live),
        "what was not retired is reachable, and the reverse"
    );
}

fn run(batches: &[Vec<Change>]) -> NodeHash {
    let (mut bench, mut reference) = (Bench::new(), Reference::new());
    for batch in batches {
        let mut edit = bench.edit();
        for change in batch {
            let fits = expect(&mut reference, change);
            assert_eq!(bench.apply(&mut edit, change).is_ok(), fits, "{change:?}");
        }
        bench.commit(&mut edit);
        bench.forget();
        check_equal(&mut bench, &reference);
    }
    bench.tree.top().hash
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_edits_equal_the_reference(
        batches in prop::collection::vec(prop::collection::vec(any_change(), 1..25), 1..7),
    ) {
        prop_assert_eq!(run(&batches), run(&batches), "the same edits give the same bytes");
    }
}
