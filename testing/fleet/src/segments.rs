//! The watched segments: which Host has each shard, what of it is really there, and how many
//! shards the Bridge counts.

use model::formats::shape::Class;

/// No Host has the shard.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// All segments of one class. Slot s · n + i is shard i of segment s.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) k: u16,
    pub(crate) n: u16,
    /// The Host of each slot by the Bridge's books, or [`NOWHERE`].
    pub(crate) host: Vec<u32>,
    /// Whether the bytes that this Host was given are still there and good.
    pub(crate) intact: Vec<bool>,
    /// Per segment: shards that the Bridge believes to be there.
    pub(crate) here: Vec<u8>,
    /// Per segment: shards that are really left, at Hosts that will be back.
    pub(crate) left: Vec<u8>,
    /// Per segment: cannot be restored any more.
    pub(crate) lost: Vec<bool>,
}

impl Segments {
    pub(crate) fn new(class: Class, segments: u32) -> Self {
        let (k, n) = (class.k(), class.n());
        let slots = segments as usize * usize::from(n);
        Self {
            k,
            n,
            host: vec![NOWHERE; slots],
            intact: vec![false; slots],
            here: vec![0; segments as usize],
            left: vec![0; segments as usize],
            lost: vec![false; segments as usize],
        }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.lost.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.host.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn segment_of(&self, slot: u32) -> u32 {
        slot / u32::from(self.n)
    }

    /// The slots of a segment.
    pub(crate) fn slots_of(&self, segment: u32) -> std::ops::Range<u32> {
        let first = segment * u32::from(self.n);
        first..first + u32::from(self.n)
    }

    /// A shard is really gone; whether the segment is lost by that.
    pub(crate) fn shard_gone(&mut self, slot: u32) -> bool {
        let segment = self.segment_of(slot) as usize;
        self.left[segment] = self.left[segment].saturating_sub(1);
        let lost = u16::from(self.left[segment]) < self.k && !self.lost[segment];
        if lost {
            self.lost[segment] = true;
        }
        lost
    }
}
