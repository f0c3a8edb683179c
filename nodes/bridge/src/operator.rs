//! The operator's word, given beside a running Bridge through its database.

use metastore::{HostAlias, StoreError, Tx};
use model::units::{HostId, UnixMs};
use model::wire::upkeep::HostEventKind;

use crate::corrupt::corrupt;
use crate::events;
use crate::hosts::record::{HostRecord, Out};

const DECLARED: &str = "declared-lost";
/// Hosts that may wait to be declared lost.
const DECLARED_MAX: usize = 1_024;

/// Notes that a Host is to count as lost; `false` where it is not known. A running Bridge takes note
/// within a heartbeat, one that does not run when it starts.
///
/// # Errors
/// [`StoreError`].
pub fn declare_lost(tx: &mut dyn Tx, host: &HostId) -> Result<bool, StoreError> {
    if tx.host_by_id(host)?.is_none() {
        return Ok(false);
    }
    let mut declared = declared(&*tx)?;
    if !declared.contains(host) && declared.len() < DECLARED_MAX {
        declared.push(*host);
        write(tx, &declared)?;
    }
    Ok(true)
}

/// Writes what was declared into the records; returns whom it concerns.
///
/// # Errors
/// [`StoreError`].
pub fn take_declared(tx: &mut dyn Tx, now: UnixMs) -> Result<Vec<HostAlias>, StoreError> {
    let declared = declared(&*tx)?;
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    write(tx, &[])?;
    let mut aliases = Vec::new();
    for host in declared {
        let Some(row) = tx.host_by_id(&host)? else {
            continue;
        };
        let mut record = HostRecord::of(&row)?;
        record.out = Some(Out::Declared);
        tx.set_record(row.alias, &record.encode())?;
        let reason = "the operator of the bridge declared this host lost: what it kept is made anew \
                      elsewhere";
        events::push(tx, row.alias, now, (HostEventKind::DeclaredLost, reason))?;
        aliases.push(row.alias);
    }
    Ok(aliases)
}

fn declared(tx: &dyn Tx) -> Result<Vec<HostId>, StoreError> {
    let Some(bytes) = tx.meta(DECLARED)? else {
        return Ok(Vec::new());
    };
    serde_json::from_slice(&bytes).map_err(|_| corrupt("meta", DECLARED))
}

fn write(tx: &mut dyn Tx, declared: &[HostId]) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(declared).map_err(|_| corrupt("meta", DECLARED))?;
    tx.put_meta(DECLARED, &bytes)
}
