//! Scrub: every stored shard is read again now and then and compared with its id. What has rotted
//! is remembered by its place, never served again, and replaced when it is stored anew.
//!
//! How far the scrub has come and what it found lies in a file beside the logs, which may be lost:
//! then the next round finds it again.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use model::codec::{Reader, Writer};
use model::units::{ShardId, UnixMs};
use sha2::{Digest, Sha256};

use crate::disk;
use crate::durable;
use crate::index::Slot;
use crate::reader::{ReadError, ShardReader, VerifyError};
use crate::record::{Location, Salt, location};
use crate::store::Store;

/// Name of the file in the store's folder.
pub(crate) const FILE_NAME: &str = "scrub";
const MAGIC: [u8; 8] = *b"XCSB\x01\0\0\0";
const SUM_BYTES: usize = 32;
/// Most bad places that are remembered; a disk with more is not worth keeping.
const BAD_MAX: usize = 65_536;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The state is written after so many bytes checked; a crash costs checking them again.
const WRITE_EVERY_BYTES: u64 = 256 << 20;

/// How far the scrub of a store has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// When the round under way began; `None` before the first.
    pub started: Option<UnixMs>,
    /// Shards checked in it.
    pub shards: u64,
    /// Bytes checked in it.
    pub bytes: u64,
    /// When the last whole round ended.
    pub finished: Option<UnixMs>,
}

/// What one step of a scrub did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStep {
    /// Shards read.
    pub shards: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Shards found to have rotted.
    pub rotten: u64,
    /// Whether every shard has been read in this round.
    pub round_done: bool,
}

/// Where a store's scrub stands, and what it found.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    state: Mutex<State>,
    bad: RwLock<BTreeSet<Location>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    progress: ScrubProgress,
    /// The last slot checked.
    cursor: Option<Slot>,
    unwritten_bytes: u64,
}

impl Store {
    /// Reads shards again, about `bytes_max` bytes of them, from where the last step ended, and
    /// remembers those that have rotted. After the last shard the round is done, and the next
    /// step begins a new one. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] where the disk fails as a whole, and nothing can be said of the shards.
    pub fn scrub(&self, now: UnixMs, bytes_max: u64) -> Result<ScrubStep, ReadError> {
        let scrub = &self.shared.scrub;
        let mut cursor = {
            let mut state = scrub.state();
            state.progress.started.get_or_insert(now);
            state.cursor
        };
        let mut step = ScrubStep::default();
        while step.bytes < bytes_max {
            let Some(slot) = self.slot_after(cursor) else {
                step.round_done = true;
                break;
            };
            let (bytes, sound) = self.check(slot)?;
            cursor = Some(slot);
            step.shards += 1;
            step.bytes += bytes;
            step.rotten += u64::from(!sound);
        }
        self.advance(cursor, &step, now);
        Ok(step)
    }

    /// Reads the shard `id` again, out of turn, for whoever found that it does not hold. Blocks.
    ///
    /// # Errors
    /// As [`Store::scrub`].
    pub fn recheck(&self, id: &ShardId) -> Result<(), ReadError> {
        let slots = self.shared.index().slots_of(id);
        slots
            .into_iter()
            .try_for_each(|slot| self.check(slot).map(drop))
    }

    /// Begins a new round with the next step, whatever the last one has left.
    pub fn scrub_anew(&self) {
        let mut state = self.shared.scrub.state();
        state.cursor = None;
        state.progress = ScrubProgress {
            finished: state.progress.finished,
            ..ScrubProgress::default()
        };
    }

    /// How far the scrub has come.
    #[must_use]
    pub fn scrub_progress(&self) -> ScrubProgress {
        self.shared.scrub.state().progress
    }

    /// Shards that have rotted: their places, and their ids where those can still be told.
    #[must_use]
    pub fn bad(&self) -> Vec<(Location, Option<ShardId>)> {
        let places: Vec<Location> = self.shared.scrub.bad().iter().copied().collect();
        let id = |at| {
            let header = self.shared.header_at(at).ok().flatten();
            header.map(|header| header.shard)
        };
        places.into_iter().map(|at| (at, id(at))).collect()
    }

    /// How many shards have rotted.
    #[must_use]
    pub fn bad_shards(&self) -> u64 {
        self.shared.scrub.bad().len() as u64
    }

    fn slot_after(&self, cursor: Option<Slot>) -> Option<Slot> {
        let start = cursor.map_or(Unbounded, Excluded);
        let index = self.shared.index();
        index.shards.range((start, Unbounded)).next().copied()
    }

    /// Whether the shard of `slot` is what it was, and how many bytes were read to see that.
    fn check(&self, slot: Slot) -> Result<(u64, bool), ReadError> {
        let checked = self.read_again(slot);
        let still_here = || self.shared.index().shards.contains(&slot);
        match checked {
            Ok(bytes) => Ok((bytes, true)),
            // A deleted shard may read as anything.
            Err(_) if !still_here() => Ok((0, true)),
            Err(Unsound::Disk(error)) if !self.is_there() => Err(error),
            Err(unsound) => {
                self.mark_bad(slot.at, &unsound.to_string());
                Ok((unsound.bytes(), false))
            }
        }
    }

    fn read_again(&self, slot: Slot) -> Result<u64, Unsound> {
        let header = self.shared.header_at(slot.at)?.ok_or(Unsound::Header)?;
        let file = self
            .shared
            .files
            .get(slot.at.log)
            .map_err(ReadError::from)?;
        match ShardReader::new(file, slot.at, &header).read_verified() {
            Ok(bytes) => Ok(bytes.len() as u64),
            Err(VerifyError::Read { source, .. }) => Err(Unsound::Disk(source)),
            Err(VerifyError::Rotten { .. }) => Err(Unsound::Rotten {
                shard_bytes: header.shard_bytes,
            }),
        }
    }

    /// Remembers that the shard at `at` has rotted.
    pub(crate) fn mark_bad(&self, at: Location, reason: &str) {
        let new = {
            let mut bad = self.shared.scrub.bad_mut();
            bad.len() < BAD_MAX && bad.insert(at)
        };
        if new {
            let folder = self.shared.folder.display();
            tracing::error!(%folder, log = at.log, offset = at.offset, reason, "shard has rotted");
            self.shared.write_scrub();
        }
    }

    fn advance(&self, cursor: Option<Slot>, step: &ScrubStep, now: UnixMs) {
        let write = {
            let mut state = self.shared.scrub.state();
            state.cursor = cursor;
            state.progress.shards += step.shards;
            state.progress.bytes += step.bytes;
            state.unwritten_bytes += step.bytes;
            if step.round_done {
                state.cursor = None;
                state.progress = ScrubProgress {
                    finished: Some(now),
                    ..ScrubProgress::default()
                };
            }
            step.round_done || state.unwritten_bytes >= WRITE_EVERY_BYTES
        };
        if write {
            self.shared.write_scrub();
        }
    }
}

/// Why a stored shard is none any more.
#[derive(Debug, thiserror::Error)]
enum Unsound {
    #[error("its header does not hold")]
    Header,
    #[error("its bytes do not match its id")]
    Rotten { shard_bytes: u32 },
    #[error("the disk does not read it")]
    Disk(#[from] ReadError),
}

impl Unsound {
    fn bytes(&self) -> u64 {
        match self {
            Self::Rotten { shard_bytes } => u64::from(*shard_bytes),
            Self::Header | Self::Disk(_) => 0,
        }
    }
}

impl Scrub {
    /// What the file in `folder` says; nothing where it does not hold.
    pub(crate) fn read(folder: &Path, salt: &Salt) -> Self {
        let path = folder.join(FILE_NAME);
        let bytes = disk::read(&path, FILE_BYTES_MAX).ok();
        let Some((state, bad)) = bytes.and_then(|bytes| decode(&bytes, salt)) else {
            return Self::default();
        };
        Self {
            state: Mutex::new(state),
            bad: RwLock::new(bad),
        }
    }

    /// Writes the file, with those bad places that still hold a shard.
    pub(crate) fn write(
        &self,
        folder: &Path,
        salt: &Salt,
        bad: &BTreeSet<Location>,
    ) -> io::Result<()> {
        let state = {
            let mut state = self.state();
            state.unwritten_bytes = 0;
            *state
        };
        durable::replace(&folder.join(FILE_NAME), &encode(&state, bad, salt))
    }

    pub(crate) fn is_bad(&self, at: Location) -> bool {
        self.bad().contains(&at)
    }

    /// The bytes at `at` are nobody's any more.
    pub(crate) fn forget(&self, at: Location) {
        if self.is_bad(at) {
            self.bad_mut().remove(&at);
        }
    }

    /// Whether a bad shard lies in `log`.
    pub(crate) fn is_bad_log(&self, log: u32) -> bool {
        self.bad().iter().any(|at| at.log == log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places of shards that have rotted.
    pub(crate) fn bad(&self) -> std::sync::RwLockReadGuard<'_, BTreeSet<Location>> {
        self.bad.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bad_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeSet<Location>> {
        self.bad.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(state: &State, bad: &BTreeSet<Location>, salt: &Salt) -> Vec<u8> {
    let cursor = state.cursor.unwrap_or(Slot {
        hash: 0,
        at: Location { log: 0, offset: 0 },
    });
    let ms = |moment: Option<UnixMs>| moment.map_or(0, |moment| moment.0);
    let progress = &state.progress;
    let mut out = Writer::with_capacity(128 + 8 * bad.len());
    out.bytes(&MAGIC).bytes(salt);
    out.u64(ms(progress.started)).u64(progress.shards);
    out.u64(progress.bytes).u64(ms(progress.finished));
    out.u64(cursor.hash)
        .u32(cursor.at.log)
        .u32(cursor.at.offset);
    out.u64(bad.len() as u64);
    for at in bad {
        out.u32(at.log).u32(at.offset);
    }
    let mut bytes = out.finish();
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8], salt: &Salt) -> Option<(State, BTreeSet<Location>)> {
    let (checked, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
    if Sha256::digest(checked).as_slice() != sum {
        return None;
    }
    let mut input = Reader::new(checked);
    let (magic, of): ([u8; 8], Salt) = (input.array("magic").ok()?, input.array("salt").ok()?);
    if magic != MAGIC || of != *salt {
        return None;
    }
    let mut number = || input.u64("number").ok();
    let (started, shards, read, finished) = (number()?, number()?, number()?, number()?);
    let hash = number()?;
    let at = location(&mut input)?;
    let count = input.u64("count").ok()?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= BAD_MAX)?;
    let mut bad = BTreeSet::new();
    for _ in 0..count {
        bad.insert(location(&mut input)?);
    }
    let moment = |ms: u64| (ms != 0).then_some(UnixMs(ms));
    let state = State {
        progress: ScrubProgress {
            started: moment(started),
            shards,
            bytes: read,
            finished: moment(finished),
        },
        cursor: (at.log != 0).then_some(Slot { hash, at }),
        unwritten_bytes: 0,
    };
    Some((state, bad))
}

/// What the fuzzer calls: what was read is written.
#[cfg(feature = "decoders")]
pub(crate) fn read_and_write(bytes: &[u8], salt: &Salt) -> bool {
    let Some((state, bad)) = decode(bytes, salt) else {
        return false;
    };
    let again = decode(&encode(&state, &bad, salt), salt);
    let same = again.is_some_and(|(again, places)| {
        (again.progress, again.cursor, places) == (state.progress, state.cursor, bad)
    });
    assert!(same, "another state after writing");
    true
}

/// The file of a scrub under way.
#[cfg(feature = "decoders")]
pub(crate) fn example(salt: &Salt) -> Vec<u8> {
    let at = Location { log: 3, offset: 64 };
    let state = State {
        cursor: Some(Slot { hash: 8, at }),
        ..State::default()
    };
    encode(&state, &BTreeSet::from([at]), salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_and_a_bent_file_is_not_believed() {
        let at = Location { log: 3, offset: 64 };
        let state = State {
            progress: ScrubProgress {
                started: Some(UnixMs(5)),
                shards: 6,
                bytes: 7,
                finished: None,
            },
            cursor: Some(Slot { hash: 8, at }),
            unwritten_bytes: 0,
        };
        let good = encode(&state, &BTreeSet::from([at]), &[1; 16]);

        let (read, bad) = decode(&good, &[1; 16]).unwrap();
        assert_eq!((read.progress, read.cursor), (state.progress, state.cursor));
        assert_eq!(bad, BTreeSet::from([at]));
        assert!(decode(&good, &[2; 16]).is_none());
        for byte in 0..good.len() {
            let mut bent = good.clone();
            bent[byte] ^= 1;
            assert!(decode(&bent, &[1; 16]).is_none(), "byte {byte} bent");
            assert!(decode(&good[..byte], &[1; 16]).is_none(), "cut at {byte}");
        }
    }
}
