//! Short texts that people and peers write: ids, paths, classes, schedules, sizes, URLs.

use bridge::upload::slots::SlotCursor;
use model::crypto::Mnemonic;
use model::formats::shape::{Class, Shape};
use model::formats::tree::{Name, TreePath};
use model::units::{HostId, Serial, ShardSize};
use model::wire::Schedule;
use net::BridgeUrl;
use runtime::{Size, Span};
use std::str::FromStr;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "tree_path",
        run: tree_path,
        seeds: || list(&["/", "/a/b", "a name"]),
    },
    Decoder {
        name: "class",
        run: class,
        seeds: || list(&["mirrors:3", "coded:4/8", "coded:32/64"]),
    },
    Decoder {
        name: "shape_json",
        run: shape,
        seeds: || {
            list(&[
                r#"{"length":1,"class":"mirrors:3"}"#,
                r#"{"length":1000000,"class":"coded:4/8"}"#,
                "64",
            ])
        },
    },
    Decoder {
        name: "schedule",
        run: schedule,
        seeds: schedule_seeds,
    },
    Decoder {
        name: "ids",
        run: ids,
        seeds: id_seeds,
    },
    Decoder {
        name: "recovery_phrase",
        run: phrase,
        seeds: phrase_seeds,
    },
    Decoder {
        name: "quantity",
        run: quantity,
        seeds: || list(&["2 MiB", "10GB", "1.5 h", "250ms", "4096"]),
    },
    Decoder {
        name: "bridge_url",
        run: bridge_url,
        seeds: url_seeds,
    },
    Decoder {
        name: "slot_cursor",
        run: cursor,
        seeds: || list(&["0.0", "3.17"]),
    },
];

fn list(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What is read and written is read the same again.
fn same<T: FromStr + ToString + PartialEq>(bytes: &[u8]) -> Option<T> {
    let value = str::from_utf8(bytes).ok()?.parse::<T>().ok()?;
    let again = value.to_string().parse::<T>();
    assert!(
        again.is_ok_and(|again| again == value),
        "another value after writing"
    );
    Some(value)
}

fn tree_path(bytes: &[u8]) -> bool {
    let (path, name) = (TreePath::parse(bytes), Name::new(bytes));
    let read = path.is_ok() || name.is_ok();
    if let Ok(path) = path {
        let again = TreePath::parse(&path.to_bytes());
        assert_eq!(again.as_ref(), Ok(&path));
        assert!(path.parent().is_none_or(|parent| path.starts_with(&parent)));
    }
    if let Ok(name) = name {
        assert_eq!(name.as_bytes(), bytes);
        assert!(TreePath::top().join(name).is_ok());
    }
    read
}

fn class(bytes: &[u8]) -> bool {
    let Some(class) = same::<Class>(bytes) else {
        return false;
    };
    assert!(class.k() >= 1 && class.k() <= class.n());
    let shape = Shape::new(u64::from(class.k()) * 64, class);
    assert!(shape.is_ok_and(|shape| shape.segments() == 1));
    true
}

fn shape(bytes: &[u8]) -> bool {
    let (shape, size) = (
        serde_json::from_slice::<Shape>(bytes),
        serde_json::from_slice::<ShardSize>(bytes),
    );
    let read = shape.is_ok() || size.is_ok();
    if let Ok(shape) = shape {
        let text = serde_json::to_vec(&shape).unwrap_or_default();
        assert!(serde_json::from_slice::<Shape>(&text).is_ok_and(|again| again == shape));
        assert!(shape.segments() >= 1 && shape.stored_bytes() >= shape.length());
    }
    if let Ok(size) = size {
        assert_eq!(ShardSize::new(size.bytes()), Ok(size));
    }
    read
}

fn schedule(bytes: &[u8]) -> bool {
    same::<Schedule>(bytes).is_some_and(|schedule| {
        assert!(schedule.hours() <= 168);
        true
    })
}

fn schedule_seeds() -> Vec<Vec<u8>> {
    list(&["always", &"f0".repeat(21)])
}

fn ids(bytes: &[u8]) -> bool {
    let raw = HostId::try_from(bytes);
    assert!(raw.as_ref().is_ok_and(|id| id.as_bytes() == bytes) || raw.is_err());
    same::<HostId>(bytes).is_some() || same::<Serial>(bytes).is_some() || raw.is_ok()
}

fn id_seeds() -> Vec<Vec<u8>> {
    list(&[&"0a".repeat(16), &"F1".repeat(32), &"x".repeat(32)])
}

fn phrase(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let Ok(phrase) = Mnemonic::parse(text) else {
        return false;
    };
    let words: Vec<_> = phrase.words().collect();
    let again = Mnemonic::parse(&words.join(" "));
    assert!(again.is_ok_and(|again| again.words().eq(phrase.words())));
    true
}

fn phrase_seeds() -> Vec<Vec<u8>> {
    let phrase = Mnemonic::from_entropy(&model::crypto::Secret::new([1; 32]));
    let words: Vec<_> = phrase.words().collect();
    list(&[&words.join(" "), &words.join("  ").to_uppercase()])
}

fn quantity(bytes: &[u8]) -> bool {
    same::<Size>(bytes).is_some() | same::<Span>(bytes).is_some()
}

fn bridge_url(bytes: &[u8]) -> bool {
    same::<BridgeUrl>(bytes).is_some()
}

fn url_seeds() -> Vec<Vec<u8>> {
    let pinned = format!("https://{}@192.0.2.1:7400", "0a".repeat(32));
    list(&[
        &pinned,
        "https://bridge.example",
        "http://127.0.0.1:7400/",
        "http://[::1]:7400",
    ])
}

fn cursor(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let Ok(cursor) = SlotCursor::parse(text) else {
        return false;
    };
    let again = SlotCursor::parse(&cursor.to_text());
    assert_eq!(again.ok(), Some(cursor));
    true
}
