//! Writes what was downloaded below one local folder.
//!
//! A file appears whole or not at all: it is written under a temporary name beside its place and
//! renamed when it is complete. No symlink below the start is ever followed, so nothing that an
//! archive of names contains can lead out of the folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::crypto::sha256;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, XattrFlags, fchmod,
    fsetxattr, fstat, futimens, mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use crate::transfer::FailureKind;

/// Folders kept open.
const OPEN_FOLDERS_MAX: usize = 64;
const NEW_FOLDER_MODE: Mode = Mode::RWXU;
const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A local folder that is being filled.
#[derive(Debug)]
pub(super) struct Target {
    start: Arc<OwnedFd>,
    path: PathBuf,
    open: Mutex<BTreeMap<Vec<Vec<u8>>, Arc<OwnedFd>>>,
}

/// What a file, folder or symlink is given once its content is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Permission bits.
    pub(super) mode: u32,
    /// Seconds since 1970 of the last change.
    pub(super) mtime_s: i64,
    /// Nanoseconds of it.
    pub(super) mtime_ns: u32,
    /// Extended attributes `user.*`.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A file that has no name yet but a temporary one; dropping it removes it, unless it is kept.
#[derive(Debug)]
pub(super) struct PartFile {
    parent: Arc<OwnedFd>,
    part: Vec<u8>,
    name: Vec<u8>,
    path: PathBuf,
    file: File,
    complete: bool,
    /// What was written stays when it is dropped, for the next run to go on with.
    is_kept: bool,
}

/// Something that could not be written. Each names the path.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file system refuses.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A folder stands where a file belongs.
    #[error("{} is a folder here and a file there; move one of them away", path.display())]
    FolderThere {
        /// The path.
        path: PathBuf,
    },
    /// Something else stands where a folder belongs.
    #[error("{} is no folder here but one there; move one of them away", path.display())]
    NoFolderThere {
        /// The path.
        path: PathBuf,
    },
    /// Another run writes the same file now.
    #[error("{} is being written by another run", path.display())]
    Busy {
        /// The path.
        path: PathBuf,
    },
}

impl TargetError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                FailureKind::Quota
            }
            Self::Write { .. } | Self::Busy { .. } => FailureKind::Local,
            Self::FolderThere { .. } | Self::NoFolderThere { .. } => FailureKind::Conflict,
        }
    }
}

impl Target {
    /// Fills the folder `path`, which exists.
    ///
    /// # Errors
    /// [`TargetError::Write`] where it cannot be opened.
    pub(super) fn open(path: PathBuf) -> Result<Self, TargetError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(start) => Ok(Self {
                start: Arc::new(start),
                path,
                open: Mutex::new(BTreeMap::new()),
            }),
            Err(errno) => Err(TargetError::Write {
                path,
                source: errno.into(),
            }),
        }
    }

    /// The local path of `below`.
    pub(super) fn path_of(&self, below: &[Vec<u8>]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        let mut path = self.path.clone();
        path.extend(below.iter().map(|name| std::ffi::OsStr::from_bytes(name)));
        path
    }

    /// Whether the file `below` is there with this size, time and mode.
    pub(super) fn is_same(&self, below: &[Vec<u8>], size: u64, attributes: &Attributes) -> bool {
        let Some((name, parents)) = below.split_last() else {
            return false;
        };
        let Ok(parent) = self.folder(parents) else {
            return false;
        };
        statat(&*parent, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && u64::try_from(stat.st_size) == Ok(size)
                && stat.st_mode & 0o7777 == attributes.mode
                && stat.st_mtime == attributes.mtime_s
                && stat.st_mtime_nsec == u64::from(attributes.mtime_ns)
        })
    }

    /// Whether the symlink `below` is there and points to `to`.
    pub(super) fn is_same_symlink(&self, below: &[Vec<u8>], to: &[u8]) -> bool {
        let Some((name, parents)) = below.split_last() else {
            return false;
        };
        let Ok(parent) = self.folder(parents) else {
            return false;
        };
        readlinkat(&*parent, name.as_slice(), Vec::new()).is_ok_and(|there| there.to_bytes() == to)
    }

    /// Makes the folder `below` unless it is there; its parent must be.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(super) fn make_folder(&self, below: &[Vec<u8>]) -> Result<(), TargetError> {
        let Some((name, parents)) = below.split_last() else {
            return Ok(());
        };
        let parent = self.folder(parents)?;
        match mkdirat(&*parent, name.as_slice(), NEW_FOLDER_MODE) {
            Ok(()) => Ok(()),
            // Opening it tells a folder from anything else.
            Err(Errno::EXIST) => self.folder(below).map(drop),
            Err(errno) => Err(self.failed(below, errno)),
        }
    }

    /// Starts the file `below`, whose folder must be there, from nothing.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(super) fn create(&self, below: &[Vec<u8>]) -> Result<PartFile, TargetError> {
        let part = self.resume(below)?;
        part.set_length(0)?;
        Ok(part)
    }

    /// Starts the file `below` with whatever an earlier run left of it.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(super) fn resume(&self, below: &[Vec<u8>]) -> Result<PartFile, TargetError> {
        let (name, parents) = below.split_last().ok_or_else(|| self.folder_there(below))?;
        let parent = self.folder(parents)?;
        if is_folder(&parent, name) {
            return Err(self.folder_there(below));
        }
        let part = part_name(name);
        let file = self.lock_part(&parent, &part, below)?;
        let (name, path) = (name.clone(), self.path_of(below));
        Ok(PartFile {
            parent,
            part,
            name,
            path,
            file,
            complete: false,
            is_kept: false,
        })
    }

    /// Makes the symlink `below`, in place of a file or symlink that is there.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(super) fn symlink(
        &self,
        below: &[Vec<u8>],
        to: &[u8],
        attributes: &Attributes,
    ) -> Result<(), TargetError> {
        let (name, parents) = below.split_last().ok_or_else(|| self.folder_there(below))?;
        let parent = self.folder(parents)?;
        if is_folder(&parent, name) {
            return Err(self.folder_there(below));
        }
        let part = part_name(name);
        let made = match symlinkat(to, &*parent, part.as_slice()) {
            Err(Errno::EXIST) => unlinkat(&*parent, part.as_slice(), AtFlags::empty())
                .and_then(|()| symlinkat(to, &*parent, part.as_slice())),
            other => other,
        };
        let times = times(attributes);
        let placed = made
            .and_then(|()| utimensat(&*parent, part.as_slice(), &times, AtFlags::SYMLINK_NOFOLLOW))
            .and_then(|()| renameat(&*parent, part.as_slice(), &*parent, name.as_slice()));
        placed.map_err(|errno| self.failed(below, errno))
    }

    /// Gives the folder `below` its attributes, once nothing more is written into it.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(super) fn finish_folder(
        &self,
        below: &[Vec<u8>],
        attributes: &Attributes,
    ) -> Result<(), TargetError> {
        let folder = self.folder(below)?;
        self.forget(below);
        apply(folder.as_fd(), attributes).map_err(|errno| self.failed(below, errno))
    }

    /// Opens the folder `below`, from the start down, following nothing.
    fn folder(&self, below: &[Vec<u8>]) -> Result<Arc<OwnedFd>, TargetError> {
        if below.is_empty() {
            return Ok(Arc::clone(&self.start));
        }
        if let Some(found) = self.opened().get(below) {
            return Ok(Arc::clone(found));
        }
        let mut folder = Arc::clone(&self.start);
        for (depth, name) in below.iter().enumerate() {
            let opened = openat(&*folder, name.as_slice(), FOLDER_FLAGS, Mode::empty());
            let so_far = below.get(..=depth).unwrap_or(below);
            folder = Arc::new(opened.map_err(|errno| match errno {
                Errno::NOTDIR | Errno::LOOP => TargetError::NoFolderThere {
                    path: self.path_of(so_far),
                },
                errno => self.failed(so_far, errno),
            })?);
        }
        let mut open = self.opened();
        if open.len() >= OPEN_FOLDERS_MAX {
            open.clear();
        }
        open.insert(below.to_vec(), Arc::clone(&folder));
        Ok(folder)
    }

    fn forget(&self, below: &[Vec<u8>]) {
        self.opened().remove(below);
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<Vec<u8>>, Arc<OwnedFd>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the temporary file and locks it. A run that was killed leaves one behind, which
    /// the next run takes over; one that is running holds its lock.
    fn lock_part(
        &self,
        parent: &OwnedFd,
        part: &[u8],
        below: &[Vec<u8>],
    ) -> Result<File, TargetError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let opened = openat(parent, part, flags, Mode::RUSR | Mode::WUSR);
            let file = opened.map_err(|errno| self.failed(below, errno))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(TargetError::Busy {
                        path: self.path_of(below),
                    });
                }
                Err(errno) => return Err(self.failed(below, errno)),
            }
            if is_named(parent, part, &file) {
                return Ok(File::from(file));
            }
        }
    }

    fn failed(&self, below: &[Vec<u8>], errno: Errno) -> TargetError {
        TargetError::Write {
            path: self.path_of(below),
            source: errno.into(),
        }
    }

    fn folder_there(&self, below: &[Vec<u8>]) -> TargetError {
        TargetError::FolderThere {
            path: self.path_of(below),
        }
    }
}

impl PartFile {
    /// Writes the whole content.
    ///
    /// # Errors
    /// [`TargetError::Write`].
    pub(super) fn write_all(&self, bytes: &[u8]) -> Result<(), TargetError> {
        self.write_at(bytes, 0)
    }

    /// Has what was written stay when this is dropped before the file is complete.
    pub(super) const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// How many bytes it has; 0 where nobody can say.
    pub(super) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Reads what lies at `offset`.
    ///
    /// # Errors
    /// What the file system says, also where the file ends before.
    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// [`TargetError::Write`].
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), TargetError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|source| TargetError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Ends the file at `length`, also where nothing was written that far.
    ///
    /// # Errors
    /// [`TargetError::Write`].
    pub(super) fn set_length(&self, length: u64) -> Result<(), TargetError> {
        let set = self.file.set_len(length);
        set.map_err(|source| TargetError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// The error for a file that somebody still writes.
    pub(super) fn busy(&self) -> TargetError {
        TargetError::Busy {
            path: self.path.clone(),
        }
    }

    /// Gives the file its attributes and its name.
    ///
    /// # Errors
    /// [`TargetError`]; the temporary file is gone then.
    pub(super) fn finish(mut self, attributes: &Attributes) -> Result<(), TargetError> {
        let placed = apply(self.file.as_fd(), attributes).and_then(|()| {
            renameat(
                &*self.parent,
                self.part.as_slice(),
                &*self.parent,
                self.name.as_slice(),
            )
        });
        self.complete = placed.is_ok();
        let path = self.path.clone();
        placed.map_err(|errno| match errno {
            Errno::ISDIR => TargetError::FolderThere { path },
            errno => TargetError::Write {
                path,
                source: errno.into(),
            },
        })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let stays = self.is_kept && self.length() > 0;
        if !self.complete
            && !stays
            && let Err(error) = unlinkat(&*self.parent, self.part.as_slice(), AtFlags::empty())
        {
            tracing::debug!(%error, "temporary file not removed");
        }
    }
}

/// A name that no stored file has by chance and that fits wherever `name` does.
fn part_name(name: &[u8]) -> Vec<u8> {
    let hash = sha256(name);
    let (short, _) = hash.split_at(8);
    let hex: String = short.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(".xcloud-{hex}.part").into_bytes()
}

fn is_folder(parent: &OwnedFd, name: &[u8]) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Whether `part` still names the open file.
fn is_named(parent: &OwnedFd, part: &[u8], file: &OwnedFd) -> bool {
    let named = statat(parent, part, AtFlags::SYMLINK_NOFOLLOW);
    match (named, fstat(file)) {
        (Ok(named), Ok(open)) => (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

fn apply(file: BorrowedFd<'_>, attributes: &Attributes) -> Result<(), Errno> {
    for (name, value) in &attributes.xattrs {
        // Many file systems keep none; a file without them is better than no file.
        if let Err(error) = fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            tracing::debug!(%error, "extended attribute not kept");
        }
    }
    fchmod(file, Mode::from_raw_mode(attributes.mode & 0o7777))?;
    futimens(file, &times(attributes))
}

fn times(attributes: &Attributes) -> Timestamps {
    let modified = Timespec {
        tv_sec: attributes.mtime_s,
        tv_nsec: attributes.mtime_ns.min(999_999_999).into(),
    };
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use shardstore::durable::replace;

    use super::*;

    fn attributes() -> Attributes {
        Attributes {
            mode: 0o640,
            mtime_s: 1_000_000_007,
            mtime_ns: 123_456_789,
            xattrs: vec![],
        }
    }

    fn below(path: &str) -> Vec<Vec<u8>> {
        path.split('/')
            .map(|name| name.as_bytes().to_vec())
            .collect()
    }

    fn target() -> (tempfile::TempDir, Target) {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(folder.path().to_owned()).unwrap();
        (folder, target)
    }

    fn count(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn a_file_appears_whole_with_its_attributes() {
        let (folder, target) = target();
        let path = folder.path().join("f");
        let part = target.create(&below("f")).unwrap();
        part.write_all(b"content").unwrap();
        assert!(!path.exists());

        part.finish(&attributes()).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"content");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (1_000_000_007, 123_456_789)
        );
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!(count(&folder), 1);
    }

    #[test]
    fn what_is_given_up_leaves_the_old_file_and_nothing_else() {
        let (folder, target) = target();
        replace(&folder.path().join("f"), b"old").unwrap();
        let part = target.create(&below("f")).unwrap();
        part.write_all(b"ne").unwrap();
        drop(part);
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"old");
        assert_eq!(count(&folder), 1);
    }

    #[test]
    fn a_part_of_a_killed_run_is_taken_over_and_a_running_one_is_not() {
        let (folder, target) = target();
        let left = folder
            .path()
            .join(String::from_utf8(part_name(b"f")).unwrap());
        replace(&left, b"left behind and longer").unwrap();

        let part = target.create(&below("f")).unwrap();
        let second = target.create(&below("f")).unwrap_err();
        part.write_all(b"new").unwrap();
        part.finish(&attributes()).unwrap();

        assert!(matches!(second, TargetError::Busy { .. }));
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"new");
        assert_eq!(count(&folder), 1);
    }

    #[test]
    fn symlinks_are_made_and_never_followed() {
        let (folder, target) = target();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("door")).unwrap();

        let through = target.create(&below("door/f")).unwrap_err();
        let as_folder = target.make_folder(&below("door")).unwrap_err();
        target
            .symlink(&below("door"), b"elsewhere", &attributes())
            .unwrap();

        assert!(matches!(through, TargetError::NoFolderThere { .. }));
        assert!(matches!(as_folder, TargetError::NoFolderThere { .. }));
        assert_eq!(
            fs::read_link(folder.path().join("door")).unwrap().to_str(),
            Some("elsewhere")
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_and_folders_do_not_replace_each_other() {
        let (folder, target) = target();
        target.make_folder(&below("d")).unwrap();
        replace(&folder.path().join("f"), b"").unwrap();

        assert!(matches!(
            target.create(&below("d")),
            Err(TargetError::FolderThere { .. })
        ));
        assert!(matches!(
            target.symlink(&below("d"), b"x", &attributes()),
            Err(TargetError::FolderThere { .. })
        ));
        assert!(matches!(
            target.make_folder(&below("f")),
            Err(TargetError::NoFolderThere { .. })
        ));
    }

    #[test]
    fn a_folder_gets_its_time_after_its_contents() {
        let (folder, target) = target();
        target.make_folder(&below("d")).unwrap();
        target
            .create(&below("d/f"))
            .unwrap()
            .finish(&attributes())
            .unwrap();
        target
            .finish_folder(
                &below("d"),
                &Attributes {
                    mode: 0o755,
                    ..attributes()
                },
            )
            .unwrap();
        let metadata = fs::metadata(folder.path().join("d")).unwrap();
        assert_eq!(
            (metadata.mtime(), metadata.mode() & 0o7777),
            (1_000_000_007, 0o755)
        );
    }
}
