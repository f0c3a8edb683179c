//! The tree against a reference model, its sizes, and what it refuses.

mod model;
mod sizes;
mod tamper;

use std::collections::{BTreeMap, BTreeSet};

use super::edit::reachable_pages;
use super::*;
use crate::units::{AccountId, BlobId, PAGE_BYTES_MAX};

const ACCOUNT: AccountId = AccountId([1; 16]);
const VOLUME: VolumeId = VolumeId([2; 16]);

/// Keeps pages as a Bridge does, and the one current tree.
struct Bench {
    pages: BTreeMap<NodeHash, Vec<u8>>,
    blobs: BTreeMap<BlobId, BlobChange>,
    tree: Tree,
    store: PageStore,
    fetched: usize,
    edits: u64,
}

impl Bench {
    fn new() -> Self {
        let key = Secret::new([3; 32]);
        let mut bench = Self {
            pages: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tree: Tree::new(VOLUME, key.clone(), NodeHash::default()),
            store: PageStore::new(ACCOUNT, VOLUME, STORE_PAGES_MIN),
            fetched: 0,
            edits: 0,
        };
        let mut edit = TreeEdit::create(VOLUME, key, 0, Secret::new([4; 32]));
        bench.commit(&mut edit);
        bench
    }

    fn edit(&mut self) -> TreeEdit {
        self.edits += 1;
        TreeEdit::new(
            &self.tree,
            0,
            Secret::new([5; 32]).expand("test", &self.edits.to_le_bytes()),
        )
    }

    /// Calls `operation` until it lacks nothing any more.
    fn drive<T, E>(
        &mut self,
        mut operation: impl FnMut(&mut PageStore) -> Result<Step<T>, E>,
    ) -> Result<T, E> {
        loop {
            match operation(&mut self.store)? {
                Step::Ready(value) => return Ok(value),
                Step::Need(need) => {
                    assert!(!need.is_empty() && need.len() <= NEED_PAGES_MAX);
                    need.iter().for_each(|hash| self.fetch(hash));
                }
            }
        }
    }

    fn fetch(&mut self, hash: &NodeHash) {
        let sealed = self.pages.get(hash).expect("only live pages are needed");
        assert_eq!(self.store.insert(sealed.clone()).unwrap(), *hash);
        self.fetched += 1;
    }

    fn apply(&mut self, edit: &mut TreeEdit, change: &Change) -> Result<(), EditError> {
        self.drive(|store| edit.apply(store, change))
    }

    fn commit(&mut self, edit: &mut TreeEdit) -> Commit {
        let commit = self.drive(|store| edit.finish(store)).unwrap();
        for page in &commit.added {
            assert!(page.bytes().len() <= PAGE_BYTES_MAX);
            let known = self.pages.insert(page.hash(), page.bytes().to_vec());
            assert!(known.is_none(), "no page is written twice");
        }
        for hash in &commit.retired {
            assert!(
                self.pages.remove(hash).is_some(),
                "only live pages are retired"
            );
        }
        for (blob, change) in &commit.blobs {
            let sum = self.blobs.entry(*blob).or_default();
            sum.references += change.references;
            sum.live_bytes += change.live_bytes;
        }
        self.tree.top.hash = commit.top;
        commit
    }

    fn change(&mut self, changes: &[Change]) -> Result<Commit, EditError> {
        let mut edit = self.edit();
        let mut done = 0;
        self.drive(|store| edit.apply_all(store, changes, &mut done))?;
        assert_eq!(done, changes.len());
        Ok(self.commit(&mut edit))
    }

    fn forget(&mut self) {
        self.store = PageStore::new(ACCOUNT, VOLUME, STORE_PAGES_MIN);
        self.fetched = 0;
    }

    fn lookup(&mut self, path: &str) -> Option<Arc<Entry>> {
        let (tree, path) = (self.tree.clone(), at(path));
        self.drive(|store| tree.lookup(store, &path)).unwrap()
    }

    fn walk(&mut self) -> Vec<Walked> {
        let mut walk = self.tree.walk(self.tree.top().clone(), TreePath::top());
        let mut all = Vec::new();
        while let Some(walked) = self.drive(|store| walk.next(store)).unwrap() {
            all.push(walked);
        }
        all
    }

    /// The pages of the current tree, found by reading it.
    fn reachable(&mut self) -> BTreeSet<NodeHash> {
        let mut reading = reachable_pages(self.tree.top().clone());
        self.drive(|store| reading(store))
            .unwrap()
            .into_iter()
            .collect()
    }
}

fn at(path: &str) -> TreePath {
    TreePath::parse(path.as_bytes()).unwrap()
}

fn slice(blob: u8, length: u64) -> FileVersion {
    let content = Content::Blob(BlobSlice {
        blob: BlobId([blob; 16]),
        offset: 64,
        length,
        file_secret: Secret::new([blob; 32]),
        blob_secret: Secret::new([blob; 32]),
        manifest: NodeHash([blob; 32]),
    });
    FileVersion {
        sha256: Some([blob; 32]),
        content,
    }
}

fn inline(bytes: usize) -> FileVersion {
    FileVersion {
        sha256: None,
        content: Content::Inline(vec![7; bytes]),
    }
}

fn file(path: &str, file: FileVersion) -> Change {
    Change::PutFile {
        path: at(path),
        meta: Meta::default(),
        file,
    }
}

fn folder(path: &str) -> Change {
    Change::MakeFolder {
        path: at(path),
        meta: Meta::default(),
    }
}

#[test]
fn entries_are_put_found_listed_moved_copied_and_removed() {
    let mut bench = Bench::new();
    let meta = Meta {
        mtime: Mtime {
            seconds: -5,
            nanos: 999_999_999,
        },
        mode: 0o4755,
        xattrs: BTreeMap::from([("user.é".to_owned(), vec![0, 255])]),
    };
    let target = b"../\xff".to_vec();
    let changes = [
        folder("/a"),
        folder("/a/b"),
        file("/a/b/big", slice(9, 1_000)),
        file("/a/small", inline(4_096)),
        Change::PutSymlink {
            path: at("/a/link"),
            meta: meta.clone(),
            target: target.clone(),
        },
        Change::SetMeta {
            path: at("/a/b"),
            meta: meta.clone(),
        },
        Change::Copy {
            from: at("/a"),
            to: at("/c"),
        },
        Change::Move {
            from: at("/a/b"),
            to: at("/c/moved"),
        },
    ];
    let commit = bench.change(&changes).unwrap();
    let blob = BlobId([9; 16]);
    assert_eq!(
        commit.blobs[&blob],
        BlobChange {
            references: 2,
            live_bytes: 2_000
        }
    );

    bench.forget();
    let paths: Vec<_> = bench
        .walk()
        .iter()
        .map(|found| found.path.to_string())
        .collect();
    let expected = "/a /a/link /a/small /c /c/b /c/b/big /c/link /c/moved /c/moved/big /c/small";
    assert_eq!(paths.join(" "), expected);
    let link = bench.lookup("/c/link").unwrap();
    assert_eq!((&link.meta, &link.kind), (&meta, &Kind::Symlink(target)));
    assert_eq!(bench.lookup("/c/moved").unwrap().meta, meta);
    assert_ne!(
        bench.lookup("/a/small").unwrap().id,
        bench.lookup("/c/small").unwrap().id
    );
    assert_eq!(bench.lookup("/").unwrap().id, NodeId(VOLUME.0));

    let commit = bench.change(&[Change::Remove { path: at("/c") }]).unwrap();
    assert_eq!(
        commit.blobs[&blob],
        BlobChange {
            references: -2,
            live_bytes: -2_000
        }
    );
    let live = bench.reachable();
    assert!(bench.pages.keys().eq(&live));
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    let mut bench = Bench::new();
    bench
        .change(&[folder("/d"), folder("/d/e"), file("/f", inline(1))])
        .unwrap();
    let mut edit = bench.edit();
    let moved = |from: &str, to: &str| Change::Move {
        from: at(from),
        to: at(to),
    };
    let copied = |from: &str, to: &str| Change::Copy {
        from: at(from),
        to: at(to),
    };
    let mut mode = Meta {
        mode: 0o100_644,
        ..Meta::default()
    };
    let bad_mode = Change::PutFile {
        path: at("/m"),
        meta: mode.clone(),
        file: inline(0),
    };
    mode.mode = 0;
    mode.xattrs.insert("user.big".to_owned(), vec![0; 7_000]);
    let too_large = Change::PutFile {
        path: at("/x"),
        meta: mode,
        file: inline(0),
    };
    let cases = [
        (file("/g/x", inline(1)), "`/g` does not exist"),
        (file("/f/x", inline(1)), "`/f` is not a folder"),
        (file("/d", inline(1)), "`/d` exists"),
        (folder("/d"), "`/d` exists"),
        (folder("/f"), "`/f` exists"),
        (folder("/"), "the top folder cannot be changed itself"),
        (
            Change::Remove { path: at("/") },
            "the top folder cannot be changed itself",
        ),
        (Change::Remove { path: at("/d/x") }, "`/d/x` does not exist"),
        (moved("/d", "/d/e/d"), "`/d/e/d` lies in the folder itself"),
        (copied("/d", "/d/d"), "`/d/d` lies in the folder itself"),
        (moved("/f", "/d"), "`/d` exists"),
        (moved("/d/e", "/f"), "`/f` exists"),
        (copied("/f", "/f"), "`/f` exists"),
        (moved("/x", "/y"), "`/x` does not exist"),
        (bad_mode, "the entry of `/m` cannot be written"),
        (
            file("/i", inline(4_097)),
            "the entry of `/i` cannot be written",
        ),
        (
            file("/z", slice(1, 0)),
            "the entry of `/z` cannot be written",
        ),
        (
            too_large,
            "the entry of `/x` would take 9428 bytes, limit 8192",
        ),
    ];
    for (change, error) in cases {
        let refused = bench.apply(&mut edit, &change).unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
    let commit = bench.commit(&mut edit);
    assert_eq!(
        (commit.added.len(), commit.retired.len(), commit.blobs.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_batch_is_applied_again_to_a_newer_root() {
    let mut bench = Bench::new();
    bench.change(&[folder("/mine"), folder("/yours")]).unwrap();
    let old = bench.tree.clone();
    let mine = [file("/mine/a", slice(1, 10)), file("/mine/b", inline(3))];
    bench.change(&[file("/yours/c", slice(2, 20))]).unwrap();
    let mut stale = TreeEdit::new(&old, 0, Secret::new([8; 32]));
    let mut done = 0;
    // The page cache still has the old root's pages; the Bridge may have dropped them.
    bench
        .drive(|store| stale.apply_all(store, &mine, &mut done))
        .unwrap();
    drop(stale);
    bench.change(&mine).unwrap();
    for path in ["/mine/a", "/mine/b", "/yours/c"] {
        assert!(bench.lookup(path).is_some(), "{path}");
    }
}

#[test]
fn listings_page_in_order() {
    let mut bench = Bench::new();
    let mut changes: Vec<_> = (0..3_000)
        .map(|number| file(&format!("/{number:05}"), slice(1, 5)))
        .collect();
    changes.reverse();
    bench.change(&changes).unwrap();
    bench.forget();
    let (tree, mut after, mut names) = (bench.tree.clone(), None, Vec::new());
    loop {
        let page = bench
            .drive(|store| tree.list(store, tree.top(), after.as_ref(), 700))
            .unwrap();
        names.extend(page.iter().map(|entry| entry.name.to_string()));
        after = page.last().map(|entry| entry.name.clone());
        if page.len() < 700 {
            break;
        }
    }
    assert!(
        names
            .iter()
            .eq(&(0..3_000).map(|n| format!("{n:05}")).collect::<Vec<_>>())
    );
    let one = bench
        .drive(|store| tree.list(store, tree.top(), None, 1))
        .unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(
        bench
            .drive(|store| tree.list(store, tree.top(), None, 0))
            .unwrap()
            .len(),
        0
    );
}
