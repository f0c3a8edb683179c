//! Volumes as `xcore volumes` shows them, from what is remembered of them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use shardstore::{KnownError, KnownVolume, Store, StoreId, Volumes, VolumesError};

/// A volume that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeFound {
    /// Its id.
    pub id: String,
    /// Where it was last.
    pub folder: PathBuf,
    /// Its limit then.
    pub space_bytes: u64,
    /// Whether it is in its folder now.
    pub there: bool,
}

/// The volumes that the Host in the folder `data` has had.
///
/// # Errors
/// [`KnownError`] where that cannot be read.
pub fn volumes(data: &Path) -> Result<Vec<VolumeFound>, KnownError> {
    let known = Volumes::known(data)?.into_iter();
    Ok(known.map(found).collect())
}

/// Has the Host in the folder `data`, which must not run, forget the volume `id` for good.
///
/// # Errors
/// [`VolumesError`] where it is not known, or the disk fails.
pub fn forget_volume(data: &Path, id: StoreId) -> Result<VolumeFound, VolumesError> {
    Ok(found(Volumes::forget(data, id)?))
}

fn found(volume: KnownVolume) -> VolumeFound {
    let there = matches!(Store::id_in(&volume.folder), Ok(Some(id)) if id == volume.id);
    VolumeFound {
        id: volume.id.to_string(),
        folder: volume.folder,
        space_bytes: volume.space_bytes,
        there,
    }
}
