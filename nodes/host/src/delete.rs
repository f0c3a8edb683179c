//! Delete: a Bridge's signed, numbered orders, carried out and durable before they are
//! acknowledged. The only way a shard leaves this Host.

use std::sync::Arc;

use model::units::BridgeId;
use model::wire::control::{DeleteReason, Order, OrderKind};
use model::wire::limits::SERIALS_PER_ORDER_MAX;
use model::wire::{Signed, SignedError};
use shardstore::RemoveError;
use tasks::spawn_blocking;

use crate::bridge_pin::{BridgePin, PinError};
use crate::host::Node;

/// An order that is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// Not signed by the Bridge.
    #[error("an order that the bridge did not sign")]
    Signed(#[from] SignedError),
    /// Of another Bridge, or for another Host.
    #[error("an order for another host or of another bridge")]
    NotForUs,
    /// Numbers are missing before it.
    #[error("order {found} came after {done}; those between are missing")]
    Gap {
        /// The highest order done.
        done: u64,
        /// The order that came.
        found: u64,
    },
    /// It names more serials than an order may.
    #[error("order {seq} names {serials} serials, at most {SERIALS_PER_ORDER_MAX} are allowed")]
    TooLong {
        /// The order.
        seq: u64,
        /// How many it names.
        serials: usize,
    },
    /// A record cannot be removed.
    #[error("cannot carry out order {seq}")]
    Remove {
        /// The order.
        seq: u64,
        /// Why.
        #[source]
        source: RemoveError,
    },
    /// The Host stops before it is done.
    #[error("the host is stopping")]
    Stopping,
    /// It cannot be remembered that the order is done.
    #[error("cannot remember that order {seq} is done")]
    Remember {
        /// The order.
        seq: u64,
        /// Why.
        #[source]
        source: PinError,
    },
}

/// Carries out `order` of `bridge` unless that was done before, and returns the highest order
/// done: all up to it are durable.
pub(crate) async fn carry_out(
    node: &Arc<Node>,
    bridge: BridgeId,
    order: &Signed<Order>,
    pin: &mut BridgePin,
) -> Result<u64, OrderError> {
    let Order {
        bridge: by,
        host: to,
        seq,
        kind,
        ..
    } = order.open(&bridge.0)?;
    if by != bridge || to != node.id {
        return Err(OrderError::NotForUs);
    }
    let done = pin.orders_done();
    if seq <= done {
        return Ok(done);
    }
    if seq != done + 1 {
        return Err(OrderError::Gap { done, found: seq });
    }
    let OrderKind::Delete { serials, reason } = kind;
    if serials.len() > SERIALS_PER_ORDER_MAX {
        return Err(OrderError::TooLong {
            seq,
            serials: serials.len(),
        });
    }
    let (named, removing) = (serials.len(), Arc::clone(node));
    // Records that are not here are gone already; for volumes that are away it is noted.
    let removed = spawn_blocking(move || removing.volumes.remove(bridge, &serials))
        .await
        .map_err(|_| OrderError::Stopping)?
        .map_err(|source| OrderError::Remove { seq, source })?;
    pin.done(bridge, seq)
        .map_err(|source| OrderError::Remember { seq, source })?;
    tracing::info!(
        bridge = bridge.short(),
        seq,
        named,
        removed,
        reason = text(reason),
        "order done"
    );
    Ok(seq)
}

const fn text(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::NotCommitted => "not committed",
        DeleteReason::Retired => "retired",
        DeleteReason::Purged => "purged",
    }
}
