//! Verify: every shard on every volume is read and compared with its id, while no Host runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::units::{ShardId, UnixMs};
use serde::Serialize;
use shardstore::{
    KnownError, ReadError, Store, StoreConfig, VolumeConfig, VolumeState, Volumes, VolumesError,
};

use crate::config::STORE_FOLDER;

/// Bytes that are read between two looks.
const STEP_BYTES: u64 = 64 << 20;

/// What a whole check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Shards read, over all volumes.
    pub shards: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Shards that have rotted.
    pub rotten: u64,
    /// Volumes that could not be seen.
    pub away: u64,
    /// Every volume.
    pub volumes: Vec<VerifiedVolume>,
}

/// What was found on one volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedVolume {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Why it could not be seen.
    pub away: Option<String>,
    /// Shards read.
    pub shards: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Places in logs that hold no shard any more, of damage that the start found.
    pub damaged_places: u64,
    /// Shards that have rotted.
    pub rotten: Vec<RottenShard>,
}

/// A shard that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RottenShard {
    /// Its id, if its header can still be read.
    pub shard: Option<ShardId>,
    /// The log it lies in.
    pub log: u32,
    /// Where its record starts there.
    pub offset: u32,
}

/// A check that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyHostError {
    /// What is known of the volumes cannot be read.
    #[error("cannot use what is known of the volumes")]
    Known(#[from] KnownError),
    /// No Host ever ran here.
    #[error("no host has run in {} yet", data.display())]
    NoHost {
        /// The folder.
        data: PathBuf,
    },
    /// The volumes cannot be opened.
    #[error("cannot open the volumes")]
    Volumes(#[from] VolumesError),
    /// A volume cannot be read.
    #[error("cannot read the volume {id}")]
    Read {
        /// Its id.
        id: String,
        /// Why.
        #[source]
        source: ReadError,
    },
}

/// Checks every shard of the Host in the folder `data`, each volume on a thread of its own. What
/// has rotted is remembered like what a running Host's scrub finds. Blocks.
///
/// # Errors
/// [`VerifyHostError`] where the check itself fails.
pub fn verify(data: &Path, now: UnixMs) -> Result<Verification, VerifyHostError> {
    let volumes = Volumes::open(data, volumes_of(data)?)?;
    let stores = volumes.stores();
    let checked = std::thread::scope(|scope| {
        let threads: Vec<_> = stores
            .iter()
            .map(|store| scope.spawn(|| check(store, now)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(checked) => checked,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Result<Vec<_>, _>>()
    })?;
    let mut checked = checked.into_iter();
    let shown = volumes.status().into_iter().map(|volume| {
        let (id, folder) = (volume.id.to_string(), volume.folder);
        match volume.state {
            VolumeState::Away { reason } => VerifiedVolume::away(id, folder, reason),
            VolumeState::There | VolumeState::ReadOnly => match checked.next() {
                Some(found) => VerifiedVolume {
                    id,
                    folder,
                    ..found
                },
                None => VerifiedVolume::away(id, folder, "it went meanwhile".to_owned()),
            },
        }
    });
    Ok(Verification::of(shown.collect()))
}

/// Those that are remembered; of a Host that has not run since it could have several, its only one.
fn volumes_of(data: &Path) -> Result<Vec<VolumeConfig>, VerifyHostError> {
    let config = |folder, space_bytes| VolumeConfig {
        folder,
        store: StoreConfig::new(space_bytes),
        create_folder: false,
    };
    let known = Volumes::known(data)?;
    let only = data.join(STORE_FOLDER);
    if known.is_empty() && only.is_dir() {
        return Ok(vec![config(only, 0)]);
    }
    if known.is_empty() {
        return Err(VerifyHostError::NoHost {
            data: data.to_owned(),
        });
    }
    let known = known.into_iter();
    Ok(known
        .map(|volume| config(volume.folder, volume.space_bytes))
        .collect())
}

fn check(store: &Arc<Store>, now: UnixMs) -> Result<VerifiedVolume, VerifyHostError> {
    store.scrub_anew();
    let (mut shards, mut bytes) = (0, 0);
    loop {
        let step = store.scrub(now, STEP_BYTES);
        let step = step.map_err(|source| VerifyHostError::Read {
            id: store.id().to_string(),
            source,
        })?;
        shards += step.shards;
        bytes += step.bytes;
        if step.round_done {
            break;
        }
    }
    let rotten = store.bad().into_iter().map(|(at, shard)| RottenShard {
        shard,
        log: at.log,
        offset: at.offset,
    });
    Ok(VerifiedVolume {
        id: String::new(),
        folder: PathBuf::new(),
        away: None,
        shards,
        bytes,
        damaged_places: store.recovery().damaged,
        rotten: rotten.collect(),
    })
}

impl VerifiedVolume {
    fn away(id: String, folder: PathBuf, reason: String) -> Self {
        Self {
            id,
            folder,
            away: Some(reason),
            shards: 0,
            bytes: 0,
            damaged_places: 0,
            rotten: Vec::new(),
        }
    }
}

impl Verification {
    fn of(volumes: Vec<VerifiedVolume>) -> Self {
        let sum = |part: fn(&VerifiedVolume) -> u64| volumes.iter().map(part).sum();
        Self {
            shards: sum(|volume| volume.shards),
            bytes: sum(|volume| volume.bytes),
            rotten: sum(|volume| volume.rotten.len() as u64),
            away: sum(|volume| u64::from(volume.away.is_some())),
            volumes,
        }
    }
}
