//! Where shards lie in a Host's logs (`docs/spec/shardstore.md`), to damage them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const LOG_HEADER_BYTES: u64 = 64;
const RECORD_HEADER_BYTES: usize = 192;
const RECORD_ALIGN: u64 = 64;
const RECORD_MAGIC: &[u8] = b"XCSR";
const KIND_AT: usize = 5;
const KIND_PUT: u8 = 1;
const LENGTH_AT: usize = 8;
const ID_AT: usize = 64;

/// A shard's bytes in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The log.
    pub log: PathBuf,
    /// Where its bytes begin.
    pub at: u64,
    /// How many they are.
    pub bytes: u64,
    /// The shard's id.
    pub id: [u8; 32],
}

impl Stored {
    /// Flips every bit of the byte `offset` bytes into the shard; twice is as before.
    ///
    /// # Errors
    /// When the log cannot be changed.
    pub fn flip(&self, offset: u64) -> io::Result<()> {
        flip(&self.log, self.at + offset)
    }

    /// Flips one byte in every `step`.
    ///
    /// # Errors
    /// When the log cannot be changed.
    pub fn bend(&self, step: usize) -> io::Result<()> {
        let mut offsets = (0..self.bytes).step_by(step);
        offsets.try_for_each(|offset| self.flip(offset))
    }

    /// Where its record's header begins.
    #[must_use]
    pub const fn header_at(&self) -> u64 {
        self.at - RECORD_HEADER_BYTES as u64
    }
}

/// The log files of the Host whose data is in the folder `data`, in order.
///
/// # Errors
/// When the folder cannot be read; one that is not there has none.
pub fn log_files(data: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(data.join("store/logs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut logs = paths.collect::<io::Result<Vec<_>>>()?;
    logs.sort();
    Ok(logs)
}

/// All shards of the Host whose data is in the folder `data`, in the order of their logs.
///
/// # Errors
/// When a log cannot be read.
pub fn stored_shards(data: &Path) -> io::Result<Vec<Stored>> {
    let mut found = Vec::new();
    for log in log_files(data)? {
        read_log(&log, &mut found)?;
    }
    Ok(found)
}

/// Flips all bits of one byte of a file.
///
/// # Errors
/// When it cannot be read or written.
pub fn flip(path: &Path, at: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&byte.map(|it| !it), at)
}

fn read_log(log: &Path, found: &mut Vec<Stored>) -> io::Result<()> {
    let file = File::open(log)?;
    let mut at = LOG_HEADER_BYTES;
    let mut header = [0; RECORD_HEADER_BYTES];
    while file.read_exact_at(&mut header, at).is_ok() && header.starts_with(RECORD_MAGIC) {
        let length = header.get(LENGTH_AT..).and_then(|rest| rest.first_chunk());
        let bytes = u64::from(length.copied().map_or(0, u32::from_le_bytes));
        let body = at + RECORD_HEADER_BYTES as u64;
        let id = header.get(ID_AT..).and_then(|rest| rest.first_chunk());
        if header.get(KIND_AT) == Some(&KIND_PUT)
            && let Some(id) = id
        {
            found.push(Stored {
                log: log.to_owned(),
                at: body,
                bytes,
                id: *id,
            });
        }
        at = (body + bytes).next_multiple_of(RECORD_ALIGN);
    }
    Ok(())
}
