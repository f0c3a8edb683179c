//! Records of all volumes as one: what cannot be seen is never called missing.

use model::units::{BridgeId, Serial, ShardId};

use super::Volumes;
use crate::records::Presence;
use crate::store::{RecordKey, Stored};

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSeen {
    /// It is here.
    Here {
        /// The shard it holds.
        shard: ShardId,
        /// Since when, and how large.
        stored: Stored,
    },
    /// It is here and its bytes have rotted.
    Rotten {
        /// The shard it held.
        shard: ShardId,
        /// Since when, and how large.
        stored: Stored,
    },
    /// It is not on any volume that can be seen; it may be on one that cannot.
    Unseen,
    /// It is not here.
    NotHere,
}

impl Volumes {
    /// The record of `key`. Reads a header.
    #[must_use]
    pub fn record(&self, key: RecordKey) -> RecordSeen {
        let mut seen = if self.away() > 0 {
            RecordSeen::Unseen
        } else {
            RecordSeen::NotHere
        };
        for store in self.stores() {
            match store.record(key) {
                Ok(Some((shard, stored, false))) => return RecordSeen::Here { shard, stored },
                Ok(Some((shard, stored, true))) => seen = RecordSeen::Rotten { shard, stored },
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "record cannot be looked up");
                    self.suspect(&store);
                    return RecordSeen::Unseen;
                }
            }
        }
        seen
    }

    /// Which records of `bridge` are here, in the order of `serials`, from the indexes. Blocks
    /// where something has rotted.
    #[must_use]
    pub fn presence(&self, bridge: &BridgeId, serials: &[Serial]) -> Vec<Presence> {
        let absent = |away: bool| {
            if away {
                Presence::Unseen
            } else {
                Presence::NotHere
            }
        };
        let mut seen = vec![absent(self.away() > 0); serials.len()];
        for store in self.stores() {
            match store.presence(bridge, serials) {
                Ok(found) => merge(&mut seen, &found),
                Err(error) => {
                    tracing::error!(%error, "records cannot be looked up");
                    self.suspect(&store);
                    merge(&mut seen, &vec![Presence::Unseen; serials.len()]);
                }
            }
        }
        seen
    }
}

/// What another store says of the same records is added: the best that any says is true.
fn merge(seen: &mut [Presence], found: &[Presence]) {
    for (seen, found) in seen.iter_mut().zip(found) {
        *seen = match (*seen, *found) {
            (Presence::Here, _) | (_, Presence::Here) => Presence::Here,
            (Presence::Unseen, _) | (_, Presence::Unseen) => Presence::Unseen,
            (Presence::Rotten, _) | (_, Presence::Rotten) => Presence::Rotten,
            (Presence::NotHere, Presence::NotHere) => Presence::NotHere,
        };
    }
}
