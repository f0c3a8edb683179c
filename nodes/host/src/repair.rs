//! Repair: a Bridge orders this Host to get a shard that lies on too few others. It is copied from
//! a Host that has it, or restored from any k others, believed for its hash alone, and kept like
//! an upload. The Bridge moves no data.
//!
//! What is absent: a byte fetched before there is room for it; more than k shards in memory, and
//! one on its way.

mod fetch;
mod restore;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use erasure::Code;
use model::units::{BridgeId, ShardSize};
use model::wire::limits::REPAIR_SOURCES_MAX;
use model::wire::repair::{RepairOrder, RepairOutcome, RepairSource, Repaired, SourceSeen};
use model::wire::{Base64, Signed, SignedError};
use net::Dialer;
use shardstore::{NewShard, RecordKey, Stored};

use crate::host::Node;
use crate::refusal::Refusal;
use crate::storing::{already_stored, not_stored, room, signed_receipt};
use restore::Restored;

/// An order that nobody can be answered about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    /// Not signed by the Bridge whose channel it came by.
    #[error("a repair order that the bridge did not sign")]
    Signed(#[from] SignedError),
    /// Of another Bridge, or for another Host.
    #[error("a repair order for another host or of another bridge")]
    NotForUs,
}

/// A repair under way.
struct Repair<'a> {
    node: &'a Arc<Node>,
    dialer: &'a Dialer,
    order: &'a RepairOrder,
    size: ShardSize,
    code: Code,
    /// Of sources that did not deliver.
    saw: Mutex<Vec<SourceSeen>>,
}

/// Carries out an order of `bridge`, or says why not. The same order again is answered with the
/// same receipt.
pub(crate) async fn carry_out(
    node: &Arc<Node>,
    dialer: &Dialer,
    bridge: BridgeId,
    order: &Signed<RepairOrder>,
) -> Result<Repaired, RepairError> {
    let order = order.open(&bridge.0)?;
    if order.bridge != bridge || order.host != node.id {
        return Err(RepairError::NotForUs);
    }
    // Never closed.
    let _turn = node.repairs.acquire().await;
    let (outcome, saw) = match checked(&order) {
        Err(detail) => (RepairOutcome::Malformed { detail }, Vec::new()),
        Ok((size, code)) => {
            let repair = Repair {
                node,
                dialer,
                order: &order,
                size,
                code,
                saw: Mutex::default(),
            };
            let outcome = match repair.run().await {
                Ok(outcome) => outcome,
                Err(Refusal(problem)) => RepairOutcome::Refused {
                    detail: problem.detail,
                },
            };
            let saw = repair.saw.into_inner();
            (outcome, saw.unwrap_or_else(PoisonError::into_inner))
        }
    };
    tell(&order, &outcome);
    Ok(Repaired {
        id: order.id,
        outcome,
        saw,
    })
}

/// The size and code of an order that can be carried out; else what is wrong with it.
fn checked(order: &RepairOrder) -> Result<(ShardSize, Code), String> {
    let size = ShardSize::new(order.shard_bytes).map_err(|error| error.to_string())?;
    let code = Code::new(order.k, order.n).map_err(|error| error.to_string())?;
    if order.sources.len() > REPAIR_SOURCES_MAX {
        let sources = order.sources.len();
        return Err(format!(
            "{sources} sources, at most {REPAIR_SOURCES_MAX} may be named"
        ));
    }
    let mut places = order.sources.iter().map(|source| source.index);
    let outside = places.find(|index| *index >= order.n);
    match outside.or((order.index >= order.n).then_some(order.index)) {
        Some(index) => Err(format!("no shard {index} among {}", order.n)),
        None => Ok((size, code)),
    }
}

fn tell(order: &RepairOrder, outcome: &RepairOutcome) {
    let (shard, repair) = (order.shard.short(), order.id.short());
    match outcome {
        RepairOutcome::Stored { .. } => tracing::info!(repair, shard, "shard made anew"),
        RepairOutcome::Sources => tracing::warn!(repair, shard, "too few sources delivered"),
        RepairOutcome::Inconsistent { found } => {
            tracing::warn!(repair, shard, %found, "the segment's shards do not fit each other");
        }
        RepairOutcome::Refused { detail } | RepairOutcome::Malformed { detail } => {
            tracing::warn!(repair, shard, detail, "repair not done");
        }
    }
}

impl Repair<'_> {
    async fn run(&self) -> Result<RepairOutcome, Refusal> {
        let (order, node) = (self.order, self.node);
        let key = RecordKey {
            bridge: order.bridge,
            serial: order.serial,
        };
        if let Some(stored) = already_stored(node, key, order.shard).await? {
            return Ok(self.stored(key, &stored));
        }
        if let Some(detail) = self.why_not() {
            let detail = detail.to_owned();
            return Ok(RepairOutcome::Refused { detail });
        }
        let (_quota, room) = room(node, order.bridge, self.size).await?;
        let bytes = match self.get().await? {
            Ok(bytes) => bytes,
            Err(outcome) => return Ok(outcome),
        };
        let now = node.environment.now();
        let shard = NewShard::new(key, order.shard, order.owner_tag, now, bytes)
            .map_err(|error| Refusal::new(model::wire::ProblemCode::Internal, error.to_string()))?;
        let stored = node.volumes.put(shard, room).await;
        let stored = stored.map_err(|error| not_stored(&error))?;
        node.done.repaired();
        Ok(self.stored(key, &stored))
    }

    /// Why this Host does not begin it now.
    fn why_not(&self) -> Option<&'static str> {
        if self.node.environment.now() >= self.order.expires {
            return Some("the order has expired");
        }
        if self.node.wishes.borrow().is_leaving() {
            return Some("this host is leaving");
        }
        let paused = self.node.is_paused();
        paused.then_some("this host is paused or in its declared hours off")
    }

    fn stored(&self, key: RecordKey, stored: &Stored) -> RepairOutcome {
        let receipt = signed_receipt(self.node, key, (self.order.shard, self.size), stored);
        RepairOutcome::Stored {
            receipt: Base64(receipt),
        }
    }

    /// The shard's bytes, verified; or how the repair ended without them.
    async fn get(&self) -> Result<Result<Bytes, RepairOutcome>, Refusal> {
        let order = self.order;
        let (copies, others): (VecDeque<&RepairSource>, VecDeque<&RepairSource>) = order
            .sources
            .iter()
            .filter(|source| source.host != self.node.id)
            .partition(|source| source.shard == order.shard);
        for source in copies {
            if let Some(bytes) = self.fetch(source).await {
                return Ok(Ok(bytes.into_bytes()));
            }
        }
        Ok(match self.restore(others).await? {
            Restored::Shard(bytes) => Ok(bytes),
            Restored::TooFew => Err(RepairOutcome::Sources),
            Restored::Another(found) => Err(RepairOutcome::Inconsistent { found }),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::units::{HostId, OwnerTag, Serial, ShardId, UnixMs};

    use super::*;

    fn order() -> RepairOrder {
        RepairOrder {
            bridge: BridgeId([1; 32]),
            host: HostId([2; 32]),
            id: Serial([3; 16]),
            serial: Serial([4; 16]),
            owner_tag: OwnerTag([5; 32]),
            shard: ShardId([6; 32]),
            shard_bytes: 6_400,
            index: 7,
            k: 4,
            n: 8,
            sources: Vec::new(),
            expires: UnixMs(1),
        }
    }

    #[test]
    fn an_order_that_no_segment_fits_is_named() {
        assert!(checked(&order()).is_ok());
        let wrong = |change: fn(&mut RepairOrder)| {
            let mut order = order();
            change(&mut order);
            checked(&order).unwrap_err()
        };
        assert!(wrong(|order| order.k = 9).contains("9 of 8 shards is no code"));
        assert!(wrong(|order| order.shard_bytes = 63).contains("a shard of 63 bytes"));
        assert_eq!(wrong(|order| order.index = 8), "no shard 8 among 8");
        let source = RepairSource {
            host: HostId([9; 32]),
            addresses: Vec::new(),
            index: 8,
            shard: ShardId([1; 32]),
            ticket: Base64::default(),
        };
        let mut far = order();
        far.sources.push(source.clone());
        assert_eq!(checked(&far).unwrap_err(), "no shard 8 among 8");
        far.sources = vec![source; 65];
        assert!(checked(&far).unwrap_err().starts_with("65 sources"));
    }
}
