//! Takes the Hosts' receipts for what an upload stored.
//!
//! Two steps: signatures are checked without the store (slow, any thread), then the rest within
//! a transaction. A receipt counts where its serial is the one the Bridge gave that Host for that
//! very slot, and Host, shard and size agree. Repeating a page changes nothing.

use metastore::group::{Group, segments_per_group};
use metastore::{GroupKey, HostAlias, ReceiptRow, StoreError, SwapError, Tx, UploadRow};
use model::units::{AccountId, BlobId, ShardId, ShardSize, UploadId};
use model::wire::api::{ReceiptPage, SegmentReceipts};
use model::wire::limits::RECEIPT_SEGMENTS_PER_PAGE_MAX;
use model::wire::{Base64, Problem, ProblemCode, StoreReceipt, StoreReceiptError};

use super::receipt_log;
use super::record::{OpenUpload, SlotKey, UploadRecord};
use super::slots::find_group;
use super::{OpenUploadError, find_open};
use crate::context::Context;
use crate::refusal::Refusal;

/// A page whose signatures verify.
#[derive(Clone, Debug)]
pub struct SignedPage(Vec<SignedSegment>);

#[derive(Clone, Debug)]
struct SignedSegment {
    blob: BlobId,
    segment: u64,
    ids: Vec<ShardId>,
    receipts: Vec<Option<(StoreReceipt, Vec<u8>)>>,
}

/// Which slot a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptPlace {
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// The shard's index.
    pub index: usize,
}

/// Why receipts were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// Too many segments.
    #[error("{segments} segments in one page, limit {RECEIPT_SEGMENTS_PER_PAGE_MAX}")]
    TooMany {
        /// How many.
        segments: usize,
    },
    /// A receipt that its Host did not sign.
    #[error("the receipt of {place} is not a host's")]
    Signature {
        /// Its slot.
        place: ReceiptPlace,
        /// Why.
        #[source]
        source: StoreReceiptError,
    },
    /// The upload has no such segment, or its slots were not planned yet.
    #[error("segment {segment} of blob {blob} is not planned")]
    Segment {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// Not as many ids or receipts as the class has, or an id of zero.
    #[error("segment {segment} of blob {blob} needs {ids} ids and {receipts} receipts")]
    Count {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
        /// Ids needed.
        ids: u16,
        /// Receipts needed, missing ones counted.
        receipts: u16,
    },
    /// A receipt that does not fit its slot.
    #[error("the receipt of {place} has another {field}")]
    Field {
        /// Its slot.
        place: ReceiptPlace,
        /// What differs.
        field: &'static str,
    },
    /// Other ids were given for the segment before.
    #[error("segment {segment} of blob {blob} has other shard ids already")]
    OtherIds {
        /// The blob.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// More slots changed their Host than the Bridge remembers.
    #[error("too many slots of the upload changed their host")]
    Moved,
    /// The upload is not open.
    #[error("the upload cannot be used")]
    Upload(#[from] OpenUploadError),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl std::fmt::Display for ReceiptPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "shard {} of segment {} of blob {}",
            self.index, self.segment, self.blob
        )
    }
}

impl Refusal for ReceiptsError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::TooMany { .. } => ProblemCode::TooLarge,
            Self::Segment { .. } | Self::Count { .. } => ProblemCode::BadRequest,
            Self::Signature { .. } | Self::Field { .. } => ProblemCode::ReceiptRefused,
            Self::OtherIds { .. } => ProblemCode::Conflict,
            Self::Moved => ProblemCode::UploadState,
            Self::Upload(error) => return error.problem(),
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// Checks every signature of a page.
///
/// # Errors
/// [`ReceiptsError::TooMany`], [`ReceiptsError::Count`] and [`ReceiptsError::Signature`].
pub fn check_signatures(page: ReceiptPage) -> Result<SignedPage, ReceiptsError> {
    let segments = page.segments.len();
    if segments > RECEIPT_SEGMENTS_PER_PAGE_MAX {
        return Err(ReceiptsError::TooMany { segments });
    }
    page.segments
        .into_iter()
        .map(check_segment)
        .collect::<Result<_, _>>()
        .map(SignedPage)
}

fn check_segment(page: SegmentReceipts) -> Result<SignedSegment, ReceiptsError> {
    let SegmentReceipts {
        blob,
        segment,
        ids,
        receipts,
    } = page;
    let max = usize::from(model::units::SHARDS_PER_SEGMENT_MAX);
    if receipts.len() > max || ids.len() > max {
        let max = model::units::SHARDS_PER_SEGMENT_MAX;
        return Err(ReceiptsError::Count {
            blob,
            segment,
            ids: max,
            receipts: max,
        });
    }
    let open = |(index, receipt): (usize, Option<Base64>)| {
        let Some(signed) = receipt else {
            return Ok::<_, ReceiptsError>(None);
        };
        let place = ReceiptPlace {
            blob,
            segment,
            index,
        };
        let receipt = StoreReceipt::open(&signed.0)
            .map_err(|source| ReceiptsError::Signature { place, source })?;
        Ok(Some((receipt, signed.0)))
    };
    let receipts = receipts
        .into_iter()
        .enumerate()
        .map(open)
        .collect::<Result<_, _>>()?;
    Ok(SignedSegment {
        blob,
        segment,
        ids,
        receipts,
    })
}

/// Takes a page for an open upload: ids and Hosts go into the groups, receipts into the log.
///
/// # Errors
/// [`ReceiptsError`]; then nothing of the page counts.
pub fn receipts(
    tx: &mut dyn Tx,
    context: &Context,
    (account, upload): (&AccountId, &UploadId),
    page: &SignedPage,
) -> Result<(), ReceiptsError> {
    let open = find_open(&*tx, account, upload)?;
    let moved = open.moved.clone();
    let mut uploads = [(*upload, open)];
    take(tx, context, account, &mut uploads, page)?;
    let [(_, open)] = uploads;
    if open.moved != moved
        && let Some(row) = tx.upload(account, upload)?
    {
        tx.update_upload(&UploadRow {
            body: UploadRecord::Open(open).encode(),
            ..row
        })?;
    }
    Ok(())
}

/// As [`receipts`], for uploads that the caller has read and will write; each segment goes to the
/// one that has its blob.
pub(crate) fn take(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    uploads: &mut [(UploadId, OpenUpload)],
    page: &SignedPage,
) -> Result<(), ReceiptsError> {
    for segment in &page.0 {
        let mut open = uploads.iter_mut().map(|(_, open)| open);
        let open = open.find(|open| open.find(&segment.blob).is_some());
        let open = open.ok_or(ReceiptsError::Segment {
            blob: segment.blob,
            segment: segment.segment,
        })?;
        take_segment(tx, context, account, open, segment)?;
    }
    Ok(())
}

fn take_segment(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    open: &mut OpenUpload,
    page: &SignedSegment,
) -> Result<(), ReceiptsError> {
    let SignedSegment { blob, segment, .. } = *page;
    let unplanned = || ReceiptsError::Segment { blob, segment };
    let (at, planned) = open.find(&blob).ok_or_else(unplanned)?;
    let size = planned
        .shape
        .segment(segment)
        .ok_or_else(unplanned)?
        .shard_size;
    let hosts = check_slots(tx, context, open, page, size)?;
    let per_group = u64::from(segments_per_group(open.class.k(), open.class.n()).max(1));
    let key = GroupKey {
        account: *account,
        blob,
        first: segment - segment % per_group,
    };
    let row = find_group(tx, &key)?.ok_or_else(unplanned)?;
    let within = u16::try_from(segment - key.first).map_err(|_| unplanned())?;
    let mut group = row.group;
    let slot = SlotKey {
        blob: at,
        segment,
        index: 0,
    };
    let new = Filling {
        open,
        group: &mut group,
        within,
        slot,
    }
    .fill(page, &hosts)?;
    if new.is_empty() {
        return Ok(());
    }
    match tx.put_group(&key, Some(row.version), &group) {
        Ok(_) => {}
        Err(SwapError::Conflict { .. }) => return Err(unplanned()),
        Err(SwapError::Store(error)) => return Err(error.into()),
    }
    let bytes = log_row(page, &new);
    tx.append_receipts(&ReceiptRow {
        account: *account,
        blob,
        segment,
        bytes,
    })?;
    Ok(())
}

/// Checks each receipt against its slot; returns the Hosts that store the shards.
fn check_slots(
    tx: &dyn Tx,
    context: &Context,
    open: &OpenUpload,
    page: &SignedSegment,
    size: ShardSize,
) -> Result<Vec<Option<HostAlias>>, ReceiptsError> {
    let SignedSegment {
        blob,
        segment,
        ids,
        receipts,
    } = page;
    let (blob, segment, class) = (*blob, *segment, open.class);
    let counts = ids.len() == usize::from(class.ids()) && receipts.len() == usize::from(class.n());
    if !counts || ids.contains(&ShardId::default()) {
        let (ids, receipts) = (class.ids(), class.n());
        return Err(ReceiptsError::Count {
            blob,
            segment,
            ids,
            receipts,
        });
    }
    let check = |(index, receipt): (usize, &Option<(StoreReceipt, Vec<u8>)>)| {
        let Some((receipt, _)) = receipt else {
            return Ok::<_, ReceiptsError>(None);
        };
        let refuse = |field| {
            Err(ReceiptsError::Field {
                place: ReceiptPlace {
                    blob,
                    segment,
                    index,
                },
                field,
            })
        };
        let id = ids
            .get(index)
            .or_else(|| ids.first().filter(|_| class.ids() == 1));
        let slot = u16::try_from(index).unwrap_or(u16::MAX);
        let serial = context
            .keys
            .serials
            .serial(&blob, segment, slot, &receipt.host);
        if receipt.bridge != context.keys.id {
            return refuse("bridge");
        }
        if receipt.serial != serial {
            return refuse("serial");
        }
        if id != Some(&receipt.shard) {
            return refuse("shard id");
        }
        if receipt.size != size {
            return refuse("size");
        }
        let known = match context.roster.alias_of(&receipt.host) {
            Some(alias) => Some(alias),
            None => tx.host_by_id(&receipt.host)?.map(|row| row.alias),
        };
        match known {
            Some(alias) => Ok(Some(alias)),
            None => refuse("host"),
        }
    };
    receipts.iter().enumerate().map(check).collect()
}

/// Writes a segment's ids and Hosts into its group.
struct Filling<'a> {
    open: &'a mut OpenUpload,
    group: &'a mut Group,
    within: u16,
    slot: SlotKey,
}

impl Filling<'_> {
    /// Returns the indices that are new, or all where the segment was only planned so far.
    fn fill(
        &mut self,
        page: &SignedSegment,
        hosts: &[Option<HostAlias>],
    ) -> Result<Vec<usize>, ReceiptsError> {
        let planned = self.group.shard_id(self.within, 0) == Some(ShardId::default());
        self.set_ids(page, planned)?;
        let mut new = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            let Ok(slot) = u16::try_from(index) else {
                continue;
            };
            let before = self.group.host(self.within, slot);
            let after = if planned { *host } else { before.or(*host) };
            if before != after {
                self.group.set_host(self.within, slot, after);
                self.note(slot, before)?;
                self.note(slot, after)?;
            }
            if planned || before != after {
                new.push(index);
            }
        }
        Ok(new)
    }

    fn set_ids(&mut self, page: &SignedSegment, planned: bool) -> Result<(), ReceiptsError> {
        for (slot, id) in (0..).zip(&page.ids) {
            if planned {
                self.group.set_shard_id(self.within, slot, id);
            } else if self.group.shard_id(self.within, slot) != Some(*id) {
                let SignedSegment { blob, segment, .. } = *page;
                return Err(ReceiptsError::OtherIds { blob, segment });
            }
        }
        Ok(())
    }

    fn note(&mut self, index: u16, host: Option<HostAlias>) -> Result<(), ReceiptsError> {
        let slot = SlotKey { index, ..self.slot };
        let noted = host.is_none_or(|host| self.open.note(slot, host));
        if noted {
            Ok(())
        } else {
            Err(ReceiptsError::Moved)
        }
    }
}

/// A row of the receipts log with the receipts at `new`.
fn log_row(page: &SignedSegment, new: &[usize]) -> Vec<u8> {
    receipt_log::row(new.iter().filter_map(|index| {
        let (_, signed) = page.receipts.get(*index)?.as_ref()?;
        Some((u16::try_from(*index).unwrap_or(u16::MAX), &signed[..]))
    }))
}
