//! Leaving: a Host gives back all it keeps, or a part, and others take it over first. It may go
//! when it is told that all is done, and may change its mind until then.

use std::collections::BTreeMap;

use metastore::{HostAlias, StoreError, TxError};
use model::units::{BridgeId, HostId, UnixMs};
use model::wire::control::FromBridge;
use model::wire::upkeep::{HostEventKind, Leave, LeaveProgress, LeaveWish};
use model::wire::{Signed, SignedError};

use crate::bridge::Bridge;
use crate::events;
use crate::hosts::record::{HostRecord, Leaving, Out};

/// The average size by which shards that are left are counted until they have moved.
const SHARD_BYTES_ASSUMED: u64 = model::units::SHARD_BYTES_MAX as u64;

/// A wish that is not the Host's, or an old one.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// Not signed by the Host.
    #[error("a wish to leave that the host did not sign")]
    Signed(#[from] SignedError),
    /// Of another Host or for another Bridge.
    #[error("a wish to leave of another host or for another bridge")]
    Other,
}

/// Checks a wish, and changes the record where it is news; returns the event that tells so.
///
/// # Errors
/// [`LeaveError`].
pub fn take(
    record: &mut HostRecord,
    (host, bridge): (&HostId, &BridgeId),
    signed: &Signed<Leave>,
) -> Result<Option<(HostEventKind, String)>, LeaveError> {
    let leave = signed.open(&host.0)?;
    if leave.host != *host || leave.bridge != *bridge {
        return Err(LeaveError::Other);
    }
    let before = record.leaving;
    let newer = before.is_none_or(|before| before.at < leave.at && before.wish != leave.wish);
    let stays = before.is_none() && matches!(leave.wish, LeaveWish::Stay);
    if !newer || stays || record.out == Some(Out::Left) && leave.wish == LeaveWish::All {
        return Ok(None);
    }
    record.leaving = Some(Leaving {
        wish: leave.wish,
        at: leave.at,
        moved_bytes: 0,
        moved_shards: 0,
        done: false,
    });
    if record.out == Some(Out::Left) {
        record.out = None;
    }
    Ok(Some(match leave.wish {
        LeaveWish::Stay => (
            HostEventKind::LeavingCancelled,
            "stays: new shards are placed here again".to_owned(),
        ),
        LeaveWish::Part { bytes } => (
            HostEventKind::LeavingBegun,
            format!("gives back {bytes} bytes: shards move to other hosts"),
        ),
        LeaveWish::All => (
            HostEventKind::LeavingBegun,
            "leaves: all shards move to other hosts; keep running until that is done".to_owned(),
        ),
    }))
}

/// A Host's wish, as it came over its channel.
///
/// # Errors
/// [`StoreError`].
pub async fn wished(
    bridge: &Bridge,
    alias: HostAlias,
    signed: &Signed<Leave>,
) -> Result<(), TxError<StoreError>> {
    let Some(host) = bridge.directory().id_of(alias) else {
        return Ok(());
    };
    let (mut taken, id) = (Ok(None), bridge.keys().id);
    bridge.directory().remember(alias, |record, _| {
        taken = take(record, (&host, &id), signed);
    });
    match taken {
        Ok(Some(event)) => tell(bridge, alias, event).await?,
        Ok(None) => {}
        Err(error) => tracing::info!(host = %host.short(), %error, "wish not taken"),
    }
    progress(bridge, alias, None);
    Ok(())
}

async fn tell(
    bridge: &Bridge,
    alias: HostAlias,
    (kind, reason): (HostEventKind, String),
) -> Result<(), TxError<StoreError>> {
    let Some((record, _)) = bridge.directory().record(alias) else {
        return Ok(());
    };
    let now: UnixMs = bridge.now();
    let write = move |tx: &mut dyn metastore::Tx| {
        tx.set_record(alias, &record.encode())?;
        events::push(tx, alias, now, (kind, &reason))
    };
    bridge.store().write(write).await?;
    bridge.directory().ring(&[alias]);
    Ok(())
}

/// What a scan found that leaving Hosts still hold.
///
/// # Errors
/// [`StoreError`].
pub async fn take_stock(
    bridge: &Bridge,
    left: &BTreeMap<HostAlias, u64>,
) -> Result<(), TxError<StoreError>> {
    for (alias, left) in left {
        let mut done = None;
        bridge.directory().remember(*alias, |record, _| {
            done = finish(record, *left);
        });
        if let Some(event) = done {
            tell(bridge, *alias, event).await?;
        }
        progress(bridge, *alias, Some(*left));
    }
    Ok(())
}

/// Ends leaving where nothing is left to do.
fn finish(record: &mut HostRecord, left: u64) -> Option<(HostEventKind, String)> {
    let leaving = record.leaving.as_mut().filter(|it| it.is_under_way())?;
    let (shards, bytes) = (leaving.moved_shards, leaving.moved_bytes);
    let reason = match leaving.wish {
        LeaveWish::All if left == 0 => {
            record.out = Some(Out::Left);
            format!("all {shards} shards ({bytes} bytes) have moved: this host may be stopped")
        }
        LeaveWish::Part { .. } if left == 0 || leaving.wanted_bytes() == 0 => {
            format!("{shards} shards ({bytes} bytes) have moved, as asked for")
        }
        LeaveWish::All | LeaveWish::Part { .. } | LeaveWish::Stay => return None,
    };
    leaving.done = true;
    Some((HostEventKind::LeavingDone, reason))
}

/// Tells a Host how far it is; `left` where a scan just counted.
fn progress(bridge: &Bridge, alias: HostAlias, left: Option<u64>) {
    let Some((record, _)) = bridge.directory().record(alias) else {
        return;
    };
    let Some(leaving) = record.leaving else {
        return;
    };
    let left_shards = left.unwrap_or(0);
    let wanted = leaving.wanted_bytes();
    let progress = LeaveProgress {
        wish: leaving.wish,
        moved_bytes: leaving.moved_bytes,
        moved_shards: leaving.moved_shards,
        left_bytes: (left_shards * SHARD_BYTES_ASSUMED).min(wanted),
        left_shards,
        done: leaving.done,
    };
    if left.is_some() || leaving.done {
        let told = bridge
            .directory()
            .send(alias, FromBridge::Leaving { progress });
        tracing::debug!(host = alias.0, told, "told how leaving goes");
    }
}

/// A shard has moved away from a Host that leaves. Where that was enough, it is told so at once: by
/// the next scan it no longer counts as leaving.
///
/// # Errors
/// [`StoreError`].
pub async fn moved_away(
    bridge: &Bridge,
    alias: HostAlias,
    bytes: u64,
) -> Result<(), TxError<StoreError>> {
    let mut done = None;
    bridge.directory().remember(alias, |record, _| {
        done = moved(record, bytes);
    });
    if let Some(event) = done {
        tell(bridge, alias, event).await?;
        progress(bridge, alias, None);
    }
    Ok(())
}

/// Counts a shard that moved away, and ends leaving where that was enough.
fn moved(record: &mut HostRecord, bytes: u64) -> Option<(HostEventKind, String)> {
    let leaving = record.leaving.as_mut()?;
    leaving.moved_bytes = leaving.moved_bytes.saturating_add(bytes);
    leaving.moved_shards = leaving.moved_shards.saturating_add(1);
    // Whether nothing at all is left, only a scan can tell.
    finish(record, u64::MAX)
}

#[cfg(test)]
mod tests {
    use model::crypto::{Secret, SigningKey};

    use super::*;

    const BRIDGE: BridgeId = BridgeId([9; 32]);

    fn wish(record: &mut HostRecord, wish: LeaveWish, at: u64) -> Option<HostEventKind> {
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let host = HostId(key.public());
        let leave = Leave {
            host,
            bridge: BRIDGE,
            wish,
            at: UnixMs(at),
        };
        let taken = take(record, (&host, &BRIDGE), &Signed::new(&key, &leave));
        taken.unwrap().map(|(kind, _)| kind)
    }

    #[test]
    fn the_newest_wish_counts_and_is_told_once() {
        let mut record = HostRecord::default();
        assert_eq!(wish(&mut record, LeaveWish::Stay, 1), None);
        let begun = Some(HostEventKind::LeavingBegun);
        assert_eq!(wish(&mut record, LeaveWish::All, 5), begun);
        assert_eq!(wish(&mut record, LeaveWish::All, 6), None);
        assert_eq!(wish(&mut record, LeaveWish::Stay, 4), None, "older");
        let cancelled = Some(HostEventKind::LeavingCancelled);
        assert_eq!(wish(&mut record, LeaveWish::Stay, 7), cancelled);
        assert!(!record.leaving.unwrap().is_under_way());
    }

    #[test]
    fn leaving_ends_when_nothing_is_left_or_enough_has_moved() {
        let mut all = HostRecord::default();
        wish(&mut all, LeaveWish::All, 1);
        assert_eq!(finish(&mut all, 3), None);
        assert!(finish(&mut all, 0).is_some());
        assert_eq!((all.out, finish(&mut all, 0)), (Some(Out::Left), None));

        let mut part = HostRecord::default();
        wish(&mut part, LeaveWish::Part { bytes: 100 }, 1);
        assert_eq!(finish(&mut part, 3), None);
        assert_eq!(moved(&mut part, 60), None);
        assert!(moved(&mut part, 60).is_some(), "told when enough has moved");
        assert_eq!((part.out, finish(&mut part, 3)), (None, None));
    }

    #[test]
    fn a_wish_of_another_is_refused() {
        let (key, other) = ([1; 32], [2; 32]);
        let [key, other] = [key, other].map(|seed| SigningKey::from_seed(&Secret::new(seed)));
        let host = HostId(key.public());
        let leave = Leave {
            host,
            bridge: BRIDGE,
            wish: LeaveWish::All,
            at: UnixMs(1),
        };
        let mut record = HostRecord::default();
        let forged = take(&mut record, (&host, &BRIDGE), &Signed::new(&other, &leave));
        assert!(matches!(forged, Err(LeaveError::Signed(_))));
        let elsewhere = BridgeId([8; 32]);
        let elsewhere = take(&mut record, (&host, &elsewhere), &Signed::new(&key, &leave));
        assert!(matches!(elsewhere, Err(LeaveError::Other)));
        assert_eq!(record, HostRecord::default());
    }
}
