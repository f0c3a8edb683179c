//! Files: blocks as they are now and as they are on the platter, and a file that is open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use planet::Dice;
use shardstore::disk::DiskFile;

use super::Disks;
use super::names::Number;

pub(super) const BLOCK_BYTES: u64 = 4_096;
const BLOCK: usize = 4_096;
/// What a disk writes at once; a block that was being written may be half of each.
const SECTOR: usize = 512;

type Block = Arc<[u8; BLOCK]>;

/// The content of a file. A block that is not there is a hole.
#[derive(Clone, Debug, Default)]
struct Content {
    blocks: BTreeMap<u64, Block>,
    bytes: u64,
}

/// A file as it is now, and as it is without power.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    now: Content,
    durable: Content,
    /// Blocks that changed since the last sync.
    dirty: BTreeSet<u64>,
}

impl FileState {
    pub(super) const fn bytes(&self) -> u64 {
        self.now.bytes
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.now.blocks.len() as u64 * BLOCK_BYTES
    }

    /// Blocks that writing there would newly take.
    pub(super) fn wants(&self, bytes: usize, offset: u64) -> u64 {
        let blocks = blocks(offset, bytes as u64);
        blocks
            .filter(|block| !self.now.blocks.contains_key(block))
            .count() as u64
    }

    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> usize {
        let left = self.now.bytes.saturating_sub(offset);
        let length = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(out) = out.get_mut(..length) else {
            return 0;
        };
        for (block, within, place) in pieces(offset, length) {
            let Some(target) = out.get_mut(place) else {
                continue;
            };
            match self.now.blocks.get(&block) {
                Some(bytes) => target.copy_from_slice(&bytes[within]),
                None => target.fill(0),
            }
        }
        length
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (block, within, place) in pieces(offset, bytes.len()) {
            let target = self
                .now
                .blocks
                .entry(block)
                .or_insert_with(|| Arc::new([0; BLOCK]));
            if let Some(source) = bytes.get(place) {
                Arc::make_mut(target)[within].copy_from_slice(source);
            }
            self.dirty.insert(block);
        }
        self.now.bytes = self.now.bytes.max(offset + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        if bytes < self.now.bytes {
            self.blank(bytes, self.now.bytes - bytes);
        }
        self.now.bytes = bytes;
    }

    /// Zeros; whole blocks become holes.
    pub(super) fn blank(&mut self, offset: u64, bytes: u64) {
        for block in blocks(offset, bytes) {
            let from = offset.saturating_sub(block * BLOCK_BYTES);
            let to = (offset + bytes - block * BLOCK_BYTES).min(BLOCK_BYTES);
            let (from, to) = (small(from), small(to));
            self.dirty.insert(block);
            if from == 0 && to == BLOCK {
                self.now.blocks.remove(&block);
            } else if let Some(content) = self.now.blocks.get_mut(&block) {
                Arc::make_mut(content)[from..to].fill(0);
            }
        }
    }

    pub(super) fn sync(&mut self) {
        for block in std::mem::take(&mut self.dirty) {
            put(&mut self.durable, block, self.now.blocks.get(&block));
        }
        self.durable.bytes = self.now.bytes;
    }

    /// Each block that was not synced is new, old, or some sectors of each; so is the length.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        for block in std::mem::take(&mut self.dirty) {
            let new = self.now.blocks.get(&block).cloned();
            match dice.below(3) {
                0 => {}
                1 => put(&mut self.durable, block, new.as_ref()),
                _ => {
                    let torn = torn(self.durable.blocks.get(&block), new.as_ref(), dice);
                    put(&mut self.durable, block, Some(&torn));
                }
            }
        }
        if dice.below(2) == 0 {
            self.durable.bytes = self.now.bytes;
        }
        self.forget_beyond_the_end();
        self.now = self.durable.clone();
    }

    /// Flips a bit, synced or not; `false` where no byte is stored.
    pub(super) fn flip_bit(&mut self, dice: &mut Dice) -> bool {
        let taken: Vec<u64> = self.now.blocks.keys().copied().collect();
        let Some(block) = dice.pick(&taken).copied() else {
            return false;
        };
        let (byte, bit) = (small(dice.below(BLOCK_BYTES)), dice.below(8));
        for content in [&mut self.now, &mut self.durable] {
            if let Some(bytes) = content.blocks.get_mut(&block) {
                Arc::make_mut(bytes)[byte] ^= 1 << bit;
            }
        }
        true
    }

    fn forget_beyond_the_end(&mut self) {
        let end = self.durable.bytes;
        let first = end.div_ceil(BLOCK_BYTES);
        self.durable.blocks.retain(|block, _| *block < first);
        if let Some(last) = self.durable.blocks.get_mut(&(end / BLOCK_BYTES)) {
            Arc::make_mut(last)[small(end % BLOCK_BYTES)..].fill(0);
        }
    }
}

fn put(content: &mut Content, number: u64, block: Option<&Block>) {
    match block {
        Some(block) => content.blocks.insert(number, Arc::clone(block)),
        None => content.blocks.remove(&number),
    };
}

fn torn(old: Option<&Block>, new: Option<&Block>, dice: &mut Dice) -> Block {
    let zeros = Arc::new([0; BLOCK]);
    let (mut torn, new) = (
        old.unwrap_or(&zeros).as_ref().to_owned(),
        new.unwrap_or(&zeros),
    );
    let sectors = dice.next();
    for sector in (0..BLOCK / SECTOR).filter(|sector| sectors >> sector & 1 == 1) {
        let place = sector * SECTOR..(sector + 1) * SECTOR;
        torn[place.clone()].copy_from_slice(&new[place]);
    }
    Arc::new(torn)
}

/// The blocks that `bytes` from `offset` on lie in.
const fn blocks(offset: u64, bytes: u64) -> std::ops::Range<u64> {
    offset / BLOCK_BYTES..(offset + bytes).div_ceil(BLOCK_BYTES)
}

/// Block, place within it, and place in what is read or written.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    blocks(offset, length as u64)
        .filter(move |_| length > 0)
        .map(move |block| {
            let start = (block * BLOCK_BYTES).max(offset);
            let end = ((block + 1) * BLOCK_BYTES).min(offset + length as u64);
            let within = small(start - block * BLOCK_BYTES)..small(end - block * BLOCK_BYTES);
            (block, within, small(start - offset)..small(end - offset))
        })
}

fn small(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A file that is open, until its machine's power goes.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) disks: Disks,
    pub(super) machine: String,
    pub(super) number: Number,
    pub(super) boot: u64,
}

impl OpenFile {
    fn with<T>(&self, access: impl FnOnce(&mut super::Machine) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disks.inner();
        let machine = inner.machine(&self.machine);
        if machine.boot() != self.boot {
            return Err(io::Error::other("the machine has been started anew"));
        }
        machine.access()?;
        access(machine)
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|machine| Ok(machine.file(self.number).bytes()))
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|machine| Ok(machine.file(self.number).read(out, offset)))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|machine| machine.write(self.number, bytes, offset))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|machine| {
            machine.file(self.number).set_len(bytes);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|machine| {
            machine.sync(self.number);
            Ok(())
        })
    }

    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.with(|machine| {
            machine.file(self.number).blank(offset, bytes);
            Ok(())
        })
    }
}
