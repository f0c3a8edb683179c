//! Spare Hosts for slots whose Host failed or is late.

use std::collections::BTreeSet;

use metastore::group::segments_per_group;
use metastore::{GroupKey, HostAlias, StoreError, Tx, UploadRow, UsageDelta};
use model::units::{AccountId, BlobId, HostId, UploadId};
use model::wire::api::{FailedSlot, MoreRequest};
use model::wire::limits::{MORE_SLOTS_MAX, REPLACEMENTS_PER_SLOT_MAX};
use model::wire::{Problem, ProblemCode};
use rand_core::CryptoRng;

use super::plan::signed;
use super::record::{OpenUpload, SlotKey, UploadRecord};
use super::slots::{PlannedSegment, find_group};
use super::{OpenUploadError, find_open};
use crate::context::Context;
use crate::refusal::Refusal;

/// A spare: the slot's index and a segment whose only Host is the spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    /// The shard's index in the segment.
    pub index: u16,
    /// The segment, with one Host.
    pub segment: PlannedSegment,
}

/// Spares for the slots asked, in order.
#[derive(Clone, Debug)]
pub struct Spares {
    /// The upload.
    pub open: OpenUpload,
    /// `None` where no further Host fits.
    pub spares: Vec<Option<Spare>>,
    /// Hosts that are said to have failed.
    pub failed: BTreeSet<HostAlias>,
}

/// Why there are no spares.
#[derive(Debug, thiserror::Error)]
pub enum MoreError {
    /// Too many slots.
    #[error("{slots} slots in one request, limit {MORE_SLOTS_MAX}")]
    TooMany {
        /// How many.
        slots: usize,
    },
    /// The upload has no such slot, or it was not planned yet.
    #[error("slot {index} of segment {segment} of blob {blob} is not planned")]
    Slot {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// The shard's index.
        index: u16,
    },
    /// The Host is not known here.
    #[error("host {} never joined this bridge", failed.short())]
    Host {
        /// The Host.
        failed: HostId,
    },
    /// The upload is not open.
    #[error("the upload cannot be used")]
    Upload(#[from] OpenUploadError),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for MoreError {
    fn problem(&self) -> Problem {
        match self {
            Self::TooMany { .. } => Problem::new(ProblemCode::TooLarge, self.to_string()),
            Self::Slot { .. } | Self::Host { .. } => {
                Problem::new(ProblemCode::BadRequest, self.to_string())
            }
            Self::Upload(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Gives each failed slot another Host, outside the zones its segment uses. A slot whose Host was
/// replaced already gets that replacement again, so a repeated request costs nothing.
///
/// # Errors
/// [`MoreError`].
pub fn more(
    tx: &mut dyn Tx,
    context: &Context,
    rng: &mut dyn CryptoRng,
    (account, upload): (&AccountId, &UploadId),
    request: &MoreRequest,
) -> Result<Spares, MoreError> {
    let slots = request.slots.len();
    if slots > MORE_SLOTS_MAX {
        return Err(MoreError::TooMany { slots });
    }
    let mut open = find_open(&*tx, account, upload)?;
    let reserved_before = open.reserved_bytes;
    let mut spares = Vec::with_capacity(slots);
    let mut failed = BTreeSet::new();
    for slot in &request.slots {
        let asked = Asked::find(&*tx, context, (account, &open), slot)?;
        failed.insert(asked.failed);
        spares.push(asked.spare(context, rng, &mut open));
    }
    let added = open.reserved_bytes - reserved_before;
    tx.add_usage(
        account,
        UsageDelta {
            reserved_bytes: signed(added),
            ..Default::default()
        },
    )?;
    if let Some(row) = tx.upload(account, upload)? {
        let body = UploadRecord::Open(open.clone()).encode();
        tx.update_upload(&UploadRow { body, ..row })?;
    }
    Ok(Spares {
        open,
        spares,
        failed,
    })
}

/// A slot that needs a spare, as the rows know it.
struct Asked {
    key: SlotKey,
    failed: HostAlias,
    /// Hosts of the segment, the failed slot's own first.
    planned: Option<HostAlias>,
    others: Vec<HostAlias>,
    segment: PlannedSegment,
}

impl Asked {
    fn find(
        tx: &dyn Tx,
        context: &Context,
        (account, open): (&AccountId, &OpenUpload),
        slot: &FailedSlot,
    ) -> Result<Self, MoreError> {
        let FailedSlot {
            blob,
            segment,
            index,
            failed,
        } = *slot;
        let unplanned = || MoreError::Slot {
            blob,
            segment,
            index,
        };
        let (at, planned) = open.find(&blob).ok_or_else(unplanned)?;
        let cut = planned.shape.segment(segment).ok_or_else(unplanned)?;
        let per_group = u64::from(segments_per_group(open.class.k(), open.class.n()).max(1));
        let first = segment - segment % per_group;
        let group = find_group(
            tx,
            &GroupKey {
                account: *account,
                blob,
                first,
            },
        )?;
        let group = group.ok_or_else(unplanned)?.group;
        let within = u16::try_from(segment - first).map_err(|_| unplanned())?;
        if index >= open.class.n() {
            return Err(unplanned());
        }
        let unknown = MoreError::Host { failed };
        let failed = context.roster.alias_of(&failed).ok_or(unknown)?;
        Ok(Self {
            key: SlotKey {
                blob: at,
                segment,
                index,
            },
            failed,
            planned: group.host(within, index),
            others: group.hosts(within).flatten().collect(),
            segment: PlannedSegment {
                blob,
                owner_tag: planned.owner_tag,
                segment,
                shard_size: cut.shard_size,
                hosts: Vec::new(),
            },
        })
    }

    /// The slot's next Host: the replacement it already has, or a new one.
    fn spare(
        self,
        context: &Context,
        rng: &mut dyn CryptoRng,
        open: &mut OpenUpload,
    ) -> Option<Spare> {
        let mut history = open.moved.get(&self.key).cloned().unwrap_or_default();
        if history.is_empty() {
            history.extend(self.planned);
        }
        let last = *history.last()?;
        let host = if last == self.failed {
            self.draw(context, rng, (open, &history))?
        } else {
            history.contains(&self.failed).then_some(last)?
        };
        let Self { key, segment, .. } = self;
        Some(Spare {
            index: key.index,
            segment: PlannedSegment {
                hosts: vec![host],
                ..segment
            },
        })
    }

    fn draw(
        &self,
        context: &Context,
        rng: &mut dyn CryptoRng,
        (open, history): (&mut OpenUpload, &[HostAlias]),
    ) -> Option<HostAlias> {
        if history.len() > usize::from(REPLACEMENTS_PER_SLOT_MAX) {
            return None;
        }
        let from = SlotKey {
            index: 0,
            ..self.key
        };
        let until = SlotKey {
            index: u16::MAX,
            ..self.key
        };
        let mut used = self.others.clone();
        used.extend(open.moved.range(from..=until).flat_map(|(_, hosts)| hosts));
        let size = self.segment.shard_size;
        let host = context.roster.pick(rng, 1, size, &used).ok()?.pop()?;
        let noted = history.iter().all(|earlier| open.note(self.key, *earlier));
        if !noted || !open.note(self.key, host) {
            return None;
        }
        open.reserved_bytes = open.reserved_bytes.saturating_add(u64::from(size.bytes()));
        Some(host)
    }
}
