//! One page of an upload's slots: which Host gets which shard.
//!
//! A page holds whole groups, so that it can be written at once and found again: asking for the
//! same page twice gives the same Hosts.

use metastore::group::{Group, segments_per_group};
use metastore::{GroupKey, GroupRow, HostAlias, StoreError, SwapError, Tx};
use model::units::{AccountId, BlobId, OwnerTag, ShardSize};
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;
use model::wire::{Problem, ProblemCode};
use rand_core::CryptoRng;

use super::record::{OpenUpload, PlannedBlob, SlotKey};
use crate::context::Context;
use crate::hosts::roster::TooFewHosts;
use crate::refusal::Refusal;

/// Where a page of slots begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCursor {
    blob: u16,
    segment: u64,
}

/// Text that is no cursor of this upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this upload")]
pub struct CursorError;

/// Slots of some segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPage {
    /// In the order of the request.
    pub segments: Vec<PlannedSegment>,
    /// Where the next page begins.
    pub next: Option<SlotCursor>,
}

/// The slots of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// The blob.
    pub blob: BlobId,
    /// Who may read or delete its shards without a Bridge.
    pub owner_tag: OwnerTag,
    /// The segment.
    pub segment: u64,
    /// The size of each of its shards.
    pub shard_size: ShardSize,
    /// One Host per shard, in order.
    pub hosts: Vec<HostAlias>,
}

/// Why there is no page of slots.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The cursor is not one of this upload.
    #[error("the cursor cannot be used")]
    Cursor(#[from] CursorError),
    /// Too few Hosts can take shards.
    #[error("segment {segment} of blob {blob} found too few hosts")]
    Hosts {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// How many, and who is missing.
        #[source]
        source: TooFewHosts,
    },
    /// A stored group is not what this upload planned.
    #[error("the group at segment {segment} of blob {blob} is another upload's")]
    Group {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for SlotsError {
    fn problem(&self) -> Problem {
        match self {
            Self::Cursor(_) => Problem::new(
                ProblemCode::BadRequest,
                "the cursor is not one of this upload",
            ),
            Self::Hosts { source, .. } => source.problem(),
            Self::Group { blob, .. } => Problem::new(
                ProblemCode::Conflict,
                format!("blob {blob} is still being deleted; use a fresh id"),
            ),
            Self::Store(error) => error.problem(),
        }
    }
}

impl SlotCursor {
    /// The opaque text of the cursor.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("{}.{}", self.blob, self.segment)
    }

    /// Reads a cursor back.
    ///
    /// # Errors
    /// [`CursorError`].
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let (blob, segment) = text.split_once('.').ok_or(CursorError)?;
        let blob = blob.parse().map_err(|_| CursorError)?;
        Ok(Self {
            blob,
            segment: segment.parse().map_err(|_| CursorError)?,
        })
    }
}

/// The page of slots that begins at `cursor`. Hosts drawn for it are durable with the
/// transaction, before anybody learns of them.
///
/// # Errors
/// [`SlotsError`].
pub fn page(
    tx: &mut dyn Tx,
    context: &Context,
    rng: &mut dyn CryptoRng,
    (account, open): (&AccountId, &OpenUpload),
    cursor: SlotCursor,
) -> Result<PlannedPage, SlotsError> {
    let per_group = segments_per_group(open.class.k(), open.class.n());
    let mut at = checked(cursor, open, per_group)?;
    let mut segments = Vec::new();
    while let Some(planned) = open.blobs.get(usize::from(at.blob)) {
        let left = planned.shape.segments() - at.segment;
        let count = u16::try_from(left).map_or(per_group, |left| left.min(per_group));
        if segments.len() + usize::from(count) > SEGMENTS_PER_PAGE_MAX {
            return Ok(PlannedPage {
                segments,
                next: Some(at),
            });
        }
        let key = GroupKey {
            account: *account,
            blob: planned.blob,
            first: at.segment,
        };
        let group = match find_group(tx, &key)? {
            Some(row) => row.group,
            None => place(tx, context, rng, (&key, planned, count))?,
        };
        let wrong = SlotsError::Group {
            blob: key.blob,
            segment: key.first,
        };
        let listed = list(open, planned, (at, count), &group).ok_or(wrong)?;
        segments.extend(listed);
        at.segment += u64::from(count);
        if at.segment >= planned.shape.segments() {
            at = SlotCursor {
                blob: at.blob.saturating_add(1),
                segment: 0,
            };
        }
    }
    Ok(PlannedPage {
        segments,
        next: None,
    })
}

fn checked(
    cursor: SlotCursor,
    open: &OpenUpload,
    per_group: u16,
) -> Result<SlotCursor, CursorError> {
    let planned = open
        .blobs
        .get(usize::from(cursor.blob))
        .ok_or(CursorError)?;
    let inside = cursor.segment < planned.shape.segments();
    let aligned = cursor.segment.is_multiple_of(u64::from(per_group.max(1)));
    if inside && aligned {
        Ok(cursor)
    } else {
        Err(CursorError)
    }
}

/// The group that begins at `key`.
pub(crate) fn find_group(tx: &dyn Tx, key: &GroupKey) -> Result<Option<GroupRow>, StoreError> {
    let segments = key.first..key.first.saturating_add(1);
    Ok(tx.groups(&key.account, &key.blob, segments, 1)?.pop())
}

/// Draws Hosts for the `count` segments of a group and writes it.
fn place(
    tx: &mut dyn Tx,
    context: &Context,
    rng: &mut dyn CryptoRng,
    (key, planned, count): (&GroupKey, &PlannedBlob, u16),
) -> Result<Group, SlotsError> {
    let (class, blob) = (planned.shape.class(), key.blob);
    let wrong = |segment| SlotsError::Group { blob, segment };
    let mut group = Group::new(class.k(), class.n(), count).map_err(|_| wrong(key.first))?;
    for at in 0..count {
        let segment = key.first + u64::from(at);
        let size = planned
            .shape
            .segment(segment)
            .ok_or(wrong(segment))?
            .shard_size;
        let hosts = context
            .roster
            .pick(rng, class.n(), size, &[])
            .map_err(|source| SlotsError::Hosts {
                blob,
                segment,
                source,
            })?;
        for (index, host) in (0..).zip(hosts) {
            group.set_host(at, index, Some(host));
        }
    }
    match tx.put_group(key, None, &group) {
        Ok(_) => Ok(group),
        Err(SwapError::Conflict { .. }) => Err(wrong(key.first)),
        Err(SwapError::Store(error)) => Err(error.into()),
    }
}

/// The slots of a group. Where receipts already left a slot empty, the last Host that had it.
fn list(
    open: &OpenUpload,
    planned: &PlannedBlob,
    (at, count): (SlotCursor, u16),
    group: &Group,
) -> Option<Vec<PlannedSegment>> {
    let segment = |number: u16| {
        let segment = at.segment + u64::from(number);
        let host = |index: u16| {
            let slot = SlotKey {
                blob: at.blob,
                segment,
                index,
            };
            group
                .host(number, index)
                .or_else(|| open.moved.get(&slot)?.last().copied())
        };
        Some(PlannedSegment {
            blob: planned.blob,
            owner_tag: planned.owner_tag,
            segment,
            shard_size: planned.shape.segment(segment)?.shard_size,
            hosts: (0..planned.shape.class().n())
                .map(host)
                .collect::<Option<_>>()?,
        })
    };
    (0..count).map(segment).collect()
}
