//! From the records of a journal to what is known of its upload.

use std::collections::BTreeMap;

use super::{JournalBlob, JournalKey, JournalRecord, JournalStart, SegmentPlace};
use crate::codec::DecodeError;
use crate::crypto::OpenError;
use crate::formats::shape::Shape;
use crate::units::ShardId;

/// A journal that cannot be believed; its upload is started over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A record is not sealed by this device, for this place.
    #[error("record {index} of the upload journal does not open")]
    Open {
        /// Its number, from 0.
        index: u64,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// A record is not one.
    #[error("record {index} of the upload journal cannot be read")]
    Record {
        /// Its number, from 0.
        index: u64,
        /// Where it departs.
        #[source]
        source: DecodeError,
    },
    /// A record does not follow from those before it.
    #[error("record {index} of the upload journal does not follow from those before it")]
    Order {
        /// Its number, from 0.
        index: u64,
    },
}

/// What a journal says, record by record.
#[derive(Clone, Debug)]
pub struct Journal {
    key: JournalKey,
    start: JournalStart,
    segments: BTreeMap<SegmentPlace, JournalSegment>,
    records: u64,
}

/// What is known of a segment of which something may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSegment {
    /// One id per shard; one for all mirrors.
    pub ids: Vec<ShardId>,
    /// Whether it is stored well enough.
    pub stored: bool,
    /// Receipts that the Bridge does not have for sure, n in all or none.
    pub receipts: Vec<Option<Vec<u8>>>,
}

impl Journal {
    /// Begins with the first record.
    ///
    /// # Errors
    /// [`JournalError`], also where it is no start.
    pub fn begin(key: JournalKey, sealed: &[u8]) -> Result<Self, JournalError> {
        match key.open(0, sealed)? {
            JournalRecord::Start(start) => Ok(Self {
                key,
                start,
                segments: BTreeMap::new(),
                records: 1,
            }),
            _ => Err(JournalError::Order { index: 0 }),
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`JournalError`]; nothing is taken then.
    pub fn push(&mut self, sealed: &[u8]) -> Result<(), JournalError> {
        let index = self.records;
        let record = self.key.open(index, sealed)?;
        let applied = self.apply(record);
        applied.ok_or(JournalError::Order { index })?;
        self.records += 1;
        Ok(())
    }

    /// Opens a record that is `ahead` of the next one, without taking it.
    #[must_use]
    pub fn opens_ahead(&self, ahead: u64, sealed: &[u8]) -> bool {
        self.key
            .open(self.records.saturating_add(ahead), sealed)
            .is_ok()
    }

    /// What is uploaded.
    #[must_use]
    pub const fn start(&self) -> &JournalStart {
        &self.start
    }

    /// The key of its records.
    #[must_use]
    pub const fn key(&self) -> &JournalKey {
        &self.key
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// What is known of segments, in order.
    #[must_use]
    pub const fn segments(&self) -> &BTreeMap<SegmentPlace, JournalSegment> {
        &self.segments
    }

    /// The same, given away.
    #[must_use]
    pub fn into_segments(self) -> BTreeMap<SegmentPlace, JournalSegment> {
        self.segments
    }

    /// Bytes of the upload, and of its segments that are stored.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let all = self.start.blobs.iter().map(JournalBlob::length);
        let stored = self
            .segments
            .iter()
            .filter(|(_, segment)| segment.stored)
            .filter_map(|(place, _)| self.shape(place)?.segment(place.segment))
            .map(|segment| u64::from(segment.length));
        (all.fold(0, u64::saturating_add), stored.sum())
    }

    fn shape(&self, place: &SegmentPlace) -> Option<Shape> {
        let blob = self.start.blobs.get(usize::from(place.blob))?;
        Shape::new(blob.length(), self.start.class).ok()
    }

    fn apply(&mut self, record: JournalRecord) -> Option<()> {
        let class = self.start.class;
        match record {
            JournalRecord::Start(_) => None,
            JournalRecord::Ids { place, ids } => {
                self.shape(&place)?.segment(place.segment)?;
                let fits = ids.len() == usize::from(class.ids())
                    && !ids.contains(&ShardId::default())
                    && !self.segments.contains_key(&place);
                let segment = JournalSegment {
                    ids,
                    stored: false,
                    receipts: Vec::new(),
                };
                fits.then(|| self.segments.insert(place, segment))
                    .map(|_| ())
            }
            JournalRecord::Stored { place, receipts } => {
                let segment = self.segments.get_mut(&place)?;
                if segment.stored || receipts.len() != usize::from(class.n()) {
                    return None;
                }
                (segment.stored, segment.receipts) = (true, receipts);
                Some(())
            }
            JournalRecord::HandedIn(places) => {
                let stored = |place| self.segments.get(place).is_some_and(|known| known.stored);
                if !places.iter().all(stored) {
                    return None;
                }
                for place in &places {
                    self.segments.get_mut(place)?.receipts = Vec::new();
                }
                Some(())
            }
        }
    }
}
