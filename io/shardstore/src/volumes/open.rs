//! Opening a Host's volumes: what is configured is matched with what is remembered and with what
//! lies in the folders, and only what never was is created.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::known::{self, KnownError, KnownVolume};
use super::pending::{Pending, PendingError};
use super::state::{self, Volume};
use super::{TURNS, Volumes};
use crate::disk;
use crate::store::{OpenError, Store, StoreConfig, StoreId};

/// A volume as it is configured.
#[derive(Clone, Debug)]
pub struct VolumeConfig {
    /// Its folder.
    pub folder: PathBuf,
    /// How its store is kept.
    pub store: StoreConfig,
    /// Whether the folder is made where there is none; else a new volume's folder must exist, so
    /// that a slip of the pen does not fill another disk.
    pub create_folder: bool,
}

/// Volumes that cannot be opened at all. One that is only away is no error.
#[derive(Debug, thiserror::Error)]
pub enum VolumesError {
    /// What is known of them cannot be used.
    #[error("cannot use what is known of the volumes")]
    Known(#[from] KnownError),
    /// A new volume has no folder.
    #[error("the folder {} for a new volume does not exist; make it on the disk that is meant", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Two volumes are one.
    #[error("{} and {} are the same volume", first.display(), second.display())]
    Same {
        /// One folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A volume that was not known before cannot be opened.
    #[error("cannot open the volume in {}", folder.display())]
    Open {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// There is no such volume.
    #[error("no volume {id} is known here")]
    Unknown {
        /// What was asked for.
        id: StoreId,
    },
    /// What was noted for a forgotten volume cannot be removed.
    #[error("cannot forget what waits for the volume")]
    Pending(#[from] PendingError),
}

/// What is to be done about one configured volume.
enum Plan {
    /// It is in its folder; `known` if it was before.
    Open { id: StoreId, known: bool },
    /// Nothing was ever there.
    Create,
    /// The volume that was there is not.
    Away { id: StoreId, reason: &'static str },
}

impl Volumes {
    /// Opens the volumes `wanted`, all at once, and remembers them in the folder `memory`. Those
    /// remembered from before that are not there or not wanted any more are away. Blocks.
    ///
    /// # Errors
    /// [`VolumesError`] where the configuration does not hold, or a new volume cannot be made.
    pub fn open(memory: &Path, wanted: Vec<VolumeConfig>) -> Result<Self, VolumesError> {
        let mut wanted = wanted;
        for config in &mut wanted {
            if let Ok(absolute) = std::path::absolute(&config.folder) {
                config.folder = absolute;
            }
        }
        let remembered = known::read(memory)?;
        let plans = plan(&wanted, &remembered)?;
        let pending = Pending::new(memory);
        let mut volumes = open_all(wanted, plans, &pending)?;
        for volume in &remembered {
            if !volumes.iter().any(|other| other.id() == volume.id) {
                volumes.push(not_wanted(volume));
            }
        }
        remember(memory, &volumes)?;
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect();
        Ok(Self {
            volumes,
            pending,
            returning: Mutex::new(()),
            turns,
        })
    }

    /// The volumes that are remembered in the folder `memory`.
    ///
    /// # Errors
    /// [`KnownError`] where that cannot be read.
    pub fn known(memory: &Path) -> Result<Vec<KnownVolume>, KnownError> {
        known::read(memory)
    }

    /// Forgets the volume `id` for good: what lay on it is no longer "not seen" but gone. Only
    /// while nobody has the volumes open.
    ///
    /// # Errors
    /// [`VolumesError`] where it is not known, or the disk fails.
    pub fn forget(memory: &Path, id: StoreId) -> Result<KnownVolume, VolumesError> {
        let (gone, kept): (Vec<_>, Vec<_>) = known::read(memory)?
            .into_iter()
            .partition(|volume| volume.id == id);
        let gone = gone
            .into_iter()
            .next()
            .ok_or(VolumesError::Unknown { id })?;
        known::write(memory, kept)?;
        Pending::new(memory)
            .forget(id)
            .map_err(|source| PendingError::File {
                path: memory.to_owned(),
                source,
            })?;
        Ok(gone)
    }
}

fn plan(wanted: &[VolumeConfig], remembered: &[KnownVolume]) -> Result<Vec<Plan>, VolumesError> {
    let mut plans: Vec<Plan> = Vec::new();
    for config in wanted {
        let folder = &config.folder;
        let before = remembered.iter().find(|volume| volume.folder == *folder);
        // A folder that cannot be read is like one that is not there.
        let found = Store::id_in(folder).ok().flatten();
        let is_known = |id: StoreId| remembered.iter().any(|volume| volume.id == id);
        let plan = match (found, before) {
            (Some(id), _) if is_known(id) => Plan::Open { id, known: true },
            (Some(id), None) => Plan::Open { id, known: false },
            (Some(_), Some(before)) => Plan::Away {
                id: before.id,
                reason: "another volume lies in its folder",
            },
            (None, Some(before)) => Plan::Away {
                id: before.id,
                reason: "it is not in its folder; is the disk mounted?",
            },
            (None, None) if config.create_folder || disk::is_folder(folder) => Plan::Create,
            (None, None) => {
                return Err(VolumesError::NoFolder {
                    folder: folder.clone(),
                });
            }
        };
        let twice = plans.iter().zip(wanted).find(|(other, earlier)| {
            earlier.folder == *folder || (other.id().is_some() && other.id() == plan.id())
        });
        if let Some((_, earlier)) = twice {
            return Err(VolumesError::Same {
                first: earlier.folder.clone(),
                second: folder.clone(),
            });
        }
        plans.push(plan);
    }
    Ok(plans)
}

impl Plan {
    const fn id(&self) -> Option<StoreId> {
        match self {
            Self::Open { id, .. } | Self::Away { id, .. } => Some(*id),
            Self::Create => None,
        }
    }
}

/// Opens every volume on a thread of its own: a start takes as long as the slowest.
fn open_all(
    wanted: Vec<VolumeConfig>,
    plans: Vec<Plan>,
    pending: &Pending,
) -> Result<Vec<Volume>, VolumesError> {
    if tasks::is_inline() {
        let each = wanted.into_iter().zip(plans);
        return each
            .map(|(config, plan)| open_one(config, &plan, pending))
            .collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .into_iter()
            .zip(plans)
            .map(|(config, plan)| scope.spawn(move || open_one(config, &plan, pending)))
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn open_one(config: VolumeConfig, plan: &Plan, pending: &Pending) -> Result<Volume, VolumesError> {
    let VolumeConfig { folder, store, .. } = config;
    match plan {
        Plan::Open { id, known: true } => Ok(match state::open(&folder, store, *id, pending) {
            Ok(opened) => Volume::there(folder, store, opened),
            Err(reason) => Volume::away(*id, folder, store, &reason),
        }),
        Plan::Open { known: false, .. } | Plan::Create => match Store::open(&folder, store) {
            Ok(opened) => {
                state::report_recovery(&opened, &folder);
                Ok(Volume::there(folder, store, opened))
            }
            Err(source) => Err(VolumesError::Open { folder, source }),
        },
        Plan::Away { id, reason } => Ok(Volume::away(*id, folder, store, reason)),
    }
}

fn not_wanted(volume: &KnownVolume) -> Volume {
    let config = StoreConfig::new(volume.space_bytes);
    let reason = "it is not configured any more; configure it again, or have it forgotten";
    Volume::away(volume.id, volume.folder.clone(), config, reason).unwanted()
}

fn remember(memory: &Path, volumes: &[Volume]) -> Result<(), KnownError> {
    let known = volumes.iter().map(|volume| KnownVolume {
        id: volume.id(),
        folder: volume.folder().to_owned(),
        space_bytes: volume.space_bytes(),
    });
    let known: Vec<_> = known.collect();
    if known::read(memory)? == known {
        return Ok(());
    }
    known::write(memory, known)
}
