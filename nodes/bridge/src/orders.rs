//! Orders to Hosts: queued with the change that causes them, signed when they are sent.
//!
//! An order is numbered per Host without gaps. It stays queued until the Host says it is done, so
//! a Host that was away gets everything it missed, in order.

use std::collections::BTreeMap;

use metastore::{HostAlias, OrderRow, StoreError, Tx};
use model::units::{BlobId, HostId, Serial, UnixMs};
use model::wire::control::{DeleteReason, Order, OrderKind};
use model::wire::limits::SERIALS_PER_ORDER_MAX;
use model::wire::{HEALS, Signed};
use serde::{Deserialize, Serialize};

use crate::corrupt::corrupt;
use crate::keys::BridgeKeys;

/// An order as it is queued: all but its number and the signature.
#[derive(Debug, Serialize, Deserialize)]
struct QueuedOrder {
    at: UnixMs,
    kind: OrderKind,
}

/// Records to be deleted, gathered by Host.
#[derive(Debug, Default)]
pub struct Deletions {
    by_host: BTreeMap<HostAlias, (HostId, Vec<Serial>)>,
}

impl Deletions {
    /// Adds what `host` stored in a slot.
    ///
    /// # Errors
    /// [`StoreError`] where the Host cannot be read.
    pub fn add(
        &mut self,
        tx: &dyn Tx,
        keys: &BridgeKeys,
        (blob, segment, index): (&BlobId, u64, u16),
        host: HostAlias,
    ) -> Result<(), StoreError> {
        let (id, serials) = match self.by_host.entry(host) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let wrong = corrupt("groups", "host");
                let row = tx.host(host)?.ok_or(wrong)?;
                entry.insert((row.id, Vec::new()))
            }
        };
        serials.push(keys.serials.serial(blob, segment, index, id));
        Ok(())
    }

    /// Queues the orders; returns the Hosts that have new ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queue(
        self,
        tx: &mut dyn Tx,
        reason: DeleteReason,
        at: UnixMs,
    ) -> Result<Vec<HostAlias>, StoreError> {
        let mut poked = Vec::with_capacity(self.by_host.len());
        for (alias, (_, serials)) in self.by_host {
            for serials in serials.chunks(SERIALS_PER_ORDER_MAX) {
                let kind = OrderKind::Delete {
                    serials: serials.to_vec(),
                    reason,
                };
                let wrong = corrupt("orders", "body");
                let body = serde_json::to_vec(&QueuedOrder { at, kind }).map_err(|_| wrong)?;
                tx.push_order(alias, &body)?;
            }
            poked.push(alias);
        }
        Ok(poked)
    }
}

/// The order of a row, signed for its Host.
///
/// # Errors
/// [`StoreError::Corrupt`] for a row that is no order.
pub fn signed(
    keys: &BridgeKeys,
    (host, version): (HostId, u16),
    row: &OrderRow,
) -> Result<Signed<Order>, StoreError> {
    let queued: QueuedOrder =
        serde_json::from_slice(&row.body).map_err(|_| corrupt("orders", "body"))?;
    let QueuedOrder { at, kind } = queued;
    let kind = match kind {
        OrderKind::Delete {
            serials,
            reason: DeleteReason::Replaced,
        } if version < HEALS => OrderKind::Delete {
            serials,
            reason: DeleteReason::Retired,
        },
        kind @ OrderKind::Delete { .. } => kind,
    };
    let order = Order {
        bridge: keys.id,
        host,
        seq: row.seq,
        at,
        kind,
    };
    Ok(Signed::new(&keys.signing, &order))
}

/// The highest order that `host` has done.
///
/// # Errors
/// [`StoreError`].
pub fn done(tx: &dyn Tx, host: HostAlias) -> Result<u64, StoreError> {
    let Some(value) = tx.meta(&done_key(host))? else {
        return Ok(0);
    };
    let bytes = value
        .try_into()
        .map_err(|_| corrupt("meta", "orders done"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Takes the word of `host` that the orders up to `seq` are done. A word on orders it was never
/// sent counts up to `sent` only.
///
/// # Errors
/// [`StoreError`].
pub fn acknowledge(
    tx: &mut dyn Tx,
    host: HostAlias,
    seq: u64,
    sent: u64,
) -> Result<(), StoreError> {
    let seq = seq.min(sent);
    if seq <= done(&*tx, host)? {
        return Ok(());
    }
    tx.acknowledge_orders(host, seq)?;
    tx.put_meta(&done_key(host), &seq.to_le_bytes())
}

fn done_key(host: HostAlias) -> String {
    format!("orders-done/{}", host.0)
}
