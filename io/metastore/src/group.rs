//! A group: the shard ids of up to 32 slots and the Hosts that keep them, packed in one value.
//!
//! ```text
//! offset  bytes
//! 0       1   format version, 1
//! 1       1   k: shards that restore a segment; 1 for mirrors
//! 2       1   n: shards of a segment
//! 3       1   s: segments in this group
//! 4       32  × s × (1 where k = 1, else n): shard ids, segment by segment
//! …       4   × s × n: aliases of the Hosts, little-endian, segment by segment; 0 = not stored
//! ```
//! The value is read in place: a scan over millions of groups decodes nothing.

use model::codec::DecodeError;
use model::units::{SHARDS_PER_SEGMENT_MAX, ShardId};

use crate::HostAlias;

/// Shard ids that a group holds at most, unless a single segment has more.
pub const IDS_PER_GROUP_MAX: u16 = 32;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;
const ALIAS_BYTES: usize = 4;

/// The placements of a run of segments. Always well-formed; shard ids and slots are as many as
/// its header says.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    body: Vec<u8>,
}

/// The shape of a group that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no group holds {segments} segments of {k} of {n} shards")]
pub struct GroupShapeError {
    k: u16,
    n: u16,
    segments: u16,
}

/// How many segments of `k` of `n` shards go into one group: as many as have
/// [`IDS_PER_GROUP_MAX`] ids together, at least one. Groups of a blob begin at its multiples.
#[must_use]
pub const fn segments_per_group(k: u16, n: u16) -> u16 {
    let ids = if k == 1 || n == 0 { 1 } else { n };
    if ids >= IDS_PER_GROUP_MAX {
        1
    } else {
        IDS_PER_GROUP_MAX / ids
    }
}

impl Group {
    /// A group whose ids are zero and whose shards are stored nowhere.
    ///
    /// # Errors
    /// [`GroupShapeError`] unless 1 ≤ k ≤ n ≤ [`SHARDS_PER_SEGMENT_MAX`] and
    /// 1 ≤ segments ≤ [`segments_per_group`].
    pub fn new(k: u16, n: u16, segments: u16) -> Result<Self, GroupShapeError> {
        let wrong = GroupShapeError { k, n, segments };
        let shape = k >= 1 && k <= n && n <= SHARDS_PER_SEGMENT_MAX;
        if !shape || segments == 0 || segments > segments_per_group(k, n) {
            return Err(wrong);
        }
        let byte = |value: u16| u8::try_from(value).map_err(|_| wrong);
        let mut body = vec![VERSION, byte(k)?, byte(n)?, byte(segments)?];
        body.resize(body_bytes(k, n, segments), 0);
        Ok(Self { body })
    }

    /// Takes a stored value.
    ///
    /// # Errors
    /// [`DecodeError`] where the version is unknown, the header is no shape of a group, or the
    /// length is not the one the header asks for.
    pub fn decode(body: Vec<u8>) -> Result<Self, DecodeError> {
        let Some(&[version, k, n, segments]) = body.first_chunk() else {
            return Err(DecodeError::Truncated { field: "group" });
        };
        if version != VERSION {
            return Err(DecodeError::UnknownVersion {
                format: "group",
                version,
            });
        }
        let (k, n, segments) = (k.into(), n.into(), segments.into());
        let shape = k >= 1 && k <= n && n <= SHARDS_PER_SEGMENT_MAX;
        if !shape || segments == 0 || segments > segments_per_group(k, n) {
            return Err(DecodeError::Invalid { field: "group" });
        }
        let bytes = body_bytes(k, n, segments);
        if body.len() < bytes {
            return Err(DecodeError::Truncated { field: "group" });
        }
        match body.len() - bytes {
            0 => Ok(Self { body }),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }

    /// The stored form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Shards that restore a segment; 1 for mirrors.
    #[must_use]
    pub fn k(&self) -> u16 {
        self.header(1)
    }

    /// Shards of a segment.
    #[must_use]
    pub fn n(&self) -> u16 {
        self.header(2)
    }

    /// Number of segments.
    #[must_use]
    pub fn segments(&self) -> u16 {
        self.header(3)
    }

    /// The id of shard `slot` of a segment, both counted from 0; mirrors share one. `None` outside
    /// the group.
    #[must_use]
    pub fn shard_id(&self, segment: u16, slot: u16) -> Option<ShardId> {
        let at = self.id_offset(segment, slot)?;
        self.body.get(at..)?.first_chunk().copied().map(ShardId)
    }

    /// The Host that keeps shard `slot` of a segment; `None` where none does.
    #[must_use]
    pub fn host(&self, segment: u16, slot: u16) -> Option<HostAlias> {
        let at = self.alias_offset(segment, slot)?;
        let alias = u32::from_le_bytes(*self.body.get(at..)?.first_chunk()?);
        (alias != 0).then_some(HostAlias(alias))
    }

    /// The Hosts of a segment in the order of its shards; `None` where a shard is not stored.
    pub fn hosts(&self, segment: u16) -> impl Iterator<Item = Option<HostAlias>> + '_ {
        (0..self.n()).map(move |slot| self.host(segment, slot))
    }

    /// Sets a shard's id; for mirrors, that of every slot. `false` outside the group.
    pub fn set_shard_id(&mut self, segment: u16, slot: u16, id: &ShardId) -> bool {
        let place = self.id_offset(segment, slot);
        self.write(place, id.as_bytes())
    }

    /// Sets the Host that keeps a shard. `false` outside the group.
    pub fn set_host(&mut self, segment: u16, slot: u16, host: Option<HostAlias>) -> bool {
        let place = self.alias_offset(segment, slot);
        self.write(place, &host.map_or(0, |host| host.0).to_le_bytes())
    }

    fn write(&mut self, at: Option<usize>, value: &[u8]) -> bool {
        let place = at.and_then(|at| self.body.get_mut(at..)?.get_mut(..value.len()));
        place.map(|place| place.copy_from_slice(value)).is_some()
    }

    fn header(&self, at: usize) -> u16 {
        self.body.get(at).copied().map_or(0, u16::from)
    }

    fn id_offset(&self, segment: u16, slot: u16) -> Option<usize> {
        let at = self.slot_index(segment, slot)?;
        let at = if self.k() == 1 {
            usize::from(segment)
        } else {
            at
        };
        Some(HEADER_BYTES + at * ShardId::BYTES)
    }

    fn alias_offset(&self, segment: u16, slot: u16) -> Option<usize> {
        let at = self.slot_index(segment, slot)?;
        let ids = ids_per_segment(self.k(), self.n()) * usize::from(self.segments());
        Some(HEADER_BYTES + ids * ShardId::BYTES + at * ALIAS_BYTES)
    }

    fn slot_index(&self, segment: u16, slot: u16) -> Option<usize> {
        let inside = segment < self.segments() && slot < self.n();
        inside.then(|| usize::from(segment) * usize::from(self.n()) + usize::from(slot))
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Group({} × {} of {})",
            self.segments(),
            self.k(),
            self.n()
        )
    }
}

fn ids_per_segment(k: u16, n: u16) -> usize {
    if k == 1 { 1 } else { n.into() }
}

fn body_bytes(k: u16, n: u16, segments: u16) -> usize {
    let segment = ids_per_segment(k, n) * ShardId::BYTES + usize::from(n) * ALIAS_BYTES;
    HEADER_BYTES + usize::from(segments) * segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_share_one_id_and_keep_their_hosts_apart() {
        let mut group = Group::new(1, 3, 32).unwrap();

        assert!(group.set_shard_id(31, 2, &ShardId([9; 32])));
        assert!(group.set_host(31, 2, Some(HostAlias(77))));

        assert_eq!(group.as_bytes().len(), 4 + 32 * (32 + 3 * 4));
        assert_eq!(group.shard_id(31, 0), Some(ShardId([9; 32])));
        assert_eq!(group.shard_id(30, 0), Some(ShardId([0; 32])));
        let hosts: Vec<_> = group.hosts(31).collect();
        assert_eq!(hosts, [None, None, Some(HostAlias(77))]);
    }

    #[test]
    fn coded_shards_have_an_id_each() {
        let mut group = Group::new(4, 8, 4).unwrap();

        for segment in 0..4 {
            for slot in 0..8 {
                let number = segment * 8 + slot;
                assert!(group.set_shard_id(
                    segment,
                    slot,
                    &ShardId([u8::try_from(number).unwrap(); 32])
                ));
                assert!(group.set_host(segment, slot, Some(HostAlias(u32::from(number) + 1))));
            }
        }

        assert_eq!(group.as_bytes().len(), 4 + 32 * 36);
        assert_eq!(group.shard_id(3, 7), Some(ShardId([31; 32])));
        assert_eq!(group.host(2, 1), Some(HostAlias(18)));
        assert_eq!(Group::decode(group.as_bytes().to_vec()).unwrap(), group);
    }

    #[test]
    fn nothing_outside_the_group_is_read_or_written() {
        let mut group = Group::new(4, 8, 4).unwrap();
        let before = group.clone();

        assert_eq!(group.shard_id(4, 0), None);
        assert_eq!(group.host(0, 8), None);
        assert!(!group.set_shard_id(0, 8, &ShardId([1; 32])));
        assert!(!group.set_host(4, 0, Some(HostAlias(1))));

        assert_eq!(group, before);
    }

    #[test]
    fn groups_hold_whole_segments_of_32_ids() {
        assert_eq!(segments_per_group(1, 3), 32);
        assert_eq!(segments_per_group(4, 8), 4);
        assert_eq!(segments_per_group(10, 20), 1);
        assert_eq!(segments_per_group(16, 32), 1);
        assert_eq!(segments_per_group(32, 64), 1);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (k, n, segments) in [
            (0, 3, 1),
            (4, 3, 1),
            (1, 65, 1),
            (1, 3, 0),
            (1, 3, 33),
            (4, 8, 5),
        ] {
            assert_eq!(
                Group::new(k, n, segments),
                Err(GroupShapeError { k, n, segments })
            );
        }
    }

    #[test]
    fn every_malformed_value_is_refused() {
        let good = Group::new(4, 8, 2).unwrap().as_bytes().to_vec();
        let altered = |at: usize, byte: u8| {
            let mut body = good.clone();
            body[at] = byte;
            Group::decode(body).unwrap_err()
        };
        let truncated = DecodeError::Truncated { field: "group" };
        let invalid = DecodeError::Invalid { field: "group" };

        for len in 0..good.len() {
            assert_eq!(Group::decode(good[..len].to_vec()), Err(truncated));
        }
        assert_eq!(
            altered(0, 2),
            DecodeError::UnknownVersion {
                format: "group",
                version: 2
            }
        );
        assert_eq!(altered(1, 0), invalid);
        assert_eq!(altered(1, 9), invalid);
        assert_eq!(altered(2, 65), invalid);
        assert_eq!(altered(3, 0), invalid);
        assert_eq!(altered(3, 5), invalid);
        assert_eq!(altered(3, 3), truncated);
        assert_eq!(altered(3, 1), DecodeError::Trailing { bytes: 8 * 36 });
    }
}
