//! Where shards lie in a Host's logs (`docs/spec/shardstore.md`), to bend them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::stage::Stage;

const LOG_HEADER_BYTES: u64 = 64;
const RECORD_HEADER_BYTES: usize = 192;
const RECORD_ALIGN: u64 = 64;
const KIND_PUT: u8 = 1;

/// A shard's bytes in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) log: PathBuf,
    /// Where its bytes begin.
    pub(crate) at: u64,
    pub(crate) bytes: u64,
    /// The shard's id.
    pub(crate) id: [u8; 32],
}

impl Stored {
    /// Flips every bit of the byte `offset` bytes into the shard; twice is as before.
    pub(crate) fn flip(&self, offset: u64) {
        flip(&self.log, self.at + offset);
    }

    /// Where its record's header begins.
    pub(crate) const fn header_at(&self) -> u64 {
        self.at - RECORD_HEADER_BYTES as u64
    }

    /// The shard's first bytes as they are on the disk now.
    pub(crate) fn beginning(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let log = File::open(&self.log).unwrap();
        log.read_exact_at(&mut bytes, self.at).unwrap();
        bytes
    }
}

/// All shards of Host `number`, in the order of their logs.
pub(crate) fn shards(stage: &Stage, number: usize) -> Vec<Stored> {
    let logs = stage.log_files(number);
    logs.iter().flat_map(|log| shards_in(log)).collect()
}

/// Flips all bits of one byte of a file.
pub(crate) fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// Bends every shard of Host `number` in many places. Returns how many shards.
pub(crate) fn bend(stage: &Stage, number: usize) -> usize {
    let shards = shards(stage, number);
    for shard in &shards {
        (0..shard.bytes)
            .step_by(10_007)
            .for_each(|offset| shard.flip(offset));
    }
    shards.len()
}

fn shards_in(log: &Path) -> Vec<Stored> {
    let file = File::open(log).unwrap();
    let mut found = Vec::new();
    let mut at = LOG_HEADER_BYTES;
    let mut header = [0; RECORD_HEADER_BYTES];
    while file.read_exact_at(&mut header, at).is_ok() && header.starts_with(b"XCSR") {
        let bytes = u32::from_le_bytes(header[8..12].try_into().unwrap()).into();
        let body = at + RECORD_HEADER_BYTES as u64;
        if header[5] == KIND_PUT {
            found.push(Stored {
                log: log.to_owned(),
                at: body,
                bytes,
                id: header[64..96].try_into().unwrap(),
            });
        }
        at = (body + bytes).next_multiple_of(RECORD_ALIGN);
    }
    found
}
