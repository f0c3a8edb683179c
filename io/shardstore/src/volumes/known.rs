//! Which volumes a Host has had: a small file in its data folder. What is not in it was never
//! here; what is in it and not there is away.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::durable;
use crate::store::StoreId;

const FILE_NAME: &str = "volumes.json";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A volume that is or was one of this Host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownVolume {
    /// Its id.
    pub id: StoreId,
    /// Where it was last.
    pub folder: PathBuf,
    /// Its limit then.
    pub space_bytes: u64,
}

/// What is known of the volumes cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    volumes: Vec<KnownVolume>,
}

/// Reads what is known in the folder `memory`.
pub(super) fn read(memory: &Path) -> Result<Vec<KnownVolume>, KnownError> {
    let path = memory.join(FILE_NAME);
    match disk::read(&path, FILE_BYTES_MAX) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(|file: File| file.volumes)
            .map_err(|source| KnownError::Damaged { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(KnownError::Read { path, source }),
    }
}

/// Remembers `volumes`, durably.
pub(super) fn write(memory: &Path, volumes: Vec<KnownVolume>) -> Result<(), KnownError> {
    let path = memory.join(FILE_NAME);
    let written = serde_json::to_vec_pretty(&File { volumes })
        .map_err(io::Error::from)
        .and_then(|bytes| durable::replace(&path, &bytes));
    written.map_err(|source| KnownError::Write { path, source })
}
