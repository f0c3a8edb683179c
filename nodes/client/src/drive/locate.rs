//! `where`: which Hosts keep a file, and how many of them it can lose.

use std::ops::Range;

use model::formats::shape::{Class, Shape, ShapeError};
use model::formats::tree::{BlobSlice, Content, Kind, TreePath};
use model::units::{BlobId, HostId, PayerKey, ShardId, UnixMs};
use model::wire::api::{HostAddress, Layout, SegmentLayout};
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;

use super::open::{Drive, OpenError};
use super::read::ReadError;
use crate::bridge_api::BridgeError;
use crate::transfer::FailureKind;

/// Where a file's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the sealed tree itself, which the Bridge keeps; so many bytes.
    Tree(u64),
    /// At Hosts.
    Hosts(Spread),
}

/// A file at Hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The blob that holds it, maybe with others.
    pub blob: BlobId,
    /// The file's size in bytes.
    pub length: u64,
    /// How it is spread.
    pub class: Class,
    /// The segments that hold any of it, in order.
    pub segments: Vec<PlacedSegment>,
}

/// A segment and its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedSegment {
    /// Its number in the blob.
    pub segment: u64,
    /// Its shards do not fit together: what is lost of it is not made anew.
    pub inconsistent: bool,
    /// Its shards, n in all.
    pub shards: Vec<PlacedShard>,
}

/// A shard and its Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedShard {
    /// Its id.
    pub id: ShardId,
    /// Its Host; `None` while none has it.
    pub host: Option<PlacedHost>,
}

/// A Host, as the Bridge describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedHost {
    /// Its key.
    pub id: HostId,
    /// Its name for people.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its region, where known.
    pub region: Option<String>,
    /// Whether the Bridge hears from it.
    pub online: bool,
    /// When it last proved to the Bridge that it keeps what it should.
    pub proved: Option<UnixMs>,
}

/// A file that could not be located.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder or symlink.
    #[error("`{path}` is no file; only files have shards")]
    NoFile {
        /// Which.
        path: TreePath,
    },
    /// The Bridge does not say.
    #[error("the bridge does not say where the shards are")]
    Layout(#[source] BridgeError),
    /// The Bridge says something that cannot be.
    #[error("the bridge's layout cannot be")]
    Shape(#[source] ShapeError),
    /// The Bridge leaves segments out.
    #[error("the bridge's layout ends before segment {segment}")]
    Ended {
        /// The first that is missing.
        segment: u64,
    },
}

impl LocateError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::NoFile { .. } => FailureKind::Refused,
            Self::Layout(source) => source.kind(),
            Self::Shape(_) | Self::Ended { .. } => FailureKind::Integrity,
        }
    }
}

impl Drive {
    /// Asks where the shards of the file at `path` are.
    ///
    /// # Errors
    /// [`LocateError`].
    pub async fn locate(&self, path: &TreePath) -> Result<Whereabouts, LocateError> {
        let entry = self.snapshot().await?.entry(path).await?;
        let Kind::File(file) = &entry.kind else {
            return Err(LocateError::NoFile { path: path.clone() });
        };
        match &file.content {
            Content::Inline(bytes) => Ok(Whereabouts::Tree(bytes.len() as u64)),
            Content::Blob(slice) => self.locate_slice(slice).await.map(Whereabouts::Hosts),
        }
    }

    async fn locate_slice(&self, slice: &BlobSlice) -> Result<Spread, LocateError> {
        let payer = PayerKey(*self.draw_secret().expose());
        let mut first = self.layout(slice, 0, &payer).await?;
        let shape = Shape::new(first.length, first.class).map_err(LocateError::Shape)?;
        let bytes = slice.offset..slice.offset.saturating_add(slice.length);
        let wanted = shape.segments_of_range(bytes).map_err(LocateError::Shape)?;
        let mut spread = Spread {
            blob: slice.blob,
            length: slice.length,
            class: first.class,
            segments: Vec::new(),
        };
        if wanted.start > 0 {
            first = self.layout(slice, wanted.start, &payer).await?;
        }
        spread.take(&first, &wanted);
        while let Some(next) = spread.next(&wanted) {
            let page = self.layout(slice, next, &payer).await?;
            spread.take(&page, &wanted);
            if spread.next(&wanted) == Some(next) {
                return Err(LocateError::Ended { segment: next });
            }
        }
        Ok(spread)
    }

    async fn layout(
        &self,
        slice: &BlobSlice,
        first: u64,
        payer: &PayerKey,
    ) -> Result<Layout, LocateError> {
        let limit = SEGMENTS_PER_PAGE_MAX as u64;
        let layout = self
            .transfer
            .api()
            .layout(&slice.blob, first, limit, payer)
            .await;
        layout.map_err(LocateError::Layout)
    }
}

impl Spread {
    /// How many Hosts, whichever, can fail so that the file still comes back; `None` where it
    /// does not come back now.
    #[must_use]
    pub fn survives(&self) -> Option<u64> {
        let k = u64::from(self.class.k());
        let spare = self
            .segments
            .iter()
            .map(|segment| segment.live().checked_sub(k));
        spare.min().flatten()
    }

    fn take(&mut self, page: &Layout, wanted: &Range<u64>) {
        for segment in &page.segments {
            if self.next(wanted) == Some(segment.segment) {
                self.segments.push(PlacedSegment::of(segment, &page.hosts));
            }
        }
    }

    /// The first segment that is not there yet.
    fn next(&self, wanted: &Range<u64>) -> Option<u64> {
        let next = wanted.start + self.segments.len() as u64;
        wanted.contains(&next).then_some(next)
    }
}

impl PlacedSegment {
    fn of(segment: &SegmentLayout, hosts: &[HostAddress]) -> Self {
        let shards = segment.shards.iter().map(|shard| {
            let host = shard.host.and_then(|index| hosts.get(usize::from(index)));
            PlacedShard {
                id: shard.id,
                host: host.map(PlacedHost::of),
            }
        });
        Self {
            segment: segment.segment,
            inconsistent: segment.inconsistent,
            shards: shards.collect(),
        }
    }

    /// Shards whose Host is online.
    #[must_use]
    pub fn live(&self) -> u64 {
        let hosts = self.shards.iter().filter_map(|shard| shard.host.as_ref());
        hosts.filter(|host| host.online).count() as u64
    }
}

impl PlacedHost {
    fn of(host: &HostAddress) -> Self {
        Self {
            id: host.host,
            name: host.name.clone(),
            zone: host.zone.clone(),
            region: host.region.clone(),
            online: host.online,
            proved: host.proved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(online: Option<bool>) -> PlacedShard {
        let host = online.map(|online| PlacedHost {
            id: HostId([1; 32]),
            name: "h1".to_owned(),
            zone: "z1".to_owned(),
            region: None,
            online,
            proved: None,
        });
        PlacedShard {
            id: ShardId([2; 32]),
            host,
        }
    }

    fn spread(live: &[usize]) -> Spread {
        let segments = (0..).zip(live).map(|(segment, &live)| {
            let mut shards = vec![shard(Some(true)); live];
            shards.extend([shard(Some(false)), shard(None)]);
            PlacedSegment {
                segment,
                inconsistent: false,
                shards,
            }
        });
        Spread {
            blob: BlobId([3; 16]),
            length: 9,
            class: "coded:4/8".parse().unwrap(),
            segments: segments.collect(),
        }
    }

    #[test]
    fn the_weakest_segment_decides() {
        assert_eq!(spread(&[8, 6, 8]).survives(), Some(2));
        assert_eq!(spread(&[8, 4]).survives(), Some(0));
        assert_eq!(spread(&[8, 3]).survives(), None);
    }
}
