//! Delete: a Bridge's signed, numbered orders, carried out and durable before they are
//! acknowledged. The only way a shard leaves this Host.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::units::{BridgeId, HostId, Serial};
use model::wire::control::{DeleteReason, Order, OrderKind};
use model::wire::limits::SERIALS_PER_ORDER_MAX;
use model::wire::{Signed, SignedError};
use shardstore::{RecordKey, Store, WriteError};

use crate::bridge_pin::{BridgePin, PinError};
use crate::limits::REMOVALS_AT_ONCE_MAX;

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
        source: WriteError,
    },
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
    store: &Store,
    host: HostId,
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
    if by != bridge || to != host {
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
    let removed = remove(store, bridge, &serials)
        .await
        .map_err(|source| OrderError::Remove { seq, source })?;
    pin.done(bridge, seq)
        .map_err(|source| OrderError::Remember { seq, source })?;
    tracing::info!(
        seq,
        named = serials.len(),
        removed,
        reason = text(reason),
        "order done"
    );
    Ok(seq)
}

/// Removes the records of `serials`; those that are not here are done already.
async fn remove(store: &Store, bridge: BridgeId, serials: &[Serial]) -> Result<u64, WriteError> {
    let removals: Vec<_> = serials
        .iter()
        .map(|serial| {
            store.remove(RecordKey {
                bridge,
                serial: *serial,
            })
        })
        .collect();
    stream::iter(removals)
        .buffer_unordered(REMOVALS_AT_ONCE_MAX)
        .try_fold(0, async |count, removed| Ok(count + u64::from(removed)))
        .await
}

const fn text(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::NotCommitted => "not committed",
        DeleteReason::Retired => "retired",
        DeleteReason::Purged => "purged",
    }
}
