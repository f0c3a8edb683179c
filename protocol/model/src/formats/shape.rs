//! How a blob is cut: into segments of k shards, each segment coded into n.
//!
//! Everything follows from the blob's length and its class; no size is stored that could
//! disagree with another.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{SHARD_ALIGN, SHARD_BYTES_MAX, SHARDS_PER_SEGMENT_MAX, ShardSize};

/// Longest blob, in bytes.
pub const BLOB_BYTES_MAX: u64 = 1 << 60;

/// How many shards a segment has, and how many of them restore it.
///
/// Written `mirrors:3` and `coded:4/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// `n` identical shards, any one of which is the segment (the white paper's mirrors).
    Mirrors {
        /// Shards per segment, 1..=64.
        n: u16,
    },
    /// `n` shards, any `k` of which restore the segment.
    Coded {
        /// Shards that restore a segment, 2 or more.
        k: u16,
        /// Shards per segment, more than `k`, at most 64.
        n: u16,
    },
}

/// A class that no blob can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// Not the text of a class.
    #[error("`{text}` is no class: expected `mirrors:N` or `coded:K/N`")]
    Text {
        /// The beginning of what was given.
        text: String,
    },
    /// Mirrors outside their bounds.
    #[error("mirrors:{n} is out of bounds: 1 to {SHARDS_PER_SEGMENT_MAX} mirrors")]
    Mirrors {
        /// Shards per segment.
        n: u16,
    },
    /// A code outside its bounds.
    #[error("coded:{k}/{n} is out of bounds: 2 ≤ k < n ≤ {SHARDS_PER_SEGMENT_MAX}")]
    Coded {
        /// Shards that restore a segment.
        k: u16,
        /// Shards per segment.
        n: u16,
    },
}

impl Class {
    /// `n` identical shards per segment.
    ///
    /// # Errors
    /// [`ClassError::Mirrors`] outside 1..=64.
    pub fn mirrors(n: u16) -> Result<Self, ClassError> {
        Self::Mirrors { n }.checked()
    }

    /// `n` shards per segment, any `k` of which restore it.
    ///
    /// # Errors
    /// [`ClassError::Coded`] unless 2 ≤ k < n ≤ 64.
    pub fn coded(k: u16, n: u16) -> Result<Self, ClassError> {
        Self::Coded { k, n }.checked()
    }

    /// The class of `k` and `n` as formats and the wire carry them: k = 1 means mirrors.
    ///
    /// # Errors
    /// [`ClassError`] for a pair that is out of bounds.
    pub fn of(k: u16, n: u16) -> Result<Self, ClassError> {
        if k == 1 {
            Self::mirrors(n)
        } else {
            Self::coded(k, n)
        }
    }

    /// Returns the class where it is within its bounds.
    ///
    /// # Errors
    /// [`ClassError`] where it is not.
    pub fn checked(self) -> Result<Self, ClassError> {
        match self {
            Self::Mirrors { n } if !(1..=SHARDS_PER_SEGMENT_MAX).contains(&n) => {
                Err(ClassError::Mirrors { n })
            }
            Self::Coded { k, n } if k < 2 || k >= n || n > SHARDS_PER_SEGMENT_MAX => {
                Err(ClassError::Coded { k, n })
            }
            Self::Mirrors { .. } | Self::Coded { .. } => Ok(self),
        }
    }

    /// How many shards restore a segment.
    #[must_use]
    pub const fn k(self) -> u16 {
        match self {
            Self::Mirrors { .. } => 1,
            Self::Coded { k, .. } => k,
        }
    }

    /// How many shards a segment has.
    #[must_use]
    pub const fn n(self) -> u16 {
        match self {
            Self::Mirrors { n } | Self::Coded { n, .. } => n,
        }
    }

    /// How many different shard ids a segment has: mirrors share one.
    #[must_use]
    pub const fn ids(self) -> u16 {
        match self {
            Self::Mirrors { .. } => 1,
            Self::Coded { n, .. } => n,
        }
    }

    /// Bytes of ciphertext in a full segment.
    #[must_use]
    pub const fn segment_bytes(self) -> u32 {
        self.k() as u32 * SHARD_BYTES_MAX
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirrors { n } => write!(f, "mirrors:{n}"),
            Self::Coded { k, n } => write!(f, "coded:{k}/{n}"),
        }
    }
}

impl FromStr for Class {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let wrong = || ClassError::Text {
            text: text.chars().take(32).collect(),
        };
        match text.split_once(':') {
            Some(("mirrors", n)) => Self::mirrors(decimal(n).ok_or_else(wrong)?),
            Some(("coded", rest)) => {
                let (k, n) = rest.split_once('/').ok_or_else(wrong)?;
                let (k, n) = (decimal(k).ok_or_else(wrong)?, decimal(n).ok_or_else(wrong)?);
                Self::coded(k, n)
            }
            _ => Err(wrong()),
        }
    }
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The length of a blob and its class: everything about how it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawShape", into = "RawShape")]
pub struct Shape {
    length: u64,
    class: Class,
}

/// One segment of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its place, from 0.
    pub index: u64,
    /// Where it starts in the blob, in bytes.
    pub offset: u64,
    /// Bytes of ciphertext in it, without padding.
    pub length: u32,
    /// The size of each of its shards; k of them hold the ciphertext and its padding.
    pub shard_size: ShardSize,
}

/// A length or a range that no blob can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The length is out of bounds.
    #[error("a blob of {length} bytes is out of bounds: 1 to {BLOB_BYTES_MAX}")]
    Length {
        /// In bytes.
        length: u64,
    },
    /// The class is out of bounds.
    #[error("the blob's class is out of bounds")]
    Class(#[from] ClassError),
    /// The range does not lie in the blob.
    #[error("bytes {start}..{end} do not lie in a blob of {length} bytes")]
    Range {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The blob's length in bytes.
        length: u64,
    },
}

impl Shape {
    /// The shape of a blob of `length` bytes.
    ///
    /// # Errors
    /// [`ShapeError`] for an empty blob, one above [`BLOB_BYTES_MAX`] and a class out of bounds.
    pub fn new(length: u64, class: Class) -> Result<Self, ShapeError> {
        if length == 0 || length > BLOB_BYTES_MAX {
            return Err(ShapeError::Length { length });
        }
        Ok(Self {
            length,
            class: class.checked()?,
        })
    }

    /// Bytes of ciphertext.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.length
    }

    /// How its segments are coded.
    #[must_use]
    pub const fn class(self) -> Class {
        self.class
    }

    /// How many segments it has, at least 1.
    #[must_use]
    pub const fn segments(self) -> u64 {
        self.length.div_ceil(self.class.segment_bytes() as u64)
    }

    /// Segment `index`, or `None` where the blob has no such segment.
    #[must_use]
    pub fn segment(self, index: u64) -> Option<Segment> {
        let full = self.class.segment_bytes();
        let offset = index
            .checked_mul(u64::from(full))
            .filter(|offset| *offset < self.length)?;
        let length = u32::try_from(self.length - offset)
            .unwrap_or(u32::MAX)
            .min(full);
        let share = length.div_ceil(u32::from(self.class.k()));
        let shard_size = ShardSize::new(share.next_multiple_of(SHARD_ALIGN)).ok()?;
        Some(Segment {
            index,
            offset,
            length,
            shard_size,
        })
    }

    /// The size of the first segment's shards: no other segment has larger ones.
    #[must_use]
    pub fn shard_size(self) -> ShardSize {
        self.segment(0)
            .map_or(ShardSize::MAX, |segment| segment.shard_size)
    }

    /// Bytes that all shards of the blob take together, padding and parity counted.
    #[must_use]
    pub fn stored_bytes(self) -> u64 {
        let last = self
            .segment(self.segments() - 1)
            .map_or(ShardSize::MAX, |last| last.shard_size);
        let full = (self.segments() - 1).saturating_mul(u64::from(SHARD_BYTES_MAX));
        full.saturating_add(u64::from(last.bytes()))
            .saturating_mul(u64::from(self.class.n()))
    }

    /// The indices of the segments that hold `bytes` of the blob; empty for an empty range.
    ///
    /// # Errors
    /// [`ShapeError::Range`] for a range that is reversed or ends behind the blob.
    pub fn segments_of_range(self, bytes: Range<u64>) -> Result<Range<u64>, ShapeError> {
        let Range { start, end } = bytes;
        if start > end || end > self.length {
            return Err(ShapeError::Range {
                start,
                end,
                length: self.length,
            });
        }
        let full = u64::from(self.class.segment_bytes());
        if start == end {
            return Ok(start / full..start / full);
        }
        Ok(start / full..end.div_ceil(full))
    }
}

/// A shape before its bounds are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShape {
    length: u64,
    class: Class,
}

impl TryFrom<RawShape> for Shape {
    type Error = ShapeError;

    fn try_from(raw: RawShape) -> Result<Self, ShapeError> {
        Self::new(raw.length, raw.class)
    }
}

impl From<Shape> for RawShape {
    fn from(shape: Shape) -> Self {
        Self {
            length: shape.length,
            class: shape.class,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_survive_text_and_refuse_what_cannot_be() {
        for text in [
            "mirrors:1",
            "mirrors:3",
            "mirrors:64",
            "coded:2/3",
            "coded:4/8",
            "coded:63/64",
        ] {
            assert_eq!(text.parse::<Class>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "mirrors",
            "mirrors:",
            "mirrors:0",
            "mirrors:65",
            "mirrors:+3",
            "mirrors: 3",
            "coded:1/2",
            "coded:4/4",
            "coded:8/4",
            "coded:4/65",
            "coded:4/8/9",
            "Coded:4/8",
            "mirrors:70000",
            "coded:4",
        ] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
        assert!(Shape::new(1, Class::Coded { k: 9, n: 3 }).is_err());
    }

    #[test]
    fn the_last_segment_is_as_small_as_it_can_be() {
        let class = Class::coded(4, 8).unwrap();
        let full = u64::from(class.segment_bytes());
        let shape = Shape::new(2 * full + 257, class).unwrap();
        assert_eq!(shape.segments(), 3);
        let last = shape.segment(2).unwrap();
        assert_eq!(
            (last.offset, last.length, last.shard_size.bytes()),
            (2 * full, 257, 128)
        );
        assert_eq!(shape.segment(3), None);
        assert_eq!(shape.segments_of_range(full - 1..full + 1).unwrap(), 0..2);
        assert_eq!(shape.segments_of_range(full..2 * full).unwrap(), 1..2);
        assert!(shape.segments_of_range(full..2 * full + 258).is_err());
        assert!(shape.segments_of_range(Range { start: 2, end: 1 }).is_err());
    }

    #[test]
    fn lengths_have_bounds() {
        let class = Class::mirrors(3).unwrap();
        assert!(Shape::new(0, class).is_err());
        assert!(Shape::new(BLOB_BYTES_MAX + 1, class).is_err());
        assert!(serde_json::from_str::<Shape>("{\"length\":0,\"class\":\"mirrors:3\"}").is_err());
    }

    proptest! {
        #[test]
        fn segments_tile_the_blob(
            length in prop_oneof![1..100_000_000_u64, 1..=BLOB_BYTES_MAX],
            k in 1..=63_u16,
            extra in 1..=63_u16,
            at in any::<u64>(),
        ) {
            let class = Class::of(k, (k + extra).min(64)).unwrap();
            let shape = Shape::new(length, class).unwrap();
            let last = shape.segment(shape.segments() - 1).unwrap();
            prop_assert_eq!(last.offset + u64::from(last.length), length);
            prop_assert_eq!(shape.segment(shape.segments()), None);

            let segment = shape.segment(at % shape.segments()).unwrap();
            let room = u64::from(segment.shard_size.bytes()) * u64::from(class.k());
            prop_assert!(room >= u64::from(segment.length));
            prop_assert!(room < u64::from(segment.length) + u64::from(class.k()) * 65);
            let inside = segment.offset..segment.offset + u64::from(segment.length);
            prop_assert_eq!(shape.segments_of_range(inside).unwrap(), segment.index..segment.index + 1);
            prop_assert!(shape.shard_size() >= segment.shard_size);
        }
    }
}
