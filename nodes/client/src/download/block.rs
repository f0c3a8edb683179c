//! What is fetched in one go: whole data shards of a segment, or a run of leaves of one of them.
//!
//! A range of a file seldom begins and ends with a shard. What it needs of a segment is cut into
//! blocks: shards that are needed from end to end lie in one block, of any other a run of leaves.

use std::ops::Range;

use model::crypto::LeafRange;
use model::formats::shape::{Class, Segment};

use super::deliver::overlap;

/// Leaves that nobody needs are fetched where they part two runs that are needed: asking twice
/// costs more than so many of them.
const GAP_LEAVES: u32 = 1;

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) segment: Segment,
    /// Data shards, at least one.
    pub(super) shards: Range<u16>,
    /// Which leaves of each; all of them where there are several shards.
    pub(super) leaves: LeafRange,
}

impl Block {
    /// The blocks of `segment` that hold `ranges` of the blob, in the order of the blob.
    pub(super) fn of(segment: Segment, ranges: impl Iterator<Item = Range<u64>>) -> Vec<Self> {
        let mut runs: Vec<Run> = Vec::new();
        for range in ranges {
            runs.extend(Run::of(&segment, &range));
        }
        runs.sort_unstable_by_key(|run| (run.shard, run.start));
        runs.dedup_by(|next, last| {
            let meets = last.meets(next);
            if meets {
                last.end = last.end.max(next.end);
            }
            meets
        });
        let mut blocks: Vec<Self> = Vec::new();
        for block in runs.into_iter().filter_map(|run| run.block(&segment)) {
            match blocks.last_mut() {
                Some(last)
                    if last.leaves.is_whole()
                        && block.leaves.is_whole()
                        && last.shards.end == block.shards.start =>
                {
                    last.shards.end = block.shards.end;
                }
                _ => blocks.push(block),
            }
        }
        blocks
    }

    /// Where the block's part of data shard `index` lies in the blob, without padding.
    pub(super) fn range_in_blob(&self, index: u16) -> Range<u64> {
        let end = self.segment.offset + u64::from(self.segment.length);
        let size = u64::from(self.segment.shard_size.bytes());
        let shard = self.segment.offset + u64::from(index) * size;
        let bytes = self.leaves.bytes();
        let start = (shard + u64::from(bytes.start)).min(end);
        start..(shard + u64::from(bytes.end)).min(end)
    }

    /// Bytes of shards that may be in memory for it, `spare` more shards than are needed.
    pub(super) fn room_bytes(&self, class: Class, spare: u64) -> u64 {
        let (whole, shards) = (
            u64::from(self.segment.shard_size.bytes()),
            u64::from(self.shards.end - self.shards.start),
        );
        let (shards, bytes) = match class {
            Class::Mirrors { .. } => (1, self.leaves.len() as u64),
            Class::Coded { .. } if self.leaves.is_whole() => (shards, whole),
            // Where its shard does not come, whole shards restore it.
            Class::Coded { k, .. } => (u64::from(k), whole),
        };
        bytes * (shards + spare).min(u64::from(class.n()))
    }
}

/// Leaves `start..end` of data shard `shard`.
#[derive(Debug)]
struct Run {
    shard: u16,
    start: u32,
    end: u32,
}

impl Run {
    /// The leaves of each shard that hold bytes of `range`.
    fn of(segment: &Segment, range: &Range<u64>) -> Vec<Self> {
        let (size, mut runs) = (u64::from(segment.shard_size.bytes()), Vec::new());
        let here = segment.offset..segment.offset + u64::from(segment.length);
        let Some(part) = overlap(range, &here) else {
            return runs;
        };
        let (from, to) = (part.start - here.start, part.end - here.start);
        for shard in from / size..to.div_ceil(size) {
            let start = from.saturating_sub(shard * size);
            let end = (to - shard * size).min(size);
            let bytes = u32::try_from(start).unwrap_or(u32::MAX)..u32::try_from(end).unwrap_or(0);
            if let (Ok(shard), Ok(leaves)) = (
                u16::try_from(shard),
                LeafRange::around(segment.shard_size.bytes(), bytes),
            ) {
                let Range { start, end } = leaves.leaves();
                runs.push(Self { shard, start, end });
            }
        }
        runs
    }

    fn meets(&self, next: &Self) -> bool {
        self.shard == next.shard && next.start <= self.end + GAP_LEAVES
    }

    fn block(self, segment: &Segment) -> Option<Block> {
        let size = segment.shard_size.bytes();
        let whole = LeafRange::whole(size).ok()?;
        let all = whole.leaves().end;
        let leaves = if self.start + (all - self.end) <= GAP_LEAVES {
            whole
        } else {
            LeafRange::of_leaves(size, self.start..self.end).ok()?
        };
        let (segment, shards) = (*segment, self.shard..self.shard + 1);
        Some(Block {
            segment,
            shards,
            leaves,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::formats::shape::Shape;

    use super::*;

    const LEAF: u64 = 65_536;
    const SHARD: u64 = 30 * LEAF;

    fn blocks(length: u64, ranges: &[Range<u64>]) -> Vec<(Range<u16>, Range<u32>)> {
        let shape = Shape::new(length, "coded:4/8".parse().unwrap()).unwrap();
        let blocks = Block::of(shape.segment(0).unwrap(), ranges.iter().cloned());
        let parts = blocks.into_iter();
        parts
            .map(|block| (block.shards, block.leaves.leaves()))
            .collect()
    }

    #[test]
    fn a_small_range_is_a_few_leaves_of_one_shard() {
        let range = SHARD + 5 * LEAF + 7..SHARD + 6 * LEAF + 7;
        assert_eq!(blocks(4 * SHARD, &[range]), [(1..2, 5..7)]);
    }

    #[test]
    fn a_long_range_is_whole_shards_between_two_runs() {
        let range = SHARD - LEAF..3 * SHARD + 1;
        assert_eq!(
            blocks(4 * SHARD, &[range]),
            [(0..1, 29..30), (1..3, 0..30), (3..4, 0..1)]
        );
        assert_eq!(
            blocks(4 * SHARD, std::slice::from_ref(&(0..4 * SHARD))),
            [(0..4, 0..30)]
        );
    }

    #[test]
    fn runs_that_nearly_meet_are_one_whatever_their_order() {
        let at = |leaf: u64| leaf * LEAF..leaf * LEAF + 10;
        let ranges = [at(3), at(9), at(5), at(3)];
        assert_eq!(blocks(4 * SHARD, &ranges), [(0..1, 3..6), (0..1, 9..10)]);
        assert_eq!(
            blocks(4 * SHARD, &[at(1), 2 * LEAF..SHARD]),
            [(0..1, 0..30)]
        );
    }

    #[test]
    fn a_short_segment_has_its_own_leaves_and_no_padding() {
        // Four shards of 25,024 bytes, the last 96 of them padding.
        assert_eq!(
            blocks(100_000, std::slice::from_ref(&(0..100_000))),
            [(0..4, 0..1)]
        );
        assert_eq!(
            blocks(100_000, std::slice::from_ref(&(99_999..100_000))),
            [(3..4, 0..1)]
        );
        let shape = Shape::new(100_000, "coded:4/8".parse().unwrap()).unwrap();
        let segment = shape.segment(0).unwrap();
        let [block] = &Block::of(segment, std::iter::once(0..100_000))[..] else {
            panic!("one block");
        };
        assert_eq!(block.range_in_blob(3), 75_072..100_000);
    }

    #[test]
    fn memory_is_set_aside_for_whole_shards_too() {
        let class: Class = "coded:4/8".parse().unwrap();
        let shape = Shape::new(4 * SHARD, class).unwrap();
        let segment = shape.segment(0).unwrap();
        let few = &Block::of(segment, std::iter::once(0..10))[0];
        let all = &Block::of(segment, std::iter::once(0..4 * SHARD))[0];
        assert_eq!(few.room_bytes(class, 2), 6 * SHARD);
        assert_eq!(all.room_bytes(class, 2), 6 * SHARD);
    }
}
