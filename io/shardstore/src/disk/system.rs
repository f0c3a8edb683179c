//! What the operating system says of names and space.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Capacity, Entry};

/// Bytes of what file systems count files in.
const COUNTED_BYTES: u64 = 512;

pub(super) fn entry(path: &Path) -> io::Result<Entry> {
    let found = std::fs::metadata(path)?;
    Ok(Entry {
        bytes: found.len(),
        allocated_bytes: found.blocks() * COUNTED_BYTES,
        is_folder: found.is_dir(),
    })
}

pub(super) fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let names = std::fs::read_dir(folder)?;
    names.map(|entry| Ok(entry?.file_name())).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever calls this syncs file and folder around it"
)]
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

pub(super) fn capacity(folder: &Path) -> io::Result<Capacity> {
    let figures = rustix::fs::statvfs(folder)?;
    Ok(Capacity {
        total_bytes: figures.f_blocks * figures.f_frsize,
        available_bytes: figures.f_bavail * figures.f_frsize,
    })
}
