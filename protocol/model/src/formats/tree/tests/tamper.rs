//! What a lying Bridge could deliver, and what a writer without rules could seal.

use super::page::{page_context, seal_page};
use super::*;
use crate::crypto::{OpenError, open, seal};

/// A folder of many pages with a folder below, and the current tree.
fn grown() -> Bench {
    let mut bench = Bench::new();
    let mut changes = vec![folder("/sub")];
    changes.extend((0..2_000).map(|number| file(&format!("/sub/{number:04}"), slice(1, 5))));
    bench.change(&changes).unwrap();
    bench.forget();
    bench
}

#[test]
fn a_page_in_anothers_place_is_never_taken() {
    let mut bench = grown();
    let wanted = bench.tree.top().hash;
    for (hash, sealed) in bench.pages.clone() {
        let mut store = PageStore::new(ACCOUNT, VOLUME, 0);
        // The store names a page by its own hash, so a swapped one stays missing.
        assert_eq!(store.insert(sealed.clone()).unwrap(), hash);
        assert_eq!(store.contains(&wanted), hash == wanted);
        for bent in [
            sealed[..sealed.len() - 1].to_vec(),
            flip(&sealed, 0),
            flip(&sealed, 40),
        ] {
            let mut store = PageStore::new(ACCOUNT, VOLUME, 0);
            store.insert(bent).unwrap();
            assert!(!store.contains(&hash));
        }
    }
    let too_long = vec![0; PAGE_BYTES_MAX + 1];
    assert!(matches!(
        bench.store.insert(too_long),
        Err(PageError::TooLong { .. })
    ));
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    bent[at] ^= 1;
    bent
}

#[test]
fn every_page_opens_only_under_its_key_and_at_its_place() {
    let mut bench = grown();
    let sub = bench.lookup("/sub").unwrap().folder().unwrap();
    let top = bench.pages[&sub.hash].clone();
    let right = page_context((&ACCOUNT, &VOLUME), &sub.id, b"");
    assert!(open(&sub.key, &right, &top).is_ok());
    for wrong in [
        page_context((&AccountId([9; 16]), &VOLUME), &sub.id, b""),
        page_context((&ACCOUNT, &VolumeId([9; 16])), &sub.id, b""),
        page_context((&ACCOUNT, &VOLUME), &NodeId([9; 16]), b""),
        page_context((&ACCOUNT, &VOLUME), &sub.id, b"0"),
    ] {
        assert_eq!(open(&sub.key, &wrong, &top), Err(OpenError));
    }
    let other_key = Folder {
        key: Secret::new([9; 32]),
        ..sub.clone()
    };
    let other_id = Folder {
        id: NodeId([9; 16]),
        ..sub.clone()
    };
    let tree = bench.tree.clone();
    for _ in 0..2 {
        // Also once the page was opened by its right folder.
        for wrong in [&other_key, &other_id] {
            let refused = bench
                .drive(|store| tree.list(store, wrong, None, 1))
                .unwrap_err();
            let hash = sub.hash;
            assert_eq!(
                refused,
                TreeError::Page {
                    hash,
                    source: PageError::Open(OpenError)
                }
            );
        }
        bench
            .drive(|store| tree.list(store, &sub, None, 1))
            .unwrap();
    }
}

/// Seals `text` as the top page of the top folder and lists it; returns whether that works.
fn forgery_is_read(text: &str) -> bool {
    let key = Secret::new([3; 32]);
    let context = page_context((&ACCOUNT, &VOLUME), &NodeId(VOLUME.0), b"");
    let page = seal_page(&key, &context, text.to_owned());
    let mut store = PageStore::new(ACCOUNT, VOLUME, 0);
    let hash = store.insert(page.into_bytes()).unwrap();
    let tree = Tree::new(VOLUME, key, hash);
    tree.list(&mut store, tree.top(), None, 10).is_ok()
}

#[test]
fn sealed_pages_that_break_the_rules_are_refused() {
    let entry = |name: &str| {
        format!(r#"{{"id":"AAAAAAAAAAAAAAAAAAAAAA","n":"{name}","t":[0,0],"m":0,"e":0,"s":"x"}}"#)
    };
    let (a, b) = (entry("a"), entry("b"));
    let page = |items: &str| format!(r#"{{"v":1,"l":0,"e":[{items}]}}"#);
    assert!(forgery_is_read(&page(&format!("{a},{b}"))));
    let refused = [
        page(&format!("{b},{a}")),
        page(&format!("{a},{a}")),
        page(&entry("..")),
        page(&entry("a/b")),
        page(&entry("")),
        page(&a.replace(r#""m":0"#, r#""m":65536"#)),
        page(&a.replace("[0,0]", "[0,1000000000]")),
        page(&a.replace(r#""m":0"#, r#""m":0,"new":1"#)),
        page(&a.replace(r#""n":"a""#, r#""nb":"YQ""#)),
        page(&a.replace(r#","s":"x""#, "")),
        page(&a.replace(r#""s":"x""#, r#""s":"x","f":{"i":""}"#)),
        page(&a.replace("AAAAAAAAAAAAAAAAAAAAAA", "AAAA")),
        page(&a.replace(r#""s":"x""#, r#""s":"x","f":null"#)),
        page(&a.replace(r#""s":"x""#, r#""s":"\u0078""#)),
        page(&a.replace(r#""m":0"#, r#""m":0,"x":{"b":"","a":""}"#)),
        page(&a).replace(r#""v":1"#, r#""v": 1"#),
        page(&a).replace(r#""v":1"#, r#""v":2"#),
        page(&a).replace(r#""l":0"#, r#""l":1"#),
        r#"{"v":1,"l":1,"c":[]}"#.to_owned(),
        r#"{"v":1,"l":0}"#.to_owned(),
        String::new(),
        "[".repeat(10_000),
    ];
    for text in refused {
        assert!(!forgery_is_read(&text), "{text}");
    }
}

#[test]
fn a_leaf_linked_as_an_inner_page_or_out_of_its_range_is_refused() {
    let key = Secret::new([3; 32]);
    let id = NodeId(VOLUME.0);
    let mut store = PageStore::new(ACCOUNT, VOLUME, 0);
    let mut add = |low: &[u8], text: String| {
        let context = page_context((&ACCOUNT, &VOLUME), &id, low);
        store.insert(seal(&key, &context, text.as_bytes())).unwrap()
    };
    let leaf = add(b"", r#"{"v":1,"l":0,"e":[]}"#.to_owned());
    let first = json::child_text(b"", &leaf);
    let deep = add(b"", json::page_text(2, std::slice::from_ref(&first)));
    let low = json::entry_text(&Entry {
        id,
        name: Name::new(b"a").unwrap(),
        meta: Meta::default(),
        epoch: 0,
        kind: Kind::Symlink(Vec::new()),
    });
    let below = add(b"m", json::page_text(0, &[low]));
    let ranged = add(
        b"",
        json::page_text(1, &[first, json::child_text(b"m", &below)]),
    );
    for top in [deep, ranged] {
        let tree = Tree::new(VOLUME, key.clone(), top);
        let refused = tree.lookup(&mut store, &at("/x")).unwrap_err();
        assert!(matches!(
            refused,
            TreeError::Page {
                source: PageError::Order,
                ..
            }
        ));
    }
}
