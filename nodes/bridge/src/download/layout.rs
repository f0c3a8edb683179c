//! Where the shards of a blob lie, with tickets to read them.

use metastore::group::segments_per_group;
use metastore::{BlobState, HostAlias, StoreError, Tx};
use model::formats::shape::{Class, Shape};
use model::units::{AccountId, BlobId, PayerKey, Serial, ShardId, ShardSize};
use model::wire::api::{Layout, SegmentLayout, ShardPlace};
use model::wire::limits::{READ_TICKET_LIFETIME_MS, SEGMENTS_PER_PAGE_MAX};
use model::wire::{Action, Base64, Problem, ProblemCode, Ticket};
use rand_core::CryptoRng;

use crate::context::Context;
use crate::refusal::{Refusal, internal};
use crate::upload::tickets::{HostList, PRICE_VERSION};

/// How often a read ticket pays for its shard: retries and ranges included.
const READS_PER_TICKET: u64 = 4;

/// What the tickets of a layout are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read shards.
    Read,
    /// To have shards proved, without reading them.
    Audit,
}

impl Purpose {
    const fn action(self, shard: ShardId) -> Action {
        match self {
            Self::Read => Action::Get { shard },
            Self::Audit => Action::Audit { shard },
        }
    }
}

/// Where some segments of a blob lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    shape: Shape,
    segments: Vec<SegmentPlaces>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SegmentPlaces {
    segment: u64,
    inconsistent: bool,
    shard_size: ShardSize,
    shards: Vec<(ShardId, Option<HostAlias>)>,
}

/// Why there is no layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The account has no such blob, or it is not committed.
    #[error("blob {blob} does not exist")]
    Unknown {
        /// Its id.
        blob: BlobId,
    },
    /// The stored places are not those of the blob's shape.
    #[error("the places of segment {segment} of blob {blob} cannot be read")]
    Broken {
        /// Its id.
        blob: BlobId,
        /// The segment.
        segment: u64,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for LayoutError {
    fn problem(&self) -> Problem {
        match self {
            Self::Unknown { .. } => Problem::new(ProblemCode::NotFound, self.to_string()),
            Self::Broken { .. } => internal(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Where up to `limit` segments of a committed blob lie, from `first` on.
///
/// # Errors
/// [`LayoutError`].
pub fn places(
    tx: &dyn Tx,
    account: &AccountId,
    blob: &BlobId,
    first: u64,
    limit: usize,
) -> Result<Places, LayoutError> {
    let unknown = LayoutError::Unknown { blob: *blob };
    let row = tx
        .blob(account, blob)?
        .filter(|row| row.state != BlobState::Pending);
    let row = row.ok_or(unknown)?;
    let broken = |segment| LayoutError::Broken {
        blob: *blob,
        segment,
    };
    let class = Class::of(row.k, row.n).map_err(|_| broken(first))?;
    let shape = Shape::new(row.length, class).map_err(|_| broken(first))?;
    let limit = u64::try_from(limit.min(SEGMENTS_PER_PAGE_MAX)).unwrap_or(0);
    let wanted = first..shape.segments().min(first.saturating_add(limit));
    let mut segments = Vec::new();
    if wanted.is_empty() {
        return Ok(Places { shape, segments });
    }
    let per_group = u64::from(segments_per_group(row.k, row.n).max(1));
    let groups = (wanted.end - wanted.start) / per_group + 2;
    let groups = u32::try_from(groups).unwrap_or(u32::MAX);
    let frozen = tx.frozen_segments(account, blob)?;
    for group in tx.groups(account, blob, wanted.clone(), groups)? {
        for within in 0..group.group.segments() {
            let segment = group.key.first + u64::from(within);
            if !wanted.contains(&segment) {
                continue;
            }
            let shard_size = shape
                .segment(segment)
                .ok_or_else(|| broken(segment))?
                .shard_size;
            let place = |slot| {
                Some((
                    group.group.shard_id(within, slot)?,
                    group.group.host(within, slot),
                ))
            };
            let shards = (0..row.n).map(place).collect::<Option<_>>();
            let shards = shards.ok_or_else(|| broken(segment))?;
            segments.push(SegmentPlaces {
                segment,
                inconsistent: frozen.binary_search(&segment).is_ok(),
                shard_size,
                shards,
            });
        }
    }
    let complete = wanted
        .clone()
        .eq(segments.iter().map(|places| places.segment));
    if complete {
        Ok(Places { shape, segments })
    } else {
        Err(broken(wanted.start))
    }
}

/// The layout with its tickets, for Hosts that are online and those that are not: they may come
/// back. Signing is slow beside the rest, so it happens outside the transaction.
#[must_use]
pub fn layout(
    context: &Context,
    rng: &mut dyn CryptoRng,
    places: &Places,
    (payer, purpose): (PayerKey, Purpose),
) -> Layout {
    let mut hosts = HostList::default();
    let mut segments = Vec::with_capacity(places.segments.len());
    for places in &places.segments {
        let mut shards = Vec::with_capacity(places.shards.len());
        for (id, alias) in &places.shards {
            let host = alias.and_then(|alias| hosts.index(context, alias));
            let ticket = host.and_then(|at| hosts.get(at)).map(|address| {
                let mut serial = Serial([0; 16]);
                rng.fill_bytes(&mut serial.0);
                Ticket {
                    serial,
                    bridge: context.keys.id,
                    host: address.host,
                    action: purpose.action(*id),
                    bytes_max: u64::from(places.shard_size.bytes()) * READS_PER_TICKET,
                    payer,
                    price_version: PRICE_VERSION,
                    created: context.now,
                    expires: context.now.plus_ms(READ_TICKET_LIFETIME_MS),
                }
            });
            let ticket = ticket.map(|ticket| Base64(ticket.sign(&context.keys.signing)));
            shards.push(ShardPlace {
                id: *id,
                host,
                ticket,
            });
        }
        segments.push(SegmentLayout {
            segment: places.segment,
            inconsistent: places.inconsistent,
            shards,
        });
    }
    let (length, class) = (places.shape.length(), places.shape.class());
    Layout {
        length,
        class,
        hosts: hosts.into_hosts(),
        segments,
    }
}
