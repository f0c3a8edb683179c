//! A real tree with a made-up corner goes in and comes back identical; then it is arranged.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::compare::{assert_same, count, set_link_time};
use crate::stage::{PATIENCE, Stage, noise, number, write};

/// Files taken of the system's own, unless `PLANET_FILES` says how many.
const REAL_FILES: u64 = 3_000;
/// Bytes taken of the system's own for each, about.
const REAL_FILE_BYTES: u64 = 8 << 10;
/// Bytes of a segment, 4 shards of the largest size.
const SEGMENT_BYTES: usize = 4 * 1_966_080;

#[test]
fn a_real_tree_comes_back_identical() {
    let stage = Stage::new(8);
    let (tree, back) = (stage.path("tree"), stage.path("back"));
    let files = real_share(&tree.join("real")) + made_up_corner(&tree.join("corner"));
    let everything = count(&tree);

    let put = stage.done(args(["--json", "put"], &[&tree], "/")).json();
    assert_eq!(put["failed"], 0, "{put}");
    assert!(put["stored"].as_u64().unwrap() >= files as u64, "{put}");
    stage.done([OsStr::new("get"), OsStr::new("/tree"), back.as_os_str()]);
    assert_same(&tree, &back.join("tree"));

    // What did not change is not sent again.
    let received = received_by(&stage);
    let again = stage.done(args(["--json", "put"], &[&tree], "/")).json();
    assert_eq!(again["stored"], 0, "{again}");
    assert_eq!(received_by(&stage), received);

    let listed = stage.done(["--json", "ls", "-R", "/tree"]).json();
    assert_eq!(listed.as_array().unwrap().len(), everything);
    let sum = stage.done(["--json", "du", "/tree"]).json();
    let said = |name: &str| usize::try_from(sum[name].as_u64().unwrap()).unwrap();
    let links = said("symlinks");
    assert_eq!(said("files"), files);
    assert_eq!(said("folders") + links + files, everything + 1, "{sum}");
}

/// `PLANET_LARGE_MIB=5000` makes it a file of 5 GB.
#[test]
fn a_large_file_comes_back_identical() {
    let stage = Stage::new(8);
    let (file, back) = (stage.path("large"), stage.path("back"));
    let block = noise(5, 4 << 20);
    let mut out = File::create(&file).unwrap();
    for number in 0..number("PLANET_LARGE_MIB", 100) / 4 {
        // No two blocks are the same, so none can take another's place.
        out.write_all(&number.to_le_bytes()).unwrap();
        out.write_all(&block).unwrap();
    }
    drop(out);
    let put = args(["put", "--class", "coded:4/8"], &[&file], "/");
    stage.begin(put).end_within(10 * PATIENCE).expect_code(0);
    let get = [OsStr::new("get"), OsStr::new("/large"), back.as_os_str()];
    stage.begin(get).end_within(10 * PATIENCE).expect_code(0);
    assert_same(&file, &back);
}

#[test]
fn a_trailing_slash_means_what_is_inside() {
    let stage = Stage::new(5);
    let tree = stage.path("tree");
    write(&tree.join("a"), "A");
    write(&tree.join("sub/b"), "B");
    write(&stage.path("single"), "S");
    let inside = |path: &Path| format!("{}/", path.display());

    stage.done(args(["put"], &[&tree], "/"));
    stage.done(["put", &inside(&tree), "/"]);
    stage.done(["mkdir", "/into"]);
    stage.done(args(["put"], &[&stage.path("single")], "/into"));
    stage.done(args(["put"], &[&stage.path("single")], "/renamed"));
    let listed = paths(&stage, "/");
    let expected = "/a /into /into/single /renamed /sub /sub/b /tree /tree/a /tree/sub /tree/sub/b";
    assert_eq!(listed.join(" "), expected);

    let (with, without) = (stage.path("with"), stage.path("without"));
    fs::create_dir(&with).unwrap();
    fs::create_dir(&without).unwrap();
    stage.done([OsStr::new("get"), OsStr::new("/tree"), with.as_os_str()]);
    stage.done([OsStr::new("get"), OsStr::new("/tree/"), without.as_os_str()]);
    assert_same(&tree, &with.join("tree"));
    // The folder was there before, but it is now like the one that was in the cloud.
    assert_same(&tree.join("sub"), &without.join("sub"));
    assert_eq!(count(&without), 3);
    let file = stage.path("file");
    stage.done([OsStr::new("get"), OsStr::new("/renamed"), file.as_os_str()]);
    assert_eq!(fs::read(file).unwrap(), b"S");
    assert_eq!(stage.done(["get", "/tree/sub/b", "-"]).out, "B");
}

#[test]
fn a_tree_is_arranged_without_sending_content() {
    let stage = Stage::new(6);
    let tree = stage.path("tree");
    let content = noise(1, 3_000_000);
    write(&tree.join("large"), &content);
    write(&tree.join("packed"), &content[..50_000]);
    write(&tree.join("small"), "s");
    stage.done(args(["put"], &[&tree], "/"));
    let received_before = received_by(&stage);

    stage.done(["mkdir", "-p", "/x/y/z"]);
    stage.done(["mkdir", "-p", "/x/y/z"]);
    stage.xcloud(["mkdir", "/x/y"]).expect_code(7);
    stage.done(["cp", "/tree", "/x/y"]);
    stage.done(["mv", "/tree/large", "/x/y/z/moved"]);
    stage.done(["rm", "/tree/small"]);
    stage.xcloud(["rm", "/tree/small"]).expect_code(3);
    stage.xcloud(["mv", "/nowhere", "/x"]).expect_code(3);
    stage
        .xcloud(["put", "--class", "coded:4/4", "x", "/"])
        .expect_code(2);

    let expected = "/tree /tree/packed /x /x/y /x/y/tree /x/y/tree/large /x/y/tree/packed \
                    /x/y/tree/small /x/y/z /x/y/z/moved";
    assert_eq!(paths(&stage, "/").join(" "), expected);
    assert_eq!(received_by(&stage), received_before);
    let copy = stage.path("copy");
    for path in ["/x/y/z/moved", "/x/y/tree/large"] {
        stage.done([OsStr::new("get"), OsStr::new(path), copy.as_os_str()]);
        assert_eq!(fs::read(&copy).unwrap(), content, "{path}");
    }

    let stat = stage.done(["--json", "stat", "/x/y/z/moved"]).json();
    assert_eq!(
        (&stat["type"], &stat["size"]),
        (&"file".into(), &3_000_000.into())
    );
    let place = stage.done(["--json", "where", "/x/y/z/moved"]).json();
    let shards = place["segments"][0]["shards"].as_array().unwrap();
    let mut hosts: Vec<_> = shards
        .iter()
        .map(|shard| shard["host"].to_string())
        .collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(Value::from(hosts.len()), place["n"], "{place}");
    stage.xcloud(["stat", "/nowhere"]).expect_code(3);
}

/// Shard bytes that all Hosts keep on their disks.
fn received_by(stage: &Stage) -> u64 {
    let hosts = 0..stage.planet.layout().hosts().len();
    let logs = hosts.flat_map(|number| stage.log_files(number));
    logs.map(|log| fs::metadata(log).unwrap().len()).sum()
}

fn paths(stage: &Stage, below: &str) -> Vec<String> {
    let listed = stage.done(["--json", "ls", "-R", below]).json();
    let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
    let mut paths: Vec<_> = listed.as_array().unwrap().iter().map(path).collect();
    paths.sort();
    paths
}

fn args<'a, const N: usize>(
    first: [&'a str; N],
    paths: &[&'a Path],
    last: &'a str,
) -> Vec<&'a OsStr> {
    let first = first.into_iter().map(OsStr::new);
    let paths = paths.iter().map(|path| path.as_os_str());
    first.chain(paths).chain([OsStr::new(last)]).collect()
}

/// Copies a share of the system's documentation and translations, filled up with files of our own
/// where there are few. Returns the number of files.
fn real_share(to: &Path) -> usize {
    let files = number("PLANET_FILES", REAL_FILES);
    let (all, bytes) = (usize::try_from(files).unwrap(), files * REAL_FILE_BYTES);
    let mut left = (all, bytes);
    for source in ["/usr/share/doc", "/usr/share/locale"] {
        let name = Path::new(source).file_name().unwrap();
        let half = (left.0.min(all / 2), left.1);
        let mut room = if source.ends_with("doc") { half } else { left };
        let before = room;
        copy_share(Path::new(source), &to.join(name), &mut room);
        left = (left.0 - (before.0 - room.0), left.1 - (before.1 - room.1));
    }
    for number in 0..left.0 {
        let path = to.join(format!("filled/{}/{number}", number % 50));
        write(&path, noise(number as u64, number % 6_000));
    }
    all
}

fn copy_share(from: &Path, to: &Path, room: &mut (usize, u64)) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() && room.0 > 0 {
            copy_share(&path, &copy, room);
        } else if metadata.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), &copy).unwrap();
        } else if metadata.is_file() && room.0 > 0 && metadata.len() <= room.1 {
            fs::copy(&path, &copy).unwrap();
            let time = metadata.modified().unwrap();
            File::open(&copy).unwrap().set_modified(time).unwrap();
            *room = (room.0 - 1, room.1 - metadata.len());
        }
    }
}

/// What real trees seldom have. Returns the number of files.
fn made_up_corner(corner: &Path) -> usize {
    let sizes = [
        0,
        1,
        4_095,
        4_096,
        4_097,
        65_535,
        65_537,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        SEGMENT_BYTES - 1,
        SEGMENT_BYTES,
        SEGMENT_BYTES + 1,
    ];
    for bytes in sizes {
        write(
            &corner.join(format!("sizes/{bytes}")),
            noise(bytes as u64, bytes),
        );
    }
    let names = odd_names(&corner.join("names"));
    fs::create_dir_all(corner.join("empty/and/deep")).unwrap();
    links(&corner.join("links"));
    sparse(&corner.join("sparse"));
    modes_and_times(&corner.join("attributes"));
    sizes.len() + names + 1 + 1 + 4
}

fn odd_names(folder: &Path) -> usize {
    let long_utf8 = "ü".repeat(127) + "x";
    let names: [&[u8]; 12] = [
        &[b'n'; 255],
        long_utf8.as_bytes(),
        "日本語 ファイル.txt".as_bytes(),
        b"not \xff\xfe utf-8 \x80",
        b"line\nbreak \x1b[31m and tab\t",
        b" spaces at both ends ",
        b"-dash",
        b"...",
        b"\\back:slash*?\"<>|",
        // Equal once normalised: both must stay.
        "caf\u{e9}".as_bytes(),
        "cafe\u{301}".as_bytes(),
        b"CAFE",
    ];
    for name in names {
        write(&folder.join(OsStr::from_bytes(name)), name);
    }
    names.len()
}

fn links(folder: &Path) {
    write(&folder.join("file"), "pointed at");
    symlink("file", folder.join("to a file")).unwrap();
    symlink("../names", folder.join("to a folder")).unwrap();
    symlink("nowhere at all", folder.join("dangling")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    symlink(OsStr::from_bytes(b"/\xff\xfe"), folder.join("not utf-8")).unwrap();
    symlink("t".repeat(4_000), folder.join("long")).unwrap();
    set_link_time(&folder.join("dangling"), 987_654_321);
}

fn sparse(path: &Path) {
    let mut file = File::create(path).unwrap();
    file.write_all(b"begins").unwrap();
    file.seek(SeekFrom::Start(20_000_000)).unwrap();
    file.write_all(b"ends").unwrap();
    file.set_len(24_000_000).unwrap();
}

fn modes_and_times(folder: &Path) {
    let old = SystemTime::UNIX_EPOCH - Duration::from_nanos(1_234_567_890_123_456_789);
    let ages = [
        (
            "read only",
            0o444,
            SystemTime::UNIX_EPOCH + Duration::new(1, 1),
        ),
        (
            "run",
            0o755,
            SystemTime::UNIX_EPOCH + Duration::new(4_000_000_000, 999_999_999),
        ),
        ("secret", 0o600, old),
        ("sticky", 0o1644, SystemTime::UNIX_EPOCH),
    ];
    for (name, mode, time) in ages {
        let path = folder.join(name);
        write(&path, name);
        File::open(&path).unwrap().set_modified(time).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let locked = folder.join("read only folder");
    fs::create_dir(&locked).unwrap();
    symlink("inside", locked.join("link")).unwrap();
    File::open(&locked).unwrap().set_modified(old).unwrap();
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    File::open(folder).unwrap().set_modified(old).unwrap();
}
