//! Two trees side by side: kinds, contents, modes, times to the nanosecond, targets of symlinks.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes of two files compared at once.
const CHUNK_BYTES: usize = 1 << 16;

/// Differences shown of two trees that differ.
const SHOWN_MAX: usize = 20;

/// All of an entry but the content of a file.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    /// Permissions; a symlink has none of its own.
    mode: u32,
    mtime: (i64, i64),
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File { bytes: u64 },
    Symlink { target: PathBuf },
    Other,
}

/// Fails unless `left` and `right` are the same tree, themselves included.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (here, there) = (entries(left), entries(right));
    let mut differences = Vec::new();
    for (path, entry) in &here {
        match there.get(path) {
            None => differences.push(format!("missing: {path:?}")),
            Some(other) if other != entry => {
                differences.push(format!("{path:?}: {entry:?} became {other:?}"));
            }
            Some(_) if matches!(entry.kind, Kind::File { .. }) => {
                if !same_content(&below(left, path), &below(right, path)) {
                    differences.push(format!("{path:?}: another content"));
                }
            }
            Some(_) => {}
        }
    }
    let extra = there.keys().filter(|path| !here.contains_key(*path));
    differences.extend(extra.map(|path| format!("appeared: {path:?}")));
    let count = differences.len();
    differences.truncate(SHOWN_MAX);
    assert_eq!(count, 0, "differences: {}", differences.join("\n"));
}

/// Entries below `root` in all, itself not counted.
pub(crate) fn count(root: &Path) -> usize {
    entries(root).len() - 1
}

/// Whether two files have the same bytes.
pub(crate) fn same_content(left: &Path, right: &Path) -> bool {
    let (mut left, mut right) = (File::open(left).unwrap(), File::open(right).unwrap());
    loop {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let limit = CHUNK_BYTES as u64;
        left.by_ref().take(limit).read_to_end(&mut here).unwrap();
        right.by_ref().take(limit).read_to_end(&mut there).unwrap();
        if here != there {
            return false;
        }
        if here.is_empty() {
            return true;
        }
    }
}

fn entries(root: &Path) -> BTreeMap<OsString, Entry> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = below(root, relative.as_os_str());
        let entry = look(&path, &fs::symlink_metadata(&path).unwrap());
        if entry.kind == Kind::Folder {
            let inside = fs::read_dir(&path).unwrap();
            waiting.extend(inside.map(|entry| relative.join(entry.unwrap().file_name())));
        }
        found.insert(relative.into_os_string(), entry);
    }
    found
}

/// `relative` below `root`; nothing is `root` itself, which may be a file.
fn below(root: &Path, relative: &OsStr) -> PathBuf {
    if relative.is_empty() {
        root.to_owned()
    } else {
        root.join(relative)
    }
}

fn look(path: &Path, metadata: &Metadata) -> Entry {
    let kind = if metadata.is_dir() {
        Kind::Folder
    } else if metadata.is_file() {
        Kind::File {
            bytes: metadata.len(),
        }
    } else if metadata.is_symlink() {
        Kind::Symlink {
            target: fs::read_link(path).unwrap(),
        }
    } else {
        Kind::Other
    };
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
    }
}

#[test]
fn every_kind_of_difference_is_seen() {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::panic::catch_unwind;
    use std::time::{Duration, SystemTime};

    use crate::stage::write;

    let build = |content: &str, mode: u32, target: &str, nanoseconds: u64| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let inside = root.join("f");
        write(&root.join("a"), content);
        fs::create_dir(&inside).unwrap();
        symlink(target, inside.join("l")).unwrap();
        fs::set_permissions(root.join("a"), Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        for path in [root.join("a"), inside.clone(), root.clone()] {
            File::open(path).unwrap().set_modified(time).unwrap();
        }
        set_link_time(&inside.join("l"), 7);
        folder
    };
    let differ = |other: &tempfile::TempDir| {
        let usual = build("a", 0o644, "t", 5);
        let (left, right) = (usual.path().join("root"), other.path().join("root"));
        catch_unwind(|| assert_same(&left, &right)).is_err()
    };
    assert!(!differ(&build("a", 0o644, "t", 5)));
    assert!(differ(&build("b", 0o644, "t", 5)));
    assert!(differ(&build("ab", 0o644, "t", 5)));
    assert!(differ(&build("a", 0o600, "t", 5)));
    assert!(differ(&build("a", 0o644, "u", 5)));
    assert!(differ(&build("a", 0o644, "t", 6)));
    let more = build("a", 0o644, "t", 5);
    fs::create_dir(more.path().join("root/f/g")).unwrap();
    assert!(differ(&more));
}

/// Sets when a symlink itself was changed.
pub(crate) fn set_link_time(link: &Path, nanoseconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, link, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
