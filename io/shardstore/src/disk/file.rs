//! An open file, and a lock, wherever they are.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::Open;
use super::simulated::{DiskFile, DiskLock, simulated};
use crate::durable::MODE_PRIVATE;

/// An open file, read and written at places.
#[derive(Debug)]
pub struct File(Place);

/// Where it is.
#[derive(Debug)]
enum Place {
    System(std::fs::File),
    Simulated(Box<dyn DiskFile>),
}

impl File {
    /// Opens `path`; one that is made is for its owner's eyes only.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn open(path: &Path, how: Open) -> io::Result<Self> {
        match simulated() {
            Some(disk) => disk
                .open(path, how)
                .map(|file| Self(Place::Simulated(file))),
            None => options(how)
                .open(path)
                .map(|file| Self(Place::System(file))),
        }
    }

    /// How long it is.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn bytes(&self) -> io::Result<u64> {
        match &self.0 {
            Place::System(file) => Ok(file.metadata()?.len()),
            Place::Simulated(file) => file.len(),
        }
    }

    pub(crate) fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => file.read_exact_at(out, offset),
            Place::Simulated(file) if file.read_at(out, offset)? == out.len() => Ok(()),
            Place::Simulated(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Bytes read without waiting; `None` where the system cannot say, or something is amiss.
    pub(crate) fn read_cached(&self, out: &mut [u8], offset: u64) -> Option<usize> {
        match &self.0 {
            Place::System(file) => cached(file, offset, out),
            // Half of what is asked for is in the cache.
            Place::Simulated(file) if (offset / 4_096).is_multiple_of(2) => {
                file.read_at(out, offset).ok()
            }
            Place::Simulated(_) => None,
        }
    }

    /// Writes all `bytes` from `offset` on.
    ///
    /// # Errors
    /// Whatever the file system answers; some of it may be written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => file.write_all_at(bytes, offset),
            Place::Simulated(file) => file.write_all_at(bytes, offset),
        }
    }

    /// Cuts it off, or makes it longer with zeros.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => file.set_len(bytes),
            Place::Simulated(file) => file.set_len(bytes),
        }
    }

    /// Makes content and length durable.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn sync_data(&self) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => file.sync_data(),
            Place::Simulated(file) => file.sync(),
        }
    }

    /// Makes everything durable that is said of the file.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => file.sync_all(),
            Place::Simulated(file) => file.sync(),
        }
    }

    /// Blanks `bytes` from `offset` on and gives whole blocks back to the file system.
    pub(crate) fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        match &self.0 {
            Place::System(file) => {
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(rustix::fs::fallocate(file, mode, offset, bytes)?)
            }
            Place::Simulated(file) => file.punch(offset, bytes),
        }
    }

    /// Reads or writes from the start on.
    pub(crate) const fn sequential(self) -> Sequential {
        Sequential { file: self, at: 0 }
    }
}

fn options(how: Open) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(how != Open::Read)
        .create(matches!(how, Open::Create | Open::Truncate))
        .truncate(how == Open::Truncate)
        .mode(MODE_PRIVATE);
    options
}

#[cfg(target_os = "linux")]
fn cached(file: &std::fs::File, offset: u64, out: &mut [u8]) -> Option<usize> {
    let mut slices = [io::IoSliceMut::new(out)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file, &mut slices, offset, flags).ok()
}

/// Elsewhere nobody can tell.
#[cfg(not(target_os = "linux"))]
const fn cached(_file: &std::fs::File, _offset: u64, _out: &mut [u8]) -> Option<usize> {
    None
}

/// A file that is read or written from its start on.
#[derive(Debug)]
pub(crate) struct Sequential {
    file: File,
    at: u64,
}

impl Sequential {
    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

impl Read for Sequential {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match &self.file.0 {
            Place::System(file) => file.read_at(out, self.at),
            Place::Simulated(file) => file.read_at(out, self.at),
        }?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that this process alone has locked, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Held,
}

enum Held {
    System { _file: std::fs::File },
    Simulated { _lock: DiskLock },
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System { .. } => "System",
            Self::Simulated { .. } => "Simulated",
        })
    }
}

impl Lock {
    /// Locks the file at `path`, made where there is none; `None` where another process has it.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let held = match simulated() {
            Some(disk) => disk.lock(path)?.map(|lock| Held::Simulated { _lock: lock }),
            None => {
                let file = options(Open::Create).read(false).open(path)?;
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => Some(Held::System { _file: file }),
                    Err(rustix::io::Errno::WOULDBLOCK) => None,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        Ok(held.map(|held| Self { _held: held }))
    }
}
