//! Which page of a manifest holds what: plain arithmetic on the blob's shape.

use super::IDS_PER_PAGE;
use crate::formats::shape::Shape;

/// The pages of one manifest. Level 0 holds shard ids, all of a segment in one page; every level
/// above holds the hashes of the pages below; the top level has one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    shape: Shape,
    top_level: u8,
}

impl Layout {
    pub(super) const fn new(shape: Shape) -> Self {
        let mut layout = Self {
            shape,
            top_level: 0,
        };
        while layout.pages(layout.top_level) > 1 {
            layout.top_level += 1;
        }
        layout
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) const fn top_level(&self) -> u8 {
        self.top_level
    }

    /// Pages of `level`.
    const fn pages(&self, level: u8) -> u64 {
        let mut pages = self.shape.segments().div_ceil(self.segments_per_leaf());
        let mut above = 0;
        while above < level {
            pages = pages.div_ceil(IDS_PER_PAGE as u64);
            above += 1;
        }
        pages
    }

    const fn segments_per_leaf(&self) -> u64 {
        IDS_PER_PAGE as u64 / self.shape.class().ids() as u64
    }

    /// How many ids page `index` of `level` holds; `None` where there is no such page.
    pub(super) fn ids_in(&self, level: u8, index: u64) -> Option<usize> {
        let (items, per_page, width) = match level {
            0 => {
                let width = u64::from(self.shape.class().ids());
                (self.shape.segments(), self.segments_per_leaf(), width)
            }
            _ if level <= self.top_level => (self.pages(level - 1), IDS_PER_PAGE as u64, 1),
            _ => return None,
        };
        let first = index.checked_mul(per_page).filter(|first| *first < items)?;
        usize::try_from((items - first).min(per_page) * width).ok()
    }

    /// Where in its page of `level` the way to `segment` (or its first id) stands.
    pub(super) fn slot(&self, level: u8, segment: u64) -> usize {
        let leaf = segment / self.segments_per_leaf();
        let slot = match level {
            0 => segment % self.segments_per_leaf() * u64::from(self.shape.class().ids()),
            _ => {
                let below = (1..level).fold(leaf, |index, _| index / IDS_PER_PAGE as u64);
                below % IDS_PER_PAGE as u64
            }
        };
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// The place, in its level, of the page linked from `slot` of page `index` one level above.
    pub(super) const fn child_index(&self, index: u64, slot: usize) -> u64 {
        index
            .saturating_mul(IDS_PER_PAGE as u64)
            .saturating_add(slot as u64)
    }
}
