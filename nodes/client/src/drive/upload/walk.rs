//! Walks what is to be uploaded: names, kinds and metadata of local files, in the order of the
//! bytes of their names. No content is read, no symlink below the start is followed.

use std::ffi::OsStr;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Depth of folders below which nothing is taken.
const DEPTH_MAX: usize = 512;
/// Bytes of one extended attribute that is taken along.
const XATTR_BYTES_MAX: usize = 4_096;
/// Bytes of all names of a file's extended attributes.
const XATTR_NAMES_BYTES_MAX: usize = 16_384;

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Names from the start of the walk down to it; empty for the start itself.
    pub(super) below: Vec<Vec<u8>>,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its metadata.
    pub(super) stamp: Stamp,
    /// What it is.
    pub(super) kind: FoundKind,
    /// Extended attributes `user.*`, by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundKind {
    /// A folder; what is in it follows.
    Folder,
    /// A regular file.
    File,
    /// A symlink and its target.
    Symlink(Vec<u8>),
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Bytes.
    pub(super) size: u64,
    /// Seconds since 1970 of the last change of content.
    pub(super) mtime_s: i64,
    /// Nanoseconds of it.
    pub(super) mtime_ns: u32,
    /// Seconds since 1970 of the last change of content or attributes, and nanoseconds of it.
    pub(super) changed: (i64, u32),
    /// Permission bits.
    pub(super) mode: u32,
    /// Which file it is on this machine.
    pub(super) inode: (u64, u64),
}

/// Something that is not taken along. Each names the path.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The file system refuses.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A device, socket or pipe.
    #[error("{} is a {kind}, which is not stored", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Folders nested too deeply.
    #[error("{} lies more than {DEPTH_MAX} folders deep", path.display())]
    TooDeep {
        /// The path.
        path: PathBuf,
    },
}

/// Walks a file or folder.
#[derive(Debug)]
pub(super) struct Walk {
    start: Option<PathBuf>,
    follow_start: bool,
    /// What is still to be visited in each open folder, last name first.
    open: Vec<OpenFolder>,
    below: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct OpenFolder {
    path: PathBuf,
    names: Vec<Vec<u8>>,
}

impl Walk {
    /// Walks `start`; where it is a symlink, `follow_start` says whether its target is meant.
    pub(super) fn new(start: PathBuf, follow_start: bool) -> Self {
        Self {
            start: Some(start),
            follow_start,
            open: Vec::new(),
            below: Vec::new(),
        }
    }

    fn visit(&mut self, path: PathBuf, follow: bool) -> Result<Found, WalkError> {
        let failed = |source| WalkError::Read {
            path: path.clone(),
            source,
        };
        let metadata = if follow {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let metadata = metadata.map_err(failed)?;
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => {
                if self.below.len() >= DEPTH_MAX {
                    return Err(WalkError::TooDeep { path });
                }
                let names = names_in(&path).map_err(failed)?;
                self.open.push(OpenFolder {
                    path: path.clone(),
                    names,
                });
                FoundKind::Folder
            }
            kind if kind.is_file() => FoundKind::File,
            kind if kind.is_symlink() => {
                let target = fs::read_link(&path).map_err(failed)?;
                FoundKind::Symlink(target.into_os_string().into_vec())
            }
            other => {
                return Err(WalkError::Special {
                    kind: special(other),
                    path,
                });
            }
        };
        let xattrs = if matches!(kind, FoundKind::Symlink(_)) {
            Vec::new()
        } else {
            xattrs(&path)
        };
        let (below, stamp) = (self.below.clone(), Stamp::of(&metadata));
        Ok(Found {
            below,
            path,
            stamp,
            kind,
            xattrs,
        })
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(start) = self.start.take() {
            return Some(self.visit(start, self.follow_start));
        }
        loop {
            let folder = self.open.last_mut()?;
            if let Some(name) = folder.names.pop() {
                let path = folder.path.join(OsStr::from_bytes(&name));
                // `below` names the folders above plus, for the moment, this one.
                self.below.truncate(self.open.len() - 1);
                self.below.push(name);
                return Some(self.visit(path, false));
            }
            self.open.pop();
        }
    }
}

impl Stamp {
    /// The stamp in `metadata`.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            mtime_s: metadata.mtime(),
            mtime_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            changed: (
                metadata.ctime(),
                u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
            ),
            mode: metadata.mode() & 0o7777,
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Opens a regular file for reading, and never anything else in its place.
///
/// # Errors
/// What the file system says; [`io::ErrorKind::InvalidInput`] where it is no regular file now.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, Stamp)> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((file, Stamp::of(&metadata)))
}

/// The names in a folder, greatest first, so that popping gives them in order.
fn names_in(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_vec()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Attributes `user.*`; those that cannot be read are left out, as other tools do.
fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = [0; XATTR_NAMES_BYTES_MAX];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Vec::new();
    };
    let names = names.get(..len).unwrap_or_default();
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."));
    let mut found = Vec::new();
    for name in names {
        let mut value = [0; XATTR_BYTES_MAX];
        if let Ok(len) = rustix::fs::lgetxattr(path, name, &mut value[..]) {
            found.push((name.to_vec(), value.get(..len).unwrap_or_default().to_vec()));
        }
    }
    found.sort_unstable();
    found
}

fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(found: &[Found]) -> Vec<String> {
        let join = |found: &Found| found.below.join(&b'/');
        found
            .iter()
            .map(|found| String::from_utf8_lossy(&join(found)).into_owned())
            .collect()
    }

    #[test]
    fn a_tree_is_walked_in_the_order_of_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let start = folder.path().join("top");
        fs::create_dir_all(start.join("b/inner")).unwrap();
        File::create(start.join("b/inner/z")).unwrap();
        File::create(start.join("b.txt")).unwrap();
        File::create(start.join("a")).unwrap();
        File::create(start.join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
        symlink("nowhere", start.join("link")).unwrap();

        let found: Vec<Found> = Walk::new(start, false).map(Result::unwrap).collect();

        let expected = [
            "",
            "a",
            "b",
            "b/inner",
            "b/inner/z",
            "b.txt",
            "link",
            "\u{fffd}\u{fffd}",
        ];
        assert_eq!(names(&found), expected);
        assert_eq!(found[6].kind, FoundKind::Symlink(b"nowhere".to_vec()));
        assert_eq!(found[7].below, [b"\xff\xfe".to_vec()]);
    }

    #[test]
    fn what_cannot_be_stored_is_named_and_the_rest_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(folder.path().join("a")).unwrap();
        File::create(folder.path().join("b")).unwrap();

        let found: Vec<_> = Walk::new(folder.path().to_owned(), false).collect();

        assert_eq!(found.len(), 3);
        assert!(matches!(
            &found[1],
            Err(WalkError::Special { kind: "socket", .. })
        ));
        assert_eq!(found[2].as_ref().unwrap().below, [b"b".to_vec()]);
        drop(socket);
    }

    #[test]
    fn only_the_start_may_be_a_symlink_that_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        File::create(folder.path().join("real/f")).unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        let link = folder.path().join("link");

        let followed: Vec<Found> = Walk::new(link.clone(), true).map(Result::unwrap).collect();
        let kept: Vec<Found> = Walk::new(link.clone(), false).map(Result::unwrap).collect();

        assert_eq!(names(&followed), ["", "f"]);
        assert_eq!(kept.len(), 1);
        assert!(open_regular(&link).is_err(), "a symlink is no regular file");
    }
}
