//! One segment's repair: which shards are wanted, who has what restores them, and who shall keep
//! them. Read in a transaction, signed outside.

use metastore::{HostAlias, StoreError, Tx};
use model::units::{HostId, OwnerTag, PayerKey, Serial, ShardId, ShardSize};
use model::wire::limits::{REPAIR_LIFETIME_MS, REPAIR_SOURCES_MAX};
use model::wire::repair::{RepairOrder, RepairSource};
use model::wire::{Action, Base64, Signed, Ticket};
use rand_core::CryptoRng;

use super::judge::{Belief, Cause, Tally};
use crate::context::Context;
use crate::hosts::directory::Beliefs;
use crate::place::SegmentKey;
use crate::upload::tickets::PRICE_VERSION;

/// How often a ticket to repair pays for its shard: retries included.
const READS_PER_TICKET: u64 = 3;

/// A segment as repair sees it.
#[derive(Clone, Debug)]
pub struct Work {
    /// Which.
    pub key: SegmentKey,
    /// Shards that restore it.
    pub k: u16,
    /// Its shards.
    pub n: u16,
    /// The size of each.
    pub shard_size: ShardSize,
    /// Under which tag its shards are kept.
    pub owner_tag: OwnerTag,
    /// What is to be made anew or moved.
    pub wanted: Vec<WantedShard>,
    /// Who can be read from now.
    pub sources: Vec<Source>,
    /// Hosts that keep shards of it and go on doing so, or may come back with them.
    pub beside: Vec<HostAlias>,
}

/// A shard that is to lie elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedShard {
    /// Its slot.
    pub slot: u16,
    /// Its id.
    pub shard: ShardId,
    /// Who has it as far as the store says.
    pub old: Option<HostAlias>,
    /// Why.
    pub cause: Cause,
}

/// A Host that has a shard of the segment and serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The Host.
    pub alias: HostAlias,
    /// Its slot.
    pub slot: u16,
    /// Its shard.
    pub shard: ShardId,
}

/// Reads what is to be done for a segment; `None` where there is nothing.
///
/// # Errors
/// [`StoreError`].
pub fn work(tx: &dyn Tx, beliefs: &Beliefs, key: SegmentKey) -> Result<Option<Work>, StoreError> {
    let Some(row) = key.read(tx)? else {
        return Ok(None);
    };
    let (k, n) = (row.k(), row.n());
    let slots: Vec<(u16, Option<HostAlias>, Belief, u32)> = (0..n)
        .map(|slot| {
            let host = row.host(slot);
            let (belief, zone) = beliefs.shard(host);
            (slot, host, belief, zone)
        })
        .collect();
    let tally = Tally::of(slots.iter().map(|(_, _, belief, zone)| (*belief, *zone)));
    let Some(need) = tally.need(k, n) else {
        return Ok(None);
    };
    let mut work = Work {
        key,
        k,
        n,
        shard_size: row.shard_size,
        owner_tag: row.blob.owner_tag,
        wanted: Vec::new(),
        sources: Vec::new(),
        beside: Vec::new(),
    };
    let mut zones = Vec::new();
    for (slot, host, belief, zone) in slots {
        let Some(shard) = row.shard(slot) else {
            // Nobody committed it: there is nothing to go by.
            return Ok(None);
        };
        let here = matches!(belief, Belief::Here | Belief::Leaving);
        let crowded = here && zones.contains(&zone);
        let cause = match belief {
            Belief::Gone => Some(Cause::Missing),
            Belief::Away => tally.takes_absent(k, n).then_some(Cause::Missing),
            Belief::Here if crowded => Some(Cause::Clumped),
            Belief::Leaving => Some(Cause::Leaving),
            Belief::Here => None,
        };
        if here {
            zones.push(zone);
        }
        if let Some(alias) = host {
            if beliefs.serves(alias) && belief != Belief::Gone {
                work.sources.push(Source { alias, slot, shard });
            }
            if cause != Some(Cause::Missing) {
                work.beside.push(alias);
            }
        }
        // First what is missing; the rest when that is done.
        if let Some(cause) = cause.filter(|cause| *cause == need.cause) {
            work.wanted.push(WantedShard {
                slot,
                shard,
                old: host,
                cause,
            });
        }
    }
    Ok(Some(work))
}

impl Work {
    /// Whether the sources restore, or hold, the wanted shard.
    #[must_use]
    pub fn restores(&self, wanted: &WantedShard) -> bool {
        let mut shards: Vec<ShardId> = self.sources.iter().map(|source| source.shard).collect();
        if shards.contains(&wanted.shard) {
            return true;
        }
        shards.sort_unstable();
        shards.dedup();
        shards.len() >= usize::from(self.k)
    }
}

/// An order for one shard.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The order, signed.
    pub order: Signed<RepairOrder>,
    /// Its name.
    pub id: Serial,
    /// The serial under which the Host keeps the shard.
    pub serial: Serial,
}

/// Signs the order to `host` (`alias`) for a wanted shard, with tickets for the sources. Slow.
pub fn sign(
    context: &Context,
    rng: &mut dyn CryptoRng,
    (work, wanted): (&Work, &WantedShard),
    host: HostId,
) -> Ordered {
    let mut draw = || {
        let mut serial = Serial([0; 16]);
        rng.fill_bytes(&mut serial.0);
        serial
    };
    let id = draw();
    let serial = work.key.slot(wanted.slot).serial(&context.keys, &host);
    // Those that have the very shard come first: one read instead of k.
    let (same, others): (Vec<&Source>, Vec<&Source>) = work
        .sources
        .iter()
        .partition(|source| source.shard == wanted.shard);
    let ordered = same.into_iter().chain(others).take(REPAIR_SOURCES_MAX);
    let sources = ordered.filter_map(|source| {
        let address = context.roster.address(source.alias)?;
        let ticket = Ticket {
            serial: draw(),
            bridge: context.keys.id,
            host: address.host,
            action: Action::RepairGet {
                shard: source.shard,
            },
            bytes_max: u64::from(work.shard_size.bytes()) * READS_PER_TICKET,
            payer: PayerKey(host.0),
            price_version: PRICE_VERSION,
            created: context.now,
            expires: context.now.plus_ms(REPAIR_LIFETIME_MS),
        };
        Some(RepairSource {
            host: address.host,
            addresses: address.addresses,
            index: source.slot,
            shard: source.shard,
            ticket: Base64(ticket.sign(&context.keys.signing)),
        })
    });
    let order = RepairOrder {
        bridge: context.keys.id,
        host,
        id,
        serial,
        owner_tag: work.owner_tag,
        shard: wanted.shard,
        shard_bytes: work.shard_size.bytes(),
        index: wanted.slot,
        k: work.k,
        n: work.n,
        sources: sources.collect(),
        expires: context.now.plus_ms(REPAIR_LIFETIME_MS),
    };
    Ordered {
        order: Signed::new(&context.keys.signing, &order),
        id,
        serial,
    }
}
