//! Retain sets: a Bridge's word which of its records in a range of serials are to stay. Others go
//! into the trash, and what was in it and is to stay comes out.
//!
//! What is absent: trust in a Bridge whose memory is behind, or that does not know of orders that
//! are done; the whole list of what is here, in memory.

use std::ops::RangeInclusive;
use std::sync::Arc;

use model::units::{BridgeId, Serial, UnixMs};
use model::wire::limits::{RETAIN_EXCEPT_MAX, SERIALS_PER_RETAIN_SET_MAX};
use model::wire::upkeep::RetainSet;
use model::wire::{Signed, SignedError};
use shardstore::{RECORD_HEADER_BYTES, ReadError, RecordFound, Store};
use tasks::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::bridge_pin::BridgePin;
use crate::bridges::BridgeLink;
use crate::host::Node;
use crate::inventory::serials_of;
use crate::limits::{RETAIN_STEP_RECORDS, TRASH_STEP_RECORDS};
use crate::trash::{self, TrashError};
use crate::upkeep::give_way;

/// A set that is not taken, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetainError {
    /// Not signed by the Bridge whose channel it came by.
    #[error("the bridge did not sign the set")]
    Signed(#[from] SignedError),
    /// Of another Bridge, or for another Host.
    #[error("the set is for another host or of another bridge")]
    NotForUs,
    /// The Bridge's memory is behind.
    #[error("the bridge's memory is behind: nothing is deleted on its word until it caught up")]
    Frozen,
    /// It does not know of all orders that are done.
    #[error("the set knows of orders up to {known}, {done} are done")]
    Orders {
        /// What the set knows of.
        known: u64,
        /// What is done.
        done: u64,
    },
    /// It was made with an older memory.
    #[error("the set was made at mark {found}, {kept} is known")]
    Mark {
        /// Of the set.
        found: u64,
        /// The highest known.
        kept: u64,
    },
    /// It says more than a set may, or its serials are not whole and ascending.
    #[error("the set is malformed or too long")]
    Malformed,
    /// Too many wait.
    #[error("this host is at work on other sets")]
    Busy,
    /// A volume cannot be read.
    #[error("a volume cannot be read")]
    Read(#[from] ReadError),
    /// The trash cannot be changed.
    #[error("the trash cannot be changed")]
    Trash(#[from] TrashError),
    /// The Host stops before it is done.
    #[error("the host is stopping")]
    Stopping,
}

/// A set that may be acted on.
#[derive(Debug)]
pub(crate) struct Retain {
    bridge: BridgeId,
    created_before: UnixMs,
    except: Vec<(UnixMs, UnixMs)>,
    range: RangeInclusive<Serial>,
    /// Ascending.
    live: Vec<Serial>,
}

impl Retain {
    /// Checks a set of the Bridge of `link`.
    pub(crate) fn new(
        node: &Node,
        (link, bridge): (&BridgeLink, BridgeId),
        set: &Signed<RetainSet>,
        pin: &BridgePin,
    ) -> Result<Self, RetainError> {
        let set = set.open(&bridge.0)?;
        if set.bridge != bridge || set.host != node.id {
            return Err(RetainError::NotForUs);
        }
        if link.is_frozen() {
            return Err(RetainError::Frozen);
        }
        let (known, done) = (set.order_seq, pin.orders_done());
        if known < done {
            return Err(RetainError::Orders { known, done });
        }
        let (found, kept) = (set.mark, pin.mark());
        if found < kept {
            return Err(RetainError::Mark { found, kept });
        }
        let live = serials_of(&set.live, SERIALS_PER_RETAIN_SET_MAX);
        let live = live.filter(|live| live.is_sorted_by(|one, next| one < next));
        match live {
            Some(live) if set.except.len() <= RETAIN_EXCEPT_MAX => Ok(Self {
                bridge,
                created_before: set.created_before,
                except: set.except,
                range: set.first..=set.last,
                live,
            }),
            Some(_) | None => Err(RetainError::Malformed),
        }
    }

    /// Whether nothing refers to a record any more.
    fn is_left_over(&self, record: &RecordFound) -> bool {
        let (key, created) = (&record.key, record.created);
        let remembered = |(from, to): &(UnixMs, UnixMs)| created < *from || created > *to;
        key.bridge == self.bridge
            && self.range.contains(&key.serial)
            && created < self.created_before
            && self.except.iter().all(remembered)
            && self.live.binary_search(&key.serial).is_err()
    }

    /// Puts what is left over into the trash and takes out what is to stay; returns how many
    /// records went in.
    pub(crate) async fn carry_out(self, node: &Arc<Node>) -> Result<u64, RetainError> {
        let (bridge, live) = (self.bridge, self.live.clone());
        let rescued = trash::rescue(node, bridge, live).await?;
        let this = Arc::new(self);
        let mut trashed = 0;
        for store in node.volumes.stores() {
            trashed += this.sift(node, &store).await?;
        }
        tracing::info!(
            bridge = bridge.short(),
            live = this.live.len(),
            trashed,
            rescued,
            "retain set taken"
        );
        Ok(trashed)
    }

    /// One volume, a step at a time, giving way to transfers.
    async fn sift(
        self: &Arc<Self>,
        node: &Arc<Node>,
        store: &Arc<Store>,
    ) -> Result<u64, RetainError> {
        let (mut cursor, mut trashed) = (None, 0);
        // Ends with the channel, which drops this.
        let never = CancellationToken::new();
        loop {
            give_way(node, &never).await;
            let (this, looking) = (Arc::clone(self), Arc::clone(store));
            let step = spawn_blocking(move || {
                let (found, next) = looking.records_after(cursor, RETAIN_STEP_RECORDS)?;
                let left_over = found.iter().filter(|record| this.is_left_over(record));
                let serials: Vec<Serial> = left_over.map(|record| record.key.serial).collect();
                Ok::<_, ReadError>((found.len(), serials, next))
            });
            let (looked, serials, next) = step.await.map_err(|_| RetainError::Stopping)??;
            for serials in serials.chunks(TRASH_STEP_RECORDS) {
                trashed += trash::put_in(node, self.bridge, serials.to_vec()).await?;
            }
            node.upkeep.grant(looked * RECORD_HEADER_BYTES).await;
            cursor = next;
            if cursor.is_none() {
                return Ok(trashed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shardstore::RecordKey;

    use super::*;

    #[test]
    fn a_record_is_left_over_by_all_rules_together() {
        let bridge = BridgeId([1; 32]);
        let retain = Retain {
            bridge,
            created_before: UnixMs(1_000),
            except: vec![(UnixMs(100), UnixMs(200)), (UnixMs(500), UnixMs(500))],
            range: Serial([2; 16])..=Serial([8; 16]),
            live: vec![Serial([3; 16]), Serial([5; 16])],
        };
        let left_over = |serial: u8, created: u64, bridge: BridgeId| {
            let serial = Serial([serial; 16]);
            let record = RecordFound {
                key: RecordKey { bridge, serial },
                created: UnixMs(created),
                shard_bytes: 64,
            };
            retain.is_left_over(&record)
        };
        assert!(left_over(4, 10, bridge) && left_over(2, 999, bridge));
        assert!(left_over(8, 499, bridge) && left_over(4, 201, bridge));
        assert!(
            !left_over(3, 10, bridge) && !left_over(5, 10, bridge),
            "live"
        );
        assert!(
            !left_over(1, 10, bridge) && !left_over(9, 10, bridge),
            "beyond"
        );
        assert!(!left_over(4, 1_000, bridge), "too young");
        for remembered in [100, 150, 200, 500] {
            assert!(!left_over(4, remembered, bridge), "excepted");
        }
        assert!(!left_over(4, 10, BridgeId([2; 32])), "another's");
    }
}
