//! The survey: one scan of all groups, and what follows from it. Segments that need repair take
//! the place of those that waited, shards are drawn for audits, Hosts that are to be checked are
//! asked what they have, leaving Hosts are told how far they are.

use metastore::{HostAlias, StoreError, TxError};
use model::units::{Serial, UnixMs};
use model::wire::Base64;
use model::wire::control::FromBridge;
use model::wire::limits::SERIALS_PER_INVENTORY_MAX;
use model::wire::upkeep::{Holdings, HostEventKind, Inventory};
use rand_core::Rng as _;

use crate::bridge::Bridge;
use crate::events;
use crate::place::{Place, SegmentKey};
use crate::repair::judge::Tally;
use crate::repair::scan::{Findings, Scan};
use crate::repair::settle::vacate;
use crate::{leave, retain};

/// Hosts of which one scan lists all places, for checks and as many for retain sets.
const CLOSELY_MAX: usize = 2;

/// Scans all groups once.
///
/// # Errors
/// [`StoreError`].
pub async fn round(bridge: &Bridge) -> Result<(), TxError<StoreError>> {
    let now = bridge.now();
    let timing = bridge.policy().timing;
    let check = bridge.directory().to_check(CLOSELY_MAX);
    let retain = bridge
        .directory()
        .to_retain(timing.retain_every_ms, now, CLOSELY_MAX);
    let beliefs = bridge.directory().beliefs(now);
    let closely = check.iter().chain(&retain).copied();
    let mut scan = Scan::new(beliefs, closely);
    loop {
        let mut rng = bridge.rng();
        let read = move |tx: &dyn metastore::Tx| {
            let more = scan.page(tx, &mut rng)?;
            Ok((scan, more))
        };
        let (scanned, more) = bridge.store().read(read).await?;
        scan = scanned;
        if !more {
            break;
        }
    }
    let mut findings = scan.finish();
    tell(&findings);
    let census = std::mem::take(&mut findings.census);
    for (alias, places) in census {
        if check.contains(&alias) {
            inventory(bridge, alias, &places);
        }
        if retain.contains(&alias) {
            retain::send(bridge, alias, &places, now).await?;
        }
    }
    leave::take_stock(bridge, &findings.leaving).await?;
    {
        let mut state = bridge.healing().lock();
        let running: Vec<SegmentKey> = state
            .running
            .values()
            .map(|running| running.repair.place.segment)
            .collect();
        for key in &running {
            findings.needs.remove(key);
        }
        state.queue.replace(findings.needs, now);
        state.samples = findings.samples;
    }
    bridge.healing().wake.notify_one();
    Ok(())
}

fn tell(findings: &Findings) {
    let Findings {
        needs,
        segments,
        shards,
        unreadable,
        ..
    } = findings;
    metrics::gauge!("xcloud_bridge_repair_segments").set(*segments as f64);
    metrics::gauge!("xcloud_bridge_repair_shards").set(*shards as f64);
    metrics::gauge!("xcloud_bridge_repair_waiting_segments").set(needs.len() as f64);
    metrics::gauge!("xcloud_bridge_repair_unreadable_segments").set(*unreadable as f64);
    tracing::debug!(
        segments,
        shards,
        waiting = needs.len(),
        unreadable,
        "scanned"
    );
}

/// Asks a Host which of its records it has.
fn inventory(bridge: &Bridge, alias: HostAlias, places: &[Place]) {
    let Some(host) = bridge.directory().id_of(alias) else {
        return;
    };
    let mut all_asked = true;
    for places in places.chunks(SERIALS_PER_INVENTORY_MAX) {
        let mut id = Serial([0; 16]);
        bridge.rng().fill_bytes(&mut id.0);
        let serials = places
            .iter()
            .map(|place| place.serial(bridge.keys(), &host).0);
        let inventory = Inventory {
            id,
            serials: Base64(serials.collect::<Vec<_>>().concat()),
        };
        let mut state = bridge.healing().lock();
        all_asked &= state.asks(id, alias, places.to_vec());
        drop(state);
        all_asked = all_asked
            && bridge
                .directory()
                .send(alias, FromBridge::Inventory { inventory });
    }
    if all_asked {
        bridge
            .directory()
            .remember(alias, |record, _| record.check = false);
    }
}

/// A Host's word on what it has: what is gone is made anew elsewhere. Its own word is not held
/// against it.
///
/// # Errors
/// [`StoreError`].
pub async fn holdings(
    bridge: &Bridge,
    alias: HostAlias,
    holdings: Holdings,
) -> Result<(), TxError<StoreError>> {
    let asked = bridge.healing().lock().asked_for(&holdings.id, alias);
    let Some(places) = asked else {
        return Ok(());
    };
    let record = bridge.directory().record(alias);
    let gives_up = record.is_some_and(|(record, _)| record.volume_lost);
    let unseen = holdings.unseen.iter().filter(|_| gives_up);
    let gone = holdings.gone.iter().chain(unseen).filter_map(|at| {
        let at = usize::try_from(*at).ok()?;
        places.get(at).copied()
    });
    let gone: Vec<Place> = gone.collect();
    let (asked, now) = (places.len(), bridge.now());
    let write = move |tx: &mut dyn metastore::Tx| checked(tx, alias, (&gone, asked), now);
    let emptied = bridge.store().write(write).await?;
    if !emptied.is_empty() {
        bridge.directory().ring(&[alias]);
    }
    let mut segments: Vec<SegmentKey> = emptied.iter().map(|place| place.segment).collect();
    segments.dedup();
    for segment in segments {
        bridge.healing().lock().avoid(segment, alias);
        bridge.rejudge(segment);
    }
    Ok(())
}

fn checked(
    tx: &mut dyn metastore::Tx,
    alias: HostAlias,
    (gone, asked): (&[Place], usize),
    now: UnixMs,
) -> Result<Vec<Place>, StoreError> {
    let emptied = vacate(tx, alias, gone)?;
    if emptied.is_empty() {
        return Ok(emptied);
    }
    let reason = format!(
        "of {asked} shards asked for, {} are gone, out of sight or have rotted by this host's own \
         word: they are made anew elsewhere",
        emptied.len()
    );
    events::push(tx, alias, now, (HostEventKind::ShardsLost, &reason))?;
    Ok(emptied)
}

impl Bridge {
    /// Judges one segment anew at once, without waiting for the next survey.
    pub(crate) fn rejudge(&self, key: SegmentKey) {
        let bridge = self.clone();
        let judge = async move {
            let beliefs = bridge.directory().beliefs(bridge.now());
            let read = move |tx: &dyn metastore::Tx| {
                let row = key.read(tx)?;
                let need = row.and_then(|row| {
                    let shards = (0..row.n()).map(|slot| beliefs.shard(row.host(slot)));
                    Tally::of(shards).need(row.k(), row.n())
                });
                Ok::<_, StoreError>(need)
            };
            if let Ok(Some(need)) = bridge.store().read(read).await {
                bridge.healing().lock().queue.offer(key, need);
                bridge.healing().wake.notify_one();
            }
        };
        self.channels().spawn(judge);
    }
}
