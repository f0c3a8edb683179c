//! Decisions about Hosts: kept with their reasons in words, signed when they are told. Every
//! decision has one; a Host sees all that were taken about it.

use metastore::{HostAlias, HostLog, HostLogRow, StoreError, Tx};
use model::units::{HostId, UnixMs};
use model::wire::Signed;
use model::wire::limits::EVENT_REASON_CHARS_MAX;
use model::wire::upkeep::{HostEvent, HostEventKind};
use serde::{Deserialize, Serialize};

use crate::corrupt::corrupt;
use crate::keys::BridgeKeys;

/// An event as it is kept: all but its number and the signature.
#[derive(Debug, Serialize, Deserialize)]
struct KeptEvent {
    kind: HostEventKind,
    reason: String,
}

/// Keeps a decision about a Host.
///
/// # Errors
/// [`StoreError`].
pub fn push(
    tx: &mut dyn Tx,
    alias: HostAlias,
    at: UnixMs,
    event: (HostEventKind, &str),
) -> Result<(), StoreError> {
    push_above(tx, alias, (at, 0), event)
}

/// As [`push`], with a number above `above`: for a Host that has seen events which a restored Bridge
/// does not remember.
///
/// # Errors
/// [`StoreError`].
pub fn push_above(
    tx: &mut dyn Tx,
    alias: HostAlias,
    (at, above): (UnixMs, u64),
    (kind, reason): (HostEventKind, &str),
) -> Result<(), StoreError> {
    let reason = reason.chars().take(EVENT_REASON_CHARS_MAX).collect();
    let body = serde_json::to_vec(&KeptEvent { kind, reason });
    let body = body.map_err(|_| corrupt("host_log", "event"))?;
    tx.append_log(alias, (HostLog::Events, above), at, &body)?;
    metrics::counter!("xcloud_bridge_hosts_events_total").increment(1);
    tracing::info!(host = alias.0, ?kind, "decided about a host");
    Ok(())
}

/// The event of a row, signed for its Host.
///
/// # Errors
/// [`StoreError::Corrupt`] for a row that is no event.
pub fn signed(
    keys: &BridgeKeys,
    host: HostId,
    row: &HostLogRow,
) -> Result<Signed<HostEvent>, StoreError> {
    let kept: KeptEvent =
        serde_json::from_slice(&row.body).map_err(|_| corrupt("host_log", "event"))?;
    let event = HostEvent {
        bridge: keys.id,
        host,
        seq: row.seq,
        at: row.at,
        kind: kept.kind,
        reason: kept.reason,
    };
    Ok(Signed::new(&keys.signing, &event))
}
