//! A Host's volumes: several stores, one to a folder, usually one to a disk, that answer as one.
//!
//! Every volume there ever was is remembered with its id. One that is not there, or whose disk
//! fails, is *away*: nothing is created in its place, the others go on, and what might lie on it is
//! "not seen", never "not here". It comes back when its folder does ([`Volumes::look`]), and then
//! first forgets what was ordered to be forgotten meanwhile.

mod known;
mod open;
mod pending;
mod records;
mod state;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::units::{BridgeId, Serial, ShardId};
use sha2::{Digest, Sha256};

pub use known::{KnownError, KnownVolume};
pub use open::{VolumeConfig, VolumesError};
pub use pending::PendingError;
pub use records::RecordSeen;
pub use state::{VolumeState, VolumeStatus};

use crate::index::Holding;
use crate::reader::ShardReader;
use crate::space::{NoSpace, Reservation, Usage};
use crate::store::{Lookup, NewShard, RecordKey, Store, Stored};
use crate::writer::{PutError, WriteError};
use pending::Pending;
use state::Volume;

/// PUTs with the same serial take turns; so many serials at a time do not wait for each other.
const TURNS: usize = 1_024;

/// All volumes of a Host. Shared behind an [`Arc`].
#[derive(Debug)]
pub struct Volumes {
    volumes: Vec<Volume>,
    pending: Pending,
    /// Held while deletes are noted for volumes that are away, and while one comes back: so that
    /// none falls between.
    returning: Mutex<()>,
    turns: Vec<tokio::sync::Mutex<()>>,
}

/// Room for one shard on the volume that will take it.
#[derive(Debug)]
pub struct Room {
    store: Arc<Store>,
    reservation: Reservation,
}

/// What is known of a shard.
#[derive(Debug)]
pub enum Seen {
    /// It is here.
    Here(ShardReader),
    /// It was here and has rotted.
    Rotten,
    /// It is not on any volume that can be seen; it may be on one that cannot.
    Unseen,
    /// It is not here.
    NotHere,
}

/// Records that could not be removed everywhere; the order must be given again.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// A volume failed.
    #[error("cannot remove records of volume {}", folder.display())]
    Write {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// It could not be noted for a volume that is away.
    #[error("cannot note deletes for a volume that is away")]
    Pending(#[from] PendingError),
}

impl Volumes {
    /// Promises room for a shard of `shard_bytes`, on the volume with the most free space.
    ///
    /// # Errors
    /// [`NoSpace`] where no volume has room.
    pub fn reserve(&self, shard_bytes: u32) -> Result<Room, NoSpace> {
        let mut stores: Vec<(u64, Arc<Store>)> = self
            .stores()
            .into_iter()
            .filter(|store| !store.has_failed())
            .map(|store| (store.usage().free_bytes, store))
            .collect();
        // Stable: of equals the first named.
        stores.sort_by_key(|(free_bytes, _)| std::cmp::Reverse(*free_bytes));
        let mut refused = NoSpace::NoVolume;
        for (_, store) in stores {
            match store.reserve(shard_bytes) {
                Ok(reservation) => return Ok(Room { store, reservation }),
                Err(error) if refused == NoSpace::NoVolume => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// Stores `shard`, durably, where its serial or its bytes are already, else in `room`.
    ///
    /// # Errors
    /// Those of [`Store::put`].
    pub async fn put(&self, shard: NewShard, room: Room) -> Result<Stored, PutError> {
        let turn = self.turns.get(stripe(shard.key));
        let _turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let lookup = |error| PutError::Write(WriteError::Lookup(Arc::new(error)));
        let mut home = None;
        for store in self.stores() {
            if store.find(shard.key).map_err(lookup)?.is_some() {
                home = Some(store);
                break;
            }
            if home.is_none() && store.get(&shard.id).map_err(lookup)?.is_some() {
                home = Some(store);
            }
        }
        let store = home.unwrap_or(room.store);
        let stored = store.put(shard, room.reservation).await;
        if matches!(stored, Err(PutError::Write(_))) {
            self.suspect(&store);
        }
        stored
    }

    /// The shard and time of the record of `key`, unless its bytes have rotted and are wanted
    /// again.
    ///
    /// # Errors
    /// [`WriteError::Lookup`] where the disk fails.
    pub fn find(&self, key: RecordKey) -> Result<Option<(ShardId, Stored)>, WriteError> {
        let lookup = |error| WriteError::Lookup(Arc::new(error));
        for store in self.stores() {
            if let Some(found) = store.find(key).map_err(lookup)? {
                let rotten = store.is_rotten(key).map_err(lookup)?;
                return Ok((!rotten).then_some(found));
            }
        }
        Ok(None)
    }

    /// The shard `id`, as far as a record of `bridge` holds it. Blocks.
    #[must_use]
    pub fn look_up(&self, bridge: &BridgeId, id: &ShardId) -> Seen {
        let (mut rotten, mut unseen) = (false, self.away() > 0);
        for store in self.stores() {
            match store.look_up(bridge, id) {
                Ok(Lookup::Here(shard)) => return Seen::Here(shard),
                Ok(Lookup::Rotten) => rotten = true,
                Ok(Lookup::NotHere) => {}
                Err(error) => {
                    tracing::error!(%error, "shard cannot be looked up");
                    self.suspect(&store);
                    unseen = true;
                }
            }
        }
        match (unseen, rotten) {
            (true, _) => Seen::Unseen,
            (false, true) => Seen::Rotten,
            (false, false) => Seen::NotHere,
        }
    }

    /// Reads the shard `id` again wherever it lies, and remembers where it has rotted, as a scrub
    /// does. Blocks.
    pub fn recheck(&self, id: &ShardId) {
        for store in self.stores() {
            if let Err(error) = store.recheck(id) {
                tracing::error!(%error, "shard cannot be checked");
                self.suspect(&store);
            }
        }
    }

    /// Forgets the records of `serials`, durably; for volumes that are away it is noted, durably,
    /// and done when they come back. Returns how many were here. Blocks, and must not be called on
    /// an async thread.
    ///
    /// # Errors
    /// [`RemoveError`] where that is not certain for every volume.
    pub fn remove(&self, bridge: BridgeId, serials: &[Serial]) -> Result<u64, RemoveError> {
        let there = {
            let _returning = self
                .returning
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut there = Vec::new();
            for volume in &self.volumes {
                match volume.store() {
                    Some(store) => there.push((volume, store)),
                    None => self.pending.note(volume.id(), bridge, serials)?,
                }
            }
            there
        };
        let mut removed = 0;
        for (volume, store) in there {
            let done = store.remove_all(bridge, serials);
            removed += done.map_err(|source| {
                self.suspect(&store);
                RemoveError::Write {
                    folder: volume.folder().to_owned(),
                    source,
                }
            })?;
        }
        Ok(removed)
    }

    /// Looks whether volumes have gone, or come back. Blocks.
    pub fn look(&self) {
        for volume in &self.volumes {
            self.look_at(volume);
        }
    }

    /// What the records of `bridge` hold on the volumes that can be seen.
    #[must_use]
    pub fn held_by(&self, bridge: &BridgeId) -> Holding {
        let mut held = Holding::default();
        for store in self.stores() {
            let holding = store.held_by(bridge);
            held.records += holding.records;
            held.bytes += holding.bytes;
        }
        held
    }

    /// What all volumes that can be seen take and have.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let stores = self.stores();
        let usages = stores.iter().map(|store| store.usage());
        usages.fold(Usage::default(), Usage::plus)
    }

    /// How every volume is.
    #[must_use]
    pub fn status(&self) -> Vec<VolumeStatus> {
        self.volumes.iter().map(Volume::status).collect()
    }

    /// How many volumes cannot be seen.
    #[must_use]
    pub fn away(&self) -> usize {
        let away = |volume: &&Volume| volume.store().is_none();
        self.volumes.iter().filter(away).count()
    }

    /// Shards known to have rotted.
    #[must_use]
    pub fn bad_shards(&self) -> u64 {
        self.stores().iter().map(|store| store.bad_shards()).sum()
    }

    /// The stores that can be seen, in the order they were named.
    #[must_use]
    pub fn stores(&self) -> Vec<Arc<Store>> {
        self.volumes.iter().filter_map(Volume::store).collect()
    }

    /// A volume failed: looks at once whether it is still there.
    pub fn suspect(&self, store: &Arc<Store>) {
        let its = |volume: &&Volume| volume.store().is_some_and(|own| Arc::ptr_eq(&own, store));
        if let Some(volume) = self.volumes.iter().find(its)
            && !store.is_there()
        {
            volume.lose("its folder is gone or cannot be read");
        }
    }

    fn look_at(&self, volume: &Volume) {
        let Some(store) = volume.store() else {
            let _returning = self
                .returning
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            volume.come_back(&self.pending);
            return;
        };
        if !store.is_there() {
            volume.lose("its folder is gone or cannot be read");
        } else if store.has_failed() && volume.takes_writes() {
            volume.lose("its disk failed and takes writes again; it is opened anew");
            drop(store);
            self.look_at(volume);
        }
    }
}

fn stripe(key: RecordKey) -> usize {
    let digest = Sha256::new()
        .chain_update(key.bridge.0)
        .chain_update(key.serial.0)
        .finalize();
    usize::from(u16::from_le_bytes([digest[0], digest[1]])) % TURNS
}

#[cfg(test)]
mod tests;
