//! What an owner names and writes is never seen by the Bridge or a Host, in no spelling.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use planet::Link;

use crate::stage::{Stage, write};

/// Planted: names of a file, a folder and what they become, a target, contents.
const CANARIES: [&str; 8] = [
    "canary-file-name-q7x",
    "canary-folder-name-w2z",
    "canary-moved-name-k5p",
    "canary-link-target-v9d",
    "canary-inline-content-h3m",
    "canary-packed-content-t8b",
    "canary-large-content-n4c",
    "canary-attribute-j6f",
];

#[test]
fn a_canary_is_seen_by_nobody() {
    let stage = Stage::new(8);
    let tap = Link::tapped(stage.planet.layout().bridge()).unwrap();
    let owner = stage.planet.owner("tapped");
    owner.init(&format!("http://{}", tap.address())).unwrap();
    let run = |args: &[&OsStr]| {
        let ran = owner.run(args).unwrap();
        assert!(ran.status.success(), "{args:?}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let words = |line: &'static str| -> Vec<&OsStr> { line.split(' ').map(OsStr::new).collect() };
    let tree = stage.path("tree");
    plant(&tree);

    run(&[OsStr::new("put"), tree.as_os_str(), OsStr::new("/")]);
    run(&words("mkdir -p /tree/canary-folder-name-w2z/deep"));
    run(&words("mv /tree/packed /tree/canary-moved-name-k5p"));
    run(&words("cp /tree/canary-file-name-q7x /tree/copy"));
    let listed = run(&words("ls -R /"));
    run(&[
        OsStr::new("get"),
        OsStr::new("/tree"),
        stage.path("back").as_os_str(),
    ]);
    run(&words("rm /tree/canary-moved-name-k5p"));

    // The owner sees them, and so would the search.
    assert!(
        listed.contains(CANARIES[0]) && listed.contains(CANARIES[2]),
        "{listed}"
    );
    let search = Search::new();
    assert_eq!(
        search.found_below(&tree).len(),
        CANARIES.len() - 1 - usize::from(!has_xattrs(&tree))
    );
    let heard = tap.heard();
    assert!(
        heard
            .windows(16)
            .any(|window| window == b"POST /v1/uploads")
    );

    assert_eq!(search.found_in(&heard), Vec::<String>::new());
    let layout = stage.planet.layout();
    for folder in ["bridge", "hosts", "logs"] {
        let folder = layout.dir().join(folder);
        assert!(folder.is_dir());
        assert_eq!(search.found_below(&folder), BTreeMap::new());
    }
}

#[test]
fn every_spelling_is_recognised() {
    let search = Search::new();
    for canary in CANARIES {
        for shift in 0..6 {
            let text = format!("{}{canary} and more", "x".repeat(shift));
            for hidden in [
                text.clone(),
                HEXLOWER.encode(text.as_bytes()),
                HEXUPPER.encode(text.as_bytes()),
                BASE64_NOPAD.encode(text.as_bytes()),
                BASE64URL_NOPAD.encode(text.as_bytes()),
                BASE32_NOPAD.encode(text.as_bytes()),
                text.to_uppercase(),
                text.chars().rev().collect(),
            ] {
                assert_eq!(search.found_in(hidden.as_bytes()), [canary], "{hidden}");
            }
        }
    }
    assert_eq!(search.found_in(b"canary-file-name"), Vec::<String>::new());
}

fn plant(tree: &Path) {
    let file = tree.join(CANARIES[0]);
    write(&file, CANARIES[4]);
    write(
        &tree.join(CANARIES[1]).join("large"),
        CANARIES[6].repeat(150_000),
    );
    write(&tree.join("packed"), CANARIES[5].repeat(2_000));
    symlink(CANARIES[3], tree.join("link")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(error) = rustix::fs::setxattr(&file, "user.note", CANARIES[7].as_bytes(), flags) {
        println!("no attributes on this file system: {error}");
    }
}

/// Whether the file system of `tree` keeps attributes.
fn has_xattrs(tree: &Path) -> bool {
    let mut value = [0; 64];
    rustix::fs::getxattr(tree.join(CANARIES[0]), "user.note", &mut value).is_ok()
}

/// All canaries in all spellings.
struct Search {
    /// By their first two bytes.
    needles: BTreeMap<[u8; 2], Vec<(Vec<u8>, &'static str)>>,
    first: Box<[bool; 65_536]>,
}

impl Search {
    fn new() -> Self {
        let mut needles: BTreeMap<[u8; 2], Vec<_>> = BTreeMap::new();
        let mut first = Box::new([false; 65_536]);
        for canary in CANARIES {
            for needle in spellings(canary) {
                let begin = [needle[0], needle[1]];
                first[usize::from(u16::from_le_bytes(begin))] = true;
                needles.entry(begin).or_default().push((needle, canary));
            }
        }
        Self { needles, first }
    }

    /// The canaries in `hay`.
    fn found_in(&self, hay: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for at in 0..hay.len().saturating_sub(1) {
            let begin = [hay[at], hay[at + 1]];
            if !self.first[usize::from(u16::from_le_bytes(begin))] {
                continue;
            }
            for (needle, canary) in &self.needles[&begin] {
                if hay[at..].starts_with(needle) {
                    found.push((*canary).to_owned());
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Where each canary is found below `folder`: in names, targets, attributes and contents.
    fn found_below(&self, folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mut hay = path.file_name().unwrap().as_encoded_bytes().to_vec();
            if path.is_symlink() {
                hay.extend(fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes());
            } else if path.is_dir() {
                found.append(&mut self.found_below(&path));
            } else {
                hay.extend(fs::read(&path).unwrap());
                let mut value = [0; 64];
                if let Ok(len) = rustix::fs::getxattr(&path, "user.note", &mut value) {
                    hay.extend(&value[..len]);
                }
            }
            let here = self.found_in(&hay).into_iter();
            found.extend(here.map(|canary| (canary, path.display().to_string())));
        }
        found
    }
}

/// How `canary` might look inside something encoded; the ends, which depend on what is around
/// it, are cut off.
fn spellings(canary: &str) -> Vec<Vec<u8>> {
    let bytes = canary.as_bytes();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut all = vec![bytes.to_vec(), canary.to_uppercase().into_bytes(), reversed];
    all.push(HEXLOWER.encode(bytes).into_bytes());
    all.push(HEXUPPER.encode(bytes).into_bytes());
    for (encoding, bytes_per_group, chars_per_group) in [
        (&BASE64_NOPAD, 3, 4),
        (&BASE64URL_NOPAD, 3, 4),
        (&BASE32_NOPAD, 5, 8),
    ] {
        for skip in 0..bytes_per_group {
            let whole = bytes[skip..].chunks_exact(bytes_per_group).flatten();
            let text = encoding.encode(&whole.copied().collect::<Vec<_>>());
            assert!(text.len() >= 2 * chars_per_group);
            all.push(text.into_bytes());
        }
    }
    all
}
