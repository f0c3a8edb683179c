//! Retain sets: which of a Host's records are to stay. They find what no order named: strays of
//! lost messages, of repairs that came too late, of Hosts that were given up and came back.

use metastore::{HostAlias, StoreError, TxError};
use model::units::{HostId, Serial, UnixMs};
use model::wire::control::FromBridge;
use model::wire::limits::SERIALS_PER_RETAIN_SET_MAX;
use model::wire::upkeep::RetainSet;
use model::wire::{Base64, Signed};

use crate::bridge::Bridge;
use crate::memory;
use crate::orders;
use crate::place::Place;

/// Orders that are looked at to find the newest.
const ORDERS_MAX: u32 = 10_000;

/// Sends a Host the sets of what it is to keep, as a scan that began at `begun` found it.
///
/// # Errors
/// [`StoreError`].
pub async fn send(
    bridge: &Bridge,
    alias: HostAlias,
    places: &[Place],
    begun: UnixMs,
) -> Result<(), TxError<StoreError>> {
    let Some(host) = bridge.directory().id_of(alias) else {
        return Ok(());
    };
    let read = move |tx: &dyn metastore::Tx| {
        let waiting = tx.pending_orders(alias, 0, ORDERS_MAX)?;
        let newest = waiting.last().map_or(0, |order| order.seq);
        let done = orders::done(tx, alias)?;
        let complete = waiting.len() < ORDERS_MAX as usize;
        Ok((complete.then_some(newest.max(done)), memory::read(tx)?))
    };
    let (order_seq, memory) = bridge.store().read(read).await?;
    let Some(order_seq) = order_seq else {
        return Ok(());
    };
    let serials = places
        .iter()
        .map(|place| place.serial(bridge.keys(), &host));
    let older_than_ms = bridge.policy().timing.retain_older_than_ms;
    let draft = RetainSet {
        bridge: bridge.keys().id,
        host,
        order_seq,
        mark: memory.mark,
        created_before: UnixMs(begun.0.saturating_sub(older_than_ms)),
        except: memory.lost,
        first: Serial([0; 16]),
        last: Serial([0xff; 16]),
        live: Base64::default(),
    };
    for set in sets(&draft, serials.collect()) {
        let set = Signed::new(&bridge.keys().signing, &set);
        if !bridge.directory().send(alias, FromBridge::Retain { set }) {
            return Ok(());
        }
    }
    bridge
        .directory()
        .remember(alias, |record, _| record.retained = begun);
    Ok(())
}

/// The sets that together cover all serials there can be.
fn sets(draft: &RetainSet, mut serials: Vec<Serial>) -> Vec<RetainSet> {
    serials.sort_unstable();
    serials.dedup();
    let mut sets: Vec<RetainSet> = serials
        .chunks(SERIALS_PER_RETAIN_SET_MAX)
        .map(|live| RetainSet {
            first: live.first().copied().unwrap_or(draft.first),
            live: Base64(live.iter().flat_map(|serial| serial.0).collect()),
            ..draft.clone()
        })
        .collect();
    if sets.is_empty() {
        sets.push(draft.clone());
    }
    if let Some(set) = sets.first_mut() {
        set.first = draft.first;
    }
    let firsts: Vec<Serial> = sets.iter().skip(1).map(|set| set.first).collect();
    for (set, next) in sets.iter_mut().zip(firsts) {
        set.last = before(next);
    }
    sets
}

/// The serial before one that is not the first.
fn before(serial: Serial) -> Serial {
    Serial((u128::from_be_bytes(serial.0).saturating_sub(1)).to_be_bytes())
}

/// What became of a set at a Host; for the log.
pub fn retained(host: &HostId, trashed: u64, refused: Option<&str>) {
    match refused {
        Some(reason) => tracing::warn!(host = %host.short(), reason, "retain set refused"),
        None if trashed > 0 => {
            metrics::counter!("xcloud_bridge_retain_trashed_records_total").increment(trashed);
            tracing::info!(host = %host.short(), trashed, "strays went into the trash");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use model::units::BridgeId;

    use super::*;

    fn draft() -> RetainSet {
        RetainSet {
            bridge: BridgeId([1; 32]),
            host: HostId([2; 32]),
            order_seq: 1,
            mark: 1,
            created_before: UnixMs(1),
            except: Vec::new(),
            first: Serial([0; 16]),
            last: Serial([0xff; 16]),
            live: Base64::default(),
        }
    }

    #[test]
    fn sets_cover_every_serial_once() {
        let count = u32::try_from(SERIALS_PER_RETAIN_SET_MAX).unwrap() + 5;
        let serial = |number: u32| {
            let mut serial = [7; 16];
            serial[..4].copy_from_slice(&number.to_be_bytes());
            Serial(serial)
        };
        let sets = sets(&draft(), (1..=count).rev().map(serial).collect());
        assert_eq!(sets.len(), 2);
        assert_eq!(
            (sets[0].first, sets[1].last),
            (Serial([0; 16]), Serial([0xff; 16]))
        );
        let (end, start) = (sets[0].last.0, sets[1].first.0);
        assert_eq!(u128::from_be_bytes(end) + 1, u128::from_be_bytes(start));
        assert_eq!(
            sets[0].live.0.len() + sets[1].live.0.len(),
            16 * count as usize
        );
    }

    #[test]
    fn who_is_to_keep_nothing_is_told_so() {
        assert_eq!(sets(&draft(), Vec::new()), [draft()]);
    }
}
