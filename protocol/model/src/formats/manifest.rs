//! The manifest of a blob: the ids of all its shards, in Merkle-linked sealed pages.
//!
//! It is what the client trusts; the Bridge's copy of the ids serves placement only. A small
//! blob's manifest is one page, and a range of a blob of a terabyte needs two. The page layout
//! is in `docs/spec/formats.md`.

mod layout;

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{OpenError, SEAL_OVERHEAD_BYTES, Secret, open, seal, sha256};
use crate::formats::shape::{Class, ClassError, Shape, ShapeError};
use crate::formats::{SealedPage, Step};
use crate::units::{BlobId, MANIFEST_PAGE_BYTES_MAX, NodeHash, ShardId};
use layout::Layout;

/// Bytes before the ids of a page.
const HEADER_BYTES: usize = 38;
/// Most ids in a page.
const IDS_PER_PAGE: usize = (MANIFEST_PAGE_BYTES_MAX - HEADER_BYTES) / 32;
/// Largest sealed manifest page.
pub const SEALED_MANIFEST_PAGE_BYTES_MAX: usize = MANIFEST_PAGE_BYTES_MAX + SEAL_OVERHEAD_BYTES;
/// Opened pages that a [`Manifest`] keeps: the path to any segment and some neighbours.
const PAGES_KEPT: usize = 8;
const VERSION: u8 = 1;

/// Collects the shard ids of a blob, segment after segment, and emits pages as they fill.
///
/// At most one unfinished page per level is held in memory.
#[derive(Debug)]
pub struct ManifestBuilder {
    layout: Layout,
    blob: BlobId,
    secret: Secret,
    pushed: u64,
    /// The unfinished page of every level, leaves first.
    open: Vec<OpenPage>,
    top: Option<NodeHash>,
}

#[derive(Debug, Default)]
struct OpenPage {
    index: u64,
    ids: Vec<[u8; 32]>,
}

/// Shard ids that do not fit the blob's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestBuildError {
    /// The wrong number of ids for a segment.
    #[error("segment {segment} has {expected} shard ids, {given} were given")]
    Ids {
        /// The segment.
        segment: u64,
        /// How many ids it has.
        expected: u16,
        /// How many came.
        given: usize,
    },
    /// More segments than the blob has.
    #[error("all {segments} segments are there already")]
    Full {
        /// How many the blob has.
        segments: u64,
    },
    /// Fewer segments than the blob has.
    #[error("{pushed} of {segments} segments are there")]
    Incomplete {
        /// How many came.
        pushed: u64,
        /// How many the blob has.
        segments: u64,
    },
}

impl ManifestBuilder {
    /// Starts the manifest of `blob`, sealed under the blob's own `secret`.
    #[must_use]
    pub fn new(shape: Shape, blob: BlobId, secret: Secret) -> Self {
        let layout = Layout::new(shape);
        let open = (0..=layout.top_level())
            .map(|_| OpenPage::default())
            .collect();
        Self {
            layout,
            blob,
            secret,
            pushed: 0,
            open,
            top: None,
        }
    }

    /// Adds the ids of the next segment (n of them, one for mirrors) and returns the pages that
    /// this completes.
    ///
    /// # Errors
    /// [`ManifestBuildError::Ids`] and [`ManifestBuildError::Full`]; nothing was added then.
    pub fn push(&mut self, ids: &[ShardId]) -> Result<Vec<SealedPage>, ManifestBuildError> {
        let (segments, expected) = (
            self.layout.shape().segments(),
            self.layout.shape().class().ids(),
        );
        if self.pushed == segments {
            return Err(ManifestBuildError::Full { segments });
        }
        if ids.len() != usize::from(expected) {
            let segment = self.pushed;
            return Err(ManifestBuildError::Ids {
                segment,
                expected,
                given: ids.len(),
            });
        }
        self.pushed += 1;
        let mut items: Vec<[u8; 32]> = ids.iter().map(|id| id.0).collect();
        let mut pages = Vec::new();
        for level in 0..=self.layout.top_level() {
            let Some(page) = self.complete(level, &items) else {
                break;
            };
            items = vec![page.hash().0];
            pages.push(page);
        }
        if self.pushed == segments {
            self.top = pages.last().map(SealedPage::hash);
        }
        Ok(pages)
    }

    /// Returns the hash of the top page, which the tree entry carries.
    ///
    /// # Errors
    /// [`ManifestBuildError::Incomplete`] where segments are missing.
    pub fn finish(self) -> Result<NodeHash, ManifestBuildError> {
        let (pushed, segments) = (self.pushed, self.layout.shape().segments());
        self.top
            .ok_or(ManifestBuildError::Incomplete { pushed, segments })
    }

    /// Adds `items` to the open page of `level`; returns the page where it is complete now.
    fn complete(&mut self, level: u8, items: &[[u8; 32]]) -> Option<SealedPage> {
        let page = self.open.get_mut(usize::from(level))?;
        page.ids.extend_from_slice(items);
        if page.ids.len() < self.layout.ids_in(level, page.index)? {
            return None;
        }
        let place = Place {
            level,
            index: page.index,
        };
        let plain = encode(self.layout.shape(), place, &page.ids);
        page.index += 1;
        page.ids.clear();
        Some(SealedPage::new(seal(
            &self.secret,
            &context(&self.blob),
            &plain,
        )))
    }
}

/// Answers which shards a segment has, from pages that are checked as they come.
#[derive(Debug)]
pub struct Manifest {
    blob: BlobId,
    secret: Secret,
    top: NodeHash,
    layout: Option<Layout>,
    /// Opened pages, the least recently used first.
    pages: Vec<ReadPage>,
}

#[derive(Debug)]
struct ReadPage {
    hash: NodeHash,
    place: Place,
    ids: Vec<ShardId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// 0 for pages of shard ids, above that for pages of page hashes.
    level: u8,
    /// Its place among the pages of its level.
    index: u64,
}

/// A manifest page that is refused, or a segment that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The page is longer than any page.
    #[error("a manifest page of {bytes} bytes is above {SEALED_MANIFEST_PAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The page does not open.
    #[error("manifest page {hash} does not open")]
    Open {
        /// Its hash.
        hash: NodeHash,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The page opens, but does not hold what it should.
    #[error("manifest page {hash} is malformed")]
    Page {
        /// Its hash.
        hash: NodeHash,
        /// Why.
        #[source]
        source: PageError,
    },
    /// A page that the manifest did not ask for.
    #[error("page {hash} is not wanted by this manifest")]
    Unwanted {
        /// Its hash.
        hash: NodeHash,
    },
    /// The blob has no such segment.
    #[error("the blob has {segments} segments and no segment {segment}")]
    NoSegment {
        /// The segment asked for.
        segment: u64,
        /// How many the blob has.
        segments: u64,
    },
}

/// What is wrong with the plain bytes of a manifest page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Its fields cannot be read.
    #[error("its fields cannot be read")]
    Fields(#[from] DecodeError),
    /// It names a class that cannot be.
    #[error("its class cannot be")]
    Class(#[from] ClassError),
    /// It names a length that cannot be.
    #[error("its blob length cannot be")]
    Shape(#[from] ShapeError),
    /// It stands at another place than the one it was asked for.
    #[error("it belongs to another place or blob")]
    Place,
}

impl Manifest {
    /// The manifest of `blob` whose top page is `top`, sealed under the blob's `secret`.
    #[must_use]
    pub const fn new(blob: BlobId, secret: Secret, top: NodeHash) -> Self {
        Self {
            blob,
            secret,
            top,
            layout: None,
            pages: Vec::new(),
        }
    }

    /// How the blob is cut; known once the top page is there.
    pub fn shape(&self) -> Step<Shape> {
        self.layout.map_or_else(
            || Step::Need(vec![self.top]),
            |layout| Step::Ready(layout.shape()),
        )
    }

    /// Takes a page that [`Step::Need`] asked for. The first must be the top page; others are
    /// accepted where a page already here links to them.
    ///
    /// # Errors
    /// [`ManifestError`] for anything but a page of this manifest; nothing changes then.
    pub fn accept(&mut self, sealed: &[u8]) -> Result<(), ManifestError> {
        let bytes = sealed.len();
        if bytes > SEALED_MANIFEST_PAGE_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes });
        }
        let hash = NodeHash(sha256(sealed));
        if self.pages.iter().any(|page| page.hash == hash) {
            return Ok(());
        }
        let wanted = self.wanted(&hash).ok_or(ManifestError::Unwanted { hash })?;
        let plain = open(&self.secret, &context(&self.blob), sealed)
            .map_err(|source| ManifestError::Open { hash, source })?;
        let (layout, page) = self
            .check(hash, wanted, &plain)
            .map_err(|source| ManifestError::Page { hash, source })?;
        self.layout = Some(layout);
        self.keep(page);
        Ok(())
    }

    /// The shard ids of `segment`: n of them, one for mirrors.
    ///
    /// # Errors
    /// [`ManifestError::NoSegment`].
    pub fn segment(&mut self, segment: u64) -> Result<Step<&[ShardId]>, ManifestError> {
        let Some(layout) = self.layout else {
            return Ok(Step::Need(vec![self.top]));
        };
        let shape = layout.shape();
        if segment >= shape.segments() {
            return Err(ManifestError::NoSegment {
                segment,
                segments: shape.segments(),
            });
        }
        let mut hash = self.top;
        for level in (1..=layout.top_level()).rev() {
            let slot = layout.slot(level, segment);
            let Some(page) = self.touch(&hash) else {
                return Ok(Step::Need(vec![hash]));
            };
            hash = NodeHash(page.ids.get(slot).map_or([0; 32], |id| id.0));
        }
        let start = layout.slot(0, segment);
        let Some(page) = self.touch(&hash) else {
            return Ok(Step::Need(vec![hash]));
        };
        let ids = page
            .ids
            .get(start..start + usize::from(shape.class().ids()));
        Ok(Step::Ready(ids.unwrap_or_default()))
    }

    /// Where a page of this hash belongs: `Some(None)` for the top page, whose level it tells
    /// itself.
    fn wanted(&self, hash: &NodeHash) -> Option<Option<Place>> {
        if *hash == self.top {
            return Some(None);
        }
        let layout = self.layout?;
        self.pages
            .iter()
            .filter(|page| page.place.level > 0)
            .find_map(|page| {
                let slot = page.ids.iter().position(|id| id.0 == hash.0)?;
                let index = layout.child_index(page.place.index, slot);
                Some(Some(Place {
                    level: page.place.level - 1,
                    index,
                }))
            })
    }

    fn check(
        &self,
        hash: NodeHash,
        wanted: Option<Place>,
        plain: &[u8],
    ) -> Result<(Layout, ReadPage), PageError> {
        let (shape, place, ids) = decode(plain)?;
        let layout = Layout::new(shape);
        let wanted = wanted.unwrap_or(Place {
            level: layout.top_level(),
            index: 0,
        });
        let same_blob = self.layout.is_none_or(|known| known.shape() == shape);
        if place != wanted
            || !same_blob
            || layout.ids_in(place.level, place.index) != Some(ids.len())
        {
            return Err(PageError::Place);
        }
        Ok((layout, ReadPage { hash, place, ids }))
    }

    fn keep(&mut self, page: ReadPage) {
        if self.pages.len() >= PAGES_KEPT {
            self.pages.remove(0);
        }
        self.pages.push(page);
    }

    fn touch(&mut self, hash: &NodeHash) -> Option<&ReadPage> {
        let at = self.pages.iter().position(|page| page.hash == *hash)?;
        let page = self.pages.remove(at);
        self.pages.push(page);
        self.pages.last()
    }
}

fn context(blob: &BlobId) -> [u8; 24] {
    let mut context = *b"manifest................";
    context[8..].copy_from_slice(&blob.0);
    context
}

fn encode(shape: Shape, place: Place, ids: &[[u8; 32]]) -> Vec<u8> {
    let mut out = Writer::with_capacity(HEADER_BYTES + 32 * ids.len());
    out.u8(VERSION)
        .u8(place.level)
        .u16(shape.class().k())
        .u16(shape.class().n());
    out.u32(shape.shard_size().bytes())
        .u64(shape.length())
        .u64(shape.segments());
    out.u64(place.index)
        .u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
    for id in ids {
        out.bytes(id);
    }
    out.finish()
}

fn decode(plain: &[u8]) -> Result<(Shape, Place, Vec<ShardId>), PageError> {
    let mut input = Reader::new(plain);
    input.version("manifest page", VERSION)?;
    let level = input.u8("level")?;
    let class = Class::of(input.u16("k")?, input.u16("n")?)?;
    let shard_size = input.u32("shard size")?;
    let shape = Shape::new(input.u64("length")?, class)?;
    if shard_size != shape.shard_size().bytes() {
        return Err(DecodeError::Invalid {
            field: "shard size",
        }
        .into());
    }
    if input.u64("segments")? != shape.segments() {
        return Err(DecodeError::Invalid { field: "segments" }.into());
    }
    let place = Place {
        level,
        index: input.u64("index")?,
    };
    let len = input.u32("ids")? as usize;
    if len > IDS_PER_PAGE {
        return Err(DecodeError::TooLong {
            field: "ids",
            len,
            max: IDS_PER_PAGE,
        }
        .into());
    }
    let (ids, _) = input.take("ids", 32 * len)?.as_chunks::<32>();
    let ids = ids.iter().copied().map(ShardId).collect();
    input.finish()?;
    Ok((shape, place, ids))
}

#[cfg(test)]
mod tests;
